//! Bounds: what one commit writes, and what is held in memory, however much comes at once.

use crate::checkpoints::text;
use crate::hooked::Nobody;
use crate::world::{Machine, Owner, World};
use tidemark_jobs::flows::HOUR_MS;
use tidemark_runtime::Operator;
use tidemark_runtime::drive::{Backlog, Due};
use tidemark_runtime::state::{StateSettings, Storage};

const ROWS_MAX: usize = 10;

fn in_small_commits(world: &World, machine: Option<&Machine>, now: i64) -> Owner {
    let mut owner = machine.map_or_else(|| Owner::in_memory(world), |machine| Owner::on(world, machine));
    owner.stage = owner.stage.with_commit_rows(ROWS_MAX);
    owner.now = now;
    owner.take_over(world)
}

/// Takes a step as a stage does; rows that were written and removed, if there was a commit.
fn step(world: &World, owner: &mut Owner) -> Option<(usize, usize)> {
    owner.stage.tick(&mut Nobody, owner.now).unwrap();
    owner.stage.check().unwrap();
    (owner.stage.due() != Due::Never).then(|| {
        let pending = owner.pending();
        let is_row = |key: &Option<Vec<u8>>| key.as_ref().is_some_and(|key| key[0] == b'R');
        let rows = pending.records.iter().filter(|(topic, _, key, _)| *topic == world.plan.changelog && is_row(key));
        let (written, removed): (Vec<_>, Vec<_>) = rows.partition(|(.., value)| value.is_some());
        let counts = (written.len(), removed.len());
        world.make(pending);
        owner.stage.committed(owner.now);
        counts
    })
}

/// Commits until nothing is left to do: how often.
fn until_rest(world: &World, owner: &mut Owner) -> usize {
    let mut commits = 0;
    while let Some((written, removed)) = step(world, owner) {
        assert!(
            written < 2 * ROWS_MAX && removed <= ROWS_MAX,
            "{written} rows written, {removed} removed in one commit"
        );
        commits += 1;
        assert!(commits < 1_000, "it does not come to an end");
    }
    commits
}

fn seal(world: &mut World) {
    world.log_time(31 * 24 * HOUR_MS);
    world.marker(24 * 30);
}

/// A commit of everything that a poll brought, or that a marker sealed, takes longer than a transaction may: it fails, is
/// read again after the restart, and fails again.
#[test]
fn a_commit_is_bounded_however_much_is_read_or_sealed() {
    let mut world = World::new(1);
    let mut owner = in_small_commits(&world, None, 0);
    for hour in 0..12 {
        world.partial(0, hour, &[1, 2, 3, 4, 5, 6, 7]);
    }
    owner.fold(&world);
    assert_eq!((owner.stage.due(), owner.stage.backlog()), (Due::Now, Backlog::Full));
    assert_eq!(until_rest(&world, &mut owner), 6);
    assert_eq!(owner.stage.backlog(), Backlog::None);
    assert!((0..12).all(|hour| world.records(hour) == 7));
    seal(&mut world);
    owner.fold(&world);
    assert!(until_rest(&world, &mut owner) >= 9, "84 rows, 10 at a time");
    assert!(world.rows().is_empty() && world.ledgers().values().all(|ledger| ledger.sealed));
}

fn manifest(machine: &Machine) -> Option<Vec<u8>> {
    machine.disk.read("0", "manifest").ok()
}

/// A restart in the middle of the removal, with a checkpoint from before or none: the rows are no state, and the rest of them is
/// removed all the same. A checkpoint that is taken in between has to wait: it would not know what is left.
#[test]
fn a_restart_goes_on_with_the_removal_of_sealed_rows() {
    for (before, between) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut world = World::new(1);
        let machine = world.machine();
        let mut owner = in_small_commits(&world, Some(&machine), 0);
        for hour in 0..12 {
            world.partial(0, hour, &[1, 2, 3, 4, 5, 6, 7]);
        }
        owner.fold(&world);
        until_rest(&world, &mut owner);
        if before {
            owner.checkpoint(&world);
        }
        seal(&mut world);
        owner.fold(&world);
        let (written, files) = (owner.metrics.checkpoints(0).0, manifest(&machine));
        for _ in 0..4 {
            owner.now += if between { 60_000 } else { 0 };
            step(&world, &mut owner);
        }
        assert_eq!((owner.metrics.checkpoints(0).0, manifest(&machine)), (written, files));
        let left = world.rows().len();
        assert!((7..84).contains(&left), "{left}");
        machine.disk.crash();
        let now = owner.now;
        drop(owner);
        let mut again = in_small_commits(&world, Some(&machine), now);
        assert_eq!(again.metrics.checkpoints(0).2, 0);
        world.partial(0, 0, &[1]);
        again.fold(&world);
        until_rest(&world, &mut again);
        assert!(world.rows().is_empty(), "{before}, {between}: {:?}", world.rows());
        assert_eq!((world.ledgers()[&0].records, world.ledgers()[&0].sealed_out), (7, 1));
        // All of it is gone: the next restart has nothing to remove, and checkpoints are written again.
        again.checkpoint(&world);
        for machine in [None, Some(&machine)] {
            let mut last = in_small_commits(&world, machine, now);
            assert_eq!(step(&world, &mut last), None);
        }
    }
}

