//! Processes of stage threads on one simulated log, publishers beside them, and the actions of a schedule.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidemark_log::simulated::{Dice, Faults, SimulatedLog, Time};
use tidemark_log::span::NoSpans;
use tidemark_log::{Log, MemberConfig, Outgoing, Producer};
use tidemark_runtime::drive::{Context, Operator, Stage, StageConfig};
use tidemark_runtime::keyed::{KeyedStage, Parts, Plan, partition_of};
use tidemark_runtime::metrics::StageStatus;
use tidemark_runtime::{Error, Metrics};
use tidemark_schemas::registry::{self, Latest, Registry};

use crate::accounts::{self, Accounts, CLOSED, Closed, MOVED, Moved, Tap};
use crate::registry::MemoryRegistry;
use crate::schedule::{Action, Config, Kind};
use crate::seat::{Seat, Shared, Slot};
use crate::topics::Topics;

pub(crate) const BEGIN_MS: i64 = 1_700_000_000_000;
const SESSION: Duration = Duration::from_secs(6);
/// Pause of a stage thread after an error, as the runtime makes.
const BACKOFF_MS: u64 = 100;
const ACCOUNTS: u64 = 7;
/// Longest time that an account is kept for.
pub(crate) const FOR_MS_MAX: u64 = 5_000;

/// A stage thread of a process.
pub(crate) struct Thread {
    pub(crate) process: usize,
    pub(crate) config: StageConfig,
    /// `None` while its process is down.
    operator: Option<Shared>,
    pub(crate) stage: Option<Stage<'static>>,
    retry_at_ms: u64,
    /// Since it last joined.
    pub(crate) steps: u32,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Proc {
    pub(crate) up: bool,
    pub(crate) frozen_until_ms: u64,
}

/// A registry that may be away: it gives no schemas then.
#[derive(Default)]
pub(crate) struct Away {
    inner: MemoryRegistry,
    pub(crate) is_away: AtomicBool,
}

impl Registry for Away {
    fn register(&self, subject: &str, schema: &str) -> Result<u32, registry::Error> {
        self.inner.register(subject, schema)
    }
    fn schema(&self, id: u32) -> Result<Option<Arc<str>>, registry::Error> {
        match self.is_away.load(Ordering::Relaxed) {
            true => Err(registry::Error::Unavailable("away".to_owned())),
            false => self.inner.schema(id),
        }
    }
    fn latest_of(&self, subject: &str) -> Result<Option<Latest>, registry::Error> {
        self.inner.latest_of(subject)
    }
    fn id_of(&self, subject: &str, schema: &str) -> Result<Option<u32>, registry::Error> {
        self.inner.id_of(subject, schema)
    }
    fn subject_names(&self) -> Result<Vec<String>, registry::Error> {
        self.inner.subject_names()
    }
}

/// How much a run has done.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Work {
    pub(crate) steps: u64,
    pub(crate) joins: u64,
    pub(crate) errors: u64,
    pub(crate) acknowledged: u64,
}

/// Everything of a run.
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) time: Arc<Time>,
    pub(crate) log: Arc<SimulatedLog>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) parts: Parts,
    pub(crate) registry: Arc<Away>,
    pub(crate) tap: Tap,
    /// How far the clocks of the stages are ahead of the log's, milliseconds.
    pub(crate) ahead_ms: Arc<AtomicI64>,
    pub(crate) processes: Vec<Proc>,
    pub(crate) threads: Vec<Thread>,
    pub(crate) work: Work,
    publisher: Option<Box<dyn Producer>>,
    /// A process that stands still with a commit on the way, and whether others must wait for its session to expire.
    zombie: Option<(usize, bool)>,
}

/// A config without faults.
pub(crate) fn calm(partitions: u32, processes: usize) -> Config {
    let (threads, commit_interval_ms) = (1, 5);
    Config { partitions, processes, threads, commit_interval_ms, jumps_back: false, faults: Faults::default() }
}

impl World {
    /// Everything made, everybody started.
    pub(crate) fn new(config: &Config) -> Self {
        let time = Time::new(BEGIN_MS);
        let log = SimulatedLog::new(Arc::clone(&time), 0).unwrap();
        let registry = Arc::new(Away::default());
        let parts = Parts {
            log: log.clone(),
            registry: registry.clone(),
            clock: time.clock(),
            metrics: Arc::new(Metrics::default()),
            spans: Arc::new(NoSpans),
        };
        let mut plan = Plan::new(accounts::spec("bank", config.partitions));
        plan.create(log.as_ref(), parts.registry.as_ref()).unwrap();
        let mut world = Self {
            config: config.clone(),
            time,
            log,
            plan: Arc::new(plan),
            parts,
            registry,
            tap: Tap::default(),
            ahead_ms: Arc::default(),
            processes: vec![Proc::default(); config.processes],
            threads: Vec::new(),
            work: Work::default(),
            publisher: None,
            zombie: None,
        };
        for process in 0..config.processes {
            for thread in 0..config.threads {
                let id = format!("{}-{process}-{thread}", world.plan.group);
                world.threads.push(world.thread(process, id));
            }
            world.start(process);
        }
        world
    }

