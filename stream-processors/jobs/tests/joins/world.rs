//! One process that runs applied jobs on the embedded log, whose tables can be put out of reach.

use crate::registry::MemoryRegistry;
use serde_json::Value as Json;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tidemark_jobs::platform::Jobs;
use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::span::NoSpans;
use tidemark_log::{
    At, Batch, Cleanup, Error, GroupOffset, Headers, Log, Member, MemberConfig, OnBatch, Outgoing, Producer, Reader,
    Record, TopicPartition, TopicSpec, system_clock,
};
use tidemark_runtime::run::Parts;
use tidemark_runtime::{Metrics, Settings};
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire;
use tidemark_spec::datum::Maker;
use tidemark_views::local::LocalViews;
use tidemark_views::{RowPartition, RowQuery, Value, ViewSpec, ViewStore};

pub(crate) const HOUR_MS: i64 = 3_600_000;
/// 2026-01-01, noon.
pub(crate) const NOON: i64 = 1_767_268_800_000;
/// Unless a job says otherwise.
const MERGE_PARTITIONS: usize = 4;
const TABLE: &str = "labeling.partners";

/// Topic, partitions, schema.
const TOPICS: &[(&str, u32, &str)] = &[
    (
        "labeling.done",
        3,
        r#"{"type": "record", "name": "Done", "fields": [{"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
           {"name": "partner_id", "type": ["null", "long"]}]}"#,
    ),
    (
        TABLE,
        2,
        r#"{"type": "record", "name": "Partner", "fields": [{"name": "id", "type": "long"}, {"name": "name", "type": "string"},
           {"name": "updated_at", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}"#,
    ),
    (
        "site.clicks",
        3,
        r#"{"type": "record", "name": "SiteClick", "fields": [{"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
           {"name": "path", "type": "string"}, {"name": "device", "type": "string"}, {"name": "weight", "type": "long"}]}"#,
    ),
    (
        "app.clicks",
        2,
        r#"{"type": "record", "name": "AppClick", "fields": [{"name": "weight", "type": "int"}, {"name": "screen", "type": "double"},
           {"name": "device", "type": ["null", "string"]}, {"name": "path", "type": "string"},
           {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}}]}"#,
    ),
];

fn schema(topic: &str) -> &'static str {
    TOPICS.iter().find(|(name, ..)| *name == topic).unwrap().2
}

/// The embedded log; the table cannot be reached at times.
pub(crate) struct Faulty {
    log: Arc<EmbeddedLog>,
    pub(crate) away: AtomicBool,
    /// How often it could not be reached.
    pub(crate) missed: AtomicU64,
}

impl Faulty {
    fn reach(&self, topic: &str) -> Result<(), Error> {
        match topic == TABLE && self.away.load(Ordering::SeqCst) {
            true => {
                self.missed.fetch_add(1, Ordering::SeqCst);
                Err(Error::Retriable("the table is away".to_owned()))
            }
            false => Ok(()),
        }
    }
}

impl Log for Faulty {
    fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), Error> {
        self.log.create_topics(topics)
    }
    fn delete_topics(&self, names: &[String]) -> Result<(), Error> {
        self.log.delete_topics(names)
    }
    fn delete_groups(&self, groups: &[String]) -> Result<(), Error> {
        self.log.delete_groups(groups)
    }
    fn partitions(&self, topic: &str) -> Result<Option<u32>, Error> {
        self.log.partitions(topic)
    }
    fn offsets(&self, partitions: &[TopicPartition], at: At) -> Result<Vec<i64>, Error> {
        partitions.iter().try_for_each(|partition| self.reach(&partition.topic))?;
        self.log.offsets(partitions, at)
    }
    fn committed(&self, group: &str, partitions: &[TopicPartition]) -> Result<Vec<Option<GroupOffset>>, Error> {
        self.log.committed(group, partitions)
    }
    fn init_group(&self, group: &str, offsets: &[GroupOffset]) -> Result<(), Error> {
        self.log.init_group(group, offsets)
    }
    fn member(&self, config: &MemberConfig) -> Result<Box<dyn Member>, Error> {
        self.log.member(config)
    }
    fn reader(&self, from: &[(TopicPartition, i64)]) -> Result<Box<dyn Reader>, Error> {
        from.iter().try_for_each(|(partition, _)| self.reach(&partition.topic))?;
        let reader = self.log.reader(from)?;
        let slow = from.iter().any(|(partition, _)| *partition.topic == *TABLE);
        Ok(if slow { Box::new(Trickle { reader, pending: VecDeque::new() }) } else { reader })
    }
    fn producer(&self, id: &str) -> Result<Box<dyn Producer>, Error> {
        self.log.producer(id)
    }
}

