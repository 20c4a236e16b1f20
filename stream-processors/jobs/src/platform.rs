//! The jobs that run in this process: those of the [`Directory`], started, stopped and changed while everything else goes on.
//!
//! Every process follows the directory by itself and comes to the same set. A job that cannot be started is tried again and
//! again, and holds up no other.

use crate::decide::{self, Applied, Refusal};
use crate::directory::{Directory, Entries, Error};
use crate::hosted::Hosted;
use crate::retire::{self, Remover};
use crate::sources::{Sources, compiled};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tidemark_core::{Job, JobSpec, Windowing};
use tidemark_runtime::run::{Parts, Shape};
use tidemark_runtime::writer::ViewSource;
use tidemark_runtime::{Metrics, Plan, Running, Settings};
use tidemark_schemas::catalog;
use tidemark_schemas::jobs::{JobEntry, JobVersion};
use tidemark_spec::{Problems, SpecJob, View, inline};
use tidemark_views::{CatalogEntry, ColumnNote, ViewStore, ViewVersion};

/// How long the follower waits for changes before it looks at what failed.
const STEP: Duration = Duration::from_millis(200);
/// Pause before a job that could not be started is tried again.
const RETRY: Duration = Duration::from_secs(5);
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
    /// It could not be started: why. It is tried again.
    Failed(String),
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
    tried: Instant,
}

#[derive(Default)]
struct Set {
    entries: Entries,
    work: HashMap<Id, Work>,
    /// Versions that are gone from the directory and whose stages are still being stopped.
    stopping: BTreeSet<Id>,
    /// Of each job, the revision that the catalogue has.
    published: BTreeMap<String, i64>,
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

