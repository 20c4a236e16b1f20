//! One process that runs applied jobs on the embedded log and local views, and a log that can fail what is removed.

use crate::registry::MemoryRegistry;
use crate::views::Unlisting;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tidemark_jobs::directory::{Directory, TOPIC};
use tidemark_jobs::platform::{Jobs, shape};
use tidemark_jobs::recompute::report::Report;
use tidemark_jobs::recompute::{self, Recompute, Request};
use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::span::NoSpans;
use tidemark_log::{
    At, Cleanup, Error, GroupOffset, Log, Member, MemberConfig, Outgoing, Producer, Reader, TopicPartition, TopicSpec,
    system_clock,
};
use tidemark_runtime::run::Parts;
use tidemark_runtime::state::{Sharers, StateConfig, StateSettings};
use tidemark_runtime::{Metrics, Plan, Settings};
use tidemark_schemas::avro::Avro;
use tidemark_schemas::jobs::JobEntry;
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire;
use tidemark_spec::View;
use tidemark_views::local::LocalViews;
use tidemark_views::{Error as ViewError, Row, RowPartition, RowQuery, Value, ViewSpec, ViewStore};

pub(crate) const SOURCE: &str = "site.clicks";
pub(crate) const JOB: &str = "clicks.hourly";
const PARTITIONS: u32 = 2;
const PATHS: i64 = 10;
pub(crate) const SCHEMA: &str = r#"{"type": "record", "name": "Click", "namespace": "site", "fields": [
  {"name": "tenant", "type": "string"},
  {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
  {"name": "path", "type": "string"}
]}"#;

/// The job's file; each version says a little else.
pub(crate) fn file(version: i32) -> String {
    format!(
        "job: {JOB}\nversion: {version}\nsource:\n  topics: {SOURCE}\n  time: at\n  grace: 10m\nkey: [path]\n\
         window: {{tumbling: 1h}}\nlate: amend for 1d\naggregate:\n  clicks: count()\n  n{version}: count()\n"
    )
}

/// The embedded log, until a removal has made so many calls; from then on every one of them fails.
pub(crate) struct Failing {
    log: Arc<EmbeddedLog>,
    /// Calls that still go through.
    left: AtomicI64,
    /// How often groups were to be deleted.
    pub(crate) groups_asked: AtomicU64,
}

impl Failing {
    /// Only what the remover does is counted.
    fn call(&self) -> Result<(), Error> {
        let counted = std::thread::current().name() == Some("jobs-remover");
        if counted && self.left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Err(Error::Retriable("cut off by the test".to_owned()));
        }
        Ok(())
    }
}

impl Log for Failing {
    fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), Error> {
        self.log.create_topics(topics)
    }
    fn delete_topics(&self, names: &[String]) -> Result<(), Error> {
        self.call()?;
        self.log.delete_topics(names)
    }
    fn delete_groups(&self, groups: &[String]) -> Result<(), Error> {
        self.groups_asked.fetch_add(1, Ordering::SeqCst);
        self.call()?;
        self.log.delete_groups(groups)
    }
    fn partitions(&self, topic: &str) -> Result<Option<u32>, Error> {
        self.log.partitions(topic)
    }
    fn offsets(&self, partitions: &[TopicPartition], at: At) -> Result<Vec<i64>, Error> {
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
        self.log.reader(from)
    }
    fn producer(&self, id: &str) -> Result<Box<dyn Producer>, Error> {
        self.call()?;
        self.log.producer(id)
    }
}

/// What outlives a process.
pub(crate) struct Disk {
    pub(crate) dir: TempDir,
    pub(crate) registry: Arc<MemoryRegistry>,
    published: Mutex<i64>,
}

impl Disk {
    pub(crate) fn new() -> Self {
        let registry = Arc::new(MemoryRegistry::default());
        registry.register(&format!("{SOURCE}-value"), SCHEMA).unwrap();
        Self { dir: TempDir::new().unwrap(), registry, published: Mutex::new(0) }
    }

    pub(crate) fn state(&self, version: i32) -> std::path::PathBuf {
        self.dir.path().join("state").join(format!("{JOB}.v{version}"))
    }
}

/// One life of a process.
pub(crate) struct Process<'d> {
    disk: &'d Disk,
    pub(crate) log: Arc<Failing>,
    pub(crate) views: Arc<Unlisting>,
    pub(crate) jobs: Arc<Jobs>,
    thread: JoinHandle<()>,
    runtime: tokio::runtime::Runtime,
}

impl<'d> Process<'d> {
    pub(crate) fn start(disk: &'d Disk) -> Self {
        Self::that_fails_after(disk, i64::MAX)
    }