/// Hands over one record at a time, so that a table is read in part for a while.
struct Trickle {
    reader: Box<dyn Reader>,
    pending: VecDeque<(TopicPartition, Kept)>,
}

/// Offset, append time, key and value.
type Kept = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>);

impl Reader for Trickle {
    fn poll(&mut self, timeout: Duration, on_batch: OnBatch<'_>) -> Result<(), Error> {
        let Self { reader, pending } = self;
        if pending.is_empty() {
            let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
            reader.poll(timeout, &mut |batch| {
                let partition = TopicPartition::new(batch.topic, batch.partition);
                let kept = |r: &Record<'_>| (r.offset, r.timestamp, owned(r.key), owned(r.value));
                pending.extend(batch.records.iter().map(|record| (partition.clone(), kept(record))));
            })?;
        }
        let Some((partition, (offset, timestamp, key, value))) = pending.pop_front() else { return Ok(()) };
        std::thread::sleep(Duration::from_millis(3));
        let (key, value, headers) = (key.as_deref(), value.as_deref(), Headers::default());
        let records = &[Record { offset, timestamp, key, value, headers }];
        on_batch(Batch { topic: &partition.topic, partition: partition.partition, records });
        Ok(())
    }
    fn position(&self, partition: &TopicPartition) -> Result<i64, Error> {
        let next = self.pending.iter().find(|(at, _)| at == partition);
        next.map_or_else(|| self.reader.position(partition), |(_, (offset, ..))| Ok(*offset))
    }
}

/// A record as it is on a topic.
pub(crate) struct Appended {
    pub(crate) partition: u32,
    pub(crate) offset: i64,
    pub(crate) appended_at: i64,
    pub(crate) key: String,
    pub(crate) value: Option<Json>,
}

/// Topic and partition.
type Place = (String, u32);
/// Key and value.
type Published = (String, Option<Json>);

/// What outlives a process.
pub(crate) struct Disk {
    dir: TempDir,
    registry: Arc<MemoryRegistry>,
    /// What was published, in the order of each partition.
    published: Mutex<BTreeMap<Place, Vec<Published>>>,
    /// Offsets and append times of it.
    stamps: Mutex<BTreeMap<Place, Vec<(i64, i64)>>>,
}

impl Disk {
    pub(crate) fn new() -> Self {
        let registry = Arc::new(MemoryRegistry::default());
        for (topic, _, schema) in TOPICS {
            registry.register(&format!("{topic}-value"), schema).unwrap();
        }
        let (published, stamps) = Default::default();
        Self { dir: TempDir::new().unwrap(), registry, published, stamps }
    }

    /// Everything on a topic, with the offsets and append times that the log gave.
    pub(crate) fn read(&self, topic: &str) -> Vec<Appended> {
        let (published, stamps) = (self.published.lock().unwrap(), self.stamps.lock().unwrap());
        let mut all = vec![];
        for (at, records) in published.iter().filter(|((name, _), _)| name == topic) {
            assert_eq!(records.len(), stamps[at].len(), "the stamps of {at:?} are known");
            for ((key, value), (offset, appended_at)) in records.iter().zip(&stamps[at]) {
                let (key, value) = (key.clone(), value.clone());
                all.push(Appended { partition: at.1, offset: *offset, appended_at: *appended_at, key, value });
            }
        }
        all
    }
}

/// One life of a process.
pub(crate) struct Process<'d> {
    disk: &'d Disk,
    pub(crate) log: Arc<Faulty>,
    views: Arc<LocalViews>,
    running: Option<(Arc<Jobs>, JoinHandle<()>)>,
    runtime: tokio::runtime::Runtime,
}

