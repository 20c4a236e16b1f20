//! Brings merge state back, a little at a time, so that the member goes on answering its group: what is on disk, and after
//! it the changelog from there on.
//!
//! The order is what makes it right: the caller has fetched the *stable* offset, so no transaction of a predecessor is open;
//! the end is taken after that and includes control markers; the restore is over by position, not by record.

use crate::held::{EntryError, Held, Origin, STATE};
use crate::merge::unreadable;
use crate::metrics::Restoring;
use crate::replay::{Replay, Target};
use crate::standby::Standby;
use crate::state::StateDir;
use crate::state::checkpoint::Checkpoints;
use crate::state::manifest::Facts;
use crate::{Error, Metrics, Plan};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemark_core::Accumulator;
use tidemark_log::{At, Log, TopicPartition};
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire;

/// How often a restore that takes long says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(3);
/// How long a directory is waited for that another thread of this process still works on; after that there is no disk.
const CLAIM_WAIT: Duration = Duration::from_secs(10);
/// Pause between two looks at it.
const CLAIM_PAUSE: Duration = Duration::from_millis(5);
/// Pause while rows wait for the disk.
const DISK_PAUSE: Duration = Duration::from_millis(2);

/// What a restore works with.
pub(crate) struct Means<'m, A> {
    pub(crate) log: &'m dyn Log,
    pub(crate) plan: &'m Plan,
    pub(crate) dir: Option<&'m Arc<StateDir>>,
    pub(crate) standby: Option<&'m Standby<A>>,
    pub(crate) metrics: &'m Metrics,
    pub(crate) now: i64,
}

/// A restore of any number of merge partitions. What it has come to is a checkpoint's worth at any time: memory is kept in
/// bounds on the way, by the same means as later, but for rows of sealed windows, which stay until it reads that they are removed.
pub(crate) struct Restore {
    decoder: wire::Decoder,
    scratch: Vec<u8>,
    phase: Phase,
    began: Instant,
    told: Instant,
}

enum Phase {
    Idle,
    /// Taking hold of directories; first offset and end of each partition's changelog.
    Claiming(Vec<(i64, i64)>),
    /// Loading files: partition and window.
    Loading(VecDeque<(u32, i64)>, Vec<(i64, i64)>),
    /// Reading the changelog; where each partition's reading began.
    Reading(Replay, Vec<i64>),
}

impl Restore {
    pub(crate) fn new(registry: Arc<dyn Registry>) -> Self {
        let decoder = wire::Decoder::new(registry, STATE);
        let now = Instant::now();
        Self { decoder, scratch: Vec::new(), phase: Phase::Idle, began: now, told: now }
    }

    /// Sets out to restore partitions as of the end of the changelog that the log names now.
    pub(crate) fn begin(&mut self, log: &dyn Log, plan: &Plan, partitions: &[u32]) -> Result<(), Error> {
        let changelog = changelog(plan, partitions);
        let starts = log.offsets(&changelog, At::Start)?;
        let ends = log.offsets(&changelog, At::End)?;
        self.phase = Phase::Claiming(starts.into_iter().zip(ends).collect());
        (self.began, self.told) = (Instant::now(), Instant::now());
        Ok(())
    }

