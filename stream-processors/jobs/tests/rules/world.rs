//! A merge partition by hand: the log, a group's offsets that the test moves, and owners that step when they are told to.

use crate::hooked::{Hooked, Nobody};
use crate::registry::MemoryRegistry;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tidemark_core::{Accumulator, Job};
use tidemark_jobs::flows::{self, FlowSums, FlowsHourly, HOUR_MS, Settings};
use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::{At, Batch, Cleanup, Error, GroupOffset, Log, Outgoing, Sink, TopicPartition, TopicSpec};
use tidemark_runtime::drive::{Backlog, Due};
use tidemark_runtime::merge::MergeStage;
use tidemark_runtime::state::memory::MemoryStorage;
use tidemark_runtime::state::{StateDir, StateSettings};
use tidemark_runtime::{Metrics, Operator, Plan};
use tidemark_schemas::avro::{self, Avro};
use tidemark_schemas::engine::{
    Ledger, Marker, Partial, PartialRow, PartialWindow, RowState, SourceMark, TopicPartitions,
};
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire;

/// Start of the first window.
pub(crate) const BASE: i64 = 400_000 * HOUR_MS;
/// Between two checkpoints.
pub(crate) const INTERVAL: i64 = 30_000;

/// A record that a commit is about to write: topic, partition, key, value.
pub(crate) type Written = (String, u32, Option<Vec<u8>>, Option<Vec<u8>>);

/// The records and offsets of a commit that has not been made.
#[derive(Default)]
pub(crate) struct Pending {
    pub(crate) records: Vec<Written>,
    pub(crate) offsets: Vec<GroupOffset>,
}

impl Sink for Pending {
    fn send(&mut self, record: Outgoing<'_>) -> Result<(), Error> {
        let own = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        self.records.push((record.topic.to_owned(), record.partition, own(record.key), own(record.value)));
        Ok(())
    }
}

pub(crate) struct World {
    _dir: TempDir,
    pub(crate) log: Arc<Hooked>,
    pub(crate) registry: Arc<MemoryRegistry>,
    pub(crate) job: Arc<FlowsHourly>,
    pub(crate) plan: Arc<Plan>,
    sources: i32,
    next_source: Vec<i64>,
    clock: Arc<AtomicI64>,
}

impl World {
    /// One merge partition, fed by so many source partitions.
    pub(crate) fn new(sources: i32) -> Self {
        let dir = TempDir::new().unwrap();
        let clock = Arc::new(AtomicI64::new(BASE));
        let time = Arc::clone(&clock);
        let log = EmbeddedLog::open(dir.path(), Arc::new(move || time.load(Ordering::Relaxed))).unwrap();
        let (name, cleanup) = (flows::TOPIC.to_owned(), Cleanup::Delete);
        log.create_topics(&[TopicSpec { name, partitions: sources as u32, cleanup, retention_ms: None }]).unwrap();
        let log = Arc::new(Hooked::new(log));
        let registry = Arc::new(MemoryRegistry::default());
        let job = Arc::new(flows::hourly(&Settings { merge_partitions: 1, ..Settings::default() }).unwrap());
        let mut plan = Plan::new(job.spec().clone()).unwrap();
        plan.create(log.as_ref(), registry.as_ref(), &job.head().columns().schema).unwrap();
        let next_source = vec![0; sources as usize];
        Self { _dir: dir, log, registry, job, plan: Arc::new(plan), sources, next_source, clock }
    }

    /// Moves the log's clock on from the start of the first window.
    pub(crate) fn log_time(&self, ms: i64) {
        self.clock.store(BASE + ms, Ordering::Relaxed);
    }

    pub(crate) fn write(&self, records: Vec<Written>) {
        let mut producer = self.log.log.producer("by-hand").unwrap();
        let mut send = |sink: &mut dyn Sink| {
            records.iter().try_for_each(|(topic, partition, key, value)| {
                let (key, value) = (key.as_deref(), value.as_deref());
                sink.send(Outgoing { topic, partition: *partition, key, value, headers: &[] })
            })
        };
        producer.commit(&mut send).unwrap();
    }

