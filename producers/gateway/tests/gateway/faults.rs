//! A log that fails on demand.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tidemark_gateway::answers::ANSWERS_KEPT_MS;
use tidemark_gateway::{FLOWS_TOPIC, GatewayConfig};
use tidemark_log::{
    At, Error, GroupOffset, Log, Member, MemberConfig, Outgoing, Produce, Producer, Reader, Sink, TopicPartition,
    TopicSpec,
};

use crate::support::*;

#[derive(Clone, Copy)]
pub(crate) enum Fault {
    /// Nothing happens, and that is known.
    Refused,
    /// It happens, but the answer is lost.
    AnswerLost,
    /// Nothing happens, and the answer is lost.
    RequestLost,
    /// Somebody else has the id.
    Fenced,
}

#[derive(Default)]
pub(crate) struct Faults {
    /// What the next commits meet, last first.
    commits: Mutex<Vec<Fault>>,
    /// Whether nothing answers.
    cut: AtomicBool,
    /// Records with this text are refused for good.
    poison: Mutex<Option<&'static str>>,
    /// A commit of more events than this takes too long; zero for no bound.
    events_max: AtomicUsize,
    /// A topic that has been deleted.
    pub(crate) gone: Mutex<Option<&'static str>>,
}

impl Faults {
    fn reach(&self) -> Result<(), Error> {
        if self.cut.load(SeqCst) { Err(Error::Retriable("cut off".to_owned())) } else { Ok(()) }
    }

    pub(crate) fn next(&self, fault: Fault) {
        self.commits.lock().unwrap().push(fault);
    }
}

struct FaultyLog {
    log: Arc<dyn Log>,
    faults: Arc<Faults>,
}

struct FaultyProducer {
    producer: Box<dyn Producer>,
    faults: Arc<Faults>,
}

impl Producer for FaultyProducer {
    fn commit(&mut self, produce: Produce<'_>) -> Result<(), Error> {
        let fault = self.faults.commits.lock().unwrap().pop();
        match fault {
            None => self.refusing(produce),
            Some(Fault::Refused) => Err(Error::Retriable("refused".to_owned())),
            Some(Fault::RequestLost) => Err(Error::Indefinite("request lost".to_owned())),
            Some(Fault::Fenced) => Err(Error::Fenced("by another".to_owned())),
            Some(Fault::AnswerLost) => {
                self.producer.commit(produce)?;
                Err(Error::Indefinite("answer lost".to_owned()))
            }
        }
    }
}

impl FaultyProducer {
    fn refusing(&mut self, produce: Produce<'_>) -> Result<(), Error> {
        self.faults.reach()?;
        let poison = *self.faults.poison.lock().unwrap();
        let events_max = self.faults.events_max.load(SeqCst);
        self.producer.commit(&mut |sink| produce(&mut Refusing { sink, poison, events_max, events: 0 }))
    }
}

struct Refusing<'s> {
    sink: &'s mut dyn Sink,
    poison: Option<&'static str>,
    events_max: usize,
    events: usize,
}

impl Sink for Refusing<'_> {
    fn send(&mut self, record: Outgoing<'_>) -> Result<(), Error> {
        let value = record.value.unwrap_or_default();
        let poisoned = |text: &str| value.windows(text.len()).any(|bytes| bytes == text.as_bytes());
        if record.topic == FLOWS_TOPIC && self.poison.is_some_and(poisoned) {
            return Err(Error::Invalid("too large, says the log".to_owned()));
        }
        self.events += usize::from(record.topic == FLOWS_TOPIC);
        if self.events_max > 0 && self.events > self.events_max {
            return Err(Error::Indefinite("timed out".to_owned()));
        }
        self.sink.send(record)
    }
}

