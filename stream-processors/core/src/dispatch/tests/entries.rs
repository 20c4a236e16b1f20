//! The state entry by entry.

use super::*;

/// A queue with something of everything in it.
fn full() -> World {
    let mut world = world();
    world.tell(Command::Expect(vec![Expected { kind: "pdf".to_owned(), step: "D1".to_owned(), expected_ms: 40_000 }]));
    world.submit(&["done", "stepped", "given", "back", "waits"]);
    world.ask("r1", "w", 1);
    world.complete("x", "done", 1);
    world.ask("r2", "w", 1);
    world.beat("w", &[("stepped", 2, "D1")]);
    world.ask("r3", "v", 1);
    world.wait("r4", "v", 1, 9_000);
    world.push("p", 2);
    world.refuse("x", "back", 4);
    world
}

fn restored(entries: impl IntoIterator<Item = Entry>) -> Queue {
    let mut queue = Queue::new(Settings::default());
    entries.into_iter().for_each(|entry| queue.restore(entry));
    queue
}

#[test]
fn a_restored_queue_goes_on_alike_whatever_the_order_of_entries() {
    let mut world = full();
    let entries: Vec<Entry> = world.queue.entries().into_values().collect();
    assert_eq!(entries.len(), 1 + 5 + 3 + 1);
    let mut forth = World { queue: restored(entries.clone()), now: 0 };
    let mut back = World { queue: restored(entries.into_iter().rev()), now: 0 };
    for other in [&forth, &back] {
        assert_eq!(other.queue, world.queue);
        assert_eq!(other.queue.due(), world.queue.due());
        assert_eq!((other.queue.pending(), other.queue.leased()), (world.queue.pending(), world.queue.leased()));
        assert!(other.queue.workers().eq(world.queue.workers()));
    }
    for now in (0..800_000).step_by(3_000) {
        let said = world.at(now);
        assert_eq!(forth.at(now), said);
        assert_eq!(back.at(now), said);
    }
    assert_eq!((&forth.queue, &back.queue), (&world.queue, &world.queue));
}

#[test]
fn a_restored_queue_has_nothing_to_write() {
    assert!(restored(full().queue.entries().into_values()).take_changed().is_empty());
}

#[test]
fn changed_entries_are_named_once() {
    let mut world = world();
    world.submit(&["a", "b"]);
    world.wait("r1", "w", 1, 1000);
    world.wait("r2", "w", 1, 1000);
    let task = |task: &str| EntryKey::Task(task.to_owned());
    let worker = EntryKey::Worker("w".to_owned());
    let request = EntryKey::Request("r2".to_owned());
    let changed = world.queue.take_changed();
    assert_eq!(changed, [EntryKey::Queue, task("a"), task("b"), worker.clone(), request.clone()]);
    assert!(world.queue.take_changed().is_empty());
    assert!(matches!(world.queue.entry(&request), Some(Entry::Request(_))));
    world.complete("x", "a", 1);
    let changed = world.queue.take_changed();
    assert_eq!(changed, [EntryKey::Queue, task("a"), task("b"), request.clone()], "the worker is as before");
    assert_eq!(world.queue.entry(&request), None, "it is answered");
    world.at(700_000);
    assert_eq!(world.queue.entry(&task("a")), None, "it is forgotten");
    assert_eq!(world.queue.entry(&worker), None, "it is gone");
}

#[test]
fn what_changes_nothing_names_no_entry() {
    let mut world = full();
    world.queue.take_changed();
    world.submit(&["waits", "stepped"]);
    world.cancel("done");
    world.complete("x", "done", 1);
    world.complete("x", "stepped", 1);
    world.beat("w", &[("stepped", 2, "D1"), ("done", 1, "")]);
    world.tell(Command::Expect(vec![Expected { kind: "pdf".to_owned(), step: "D1".to_owned(), expected_ms: 40_000 }]));
    assert!(world.queue.take_changed().is_empty());
}

#[test]
fn time_that_is_set_to_nothing_does_not_loop() {
    let none = Settings {
        heartbeat_timeout_ms: 0,
        accept_ms: 0,
        floor_ms: -5,
        factor: 0,
        finished_kept_ms: 0,
        ..Settings::default()
    };
    let mut world = World { queue: Queue::new(none), now: 0 };
    world.push("w", 1);
    world.submit(&["a"]);
    world.wait("r1", "w", 1, i64::MAX);
    for now in 0..50 {
        world.at(now);
        assert!(world.queue.due().is_none_or(|due| due > now));
    }
    assert_eq!(world.queue.worker("w"), None);
}