    fn put_partials<'a>(&self, id: u32, record: &impl Avro<'a>) {
        let mut value = Vec::new();
        wire::put(id, record, &mut value);
        self.write(vec![(self.plan.partials.clone(), 0, None, Some(value))]);
    }

    /// One record of a source partition in the window `hour`, for each of the keys.
    pub(crate) fn partial(&mut self, source: i32, hour: i64, keys: &[u16]) {
        let key = |n: &u16| {
            let mut key = Vec::new();
            for name in ["default", &format!("app-{n}"), "db", "v"] {
                avro::put_bytes(&mut key, name.as_bytes());
            }
            key
        };
        let encoded: Vec<Vec<u8>> = keys.iter().map(key).collect();
        let mut accumulator = Vec::new();
        FlowSums { bytes_tx: 1, bytes_rx: 2 }.put(&mut accumulator);
        let rows = encoded.iter().map(|key| PartialRow { key, records: 1, accumulator: &accumulator }).collect();
        let first_offset = self.next_source[source as usize];
        self.next_source[source as usize] += keys.len() as i64;
        let last_offset = self.next_source[source as usize] - 1;
        let start = BASE + hour * HOUR_MS;
        let windows = vec![PartialWindow { start, first_offset, last_offset, late: 0, held: 0, rows }];
        let fingerprint = self.job.spec().fingerprint();
        let partial = Partial { fingerprint, topic: flows::TOPIC, partition: source, windows };
        self.put_partials(self.plan.ids.partial, &partial);
    }

    /// Every source partition is read up to here, and its watermark is at the start of the window `hour`.
    pub(crate) fn marker(&self, hour: i64) {
        self.marker_of(0..self.sources, hour);
    }

    pub(crate) fn marker_of(&self, sources: impl Iterator<Item = i32>, hour: i64) {
        let mark = |partition: i32| SourceMark {
            topic: flows::TOPIC.into(),
            partition,
            next_offset: self.next_source[partition as usize],
            watermark: Some(BASE + hour * HOUR_MS),
            idle_at: None,
            records: 0,
            late: 0,
            held: 0,
            filtered: 0,
            dead_lettered: 0,
            duplicates: 0,
        };
        self.put_marker(sources.map(mark).collect());
    }

    pub(crate) fn put_marker(&self, sources: Vec<SourceMark>) {
        let (topic, fingerprint) = (flows::TOPIC.to_owned(), self.job.spec().fingerprint());
        let partition_counts = vec![TopicPartitions { topic, partitions: self.sources }];
        let marker = Marker { fingerprint, at: BASE, oldest_append: None, sources, partition_counts };
        self.put_partials(self.plan.ids.marker, &marker);
    }

    /// Makes a commit: records and offsets.
    pub(crate) fn make(&self, pending: Pending) {
        make(&self.log, &self.plan, pending);
    }

    /// Rows on the changelog: records by hour and key.
    pub(crate) fn rows(&self) -> BTreeMap<(i64, Vec<u8>), i64> {
        let mut rows = BTreeMap::new();
        self.changelog(|key, value| {
            if key[0] != b'R' {
                return;
            }
            match value {
                None => drop(rows.remove(&key[1..])),
                Some(value) => {
                    let row = RowState::get(&mut avro::Reader::new(&value[5..])).unwrap();
                    rows.insert(
                        key[1..].to_vec(),
                        ((row.window_start - BASE) / HOUR_MS, row.key.to_vec(), row.records),
                    );
                }
            }
        });
        rows.into_values().map(|(hour, key, records)| ((hour, key), records)).collect()
    }

    /// Records in all rows of a window.
    pub(crate) fn records(&self, hour: i64) -> i64 {
        self.rows().iter().filter(|((of, _), _)| *of == hour).map(|(_, records)| records).sum()
    }

    /// Ledgers on the changelog by hour.
    pub(crate) fn ledgers(&self) -> BTreeMap<i64, Ledger> {
        let mut ledgers = BTreeMap::new();
        self.changelog(|key, value| {
            if let (b'L', Some(value)) = (key[0], value) {
                let ledger = Ledger::get(&mut avro::Reader::new(&value[5..])).unwrap();
                ledgers.insert((ledger.window_start - BASE) / HOUR_MS, ledger);
            }
        });
        ledgers
    }

    fn changelog(&self, mut each: impl FnMut(&[u8], Option<&[u8]>)) {
        self.read(&self.plan.changelog.clone(), 0, |batch| {
            batch.records.iter().for_each(|record| each(record.key.unwrap(), record.value));
        });
    }

    pub(crate) fn end(&self, topic: &str) -> i64 {
        self.log.log.offsets(&[TopicPartition::new(topic, 0)], At::End).unwrap()[0]
    }

    /// Hands over everything from an offset on; where that ends.
    pub(crate) fn read(&self, topic: &str, from: i64, mut each: impl FnMut(Batch<'_>)) -> i64 {
        let place = TopicPartition::new(topic, 0);
        let end = self.end(topic);
        let mut reader = self.log.log.reader(&[(place.clone(), from)]).unwrap();
        while reader.position(&place).unwrap() < end {
            reader.poll(Duration::from_millis(10), &mut |batch| each(batch)).unwrap();
        }
        end
    }

    /// A machine with a disk of its own.
    pub(crate) fn machine(&self) -> Machine {
        Machine { disk: MemoryStorage::default(), settings: StateSettings::default() }
    }
}

