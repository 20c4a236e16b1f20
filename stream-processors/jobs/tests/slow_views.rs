//! The view writer on view stores that are slow, hang or fail: it keeps its place in the group, goes on, and holds only so much.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, in its helpers too")]

#[path = "support/registry.rs"]
mod registry;

use registry::MemoryRegistry;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tidemark_core::Job;
use tidemark_jobs::flows::{self, HOUR_MS, Settings};
use tidemark_jobs::platform;
use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::span::NoSpans;
use tidemark_log::{
    At, Batch, Cleanup, Event, GroupOffset, Log, Member, MemberConfig, Outgoing, Sink, TopicPartition, TopicSpec,
    system_clock,
};
use tidemark_runtime::drive::{Context, Due, Prepared, drive};
use tidemark_runtime::metrics::StageStatus;
use tidemark_runtime::trace::CommitTrace;
use tidemark_runtime::writer::WriterStage;
use tidemark_runtime::{Error, Metrics, Operator, Plan, StageConfig};
use tidemark_schemas::engine::{Ledger, Progress};
use tidemark_schemas::flows::FlowHourly;
use tidemark_schemas::wire;
use tidemark_views::{CatalogEntry, Row, RowQuery, Value, ViewSpec, ViewStore};

/// Long enough for a thread that has to wait for its turn on a machine that does much else.
const SESSION: Duration = Duration::from_secs(3);

type Answer<'a, T> = std::pin::Pin<Box<dyn Future<Output = Result<T, tidemark_views::Error>> + Send + 'a>>;

/// Keeps the names of the rows it is given, at its own pace: how long the n-th write takes, and whether it fails then.
struct Store {
    pace: fn(usize) -> (Duration, bool),
    calls: AtomicUsize,
    created: AtomicUsize,
    largest: AtomicUsize,
    rows: Mutex<BTreeSet<String>>,
    /// Rows that were acknowledged when each progress came.
    progress: Mutex<Vec<usize>>,
}

impl Store {
    async fn take(&self) -> Result<(), tidemark_views::Error> {
        let (pause, fails) = (self.pace)(self.calls.fetch_add(1, Ordering::Relaxed));
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        if fails { Err(tidemark_views::Error::Unavailable("hung".to_owned())) } else { Ok(()) }
    }
}

impl ViewStore for Store {
    fn create<'a>(&'a self, _view: &'a ViewSpec) -> Answer<'a, ()> {
        self.created.fetch_add(1, Ordering::Relaxed);
        Box::pin(self.take())
    }
    fn put_rows<'a>(&'a self, _view: &'a ViewSpec, rows: &'a [Row]) -> Answer<'a, ()> {
        Box::pin(async move {
            self.largest.fetch_max(rows.len(), Ordering::Relaxed);
            self.take().await?;
            let name = |row: &Row| match &row.clustering[0] {
                Value::Text(name) => name.clone(),
                other => panic!("{other:?}"),
            };
            self.rows.lock().unwrap().extend(rows.iter().map(name));
            Ok(())
        })
    }
    fn put_ledger<'a>(&'a self, _view: &'a ViewSpec, _entries: &'a [Ledger]) -> Answer<'a, ()> {
        Box::pin(self.take())
    }
    fn put_progress<'a>(&'a self, _view: &'a ViewSpec, _progress: &'a Progress) -> Answer<'a, ()> {
        Box::pin(async move {
            self.take().await?;
            let rows = self.rows.lock().unwrap().len();
            self.progress.lock().unwrap().push(rows);
            Ok(())
        })
    }
    fn rows<'a>(&'a self, _view: &'a ViewSpec, _query: &'a RowQuery) -> Answer<'a, Vec<Row>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn ledger<'a>(&'a self, _view: &'a ViewSpec, _from: i64, _to: i64) -> Answer<'a, Vec<Ledger>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn drop_view<'a>(&'a self, _view: &'a ViewSpec) -> Answer<'a, ()> {
        Box::pin(self.take())
    }
    fn put_catalog<'a>(&'a self, _entry: &'a CatalogEntry) -> Answer<'a, ()> {
        Box::pin(self.take())
    }
    fn catalog(&self) -> Answer<'_, Vec<CatalogEntry>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn progress<'a>(&'a self, _view: &'a ViewSpec) -> Answer<'a, Vec<Progress>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// The writer, and what it was seen to do.