impl Log for FaultyLog {
    fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), Error> {
        self.faults.reach()?;
        self.log.create_topics(topics)
    }
    fn delete_topics(&self, names: &[String]) -> Result<(), Error> {
        self.faults.reach()?;
        self.log.delete_topics(names)
    }
    fn delete_groups(&self, groups: &[String]) -> Result<(), Error> {
        self.faults.reach()?;
        self.log.delete_groups(groups)
    }
    fn partitions(&self, topic: &str) -> Result<Option<u32>, Error> {
        self.faults.reach()?;
        if *self.faults.gone.lock().unwrap() == Some(topic) {
            return Ok(None);
        }
        self.log.partitions(topic)
    }
    fn offsets(&self, partitions: &[TopicPartition], at: At) -> Result<Vec<i64>, Error> {
        self.faults.reach()?;
        self.log.offsets(partitions, at)
    }
    fn committed(&self, group: &str, partitions: &[TopicPartition]) -> Result<Vec<Option<GroupOffset>>, Error> {
        self.log.committed(group, partitions)
    }
    fn init_group(&self, group: &str, offsets: &[GroupOffset]) -> Result<(), Error> {
        self.log.init_group(group, offsets)
    }
    fn member(&self, config: &MemberConfig) -> Result<Box<dyn Member>, Error> {
        self.log.member(config)
    }
    fn reader(&self, from: &[(TopicPartition, i64)]) -> Result<Box<dyn Reader>, Error> {
        self.faults.reach()?;
        self.log.reader(from)
    }
    fn producer(&self, id: &str) -> Result<Box<dyn Producer>, Error> {
        self.faults.reach()?;
        let producer = self.log.producer(id)?;
        Ok(Box::new(FaultyProducer { producer, faults: Arc::clone(&self.faults) }))
    }
}

pub(crate) fn bench() -> (Bench, Arc<Faults>) {
    bench_with(|_| {})
}

fn bench_with(set: impl FnOnce(&mut GatewayConfig)) -> (Bench, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    let given = Arc::clone(&faults);
    (Bench::with(|log| Arc::new(FaultyLog { log, faults: given }), set), faults)
}

impl Faults {
    pub(crate) fn cut(&self, cut: bool) {
        self.cut.store(cut, SeqCst);
    }
}

const JUST_JSON: &[(&str, &str)] = &[("content-type", JSON)];
const KEYED: &[(&str, &str)] = &[("content-type", JSON), ("idempotency-key", "k")];

#[tokio::test]
async fn a_failed_commit_is_made_good_exactly_once() {
    let (bench, faults) = bench();
    for (at, fault) in [Fault::Refused, Fault::AnswerLost, Fault::RequestLost, Fault::Fenced].into_iter().enumerate() {
        faults.next(fault);
        let answer = bench.post(JSON, flow().to_string()).await;
        assert_eq!(answer.ids().len(), 1, "fault {at}");
        assert_eq!(bench.stored().len(), at + 1, "fault {at}");
        assert!(bench.gateway.ready().is_ok());
    }
    assert!(bench.metrics().contains("tidemark_gateway_commits_failed_total 4\n"));
    assert!(bench.metrics().contains("tidemark_gateway_records_accepted_total 4\n"));
}

#[tokio::test]
async fn a_gateway_cut_off_from_its_log_takes_records_and_publishes_them_in_order_once() {
    let (bench, faults) = bench();
    faults.cut(true);
    let mut ids = Vec::new();
    for at in 0..50 {
        let id = |n| flow_with("event_id", format!("00000000-0000-7000-8000-{:012}", 2 * at + n).into());
        ids.extend(bench.post(JSON, json!([id(0), id(1)]).to_string()).await.ids());
    }
    until("the reason", || bench.gateway.note().is_some_and(|note| note.contains("cut off")));
    assert!(bench.gateway.ready().is_ok(), "behind, but ready");
    let status = bench.gateway.status();
    assert_eq!(status["spool"]["records"], 100);
    assert!(status["spool"]["last_error"].as_str().unwrap().contains("cut off"), "{status}");
    bench.now.fetch_add(90_000, SeqCst);
    assert_eq!(bench.gateway.status()["spool"]["oldest_age_ms"], 90_000);
    faults.cut(false);
    let stored = bench.stored();
    ids.sort();
    assert_eq!(stored.iter().map(|flow| flow.event_id.clone()).collect::<Vec<_>>(), ids);
    assert!(in_order(&bench), "in each partition as they were taken");
    until("no reason", || bench.gateway.note().is_none());
}

/// Whether the ids of each partition count up.
fn in_order(bench: &Bench) -> bool {
    let partitions: Vec<_> = (0..PARTITIONS).map(|p| (TopicPartition::new(FLOWS_TOPIC, p), 0)).collect();
    let ends =
        bench.log.offsets(&partitions.iter().map(|(p, _)| p.clone()).collect::<Vec<_>>(), At::StableEnd).unwrap();
    let mut reader = bench.log.reader(&partitions).unwrap();
    let mut ids = vec![Vec::new(); PARTITIONS as usize];
    until("read", || {
        reader
            .poll(Duration::from_millis(10), &mut |batch| {
                let id = |record: &tidemark_log::Record<'_>| record.headers.get("ce_id").unwrap().to_vec();
                ids[batch.partition as usize].extend(batch.records.iter().map(id));
            })
            .unwrap();
        partitions.iter().zip(&ends).all(|((p, _), end)| reader.position(p).unwrap() >= *end)
    });
    ids.iter().all(|ids| ids.is_sorted())
}

