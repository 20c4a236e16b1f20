//! A platform in one test: log, views, a job at work, and a clock that can be moved on.

use crate::registry::MemoryRegistry;
use serde_json::Value as Json;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tidemark_core::Job;
use tidemark_jobs::platform;
use tidemark_jobs::recompute::compare::Columns;
use tidemark_jobs::recompute::report::Report;
use tidemark_jobs::recompute::{self, Error, Recompute, Request};
use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::span::NoSpans;
use tidemark_log::{At, Cleanup, Clock, Log, Outgoing, TopicPartition, TopicSpec, system_clock};
use tidemark_runtime::Metrics;
use tidemark_runtime::run::{self, Parts, Running, Shape};
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire;
use tidemark_spec::datum::Maker;
use tidemark_spec::{SpecJob, Topics, compile};
use tidemark_views::local::LocalViews;
use tidemark_views::{Row, RowPartition, RowQuery, ViewStore};

pub(crate) const ACCESS: &str = include_str!("../../../../examples/access-log/logs.access.avsc");
pub(crate) const TOPIC: &str = "logs.access";
pub(crate) const PARTITIONS: u32 = 2;
/// 2026-01-01T00:00Z.
pub(crate) const DAY: i64 = 1_767_225_600_000;
pub(crate) const HOUR: i64 = 3_600_000;
pub(crate) const MINUTE: i64 = 60_000;

pub(crate) struct Access;

impl Topics for Access {
    fn schema(&self, _: &str) -> Result<Option<String>, String> {
        Ok(Some(ACCESS.to_owned()))
    }
    fn names(&self) -> Vec<String> {
        vec![TOPIC.to_owned()]
    }
}

/// A job on [`TOPIC`] with a window and a late policy; it keeps the top two of few paths, of which it can list eight.
pub(crate) fn job(window: &str, late: &str) -> Arc<SpecJob> {
    let text = format!(
        "job: t\nversion: 1\nsource: {{topics: {TOPIC}, time: at, grace: 10m, idle_after: 1d}}\nkey: [client]\n\
         window: {window}\nlate: {late}\naggregate:\n  n: count()\n  bytes: sum(bytes)\n  paths: distinct(path)\n  \
         top: top_k(path, 2)\n  entry: first(path)\n  p90: quantile(bytes, 0.9)\n"
    );
    let job = compile("job.yaml", &text, &Access).unwrap_or_else(|problems| panic!("{problems}"));
    Arc::new(job)
}

/// An access at so many minutes of the day.
pub(crate) fn access(minute: i64, client: &str, path: &str) -> Json {
    serde_json::json!({"at": DAY + minute * MINUTE, "client": client, "path": path, "status": 200, "bytes": minute})
}

pub(crate) struct World {
    _dir: TempDir,
    pub(crate) log: Arc<EmbeddedLog>,
    pub(crate) views: Arc<LocalViews>,
    pub(crate) registry: Arc<MemoryRegistry>,
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) clock: Clock,
    shift: Arc<AtomicI64>,
    schema: u32,
}

impl World {
    /// It is noon. The topic keeps records for so long.
    pub(crate) fn new(retention_ms: Option<i64>) -> Self {
        let dir = TempDir::new().unwrap();
        let system = system_clock();
        let shift = Arc::new(AtomicI64::new(DAY + 12 * HOUR - system()));
        let clock: Clock = {
            let shift = Arc::clone(&shift);
            Arc::new(move || system() + shift.load(SeqCst))
        };
        let log = EmbeddedLog::open(&dir.path().join("log"), Arc::clone(&clock)).unwrap();
        let views = LocalViews::open(&dir.path().join("views"), Arc::clone(&clock)).unwrap();
        let registry = Arc::new(MemoryRegistry::default());
        let schema = registry.register("", ACCESS).unwrap();
        let name = TOPIC.to_owned();
        let topic = TopicSpec { name, partitions: PARTITIONS, cleanup: Cleanup::Delete, retention_ms };
        log.create_topics(&[topic]).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { _dir: dir, log, views, registry, runtime, clock, shift, schema }
    }

    /// Time goes by.
    pub(crate) fn pass(&self, ms: i64) {
        self.shift.fetch_add(ms, SeqCst);
    }

