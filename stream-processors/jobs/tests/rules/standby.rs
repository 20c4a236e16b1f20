//! Hot standby: a takeover reads only what has come since the standby's last step.

use crate::world::{INTERVAL, Owner, World};
use std::sync::Arc;
use tidemark_jobs::flows::FlowSums;
use tidemark_log::Log;
use tidemark_runtime::Metrics;
use tidemark_runtime::standby::Standby;
use tidemark_runtime::state::StateDir;
use tidemark_schemas::registry::Registry;

struct Second {
    standby: Arc<Standby<FlowSums>>,
    dir: Arc<StateDir>,
    metrics: Arc<Metrics>,
}

fn second(world: &World, machine: &crate::world::Machine) -> Second {
    let dir = StateDir::over(Arc::new(machine.disk.clone()), machine.settings);
    let metrics = Arc::new(Metrics::default());
    let standby = Standby::new(
        Arc::clone(&world.plan),
        Arc::clone(&world.log) as Arc<dyn Log>,
        Arc::clone(&world.registry) as Arc<dyn Registry>,
        Arc::clone(&dir),
        Arc::clone(&metrics),
    );
    Second { standby: Arc::new(standby), dir, metrics }
}

#[test]
fn a_takeover_from_a_standby_reads_the_tail_only() {
    let mut world = World::new(1);
    let mut first = Owner::in_memory(&world).take_over(&world);
    let (machine, now) = (world.machine(), first.now);
    let second = second(&world, &machine);
    world.partial(0, 0, &(0..200).collect::<Vec<u16>>());
    first.go_on(&world);
    for step in 0..20 {
        second.standby.step(now + step * INTERVAL).unwrap();
    }
    assert_eq!(second.metrics.standby_lag(0), Some(0));
    assert_eq!(second.metrics.checkpoints(0), (1, 0, 0), "what it follows is on its disk");
    world.partial(0, 0, &[1, 2]);
    first.go_on(&world);
    drop(first);
    let takes_over = |machine_dir: &Arc<StateDir>, standby: Option<&Arc<Standby<FlowSums>>>| {
        let mut owner = Owner::with(&world, Some(Arc::clone(machine_dir)));
        owner.stage = owner.stage.with_standby(standby.map(Arc::clone));
        owner.now = now + 10 * INTERVAL;
        owner.take_over(&world)
    };
    let owner = takes_over(&second.dir, Some(&second.standby));
    assert!(owner.entries() <= 3, "{}", owner.entries());
    assert_eq!(owner.metrics.checkpoints(0).2, 0);
    assert_eq!(second.metrics.standby_lag(0), None, "it is not followed any more");
    second.standby.step(now + 30 * INTERVAL).unwrap();
    assert_eq!(second.metrics.standby_lag(0), None, "somebody in this process works on it");
    drop(owner);
    // It is given up again: the standby goes on from its disk.
    second.standby.step(now + 40 * INTERVAL).unwrap();
    second.standby.step(now + 50 * INTERVAL).unwrap();
    assert_eq!(second.metrics.standby_lag(0), Some(0));
    let mut owner = takes_over(&second.dir, Some(&second.standby));
    assert_eq!(owner.entries(), 0);
    world.partial(0, 0, &[1]);
    owner.go_on(&world);
    assert_eq!(world.records(0), 203);
}

/// What a standby has followed is not what was committed (the topics were made anew): the changelog has the word, not an end
/// of the stage. The standby has no checkpoint yet.
#[test]
fn a_standby_that_is_wrong_costs_a_restore() {
    let (mut old, mut world) = (World::new(1), World::new(1));
    let mut before = Owner::in_memory(&old).take_over(&old);
    old.partial(0, 0, &[1, 2]);
    old.marker(0);
    before.go_on(&old);
    let second = second(&old, &old.machine());
    for step in 0..5 {
        second.standby.step(before.now + step * 1_000).unwrap();
    }
    assert_eq!((second.metrics.standby_lag(0), second.metrics.checkpoints(0).0), (Some(0), 0));
    let mut first = Owner::in_memory(&world).take_over(&world);
    for _ in 0..2 {
        world.partial(0, 0, &[3, 4, 5]);
        world.marker(0);
        first.go_on(&world);
    }
    drop(first);
    let mut owner = Owner::with(&world, Some(Arc::clone(&second.dir)));
    owner.stage = owner.stage.with_standby(Some(Arc::clone(&second.standby)));
    let mut owner = owner.take_over(&world);
    assert_eq!(owner.metrics.checkpoints(0).2, 1);
    world.partial(0, 0, &[3]);
    owner.go_on(&world);
    assert_eq!(world.records(0), 7);
}