#[tokio::test]
async fn a_gateway_that_is_started_without_its_log_and_registry_takes_records() {
    let (bench, faults) = bench();
    bench.post(JSON, flow().to_string()).await;
    bench.stored();
    faults.cut(true);
    bench.registry.down.store(true, SeqCst);
    let bench = bench.reopen(|_| {});
    ready(&bench.gateway);
    // Longer than an event may wait: none does.
    bench.now.fetch_add(48 * 3_600_000, SeqCst);
    for at in 0..3 {
        let answer = bench.post(JSON, flow().to_string()).await;
        assert_eq!(answer.status, 202, "{at}: {}", answer.body);
    }
    bench.gateway.stop();
    assert_eq!(waiting(&bench.gateway), 3, "a stop leaves what it cannot publish");
    let bench = bench.reopen(|_| {});
    faults.cut(false);
    assert_eq!(bench.stored().len(), 4);
}

#[tokio::test]
async fn a_first_start_without_a_registry_is_not_ready_and_says_why() {
    let bench = Bench::new();
    let registry = Arc::new(TestRegistry::default());
    registry.down.store(true, SeqCst);
    let gateway = start(&bench.log, &registry, &bench.now, bench.another("early"));
    until("the reason", || gateway.ready().is_err_and(|reasons| reasons.concat().contains("switched off")));
    let answer = send(&gateway, "/v1/flows", JUST_JSON, flow().to_string()).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (503, "not_ready"));
    assert!(answer.body["detail"].as_str().unwrap().contains("registered"), "{}", answer.body);
    registry.down.store(false, SeqCst);
    ready(&gateway);
}

#[tokio::test]
async fn a_commit_in_doubt_over_a_restart_is_settled_by_its_position() {
    for fault in [Fault::AnswerLost, Fault::RequestLost] {
        let (bench, faults) = bench();
        bench.post(JSON, flow().to_string()).await;
        bench.stored();
        faults.next(fault);
        let body = json!([flow(), flow(), flow()]).to_string();
        assert_eq!(bench.send("/v1/flows", KEYED, body.clone()).await.ids().len(), 3);
        until("the doubt", || bench.metrics().contains("commits_failed_total 1\n"));
        faults.cut(true);
        let bench = bench.reopen(|_| {});
        faults.cut(false);
        ready(&bench.gateway);
        let repeat = bench.send("/v1/flows", KEYED, body).await;
        assert_eq!(repeat.headers["idempotency-replayed"], "true");
        assert_eq!(bench.stored().len(), 4);
    }
}

#[tokio::test]
async fn keys_are_known_after_a_restart_without_the_log_also_of_entries_that_are_gone() {
    // Eight segments of 8 KiB: the first entries are deleted soon.
    let small = |config: &mut GatewayConfig| config.spool.max_bytes = 64 << 10;
    let (bench, faults) = bench_with(small);
    let body = |at: usize| json!(vec![flow_with("bytes_tx", at.into()); 20]).to_string();
    let key = |at: usize| format!("key-{at}");
    let mut first = Vec::new();
    for at in 0..20 {
        let headers = [("content-type", JSON), ("idempotency-key", &key(at))];
        first.push(bench.send("/v1/flows", &headers, body(at)).await);
    }
    assert_eq!(bench.stored().len(), 400);
    let segments = |bench: &Bench| {
        let dir = bench.dir.as_ref().unwrap().path().join("spool");
        let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".segment")).count()
    };
    assert!(segments(&bench) <= 2, "{} segments", segments(&bench));
    faults.cut(true);
    let mut bench = bench;
    for _ in 0..2 {
        bench = bench.reopen(small);
        ready(&bench.gateway);
        for (at, first) in first.iter().enumerate() {
            let headers = [("content-type", JSON), ("idempotency-key", &key(at))];
            let again = bench.send("/v1/flows", &headers, body(at)).await;
            assert_eq!((again.status.as_u16(), &again.body), (202, &first.body), "{at}");
            assert_eq!(again.headers["idempotency-replayed"], "true");
        }
    }
    bench.now.fetch_add(ANSWERS_KEPT_MS, SeqCst);
    let bench = bench.reopen(small);
    faults.cut(false);
    ready(&bench.gateway);
    let headers = [("content-type", JSON), ("idempotency-key", &key(0))];
    let anew = bench.send("/v1/flows", &headers, body(0)).await;
    assert_eq!(anew.status, 202, "{}", anew.body);
    assert!(!anew.headers.contains_key("idempotency-replayed"));
}

