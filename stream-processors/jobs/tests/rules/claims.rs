//! What the view writer may say and when: a ledger or a watermark comes after everything that it speaks of, also where compaction
//! has moved some of that behind it. The view topic is read by hand, a member says how far.

use crate::hooked::Nobody;
use crate::world::World;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tidemark_jobs::flows::HOUR_MS;
use tidemark_jobs::platform;
use tidemark_log::{Batch, Error, Event, GroupOffset, Headers, Log, Member, OnBatch, Produce, Record, TopicPartition};
use tidemark_runtime::drive::{Due, Prepared};
use tidemark_runtime::writer::WriterStage;
use tidemark_runtime::{Metrics, Operator};
use tidemark_schemas::engine::Progress;
use tidemark_schemas::flows::FlowHourly;
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire;
use tidemark_views::local::LocalViews;
use tidemark_views::{RowPartition, RowQuery, ViewStore};

/// Has come to a position of a partition that ends somewhere.
struct Reading {
    position: i64,
    end: Option<i64>,
}

impl Member for Reading {
    fn poll(&mut self, timeout: Duration, on_batch: OnBatch<'_>) -> Result<Event, Error> {
        Nobody.poll(timeout, on_batch)
    }
    fn start(&mut self, from: &[(TopicPartition, i64)]) -> Result<(), Error> {
        Nobody.start(from)
    }
    fn release(&mut self) -> Result<(), Error> {
        Nobody.release()
    }
    fn pause(&mut self, partitions: &[TopicPartition], paused: bool) -> Result<(), Error> {
        Nobody.pause(partitions, paused)
    }
    fn position(&self, _: &TopicPartition) -> Result<i64, Error> {
        Ok(self.position)
    }
    fn end(&self, _: &TopicPartition) -> Result<Option<i64>, Error> {
        Ok(self.end)
    }
    fn commit(&mut self, produce: Produce<'_>, offsets: &[GroupOffset]) -> Result<(), Error> {
        Nobody.commit(produce, offsets)
    }
    fn leave(&mut self) -> Result<(), Error> {
        Nobody.leave()
    }
}

/// A writer with a view store of its own.
struct Writer {
    stage: WriterStage,
    store: Arc<LocalViews>,
    runtime: tokio::runtime::Runtime,
    view: tidemark_views::ViewSpec,
    topic: String,
    _dir: TempDir,
}

impl Writer {
    fn on(world: &World) -> Self {
        let (dir, shape) = (TempDir::new().unwrap(), platform::shape(world.job.head()));
        let store = LocalViews::open(dir.path(), Arc::new(|| 11 * HOUR_MS)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut stage = WriterStage::new(
            Arc::clone(&world.plan),
            shape.view.clone(),
            shape.view_source,
            Arc::clone(&world.log) as Arc<dyn Log>,
            Arc::clone(&world.registry) as Arc<dyn Registry>,
            Arc::clone(&store) as Arc<dyn ViewStore>,
            runtime.handle().clone(),
            Arc::new(Metrics::default()),
        );
        let topic = world.plan.view.clone();
        stage.assign(&[TopicPartition::new(topic.as_str(), 0)], 0).unwrap();
        while stage.restore().unwrap().is_none() {}
        Self { stage, store, runtime, view: shape.view, topic, _dir: dir }
    }

    fn fold(&mut self, offset: i64, key: &[u8], value: &[u8]) {
        let (key, value, headers) = (Some(key), Some(value), Headers::default());
        let record = Record { offset, timestamp: 0, key, value, headers };
        self.stage.fold(Batch { topic: &self.topic, partition: 0, records: &[record] }, 0);
        self.stage.check().unwrap();
    }

    /// Writes what may be written; the offset that would be committed.
    fn write(&mut self, position: i64, end: Option<i64>) -> GroupOffset {
        self.stage.tick(&mut Reading { position, end }, 0).unwrap();
        if self.stage.due() != Due::Never {
            while self.stage.prepare(0).unwrap() == Prepared::More {}
        }
        self.stage.committed(0);
        self.stage.offsets(&Nobody).unwrap().remove(0)
    }

    fn watermarks(&self) -> usize {
        self.runtime.block_on(self.store.progress(&self.view)).unwrap().len()
    }

    fn rows(&self) -> usize {
        let partition = RowPartition { tenant: "default".into(), window_start: 10 * HOUR_MS, merge_partition: 0 };
        let query = RowQuery { partition, prefix: vec![], after: None, limit: 10 };
        self.runtime.block_on(self.store.rows(&self.view, &query)).unwrap().len()
    }
}

fn row(world: &World, src_app: &str) -> Vec<u8> {
    let row = FlowHourly {
        tenant: "default",
        src_app,
        dest_app: "db",
        vpc_id: "v",
        window_start: 10 * HOUR_MS,
        merge_partition: 0,
        opened_at: 10 * HOUR_MS,
        records: 1,
        bytes_tx: 1,
        bytes_rx: 1,
        epoch: 1,
        revision: 1,
    };
    let mut value = Vec::new();
    wire::put(world.plan.ids.row, &row, &mut value);
    value
}

fn progress(world: &World) -> Vec<u8> {
    let progress = Progress {
        fingerprint: world.plan.spec.fingerprint(),
        merge_partition: 0,
        merge_partitions: 1,
        watermark: Some(20 * HOUR_MS),
        as_of: 0,
        oldest_append: None,
        sources: Vec::new(),
        partition_counts: Vec::new(),
        epoch: 1,
        revision: 1,
    };
    let mut value = Vec::new();
    wire::put(world.plan.ids.progress, &progress, &mut value);
    value
}

/// The watermark was written after a row of which compaction has left a later revision only, at offset 4.
#[test]
fn a_watermark_waits_for_all_that_was_there_before_it() {
    let world = World::new(1);
    let mut writer = Writer::on(&world);
    writer.fold(0, b"P", &progress(&world));
    writer.fold(1, b"R1", &row(&world, "a"));
    for end in [None, Some(5)] {
        let committed = writer.write(2, end);
        assert_eq!((writer.rows(), writer.watermarks()), (1, 0), "rows do not wait");
        assert_eq!((committed.offset, committed.metadata.as_str()), (0, "2"), "the watermark is read again");
    }
    // A new leader may know of less at first: the end that was known stands.
    assert_eq!(writer.write(2, Some(2)).offset, 0);
    writer.fold(4, b"R2", &row(&world, "b"));
    assert_eq!(writer.write(5, Some(9)).offset, 5);
    assert_eq!((writer.rows(), writer.watermarks()), (2, 1));
}

/// The writer before it had written the rows and not the watermark: its offset is where that is.
#[test]
fn rows_that_are_in_the_view_are_not_written_again() {
    let world = World::new(1);
    let partition = TopicPartition::new(world.plan.view.as_str(), 0);
    let offset = GroupOffset { partition, offset: 0, metadata: "2".into() };
    world.log.committed.lock().unwrap().insert((world.plan.group("view-writer"), 0), offset);
    let mut writer = Writer::on(&world);
    assert_eq!(writer.stage.offsets(&Nobody).unwrap()[0].metadata, "2");
    writer.fold(0, b"P", &progress(&world));
    writer.fold(1, b"R1", &row(&world, "a"));
    writer.fold(2, b"R2", &row(&world, "b"));
    assert_eq!(writer.write(3, Some(3)).offset, 3);
    assert_eq!((writer.rows(), writer.watermarks()), (1, 1));
}