struct Watched {
    writer: WriterStage,
    store: Arc<Store>,
    assigned: Arc<AtomicUsize>,
    folded: usize,
    most_held: Arc<AtomicUsize>,
}

impl Operator for Watched {
    fn stage(&self) -> &'static str {
        self.writer.stage()
    }
    fn assign(&mut self, owned: &[TopicPartition], now: i64) -> Result<(), Error> {
        self.assigned.fetch_add(1, Ordering::Relaxed);
        self.folded = 0;
        self.writer.assign(owned, now)
    }
    fn restore(&mut self) -> Result<Option<Vec<(TopicPartition, i64)>>, Error> {
        self.writer.restore()
    }
    fn fold(&mut self, batch: Batch<'_>, now: i64) {
        self.folded += batch.records.len();
        let held = self.folded.saturating_sub(self.store.rows.lock().unwrap().len());
        self.most_held.fetch_max(held, Ordering::Relaxed);
        self.writer.fold(batch, now);
    }
    fn trace(&mut self) -> &mut CommitTrace {
        self.writer.trace()
    }
    fn check(&mut self) -> Result<(), Error> {
        self.writer.check()
    }
    fn tick(&mut self, member: &mut dyn Member, now: i64) -> Result<(), Error> {
        self.writer.tick(member, now)
    }
    fn due(&self) -> Due {
        self.writer.due()
    }
    fn prepare(&mut self, now: i64) -> Result<Prepared, Error> {
        self.writer.prepare(now)
    }
    fn produce(&mut self, now: i64, sink: &mut dyn Sink) -> Result<(), tidemark_log::Error> {
        self.writer.produce(now, sink)
    }
    fn offsets(&self, member: &dyn Member) -> Result<Vec<GroupOffset>, Error> {
        self.writer.offsets(member)
    }
    fn committed(&mut self, now: i64) {
        self.writer.committed(now);
    }
    fn discard(&mut self) {
        self.writer.discard();
    }
}

/// What became of a run.
struct Outcome {
    assigned: usize,
    created: usize,
    most_held: usize,
    largest: usize,
    progress: Vec<usize>,
    took: Duration,
}

/// Writes `rows` different rows, then a progress, at the store's pace until all of it is committed.
fn run(rows: usize, pace: fn(usize) -> (Duration, bool)) -> Outcome {
    let (dir, registry) = (tempfile::TempDir::new().unwrap(), Arc::new(MemoryRegistry::default()));
    let log: Arc<dyn Log> = EmbeddedLog::open(dir.path(), system_clock()).unwrap();
    let job = flows::hourly(&Settings { merge_partitions: 1, ..Settings::default() }).unwrap();
    let source = TopicSpec { name: flows::TOPIC.into(), partitions: 1, cleanup: Cleanup::Delete, retention_ms: None };
    log.create_topics(&[source]).unwrap();
    let shape = platform::shape(job.head());
    let mut plan = Plan::new(job.spec().clone()).unwrap();
    plan.create(log.as_ref(), registry.as_ref(), &shape.row).unwrap();
    publish(log.as_ref(), &plan, rows);
    let store = Arc::new(Store {
        pace,
        calls: AtomicUsize::new(0),
        created: AtomicUsize::new(0),
        largest: AtomicUsize::new(0),
        rows: Mutex::default(),
        progress: Mutex::default(),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (metrics, plan) = (Arc::new(Metrics::default()), Arc::new(plan));
    let (assigned, most_held) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let writer = WriterStage::new(
        Arc::clone(&plan),
        shape.view.clone(),
        shape.view_source,
        Arc::clone(&log),
        registry,
        Arc::clone(&store) as Arc<dyn ViewStore>,
        runtime.handle().clone(),
        Arc::clone(&metrics),
    );
    let mut operator = Watched {
        writer,
        store: Arc::clone(&store),
        assigned: Arc::clone(&assigned),
        folded: 0,
        most_held: Arc::clone(&most_held),
    };
    let (group, topics) = (plan.group("view-writer"), vec![plan.view.clone()]);
    let member = MemberConfig { group: group.clone(), topics, id: "w".into(), session_timeout: SESSION };
    let config = StageConfig { member, commit_interval_ms: 20 };
    let stop = Arc::new(AtomicBool::new(false));
    let context = Context {
        log: Arc::clone(&log),
        clock: system_clock(),
        stop: Arc::clone(&stop),
        metrics: Arc::clone(&metrics),
        spans: Arc::new(NoSpans),
    };
    let status = StageStatus::new("writer".into(), metrics);
    let bystander = bystander(&log, &group, &stop);
    let began = Instant::now();
    let thread = std::thread::spawn(move || drive(&context, &mut operator, &config, &status));
    let at = [TopicPartition::new(plan.view.as_str(), 0)];
    let end = log.offsets(&at, At::End).unwrap()[0];
    let behind = || log.committed(&group, &at).unwrap()[0].as_ref().is_none_or(|committed| committed.offset < end);
    while behind() {
        assert!(!thread.is_finished() && began.elapsed() < Duration::from_secs(60), "{:?}", store.progress);
        std::thread::sleep(Duration::from_millis(10));
    }
    let took = began.elapsed();
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap().unwrap();
    bystander.join().unwrap();
    assert_eq!(store.rows.lock().unwrap().len(), rows);
    let count = |of: &AtomicUsize| of.load(Ordering::Relaxed);
    Outcome {
        assigned: count(&assigned),
        created: count(&store.created),
        most_held: count(&most_held),
        largest: count(&store.largest),
        progress: store.progress.lock().unwrap().clone(),
        took,
    }
}

/// Another member of the group, of another topic: it is whom the log waits with for the others' deadlines.
fn bystander(log: &Arc<dyn Log>, group: &str, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    let (group, topics) = (group.to_owned(), vec![flows::TOPIC.to_owned()]);
    let config = MemberConfig { group, topics, id: "bystander".into(), session_timeout: SESSION };
    let mut member = log.member(&config).unwrap();
    let stop = Arc::clone(stop);
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            match member.poll(Duration::from_millis(50), &mut |_| ()).unwrap() {
                Event::Polled | Event::Assigned(_) => {}
                Event::Revoking(_) | Event::Lost(_) => member.release().unwrap(),
            }
        }
    })
}

