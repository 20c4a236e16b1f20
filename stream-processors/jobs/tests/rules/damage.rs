//! Damage: torn, flipped and missing bytes, a disk that is full, a process that dies between two writes.

use crate::world::{Machine, Owner, World};
use tidemark_runtime::Operator;
use tidemark_runtime::state::Storage;
use tidemark_runtime::state::memory::MemoryStorage;

fn small(world: &mut World, machine: &Machine) -> Owner {
    let mut owner = Owner::on(world, machine).take_over(world);
    world.partial(0, 0, &[1]);
    world.partial(0, 1, &[1]);
    owner.go_on(world);
    owner.settle(world);
    // Where memory is short, everything is on disk by now.
    if owner.metrics.checkpoints(0).0 == 0 {
        owner.checkpoint(world);
    }
    owner
}

fn files(disk: &MemoryStorage) -> Vec<(String, String, Vec<u8>)> {
    let read = |(dir, name): (String, String)| {
        let bytes = disk.read(&dir, &name).unwrap();
        (dir, name, bytes)
    };
    disk.files().into_iter().map(read).collect()
}

fn disk_of(files: &[(String, String, Vec<u8>)]) -> MemoryStorage {
    let disk = MemoryStorage::default();
    for (dir, name, bytes) in files {
        disk.append(dir, name, bytes).unwrap();
        disk.sync(dir, name).unwrap();
    }
    disk
}

/// Takes over with these files; how many checkpoints were refused, and the records of the first window after one more.
fn restart(world: &World, files: &[(String, String, Vec<u8>)], settings: &Machine) -> u64 {
    let machine = Machine { disk: disk_of(files), settings: settings.settings };
    let mut owner = Owner::on(world, &machine).take_over(world);
    owner.fold(world);
    let pending = owner.pending();
    let row = |(topic, _, key, _): &&(String, u32, Option<Vec<u8>>, Option<Vec<u8>>)| {
        *topic == world.plan.changelog && key.as_ref().is_some_and(|key| key[0] == b'R')
    };
    assert_eq!(pending.records.iter().filter(row).count(), 1);
    let value = pending.records.iter().find(row).and_then(|(.., value)| value.clone()).unwrap();
    use tidemark_schemas::avro::{Avro, Reader};
    let row = tidemark_schemas::engine::RowState::get(&mut Reader::new(&value[5..])).unwrap();
    assert_eq!(row.records, 2, "one in the state, one just read");
    owner.metrics.checkpoints(0).2
}

/// Any byte of any file, cut off or flipped: it is seen, and the changelog gives the state.
#[test]
fn damaged_checkpoints_are_not_used() {
    let mut world = World::new(1);
    let machine = world.machine();
    drop(small(&mut world, &machine));
    world.partial(0, 0, &[1]);
    let whole = files(&machine.disk);
    assert_eq!(whole.len(), 5, "manifest, head, sealed, two windows");
    assert_eq!(restart(&world, &whole, &machine), 0);
    let mut tried = 0;
    for at in 0..whole.len() {
        let bytes = whole[at].2.clone();
        for byte in 0..bytes.len() {
            let mut damaged = whole.clone();
            if byte % 2 == 0 {
                damaged[at].2[byte] ^= 1 << (byte % 8);
            } else {
                damaged[at].2.truncate(byte);
            }
            assert_eq!(restart(&world, &damaged, &machine), 1, "byte {byte} of {}", damaged[at].1);
            tried += 1;
        }
        let mut missing = whole.clone();
        missing.remove(at);
        let refused = u64::from(whole[at].1 != "manifest");
        assert_eq!(restart(&world, &missing, &machine), refused, "without {}", whole[at].1);
    }
    assert!(tried > 300, "{tried}");
}

/// The rows of a window that is loaded in the middle of work are damaged: the stage begins again from the changelog.
#[test]
fn a_damaged_cold_window_costs_a_restore() {
    let mut world = World::new(1);
    let settings = tidemark_runtime::state::StateSettings { memory_bytes: 0, ..Default::default() };
    let machine = Machine { settings, ..world.machine() };
    let mut owner = small(&mut world, &machine);
    owner.go_on(&world);
    for (dir, name) in machine.disk.files() {
        if name != "manifest" {
            machine.disk.damage(&dir, &name, |bytes| bytes.iter_mut().for_each(|byte| *byte ^= 1));
        }
    }
    world.partial(0, 0, &[1]);
    let place = [tidemark_log::TopicPartition::new(world.plan.partials.as_str(), 0)];
    let (stage, now) = (&mut owner.stage, owner.now);
    world.read(&world.plan.partials, 0, |batch| {
        let last = batch.records.len() - 1;
        stage.fold(tidemark_log::Batch { records: &batch.records[last..], ..batch }, now)
    });
    let error = owner.stage.check().unwrap_err();
    assert!(error.is_retriable() && error.to_string().contains("checksum"), "{error}");
    owner.stage.assign(&place, owner.now).unwrap();
    owner.try_take_over(&world).unwrap();
    owner.go_on(&world);
    owner.settle(&world);
    assert_eq!((world.records(0), world.records(1)), (2, 1));
}