impl<'d> Process<'d> {
    /// With its jobs.
    pub(crate) fn start(disk: &'d Disk) -> Self {
        let mut process = Self::idle(disk);
        let parts = Parts {
            log: Arc::clone(&process.log) as Arc<dyn Log>,
            registry: Arc::clone(&disk.registry) as Arc<dyn Registry>,
            views: Arc::clone(&process.views) as Arc<dyn ViewStore>,
            handle: process.runtime.handle().clone(),
            clock: system_clock(),
            metrics: Arc::new(Metrics::default()),
            spans: Arc::new(NoSpans),
        };
        let settings = Settings {
            replica: "r".into(),
            threads: 2,
            commit_interval_ms: 5,
            session_timeout: Duration::from_secs(10),
            state: None,
        };
        process.running = Some(Jobs::start(parts, settings, vec![]).unwrap());
        process
    }

    /// A log to publish to, and nobody who reads.
    pub(crate) fn idle(disk: &'d Disk) -> Self {
        let log = EmbeddedLog::open(&disk.dir.path().join("log"), system_clock()).unwrap();
        let spec = |(name, partitions, _): &(&str, u32, &str)| TopicSpec {
            name: (*name).to_owned(),
            partitions: *partitions,
            cleanup: Cleanup::Delete,
            retention_ms: None,
        };
        log.create_topics(&TOPICS.iter().map(spec).collect::<Vec<_>>()).unwrap();
        let views = LocalViews::open(&disk.dir.path().join("views"), system_clock()).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self {
            disk,
            log: Arc::new(Faulty { log, away: AtomicBool::new(false), missed: AtomicU64::new(0) }),
            views,
            running: None,
            runtime,
        }
    }

    pub(crate) fn stop(self) {
        if let Some((jobs, thread)) = self.running {
            jobs.stop();
            thread.join().unwrap();
        }
    }

    fn jobs(&self) -> &Jobs {
        &self.running.as_ref().unwrap().0
    }

    pub(crate) fn apply(&self, text: &str) {
        let (entry, ..) = self.jobs().apply("job.yaml", text).unwrap_or_else(|error| panic!("{error}"));
        self.until("the view is served", || self.jobs().is_published(&entry));
    }

