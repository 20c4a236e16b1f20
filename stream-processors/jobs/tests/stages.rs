//! The stages of the flow job on the embedded log, started and stopped as a process does.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, in its helpers too")]

#[path = "support/registry.rs"]
mod registry;

use registry::MemoryRegistry;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tidemark_core::Job;
use tidemark_jobs::flows::{self, FlowsHourly, HOUR_MS, Settings, TOPIC};
use tidemark_jobs::platform;
use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::span::NoSpans;
use tidemark_log::{
    Batch, Cleanup, Error, Event, GroupOffset, Headers, Log, Member, OnBatch, Outgoing, Produce, Record,
    TopicPartition, TopicSpec, system_clock,
};
use tidemark_runtime::partial::PartialStage;
use tidemark_runtime::run::{self, Parts, Running};
use tidemark_runtime::{Alignment, Metrics, Operator, Plan};
use tidemark_schemas::avro::Avro;
use tidemark_schemas::engine::Progress;
use tidemark_schemas::flows::FlowObserved;
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire;
use tidemark_views::local::LocalViews;
use tidemark_views::{RowPartition, RowQuery, Value, ViewStore};

const PARTITIONS: u32 = 3;

fn job() -> FlowsHourly {
    flows::hourly(&Settings { merge_partitions: 2, dedupe_ms: 24 * HOUR_MS, ..Settings::default() }).unwrap()
}

fn datum(id: &str, observed_at: i64) -> Vec<u8> {
    let flow = FlowObserved {
        tenant: "default",
        src_app: "web",
        dest_app: "db",
        vpc_id: "v",
        observed_at,
        bytes_tx: 1,
        bytes_rx: 2,
        event_id: id,
    };
    let mut value = Vec::new();
    flow.put(&mut value);
    value
}

/// One life of a process.
struct Process {
    log: Arc<EmbeddedLog>,
    views: Arc<LocalViews>,
    running: Running,
    runtime: tokio::runtime::Runtime,
}

impl Process {
    fn start(dir: &Path, registry: &Arc<MemoryRegistry>) -> Self {
        let log = EmbeddedLog::open(&dir.join("log"), system_clock()).unwrap();
        let views = LocalViews::open(&dir.join("views"), system_clock()).unwrap();
        let (name, cleanup) = (TOPIC.to_owned(), Cleanup::Delete);
        log.create_topics(&[TopicSpec { name, partitions: PARTITIONS, cleanup, retention_ms: None }]).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let parts = Parts {
            log: Arc::clone(&log) as Arc<dyn Log>,
            registry: Arc::clone(registry) as Arc<dyn Registry>,
            views: Arc::clone(&views) as Arc<dyn ViewStore>,
            handle: runtime.handle().clone(),
            clock: system_clock(),
            metrics: Arc::new(Metrics::default()),
            spans: Arc::new(NoSpans),
        };
        let settings = tidemark_runtime::Settings {
            replica: "r".into(),
            threads: 1,
            commit_interval_ms: 5,
            session_timeout: Duration::from_secs(10),
            state: None,
        };
        let job = Arc::new(job());
        let shape = platform::shape(job.head());
        let running = run::start(job, &shape, &parts, &settings).unwrap();
        Self { log, views, running, runtime }
    }

    /// Records of these ids, each id always in the same partition.
    fn publish(&self, schema: u32, ids: impl Iterator<Item = u64>) {
        let mut producer = self.log.producer("publisher").unwrap();
        let now = (system_clock())();
        let records: Vec<(u32, Vec<u8>)> = ids
            .map(|id| {
                let mut value = Vec::new();
                wire::put_header(schema, &mut value);
                value.extend(datum(&id.to_string(), now));
                (id as u32 % PARTITIONS, value)
            })
            .collect();
        producer
            .commit(&mut |sink| {
                records.iter().try_for_each(|(partition, value)| {
                    sink.send(Outgoing {
                        topic: TOPIC,
                        partition: *partition,
                        value: Some(value),
                        ..Outgoing::default()
                    })
                })
            })
            .unwrap();
    }