    pub(crate) fn start<J: Job>(&self, job: &Arc<J>, shape: &Shape) -> Running {
        let parts = Parts {
            log: Arc::clone(&self.log) as Arc<dyn Log>,
            registry: Arc::clone(&self.registry) as Arc<dyn Registry>,
            views: Arc::clone(&self.views) as Arc<dyn ViewStore>,
            handle: self.runtime.handle().clone(),
            clock: Arc::clone(&self.clock),
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
        run::start(Arc::clone(job), shape, &parts, &settings).unwrap()
    }

    /// Appends values to a partition of a topic, in one commit.
    pub(crate) fn append(&self, topic: &str, partition: u32, values: &[Vec<u8>]) {
        let mut producer = self.log.producer("publisher").unwrap();
        let sent = producer.commit(&mut |sink| {
            let record = |value| Outgoing { topic, partition, value: Some(value), ..Outgoing::default() };
            values.iter().try_for_each(|value| sink.send(record(value.as_slice())))
        });
        sent.unwrap();
    }

    /// Publishes to [`TOPIC`].
    pub(crate) fn publish(&self, partition: u32, records: &[Json]) {
        let maker = Maker::new(ACCESS, &[]).unwrap();
        let value = |record: &Json| {
            let mut value = Vec::new();
            wire::put_header(self.schema, &mut value);
            value.extend(maker.datum(record).unwrap());
            value
        };
        self.append(TOPIC, partition, &records.iter().map(value).collect::<Vec<_>>());
    }

    /// Waits until everything of a topic is in the view.
    pub(crate) fn settle<J: Job>(&self, job: &J, shape: &Shape, topic: &str) {
        let partitions = self.log.partitions(topic).unwrap().unwrap();
        let partitions: Vec<_> = (0..partitions).map(|p| TopicPartition::new(topic, p)).collect();
        let ends = self.log.offsets(&partitions, At::StableEnd).unwrap();
        let merges = job.spec().merge_partitions as usize;
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let progress = self.runtime.block_on(self.views.progress(&shape.view)).unwrap_or_default();
            let done = progress.iter().filter(|progress| {
                (0..).zip(&ends).all(|(p, end)| {
                    progress.sources.iter().any(|source| source.partition == p && source.next_offset >= *end)
                })
            });
            if done.count() == merges {
                return;
            }
            assert!(Instant::now() < deadline, "{ends:?}: {progress:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Runs the job until it has read everything.
    pub(crate) fn run(&self, job: &Arc<SpecJob>) {
        let shape = platform::shape(job);
        let running = self.start(job, &shape);
        self.settle(job.as_ref(), &shape, TOPIC);
        running.stop();
    }

    pub(crate) fn recompute(&self, job: &Arc<SpecJob>, request: Request) -> Report {
        let views: &dyn ViewStore = self.views.as_ref();
        self.try_recompute(job.as_ref(), &platform::shape(job), recompute::columns(job), views, request).unwrap()
    }

    pub(crate) fn try_recompute<J: Job>(
        &self,
        job: &J,
        shape: &Shape,
        columns: Columns,
        views: &dyn ViewStore,
        request: Request,
    ) -> Result<Report, Error> {
        let (log, registry) = (self.log.as_ref(), Arc::clone(&self.registry) as Arc<dyn Registry>);
        let (handle, now) = (self.runtime.handle().clone(), (self.clock)());
        Recompute { job, shape, columns, log, registry, views, handle, now }.run(request, &mut |_| true)
    }

    /// All rows of the view, those that were retracted too.
    pub(crate) fn rows(&self, shape: &Shape, merges: i32) -> Vec<Row> {
        let ledgers = self.runtime.block_on(self.views.ledger(&shape.view, 0, i64::MAX)).unwrap();
        let starts: std::collections::BTreeSet<i64> = ledgers.iter().map(|ledger| ledger.window_start).collect();
        let mut rows = Vec::new();
        for window_start in starts {
            for merge_partition in 0..merges {
                let partition = RowPartition { tenant: "default".into(), window_start, merge_partition };
                let query = RowQuery { partition, prefix: vec![], after: None, limit: 10_000 };
                rows.extend(self.runtime.block_on(self.views.rows(&shape.view, &query)).unwrap());
            }
        }
        rows
    }
}

/// One window.
pub(crate) fn only(start: i64) -> Request {
    Request { from: Some(start), to: Some(start + 1), ..Request::default() }
}

/// A stream of numbers.
pub(crate) fn dice(mut state: u64) -> impl FnMut(i64) -> i64 {
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % below as u64) as i64
    }
}
