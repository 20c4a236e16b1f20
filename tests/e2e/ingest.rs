//! What was answered 202 is in the log once, whatever is killed when.

use crate::process::{Tidemark, eventually, get, post};
use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tidemark_gateway::FLOWS_TOPIC;
use tidemark_harness::Kafka;
use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::kafka::{KafkaConfig, KafkaLog};
use tidemark_log::{At, Log, TopicPartition, system_clock};

/// Records in a request.
const BATCH: u64 = 20;

/// Publishers that give each record an id of their own and never send one twice.
struct Publishers {
    stop: Arc<AtomicBool>,
    url: Arc<Mutex<String>>,
    accepted: Arc<Mutex<HashSet<String>>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Publishers {
    fn start(url: &str, count: usize) -> Self {
        let (stop, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (url, accepted) = (Arc::new(Mutex::new(url.to_owned())), Arc::new(Mutex::new(HashSet::new())));
        let spawn = |_| {
            let (stop, next) = (Arc::clone(&stop), Arc::clone(&next));
            let (url, accepted) = (Arc::clone(&url), Arc::clone(&accepted));
            std::thread::spawn(move || {
                while !stop.load(SeqCst) {
                    let first = next.fetch_add(BATCH, SeqCst);
                    let to = format!("{}/v1/flows", url.lock().unwrap());
                    match post(&to, "application/x-ndjson", body(first).as_bytes()) {
                        Ok(answer) if answer.status == 202 => accepted.lock().unwrap().extend(ids(first)),
                        Ok(_) | Err(_) => std::thread::sleep(Duration::from_millis(5)),
                    }
                }
            })
        };
        let threads = (0..count).map(spawn).collect();
        Self { stop, url, accepted, threads }
    }

    fn go_to(&self, url: &str) {
        *self.url.lock().unwrap() = url.to_owned();
    }

    fn accepted(&self) -> usize {
        self.accepted.lock().unwrap().len()
    }

    fn stop(self) -> HashSet<String> {
        self.stop.store(true, SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        self.accepted.lock().unwrap().clone()
    }
}

fn ids(first: u64) -> impl Iterator<Item = String> {
    (first..first + BATCH).map(|at| format!("00000000-0000-7000-8000-{at:012x}"))
}

fn body(first: u64) -> String {
    let line = |id| {
        let flow = serde_json::json!({
            "src_app": "web", "dest_app": "db", "vpc_id": "v", "observed_at": 1_769_860_800_000_i64,
            "bytes_tx": 1, "bytes_rx": 2, "event_id": id,
        });
        format!("{flow}\n")
    };
    ids(first).map(line).collect()
}

/// The event ids on the topic, as often as they are there.
fn published(log: &dyn Log) -> Vec<String> {
    let count = log.partitions(FLOWS_TOPIC).unwrap().unwrap();
    let partitions: Vec<_> = (0..count).map(|p| TopicPartition::new(FLOWS_TOPIC, p)).collect();
    let ends = log.offsets(&partitions, At::StableEnd).unwrap();
    let from: Vec<_> = partitions.iter().map(|p| (p.clone(), 0)).collect();
    let (mut reader, mut ids) = (log.reader(&from).unwrap(), Vec::new());
    while partitions.iter().zip(&ends).any(|(p, end)| reader.position(p).unwrap() < *end) {
        reader
            .poll(Duration::from_millis(50), &mut |batch| {
                let id = |record: &tidemark_log::Record<'_>| record.headers.get("ce_id").unwrap().to_vec();
                ids.extend(batch.records.iter().map(|record| String::from_utf8(id(record)).unwrap()));
            })
            .unwrap();
    }
    ids
}

/// Everything that was acknowledged is there, and nothing is there twice.
fn assert_once(accepted: &HashSet<String>, published: &[String]) {
    let unique: HashSet<_> = published.iter().cloned().collect();
    let lost = accepted.difference(&unique).count();
    let twice = published.len() - unique.len();
    assert_eq!((lost, twice), (0, 0), "of {} accepted and {} published", accepted.len(), published.len());
}

fn waiting(platform: &Tidemark) -> u64 {
    let status = get(&format!("{}/v1/status", platform.url)).unwrap().json();
    status["parts"]["gateway"]["spool"]["records"].as_u64().unwrap()
}

fn drained(platform: &Tidemark) {
    eventually("the spool is empty", || match waiting(platform) {
        0 => Ok(()),
        left => Err(format!("{left} records wait")),
    });
}

#[test]
fn killed_at_any_moment_the_gateway_loses_and_doubles_nothing() {
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos();
    let mut random = fastrand::Rng::with_seed(u64::from(seed));
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut platform = Tidemark::start(&data, &["up"]);
    let publishers = Publishers::start(&platform.url, 3);
    let mut before = 0;
    for kill in 0..8 {
        std::thread::sleep(Duration::from_millis(random.u64(30..600)));
        let accepted = publishers.accepted();
        assert!(kill == 0 || accepted > before, "seed {seed}: nothing was accepted before kill {kill}");
        before = accepted;
        platform.kill();
        platform = Tidemark::start(&data, &["up"]);
        publishers.go_to(&platform.url);
        eventually("records are taken again", || {
            if publishers.accepted() > before { Ok(()) } else { Err("none".to_owned()) }
        });
    }
    let accepted = publishers.stop();
    drained(&platform);
    platform.kill();
    let log = EmbeddedLog::open(&data.join("log"), system_clock()).unwrap();
    assert_once(&accepted, &published(&*log));
    println!("{} records accepted over 8 kills, seed {seed}: none lost, none twice", accepted.len());
}

/// Dies at exact steps: after the disk has the records and before they are acknowledged, after the log has them and before the
/// spool lets them go, after the spool has let them go.
#[test]
fn killed_around_each_step_the_gateway_loses_and_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut accepted = HashSet::new();
    let mut next = 0;
    for point in ["spool-synced", "spool-published", "spool-released"] {
        for count in [1, 4] {
            let failpoint = format!("{point}:{count}");
            let mut platform = Tidemark::spawn_with(&data, &["up"], &[("TIDEMARK_FAILPOINT", &failpoint)]);
            let began = Instant::now();
            while !platform.has_ended() {
                assert!(began.elapsed() < crate::process::DEADLINE, "{failpoint} was never come to");
                let to = format!("{}/v1/flows", platform.url);
                if post(&to, "application/x-ndjson", body(next).as_bytes()).is_ok_and(|answer| answer.status == 202) {
                    accepted.extend(ids(next));
                }
                next += BATCH;
            }
        }
    }
    let platform = Tidemark::start(&data, &["up"]);
    drained(&platform);
    platform.kill();
    assert!(accepted.len() as u64 > 6 * BATCH, "{} accepted", accepted.len());
    let log = EmbeddedLog::open(&data.join("log"), system_clock()).unwrap();
    assert_once(&accepted, &published(&*log));
}

/// The broker is killed and comes back after ten seconds; meanwhile the gateway takes records, is killed, and is started again
/// without its broker.
#[test]
fn a_gateway_without_its_broker_takes_records_and_publishes_them_once() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut kafka = Kafka::start(&[]).unwrap();
    let bootstrap = kafka.bootstrap().to_owned();
    let registry = tidemark_harness::registry();
    let run =
        |data: &Path| Tidemark::start(data, &["serve", "gateway", "--kafka", &bootstrap, "--registry", &registry]);
    let gateway = run(&data);
    let publishers = Publishers::start(&gateway.url, 3);
    eventually("records are published", || if publishers.accepted() > 100 { Ok(()) } else { Err("few".to_owned()) });

    kafka.kill();
    let outage = Instant::now();
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(get(&format!("{}/v1/health", gateway.url)).unwrap().status, 200, "ready without the broker");
    gateway.kill();
    let gateway = run(&data);
    publishers.go_to(&gateway.url);
    let before = publishers.accepted();
    eventually("records are taken after a start without the broker", || match publishers.accepted() {
        after if after > before + 100 => Ok(()),
        after => Err(format!("{before} and {after}")),
    });

    std::thread::sleep(Duration::from_secs(10).saturating_sub(outage.elapsed()));
    kafka.restart().unwrap();
    let back = Instant::now();
    let accepted = publishers.stop();
    drained(&gateway);
    println!("{} records accepted, {:?} after the broker came back all were published", accepted.len(), back.elapsed());
    gateway.stop();
    let log = KafkaLog::connect(KafkaConfig::new(&bootstrap)).unwrap();
    assert_once(&accepted, &published(&*log));
}
