//! Taking over: which offset, which state, and whether they belong together.

use crate::checkpoints::text;
use crate::hooked::Ask;
use crate::world::{Machine, Owner, World, make};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tidemark_log::{Error, TopicPartition};
use tidemark_runtime::Operator;
use tidemark_runtime::state::StateSettings;

/// An owner that dies leaves its last transaction open. Whoever takes the offset from before it and state from after it
/// counts what is in between twice.
#[test]
fn stable_offset_fetch() {
    let mut world = World::new(1);
    world.partial(0, 0, &[1, 2]);
    let mut before = Owner::in_memory(&world).take_over(&world);
    before.fold(&world);
    let open = Mutex::new(Some(before.pending()));
    drop(before);
    let (log, plan, asked) = (Arc::clone(&world.log), Arc::clone(&world.plan), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    // The broker ends the transaction while it is asked for the third time.
    world.log.before(move |ask| match ask {
        Ask::End => None,
        Ask::Committed if count.fetch_add(1, Ordering::Relaxed) < 3 => Some(Error::Unstable("open".into())),
        Ask::Committed => {
            open.lock().unwrap().take().into_iter().for_each(|open| make(&log, &plan, open));
            None
        }
    });
    let mut after = Owner::in_memory(&world);
    after.try_take_over(&world).unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 4);
    world.partial(0, 0, &[1]);
    after.go_on(&world);
    assert_eq!(world.records(0), 3);
}

/// The end of the changelog is taken, then the predecessor's transaction ends, then the offset is fetched: the state lacks
/// what the offset says is folded.
#[test]
fn end_of_the_changelog_after_the_stable_fetch() {
    let mut world = World::new(1);
    world.partial(0, 0, &[1, 2]);
    let mut before = Owner::in_memory(&world).take_over(&world);
    before.fold(&world);
    let open = Mutex::new(Some(before.pending()));
    let (log, plan) = (Arc::clone(&world.log), Arc::clone(&world.plan));
    world.log.before(move |ask| {
        if ask == Ask::Committed {
            open.lock().unwrap().take().into_iter().for_each(|open| make(&log, &plan, open));
        }
        None
    });
    let mut after = Owner::in_memory(&world);
    after.try_take_over(&world).unwrap();
    world.partial(0, 0, &[1]);
    after.go_on(&world);
    assert_eq!(world.records(0), 3);
}

/// A commit that was indefinite goes through while its successor restores: what that folds again from the offset before it,
/// into the state after it, counts twice.
#[test]
fn state_that_is_ahead_of_the_offset_is_not_used() {
    let mut world = World::new(1);
    let mut zombie = Owner::in_memory(&world).take_over(&world);
    world.partial(0, 0, &[1]);
    zombie.go_on(&world);
    world.partial(0, 0, &[1, 2]);
    world.marker(0);
    zombie.fold(&world);
    let late = Mutex::new(Some(zombie.pending()));
    let (log, plan) = (Arc::clone(&world.log), Arc::clone(&world.plan));
    world.log.before(move |ask| {
        if ask == Ask::End {
            late.lock().unwrap().take().into_iter().for_each(|late| make(&log, &plan, late));
        }
        None
    });
    let mut after = Owner::in_memory(&world);
    let error = after.try_take_over(&world).unwrap_err();
    assert!(error.is_retriable(), "{error}");
    after.try_take_over(&world).unwrap();
    world.partial(0, 0, &[1]);
    after.go_on(&world);
    assert_eq!(world.records(0), 4);
}

