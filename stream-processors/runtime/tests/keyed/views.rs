//! Threads at work: a process, and the writer of a view of its events, on the embedded log and an embedded view store.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::span::NoSpans;
use tidemark_log::{Outgoing, system_clock};
use tidemark_runtime::keyed::{self, Parts, View};
use tidemark_runtime::{Metrics, Running, Settings};
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::engine::{Ledger, Progress};
use tidemark_views::{CatalogEntry, Column, Kind, Revision, Row, RowPartition, RowQuery, Value, ViewSpec, ViewStore};

use crate::accounts::{self, Accounts, EVENT, Event, MOVED, Moved, Tap};
use crate::registry::MemoryRegistry;

const PATIENCE: Duration = Duration::from_secs(30);

type Answer<'a, T> = std::pin::Pin<Box<dyn Future<Output = Result<T, tidemark_views::Error>> + Send + 'a>>;

/// Keeps rows, and counts how many it was ever given; it refuses ledgers and progress.
#[derive(Default)]
pub(crate) struct Store {
    rows: Mutex<Vec<Row>>,
    given: AtomicUsize,
}

fn none<T>() -> Answer<'static, T> {
    Box::pin(async { panic!("a view of rows alone has no such thing") })
}

impl ViewStore for Store {
    fn create<'a>(&'a self, _view: &'a ViewSpec) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }
    fn put_rows<'a>(&'a self, _view: &'a ViewSpec, rows: &'a [Row]) -> Answer<'a, ()> {
        self.given.fetch_add(rows.len(), Ordering::Relaxed);
        self.rows.lock().unwrap().extend_from_slice(rows);
        Box::pin(async { Ok(()) })
    }
    fn put_ledger<'a>(&'a self, _view: &'a ViewSpec, _entries: &'a [Ledger]) -> Answer<'a, ()> {
        none()
    }
    fn put_progress<'a>(&'a self, _view: &'a ViewSpec, _progress: &'a Progress) -> Answer<'a, ()> {
        none()
    }
    fn rows<'a>(&'a self, _view: &'a ViewSpec, _query: &'a RowQuery) -> Answer<'a, Vec<Row>> {
        none()
    }
    fn ledger<'a>(&'a self, _view: &'a ViewSpec, _from: i64, _to: i64) -> Answer<'a, Vec<Ledger>> {
        none()
    }
    fn drop_view<'a>(&'a self, _view: &'a ViewSpec) -> Answer<'a, ()> {
        none()
    }
    fn put_catalog<'a>(&'a self, _entry: &'a CatalogEntry) -> Answer<'a, ()> {
        none()
    }
    fn catalog(&self) -> Answer<'_, Vec<CatalogEntry>> {
        none()
    }
    fn progress<'a>(&'a self, _view: &'a ViewSpec) -> Answer<'a, Vec<Progress>> {
        none()
    }
}

/// The log of events: all events of an account have its key, and each is a row of its own.
fn view(name: &str) -> View {
    let column = |name: &str, kind| Column { name: name.to_owned(), kind };
    View {
        name: name.to_owned(),
        topic: name.to_owned(),
        schema: EVENT,
        row: Arc::new(|datum| {
            let Event { what, account, sum, at, offset } = Event::get(&mut Reader::new(datum))?;
            Ok(Row {
                partition: RowPartition { tenant: "default".to_owned(), window_start: 0, merge_partition: 0 },
                clustering: vec![Value::Text(account), Value::Long(offset)],
                values: vec![Value::Text(what), Value::Long(sum)],
                revision: Revision { epoch: 1, offset: offset + 1 },
                written_at: at,
            })
        }),
        table: ViewSpec {
            name: "bank_events".to_owned(),
            clustering: vec![column("account", Kind::Text), column("offset", Kind::Long)],
            values: vec![column("what", Kind::Text), column("sum", Kind::Long)],
            retention_ms: 86_400_000,
        },
    }
}

/// A process at work.
pub(crate) struct Bank {
    name: String,
    parts: Parts,
    settings: Settings,
    store: Arc<Store>,
    runtime: tokio::runtime::Runtime,
    running: Option<Running>,
}

pub(crate) fn settings(replica: &str) -> Settings {
    let (replica, session_timeout) = (replica.to_owned(), Duration::from_secs(6));
    Settings { replica, threads: 2, commit_interval_ms: 50, session_timeout, state: None }
}

