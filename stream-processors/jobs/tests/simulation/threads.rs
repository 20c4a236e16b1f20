//! Processes that start, step, stand still, stop and die.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidemark_core::Job;
use tidemark_jobs::flows::FlowSums;
use tidemark_log::Log;
use tidemark_log::simulated::Dice;
use tidemark_log::span::NoSpans;
use tidemark_runtime::Metrics;
use tidemark_runtime::drive::{Context, Stage};
use tidemark_runtime::metrics::StageStatus;
use tidemark_runtime::standby::Standby;
use tidemark_runtime::state::{StateDir, StateSettings};
use tidemark_runtime::tables::{Follower, Tables};

use crate::job::MinuteFlows;
use crate::schedule::Local;
use crate::seat::{Seat, Slot};
use crate::world::{Process, World};

/// Pause of a stage thread after an error, as the runtime makes.
const BACKOFF_MS: u64 = 100;

impl World<'_> {
    /// A thread takes one step, if its process can.
    pub(crate) fn step(&mut self, at: usize) -> Result<bool, String> {
        self.keep_time();
        let now = self.time.elapsed_ms();
        let thread = &mut self.threads[at];
        let process = &self.processes[thread.process];
        if !process.up || process.frozen_until_ms > now || thread.finished || thread.retry_at_ms > now {
            return Ok(false);
        }
        self.work.steps += 1;
        let before = self.log.injected();
        thread.steps += 1;
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
        Ok(true)
    }

    fn join(&mut self, at: usize) -> Result<(), tidemark_runtime::Error> {
        let thread = &mut self.threads[at];
        thread.steps = 0;
        let (Some(operator), Some(slot)) = (&thread.operator, self.slots.next()) else { return Ok(()) };
        let metrics = &self.processes[thread.process].metrics;
        self.work.joins += 1;
        let slot = slot.insert(Slot {
            context: Context {
                log: self.log.clone(),
                clock: self.time.clock(),
                stop: Arc::new(AtomicBool::new(false)),
                metrics: Arc::clone(metrics),
                spans: Arc::new(NoSpans),
            },
            seat: Seat::new(operator),
            config: thread.config.clone(),
            status: StageStatus::new(thread.config.member.id.clone(), Arc::clone(metrics)),
        });
        thread.stage = Some(Stage::join(&slot.context, &mut slot.seat, &slot.config, &slot.status)?);
        Ok(())
    }

    /// What the runtime does with an error: the stage leaves, and is tried again unless that is of no use.
    fn failed(&mut self, at: usize, error: &tidemark_runtime::Error) -> Result<(), String> {
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
    pub(crate) fn take_over(&mut self, dice: &mut Dice) -> Result<(), String> {
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
        let down = &mut self.processes[process];
        (down.up, down.dir, down.standby) = (false, None, None);
        (down.job, down.tables, down.follower) = (None, None, None);
        for thread in self.threads.iter_mut().filter(|thread| thread.process == process) {
            (thread.stage, thread.operator) = (None, None);
        }
    }

    pub(crate) fn start(&mut self, process: usize) {
        if self.processes[process].up {
            return;
        }
        let disk = self.processes[process].disk.clone();
        disk.fail_after(None);
        let mut started = Process { up: true, disk, ..Process::default() };
        if let Some(local) = self.config.local {
            let Local { checkpoint_interval_ms, memory_bytes, .. } = local;
            let settings = StateSettings { checkpoint_interval_ms, memory_bytes, cold_after_ms: 2_000 };
            let dir = StateDir::over(Arc::new(started.disk.clone()), settings);
            started.standby = local.standby.then(|| Arc::new(self.standby(&dir, &started.metrics)));
            started.dir = Some(dir);
        }
        let job = Arc::new(MinuteFlows::new(&self.config));
        let tables = Arc::new(Tables::new(job.tables()));
        let log: Arc<dyn Log> = self.log.clone();
        let follower = || Follower::new(Arc::clone(&tables), log, &self.registry, self.time.clock());
        started.follower = (!tables.is_empty()).then(|| Arc::new(Mutex::new(follower())));
        (started.job, started.tables) = (Some(job), Some(tables));
        self.processes[process] = started.clone();
        for at in 0..self.threads.len() {
            if self.threads[at].process == process {
                let operator = self.operator(self.threads[at].role, &started);
                (self.threads[at].operator, self.threads[at].retry_at_ms) = (Some(operator), 0);
            }
        }
    }

    fn standby(&self, dir: &Arc<StateDir>, metrics: &Arc<Metrics>) -> Standby<FlowSums> {
        let (plan, log, registry) = (Arc::clone(&self.plan), self.log.clone(), Arc::clone(&self.registry));
        Standby::new(plan, log, registry, Arc::clone(dir), Arc::clone(metrics))
    }

    /// The standby of a process takes a step, and what reads its tables another. What fails is tried again at the next.
    pub(crate) fn follow(&self, process: usize) -> Result<(), String> {
        let process = &self.processes[process];
        if !process.up || process.frozen_until_ms > self.time.elapsed_ms() {
            return Ok(());
        }
        if let Some(standby) = &process.standby {
            let _ = standby.step(self.time.wall_ms());
        }
        let Some(follower) = &process.follower else { return Ok(()) };
        match follower.lock().unwrap().step(Duration::from_millis(self.time.elapsed_ms())) {
            Err(error) if !error.is_retriable() => Err(format!("the tables are not read any more: {error}")),
            _ => Ok(()),
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
        self.publishers.clear();
        self.log.crash().map_err(|e| format!("the log does not open after a crash: {e}"))
    }
}
