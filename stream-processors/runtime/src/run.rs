//! The stage threads of a process: started, kept going, stopped.

use crate::drive::{Context, Operator, StageConfig, drive};
use crate::merge::MergeStage;
use crate::metrics::StageStatus;
use crate::partial::PartialStage;
use crate::standby::Standby;
use crate::state::StateConfig;
use crate::tables::{Follower, Tables};
use crate::writer::{ViewSource, WriterStage};
use crate::{Alignment, Error, Metrics, Plan, keyed, lag};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tidemark_core::{Accumulator, Job};
use tidemark_log::span::Spans;
use tidemark_log::{Clock, Log, MemberConfig};
use tidemark_schemas::catalog::Schema;
use tidemark_schemas::registry::Registry;
use tidemark_views::{ViewSpec, ViewStore};

/// First and longest pause before a failed stage is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Pause of the standby between two steps, and after an error.
const STANDBY_PAUSE: Duration = Duration::from_millis(5);
const STANDBY_BACKOFF: Duration = Duration::from_secs(1);
/// Pause after the tables could not be read.
const TABLES_BACKOFF: Duration = Duration::from_secs(1);
/// How often the lag gauges and the bound of the alignment are renewed; not more often than every third commit.
const LAG_EVERY: Duration = Duration::from_secs(1);

/// What an operator may set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Stable over restarts and unique among the processes of an installation; part of every transactional id.
    pub replica: String,
    /// Threads for each stage, 1 to 64.
    pub threads: u32,
    /// Longest time between two commits while there is something to commit, milliseconds.
    pub commit_interval_ms: i64,
    /// A member silent for longer is taken out of its group.
    pub session_timeout: Duration,
    /// Where state is kept on this machine; `None` keeps it in memory and reads the whole changelog at a start.
    pub state: Option<StateConfig>,
}

/// What the stages of a job run on.
#[derive(Clone)]
pub struct Parts {
    /// The log.
    pub log: Arc<dyn Log>,
    /// The schema registry.
    pub registry: Arc<dyn Registry>,
    /// Where rows go.
    pub views: Arc<dyn ViewStore>,
    /// Runs the view store's futures.
    pub handle: tokio::runtime::Handle,
    /// Time.
    pub clock: Clock,
    /// Counters of the process.
    pub metrics: Arc<Metrics>,
    /// Where spans of traced commits go.
    pub spans: Arc<dyn Spans>,
}

/// The schemas and functions that make a job's records what they are.
#[derive(Clone)]
pub struct Shape {
    /// Of the source topics.
    pub source: Arc<[Schema]>,
    /// Of the view's rows.
    pub row: Schema,
    /// How the view topic is read.
    pub view_source: ViewSource,
    /// The table.
    pub view: ViewSpec,
}

/// Stage threads at work. Dropping it does not stop them: call [`Running::stop`].
#[derive(Default)]
pub struct Running {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    /// What the stages that were added read.
    added: Arc<Mutex<Vec<lag::Reads>>>,
}

/// The place of a stage thread among those at work.
#[derive(Debug, Clone)]
pub struct Seat {
    /// What it is called, in its status and for people: `documents process`, `documents.tasks view-writer`.
    pub name: String,
    /// Its consumer group.
    pub group: String,
    /// What it reads.
    pub topics: Vec<String>,
    /// Number of the thread among those of this group in this process.
    pub thread: u32,
    /// Longest time between two commits while there is something to commit, milliseconds.
    pub commit_interval_ms: i64,
}