    fn thread(&self, process: usize, id: String) -> Thread {
        let (group, topics) = (self.plan.group.clone(), vec![self.input().to_owned()]);
        let member = MemberConfig { group, topics, id, session_timeout: SESSION };
        let config = StageConfig { member, commit_interval_ms: self.config.commit_interval_ms };
        Thread { process, config, operator: None, stage: None, retry_at_ms: 0, steps: 0 }
    }

    fn operator(&self) -> Shared {
        let tap = Arc::clone(&self.tap);
        let process = move |partition| Accounts::new(partition, &tap);
        let stage: Box<dyn Operator> = Box::new(KeyedStage::new(Arc::clone(&self.plan), process, &self.parts));
        Arc::new(Mutex::new(stage))
    }

    /// Plays an action.
    pub(crate) fn act(&mut self, action: &Action) -> Result<(), String> {
        let mut dice = Dice::new(action.seed);
        self.log.set(action.seed, if action.faulty { self.config.faults } else { Faults::default() });
        match action.kind {
            Kind::Produce(commands) => self.publish(&mut dice, commands),
            Kind::Step(steps) => {
                for _ in 0..steps {
                    self.step(dice.below(self.threads.len() as u64) as usize)?;
                }
            }
            Kind::Turn(process) => {
                for at in 0..self.threads.len() {
                    if self.threads[at].process == process {
                        self.step(at)?;
                    }
                }
            }
            Kind::Pass(ms) => self.time.pass(ms),
            Kind::Jump(ms) => self.time.step_wall(ms),
            Kind::Crash(process) => self.crash(process),
            Kind::Start(process) => self.start(process),
            Kind::Stop(process) => self.stop(process),
            Kind::Freeze(process, ms) => self.freeze(process, ms),
            Kind::CrashLog => self.crash_log()?,
            Kind::Maintain => drop(self.log.maintain()),
        }
        self.take_over(&mut dice)?;
        if self.log.is_broken() && dice.strikes(300) {
            self.crash_log()?;
        }
        Ok(())
    }

    pub(crate) fn moved(&self, account: &str, amount: i64, for_ms: i64) -> Vec<u8> {
        let moved = Moved { account: account.to_owned(), amount, for_ms };
        accounts::value(self.parts.registry.as_ref(), self.input(), &MOVED, &moved)
    }

    pub(crate) fn closed(&self, account: &str) -> Vec<u8> {
        let closed = Closed { account: account.to_owned() };
        accounts::value(self.parts.registry.as_ref(), self.input(), &CLOSED, &closed)
    }

    fn input(&self) -> &str {
        &self.plan.spec.input.name
    }

    fn command(&self, dice: &mut Dice) -> (u32, Option<Vec<u8>>) {
        let account = format!("a{}", dice.below(ACCOUNTS));
        let for_ms = if dice.strikes(600) { dice.below(FOR_MS_MAX) as i64 } else { 0 };
        let value = match dice.below(100) {
            0..75 => Some(self.moved(&account, dice.below(100) as i64, for_ms)),
            75..90 => Some(self.closed(&account)),
            90..93 => Some(self.moved(&account, -1, for_ms)),
            93 => None,
            94 => Some(b"{\"account\":1}".to_vec()),
            95 => Some(vec![0, 0]),
            96 => Some(vec![0, 0, 0, 0x7f, 0xff, 1, 2]),
            _ => {
                let mut torn = self.moved(&account, 1, for_ms);
                torn.truncate(torn.len() - 1);
                Some(torn)
            }
        };
        (partition_of(account.as_bytes(), self.config.partitions), value)
    }

    fn publish(&mut self, dice: &mut Dice, count: u32) {
        let sent: Vec<_> = (0..count).map(|_| self.command(dice)).collect();
        if self.send(&sent).is_ok() {
            self.work.acknowledged += sent.len() as u64;
        }
    }

    /// Publishes records: partition and value.
    pub(crate) fn send(&mut self, sent: &[(u32, Option<Vec<u8>>)]) -> Result<(), tidemark_log::Error> {
        if self.publisher.is_none() {
            self.publisher = Some(self.log.producer("publisher")?);
        }
        let topic = self.plan.spec.input.name.as_str();
        let committed = self.publisher.as_mut().unwrap().commit(&mut |sink| {
            sent.iter().try_for_each(|(partition, value)| {
                let (partition, value) = (*partition, value.as_deref());
                sink.send(Outgoing { topic, partition, key: None, value, headers: &[] })
            })
        });
        if committed.is_err() {
            self.publisher = None;
        }
        committed
    }