    fn follow(&self) {
        std::thread::scope(|scope| {
            // On a thread of its own: a log that is slow to delete holds up no job.
            let remover = std::thread::Builder::new().name("jobs-remover".into()).spawn_scoped(scope, || {
                let (directory, parts, replica) = (&self.directory, &self.parts, self.settings.replica.as_str());
                Remover { directory, parts, replica, stop: &self.stop }.run(|| self.to_be_removed());
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
        let told = |(job, (revision, _)): &(&String, &(i64, JobEntry))| set.published.get(*job) == Some(revision);
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
            let due = match self.set().work.get(&id) {
                None => true,
                Some(work) => matches!(work.state, State::Failed(_)) && work.tried.elapsed() >= RETRY,
            };
            if due {
                self.begin(id, &version);
            }
        }
        self.publish();
    }

    fn begin(&self, id: Id, version: &JobVersion) {
        let work = Work {
            text: version.spec.clone(),
            created_at: version.created_at,
            job: None,
            metrics: Arc::new(Metrics::default()),
            running: None,
            state: State::Starting,
            tried: Instant::now(),
        };
        let metrics = Arc::clone(&work.metrics);
        self.set().work.insert(id.clone(), work);
        let started = compiled(version).map_err(|error| error.to_string()).and_then(|job| {
            if let Some(state) = &self.settings.state {
                retire::prepare(state, &id, version.created_at)
                    .map_err(|error| format!("its directory under {} cannot be made: {error}", state.path.display()))?;
            }
            let parts = Parts { metrics, ..self.parts.clone() };
            let running = Hosted::run(Arc::clone(&job), &parts, &self.settings);
            running.map(|running| (job, running)).map_err(|error| error.to_string())
        });
        let mut set = self.set();
        let Some(work) = set.work.get_mut(&id) else { return };
        match started {
            Ok((job, running)) => {
                tracing::info!(job = id.0, version = id.1, "the job runs");
                (work.job, work.running, work.state) = (Some(job), Some(running), State::Running);
            }
            Err(why) => {
                tracing::warn!(job = id.0, version = id.1, why, "the job could not be started; it is tried again");
                work.state = State::Failed(why);
            }
        }
    }

    /// Puts entries that changed into the catalogue of views, once all their versions run.
    fn publish(&self) {
        let due: Vec<(i64, JobEntry)> = {
            let set = self.set();
            let fresh = |(job, (revision, _)): &(&String, &(i64, JobEntry))| set.published.get(*job) != Some(revision);
            set.entries.iter().filter(fresh).map(|(_, (revision, entry))| (*revision, entry.clone())).collect()
        };
        for (revision, entry) in due {
            match self.publish_one(revision, &entry) {
                Ok(true) => {
                    self.set().published.insert(entry.job, revision);
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(job = entry.job, %error, "the catalogue of views does not have the job yet")
                }
            }
        }
    }

    fn publish_one(&self, revision: i64, entry: &JobEntry) -> Result<bool, tidemark_views::Error> {
        let compiled: Vec<Arc<SpecJob>> = {
            let set = self.set();
            let job = |version: &JobVersion| set.work.get(&(entry.job.clone(), version.version))?.job.clone();
            entry.versions.iter().filter_map(job).collect()
        };
        if compiled.len() < entry.versions.len() {
            return Ok(false);
        }
        let number = |version: Option<i32>| version.and_then(|version| u32::try_from(version).ok());
        let catalog = CatalogEntry {
            view: entry.job.clone(),
            revision,
            current: number(entry.current),
            previous: number(entry.previous),
            versions: compiled.iter().map(|job| view_version(job)).collect(),
        };
        let store: &dyn ViewStore = self.parts.views.as_ref();
        // The table first: whoever finds the view listed can read it.
        self.parts.handle.block_on(async {
            for version in &catalog.versions {
                store.create(&version.table).await?;
            }
            store.put_catalog(&catalog).await
        })?;
        Ok(true)
    }

    /// Checks a file against the registry, runs its tests and adds it to the directory.
    ///
    /// # Errors
    /// The file is wrong, its tests fail, or it contradicts what is there.
    pub fn apply(&self, name: &str, text: &str) -> Result<(JobEntry, Applied, u32), ApplyError> {
        let entries = self.directory.entries().map_err(Error::from)?;
        let sources = Sources::new(self.parts.log.as_ref(), self.parts.registry.as_ref(), &entries, &self.built_in);
        let job = Arc::new(tidemark_spec::compile(name, text, &sources)?);
        let failed: Vec<String> = inline::run(name, &job)?
            .into_iter()
            .filter(|outcome| !outcome.failures.is_empty())
            .map(|outcome| outcome.to_string())
            .collect();
        if !failed.is_empty() {
            return Err(ApplyError::Tests(failed.join("\n")));
        }
        let spec = job.spec();
        if self.built_in.iter().any(|view| view.name == spec.name) {
            let why = format!("{} is a job of the platform itself; give yours another name", spec.name);
            return Err(Error::Refused(Refusal::Conflict(why)).into());
        }
        let (entry, applied) = self.directory.change(|entries| {
            let known = entries.get(&spec.name).map(|(_, entry)| entry);
            // One that is being removed still has its tables.
            let there = |entry: &&JobEntry| !entry.versions.is_empty() || !entry.retiring.is_empty();
            let others: Vec<JobEntry> = entries.values().map(|(_, entry)| entry).filter(there).cloned().collect();
            decide::views::readable(entries, &self.built_in, &spec.name, &job.views().collect::<Vec<_>>())?;
            let old = |version: &JobVersion| compiled(version).ok().map(|job| job.spec().clone());
            decide::apply(known, &others, &job, old, self.now())
        })?;
        Ok((entry, applied, spec.version))
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
            let known = entries.get(job).map(|(_, entry)| entry).filter(|entry| !entry.versions.is_empty());
            let known = known.ok_or_else(|| {
                let names: Vec<&str> = entries.keys().map(String::as_str).collect();
                let fix = tidemark_spec::near::advice(job, names.iter().copied());
                Refusal::Unknown(format!("there is no job {job}; {fix}"))
            })?;
            decide(known, entries, self.now()).map(|entry| (entry, ()))
        });
        changed.map(|(entry, ())| entry)
    }

    /// The jobs that were applied, with what their versions do in this process.
    pub fn list(&self) -> Vec<(JobEntry, Vec<Here>)> {
        let set = self.set();
        let versions = |entry: &JobEntry| {
            let state = |version: &JobVersion| {
                let work = set.work.get(&(entry.job.clone(), version.version));
                work.map_or_else(
                    || (State::Starting, None, Arc::new(Metrics::default())),
                    |work| (work.state.clone(), work.job.clone(), Arc::clone(&work.metrics)),
                )
            };
            entry.versions.iter().map(state).collect()
        };
        let live = set.entries.values().map(|(_, entry)| entry).filter(|entry| !entry.versions.is_empty());
        live.map(|entry| (entry.clone(), versions(entry))).collect()
    }

    /// Metrics of each version that runs, by job and version.
    pub fn metrics(&self) -> Vec<(Id, Arc<Metrics>)> {
        let set = self.set();
        let mut all: Vec<_> = set.work.iter().map(|(id, work)| (id.clone(), Arc::clone(&work.metrics))).collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    /// Whether this version's revision is served: the catalogue has it.
    pub fn is_published(&self, entry: &JobEntry) -> bool {
        let set = self.set();
        let known = set.entries.get(&entry.job).filter(|(_, known)| known.changed_at >= entry.changed_at);
        known.is_some_and(|(revision, _)| set.published.get(&entry.job) == Some(revision))
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