/// Makes a commit: records and offsets.
pub(crate) fn make(log: &Hooked, plan: &Plan, pending: Pending) {
    let mut producer = log.log.producer("by-hand").unwrap();
    if !pending.records.is_empty() {
        let mut send = |sink: &mut dyn Sink| {
            pending.records.iter().try_for_each(|(topic, partition, key, value)| {
                let (key, value) = (key.as_deref(), value.as_deref());
                sink.send(Outgoing { topic, partition: *partition, key, value, headers: &[] })
            })
        };
        producer.commit(&mut send).unwrap();
    }
    let mut committed = log.committed.lock().unwrap();
    for offset in pending.offsets {
        committed.insert((plan.group("merge"), offset.partition.partition), offset);
    }
}

/// A disk that outlives the owners on it.
#[derive(Clone)]
pub(crate) struct Machine {
    pub(crate) disk: MemoryStorage,
    pub(crate) settings: StateSettings,
}

/// An owner of the merge partition.
pub(crate) struct Owner {
    pub(crate) stage: MergeStage<FlowsHourly>,
    pub(crate) metrics: Arc<Metrics>,
    read_to: i64,
    pub(crate) now: i64,
}

impl Owner {
    /// Without a disk.
    pub(crate) fn in_memory(world: &World) -> Self {
        Self::with(world, None)
    }

    pub(crate) fn on(world: &World, machine: &Machine) -> Self {
        Self::with(world, Some(StateDir::over(Arc::new(machine.disk.clone()), machine.settings)))
    }

    pub(crate) fn with(world: &World, dir: Option<Arc<StateDir>>) -> Self {
        let (metrics, log) = (Arc::new(Metrics::default()), Arc::clone(&world.log) as Arc<dyn Log>);
        let registry = Arc::clone(&world.registry) as Arc<dyn Registry>;
        let (job, plan) = (Arc::clone(&world.job), Arc::clone(&world.plan));
        let stage = MergeStage::new(job, plan, log, registry, Arc::clone(&metrics)).kept_in(dir);
        Self { stage, metrics, read_to: 0, now: BASE }
    }

    /// One step of a takeover: true when it is over.
    pub(crate) fn step(&mut self) -> Result<bool, tidemark_runtime::Error> {
        let from = self.stage.restore()?;
        if let Some(from) = &from {
            self.read_to = from[0].1;
        }
        Ok(from.is_some())
    }

    pub(crate) fn try_take_over(&mut self, world: &World) -> Result<(), tidemark_runtime::Error> {
        self.stage.assign(&[TopicPartition::new(world.plan.partials.as_str(), 0)], self.now)?;
        for _ in 0..10_000 {
            if self.step()? {
                return Ok(());
            }
        }
        panic!("the takeover does not end");
    }

    pub(crate) fn take_over(mut self, world: &World) -> Self {
        self.try_take_over(world).unwrap();
        self
    }

    /// Folds all partials there are.
    pub(crate) fn fold(&mut self, world: &World) {
        let (stage, now) = (&mut self.stage, self.now);
        self.read_to = world.read(&world.plan.partials, self.read_to, |batch| stage.fold(batch, now));
        self.stage.check().unwrap();
    }

    /// What the next commit would write.
    pub(crate) fn pending(&mut self) -> Pending {
        self.stage.prepare(self.now).unwrap();
        let mut pending = Pending::default();
        self.stage.produce(self.now, &mut pending).unwrap();
        pending.offsets = self.stage.offsets(&Nobody).unwrap();
        pending
    }

    pub(crate) fn commit(&mut self, world: &World) {
        let pending = self.pending();
        world.make(pending);
        self.stage.committed(self.now);
    }

    /// Folds all there is and commits.
    pub(crate) fn go_on(&mut self, world: &World) {
        self.fold(world);
        self.commit(world);
    }

    /// Takes steps as a stage does, a second each, until nothing is left to fold, to commit or to remove.
    pub(crate) fn settle(&mut self, world: &World) {
        for _ in 0..1_000 {
            self.now += 1_001;
            self.stage.tick(&mut Nobody, self.now).unwrap();
            self.stage.check().unwrap();
            match self.stage.due() {
                Due::Never if self.stage.backlog() == Backlog::None => return,
                Due::Never => {}
                Due::AtInterval | Due::Now => self.commit(world),
            }
        }
        panic!("it does not come to rest");
    }

    /// Lets the interval go by, commits, and writes the checkpoint that is due then to its end.
    pub(crate) fn checkpoint(&mut self, world: &World) {
        self.now += INTERVAL;
        let before = self.metrics.checkpoints(0);
        self.go_on(world);
        for _ in 0..1_000_000 {
            if self.metrics.checkpoints(0) != before {
                return;
            }
            self.stage.tick(&mut Nobody, self.now).unwrap();
            // A thread may be writing it.
            std::thread::yield_now();
        }
        panic!("no checkpoint is written");
    }

    /// Changelog entries that the takeover read.
    pub(crate) fn entries(&self) -> u64 {
        self.metrics.restored_entries(0).unwrap()
    }
}