    /// A thread takes one step, if its process can.
    pub(crate) fn step(&mut self, at: usize) -> Result<(), String> {
        let now = self.time.elapsed_ms();
        let thread = &mut self.threads[at];
        let process = &self.processes[thread.process];
        if !process.up || process.frozen_until_ms > now || thread.retry_at_ms > now {
            return Ok(());
        }
        self.work.steps += 1;
        thread.steps += 1;
        let before = self.log.injected();
        let outcome = match &mut thread.stage {
            Some(stage) => stage.step(),
            None => self.join(at),
        };
        if let Err(error) = outcome {
            self.failed(at, &error)?;
        }
        let (after, mut dice) = (self.log.injected(), Dice::new(now));
        // It stood still while its commit was on the way: a zombie that comes back later than its commit.
        let zombie = after.delayed > before.delayed && dice.strikes(700);
        if zombie || after.open > before.open && dice.strikes(500) {
            let process = self.threads[at].process;
            self.freeze(process, 20_000);
            self.zombie = Some((process, zombie));
        }
        Ok(())
    }

    fn join(&mut self, at: usize) -> Result<(), Error> {
        self.work.joins += 1;
        let thread = &self.threads[at];
        let stage = self.stage(thread.operator.as_ref().unwrap(), &thread.config);
        let thread = &mut self.threads[at];
        (thread.stage, thread.steps) = (Some(stage?), 0);
        Ok(())
    }

    /// A stage that has joined. What it borrows from is leaked: it is little, and the test is over soon.
    fn stage(&self, operator: &Shared, config: &StageConfig) -> Result<Stage<'static>, Error> {
        let (clock, ahead_ms) = (self.time.clock(), Arc::clone(&self.ahead_ms));
        let slot = Box::leak(Box::new(Slot {
            context: Context {
                log: self.log.clone(),
                clock: Arc::new(move || clock() + ahead_ms.load(Ordering::Relaxed)),
                stop: Arc::new(AtomicBool::new(false)),
                metrics: Arc::clone(&self.parts.metrics),
                spans: Arc::new(NoSpans),
            },
            seat: Seat::new(operator),
            config: config.clone(),
            status: StageStatus::new(config.member.id.clone(), Arc::clone(&self.parts.metrics)),
        }));
        Stage::join(&slot.context, &mut slot.seat, &slot.config, &slot.status)
    }

    /// What the runtime does with an error: the stage leaves, and is tried again unless that is of no use.
    fn failed(&mut self, at: usize, error: &Error) -> Result<(), String> {
        self.work.errors += 1;
        let thread = &mut self.threads[at];
        thread.stage.take().into_iter().for_each(Stage::leave);
        thread.retry_at_ms = self.time.elapsed_ms() + BACKOFF_MS;
        match error.is_retriable() {
            true => Ok(()),
            false => Err(format!("{} stopped for good: {error}", thread.config.member.id)),
        }
    }

    /// The others take over from a process that has stood still since its commit went out.
    fn take_over(&mut self, dice: &mut Dice) -> Result<(), String> {
        let Some((zombie, expires)) = self.zombie.take() else { return Ok(()) };
        if dice.strikes(400) {
            return Ok(());
        }
        if expires {
            self.time.pass(6_000);
        }
        for _ in 0..4 + dice.below(4) {
            for at in (0..self.threads.len()).rev() {
                if self.threads[at].process != zombie {
                    self.step(at)?;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn crash(&mut self, process: usize) {
        self.processes[process].up = false;
        for thread in self.threads.iter_mut().filter(|thread| thread.process == process) {
            (thread.stage, thread.operator) = (None, None);
        }
    }

    pub(crate) fn start(&mut self, process: usize) {
        if self.processes[process].up {
            return;
        }
        self.processes[process] = Proc { up: true, frozen_until_ms: 0 };
        for at in 0..self.threads.len() {
            if self.threads[at].process == process {
                (self.threads[at].operator, self.threads[at].retry_at_ms) = (Some(self.operator()), 0);
            }
        }
    }

    pub(crate) fn stop(&mut self, process: usize) {
        if self.processes[process].up && self.processes[process].frozen_until_ms <= self.time.elapsed_ms() {
            for thread in self.threads.iter_mut().filter(|thread| thread.process == process) {
                let _ = thread.stage.take().map(Stage::finish);
            }
            self.crash(process);
        }
    }

    pub(crate) fn freeze(&mut self, process: usize, ms: u64) {
        self.processes[process].frozen_until_ms = self.time.elapsed_ms() + ms;
    }

    pub(crate) fn crash_log(&mut self) -> Result<(), String> {
        self.publisher = None;
        self.log.crash().map_err(|e| format!("the log does not open after a crash: {e}"))
    }

    /// What the topics hold.
    pub(crate) fn topics(&self) -> Topics<'_> {
        Topics { plan: &self.plan, parts: &self.parts, wait: Duration::ZERO }
    }
}