    pub(crate) fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !done() {
            let why: Vec<_> = self.jobs().metrics().iter().map(|(id, metrics)| (id.clone(), metrics.ready())).collect();
            assert!(Instant::now() < deadline, "not within a minute: {what}; {why:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Until the table has been looked for in vain twice more: between the two, whoever waits for it has come by.
    pub(crate) fn until_missed_again(&self) {
        let missed = self.log.missed.load(Ordering::SeqCst);
        self.until("the table is looked for", || self.log.missed.load(Ordering::SeqCst) >= missed + 2);
    }

    /// What keeps a job from work.
    pub(crate) fn why(&self, job: &str) -> Option<String> {
        self.jobs().metrics().iter().find(|((name, _), _)| name == job).and_then(|(_, metrics)| metrics.ready().err())
    }

    pub(crate) fn publish(&self, topic: &str, partition: u32, key: Option<&str>, value: Option<&Json>) {
        let bytes = value.map(|value| {
            let mut bytes = Vec::new();
            wire::put_header(self.disk.registry.latest_of(&format!("{topic}-value")).unwrap().unwrap().id, &mut bytes);
            bytes.extend(Maker::new(schema(topic), &[]).unwrap().datum(value).unwrap());
            bytes
        });
        self.send(topic, partition, key, bytes.as_deref());
        let published = (key.unwrap_or_default().to_owned(), value.cloned());
        self.disk.published.lock().unwrap().entry((topic.to_owned(), partition)).or_default().push(published);
    }

    pub(crate) fn publish_raw(&self, topic: &str, partition: u32, value: &[u8]) {
        self.send(topic, partition, None, Some(value));
    }

    fn send(&self, topic: &str, partition: u32, key: Option<&str>, value: Option<&[u8]>) {
        let record = Outgoing { topic, partition, key: key.map(str::as_bytes), value, headers: &[] };
        self.log.log.producer("publisher").unwrap().commit(&mut |sink| sink.send(record)).unwrap();
    }

    /// Asks the log how it stamped what was published.
    fn stamps(&self) {
        let mut stamps = BTreeMap::new();
        for at in self.disk.published.lock().unwrap().keys() {
            let partition = TopicPartition::new(at.0.as_str(), at.1);
            let end = self.log.log.offsets(std::slice::from_ref(&partition), At::End).unwrap()[0];
            let mut reader = self.log.log.reader(&[(partition.clone(), 0)]).unwrap();
            let mut of_partition = vec![];
            while reader.position(&partition).unwrap() < end {
                reader
                    .poll(Duration::from_millis(10), &mut |batch| {
                        of_partition.extend(batch.records.iter().map(|record| (record.offset, record.timestamp)));
                    })
                    .unwrap();
            }
            stamps.insert(at.clone(), of_partition);
        }
        *self.disk.stamps.lock().unwrap() = stamps;
    }

    fn view(&self, job: &str, version: u32) -> ViewSpec {
        let jobs = self.jobs().list();
        let (entry, states) = jobs.iter().find(|(entry, _)| entry.job == job).unwrap();
        let at = entry.versions.iter().position(|there| there.version == version as i32).unwrap();
        states[at].1.as_ref().unwrap().columns().view.clone()
    }

    /// Records of a version's sources that are in the figures.
    pub(crate) fn counted(&self, job: &str, version: u32) -> i64 {
        let progress = self.runtime.block_on(self.views.progress(&self.view(job, version))).unwrap();
        // Each merge partition has its own; what has none yet is not written.
        let read = progress.iter().map(|progress| progress.sources.iter().map(|source| source.records).sum());
        if progress.len() < MERGE_PARTITIONS { 0 } else { read.min().unwrap_or(0) }
    }

    pub(crate) fn until_counted(&self, job: &str, version: u32, records: i64) {
        self.until(&format!("{records} records of {job}"), || {
            let known =
                self.jobs().list().iter().any(|(entry, states)| {
                    entry.job == job && states.iter().all(|(_, compiled, _)| compiled.is_some())
                });
            known && self.counted(job, version) == records
        });
        self.stamps();
    }

    fn all(&self, view: &ViewSpec) -> Vec<(i64, tidemark_views::Row)> {
        let ledgers = self.runtime.block_on(self.views.ledger(view, 0, i64::MAX)).unwrap();
        let mut rows = vec![];
        for ledger in ledgers {
            let (tenant, window_start) = ("default".to_owned(), ledger.window_start);
            let partition = RowPartition { tenant, window_start, merge_partition: ledger.merge_partition };
            let query = RowQuery { partition, prefix: vec![], after: None, limit: 1_000 };
            rows.extend(
                self.runtime
                    .block_on(self.views.rows(view, &query))
                    .unwrap()
                    .into_iter()
                    .map(|row| (window_start, row)),
            );
        }
        rows
    }

    /// Records by window and name.
    pub(crate) fn rows(&self, job: &str, version: u32) -> BTreeMap<(i64, String), i64> {
        let row = |(window, row): (i64, tidemark_views::Row)| match (&row.clustering[0], &row.values[0], &row.values[1])
        {
            (Value::Text(name), Value::Long(records), Value::Long(n)) if records == n => ((window, name.clone()), *n),
            other => panic!("{other:?}"),
        };
        self.all(&self.view(job, version)).into_iter().map(row).collect()
    }

    /// The numbers in a column.
    pub(crate) fn values(&self, job: &str, column: &str) -> Vec<i64> {
        let view = self.view(job, 1);
        let at = view.values.iter().position(|known| known.name == column).unwrap();
        let number = |(_, row): (i64, tidemark_views::Row)| match row.values[at] {
            Value::Long(n) => n,
            Value::Integer(n) => n as i64,
            ref other => panic!("{other:?}"),
        };
        self.all(&view).into_iter().map(number).collect()
    }

    /// Records in windows, and those that `where` took out.
    pub(crate) fn ledger(&self, job: &str) -> (i64, i64) {
        let view = self.view(job, 1);
        let windows = self.runtime.block_on(self.views.ledger(&view, 0, i64::MAX)).unwrap();
        let progress = self.runtime.block_on(self.views.progress(&view)).unwrap();
        let filtered = progress[0].sources.iter().map(|source| source.filtered).sum();
        (windows.iter().map(|ledger| ledger.records).sum(), filtered)
    }

    /// Records read of each topic.
    pub(crate) fn sources(&self, job: &str) -> BTreeMap<String, i64> {
        let progress = self.runtime.block_on(self.views.progress(&self.view(job, 1))).unwrap();
        let mut sources = BTreeMap::new();
        for source in &progress[0].sources {
            *sources.entry(source.topic.clone()).or_default() += source.records;
        }
        sources
    }
}