    /// Waits until the view tells of so many records read; records in its rows, and repeats.
    fn counts(&self, read: i64) -> (i64, i64) {
        let view = job().head().columns().view.clone();
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let progress: Vec<Progress> = self.runtime.block_on(self.views.progress(&view)).unwrap();
            let sum = |count: fn(&tidemark_schemas::engine::SourceProgress) -> i64| -> Vec<i64> {
                progress.iter().map(|progress| progress.sources.iter().map(count).sum()).collect()
            };
            let all = sum(|source| source.records);
            if all == [read, read] {
                return (self.records(), sum(|source| source.duplicates)[0]);
            }
            assert!(Instant::now() < deadline, "{all:?} of {read}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn records(&self) -> i64 {
        let view = job().head().columns().view.clone();
        let windows = self.runtime.block_on(self.views.ledger(&view, 0, i64::MAX)).unwrap();
        let rows = windows.iter().flat_map(|ledger| {
            let (tenant, window_start) = ("default".to_owned(), ledger.window_start);
            let partition = RowPartition { tenant, window_start, merge_partition: ledger.merge_partition };
            let query = RowQuery { partition, prefix: vec![], after: None, limit: 100 };
            self.runtime.block_on(self.views.rows(&view, &query)).unwrap()
        });
        rows.map(|row| match row.values[2] {
            Value::Long(records) => records,
            _ => panic!("{row:?}"),
        })
        .sum()
    }
}

#[test]
fn repeats_count_once_across_restarts() {
    let (dir, registry) = (TempDir::new().unwrap(), Arc::new(MemoryRegistry::default()));
    let schema = registry.register("s", &tidemark_schemas::catalog::FLOW_OBSERVED.avsc).unwrap();
    let mut read = 0;
    for life in 0..3_u64 {
        let process = Process::start(dir.path(), &registry);
        // Of 300 ids, 100 are new in this life; each comes twice.
        let ids = || life * 100..life * 100 + 300;
        process.publish(schema, ids().chain(ids()));
        read += 600;
        let unique = i64::try_from(life).unwrap() * 100 + 300;
        assert_eq!(process.counts(read), (unique, read - unique), "life {life}");
        process.running.stop();
    }
}

/// Notes what is paused.
#[derive(Default)]
struct Pauses(HashMap<u32, bool>);

impl Member for Pauses {
    fn poll(&mut self, _: Duration, _: OnBatch<'_>) -> Result<Event, Error> {
        Ok(Event::Polled)
    }
    fn start(&mut self, _: &[(TopicPartition, i64)]) -> Result<(), Error> {
        Ok(())
    }
    fn release(&mut self) -> Result<(), Error> {
        Ok(())
    }
    fn pause(&mut self, partitions: &[TopicPartition], paused: bool) -> Result<(), Error> {
        self.0.extend(partitions.iter().map(|at| (at.partition, paused)));
        Ok(())
    }
    fn position(&self, _: &TopicPartition) -> Result<i64, Error> {
        Ok(0)
    }
    fn end(&self, _: &TopicPartition) -> Result<Option<i64>, Error> {
        Ok(None)
    }
    fn commit(&mut self, _: Produce<'_>, _: &[GroupOffset]) -> Result<(), Error> {
        Ok(())
    }
    fn leave(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

#[test]
fn a_partition_far_ahead_waits_and_goes_on() {
    let (dir, registry) = (TempDir::new().unwrap(), Arc::new(MemoryRegistry::default()));
    let schema = registry.register("s", &tidemark_schemas::catalog::FLOW_OBSERVED.avsc).unwrap();
    let log = EmbeddedLog::open(dir.path(), system_clock()).unwrap();
    log.create_topics(&[TopicSpec { name: TOPIC.into(), partitions: 2, cleanup: Cleanup::Delete, retention_ms: None }])
        .unwrap();
    let job = Arc::new(job());
    let mut plan = Plan::new(job.spec().clone()).unwrap();
    plan.create(log.as_ref(), registry.as_ref(), &tidemark_schemas::catalog::FLOW_HOURLY).unwrap();
    let alignment = Arc::new(Alignment::new(HOUR_MS));
    let source = platform::shape(job.head()).source;
    let mut stage = PartialStage::new(job, Arc::new(plan), source, log, registry, Arc::new(Metrics::default()))
        .aligned(Arc::clone(&alignment));
    stage.assign(&[TopicPartition::new(TOPIC, 0), TopicPartition::new(TOPIC, 1)], 0).unwrap();
    while stage.restore().unwrap().is_none() {}
    for (partition, hour) in [(0, 10), (1, 17)] {
        let mut value = Vec::new();
        wire::put_header(schema, &mut value);
        value.extend(datum("x", hour * HOUR_MS));
        let (value, headers) = (Some(value.as_slice()), Headers::default());
        let record = Record { offset: 0, timestamp: 100 * HOUR_MS, key: None, value, headers };
        stage.fold(Batch { topic: TOPIC, partition, records: &[record] }, 0);
    }
    stage.check().unwrap();
    let mut member = Pauses::default();
    for (slowest, paused) in
        [(None, None), (Some(10), Some(true)), (Some(11), Some(false)), (Some(10), Some(true)), (None, Some(false))]
    {
        alignment.learn(slowest.map(|hour| hour * HOUR_MS));
        stage.tick(&mut member, 0).unwrap();
        assert_eq!((member.0.get(&0), member.0.get(&1).copied()), (None, paused), "slowest {slowest:?}");
    }
}
