//! Processes of stage threads on one simulated log, publishers beside them, and the actions of a schedule.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidemark_core::Job;
use tidemark_jobs::flows::{FlowSums, TOPIC};
use tidemark_log::simulated::{Dice, Faults, SimulatedLog, Time};
use tidemark_log::{Cleanup, Log, MemberConfig, Outgoing, Producer, TopicSpec};
use tidemark_runtime::drive::{Operator, Stage, StageConfig};
use tidemark_runtime::merge::MergeStage;
use tidemark_runtime::partial::PartialStage;
use tidemark_runtime::run::Shape;
use tidemark_runtime::standby::Standby;
use tidemark_runtime::state::StateDir;
use tidemark_runtime::state::memory::MemoryStorage;
use tidemark_runtime::tables::{Follower, Tables};
use tidemark_runtime::writer::WriterStage;
use tidemark_runtime::{Metrics, Plan};
use tidemark_schemas::catalog;
use tidemark_schemas::registry::Registry;

use crate::events;
use crate::job::{MORE, MinuteFlows};
use crate::joins::{self, APP, TABLE, TABLE_PARTITIONS};
use crate::registry::MemoryRegistry;
use crate::schedule::{Action, Config, Kind, Schedule, ViewFaults};
use crate::seat::{Shared, Slot};
use crate::views::MemoryViews;

/// A few minutes into a window, 2023.
const BEGIN_MS: i64 = 1_700_000_000_000;
const SESSION: Duration = Duration::from_secs(6);
const PUBLISHERS: u64 = 2;
/// Most partitions that the source topic grows to.
const PARTITIONS_MAX: u32 = 4;
/// Most times that stages join in one run.
pub(crate) const SLOTS: usize = 3_000;

/// What a stage thread does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Partial,
    Merge,
    Writer,
}

pub(crate) const ROLES: [Role; 3] = [Role::Partial, Role::Merge, Role::Writer];

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Partial => "partial",
            Self::Merge => "merge",
            Self::Writer => "view-writer",
        }
    }
}

/// A stage thread of a process.
pub(crate) struct Thread<'a> {
    pub(crate) process: usize,
    pub(crate) role: Role,
    pub(crate) config: StageConfig,
    /// `None` while its process is down.
    pub(crate) operator: Option<Shared>,
    pub(crate) stage: Option<Stage<'a>>,
    pub(crate) retry_at_ms: u64,
    /// It was stopped and stays so.
    pub(crate) finished: bool,
    /// Since it last joined.
    pub(crate) steps: u32,
}

#[derive(Clone, Default)]
pub(crate) struct Process {
    pub(crate) up: bool,
    pub(crate) frozen_until_ms: u64,
    pub(crate) metrics: Arc<Metrics>,
    /// Outlives the process.
    pub(crate) disk: MemoryStorage,
    pub(crate) dir: Option<Arc<StateDir>>,
    pub(crate) standby: Option<Arc<Standby<FlowSums>>>,
    /// Its own: the tables that records are joined with are in it.
    pub(crate) job: Option<Arc<MinuteFlows>>,
    pub(crate) tables: Option<Arc<Tables>>,
    /// Where there are any.
    pub(crate) follower: Option<Arc<Mutex<Follower>>>,
}

/// How much a run has done.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Work {
    pub(crate) steps: u64,
    pub(crate) joins: u64,
    pub(crate) errors: u64,
    pub(crate) sent: u64,
    pub(crate) acknowledged: u64,
}

/// Everything of a run.
pub(crate) struct World<'a> {
    pub(crate) config: Config,
    pub(crate) time: Arc<Time>,
    pub(crate) log: Arc<SimulatedLog>,
    pub(crate) views: Arc<MemoryViews>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) source_schema: u32,
    app_schema: u32,
    pub(crate) acknowledged: BTreeSet<u64>,
    pub(crate) work: Work,
    pub(crate) wall_max_ms: i64,
    pub(crate) grown: bool,
    /// A process that stands still with a commit on the way, and whether others must wait for its session to expire.
    pub(crate) zombie: Option<(usize, bool)>,
    pub(crate) registry: Arc<dyn Registry>,
    runtime: &'a tokio::runtime::Runtime,
    shape: Shape,
    pub(crate) processes: Vec<Process>,
    pub(crate) threads: Vec<Thread<'a>>,
    pub(crate) slots: std::slice::IterMut<'a, Option<Slot>>,
    pub(crate) publishers: BTreeMap<u64, Box<dyn Producer>>,
    serial: u64,
    /// Time that the wall clock has gone ahead for.
    kept_ms: u64,
}

