//! The jobs that run in this process: those of the [`Directory`], started, stopped and changed while everything else goes on.
//!
//! Every process follows the directory by itself and comes to the same set. A version that cannot be started, or whose table
//! cannot be made, is tried again and again, ever less often, and holds up no other: the catalogue of views has those that can
//! be read.

use crate::decide::{self, Refusal};
use crate::directory::{Directory, Entries, Error};
use crate::hosted::Hosted;
use crate::retire::{self, Remover};
use crate::sources;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tidemark_core::{Job, JobSpec, Windowing};
use tidemark_runtime::metrics::Thread;
use tidemark_runtime::run::{Parts, Shape};
use tidemark_runtime::writer::ViewSource;
use tidemark_runtime::{Metrics, Plan, Running, Settings};
use tidemark_schemas::catalog;
use tidemark_schemas::jobs::{JobEntry, JobVersion};
use tidemark_spec::{Problems, SpecJob, View};
use tidemark_views::{ColumnNote, ViewVersion};

mod apply;
pub use apply::Sent;
mod publish;

/// How long the follower waits for changes before it looks at what failed.
const STEP: Duration = Duration::from_millis(200);
/// First and longest pause before a job that could not be started, or has no table, is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(120));
/// Pause before the directory is followed anew after an error.
const FOLLOW_AGAIN: Duration = Duration::from_secs(1);

/// A job version, by name and number.
pub type Id = (String, i32);

/// A version of a job in this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// On its way.
    Starting,
    /// Its stages were started; [`Metrics::ready`] says more.
    Running,
    /// It could not be started, or has no table: why. It is tried again.
    Failed(String),
    /// A stage of it has ended for good: why. It is started again with the process.
    Stopped(String),
}

/// What is known of a version in this process: its job, once it could be started.
pub type Here = (State, Option<Arc<SpecJob>>, Arc<Metrics>);

struct Work {
    text: String,
    created_at: i64,
    job: Option<Arc<SpecJob>>,
    metrics: Arc<Metrics>,
    running: Option<Running>,
    state: State,
    /// Its view has a table; else why not, once that was tried.
    table: Option<Result<(), String>>,
    tried: Instant,
    /// Until it is tried again.
    pause: Duration,
}

/// What the catalogue of views has of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Published {
    revision: i64,
    /// How many of its versions: those that have a table.
    versions: usize,
}

/// A job that the catalogue could not take: when it is tried again, and the pause after that.
type Waiting = (Instant, Duration);

#[derive(Default)]
struct Set {
    entries: Entries,
    work: HashMap<Id, Work>,
    /// Versions that are gone from the directory and whose stages are still being stopped.
    stopping: BTreeSet<Id>,
    published: BTreeMap<String, Published>,
    unpublished: BTreeMap<String, Waiting>,
    /// The directory has been read once.
    known: bool,
    /// State that nobody wants was looked for on this machine.
    swept: bool,
}

/// The jobs of a process.
pub struct Jobs {
    directory: Directory,
    parts: Parts,
    settings: Settings,
    /// Views of jobs that are not in the directory.
    built_in: Vec<View>,
    set: Mutex<Set>,
    stop: AtomicBool,
}

