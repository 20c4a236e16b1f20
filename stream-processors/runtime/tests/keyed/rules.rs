//! One promise at a time, without faults.

use std::sync::atomic::Ordering;

use tidemark_log::simulated::Faults;
use tidemark_log::{At, Cleanup, Log, Outgoing, TopicPartition, TopicSpec};
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::wire;

use crate::accounts::{EVENTS, Event};
use crate::check::{Reference, check, reference};
use crate::schedule::Config;
use crate::world::{World, calm};

/// Rounds after which nothing more is expected.
const ROUNDS: usize = 200;

impl World {
    fn round(&mut self) {
        (0..self.threads.len()).for_each(|at| self.step(at).unwrap());
    }

    fn until(&mut self, what: &str, is_so: impl Fn(&World) -> bool) {
        for _ in 0..ROUNDS {
            if is_so(self) {
                return;
            }
            self.round();
        }
        panic!("{what}: not after {ROUNDS} rounds, {:?}", self.topics().behind());
    }

    /// Until everything is read and committed.
    fn until_idle(&mut self) {
        self.until("at rest", |world| world.topics().behind().unwrap().is_none());
        self.round();
    }

    fn publish_one(&mut self, value: Vec<u8>) {
        self.send(&[(0, Some(value))]).unwrap();
    }

    fn reference(&self) -> Reference {
        reference(&self.topics()).unwrap()
    }

    fn ticks(&self) -> Vec<(i64, i64)> {
        self.reference().partitions[&0].ticks.clone()
    }

    /// Events by what they are, in order of partitions.
    fn events(&self) -> Vec<Event> {
        let topics = self.topics();
        let all = (0..2).flat_map(|partition| topics.all(topics.output(EVENTS).0, partition).unwrap());
        all.map(|seen| {
            let value = seen.value.unwrap();
            Event::get(&mut Reader::new(wire::split(&value).unwrap().1)).unwrap()
        })
        .collect()
    }

    fn is_done(&self, what: &str) -> bool {
        self.events().iter().any(|event| event.what == what)
    }
}

fn world() -> World {
    let mut world = World::new(&calm(1, 1));
    world.until_idle();
    world
}

#[test]
fn a_timer_fires_in_time_by_one_tick() {
    let mut world = world();
    world.publish_one(world.moved("a", 5, 1_000));
    world.until_idle();
    let due = world.reference().partitions[&0].due.unwrap();
    while world.time.wall_ms() < due - 60 {
        world.round();
    }
    assert_eq!(world.ticks(), []);
    world.until("the account expires", |world| world.is_done("expired"));
    (0..50).for_each(|_| world.round());
    let ticks = world.ticks();
    assert!(ticks.len() == 1 && ticks[0].0 == due && (due..due + 120).contains(&ticks[0].1), "due {due}: {ticks:?}");
    check(&world.topics()).unwrap();
}

#[test]
fn what_is_read_brings_time_and_needs_no_tick() {
    let mut world = world();
    world.publish_one(world.moved("a", 5, 1_000));
    world.until_idle();
    world.time.pass(2_000);
    world.publish_one(world.moved("b", 5, 0));
    world.until("the account expires", |world| world.is_done("expired"));
    assert_eq!(world.ticks(), []);
    check(&world.topics()).unwrap();
}

#[test]
fn a_tick_that_comes_too_early_is_written_again_without_haste() {
    let mut world = World::new(&calm(1, 1));
    world.ahead_ms.store(2_500, Ordering::Relaxed);
    world.until_idle();
    world.publish_one(world.moved("a", 5, 2_000));
    world.until("the account expires", |world| world.is_done("expired"));
    let ticks = world.ticks();
    assert!((2..=4).contains(&ticks.len()), "{ticks:?}");
    assert!(ticks.last().is_some_and(|(due, at)| at >= due), "{ticks:?}");
    check(&world.topics()).unwrap();
}

