//! The follower on a simulated log, with a table that writes down what it is given.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, in its helpers too")]

use super::*;
use std::sync::atomic::AtomicBool;
use tidemark_core::join::{self, Change};
use tidemark_core::versions::{Full, Limits};
use tidemark_log::simulated::{SimulatedLog, Time};
use tidemark_log::{Cleanup, Log, Outgoing, TopicSpec};
use tidemark_schemas::avro::put_long;
use tidemark_schemas::catalog::Schema;
use tidemark_schemas::registry::{self, Latest, Registry};
use tidemark_schemas::wire;

const AVSC: &str = r#"{"type": "record", "name": "Row", "fields": [{"name": "id", "type": "long"}]}"#;
const TOPIC: &str = "rows";
const NOW: i64 = 1_000_000;

struct One;

impl Registry for One {
    fn register(&self, _: &str, _: &str) -> Result<u32, registry::Error> {
        Ok(1)
    }
    fn schema(&self, _: u32) -> Result<Option<Arc<str>>, registry::Error> {
        Ok(Some(AVSC.into()))
    }
    fn latest_of(&self, _: &str) -> Result<Option<Latest>, registry::Error> {
        Ok(None)
    }
    fn subject_names(&self) -> Result<Vec<String>, registry::Error> {
        Ok(vec![])
    }
}

/// Partitions and offsets in the order in which they came.
#[derive(Debug)]
struct Noting {
    schema: Schema,
    seen: Mutex<Vec<(u32, i64)>>,
    read_before: AtomicI64,
    missed: AtomicBool,
    forgotten: Mutex<Vec<Need>>,
    versions_max: usize,
}

impl KeyedTable for Noting {
    fn topic(&self) -> &str {
        TOPIC
    }
    fn schema(&self) -> &Schema {
        &self.schema
    }
    fn clear(&self) {
        locked(&self.seen).clear();
        self.missed.store(false, Ordering::Relaxed);
        self.read_before.store(i64::MIN, Ordering::Relaxed);
    }
    fn apply(&self, change: Change<'_>) -> Result<(), join::Error> {
        let mut seen = locked(&self.seen);
        seen.push((change.partition, change.offset));
        let limits = Limits { versions: self.versions_max, bytes: 1 };
        let full = Full { versions: seen.len(), bytes: 0, limits };
        if seen.len() > self.versions_max { Err(full.into()) } else { Ok(()) }
    }
    fn is_read(&self, before: i64) {
        self.read_before.store(before, Ordering::Relaxed);
    }
    fn forget(&self, need: Need) {
        locked(&self.forgotten).push(need);
    }
    fn is_missed(&self) -> bool {
        self.missed.load(Ordering::Relaxed)
    }
}

struct World {
    time: Arc<Time>,
    log: Arc<SimulatedLog>,
    table: Arc<Noting>,
    tables: Arc<Tables>,
    follower: Follower,
}

impl World {
    fn new(versions_max: usize) -> Self {
        let time = Time::new(NOW);
        let log = SimulatedLog::new(Arc::clone(&time), 1).unwrap();
        let (schema, seen, forgotten) =
            (Schema { name: "Row".into(), avsc: AVSC.into() }, Mutex::default(), Mutex::default());
        let (read_before, missed) = (AtomicI64::new(i64::MIN), AtomicBool::new(false));
        let table = Arc::new(Noting { schema, seen, read_before, missed, forgotten, versions_max });
        let tables = Arc::new(Tables::new(&[Arc::clone(&table) as Arc<dyn KeyedTable>]));
        let registry: Arc<dyn Registry> = Arc::new(One);
        let follower = Follower::new(Arc::clone(&tables), Arc::clone(&log) as Arc<dyn Log>, &registry, time.clock());
        let world = Self { time, log, table, tables, follower };
        world.partitions(2);
        world
    }