/// Makes what the job needs and starts its stages. Each thread keeps trying until it is told to stop or meets an error
/// that another try cannot mend; [`Metrics::ready`] says which.
///
/// # Errors
/// Topics, schemas or first offsets cannot be made.
pub fn start<J: Job>(job: Arc<J>, shape: &Shape, parts: &Parts, settings: &Settings) -> Result<Running, Error> {
    let mut plan = Plan::new(job.spec().clone())?;
    plan.create(parts.log.as_ref(), parts.registry.as_ref(), &shape.row)?;
    let plan = Arc::new(plan);
    let alignment = Arc::new(Alignment::new(plan.spec.window.size_ms()));
    let dir = settings.state.as_ref().map(|state| state.open(&plan.spec, settings.threads));
    let standby = dir.as_ref().filter(|_| settings.state.as_ref().is_some_and(|state| state.standby)).map(|dir| {
        let (log, registry, metrics) = (&parts.log, &parts.registry, &parts.metrics);
        let standby = Standby::<J::Accumulator>::new(
            Arc::clone(&plan),
            Arc::clone(log),
            Arc::clone(registry),
            Arc::clone(dir),
            Arc::clone(metrics),
        );
        Arc::new(standby)
    });
    let tables = Arc::new(Tables::new(job.tables()));
    let mut running = Running::new();
    for thread in 0..settings.threads {
        let (log, registry, metrics) = (&parts.log, &parts.registry, &parts.metrics);
        let partial = PartialStage::new(
            Arc::clone(&job),
            Arc::clone(&plan),
            Arc::clone(&shape.source),
            Arc::clone(log),
            Arc::clone(registry),
            Arc::clone(metrics),
        )
        .aligned(Arc::clone(&alignment))
        .joined(Arc::clone(&tables));
        running.spawn(Box::new(partial), &plan, "partial", plan.spec.sources.clone(), parts, settings, thread);
        let merge = MergeStage::new(
            Arc::clone(&job),
            Arc::clone(&plan),
            Arc::clone(log),
            Arc::clone(registry),
            Arc::clone(metrics),
        )
        .kept_in(dir.clone())
        .with_standby(standby.clone());
        running.spawn(Box::new(merge), &plan, "merge", vec![plan.partials.clone()], parts, settings, thread);
        let writer = WriterStage::new(
            Arc::clone(&plan),
            shape.view.clone(),
            shape.view_source.clone(),
            Arc::clone(log),
            Arc::clone(registry),
            Arc::clone(&parts.views),
            parts.handle.clone(),
            Arc::clone(metrics),
        );
        running.spawn(Box::new(writer), &plan, "view-writer", vec![plan.view.clone()], parts, settings, thread);
    }
    let commits = Duration::from_millis(u64::try_from(settings.commit_interval_ms).unwrap_or(0));
    running.follow_tables(tables, &plan, parts);
    running.watch_lag(&plan, parts, alignment, LAG_EVERY.max(commits * 3));
    if let Some(standby) = standby {
        running.follow(standby, parts);
    }
    Ok(running)
}

impl Running {
    /// None at work.
    pub fn new() -> Self {
        Self::default()
    }

    #[allow(clippy::too_many_arguments, reason = "private; the names of a thread come from all of them")]
    fn spawn(
        &mut self,
        operator: Box<dyn Operator>,
        plan: &Plan,
        role: &str,
        topics: Vec<String>,
        parts: &Parts,
        settings: &Settings,
        thread: u32,
    ) {
        let (name, group) = (format!("{} {role}", plan.spec.name), plan.group(role));
        let commit_interval_ms = settings.commit_interval_ms;
        self.sit(Seat { name, group, topics, thread, commit_interval_ms }, operator, &parts.into(), settings);
    }

    /// Adds a stage of any kind on a thread of its own, which keeps trying until it is told to stop or meets an error that
    /// another try cannot mend. How far its group is behind is asked for now and then.
    pub fn add(&mut self, seat: Seat, operator: Box<dyn Operator>, parts: &keyed::Parts, settings: &Settings) {
        let reads = lag::Reads { stage: operator.stage(), group: seat.group.clone(), topics: seat.topics.clone() };
        let is_first = {
            let mut added = self.added.lock().unwrap_or_else(PoisonError::into_inner);
            let is_first = added.is_empty();
            if !added.contains(&reads) {
                added.push(reads);
            }
            is_first
        };
        self.sit(seat, operator, parts, settings);
        if is_first {
            self.watch_added(parts);
        }
    }

    fn sit(&mut self, seat: Seat, mut operator: Box<dyn Operator>, parts: &keyed::Parts, settings: &Settings) {
        let Seat { name, group, topics, thread, commit_interval_ms } = seat;
        let (name, id) = (format!("{name} {thread}"), format!("{group}-{}-{thread}", settings.replica));
        let member = MemberConfig { group, topics, id, session_timeout: settings.session_timeout };
        let config = StageConfig { member, commit_interval_ms };
        let context = Context {
            log: Arc::clone(&parts.log),
            clock: Arc::clone(&parts.clock),
            stop: Arc::clone(&self.stop),
            metrics: Arc::clone(&parts.metrics),
            spans: Arc::clone(&parts.spans),
        };
        let status = StageStatus::new(name.clone(), Arc::clone(&parts.metrics));
        let work = move || supervise(&context, operator.as_mut(), &config, &status);
        match std::thread::Builder::new().name(name.clone()).spawn(work) {
            Ok(thread) => self.threads.push(thread),
            Err(error) => {
                StageStatus::new(name, Arc::clone(&parts.metrics)).stopped(&format!("cannot start a thread: {error}"))
            }
        }
    }

    /// Asks the log now and then how far the groups are behind, whoever owns the partitions.
    fn watch_lag(&mut self, plan: &Arc<Plan>, parts: &Parts, alignment: Arc<Alignment>, every: Duration) {
        let (plan, parts, mut looks) = (Arc::clone(plan), parts.clone(), lag::Looks::default());
        self.watch(every, move || looks.look(&plan, parts.log.as_ref(), &parts.metrics, &alignment));
    }

    /// The same of the stages that were added.
    fn watch_added(&mut self, parts: &keyed::Parts) {
        let (added, parts) = (Arc::clone(&self.added), parts.clone());
        let reads = move || added.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.watch(LAG_EVERY, move || lag::look(&reads(), parts.log.as_ref(), &parts.metrics));
    }