/// The tick of a predecessor may stand there, which nobody can read yet.
#[test]
fn no_tick_is_written_behind_an_open_transaction() {
    let mut world = world();
    world.publish_one(world.moved("a", 5, 1_000));
    world.until_idle();
    let (before, mut seed) = (end(&world), 0);
    // Half of the commits that stay open have their records in the log.
    while end(&world) == before {
        world.log.settle().unwrap();
        publish_open(&mut world, seed);
        seed += 1;
    }
    for _ in 0..3 {
        (0..60).for_each(|_| world.round());
        world.crash(0);
        world.start(0);
    }
    assert_eq!(world.ticks(), []);
    // The transaction's time is over.
    world.time.pass(30_000);
    world.until("the account expires", |world| world.is_done("expired"));
    assert_eq!(world.ticks().len(), 1);
    check(&world.topics()).unwrap();
}

#[test]
fn time_does_not_go_back_at_a_takeover() {
    let mut world = World::new(&calm(1, 2));
    world.until_idle();
    world.publish_one(world.moved("a", 5, 0));
    world.until_idle();
    let first = world.events()[0].at;
    // Whoever of the two owns the partition: both leave, one by one, and come back.
    for process in [0, 1] {
        world.stop(process);
        world.until_idle();
        world.time.step_wall(-3_000);
        world.publish_one(world.moved("a", 5, 0));
        world.until_idle();
        world.start(process);
    }
    let times: Vec<i64> = world.events().iter().map(|event| event.at).collect();
    assert_eq!(times.len(), 3);
    assert!(times.iter().all(|at| *at >= first), "{times:?}");
    assert!(times.is_sorted(), "{times:?}");
    assert!(world.time.wall_ms() < first, "the log's clock was not set back");
    check(&world.topics()).unwrap();
}

#[test]
fn an_entry_that_is_gone_leaves_a_tombstone_and_then_nothing() {
    let mut world = world();
    let sent: Vec<_> = (0..40).map(|n| (0, Some(world.moved(&format!("account {n}"), n, 0)))).collect();
    world.send(&sent).unwrap();
    world.until_idle();
    let sent: Vec<_> = (0..38).map(|n| (0, Some(world.closed(&format!("account {n}"))))).collect();
    world.send(&sent).unwrap();
    world.until_idle();
    let count = |world: &World| world.topics().all(&world.plan.changelog, 0).unwrap().len();
    let checked = check(&world.topics()).unwrap();
    assert_eq!((checked.entries, checked.tombstones), (3, 38));
    assert!(count(&world) > 78, "{}", count(&world));
    // Compaction leaves the last of each key, and a day later no tombstones.
    world.log.maintain().unwrap();
    assert_eq!(count(&world), 41);
    world.time.pass(25 * 60 * 60 * 1_000);
    world.log.maintain().unwrap();
    assert_eq!(count(&world), 3);
    let checked = check(&world.topics()).unwrap();
    assert_eq!((checked.entries, checked.tombstones), (3, 0));
}

#[test]
fn an_entry_made_and_gone_within_a_commit_is_not_written() {
    let mut world = world();
    world.send(&[(0, Some(world.moved("a", 5, 0))), (0, Some(world.closed("a")))]).unwrap();
    world.until_idle();
    let changelog = world.topics().all(&world.plan.changelog, 0).unwrap();
    let keys: Vec<_> = changelog.iter().map(|seen| seen.key.as_deref().unwrap()).collect();
    assert_eq!(keys, [b"moves"]);
    check(&world.topics()).unwrap();
}

/// Every change of an entry since the last commit is one record.
#[test]
fn a_commit_writes_each_entry_once() {
    let mut world = world();
    let sent: Vec<_> = (0..20).map(|_| (0, Some(world.moved("a", 5, 0)))).collect();
    world.send(&sent).unwrap();
    world.until_idle();
    assert_eq!(world.events().len(), 20);
    assert_eq!(world.topics().all(&world.plan.changelog, 0).unwrap().len(), 2);
}

