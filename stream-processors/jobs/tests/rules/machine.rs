//! On a real disk with threads: a process that is stopped and started, and two processes of which one goes away.

use crate::registry::MemoryRegistry;
use crate::world::{INTERVAL, Owner, World};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tidemark_jobs::flows::{self, FlowsHourly, Settings, TOPIC};
use tidemark_jobs::platform;
use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::span::NoSpans;
use tidemark_log::{Cleanup, Log, Outgoing, TopicSpec, system_clock};
use tidemark_runtime::Metrics;
use tidemark_runtime::run::{self, Parts, Running};
use tidemark_runtime::state::{StateConfig, StateDir, StateSettings};
use tidemark_schemas::avro::Avro;
use tidemark_schemas::flows::FlowObserved;
use tidemark_schemas::registry::Registry;
use tidemark_schemas::{catalog, wire};
use tidemark_views::local::LocalViews;

#[test]
fn checkpoints_on_a_real_disk_are_written_by_a_thread_and_come_back() {
    let mut world = World::new(1);
    let disk = TempDir::new().unwrap();
    let on = |world: &World, now: i64| {
        let mut owner = Owner::with(world, Some(StateDir::open(disk.path(), StateSettings::default())));
        owner.now += now;
        owner.take_over(world)
    };
    let mut owner = on(&world, 0);
    world.partial(0, 0, &(0..300).collect::<Vec<u16>>());
    owner.go_on(&world);
    for _ in 0..3 {
        owner.checkpoint(&world);
        world.partial(0, 0, &[1]);
    }
    assert_eq!(owner.metrics.checkpoints(0), (3, 0, 0));
    drop(owner);
    let files = std::fs::read_dir(disk.path().join("0")).unwrap().count();
    assert_eq!(files, 4, "manifest, head, sealed, one window; the ones before are gone");
    let mut again = on(&world, 4 * INTERVAL);
    assert_eq!((again.entries() <= 4, again.metrics.checkpoints(0).2), (true, 0), "{}", again.entries());
    again.go_on(&world);
    assert_eq!(world.records(0), 303);
}

/// A thread still writes a checkpoint of a partition that another thread of the process takes over: two would remove each
/// other's files.
#[test]
fn a_directory_has_one_owner_at_a_time() {
    let mut world = World::new(1);
    let disk = TempDir::new().unwrap();
    let dir = StateDir::open(disk.path(), StateSettings::default());
    let mut first = Owner::with(&world, Some(Arc::clone(&dir))).take_over(&world);
    world.partial(0, 0, &[1]);
    first.go_on(&world);
    let mut second = Owner::with(&world, Some(dir));
    let place = [tidemark_log::TopicPartition::new(world.plan.partials.as_str(), 0)];
    tidemark_runtime::Operator::assign(&mut second.stage, &place, second.now).unwrap();
    assert!((0..50).all(|_| !second.step().unwrap()), "the first still has it");
    drop(first);
    assert!((0..1_000).any(|_| second.step().unwrap()));
}

struct Process {
    running: Running,
    metrics: Arc<Metrics>,
}

/// What two processes share.
struct Shared {
    log: Arc<EmbeddedLog>,
    registry: Arc<MemoryRegistry>,
    views: Arc<LocalViews>,
    runtime: tokio::runtime::Runtime,
    published: i64,
}

fn job() -> FlowsHourly {
    flows::hourly(&Settings { merge_partitions: 2, ..Settings::default() }).unwrap()
}

impl Shared {
    fn new(dir: &Path) -> Self {
        let log = EmbeddedLog::open(&dir.join("log"), system_clock()).unwrap();
        let (name, cleanup) = (TOPIC.to_owned(), Cleanup::Delete);
        log.create_topics(&[TopicSpec { name, partitions: 2, cleanup, retention_ms: None }]).unwrap();
        let views = LocalViews::open(&dir.join("views"), system_clock()).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { log, registry: Arc::new(MemoryRegistry::default()), views, runtime, published: 0 }
    }