    /// The remover gets so far and no further.
    pub(crate) fn that_fails_after(disk: &'d Disk, calls: i64) -> Self {
        let dir: &Path = disk.dir.path();
        let log = EmbeddedLog::open(&dir.join("log"), system_clock()).unwrap();
        let (name, cleanup) = (SOURCE.to_owned(), Cleanup::Delete);
        log.create_topics(&[TopicSpec { name, partitions: PARTITIONS, cleanup, retention_ms: None }]).unwrap();
        let log = Arc::new(Failing { log, left: AtomicI64::new(calls), groups_asked: AtomicU64::new(0) });
        let views = LocalViews::open(&dir.join("views"), system_clock()).unwrap();
        let views = Arc::new(Unlisting {
            views,
            refuses: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            untabled: Mutex::default(),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let parts = Parts {
            log: Arc::clone(&log) as Arc<dyn Log>,
            registry: Arc::clone(&disk.registry) as Arc<dyn Registry>,
            views: Arc::clone(&views) as Arc<dyn ViewStore>,
            handle: runtime.handle().clone(),
            clock: system_clock(),
            metrics: Arc::new(Metrics::default()),
            spans: Arc::new(NoSpans),
        };
        let state = StateSettings { checkpoint_interval_ms: 20, ..StateSettings::default() };
        let settings = Settings {
            replica: "r".into(),
            threads: 1,
            commit_interval_ms: 5,
            session_timeout: Duration::from_secs(10),
            state: Some(StateConfig {
                path: dir.join("state"),
                settings: state,
                sharers: Sharers::default(),
                standby: false,
            }),
        };
        let (jobs, thread) = Jobs::start(
            parts,
            settings,
            vec![View::of(tidemark_jobs::flows::hourly(&tidemark_jobs::flows::Settings::default()).unwrap().head())],
        )
        .unwrap();
        Self { disk, log, views, jobs, thread, runtime }
    }

    /// Commits what is folded and ends.
    pub(crate) fn stop(self) {
        self.jobs.stop();
        self.thread.join().unwrap();
    }

    /// The versions that the catalogue of views has, and which is current.
    pub(crate) fn listed(&self) -> (Vec<u32>, Option<u32>) {
        let catalog = self.runtime.block_on(self.views.catalog()).unwrap();
        let entry = catalog.into_iter().find(|entry| entry.view == JOB);
        entry.map(|entry| (entry.versions.iter().map(|v| v.version).collect(), entry.current)).unwrap_or_default()
    }

    /// Whether a view has a table.
    pub(crate) fn has_table(&self, view: &ViewSpec) -> bool {
        let partition = RowPartition { tenant: "default".into(), window_start: 0, merge_partition: 0 };
        let query = RowQuery { partition, prefix: vec![], after: None, limit: 1 };
        self.runtime.block_on(self.views.rows(view, &query)).is_ok()
    }

    pub(crate) fn make_table(&self, view: &ViewSpec) {
        self.runtime.block_on(self.views.create(view)).unwrap();
    }

    pub(crate) fn apply(&self, version: i32) {
        self.apply_file(&file(version));
    }

    pub(crate) fn apply_file(&self, text: &str) {
        let (entry, ..) = self.jobs.apply("job.yaml", text).unwrap_or_else(|error| panic!("{error}"));
        self.until("the view is served", || self.jobs.is_published(&entry));
    }

    pub(crate) fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !done() {
            assert!(Instant::now() < deadline, "not within a minute: {what}; {:?}", self.entry());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// So many records more.
    pub(crate) fn publish(&self, records: i64) {
        let now = (system_clock())();
        self.publish_at(&(0..records).map(|n| (now, n % PATHS)).collect::<Vec<_>>());
    }

    /// Clicks with their times, each on a path of this number.
    pub(crate) fn publish_at(&self, clicks: &[(i64, i64)]) {
        let schema = self.disk.registry.latest_of(&format!("{SOURCE}-value")).unwrap().unwrap().id;
        let mut producer = self.log.producer("publisher").unwrap();
        let value = |(at, path): &(i64, i64)| {
            let mut value = Vec::new();
            wire::put_header(schema, &mut value);
            "default".put(&mut value);
            at.put(&mut value);
            format!("/{path}").as_str().put(&mut value);
            value
        };
        let values: Vec<Vec<u8>> = clicks.iter().map(value).collect();
        let mut send = |sink: &mut dyn tidemark_log::Sink| {
            let records = values.iter().zip((0..PARTITIONS).cycle());
            records.into_iter().try_for_each(|(value, partition)| {
                sink.send(Outgoing { topic: SOURCE, partition, value: Some(value), ..Outgoing::default() })
            })
        };
        producer.commit(&mut send).unwrap();
        *self.disk.published.lock().unwrap() += clicks.len() as i64;
    }

    /// What the directory topic says of the job.
    pub(crate) fn entry(&self) -> JobEntry {
        let log = Arc::clone(&self.log.log) as Arc<dyn Log>;
        let directory = Directory::open(log, Arc::clone(&self.disk.registry) as Arc<dyn Registry>).unwrap();
        directory.entries().unwrap().remove(JOB).unwrap().1
    }

    /// A call of the remover has failed.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.log.left.load(Ordering::SeqCst) < 0
    }

    pub(crate) fn until_removed(&self) {
        self.until("nothing is left to be removed", || self.entry().retiring.is_empty());
    }

    /// Every record that was published is counted once by the version.
    pub(crate) fn check_counts(&self, version: i32) {
        let all = *self.disk.published.lock().unwrap();
        let mut found = 0;
        self.until(&format!("version {version} counts {all}"), || {
            found = self.counted(&self.view(version)).unwrap_or(0);
            assert!(found <= all, "version {version} counts {found} of {all}");
            found == all
        });
    }

    fn view(&self, version: i32) -> ViewSpec {
        self.view_of(JOB, version)
    }

    pub(crate) fn view_of(&self, job: &str, version: i32) -> ViewSpec {
        let jobs = self.jobs.list();
        let Some((entry, states)) = jobs.iter().find(|(entry, _)| entry.job == job) else { return by_name(version) };
        let at = entry.versions.iter().position(|there| there.version == version).unwrap();
        states[at].1.as_ref().map(|job| job.columns().view.clone()).unwrap_or_else(|| by_name(version))
    }

    /// All rows of a view.
    pub(crate) fn rows(&self, view: &ViewSpec) -> Result<Vec<Row>, ViewError> {
        let windows = self.runtime.block_on(self.views.ledger(view, 0, i64::MAX))?;
        let mut rows = Vec::new();
        for ledger in windows {
            let (tenant, window_start) = ("default".to_owned(), ledger.window_start);
            let partition = RowPartition { tenant, window_start, merge_partition: ledger.merge_partition };
            let query = RowQuery { partition, prefix: vec![], after: None, limit: 100 };
            rows.extend(self.runtime.block_on(self.views.rows(view, &query))?);
        }
        Ok(rows)
    }

    /// Computes all windows of a job from a file again and compares.
    pub(crate) fn recompute(&self, job: &str) -> Report {
        let jobs = self.jobs.list();
        let (_, states) = jobs.iter().find(|(entry, _)| entry.job == job).unwrap();
        let job = states[0].1.as_ref().unwrap();
        let (log, registry) = (self.log.as_ref(), Arc::clone(&self.disk.registry) as Arc<dyn Registry>);
        let (columns, views) = (recompute::columns(job), self.views.as_ref());
        let (handle, now) = (self.runtime.handle().clone(), (system_clock())());
        let whole = Recompute { job: job.as_ref(), shape: &shape(job), columns, log, registry, views, handle, now };
        whole.run(Request { from: None, to: None, include_late: false, write: false }, &mut |_| true).unwrap()
    }

    fn counted(&self, view: &ViewSpec) -> Result<i64, ViewError> {
        let at = view.values.iter().position(|column| column.name == "clicks").unwrap_or(0);
        let clicks = |row: Row| match row.values[at] {
            Value::Long(clicks) => clicks,
            ref other => panic!("{other:?}"),
        };
        Ok(self.rows(view)?.into_iter().map(clicks).sum())
    }

    /// Nothing of the version is left: topics, offsets, tables, listing, state.
    pub(crate) fn check_gone(&self, version: i32) {
        let plan = Plan::named(JOB, version as u32);
        for topic in plan.topic_names() {
            assert_eq!(self.log.partitions(&topic).unwrap(), None, "{topic}");
        }
        let source: Vec<_> = (0..PARTITIONS).map(|partition| TopicPartition::new(SOURCE, partition)).collect();
        for group in plan.groups() {
            assert!(self.log.committed(&group, &source).unwrap().iter().all(Option::is_none), "{group}");
        }
        let view = by_name(version);
        let ledger = self.runtime.block_on(self.views.ledger(&view, 0, i64::MAX)).unwrap_or_default();
        let progress = self.runtime.block_on(self.views.progress(&view)).unwrap_or_default();
        assert!(ledger.is_empty() && progress.is_empty(), "{ledger:?} {progress:?}");
        let listed = self.runtime.block_on(self.views.catalog()).unwrap();
        let versions = listed.iter().filter(|entry| entry.view == JOB).flat_map(|entry| &entry.versions);
        assert!(versions.into_iter().all(|listed| listed.version != version as u32), "it is listed");
        assert!(!self.disk.state(version).exists(), "its state is left");
        let subject = format!("{}-value", plan.dead_letter);
        assert!(self.disk.registry.subject_names().unwrap().contains(&subject), "schemas stay");
        assert!(self.log.partitions(TOPIC).unwrap().is_some() && self.log.partitions(SOURCE).unwrap().is_some());
    }
}

fn by_name(version: i32) -> ViewSpec {
    let name = Plan::named(JOB, version as u32).spec.view_table();
    ViewSpec { name, clustering: vec![], values: vec![], retention_ms: 1_000 }
}
