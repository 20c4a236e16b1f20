//! A job in Rust that is built into a process: its topic is made, its rows are served, it goes on after a restart, and its
//! figures are proved.

#[path = "../../../../examples/access-log/peaks.rs"]
#[allow(dead_code, unreachable_pub, reason = "its main is for people")]
mod peaks;

use crate::registry::MemoryRegistry;
use serde_json::{Value as Json, json};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemark_jobs::hosted::{self, Ground, Hosted};
use tidemark_jobs::platform::Jobs;
use tidemark_jobs::recompute::Request;
use tidemark_jobs::recompute::report::Verdict;
use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::span::NoSpans;
use tidemark_log::{Outgoing, system_clock};
use tidemark_runtime::run::Parts;
use tidemark_runtime::state::{StateConfig, StateSettings};
use tidemark_runtime::{Metrics, Running, Settings};
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire;
use tidemark_spec::datum::Maker;
use tidemark_views::local::LocalViews;
use tidemark_views::{RowPartition, RowQuery, Value};

const SOURCE: &str = "logs.access";
/// 2026-01-01T10:00:00Z.
const HOUR_MS: i64 = 1_767_261_600_000;

struct Process {
    job: Arc<dyn Hosted>,
    parts: Parts,
    settings: Settings,
    running: Running,
    runtime: tokio::runtime::Runtime,
}

impl Process {
    fn start(dir: &Path, registry: &Arc<MemoryRegistry>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let parts = Parts {
            log: EmbeddedLog::open(&dir.join("log"), system_clock()).unwrap(),
            registry: Arc::clone(registry) as Arc<dyn Registry>,
            views: LocalViews::open(&dir.join("views"), system_clock()).unwrap(),
            handle: runtime.handle().clone(),
            clock: system_clock(),
            metrics: Arc::new(Metrics::default()),
            spans: Arc::new(NoSpans),
        };
        let settings = Settings {
            replica: "r".into(),
            threads: 1,
            commit_interval_ms: 5,
            session_timeout: Duration::from_secs(10),
            state: Some(StateConfig {
                path: dir.join("state"),
                settings: StateSettings::default(),
                sharers: Default::default(),
                standby: false,
            }),
        };
        let job: Arc<dyn Hosted> = Arc::new(peaks::job().unwrap());
        let running = hosted::start_built_in(Arc::clone(&job), &parts, &settings).unwrap();
        Self { job, parts, settings, running, runtime }
    }

    fn publish(&self, records: &[Json]) {
        let subject = self.parts.registry.latest_of(&format!("{SOURCE}-value")).unwrap().unwrap();
        let maker = Maker::new(&subject.schema, &[]).unwrap();
        let value = |record: &Json| {
            let mut value = Vec::new();
            wire::put_header(subject.id, &mut value);
            value.extend(maker.datum(record).unwrap());
            value
        };
        let values: Vec<Vec<u8>> = records.iter().map(value).collect();
        let mut send = |sink: &mut dyn tidemark_log::Sink| {
            values.iter().zip((0..4).cycle()).try_for_each(|(value, partition)| {
                sink.send(Outgoing { topic: SOURCE, partition, value: Some(value), ..Outgoing::default() })
            })
        };
        self.parts.log.producer("publisher").unwrap().commit(&mut send).unwrap();
    }

    /// Class, records, peak minute and its bytes, as the view has them.
    fn rows(&self) -> Vec<(String, i64, i64, i64)> {
        let view = &self.job.head().columns().view;
        let ledgers = self.runtime.block_on(self.parts.views.ledger(view, HOUR_MS, HOUR_MS + 1)).unwrap();
        let mut rows = Vec::new();
        for ledger in ledgers {
            let (tenant, window_start) = ("default".to_owned(), ledger.window_start);
            let partition = RowPartition { tenant, window_start, merge_partition: ledger.merge_partition };
            let query = RowQuery { partition, prefix: vec![], after: None, limit: 100 };
            for row in self.runtime.block_on(self.parts.views.rows(view, &query)).unwrap() {
                let [Value::Text(class)] = row.clustering.as_slice() else { panic!("{row:?}") };
                let [Value::Long(records), Value::Long(minute), Value::Long(bytes)] = row.values[..] else {
                    panic!("{row:?}")
                };
                rows.push((class.clone(), records, minute, bytes));
            }
        }
        rows.sort();
        rows
    }