/// The same on a disk that cannot be written to any more: what is damaged stays where it is, and is not believed again.
#[test]
fn damage_on_a_read_only_disk_is_read_once() {
    let mut world = World::new(1);
    let machine = world.machine();
    drop(small(&mut world, &machine));
    for (dir, name) in machine.disk.files() {
        if name != "manifest" {
            machine.disk.damage(&dir, &name, |bytes| bytes.iter_mut().for_each(|byte| *byte ^= 1));
        }
    }
    machine.disk.fail_after(Some(0));
    let mut owner = Owner::on(&world, &machine).take_over(&world);
    assert_eq!(owner.metrics.checkpoints(0).2, 1);
    owner.try_take_over(&world).unwrap();
    assert_eq!(owner.metrics.checkpoints(0).2, 1, "it is known to be damaged");
    machine.disk.fail_after(None);
    owner.checkpoint(&world);
    owner.try_take_over(&world).unwrap();
    assert_eq!((owner.metrics.checkpoints(0).2, owner.entries()), (1, 0), "a new one has taken its place");
}

/// The disk is full: no checkpoint, nothing lost, metric and status say so; with room again there is a checkpoint.
#[test]
fn a_full_disk_costs_the_checkpoint_and_nothing_else() {
    let mut world = World::new(1);
    let machine = world.machine();
    let mut owner = small(&mut world, &machine);
    world.partial(0, 0, &[1]);
    machine.disk.fail_after(Some(1));
    owner.checkpoint(&world);
    assert_eq!(owner.metrics.checkpoints(0), (1, 1, 0));
    let status = owner.metrics.status().to_string();
    assert!(status.contains("checkpoint_errors\":[{\"error\":"), "{status}");
    world.partial(0, 0, &[1]);
    owner.go_on(&world);
    assert_eq!(world.records(0), 3);
    machine.disk.fail_after(None);
    owner.checkpoint(&world);
    assert_eq!(owner.metrics.checkpoints(0), (2, 1, 0));
    assert!(owner.metrics.status()["checkpoint_errors"].as_array().unwrap().is_empty());
    let again = Owner::on(&world, &machine).take_over(&world);
    assert_eq!((again.entries(), again.metrics.checkpoints(0).2), (0, 0));
}

/// The process dies after any number of writes of a checkpoint, unsynced bytes gone with the machine or left behind by a
/// process that was killed: the checkpoint before it stands, or the new one, and no file that nobody names is left for long.
#[test]
fn a_process_may_die_between_any_two_writes() {
    for killed in [false, true] {
        die_between_any_two_writes(killed);
    }
}

fn die_between_any_two_writes(killed: bool) {
    let mut used = [0, 0];
    for writes in 0.. {
        let mut world = World::new(1);
        let machine = world.machine();
        let mut owner = small(&mut world, &machine);
        let whole = machine.disk.files().len();
        world.partial(0, 0, &[1, 2]);
        owner.go_on(&world);
        let before = machine.disk.changes();
        machine.disk.fail_after(Some(writes));
        owner.checkpoint(&world);
        let all = owner.metrics.checkpoints(0).0 == 2 && machine.disk.changes() - before <= writes;
        drop(owner);
        if killed {
            machine.disk.fail_after(None)
        } else {
            machine.disk.crash()
        }
        let mut again = Owner::on(&world, &machine).take_over(&world);
        assert_eq!(again.metrics.checkpoints(0).2, 0, "after {writes} writes");
        used[usize::from(again.entries() == 0)] += 1;
        world.partial(0, 0, &[1]);
        again.go_on(&world);
        assert_eq!(world.records(0), 4, "after {writes} writes");
        again.checkpoint(&world);
        assert_eq!(machine.disk.files().len(), whole, "after {writes} writes");
        let last = Owner::on(&world, &machine).take_over(&world);
        assert_eq!((last.metrics.checkpoints(0).2, last.entries()), (0, 0), "after {writes} writes");
        if all {
            break;
        }
    }
    assert!(used[0] >= 5 && used[1] >= 2, "old and new checkpoints used: {used:?}");
}
