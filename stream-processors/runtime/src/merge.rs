//! The merge stage: reads partials, keeps window state with its changelog, writes rows, ledger and progress to the view
//! topic. Within a commit rows come first, then the ledger that speaks of them, then the progress that closes windows.

mod fold;
mod intake;
mod output;
mod takeover;

use crate::held::{self, Held};
use crate::metrics::Metrics;
use crate::operator::{Backlog, Due, Operator, Prepared};
use crate::restore::{Restore, changelog};
use crate::standby::Standby;
use crate::state::StateDir;
use crate::state::checkpoint::{Step, Version};
use crate::trace::CommitTrace;
use crate::{Error, Plan};
use fold::{INPUT, Kind};
use intake::Intake;
pub(crate) use output::removed_window;
use output::{Output, sealed_letter};
use std::sync::Arc;
use takeover::Takeover;
use tidemark_core::{Accumulator, Job};
use tidemark_log::{At, Batch, GroupOffset, Log, Member, Record, Sink, TopicPartition};
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire;

/// Pieces of checkpoints that are encoded between two polls, some milliseconds each.
const CHECKPOINT_STEPS: u32 = 4;
/// Least time between two checkpoints when memory is over its bound, milliseconds.
const CROWDED_INTERVAL_MS: i64 = 1_000;

/// Rows that changed, and as many that are removed, in one commit: what brokers take well within the time of a transaction. A
/// partial is folded as a whole, so that its rows may come on top: some ten thousand.
const COMMIT_ROWS_MAX: usize = 50_000;

/// What a checkpoint is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hurry {
    /// By nobody.
    No,
    /// By records, for room in memory.
    Waiting,
    /// By the end of the stage.
    Stopping,
}

/// A merge partition that this member owns.
struct Owned<A> {
    partition: TopicPartition,
    held: Held<A>,
    next_offset: i64,
    /// Of the offset that it was taken over at.
    metadata: String,
    moved: bool,
    /// Rows take more memory than they may, and only a checkpoint helps.
    crowded: bool,
    sealed_out: Vec<Vec<u8>>,
}

/// The merge stage of a job.
pub struct MergeStage<J: Job> {
    job: Arc<J>,
    plan: Arc<Plan>,
    log: Arc<dyn Log>,
    dir: Option<Arc<StateDir>>,
    standby: Option<Arc<Standby<J::Accumulator>>>,
    input: wire::Decoder,
    restore: Restore,
    takeover: Takeover,
    metrics: Arc<Metrics>,
    owned: Vec<Owned<J::Accumulator>>,
    intake: Intake,
    trace: CommitTrace,
    failed: Option<Error>,
    scratch: Vec<u8>,
    /// Processing time of the last call.
    now: i64,
    /// The next commit is the last.
    stopping: bool,
    /// Which partition's checkpoint goes on next.
    turn: usize,
}

