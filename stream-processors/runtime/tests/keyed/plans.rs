//! What is made for a process before it starts.

use tidemark_log::{Cleanup, Log};
use tidemark_runtime::Error;
use tidemark_runtime::keyed::{Output, Plan, Spec};
use tidemark_schemas::catalog::HEARTBEAT;

use crate::accounts;
use crate::world::{World, calm};

#[test]
fn names_follow_from_the_spec() {
    let plan = Plan::new(Spec { version: 3, ..accounts::spec("bank", 2) });
    assert_eq!(plan.changelog, "tidemark.bank.v3.changelog");
    assert_eq!(plan.dead_letter, "tidemark.bank.v3.dead-letter");
    assert_eq!(plan.group, "tidemark.bank.v3.process");
    let topics: Vec<_> = plan.topics().iter().map(|t| (t.name.clone(), t.partitions, t.cleanup)).collect();
    let topic = |name: &str, partitions, cleanup| (name.to_owned(), partitions, cleanup);
    let want = [
        topic("bank.commands", 2, Cleanup::Delete),
        topic("bank.events", 2, Cleanup::Delete),
        topic("bank.balances", 2, Cleanup::Compact),
        topic("tidemark.bank.v3.changelog", 2, Cleanup::Compact),
        topic("tidemark.bank.v3.dead-letter", 2, Cleanup::Delete),
    ];
    assert_eq!(topics, want);
}

#[test]
fn subjects_are_by_the_number_of_record_types() {
    let world = World::new(&calm(1, 1));
    let mut spec = accounts::spec("shop", 1);
    // Two outputs on one topic, and one type of entry.
    let topic = spec.outputs[0].topic.clone();
    spec.outputs.push(Output { topic, schema: HEARTBEAT });
    spec.entries.truncate(1);
    let mut plan = Plan::new(spec);
    plan.create(world.log.as_ref(), world.parts.registry.as_ref()).unwrap();
    let subjects = world.parts.registry.subject_names().unwrap();
    let subjects: Vec<_> = subjects.iter().filter(|name| name.contains("shop")).map(String::as_str).collect();
    let want = [
        "shop.balances-value",
        "shop.commands-bank.Closed",
        "shop.commands-bank.Moved",
        "shop.commands-tidemark.engine.Ticked",
        "shop.events-bank.Event",
        "shop.events-tidemark.dispatch.Heartbeat",
        "tidemark.shop.v1.changelog-value",
        "tidemark.shop.v1.dead-letter-value",
    ];
    assert_eq!(subjects, want);
}

#[test]
fn what_is_there_stays() {
    let mut world = World::new(&calm(2, 1));
    let value = world.moved("a", 5, 0);
    world.send(&[(0, Some(value))]).unwrap();
    world.until_read().unwrap();
    world.stop(0);
    let before = world.topics().committed().unwrap();
    assert!(before[0].as_ref().is_some_and(|at| at.offset > 0));
    let mut again = Plan::new(accounts::spec("bank", 2));
    again.create(world.log.as_ref(), world.parts.registry.as_ref()).unwrap();
    assert_eq!(world.topics().committed().unwrap(), before);
}

#[test]
fn deleted_offsets_are_not_begun_again() {
    let mut world = World::new(&calm(1, 1));
    let create = |world: &World| {
        let mut plan = Plan::new(accounts::spec("bank", 1));
        plan.create(world.log.as_ref(), world.parts.registry.as_ref())
    };
    world.until_read().unwrap();
    world.stop(0);
    // Nothing was ever done: to begin again loses nothing.
    world.log.delete_groups(&[world.plan.group.clone()]).unwrap();
    create(&world).unwrap();
    world.start(0);
    let value = world.moved("a", 5, 0);
    world.send(&[(0, Some(value))]).unwrap();
    world.until_read().unwrap();
    world.stop(0);
    world.log.delete_groups(&[world.plan.group.clone()]).unwrap();
    let refused = create(&world).unwrap_err();
    assert!(matches!(&refused, Error::KeyedOffsetsDeleted { next_version: 2, .. }), "{refused}");
    assert!(!refused.is_retriable());
    // Nor by a stage that is at work already.
    world.start(0);
    let stopped = (0..100).find_map(|_| world.step(0).err()).unwrap();
    assert!(stopped.contains("has no offsets, but tidemark.bank.v1.changelog holds the state"), "{stopped}");
}

#[test]
fn another_number_of_partitions_is_refused() {
    let world = World::new(&calm(2, 1));
    for partitions in [1, 3] {
        let mut plan = Plan::new(accounts::spec("bank", partitions));
        let refused = plan.create(world.log.as_ref(), world.parts.registry.as_ref()).unwrap_err();
        assert!(matches!(&refused, Error::KeyedPartitions { found: 2, .. }), "{refused}");
    }
    assert_eq!(world.log.partitions("bank.commands").unwrap(), Some(2));
}
