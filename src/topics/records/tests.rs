use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::{Cleanup, Outgoing, Producer, TopicSpec};

struct World {
    log: Arc<EmbeddedLog>,
    now: Arc<AtomicI64>,
    producer: Box<dyn Producer>,
    _dir: tempfile::TempDir,
}

impl World {
    fn new(partitions: u32) -> Self {
        Self::with(partitions, Cleanup::Delete)
    }

    fn with(partitions: u32, cleanup: Cleanup) -> Self {
        let (dir, now) = (tempfile::tempdir().unwrap(), Arc::new(AtomicI64::new(1_000)));
        let clock = Arc::clone(&now);
        let log = EmbeddedLog::open(dir.path(), Arc::new(move || clock.load(Ordering::Relaxed))).unwrap();
        let topic = TopicSpec { name: "t".into(), partitions, cleanup, retention_ms: None };
        log.create_topics(&[topic]).unwrap();
        let producer = log.producer("p").unwrap();
        Self { log, now, producer, _dir: dir }
    }

    fn put(&mut self, at: i64, partition: u32, value: &[u8]) {
        self.now.store(at, Ordering::Relaxed);
        let record = Outgoing { topic: "t", partition, value: Some(value), ..Outgoing::default() };
        self.producer.commit(&mut |sink| sink.send(record)).unwrap();
    }

    fn found(&self, which: Which, limit: usize) -> Found {
        read(self.log.as_ref(), "t", which, limit, &mut |_, _| true).unwrap().unwrap()
    }

    /// The values, as text.
    fn values(&self, which: Which, limit: usize) -> Vec<String> {
        let entries = self.found(which, limit).entries;
        entries.into_iter().map(|entry| String::from_utf8(entry.value.unwrap()).unwrap()).collect()
    }
}

#[test]
fn the_last_records_of_all_partitions_come_in_append_order() {
    let mut world = World::new(3);
    assert_eq!(world.found(Which::Last, 5), Found { entries: vec![], partitions: 3, cut: None });
    for (at, partition, value) in [(10, 0, b"a"), (20, 1, b"b"), (20, 0, b"c"), (30, 1, b"d"), (40, 0, b"e")] {
        world.put(at, partition, value);
    }
    assert_eq!(world.values(Which::Last, 3), ["b", "d", "e"], "c is of the time of b and of a lower partition");
    assert_eq!(world.values(Which::Last, 100), ["a", "c", "b", "d", "e"]);
    assert_eq!(world.found(Which::Last, 3).cut, None, "it is what was asked for");
    assert!(read(world.log.as_ref(), "u", Which::Last, 1, &mut |_, _| true).unwrap().is_none());
    assert!(read(world.log.as_ref(), "t", Which::Last, 1, &mut |_, _| false).is_err(), "nobody waits");
}

#[test]
fn records_of_a_time_are_the_first_ones() {
    let mut world = World::new(2);
    (0..10).for_each(|at| world.put(at * 10, (at % 2) as u32, at.to_string().as_bytes()));
    assert_eq!(world.values(Which::Between(20, 60), 100), ["2", "3", "4", "5"]);
    assert_eq!(world.values(Which::Between(15, i64::MAX), 2), ["2", "3"]);
    assert_eq!(world.found(Which::Between(0, i64::MAX), 100).cut, None);
    let cut = world.found(Which::Between(20, i64::MAX), 2).cut.unwrap();
    assert_eq!(cut, "there are more: these are the first ones, as many as go into 2 records");
    assert_eq!(world.values(Which::Between(500, 600), 2), [""; 0]);
}

/// Where the log's clock went back the order within a partition is still that of the offsets.
#[test]
fn a_clock_that_goes_back_changes_no_order() {
    let mut world = World::new(2);
    for (at, partition, value) in [(30, 0, b"b"), (10, 0, b"c"), (20, 1, b"a"), (40, 0, b"d")] {
        world.put(at, partition, value);
    }
    assert_eq!(world.values(Which::Last, 10), ["a", "b", "c", "d"]);
}

/// What the last records take in memory is bounded; so is what is read of a partition whose offsets are mostly not records.
#[test]
fn the_bounds_hold() {
    let mut world = World::new(1);
    let large = vec![b'x'; 1 << 20];
    (0..80).for_each(|at| world.put(at, 0, &large));
    let found = world.found(Which::Last, 80);
    assert_eq!((found.entries.len(), found.entries.last().unwrap().offset), (63, 79));
    assert!(found.cut.unwrap().contains("the last ones, as many as go into 64 MiB"));
}

/// Offsets that are no records: the log is read from further back until there are as many as were asked for.
#[test]
fn gaps_are_made_up_for() {
    let mut world = World::with(2, Cleanup::Compact);
    for at in 0..40 {
        world.now.store(at, Ordering::Relaxed);
        let value = at.to_string();
        // Of one key, but for the first three: compaction leaves those and the last one.
        let key = if at < 3 { [at as u8] } else { [9] };
        let record = Outgoing { topic: "t", key: Some(&key), value: Some(value.as_bytes()), ..Outgoing::default() };
        world.producer.commit(&mut |sink| sink.send(record)).unwrap();
    }
    world.log.maintain().unwrap();
    assert!(world.values(Which::Last, 40).len() < 40, "nothing was compacted");
    assert_eq!(world.values(Which::Last, 3), ["1", "2", "39"]);
}