    fn partitions(&self, partitions: u32) {
        let spec = TopicSpec { name: TOPIC.into(), partitions, cleanup: Cleanup::Delete, retention_ms: None };
        self.log.create_topics(&[spec]).unwrap();
    }

    fn publish(&self, partition: u32) {
        let mut value = Vec::new();
        wire::put_header(1, &mut value);
        put_long(&mut value, 7);
        let record = Outgoing { topic: TOPIC, partition, value: Some(&value), ..Outgoing::default() };
        self.log.producer("p").unwrap().commit(&mut |sink| sink.send(record)).unwrap();
    }

    fn step(&mut self) -> Result<(), crate::Error> {
        self.follower.step(std::time::Duration::from_millis(self.time.elapsed_ms()))
    }

    /// Reads on until the tables are beyond what is appended now.
    fn catch_up(&mut self) {
        let wanted = self.time.wall_ms();
        self.tables.want(wanted);
        self.time.pass(SKEW_MS as u64 + 1);
        for _ in 0..1_000 {
            self.step().unwrap();
            if self.tables.read_before() > wanted {
                return;
            }
        }
        panic!("not read: {:?}", self.tables);
    }

    fn seen(&self) -> Vec<(u32, i64)> {
        let mut seen = locked(&self.table.seen).clone();
        seen.sort_unstable();
        seen
    }
}

#[test]
fn it_says_that_it_has_read_what_it_has_read() {
    let mut world = World::new(100);
    assert_eq!(world.tables.read_before(), i64::MIN);
    world.publish(0);
    world.publish(1);
    world.catch_up();
    assert_eq!(world.seen().len(), 2);
    let before = world.tables.read_before();
    assert!(
        (NOW..=world.time.wall_ms() - SKEW_MS).contains(&before),
        "as far as clocks may be apart before the ends were asked for"
    );
    assert_eq!(world.table.read_before.load(Ordering::Relaxed), before);
    world.publish(0);
    world.catch_up();
    assert_eq!(world.seen().len(), 3);
}

#[test]
fn partitions_that_are_added_are_read_before_it_says_so() {
    let mut world = World::new(100);
    world.publish(0);
    world.catch_up();
    world.partitions(5);
    world.publish(4);
    world.publish(0);
    world.catch_up();
    assert_eq!(world.seen().iter().map(|(partition, _)| *partition).collect::<Vec<_>>(), [0, 0, 4], "each once");
}

#[test]
fn what_is_missed_is_read_again_from_the_start() {
    let mut world = World::new(100);
    world.publish(0);
    world.publish(1);
    world.catch_up();
    world.table.missed.store(true, Ordering::Relaxed);
    world.step().unwrap();
    assert!(!world.table.is_missed(), "it was emptied");
    world.catch_up();
    assert_eq!(world.seen().len(), 2);
}

#[test]
fn a_table_that_is_too_large_is_the_end() {
    let mut world = World::new(1);
    world.publish(0);
    world.publish(0);
    let error = (0..1_000).find_map(|_| world.step().err()).unwrap();
    assert!(matches!(error, Error::TableFull { .. }) && !error.is_retriable());
    assert!(error.to_string().contains("table rows: it has 2 versions of rows"), "{error}");
    assert!(world.tables.failed().is_some_and(|failed| !failed.is_retriable()));
}

#[test]
fn what_one_stage_may_ask_for_is_kept_for_all() {
    let world = World::new(1);
    let need = |at| Some(Need { event_time: at, appended_at: at * 10 });
    let (a, b) = (world.tables.stage(), world.tables.stage());
    world.tables.need(a, need(7));
    world.tables.need(b, None);
    world.tables.need(a, need(8));
    world.tables.need(b, need(5));
    world.tables.leave(b);
    world.tables.need(a, need(9));
    let forgotten = locked(&world.table.forgotten).clone();
    assert_eq!(forgotten.into_iter().map(Some).collect::<Vec<_>>(), [need(7), need(5), need(9)]);
}
