//! Checkpoints: what they may claim, when they may be used, and that windows that are on disk alone are as good as others.

use crate::hooked::{Ask, Nobody};
use crate::world::{BASE, INTERVAL, Machine, Owner, World, make};
use std::sync::{Arc, Mutex};
use tidemark_jobs::flows::HOUR_MS;
use tidemark_runtime::Operator;
use tidemark_runtime::state::memory::MemoryStorage;
use tidemark_runtime::state::{StateSettings, Storage};

/// 100 rows in a checkpoint, then 2 more entries.
fn with_checkpoint(world: &mut World, machine: &Machine) {
    let mut owner = Owner::on(world, machine).take_over(world);
    world.partial(0, 0, &(0..100).collect::<Vec<u16>>());
    owner.go_on(world);
    owner.checkpoint(world);
    world.partial(0, 0, &[1]);
    owner.go_on(world);
}

/// Adds a record, and holds the rows against what was published.
fn goes_on(world: &mut World, owner: &mut Owner, expected: i64) {
    world.partial(0, 0, &[1]);
    owner.go_on(world);
    assert_eq!(world.records(0), expected);
}

#[test]
fn a_restart_on_the_same_machine_reads_the_tail_only() {
    let mut world = World::new(1);
    let machine = world.machine();
    with_checkpoint(&mut world, &machine);
    let whole = Owner::on(&world, &world.machine()).take_over(&world).entries();
    machine.disk.crash();
    let mut again = Owner::on(&world, &machine);
    again.now += INTERVAL + 1;
    let mut again = again.take_over(&world);
    assert_eq!(again.metrics.checkpoints(0), (0, 0, 0));
    // The commit that the checkpoint was taken with, which changed nothing, and a row with its ledger.
    assert!(whole > 100 && again.entries() <= 3, "{} of {whole}", again.entries());
    goes_on(&mut world, &mut again, 102);
}

/// An owner loses the partition without noticing, and then asks for the end of the changelog: it is told of an end that its
/// successor has written up to, and claims changes that it does not have.
#[test]
fn stale_checkpoint_of_a_zombie() {
    let mut world = World::new(1);
    let machine = world.machine();
    let mut zombie = Owner::on(&world, &machine).take_over(&world);
    world.partial(0, 0, &[1, 2]);
    zombie.fold(&world);
    zombie.now += INTERVAL;
    let pending = zombie.pending();
    // The zombie's last good commit; before it hears of that, the successor has taken over and committed.
    world.make(pending);
    let mut successor = Owner::on(&world, &world.machine()).take_over(&world);
    world.partial(0, 0, &[3, 4, 5]);
    successor.go_on(&world);
    zombie.stage.committed(zombie.now);
    for _ in 0..100 {
        zombie.stage.tick(&mut Nobody, zombie.now).unwrap();
    }
    assert_eq!(zombie.metrics.checkpoints(0).0, 1);
    drop(zombie);
    let mut back = Owner::on(&world, &machine);
    back.now += 2 * INTERVAL;
    let mut back = back.take_over(&world);
    assert_eq!(back.metrics.checkpoints(0).2, 0, "the checkpoint claims what it does not have");
    goes_on(&mut world, &mut back, 6);
}

/// A successor's commit comes between the zombie's question and its commit: that one is fenced, and the answer must not
/// count with any other.
#[test]
fn an_answer_counts_with_its_own_commit_alone() {
    let mut world = World::new(1);
    let machine = world.machine();
    let mut owner = Owner::on(&world, &machine).take_over(&world);
    world.partial(0, 0, &[1, 2]);
    owner.go_on(&world);
    let (log, plan, late) = (Arc::clone(&world.log), Arc::clone(&world.plan), Mutex::new(None));
    let mut successor = Owner::on(&world, &world.machine()).take_over(&world);
    world.partial(0, 0, &[3, 4, 5]);
    successor.fold(&world);
    *late.lock().unwrap() = Some(successor.pending());
    world.log.before(move |ask| {
        if ask == Ask::End {
            late.lock().unwrap().take().into_iter().for_each(|late| make(&log, &plan, late));
        }
        None
    });
    owner.now += INTERVAL;
    drop(owner.pending()); // refused by the log: the partition has another owner
    owner.stage.discard();
    let mut back = Owner::on(&world, &machine).take_over(&world);
    assert_eq!(back.metrics.checkpoints(0), (0, 0, 0));
    goes_on(&mut world, &mut back, 6);
}

/// Tombstones are kept for a day: a checkpoint that is older than half of that may hold rows whose removal is gone.
#[test]
fn stale_checkpoint_by_age() {
    let mut world = World::new(1);
    let machine = world.machine();
    with_checkpoint(&mut world, &machine);
    for (age, used) in [(12 * HOUR_MS, true), (12 * HOUR_MS + 1, false)] {
        let machine = Machine { disk: copy(&machine.disk), ..machine.clone() };
        let mut again = Owner::on(&world, &machine);
        again.now = BASE + INTERVAL + age;
        let again = again.take_over(&world);
        assert_eq!(again.entries() < 10, used, "{age} ms");
        assert_eq!(again.metrics.checkpoints(0).2, u64::from(!used));
    }
}