impl<J: Job> MergeStage<J> {
    /// For a job. Its state comes back from the changelog alone, but for [`MergeStage::kept_in`].
    pub fn new(
        job: Arc<J>,
        plan: Arc<Plan>,
        log: Arc<dyn Log>,
        registry: Arc<dyn Registry>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            job,
            plan,
            log,
            dir: None,
            standby: None,
            input: wire::Decoder::new(Arc::clone(&registry), INPUT),
            restore: Restore::new(registry),
            takeover: Takeover::Done,
            metrics,
            owned: Vec::new(),
            intake: Intake::new(COMMIT_ROWS_MAX),
            trace: CommitTrace::default(),
            failed: None,
            scratch: Vec::new(),
            now: 0,
            stopping: false,
            turn: 0,
        }
    }

    /// With a directory for checkpoints: after a restart only what the changelog has since is read.
    pub fn kept_in(mut self, dir: Option<Arc<StateDir>>) -> Self {
        self.dir = dir;
        self
    }

    /// With a standby of the same directory, which gives the state of partitions that it follows.
    pub fn with_standby(mut self, standby: Option<Arc<Standby<J::Accumulator>>>) -> Self {
        self.standby = standby;
        self
    }

    /// With commits of so many rows, in place of 50,000.
    pub fn with_commit_rows(mut self, rows_max: usize) -> Self {
        self.intake = Intake::new(rows_max);
        self
    }

    /// Memory that rows may take for good.
    fn memory(&self) -> usize {
        self.dir.as_ref().map_or(usize::MAX, |dir| dir.memory_bytes())
    }

    /// One partition's share of it.
    fn share(&self) -> usize {
        self.memory() / self.owned.len().max(1)
    }

    fn hurry(&self) -> Hurry {
        match (self.stopping, self.intake.backlog()) {
            (true, _) => Hurry::Stopping,
            (false, Backlog::None) => Hurry::No,
            (false, Backlog::Some | Backlog::Full) => Hurry::Waiting,
        }
    }

    /// Goes on with checkpoints of partitions that hold nothing but what is committed: of a few, those that have waited
    /// longest first, so that the member is polled again soon.
    fn step_checkpoints(&mut self) {
        let waiting: Vec<usize> = (0..self.owned.len()).map(|at| (self.turn + at) % self.owned.len()).collect();
        let mut steps = 0;
        for at in waiting {
            let Some(owned) = self.owned.get_mut(at).filter(|owned| !owned.moved && owned.held.is_making()) else {
                continue;
            };
            owned.held.step(self.now, &self.metrics);
            (self.turn, steps) = (at + 1, steps + 1);
            if steps == CHECKPOINT_STEPS {
                break;
            }
        }
    }

    /// Asks for the end of the changelog of each partition that a checkpoint is due of, before the commit that makes the
    /// answer count: see [`crate::state`].
    fn ask_ends(&mut self) {
        let (now, hurry) = (self.now, self.hurry());
        let mut due: Vec<&mut Owned<J::Accumulator>> =
            self.owned.iter_mut().filter(|owned| owned.is_due(now, hurry)).collect();
        if due.is_empty() {
            return;
        }
        let partitions: Vec<u32> = due.iter().map(|owned| owned.held.partition).collect();
        match self.log.offsets(&changelog(&self.plan, &partitions), At::End) {
            Ok(ends) => {
                for (owned, end) in due.iter_mut().zip(ends) {
                    if let Some(disk) = &mut owned.held.disk {
                        disk.ask(end);
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "no checkpoint now: the end of the changelog is not known"),
        }
    }
}

impl<A: Accumulator> Owned<A> {
    fn new(plan: &Plan, partition: TopicPartition) -> Self {
        let held = Held::new(plan, partition.partition);
        let (metadata, sealed_out) = (String::new(), Vec::new());
        Self { partition, held, next_offset: 0, metadata, moved: false, crowded: false, sealed_out }
    }

    fn version(&self) -> Version {
        Version::Partials(self.next_offset)
    }

    /// Whether the next commit should begin a checkpoint.
    fn is_due(&self, now: i64, hurry: Hurry) -> bool {
        self.held.disk.as_ref().is_some_and(|disk| {
            let wanted = disk.is_wanted(self.version());
            let at_once = hurry == Hurry::Waiting && !disk.is_failing();
            let soon = self.crowded && (at_once || disk.is_over(now, CROWDED_INTERVAL_MS));
            wanted && (hurry == Hurry::Stopping || soon || disk.is_due(now))
        })
    }

    fn due(&self, now: i64, hurry: Hurry) -> Due {
        match (self.moved, self.is_due(now, hurry)) {
            // Each commit removes a bounded number of rows, and no checkpoint comes to its end before the last.
            _ if self.held.fold.is_removing() => Due::Now,
            (_, true) if hurry != Hurry::No => Due::Now,
            (true, _) | (_, true) => Due::AtInterval,
            (false, false) => Due::Never,
        }
    }

    /// What is folded has been committed.
    fn committed(&mut self, share: usize, removals_max: usize, now: i64, metrics: &Metrics) {
        let version = self.version();
        self.moved = false;
        self.sealed_out.clear();
        let Held { fold, disk, partition, .. } = &mut self.held;
        let partition = *partition;
        fold.committed(now);
        fold.removed(removals_max);
        let begun = disk.as_mut().map(|disk| {
            self.crowded = !disk.cool(fold, share, now);
            disk.committed(fold, version, now)
        });
        metrics.merge(partition, fold.rows(), fold.bytes(), fold.watermark(), now);
        metrics.windows_loaded(partition, std::mem::take(&mut self.held.loads));
        self.held.tell(begun.unwrap_or(Step::Going), now, metrics);
    }
}

pub(crate) fn unreadable(batch: &Batch<'_>, record: &Record<'_>, reason: wire::Error) -> Error {
    Error::Unreadable { topic: batch.topic.to_owned(), partition: batch.partition, offset: record.offset, reason }
}

impl<J: Job> Operator for MergeStage<J> {
    fn stage(&self) -> &'static str {
        "merge"
    }

    fn assign(&mut self, owned: &[TopicPartition], now: i64) -> Result<(), Error> {
        self.discard();
        self.now = now;
        self.owned = owned.iter().map(|partition| Owned::new(&self.plan, partition.clone())).collect();
        self.takeover = Takeover::begin();
        Ok(())
    }

    fn restore(&mut self) -> Result<Option<Vec<(TopicPartition, i64)>>, Error> {
        if !self.take_over()? {
            return Ok(None);
        }
        Ok(Some(self.owned.iter().map(|owned| (owned.partition.clone(), owned.next_offset)).collect()))
    }

    fn fold(&mut self, batch: Batch<'_>, now: i64) {
        self.now = now;
        batch.records.iter().for_each(|record| self.take_in(&batch, record));
    }

    fn backlog(&self) -> Backlog {
        self.intake.backlog()
    }

    fn trace(&mut self) -> &mut CommitTrace {
        &mut self.trace
    }

    fn check(&mut self) -> Result<(), Error> {
        self.failed.take().map_or(Ok(()), Err)
    }

    fn tick(&mut self, _member: &mut dyn Member, now: i64) -> Result<(), Error> {
        self.now = now;
        self.step_checkpoints();
        self.make_room();
        self.go_on();
        Ok(())
    }

    fn due(&self) -> Due {
        match (&self.failed, self.is_full()) {
            // What is folded is void.
            (Some(_), _) => return Due::Never,
            (None, true) => return Due::Now,
            (None, false) => {}
        }
        let due = self.owned.iter().map(|owned| owned.due(self.now, self.hurry()));
        due.max().unwrap_or(Due::Never)
    }

    fn prepare(&mut self, now: i64) -> Result<Prepared, Error> {
        self.now = now;
        self.ask_ends();
        Ok(Prepared::Done)
    }

    fn produce(&mut self, _now: i64, sink: &mut dyn Sink) -> Result<(), tidemark_log::Error> {
        let removals_max = self.removals_max();
        for owned in self.owned.iter().filter(|owned| owned.moved || owned.held.fold.is_removing()) {
            let partition = owned.partition.partition;
            let (job, plan) = (self.job.as_ref(), self.plan.as_ref());
            let trace = self.trace.header();
            let (key, value) = (Vec::new(), Vec::new());
            Output { job, plan, partition, removals_max, sink, trace, key, value }.all(owned)?;
        }
        Ok(())
    }

    fn offsets(&self, _member: &dyn Member) -> Result<Vec<GroupOffset>, Error> {
        let offset = |owned: &Owned<J::Accumulator>| GroupOffset {
            partition: owned.partition.clone(),
            offset: owned.next_offset,
            metadata: held::metadata(&owned.held.fold),
        };
        Ok(self.owned.iter().map(offset).collect())
    }

    fn committed(&mut self, now: i64) {
        self.now = now;
        let (share, removals_max) = (self.share(), self.removals_max());
        for owned in &mut self.owned {
            owned.committed(share, removals_max, now, &self.metrics);
        }
        self.step_checkpoints();
    }

    fn discard(&mut self) {
        self.restore.end();
        self.metrics.not_restoring(self.owned.iter().map(|owned| owned.held.partition));
        self.owned.clear();
        self.intake.clear();
        self.trace.clear();
        (self.failed, self.stopping, self.takeover) = (None, false, Takeover::Done);
    }

    fn stopping(&mut self) {
        self.stopping = true;
    }

    fn left(&mut self) {
        for Owned { held, .. } in self.owned.iter_mut().filter(|owned| !owned.moved) {
            let Some(disk) = &mut held.disk else { continue };
            let step = disk.finish(&mut held.fold);
            held.tell(step, self.now, &self.metrics);
        }
    }
}