impl<'a> World<'a> {
    /// Everything made, nobody started.
    pub(crate) fn new(
        schedule: &Schedule,
        runtime: &'a tokio::runtime::Runtime,
        slots: &'a mut [Option<Slot>],
    ) -> Result<Self, String> {
        let config = schedule.config.clone();
        let time = Time::new(BEGIN_MS);
        let log = SimulatedLog::new(Arc::clone(&time), 0).map_err(|e| e.to_string())?;
        let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::default());
        let topic = |name: &str, partitions| {
            let (name, cleanup) = (name.to_owned(), Cleanup::Delete);
            TopicSpec { name, partitions, cleanup, retention_ms: None }
        };
        let mut topics = vec![topic(TOPIC, config.source_partitions)];
        topics.extend(config.second.then(|| topic(MORE, config.source_partitions)));
        topics.extend(config.joins.then(|| topic(TABLE, TABLE_PARTITIONS)));
        log.create_topics(&topics).map_err(|e| e.to_string())?;
        // A schema has one id, whatever the topics that it is of.
        let source_schema =
            registry.register("flows.observed-value", &catalog::FLOW_OBSERVED.avsc).map_err(|e| e.to_string())?;
        let app_schema = registry.register("flows.apps-value", APP).map_err(|e| e.to_string())?;
        let job = MinuteFlows::new(&config);
        let shape = job.shape();
        let mut plan = Plan::new(job.spec().clone()).map_err(|e| e.to_string())?;
        plan.create(log.as_ref(), registry.as_ref(), &shape.row).map_err(|e| e.to_string())?;
        let mut world = Self {
            views: MemoryViews::new(&time, &config),
            processes: vec![Process::default(); config.processes],
            threads: Vec::new(),
            slots: slots.iter_mut(),
            plan: Arc::new(plan),
            config,
            time,
            log,
            source_schema,
            app_schema,
            acknowledged: BTreeSet::new(),
            work: Work::default(),
            wall_max_ms: BEGIN_MS,
            grown: false,
            zombie: None,
            registry,
            runtime,
            shape,
            publishers: BTreeMap::new(),
            serial: 0,
            kept_ms: 0,
        };
        world.make_threads();
        (0..world.processes.len()).for_each(|process| world.start(process));
        Ok(world)
    }

    fn make_threads(&mut self) {
        for process in 0..self.config.processes {
            for thread in 0..self.config.threads {
                for role in ROLES {
                    let group = self.plan.group(role.name());
                    let topics = match role {
                        Role::Partial => self.plan.spec.sources.clone(),
                        Role::Merge => vec![self.plan.partials.clone()],
                        Role::Writer => vec![self.plan.view.clone()],
                    };
                    let id = format!("{group}-{process}-{thread}");
                    let member = MemberConfig { group, topics, id, session_timeout: SESSION };
                    let config = StageConfig { member, commit_interval_ms: self.config.commit_interval_ms };
                    let (operator, stage) = (None, None);
                    let (retry_at_ms, finished) = (0, false);
                    let steps = 0;
                    self.threads.push(Thread { process, role, config, operator, stage, retry_at_ms, finished, steps });
                }
            }
        }
    }

    pub(crate) fn operator(&self, role: Role, process: &Process) -> Shared {
        let job = process.job.clone().unwrap_or_else(|| Arc::new(MinuteFlows::new(&self.config)));
        let (plan, registry) = (Arc::clone(&self.plan), Arc::clone(&self.registry));
        let (log, metrics): (Arc<dyn Log>, _) = (self.log.clone(), Arc::clone(&process.metrics));
        let operator: Box<dyn Operator> = match role {
            Role::Partial => {
                let stage = PartialStage::new(job, plan, Arc::clone(&self.shape.source), log, registry, metrics);
                Box::new(process.tables.iter().fold(stage, |stage, tables| stage.joined(Arc::clone(tables))))
            }
            Role::Merge => {
                let merge = MergeStage::new(job, plan, log, registry, metrics).kept_in(process.dir.clone());
                let merge = merge.with_commit_rows(self.config.commit_rows());
                Box::new(merge.with_standby(process.standby.clone()))
            }
            Role::Writer => Box::new(WriterStage::new(
                plan,
                self.shape.view.clone(),
                self.shape.view_source.clone(),
                log,
                registry,
                self.views.clone(),
                self.runtime.handle().clone(),
                metrics,
            )),
        };
        Arc::new(Mutex::new(operator))
    }

    /// Plays an action.
    pub(crate) fn act(&mut self, action: &Action) -> Result<(), String> {
        let mut dice = Dice::new(action.seed);
        let (faults, views) = match action.faulty {
            true => (self.config.faults, self.config.views),
            false => (Faults::default(), ViewFaults::default()),
        };
        self.log.set(action.seed, faults);
        self.views.set(action.seed, views);
        match action.kind {
            Kind::Produce(events) => {
                self.publish(&mut dice, events);
                if self.config.joins {
                    self.change_table(&mut dice);
                }
            }
            Kind::Step(steps) => {
                for _ in 0..steps {
                    let at = dice.below(self.threads.len() as u64) as usize;
                    self.step(at)?;
                    if self.config.joins && dice.strikes(300) {
                        self.follow(self.threads[at].process)?;
                    }
                }
            }
            Kind::Turn(process) => {
                for at in 0..self.threads.len() {
                    if self.threads[at].process == process {
                        self.step(at)?;
                    }
                }
                self.follow(process)?;
            }
            Kind::Pass(ms) => self.time.pass(ms),
            Kind::Jump(ms) => self.time.step_wall(if self.config.joins { ms.abs() } else { ms }),
            Kind::Crash(process) => self.crash(process),
            Kind::PowerOff(process) => {
                self.crash(process);
                let disk = &self.processes[process].disk;
                if dice.strikes(300) { disk.wipe() } else { disk.crash() }
            }
            Kind::FillDisk(process, changes) => self.processes[process].disk.fail_after(Some(changes)),
            Kind::Start(process) => self.start(process),
            Kind::Stop(process) => self.stop(process),
            Kind::Freeze(process, ms) => self.freeze(process, ms),
            Kind::CrashLog => self.crash_log()?,
            Kind::ViewsDown(ms) => self.views.down_for(ms),
            Kind::Grow => self.grow(),
            Kind::Maintain => drop(self.log.maintain()),
        }
        self.take_over(&mut dice)?;
        self.keep_time();
        if self.log.is_broken() && dice.strikes(300) {
            self.crash_log()?;
        }
        Ok(())
    }

    /// The wall clock catches up with the time that has gone by, which in runs with sessions it is ahead of.
    pub(crate) fn keep_time(&mut self) {
        let elapsed_ms = self.time.elapsed_ms();
        self.time.step_wall((elapsed_ms - self.kept_ms) as i64 * (self.config.speed() - 1));
        self.kept_ms = elapsed_ms;
        self.wall_max_ms = self.wall_max_ms.max(self.time.wall_ms());
    }

    fn publish(&mut self, dice: &mut Dice, count: u32) {
        let who = dice.below(PUBLISHERS);
        if !self.publishers.contains_key(&who) {
            match self.log.producer(&format!("gateway-{who}")) {
                Ok(producer) => drop(self.publishers.insert(who, producer)),
                Err(_) => return,
            }
        }
        let topic = if self.config.second && dice.strikes(500) { MORE } else { TOPIC };
        let Ok(Some(partitions)) = self.log.partitions(topic) else { return };
        let now = self.time.wall_ms();
        let mut sent = Vec::new();
        for _ in 0..count {
            // The second half of the partitions is quiet most of the time.
            let of = if dice.strikes(700) { partitions.div_ceil(2) } else { partitions };
            let partition = dice.below(u64::from(of)) as u32;
            let event = events::event(&self.config, dice, now, self.source_schema, self.serial, self.serial);
            sent.push((partition, self.serial, event));
            self.serial += 1;
        }
        self.work.sent += sent.len() as u64;
        let Some(producer) = self.publishers.get_mut(&who) else { return };
        let committed = producer.commit(&mut |sink| {
            sent.iter().try_for_each(|(partition, serial, event)| {
                let serial = serial.to_be_bytes();
                sink.send(Outgoing {
                    topic,
                    partition: *partition,
                    key: Some(event.id.as_bytes()),
                    value: event.value.as_deref(),
                    headers: &[("serial", &serial)],
                })
            })
        });
        match committed {
            Ok(()) => self.acknowledged.extend(sent.iter().map(|(_, serial, _)| serial)),
            Err(_) => drop(self.publishers.remove(&who)),
        }
        self.work.acknowledged = self.acknowledged.len() as u64;
    }

    /// A few records for the table; what becomes of them is read from its topic in the end.
    fn change_table(&mut self, dice: &mut Dice) {
        let who = PUBLISHERS;
        if !self.publishers.contains_key(&who) {
            match self.log.producer("tables") {
                Ok(producer) => drop(self.publishers.insert(who, producer)),
                Err(_) => return,
            }
        }
        let (now, speed) = (self.time.wall_ms(), self.config.speed());
        let changes: Vec<_> = (0..=dice.below(3)).map(|_| joins::change(dice, now, speed, self.app_schema)).collect();
        let Some(producer) = self.publishers.get_mut(&who) else { return };
        let committed = producer.commit(&mut |sink| {
            changes.iter().try_for_each(|joins::Change { partition, key, value }| {
                let (key, value) = (Some(key.as_bytes()), value.as_deref());
                sink.send(Outgoing { topic: TABLE, partition: *partition, key, value, headers: &[] })
            })
        });
        if committed.is_err() {
            self.publishers.remove(&who);
        }
    }

    fn grow(&mut self) {
        let Ok(Some(partitions)) = self.log.partitions(TOPIC) else { return };
        if partitions < PARTITIONS_MAX {
            let (name, cleanup) = (TOPIC.to_owned(), Cleanup::Delete);
            let topic = TopicSpec { name, partitions: partitions + 1, cleanup, retention_ms: None };
            self.grown |= self.log.create_topics(&[topic]).is_ok();
        }
    }
}