#[tokio::test]
async fn a_full_spool_answers_507_loses_nothing_and_takes_again_after_it_has_drained() {
    let (bench, faults) = bench_with(|config| config.spool.max_bytes = 64 << 10);
    faults.cut(true);
    let (accepted, full) = fill(&bench).await;
    assert!((300..1_000).contains(&accepted.len()), "{}", accepted.len());
    assert_eq!((full.status.as_u16(), full.code()), (507, "spool_full"));
    assert_eq!(full.headers["retry-after"], "10");
    let detail = full.body["detail"].as_str().unwrap();
    assert!(detail.contains("65536") && detail.contains("cut off") && detail.contains("spool.max_bytes"), "{detail}");
    faults.cut(false);
    let stored: Vec<_> = bench.stored().into_iter().map(|flow| flow.event_id).collect();
    assert_eq!(stored, accepted);
    assert_eq!(bench.post(JSON, flow().to_string()).await.status, 202);
}

#[tokio::test]
async fn a_commit_that_takes_too_long_is_made_smaller_until_it_does_not() {
    let (bench, faults) = bench();
    faults.events_max.store(3, SeqCst);
    faults.cut(true);
    for _ in 0..10 {
        bench.post(JSON, json!(vec![flow(); 5]).to_string()).await;
    }
    faults.cut(false);
    until("some are published", || !bench.metrics().contains("tidemark_gateway_records_published_total 0\n"));
    faults.events_max.store(0, SeqCst);
    assert_eq!(bench.stored().len(), 50);
}

/// Posts until that is refused, each time with a key of its own: the ids that were accepted, sorted, and the refusal.
async fn fill(bench: &Bench) -> (Vec<String>, Answer) {
    let mut accepted = Vec::new();
    let full = loop {
        let key = format!("fill-{}", accepted.len());
        let headers = [("content-type", JSON), ("idempotency-key", &key)];
        let answer = bench.send("/v1/flows", &headers, json!(vec![flow(); 5]).to_string()).await;
        if answer.status != 202 {
            break answer;
        }
        accepted.extend(answer.ids());
    };
    accepted.sort();
    (accepted, full)
}

#[tokio::test]
async fn events_that_wait_too_long_stop_the_intake() {
    let (bench, faults) = bench();
    faults.cut(true);
    bench.post(JSON, flow().to_string()).await;
    bench.now.fetch_add(24 * 3_600_000 + 1, SeqCst);
    let old = bench.post(JSON, flow().to_string()).await;
    assert_eq!((old.status.as_u16(), old.code()), (507, "spool_full"));
    faults.cut(false);
    bench.stored();
    let late = flow_with("observed_at", bench.now.load(SeqCst).into());
    assert_eq!(bench.post(JSON, late.to_string()).await.status, 202);
}