impl Bank {
    pub(crate) fn new(name: &str, replica: &str, parts: Parts) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (name, settings, store) = (name.to_owned(), settings(replica), Arc::default());
        Self { name, parts, settings, store, runtime, running: None }
    }

    pub(crate) fn start(&mut self) {
        // Each start counts anew.
        self.parts.metrics = Arc::new(Metrics::default());
        let tap = Tap::default();
        let process = move |partition| Accounts::new(partition, &tap);
        let mut running = keyed::start(accounts::spec(&self.name, 2), process, &self.parts, &self.settings).unwrap();
        let store: Arc<dyn ViewStore> = self.store.clone();
        let view = view(&format!("{}.events", self.name));
        running.add_view(&view, &store, self.runtime.handle(), &self.parts, &self.settings);
        self.running = Some(running);
    }

    pub(crate) fn stop(&mut self) {
        self.running.take().into_iter().for_each(Running::stop);
    }

    /// Moves money to accounts, `for_ms` each.
    pub(crate) fn publish(&self, accounts: &[&str], for_ms: i64) {
        let topic = format!("{}.commands", self.name);
        let mut producer = self.parts.log.producer(&format!("{}-publisher", self.name)).unwrap();
        producer
            .commit(&mut |sink| {
                accounts.iter().try_for_each(|account| {
                    let moved = Moved { account: (*account).to_owned(), amount: 1, for_ms };
                    let value = accounts::value(self.parts.registry.as_ref(), &topic, &MOVED, &moved);
                    let partition = keyed::partition_of(account.as_bytes(), 2);
                    sink.send(Outgoing { topic: &topic, partition, key: None, value: Some(&value), headers: &[] })
                })
            })
            .unwrap();
    }

    /// What each row of the view says, by offset of the input.
    pub(crate) fn rows(&self, what: &str) -> usize {
        let rows = self.store.rows.lock().unwrap();
        rows.iter().filter(|row| row.values[0] == Value::Text(what.to_owned())).count()
    }

    pub(crate) fn given(&self) -> usize {
        self.store.given.load(Ordering::Relaxed)
    }

    fn lag(&self, stage: &str) -> Option<i64> {
        self.parts.metrics.status()["lag"][stage].as_i64()
    }

    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !is_so(self) {
            let status = self.parts.metrics.status();
            assert!(began.elapsed() < PATIENCE, "{what}: {} rows given, {status}", self.given());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Everybody is at work and nothing is left to read.
    pub(crate) fn until_idle(&self) {
        self.until("at rest", |bank| {
            let is_ready = bank.parts.metrics.ready().is_ok();
            is_ready && bank.lag("process") == Some(0) && bank.lag("view-writer") == Some(0)
        });
    }
}

#[test]
fn a_process_and_a_view_of_rows_alone_go_on_after_a_restart() {
    let dir = tempfile::TempDir::new().unwrap();
    let parts = Parts {
        log: EmbeddedLog::open(dir.path(), system_clock()).unwrap(),
        registry: Arc::new(MemoryRegistry::default()),
        clock: system_clock(),
        metrics: Arc::new(Metrics::default()),
        spans: Arc::new(NoSpans),
    };
    let mut bank = Bank::new("bank", "one", parts);
    bank.start();
    bank.publish(&["a", "a", "a", "b", "c", "b"], 0);
    bank.publish(&["d"], 200);
    // Rows of one key are rows of their own, and a tick makes the last of them.
    bank.until("an account expires", |bank| bank.rows("expired") == 1);
    bank.until("all rows", |bank| bank.rows("moved") == 7);
    bank.until_idle();
    bank.stop();
    let given = bank.given();
    assert_eq!(given, 8, "a row was written twice");
    bank.start();
    bank.until_idle();
    assert_eq!(bank.given(), given, "rows were written again");
    bank.publish(&["a"], 0);
    bank.until("the next row", |bank| bank.rows("moved") == 8);
    assert_eq!(bank.given(), given + 1);
    let mut text = String::new();
    bank.parts.metrics.render(&mut text);
    for line in ["tidemark_stage_commit_seconds_count{stage=\"process\"} 1", "tidemark_process_entries{partition="] {
        assert!(text.contains(line), "{line} in {text}");
    }
    bank.stop();
}