#[test]
fn a_registry_that_is_away_is_waited_for() {
    let mut world = world();
    world.registry.is_away.store(true, Ordering::Relaxed);
    world.publish_one(world.moved("a", 5, 0));
    (0..100).for_each(|_| world.round());
    assert!(world.events().is_empty());
    assert!(world.topics().behind().unwrap().is_some());
    world.registry.is_away.store(false, Ordering::Relaxed);
    world.until("the move is done", |world| world.is_done("moved"));
    assert_eq!(check(&world.topics()).unwrap().dead, 0);
}

#[test]
fn much_that_is_held_is_committed_at_once() {
    let mut world = World::new(&Config { commit_interval_ms: 3_600_000, ..calm(1, 1) });
    world.until("started", |world| world.threads[0].steps >= 8);
    world.publish_one(world.moved("a", 5, 0));
    (0..50).for_each(|_| world.round());
    assert!(world.events().is_empty());
    let sent: Vec<_> = (0..12).map(|n| (0, Some(world.moved(&format!("{n}{}", "b".repeat(200_000)), 5, 0)))).collect();
    world.send(&sent).unwrap();
    world.until("a commit", |world| world.events().len() == 13);
}

/// The end of the input, open transactions included.
fn end(world: &World) -> i64 {
    world.log.offsets(&[TopicPartition::new("bank.commands", 0)], At::End).unwrap()[0]
}

/// Publishes a record in a transaction that stays open.
fn publish_open(world: &mut World, seed: u64) {
    world.log.set(seed, Faults { open: 1_000, ..Faults::default() });
    let value = world.moved("b", 5, 0);
    world.send(&[(0, Some(value))]).unwrap_err();
    world.log.set(seed, Faults::default());
}

#[test]
fn the_offset_goes_past_control_markers() {
    let mut world = world();
    // Until one is aborted, and its marker is all that there is to read.
    for seed in 0.. {
        world.until_idle();
        let (before, records) = (end(&world), world.topics().all("bank.commands", 0).unwrap().len());
        publish_open(&mut world, seed);
        world.log.settle().unwrap();
        if end(&world) > before && world.topics().all("bank.commands", 0).unwrap().len() == records {
            break;
        }
    }
    world.until("no lag", |world| world.topics().committed().unwrap()[0].as_ref().unwrap().offset == end(world));
}

fn write(world: &World, topic: &str, key: &[u8], value: Option<&[u8]>) {
    let mut producer = world.log.producer("another").unwrap();
    let record = Outgoing { topic, partition: 0, key: Some(key), value, headers: &[] };
    producer.commit(&mut |sink| sink.send(record)).unwrap();
}

/// What a stage says that stops for good when its process starts again.
fn refusal(world: &mut World) -> String {
    world.start(0);
    for _ in 0..ROUNDS {
        if let Err(why) = world.step(0) {
            return why;
        }
    }
    panic!("it starts");
}

#[test]
fn a_changelog_that_others_wrote_to_is_refused() {
    let mut world = world();
    world.publish_one(world.moved("a", 5, 0));
    world.until_idle();
    world.stop(0);
    let changelog = world.plan.changelog.clone();
    write(&world, &changelog, b"a", None);
    let why = refusal(&mut world);
    assert!(why.contains("does not hold what was committed") && why.contains("(time, number, digest)"), "{why}");
    let mut garbled = World::new(&calm(1, 1));
    garbled.until_idle();
    garbled.stop(0);
    write(&garbled, &changelog, b"a", Some(b"hello"));
    let why = refusal(&mut garbled);
    assert!(why.contains("entry \"a\": magic byte is 0x68"), "{why}");
}

#[test]
fn partitions_that_were_added_to_the_input_are_refused() {
    let mut world = world();
    world.stop(0);
    let (name, cleanup) = ("bank.commands".to_owned(), Cleanup::Delete);
    world.log.create_topics(&[TopicSpec { name, partitions: 2, cleanup, retention_ms: None }]).unwrap();
    let why = refusal(&mut world);
    assert!(why.contains("bank.commands has 2 partition(s) and 1 are declared"), "{why}");
}