    fn start(&self, replica: &str, path: &Path) -> Process {
        let metrics = Arc::new(Metrics::default());
        let parts = Parts {
            log: Arc::clone(&self.log) as Arc<dyn Log>,
            registry: Arc::clone(&self.registry) as Arc<dyn Registry>,
            views: Arc::clone(&self.views) as Arc<dyn tidemark_views::ViewStore>,
            handle: self.runtime.handle().clone(),
            clock: system_clock(),
            metrics: Arc::clone(&metrics),
            spans: Arc::new(NoSpans),
        };
        let (settings, sharers) = Default::default();
        let state = StateConfig { path: path.join(replica), settings, sharers, standby: true };
        let settings = tidemark_runtime::Settings {
            replica: replica.into(),
            threads: 1,
            commit_interval_ms: 5,
            session_timeout: Duration::from_secs(10),
            state: Some(state),
        };
        let job = Arc::new(job());
        let shape = platform::shape(job.head());
        Process { running: run::start(job, &shape, &parts, &settings).unwrap(), metrics }
    }

    /// Records of so many different keys.
    fn publish(&mut self, keys: i64) {
        let schema = self.registry.register("s", &catalog::FLOW_OBSERVED.avsc).unwrap();
        let now = (system_clock())();
        let mut producer = self.log.producer("publisher").unwrap();
        let value = |n: i64| {
            let src_app = format!("app-{n}");
            let flow = FlowObserved {
                tenant: "default",
                src_app: &src_app,
                dest_app: "db",
                vpc_id: "v",
                observed_at: now,
                bytes_tx: 1,
                bytes_rx: 2,
                event_id: "e",
            };
            let mut value = Vec::new();
            wire::put_header(schema, &mut value);
            flow.put(&mut value);
            value
        };
        let values: Vec<Vec<u8>> = (0..keys).map(value).collect();
        let mut send = |sink: &mut dyn tidemark_log::Sink| {
            values.iter().enumerate().try_for_each(|(n, value)| {
                sink.send(Outgoing { topic: TOPIC, partition: n as u32 % 2, value: Some(value), ..Outgoing::default() })
            })
        };
        producer.commit(&mut send).unwrap();
        self.published += keys;
    }

    fn wait(&self, what: &str, done: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !done() {
            assert!(Instant::now() < deadline, "no {what} in 30 s");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Until all that was published is in the ledgers of the view.
    fn wait_for_all(&self) {
        let view = job().head().columns().view.clone();
        self.wait("result", || {
            let ledgers = self.runtime.block_on(tidemark_views::ViewStore::ledger(&*self.views, &view, 0, i64::MAX));
            ledgers.unwrap().iter().map(|ledger| ledger.records).sum::<i64>() == self.published
        });
    }
}

/// The process that owns everything goes away; the other, which followed it, takes over with hardly anything to read.
#[test]
fn a_hot_standby_takes_over() {
    let dir = TempDir::new().unwrap();
    let mut shared = Shared::new(dir.path());
    let first = shared.start("first", dir.path());
    shared.wait("ready first process", || first.metrics.ready().is_ok());
    shared.publish(400);
    shared.wait_for_all();
    let second = shared.start("second", dir.path());
    shared.wait("ready second process", || second.metrics.ready().is_ok() && first.metrics.ready().is_ok());
    // Each owns one merge partition and follows the other.
    let followed = |process: &Process| (0..2).find(|&partition| process.metrics.standby_lag(partition) == Some(0));
    shared.publish(400);
    shared.wait_for_all();
    shared.wait("standby", || followed(&second).is_some() && followed(&first).is_some());
    let partition = followed(&second).unwrap();
    first.running.stop();
    shared.publish(10);
    shared.wait_for_all();
    let entries = second.metrics.restored_entries(partition).unwrap();
    assert!(entries < 50, "{entries} entries of more than 200 rows");
    second.running.stop();
}