fn copy(disk: &MemoryStorage) -> MemoryStorage {
    let to = MemoryStorage::default();
    for (dir, name) in disk.files() {
        to.append(&dir, &name, &disk.read(&dir, &name).unwrap()).unwrap();
        to.sync(&dir, &name).unwrap();
    }
    to
}

/// The topics were deleted and made anew under the same names, and have grown past the offset that the checkpoint covers.
#[test]
fn a_checkpoint_of_another_changelog_is_not_used() {
    let mut old = World::new(1);
    let machine = old.machine();
    with_checkpoint(&mut old, &machine);
    for commits in [1, 200] {
        let machine = Machine { disk: copy(&machine.disk), ..machine.clone() };
        let mut world = World::new(1);
        let mut owner = Owner::on(&world, &world.machine()).take_over(&world);
        for _ in 0..commits {
            world.partial(0, 5, &[7, 8]);
            world.marker(0);
            owner.go_on(&world);
        }
        let mut moved = Owner::on(&world, &machine).take_over(&world);
        assert_eq!(moved.metrics.checkpoints(0).2, 1, "{commits} commits");
        assert_eq!(world.records(5), 2 * commits);
        goes_on(&mut world, &mut moved, 1);
    }
}

/// The window was sealed after the checkpoint: its rows are in the checkpoint, and a straggler that finds them there would
/// bring them back to life.
#[test]
fn sealed_straggler() {
    let mut world = World::new(1);
    let machine = world.machine();
    let mut owner = Owner::on(&world, &machine).take_over(&world);
    world.partial(0, 0, &[1, 2]);
    owner.go_on(&world);
    owner.checkpoint(&world);
    seal(&mut world, &mut owner);
    assert_eq!(world.records(0), 0, "the rows of a sealed window are removed");
    let mut again = Owner::on(&world, &machine);
    again.now = owner.now;
    drop(owner);
    let mut again = again.take_over(&world);
    assert_eq!(again.metrics.checkpoints(0).2, 0);
    world.partial(0, 0, &[1]);
    again.go_on(&world);
    let ledger = &world.ledgers()[&0];
    assert_eq!((ledger.sealed, ledger.sealed_out, ledger.records, world.records(0)), (true, 1, 2, 0));
    let late = std::cell::Cell::new(0);
    world.read(&world.plan.late, 0, |batch| late.set(late.get() + batch.records.len()));
    assert_eq!(late.get(), 1);
}

/// Seals every window, event time and the log's own being far enough on, and has their rows removed.
fn seal(world: &mut World, owner: &mut Owner) {
    world.log_time(31 * 24 * HOUR_MS);
    world.marker(24 * 30);
    owner.go_on(world);
    owner.settle(world);
}

fn tight() -> StateSettings {
    StateSettings { memory_bytes: 0, ..StateSettings::default() }
}

/// Windows that are on disk alone: amended, closed and sealed as if they were in memory; and a restart in between.
#[test]
fn a_cold_window_is_as_good_as_another() {
    let mut world = World::new(1);
    let machine = Machine { settings: tight(), ..world.machine() };
    let mut owner = Owner::on(&world, &machine).take_over(&world);
    for hour in 0..4 {
        world.partial(0, hour, &[1, 2, 3]);
    }
    world.marker(2);
    owner.go_on(&world);
    owner.settle(&world);
    owner.go_on(&world);
    assert!(text(&owner).contains("tidemark_state_bytes{merge_partition=\"0\"} 0\n"), "{}", text(&owner));
    assert!(text(&owner).contains("tidemark_state_rows{merge_partition=\"0\"} 12\n"));
    world.partial(0, 0, &[1, 4]);
    owner.go_on(&world);
    machine.disk.crash();
    let mut again = Owner::on(&world, &machine);
    again.now = owner.now;
    drop(owner);
    let mut again = again.take_over(&world);
    assert_eq!(again.metrics.checkpoints(0).2, 0);
    world.partial(0, 2, &[9]);
    again.go_on(&world);
    again.settle(&world);
    assert_eq!([0, 1, 2, 3].map(|hour| world.records(hour)), [5, 3, 4, 3]);
    seal(&mut world, &mut again);
    assert_eq!([0, 1, 2, 3].map(|hour| world.records(hour)), [0; 4]);
    assert!(world.ledgers().values().all(|ledger| ledger.sealed));
}

pub(crate) fn text(owner: &Owner) -> String {
    let mut text = String::new();
    owner.metrics.render(&mut text);
    text
}

/// A graceful stop leaves a checkpoint of everything: the next start reads nothing but the last commit.
#[test]
fn a_graceful_stop_leaves_a_checkpoint() {
    let mut world = World::new(1);
    let machine = world.machine();
    let mut owner = Owner::on(&world, &machine).take_over(&world);
    world.partial(0, 0, &(0..50).collect::<Vec<u16>>());
    owner.go_on(&world);
    owner.stage.stopping();
    assert_ne!(owner.stage.due(), tidemark_runtime::drive::Due::Never, "the state is not on disk");
    owner.commit(&world);
    owner.stage.left();
    machine.disk.crash();
    let mut again = Owner::on(&world, &machine).take_over(&world);
    assert_eq!(again.entries(), 0);
    goes_on(&mut world, &mut again, 51);
}