    fn until_rows(&self, wanted: &[(&str, i64, i64, i64)]) {
        let wanted: Vec<_> = wanted.iter().map(|(class, a, b, c)| ((*class).to_owned(), *a, *b, *c)).collect();
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.rows() != wanted {
            assert!(Instant::now() < deadline, "not within a minute: {wanted:?}; {:?}", self.rows());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn access(second: i64, status: i64, bytes: i64) -> Json {
    json!({"tenant": "default", "at": HOUR_MS + second * 1_000, "status": status, "bytes": bytes})
}

#[test]
fn a_job_in_rust_runs_is_served_proved_and_goes_on_after_a_restart() {
    let (dir, registry) = (tempfile::TempDir::new().unwrap(), Arc::new(MemoryRegistry::default()));
    let process = Process::start(dir.path(), &registry);
    assert_eq!(process.parts.log.partitions(SOURCE).unwrap(), Some(4), "the topic was missing and is made");
    process.publish(&[access(60, 200, 5), access(65, 204, 6), access(600, 200, 10), access(0, 404, 1)]);
    process.until_rows(&[("2xx", 3, 1, 11), ("4xx", 1, 0, 1)]);
    let listed = process.runtime.block_on(process.parts.views.catalog()).unwrap();
    let version = &listed.iter().find(|entry| entry.view == "access.peaks").unwrap().versions[0];
    let table = &process.job.head().columns().view;
    assert_eq!((&version.table, version.key.as_slice()), (table, &["class".to_owned()][..]));
    let note = version.note("peak_bytes").unwrap();
    assert_eq!((note.description.as_str(), note.error), ("bytes of that minute", None));
    assert_eq!(version.description, "Busiest minute of every hour by status class.");
    process.running.stop();
    drop((process.parts, process.runtime));
    let process = Process::start(dir.path(), &registry);
    // What the fold rejects is no row, and nothing stops.
    process.publish(&[access(600, 200, -1), access(601, 200, 2)]);
    process.until_rows(&[("2xx", 4, 10, 12), ("4xx", 1, 0, 1)]);
    process.publish(&[access(5, 500, 7)]);
    process.until_rows(&[("2xx", 4, 10, 12), ("4xx", 1, 0, 1), ("5xx", 1, 0, 7)]);
    let (log, views) = (process.parts.log.as_ref(), process.parts.views.as_ref());
    let (registry, handle, now) = (Arc::clone(&process.parts.registry), process.runtime.handle().clone(), HOUR_MS);
    let ground = Ground { log, registry, views, handle, now };
    let report = process.job.recompute(ground, Request::default(), &mut |_| true).unwrap();
    assert_eq!(report.verdict(), Verdict::Equal, "{report:#?}");
    assert_eq!((report.counts.folded, report.counts.dead_lettered), (6, 1));
    process.running.stop();
}

#[test]
fn the_name_of_a_job_in_rust_cannot_be_taken_by_a_file() {
    let (dir, registry) = (tempfile::TempDir::new().unwrap(), Arc::new(MemoryRegistry::default()));
    let process = Process::start(dir.path(), &registry);
    let views = vec![tidemark_spec::View::of(process.job.head())];
    let (jobs, thread) = Jobs::start(process.parts.clone(), process.settings.clone(), views).unwrap();
    let file = "job: access.peaks\nsource: {topics: logs.access, time: at}\nwindow: {tumbling: 1h}\nlate: hold\n\
                aggregate: {n: count()}\n";
    let refused = jobs.apply("job.yaml", file).unwrap_err().to_string();
    assert!(refused.contains("access.peaks is a job of the platform itself"), "{refused}");
    jobs.apply("job.yaml", &file.replace("access.peaks", "access.count")).unwrap();
    jobs.stop();
    thread.join().unwrap();
    process.running.stop();
}