fn publish(log: &dyn Log, plan: &Plan, rows: usize) {
    let mut producer = log.producer("merge").unwrap();
    let mut send = |sink: &mut dyn Sink| {
        for row in 0..rows {
            let (name, mut value) = (format!("app-{row}"), Vec::new());
            wire::put(plan.ids.row, &flow(&name), &mut value);
            let (key, value) = (Some(name.as_bytes()), Some(value.as_slice()));
            sink.send(Outgoing { topic: &plan.view, partition: 0, key, value, headers: &[] })?;
        }
        let progress = Progress {
            fingerprint: plan.spec.fingerprint(),
            merge_partition: 0,
            merge_partitions: 1,
            watermark: None,
            as_of: 0,
            oldest_append: None,
            sources: Vec::new(),
            partition_counts: Vec::new(),
            epoch: 1,
            revision: 1,
        };
        let mut value = Vec::new();
        wire::put(plan.ids.progress, &progress, &mut value);
        let (key, value) = (Some(b"P".as_slice()), Some(value.as_slice()));
        sink.send(Outgoing { topic: &plan.view, partition: 0, key, value, headers: &[] })
    };
    producer.commit(&mut send).unwrap();
}

fn flow(src_app: &str) -> FlowHourly<'_> {
    FlowHourly {
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
    }
}

#[test]
fn a_store_that_takes_half_the_session_for_a_write_costs_no_membership() {
    let outcome = run(5_000, |_| (SESSION / 2, false));
    assert_eq!((outcome.assigned, outcome.created), (1, 1));
    assert!(outcome.took > SESSION * 2, "the writes took {:?} in all", outcome.took);
    assert_eq!((outcome.largest, outcome.progress.last()), (1_000, Some(&5_000)));
}

#[test]
fn a_store_that_hangs_for_longer_than_the_session_costs_no_membership() {
    let outcome = run(3_000, |call| if call % 3 == 2 { (SESSION * 3 / 2, true) } else { (Duration::ZERO, false) });
    assert_eq!(outcome.assigned, 1);
    assert!(outcome.took > SESSION * 3 / 2, "nothing hung: {:?}", outcome.took);
    // The progress closes windows: it comes when all that was read before it is there.
    assert_eq!(outcome.progress.last(), Some(&3_000));
}

#[test]
fn a_slow_store_bounds_what_is_read() {
    let outcome = run(200_000, |_| (Duration::from_millis(10), false));
    // Two times 20,000 rows and what one poll of the embedded log brings, 1 MiB: about 20,000 rows.
    assert!((20_000..100_000).contains(&outcome.most_held), "{} rows in memory", outcome.most_held);
    assert_eq!(outcome.assigned, 1);
}