#[tokio::test]
async fn a_disk_without_room_answers_507_and_loses_nothing() {
    let disk = tempfile::tempdir().unwrap();
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tidemark-test"])
        .arg(disk.path())
        .status();
    if !mount.is_ok_and(|status| status.success()) {
        eprintln!("a file system can only be mounted as root; the spool's own tests inject the fault instead");
        return;
    }
    let _mounted = Mounted(disk.path().to_owned());
    let dir = disk.path().join("spool");
    let (bench, faults) = bench_with(|config| config.spool.dir = dir.clone());
    faults.cut(true);
    let (mut accepted, full) = fill(&bench).await;
    assert_eq!((full.status.as_u16(), full.code()), (507, "spool_full"), "{}", full.body);
    assert!(full.body["detail"].as_str().unwrap().contains("No space left"), "{}", full.body);
    assert!(accepted.len() > 3_000, "{}", accepted.len());
    faults.cut(false);
    assert_eq!(bench.stored().into_iter().map(|flow| flow.event_id).collect::<Vec<_>>(), accepted);
    // Published segments are deleted, and there is room again.
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    let again = loop {
        let answer = bench.post(JSON, flow().to_string()).await;
        assert!(std::time::Instant::now() < deadline, "{}", answer.body);
        if answer.status == 202 {
            break answer;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    accepted.extend(again.ids());
    assert_eq!(bench.stored().len(), accepted.len());
    // The keys, which had no room before the segments were gone, are kept all the same.
    faults.cut(true);
    let bench = bench.reopen(|config| config.spool.dir = dir);
    ready(&bench.gateway);
    let headers = [("content-type", JSON), ("idempotency-key", "fill-0")];
    let repeat = bench.send("/v1/flows", &headers, json!(vec![flow(); 5]).to_string()).await;
    assert!(repeat.headers.contains_key("idempotency-replayed"), "{}", repeat.body);
    bench.gateway.stop();
}

struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn an_event_that_the_log_refuses_for_good_is_set_aside_and_the_others_go_on() {
    let (bench, faults) = bench();
    *faults.poison.lock().unwrap() = Some("poison");
    faults.cut(true);
    let mut expected = HashSet::new();
    for at in 0..40 {
        let app = if at == 13 || at == 14 { "poison" } else { "web" };
        let flows = json!([flow(), flow_with("src_app", app.into()), flow()]).to_string();
        let ids = bench.post(JSON, flows).await.ids();
        expected.extend(ids.into_iter().enumerate().filter(|(n, _)| *n != 1 || app == "web").map(|(_, id)| id));
    }
    faults.cut(false);
    let stored: Vec<_> = bench.stored().into_iter().map(|flow| flow.event_id).collect();
    assert_eq!((stored.len(), stored.into_iter().collect::<HashSet<_>>()), (118, expected));
    assert!(bench.metrics().contains("tidemark_gateway_records_set_aside_total 2\n"), "{}", bench.metrics());
    let file = std::fs::read_to_string(bench.dir.as_ref().unwrap().path().join("spool/refused.ndjson")).unwrap();
    let lines: Vec<serde_json::Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0]["why"].as_str().unwrap().contains("too large") && lines[0]["event_id"].is_string());
}

#[tokio::test]
async fn a_log_that_refuses_every_event_is_waited_for() {
    let (bench, faults) = bench();
    *faults.poison.lock().unwrap() = Some("web");
    for _ in 0..10 {
        bench.post(JSON, flow().to_string()).await;
    }
    until("the reason", || bench.gateway.note().is_some_and(|note| note.contains("refuses events")));
    *faults.poison.lock().unwrap() = None;
    assert_eq!(bench.stored().len(), 10);
    assert!(bench.metrics().contains("tidemark_gateway_records_set_aside_total 0\n"));
    let file = std::fs::read_to_string(bench.dir.as_ref().unwrap().path().join("spool/refused.ndjson")).unwrap();
    assert_eq!(file.lines().count(), 3, "after three in a row it is the log's fault");
}

#[tokio::test]
async fn a_directory_in_use_is_refused_by_name() {
    let bench = Bench::new();
    let registry: Arc<dyn tidemark_schemas::registry::Registry> = Arc::clone(&bench.registry) as _;
    let spans = Arc::new(tidemark_log::span::NoSpans);
    let (log, config) = (Arc::clone(&bench.log), bench.another("spool"));
    let refused = tidemark_gateway::Gateway::start(log, registry, config, Arc::new(|| 0), spans);
    let error = refused.err().expect("refused").to_string();
    assert!(error.contains("in use") && error.contains("/spool"), "{error}");
}

#[tokio::test]
async fn damage_is_told_and_the_rest_is_published() {
    let (bench, faults) = bench();
    faults.cut(true);
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.extend(bench.post(JSON, flow().to_string()).await.ids());
    }
    bench.gateway.stop();
    let dir = bench.dir.as_ref().unwrap().path().join("spool");
    let segment = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment.filter(|path| path.extension().is_some_and(|ext| ext == "segment")).max().unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let third = bytes.windows(36).position(|text| text == ids[2].as_bytes()).unwrap();
    bytes[third] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let bench = bench.reopen(|_| {});
    faults.cut(false);
    let stored: Vec<_> = bench.stored().into_iter().map(|flow| flow.event_id).collect();
    ids.remove(2);
    ids.sort();
    assert_eq!(stored, ids);
    let damage = bench.gateway.status()["spool"]["damage"][0].clone();
    assert_eq!((&damage["kind"], &damage["entries_max"]), (&json!("damaged"), &json!(1)));
    assert!(bench.metrics().contains("tidemark_spool_damaged_entries_total{kind=\"damaged\"} 1\n"));
}