    /// Goes on for a moment; true once all of it is there. `held` is in the order that was begun with.
    pub(crate) fn step<A: Accumulator>(
        &mut self,
        means: &Means<'_, A>,
        held: &mut [&mut Held<A>],
    ) -> Result<bool, Error> {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Idle => return Ok(true),
            Phase::Claiming(bounds) => self.claim(means, held, bounds),
            Phase::Loading(todo, bounds) => self.load(means, held, todo, bounds)?,
            Phase::Reading(replay, from) => return self.read(means, held, replay, from),
        }
        Ok(false)
    }

    fn claim<A: Accumulator>(&mut self, means: &Means<'_, A>, held: &mut [&mut Held<A>], bounds: Vec<(i64, i64)>) {
        for held in held.iter_mut().filter(|held| held.disk.is_none()) {
            let Some(dir) = means.dir else { continue };
            if let Some(followed) = means.standby.and_then(|standby| standby.take(held.partition)) {
                **held = Held { origin: Origin::Standby, ..followed };
                continue;
            }
            match dir.claim(held.partition) {
                Some(claim) => held.disk = Some(Checkpoints::new(claim, means.now)),
                None if self.began.elapsed() < CLAIM_WAIT => {
                    std::thread::sleep(CLAIM_PAUSE);
                    self.phase = Phase::Claiming(bounds);
                    return;
                }
                None => {
                    tracing::warn!(merge_partition = held.partition, "its state directory is in use: no checkpoints")
                }
            }
        }
        for (held, &(start, end)) in held.iter_mut().zip(&bounds) {
            held.entries = 0;
            match held.at {
                None => held.open(means.plan, &facts(means, held.partition, start, end), means.metrics),
                Some(at) if (start..=end).contains(&at) => {}
                Some(_) => held.reset(means.plan, start, "the changelog is another one", means.metrics),
            }
        }
        let todo = held.iter().flat_map(|held| hot(means, held)).collect();
        self.phase = Phase::Loading(todo, bounds);
    }

    fn load<A: Accumulator>(
        &mut self,
        means: &Means<'_, A>,
        held: &mut [&mut Held<A>],
        mut todo: VecDeque<(u32, i64)>,
        bounds: Vec<(i64, i64)>,
    ) -> Result<(), Error> {
        let Some((partition, window_start)) = todo.pop_front() else { return self.begin_reading(means, held, &bounds) };
        let found = held.iter_mut().zip(&bounds).find(|(held, _)| held.partition == partition);
        if let Some((held, (start, _))) = found
            && let Err(Error::State { reason, .. }) = held.load(window_start)
        {
            held.reset(means.plan, *start, &reason, means.metrics);
            todo.retain(|(of, _)| *of != partition);
        }
        self.phase = Phase::Loading(todo, bounds);
        Ok(())
    }

    fn begin_reading<A: Accumulator>(
        &mut self,
        means: &Means<'_, A>,
        held: &[&mut Held<A>],
        bounds: &[(i64, i64)],
    ) -> Result<(), Error> {
        let partitions: Vec<u32> = held.iter().map(|held| held.partition).collect();
        let places = changelog(means.plan, &partitions).into_iter();
        let ends = held.iter().zip(bounds).map(|(held, (start, end))| (held.at.unwrap_or(*start), *end));
        let targets = places.zip(ends).map(|(partition, (at, end))| Target { partition, at, end }).collect();
        let from = held.iter().zip(bounds).map(|(held, (start, _))| held.at.unwrap_or(*start)).collect();
        self.phase = Phase::Reading(Replay::begin(means.log, targets)?, from);
        Ok(())
    }

    fn read<A: Accumulator>(
        &mut self,
        means: &Means<'_, A>,
        held: &mut [&mut Held<A>],
        mut replay: Replay,
        from: Vec<i64>,
    ) -> Result<bool, Error> {
        if self.makes_room(means, held) {
            self.phase = Phase::Reading(replay, from);
            return Ok(false);
        }
        let Self { decoder, scratch, .. } = self;
        let is_over = replay.step(|batch| {
            let Some(held) = held.iter_mut().find(|held| held.partition == batch.partition) else { return Ok(()) };
            for record in batch.records {
                tidemark_log::failpoint::hit("restored-record", batch.topic);
                held.entry(decoder, scratch, record.key, record.value).map_err(|error| match error {
                    EntryError::Unreadable(reason) => unreadable(batch, record, reason),
                    EntryError::State(error) => error,
                })?;
            }
            Ok(())
        })?;
        for target in replay.targets() {
            if let Some(held) = held.iter_mut().find(|held| held.partition == target.partition.partition) {
                held.at = Some(target.at);
            }
        }
        let share = share(means, held.len());
        held.iter_mut().for_each(|held| held.keep(share, means.now, means.metrics));
        self.tell(means, held, &replay, &from, is_over);
        if !is_over {
            self.phase = Phase::Reading(replay, from);
        }
        Ok(is_over)
    }

    /// Goes on with checkpoints instead of reading, while memory is over its bound and they are on their way.
    fn makes_room<A: Accumulator>(&self, means: &Means<'_, A>, held: &mut [&mut Held<A>]) -> bool {
        let share = share(means, held.len());
        let mut waits = false;
        // While rows are yet to be removed, no checkpoint comes to its end: what is to be read says that they are.
        let is_full =
            |held: &&mut &mut Held<A>| held.is_making() && !held.fold.is_removing() && held.fold.bytes() > share;
        for held in held.iter_mut().filter(is_full) {
            held.keep(share, means.now, means.metrics);
            waits = true;
        }
        if waits && means.dir.is_some_and(|dir| dir.is_slow()) {
            std::thread::sleep(DISK_PAUSE);
        }
        waits
    }

    fn tell<A: Accumulator>(
        &mut self,
        means: &Means<'_, A>,
        held: &mut [&mut Held<A>],
        replay: &Replay,
        from: &[i64],
        is_over: bool,
    ) {
        let elapsed = self.began.elapsed();
        for (held, from) in held.iter_mut().zip(from) {
            let end = replay.targets().iter().find(|target| target.partition.partition == held.partition);
            let (done, all) = end.map_or((0, 0), |target| (target.at - from, target.end - from));
            let restoring = Restoring::of(held.fold.rows(), done, all, elapsed);
            if is_over {
                let (rows, entries) = (restoring.rows, held.entries);
                let (partition, seconds) = (held.partition, elapsed.as_secs_f64());
                tracing::info!(merge_partition = partition, rows, entries, seconds, "state restored");
                means.metrics.restored(partition, rows, entries, elapsed);
                means.metrics.restored_from(partition, held.origin, held.fold.is_removing());
                means.metrics.windows_loaded(partition, std::mem::take(&mut held.loads));
                continue;
            }
            if self.told.elapsed() >= TELL_EVERY {
                let Restoring { rows, percent, seconds_left } = restoring;
                tracing::info!(merge_partition = held.partition, rows, percent, seconds_left, "restoring state");
            }
            means.metrics.restoring(held.partition, restoring);
        }
        if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
        }
    }

    /// Gives up what is under way.
    pub(crate) fn end(&mut self) {
        self.phase = Phase::Idle;
    }
}