    fn watch(&mut self, every: Duration, mut look: impl FnMut() + Send + 'static) {
        let stop = Arc::clone(&self.stop);
        let watch = move || {
            let mut next = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                if Instant::now() >= next {
                    next = Instant::now() + every;
                    look();
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        };
        match std::thread::Builder::new().name("lag".into()).spawn(watch) {
            Ok(thread) => self.threads.push(thread),
            Err(error) => tracing::warn!(%error, "no thread for the lag gauges"),
        }
    }

    /// Keeps the tables read that the job joins.
    fn follow_tables(&mut self, tables: Arc<Tables>, plan: &Plan, parts: &Parts) {
        if tables.is_empty() {
            return;
        }
        let name = format!("{} tables", plan.spec.name);
        let status = StageStatus::new(name.clone(), Arc::clone(&parts.metrics));
        let (log, clock, stop) = (Arc::clone(&parts.log), Arc::clone(&parts.clock), Arc::clone(&self.stop));
        let mut follower = Follower::new(Arc::clone(&tables), log, &parts.registry, clock);
        let follow = move || {
            let (mut is_read, began) = (None, Instant::now());
            while !stop.load(Ordering::Relaxed) {
                match caught(|| follower.step(began.elapsed())) {
                    Ok(()) => {
                        let now = tables.read_before() > i64::MIN;
                        if is_read.replace(now) != Some(now) {
                            if now { status.running() } else { status.restoring() }
                        }
                    }
                    Err(error) if error.is_retriable() => {
                        tracing::warn!(%error, "the tables are read on in a moment; records that are joined with them wait");
                        status.retrying(&error.to_string());
                        is_read = None;
                        std::thread::sleep(TABLES_BACKOFF);
                    }
                    Err(error) => {
                        tracing::error!(%error, "the tables are not read any more: another try would not help");
                        return status.stopped(&error.to_string());
                    }
                }
            }
        };
        match std::thread::Builder::new().name(name.clone()).spawn(follow) {
            Ok(thread) => self.threads.push(thread),
            Err(error) => {
                StageStatus::new(name, Arc::clone(&parts.metrics)).stopped(&format!("cannot start a thread: {error}"))
            }
        }
    }

    /// Follows the partitions that this process does not own.
    fn follow<A: Accumulator>(&mut self, standby: Arc<Standby<A>>, parts: &Parts) {
        let (clock, stop) = (Arc::clone(&parts.clock), Arc::clone(&self.stop));
        let follow = move || {
            while !stop.load(Ordering::Relaxed) {
                if let Err(error) = standby.step(clock()) {
                    tracing::warn!(%error, "the standby begins again in a moment; a takeover meanwhile reads more of the changelog");
                    std::thread::sleep(STANDBY_BACKOFF);
                }
                // Else a takeover would wait for a lock that this thread takes again at once.
                std::thread::sleep(STANDBY_PAUSE);
            }
        };
        match std::thread::Builder::new().name("standby".into()).spawn(follow) {
            Ok(thread) => self.threads.push(thread),
            Err(error) => tracing::warn!(%error, "no thread for the standby"),
        }
    }

    /// Commits what is folded, leaves the groups and ends the threads.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a stage thread panicked; what it had not committed is read again at the next start");
            }
        }
    }
}

/// Drives a stage; a panic is an error like another, since the state is thrown away after any.
fn drive_caught(
    context: &Context,
    operator: &mut dyn Operator,
    config: &StageConfig,
    status: &StageStatus,
) -> Result<(), Error> {
    caught(|| drive(context, operator, config, status))
}

fn caught(work: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(Error::Panicked(text.unwrap_or("no message").to_owned()))
    })
}

/// Drives a stage again and again until it is stopped or fails for good.
fn supervise(context: &Context, operator: &mut dyn Operator, config: &StageConfig, status: &StageStatus) {
    let mut backoff = BACKOFF.0;
    loop {
        status.joining();
        let began = std::time::Instant::now();
        let Err(error) = drive_caught(context, operator, config, status) else { return };
        if context.stop.load(Ordering::Relaxed) {
            tracing::warn!(stage = operator.stage(), %error, "stopped before the last commit; it is read again at the next start");
            return;
        }
        if !error.is_retriable() {
            tracing::error!(stage = operator.stage(), %error, "the stage stops: another try would not help");
            return status.stopped(&error.to_string());
        }
        if began.elapsed() > BACKOFF.1 * 4 {
            backoff = BACKOFF.0;
        }
        tracing::warn!(stage = operator.stage(), %error, pause_ms = backoff.as_millis() as u64, "the stage starts again from what is committed");
        status.retrying(&error.to_string());
        std::thread::sleep(backoff);
        backoff = (backoff * 2).min(BACKOFF.1);
    }
}