/// Records of all hours on a disk that is full: what is loaded cannot leave memory again. Reading waits for the disk.
#[test]
fn rows_that_cannot_leave_memory_hold_reading_up() {
    const SHARE: usize = 100_000;
    const HOURS: i64 = 20;
    let mut world = World::new(1);
    let settings = StateSettings { memory_bytes: SHARE, ..StateSettings::default() };
    let machine = Machine { settings, ..world.machine() };
    let mut owner = Owner::on(&world, &machine).take_over(&world);
    for hour in 0..HOURS {
        world.partial(0, hour, &(0..300).collect::<Vec<u16>>());
        owner.go_on(&world);
        owner.checkpoint(&world);
    }
    machine.disk.fail_after(Some(0));
    (0..HOURS).for_each(|hour| world.partial(0, hour, &[1]));
    owner.fold(&world);
    let bytes = |owner: &Owner| -> usize {
        let text = text(owner);
        let line = text.lines().find(|line| line.starts_with("tidemark_state_bytes{")).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    for _ in 0..20 {
        owner.now += 1_001;
        step(&world, &mut owner);
        assert!(bytes(&owner) < 3 * SHARE, "{} bytes", bytes(&owner));
    }
    assert_ne!(owner.stage.backlog(), Backlog::None);
    assert!(owner.metrics.checkpoints(0).1 > 1, "it is tried again and again");
    machine.disk.fail_after(None);
    for _ in 0..1_000 {
        owner.now += 1_001;
        step(&world, &mut owner);
        assert!(bytes(&owner) < 3 * SHARE, "{} bytes", bytes(&owner));
    }
    assert_eq!(owner.stage.backlog(), Backlog::None);
    assert!((0..HOURS).all(|hour| world.records(hour) == 301));
}

/// Sealed rows that are read on the changelog are let go of when it says that they are removed, and until then no checkpoint
/// comes to its end: a restore that waited for one, memory being short, would wait for ever.
#[test]
fn a_restore_does_not_wait_for_a_checkpoint_that_waits_for_it() {
    let mut world = World::new(1);
    let mut owner = in_small_commits(&world, None, 0);
    (0..3).for_each(|hour| world.partial(0, hour, &(0..300).collect::<Vec<u16>>()));
    owner.go_on(&world);
    owner.settle(&world);
    seal(&mut world);
    // As many rows are added meanwhile as it takes several steps to read.
    for hour in 0..60 {
        world.partial(0, 24 * 30 + hour, &(0..1_000).collect::<Vec<u16>>());
        owner.fold(&world);
        step(&world, &mut owner);
    }
    assert!(world.records(2) > 0, "some are left");
    let settings = StateSettings { memory_bytes: 0, checkpoint_interval_ms: 0, ..StateSettings::default() };
    let machine = Machine { settings, ..world.machine() };
    let now = owner.now;
    drop(owner);
    let mut again = in_small_commits(&world, Some(&machine), now);
    again.settle(&world);
    assert_eq!([0, 1, 2].map(|hour| world.records(hour)), [0; 3]);
}

/// Whoever reads the view topic from its beginning has the rows before the ledger that speaks of them, and that before the
/// watermark that closes them.
#[test]
fn a_commit_writes_rows_then_ledgers_then_progress() {
    let mut world = World::new(1);
    let mut owner = Owner::in_memory(&world).take_over(&world);
    world.partial(0, 0, &[1, 2]);
    world.partial(0, 1, &[3]);
    world.marker(2);
    owner.fold(&world);
    let pending = owner.pending();
    for topic in [&world.plan.view, &world.plan.changelog] {
        let keys = pending.records.iter().filter(|(of, ..)| of == topic).filter_map(|(_, _, key, _)| key.as_ref());
        assert_eq!(keys.map(|key| char::from(key[0])).collect::<String>(), "RRRLLP", "{topic}");
    }
}
