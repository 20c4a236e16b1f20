//! Markers: what a watermark may rest on.

use crate::hooked::Nobody;
use crate::world::{BASE, Owner, Pending, World};
use std::sync::Arc;
use tidemark_core::Job;
use tidemark_jobs::flows::{self, HOUR_MS};
use tidemark_jobs::platform;
use tidemark_log::{GroupOffset, Log, TopicPartition};
use tidemark_runtime::partial::PartialStage;
use tidemark_runtime::{Metrics, Operator};
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::engine::{Marker, SourceMark};
use tidemark_schemas::registry::Registry;

fn closed(world: &World, hour: i64) -> bool {
    world.ledgers()[&hour].closed_at.is_some()
}

/// One source partition has not been heard of: it may hold records of any hour. The lowest watermark of the others would
/// close hours that it still fills.
#[test]
fn missing_markers() {
    let mut world = World::new(2);
    let mut owner = Owner::in_memory(&world).take_over(&world);
    world.partial(0, 0, &[1]);
    world.marker_of(0..1, 5);
    owner.go_on(&world);
    assert!(!closed(&world, 0));
    world.marker_of(1..2, 5);
    owner.go_on(&world);
    assert!(closed(&world, 0));
}

/// A zombie marks a partition idle that its successor has read on in: its mark would move the watermark over records that the
/// successor has yet to write. It is behind what is known of the partition, and passed over.
#[test]
fn zombie_marker() {
    let mut world = World::new(1);
    let mut owner = Owner::in_memory(&world).take_over(&world);
    world.partial(0, 0, &[1]);
    world.marker(0);
    let zombie = SourceMark {
        topic: flows::TOPIC.into(),
        partition: 0,
        next_offset: 0,
        watermark: None,
        idle_at: Some(BASE + 100 * HOUR_MS),
        records: 7,
        late: 0,
        held: 0,
        filtered: 0,
        dead_lettered: 0,
        duplicates: 0,
    };
    world.put_marker(vec![zombie]);
    owner.go_on(&world);
    assert!(!closed(&world, 0));
    world.marker(5);
    owner.go_on(&world);
    assert!(closed(&world, 0));
}

fn partial_stage(world: &World) -> PartialStage<tidemark_jobs::flows::FlowsHourly> {
    let place = |partition| TopicPartition::new(flows::TOPIC, partition);
    let group = world.plan.group("partial");
    let metadata = tidemark_core::partial::metadata(world.job.spec().fingerprint(), &Default::default());
    for partition in 0..2 {
        let at = GroupOffset { partition: place(partition), offset: 0, metadata: metadata.clone() };
        world.log.committed.lock().unwrap().insert((group.clone(), partition), at);
    }
    let mut stage = PartialStage::new(
        Arc::clone(&world.job),
        Arc::clone(&world.plan),
        platform::shape(world.job.head()).source,
        Arc::clone(&world.log) as Arc<dyn Log>,
        Arc::clone(&world.registry) as Arc<dyn Registry>,
        Arc::new(Metrics::default()),
    );
    stage.assign(&[place(0), place(1)], BASE).unwrap();
    let restored = (0..1_000).any(|_| stage.restore().unwrap().is_some());
    assert!(restored);
    stage
}

/// What a commit now would write: the source partitions that it marks, and those whose offsets it commits.
fn commit(stage: &mut PartialStage<tidemark_jobs::flows::FlowsHourly>, now: i64) -> (Vec<SourceMark>, Vec<u32>) {
    stage.prepare(now).unwrap();
    let mut pending = Pending::default();
    stage.produce(now, &mut pending).unwrap();
    let offsets = stage.offsets(&Nobody).unwrap();
    stage.committed(now);
    let last = pending.records.iter().rev().find_map(|(.., value)| value.clone()).unwrap();
    let marker = Marker::get(&mut Reader::new(&last[5..])).unwrap();
    (marker.sources, offsets.into_iter().map(|at| at.partition.partition).collect())
}

/// A source partition without a single record is never committed with records: without a marker when it is assigned, nobody
/// would ever hear of it, and no window would close.
#[test]
fn marker_on_assignment() {
    let world = World::new(2);
    let mut stage = partial_stage(&world);
    assert_eq!(stage.due(), tidemark_runtime::drive::Due::Now);
    let (marks, _) = commit(&mut stage, BASE);
    assert_eq!(marks.iter().map(|mark| mark.partition).collect::<Vec<_>>(), [0, 1]);
}

/// An idle marker carries no records. A commit that marks a partition without its offset is not held against its ownership:
/// a zombie could go on calling a partition idle that another reads.
#[test]
fn marker_offsets() {
    let world = World::new(2);
    let mut stage = partial_stage(&world);
    commit(&mut stage, BASE);
    let now = BASE + 2 * world.job.spec().idle_after_ms;
    stage.tick(&mut Nobody, now).unwrap();
    assert_ne!(stage.due(), tidemark_runtime::drive::Due::Never);
    let (marks, offsets) = commit(&mut stage, now);
    assert!(marks.iter().all(|mark| mark.idle_at == Some(now)), "{marks:?}");
    assert_eq!(marks.iter().map(|mark| mark.partition as u32).collect::<Vec<_>>(), offsets);
    assert_eq!(offsets, [0, 1]);
}