/// Why a file was not applied. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The file is wrong.
    #[error("{0}")]
    Problems(#[from] Problems),
    /// Its own tests fail.
    #[error("the job's own tests fail:\n{0}")]
    Tests(String),
    /// The schema that came with it for a topic cannot be the topic's next one.
    #[error("{0}")]
    Schema(String),
    /// The registry or the log does not answer.
    #[error("{0}")]
    Unavailable(String),
    /// It contradicts what is there.
    #[error("{0}")]
    Change(#[from] Error<Refusal>),
}

impl Jobs {
    /// Follows the directory on a thread of its own; views of jobs that are `built_in` can be read, and their names not be taken.
    ///
    /// # Errors
    /// The directory's topic cannot be made, or no thread be started.
    pub fn start(
        parts: Parts,
        settings: Settings,
        built_in: Vec<View>,
    ) -> Result<(Arc<Self>, JoinHandle<()>), tidemark_log::Error> {
        let directory = Directory::open(Arc::clone(&parts.log), Arc::clone(&parts.registry))?;
        let set = Mutex::new(Set::default());
        let jobs = Arc::new(Self { directory, parts, settings, built_in, set, stop: AtomicBool::new(false) });
        let following = Arc::clone(&jobs);
        let thread = std::thread::Builder::new().name("jobs".into()).spawn(move || following.follow());
        let thread =
            thread.map_err(|error| tidemark_log::Error::Retriable(format!("no thread for the jobs: {error}")))?;
        Ok((jobs, thread))
    }

    fn set(&self) -> MutexGuard<'_, Set> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> i64 {
        (self.parts.clock)()
    }

    /// Stops every job: what is folded is committed. The thread of [`Jobs::start`] ends then.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Names of the jobs that are not in the directory.
    fn own_names(&self) -> Vec<String> {
        self.built_in.iter().map(|view| view.name.clone()).collect()
    }

    fn follow(&self) {
        let built_in = &self.own_names();
        std::thread::scope(|scope| {
            // On a thread of its own: a log that is slow to delete holds up no job.
            let remover = std::thread::Builder::new().name("jobs-remover".into()).spawn_scoped(scope, || {
                let (directory, parts, replica) = (&self.directory, &self.parts, self.settings.replica.as_str());
                Remover { directory, parts, built_in, replica, stop: &self.stop }.run(|| self.to_be_removed());
            });
            if let Err(error) = remover {
                tracing::warn!(%error, "no thread that removes retired versions; they are removed after the next start");
            }
            self.follow_on();
        });
    }

    /// Retired versions that do not run here any more, and of which the catalogue of views does not tell any more.
    fn to_be_removed(&self) -> Vec<Id> {
        let set = self.set();
        let told = |(job, (revision, _)): &(&String, &(i64, JobEntry))| {
            set.published.get(*job).is_some_and(|published| published.revision == *revision)
        };
        let of = |(job, (_, entry)): (&String, &(i64, JobEntry))| {
            let job = job.clone();
            entry.retiring.iter().map(move |gone| (job.clone(), gone.version)).collect::<Vec<_>>()
        };
        let gone = set.entries.iter().filter(told).flat_map(of);
        gone.filter(|id| !set.work.contains_key(id) && !set.stopping.contains(id)).collect()
    }

    fn follow_on(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            if let Err(error) = self.follow_once() {
                tracing::warn!(%error, "the directory of jobs is followed anew in a moment; what runs goes on");
                std::thread::sleep(FOLLOW_AGAIN);
            }
        }
        let work: Vec<Work> = self.set().work.drain().map(|(_, work)| work).collect();
        work.into_iter().filter_map(|work| work.running).for_each(Running::stop);
    }

    fn follow_once(&self) -> Result<(), tidemark_log::Error> {
        let mut following = self.directory.follow()?;
        while !self.stop.load(Ordering::Relaxed) {
            let known = self.set().known;
            let entries = if known && !following.step(STEP)? {
                None
            } else if known {
                Some(following.entries().clone())
            } else {
                Some(self.directory.entries()?)
            };
            if let Some(entries) = entries {
                let mut set = self.set();
                // A reader that begins anew has less at first than was known.
                for (job, (revision, entry)) in entries {
                    if set.entries.get(&job).is_none_or(|(known, _)| *known < revision) {
                        set.entries.insert(job, (revision, entry));
                    }
                }
                set.known = true;
            }
            self.reconcile();
        }
        Ok(())
    }

    /// Stops what is not wanted any more, starts what is, and tells the catalogue.
    fn reconcile(&self) {
        let wanted: Vec<(Id, JobVersion)> = {
            let set = self.set();
            let of = |entry: &JobEntry| {
                let id = entry.job.clone();
                entry
                    .versions
                    .iter()
                    .map(move |version| ((id.clone(), version.version), version.clone()))
                    .collect::<Vec<_>>()
            };
            set.entries.values().flat_map(|(_, entry)| of(entry)).collect()
        };
        let gone: Vec<Work> = {
            let mut set = self.set();
            let stays = |id: &Id, work: &Work| {
                wanted.iter().any(|(wanted, version)| {
                    // A number that was retired and applied again in the meantime begins anew.
                    wanted == id && version.spec == work.text && version.created_at == work.created_at
                })
            };
            let gone: Vec<Id> =
                set.work.iter().filter(|(id, work)| !stays(id, work)).map(|(id, _)| id.clone()).collect();
            set.stopping.extend(gone.iter().cloned());
            gone.into_iter().filter_map(|id| set.work.remove(&id)).collect()
        };
        let some_stopped = !gone.is_empty();
        for work in gone {
            work.running.into_iter().for_each(Running::stop);
        }
        let swept = {
            let mut set = self.set();
            set.stopping.clear();
            std::mem::replace(&mut set.swept, true)
        };
        if let Some(state) = self.settings.state.as_ref().filter(|_| some_stopped || !swept) {
            retire::sweep(state, &wanted.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>());
        }
        for (id, version) in wanted {
            let pause = match self.set().work.get(&id) {
                None => Some(RETRY.0),
                Some(work) if matches!(work.state, State::Failed(_)) && work.tried.elapsed() >= work.pause => {
                    Some((work.pause * 2).clamp(RETRY.0, RETRY.1))
                }
                Some(_) => None,
            };
            if let Some(pause) = pause {
                self.begin(id, &version, pause);
            }
        }
        self.publish();
    }

    fn begin(&self, id: Id, version: &JobVersion, pause: Duration) {
        // What can be read of it is known before it runs: its table is there while its stages cannot be started.
        let compiled = sources::compiled(version);
        let work = Work {
            text: version.spec.clone(),
            created_at: version.created_at,
            job: compiled.as_ref().ok().cloned(),
            metrics: Arc::new(Metrics::default()),
            running: None,
            state: State::Starting,
            table: self.set().work.get(&id).and_then(|before| before.table.clone()),
            tried: Instant::now(),
            pause,
        };
        let metrics = Arc::clone(&work.metrics);
        self.set().work.insert(id.clone(), work);
        let started =
            compiled.map_err(|error| error.to_string()).and_then(|job| self.start_one(&id, version, &job, metrics));
        let mut set = self.set();
        let Some(work) = set.work.get_mut(&id) else { return };
        match started {
            Ok(running) => {
                tracing::info!(job = id.0, version = id.1, "the job runs");
                (work.running, work.state) = (Some(running), State::Running);
            }
            Err(why) => {
                let pause_ms = pause.as_millis() as u64;
                tracing::warn!(
                    job = id.0,
                    version = id.1,
                    why,
                    pause_ms,
                    "the job could not be started; it is tried again"
                );
                work.state = State::Failed(why);
            }
        }
    }

    fn start_one(
        &self,
        id: &Id,
        version: &JobVersion,
        job: &Arc<SpecJob>,
        metrics: Arc<Metrics>,
    ) -> Result<Running, String> {
        // A directory that was written before may have such a name.
        if let Some(own) = self.built_in.iter().map(|own| &own.name).find(|own| decide::have_one_table(own, &id.0)) {
            return Err(format!("its view would have the table of {own}: retire it, and apply it under another name"));
        }
        if let Some(state) = &self.settings.state {
            retire::prepare(state, id, version.created_at)
                .map_err(|error| format!("its directory under {} cannot be made: {error}", state.path.display()))?;
        }
        let parts = Parts { metrics, ..self.parts.clone() };
        Hosted::run(Arc::clone(job), &parts, &self.settings).map_err(|error| error.to_string())
    }

    /// Takes a version of a job away that nobody reads, or with none all of them.
    ///
    /// # Errors
    /// There is no such job or version, it is read, or it is the current one of several.
    pub fn retire(&self, job: &str, version: Option<i32>) -> Result<JobEntry, Error<Refusal>> {
        self.change_among(job, |known, entries, now| {
            decide::views::unread(entries, job, version)?;
            decide::retire(known, version, now)
        })
    }

    /// The versions of other jobs that read a job's view.
    ///
    /// # Errors
    /// The log does not answer.
    pub fn readers(&self, job: &str) -> Result<Vec<decide::views::Reader>, tidemark_log::Error> {
        Ok(decide::views::readers(&self.directory.entries()?, job))
    }

    /// Changes a job that is there.
    ///
    /// # Errors
    /// There is none of that name, or the decision is no.
    pub fn change(
        &self,
        job: &str,
        decide: impl Fn(&JobEntry, i64) -> Result<JobEntry, Refusal>,
    ) -> Result<JobEntry, Error<Refusal>> {
        self.change_among(job, |known, _, now| decide(known, now))
    }

    fn change_among(
        &self,
        job: &str,
        decide: impl Fn(&JobEntry, &Entries, i64) -> Result<JobEntry, Refusal>,
    ) -> Result<JobEntry, Error<Refusal>> {
        let changed = self.directory.change(|entries| {
            let known = entries.get(job).map(|(_, entry)| entry);
            let live =
                known.filter(|entry| !entry.versions.is_empty()).ok_or_else(|| self.unknown(job, known, entries))?;
            decide(live, entries, self.now()).map(|entry| (entry, ()))
        });
        changed.map(|(entry, ())| entry)
    }

    /// Why a job cannot be changed.
    fn unknown(&self, job: &str, known: Option<&JobEntry>, entries: &Entries) -> Refusal {
        if self.built_in.iter().any(|own| own.name == job) {
            return Refusal::Conflict(format!(
                "{job} is a job of the platform itself: it is changed by the configuration"
            ));
        }
        if known.is_some_and(|gone| !gone.retiring.is_empty()) {
            return Refusal::Unknown(format!("{job} is retired; what it has left is being removed"));
        }
        let live = entries.values().map(|(_, entry)| entry).filter(|entry| !entry.versions.is_empty());
        let names: Vec<&str> = live.map(|entry| entry.job.as_str()).collect();
        Refusal::Unknown(format!("there is no job {job}; {}", tidemark_spec::near::advice(job, names)))
    }

    /// The jobs that were applied, with what their versions do in this process.
    pub fn list(&self) -> Vec<(JobEntry, Vec<Here>)> {
        let set = self.set();
        let versions = |entry: &JobEntry| {
            let state = |version: &JobVersion| {
                let work = set.work.get(&(entry.job.clone(), version.version));
                work.map_or_else(
                    || (State::Starting, None, Arc::new(Metrics::default())),
                    |work| (work.shown(), work.job.clone(), Arc::clone(&work.metrics)),
                )
            };
            entry.versions.iter().map(state).collect()
        };
        let live = set.entries.values().map(|(_, entry)| entry).filter(|entry| !entry.versions.is_empty());
        live.map(|entry| (entry.clone(), versions(entry))).collect()
    }

    /// Jobs of which no version is left and something is still to be removed.
    pub fn retiring(&self) -> Vec<JobEntry> {
        let gone = |entry: &&JobEntry| entry.versions.is_empty() && !entry.retiring.is_empty();
        self.set().entries.values().map(|(_, entry)| entry).filter(gone).cloned().collect()
    }

    /// Metrics of each version that runs, by job and version.
    pub fn metrics(&self) -> Vec<(Id, Arc<Metrics>)> {
        let set = self.set();
        let mut all: Vec<_> = set.work.iter().map(|(id, work)| (id.clone(), Arc::clone(&work.metrics))).collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    /// Versions that are not at work in this process and will not be by themselves, or not soon: each with the reason.
    pub fn troubles(&self) -> Vec<(Id, String)> {
        let set = self.set();
        let trouble = |(id, work): (&Id, &Work)| match work.shown() {
            State::Failed(why) | State::Stopped(why) => Some((id.clone(), why)),
            State::Starting | State::Running => None,
        };
        let mut all: Vec<(Id, String)> = set.work.iter().filter_map(trouble).collect();
        all.sort();
        all
    }

    /// Appends in Prometheus' text format whether each version is at work here.
    pub fn render(&self, out: &mut String) {
        let set = self.set();
        let up: BTreeMap<&Id, bool> = set.work.iter().map(|(id, work)| (id, work.shown() == State::Running)).collect();
        let name = "tidemark_job_up";
        out.push_str(&format!(
            "# HELP {name} 0 while a version of a job has failed or stopped here, or is about to start.\n"
        ));
        out.push_str(&format!("# TYPE {name} gauge\n"));
        for ((job, version), up) in up {
            out.push_str(&format!("{name}{{job=\"{job}\",version=\"{version}\"}} {}\n", u8::from(up)));
        }
    }

    /// Whether the catalogue of views has the job as it is since this change, but for versions that have no table.
    pub fn is_published(&self, entry: &JobEntry) -> bool {
        let set = self.set();
        let known = set.entries.get(&entry.job).filter(|(_, known)| known.changed_at >= entry.changed_at);
        known.is_some_and(|(revision, _)| set.published.get(&entry.job).is_some_and(|has| has.revision == *revision))
    }
}