/// Records of the changelog are gone, by whatever hand: rows that go on from what is left are wrong for ever.
#[test]
fn a_changelog_that_lacks_what_was_committed_stops_the_stage() {
    let mut world = World::new(1);
    let mut owner = Owner::in_memory(&world).take_over(&world);
    world.partial(0, 0, &[1, 2]);
    world.marker(0);
    owner.fold(&world);
    let mut pending = owner.pending();
    let lost = pending.records.iter().position(|(topic, ..)| *topic == world.plan.changelog).unwrap();
    pending.records.remove(lost);
    world.make(pending);
    let refused = |world: &World| {
        let error = Owner::in_memory(world).try_take_over(world).unwrap_err();
        assert!(!error.is_retriable() && error.to_string().contains("does not hold what was committed"), "{error}");
    };
    refused(&world);
    // All of it is gone: there is not even a ledger left that counts a row.
    let fresh = World::new(1);
    fresh.log.committed.lock().unwrap().clone_from(&world.log.committed.lock().unwrap());
    refused(&fresh);
}

/// The last record of a commit is followed by its control marker, and compaction removes records before the end: a restore
/// that waits for the last record waits for ever, one that counts records ends too soon.
#[test]
fn restore_ends_by_position() {
    let mut world = World::new(1);
    let mut owner = Owner::in_memory(&world).take_over(&world);
    for hour in 0..20 {
        world.partial(0, hour, &[1, 2, 3]);
        owner.go_on(&world);
    }
    world.log.log.maintain().unwrap();
    let mut after = Owner::in_memory(&world).take_over(&world);
    world.partial(0, 3, &[1]);
    after.go_on(&world);
    assert_eq!((world.records(3), world.records(19)), (4, 3));
}

/// A restore takes many steps. What came in between would be folded into half a state: nothing is folded or committed
/// before the last step, and the owner says so.
#[test]
fn partial_state_is_not_folded_into() {
    let mut world = World::new(1);
    let mut owner = Owner::in_memory(&world).take_over(&world);
    world.partial(0, 0, &(0..500).collect::<Vec<u16>>());
    owner.go_on(&world);
    let mut after = Owner::in_memory(&world);
    after.stage.assign(&[TopicPartition::new(world.plan.partials.as_str(), 0)], after.now).unwrap();
    let mut steps = 0;
    while !after.step().unwrap() {
        assert_eq!(after.stage.due(), tidemark_runtime::drive::Due::Never);
        steps += 1;
    }
    assert!(steps > 1, "the restore took one step");
    world.partial(0, 0, &[1]);
    after.go_on(&world);
    assert_eq!(world.records(0), 501);
}

/// State that is larger than memory, on a new machine: rows go to disk on the way, and progress is told meanwhile.
#[test]
fn a_restore_keeps_memory_in_bounds_and_says_how_far_it_is() {
    let mut world = World::new(1);
    let mut owner = Owner::in_memory(&world).take_over(&world);
    for hour in 0..6 {
        world.partial(0, hour, &(0..10_000).collect::<Vec<u16>>());
        owner.go_on(&world);
    }
    let settings = StateSettings { memory_bytes: 4 << 20, ..StateSettings::default() };
    let mut after = Owner::on(&world, &Machine { settings, ..world.machine() });
    after.stage.assign(&[TopicPartition::new(world.plan.partials.as_str(), 0)], after.now).unwrap();
    let mut told = Vec::new();
    while !after.step().unwrap() {
        let status = after.metrics.status();
        told.extend(
            status["restoring"][0]["percent"].as_f64().map(|percent| (percent, status["restoring"][0].clone())),
        );
    }
    assert!(told.iter().any(|(percent, _)| (1.0..99.0).contains(percent)), "{told:?}");
    assert!(told.is_sorted_by(|a, b| a.0 <= b.0), "{told:?}");
    assert!(after.metrics.status()["restoring"].as_array().unwrap().is_empty());
    assert!(after.metrics.checkpoints(0).0 >= 1, "rows went to disk during the restore");
    world.partial(0, 0, &[1]);
    after.go_on(&world);
    let bytes = text(&after).lines().find(|line| line.starts_with("tidemark_state_bytes{")).unwrap().to_owned();
    let bytes: usize = bytes.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(bytes < 6 << 20, "{bytes} bytes of rows in memory");
    assert_eq!(
        (0..6).map(|hour| world.records(hour)).collect::<Vec<_>>(),
        [10_001, 10_000, 10_000, 10_000, 10_000, 10_000]
    );
}