/// The changelog of merge partitions.
pub(crate) fn changelog(plan: &Plan, partitions: &[u32]) -> Vec<TopicPartition> {
    partitions.iter().map(|&partition| TopicPartition::new(plan.changelog.as_str(), partition)).collect()
}

/// Memory that one of so many partitions may take.
fn share<A>(means: &Means<'_, A>, partitions: usize) -> usize {
    means.dir.map_or(usize::MAX, |dir| dir.memory_bytes() / partitions.max(1))
}

fn facts<A>(means: &Means<'_, A>, partition: u32, start: i64, end: i64) -> Facts {
    let fingerprint = means.plan.spec.fingerprint();
    Facts { fingerprint, merge_partition: partition as i32, now: means.now, start, end }
}

/// Windows that are still being filled, latest first, as far as memory goes: the others are loaded when they are needed. Of a
/// job of session windows all are needed at once.
fn hot<A: Accumulator>(means: &Means<'_, A>, held: &Held<A>) -> Vec<(u32, i64)> {
    let mut left = means.dir.map_or(0, |dir| dir.memory_bytes()) as i64;
    let windows = held.disk.iter().flat_map(Checkpoints::windows);
    let hot = windows.filter(|(window_start, bytes)| {
        left -= bytes;
        let is_hot = left >= 0 && !held.fold.is_final(*window_start);
        held.fold.is_cold(*window_start) && (is_hot || held.fold.keeps_all())
    });
    hot.map(|(window_start, _)| (held.partition, window_start)).collect()
}