impl Work {
    /// What people are told.
    fn shown(&self) -> State {
        if let Some(Err(why)) = &self.table {
            return State::Failed(format!("its table cannot be made: {why}"));
        }
        let stopped = |(name, thread): (String, Thread)| match thread {
            Thread::Stopped(why) => Some(format!("{name} has stopped: {why}")),
            Thread::Joining | Thread::Restoring | Thread::Running | Thread::Stalled(_) | Thread::Retrying(_) => None,
        };
        let stopped: Vec<String> = self.metrics.threads().into_iter().filter_map(stopped).collect();
        if stopped.is_empty() { self.state.clone() } else { State::Stopped(stopped.join("; ")) }
    }
}

/// What the runtime asks of a job besides its folds; `job` is the head of one in Rust.
pub fn shape(job: &SpecJob) -> Shape {
    let columns = job.columns();
    let schemas = Arc::new([columns.schema.clone(), catalog::LEDGER, catalog::PROGRESS]);
    Shape {
        source: job.sources().into(),
        row: columns.schema.clone(),
        view_source: ViewSource { schemas, row: columns.reader() },
        view: columns.view.clone(),
    }
}

/// The version of the view that a job version makes.
pub fn view_version(job: &SpecJob) -> ViewVersion {
    let (spec, file) = (job.spec(), job.file());
    // Of a fold in Rust there are none: it states its columns alone.
    let error = |name: &str| job.aggregates().iter().find(|added| added.name == name)?.function.error();
    let aggregates = file.aggregates.iter().map(|named| ColumnNote {
        name: named.name.clone(),
        description: named.expression.text.trim().to_owned(),
        error: error(&named.name),
    });
    let emitted = file.emit.iter().map(|named| ColumnNote {
        name: named.name.clone(),
        description: named.expression.text.clone(),
        error: None,
    });
    ViewVersion {
        version: spec.version,
        table: job.columns().view.clone(),
        window: windowing(spec),
        grace_ms: spec.grace_ms,
        amend_for_ms: spec.amend_for_ms,
        idle_after_ms: spec.idle_after_ms,
        sources: spec.sources.clone(),
        freshness_ms: file.freshness.as_ref().map(|freshness| freshness.value),
        description: file.description.clone(),
        columns: aggregates.chain(emitted).collect(),
        key: job.columns().view.clustering.iter().map(|column| column.name.clone()).collect(),
        spec: job.text().to_owned(),
    }
}

/// The windows, as the catalogue has them.
pub fn windowing(spec: &JobSpec) -> tidemark_views::Windowing {
    match spec.window {
        Windowing::Tumbling { size_ms } => tidemark_views::Windowing::Tumbling { size_ms },
        Windowing::Hopping { size_ms, hop_ms } => tidemark_views::Windowing::Hopping { size_ms, hop_ms },
        Windowing::Session { gap_ms } => {
            tidemark_views::Windowing::Session { gap_ms, bucket_ms: spec.window.size_ms() }
        }
    }
}

/// The stages, topics and groups of a job version, for people.
pub fn plan(job: &SpecJob) -> Result<Plan, tidemark_runtime::Error> {
    Plan::new(job.spec().clone())
}
