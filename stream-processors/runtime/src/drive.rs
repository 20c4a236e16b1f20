//! Runs one stage on the calling thread: polls, folds, commits, and answers changes of assignment.

use crate::metrics::StageStatus;
pub use crate::operator::{Backlog, Due, Operator, Prepared};
use crate::{Error, Metrics};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use tidemark_log::span::Spans;
use tidemark_log::watch::{Call, blocking};
use tidemark_log::{Clock, Event, Log, Member, MemberConfig, TopicPartition, failpoint};

/// How long a poll waits when nothing comes: bounds how late a stop or a timer is noticed.
const POLL: Duration = Duration::from_millis(50);
/// The same while records wait to be folded: for a checkpoint, most likely.
const POLL_WAITING: Duration = Duration::from_millis(2);
/// A stage that reads nothing for so long, because no room is made for what waits, is said to stand still.
const FULL_MS: i64 = 10_000;
/// Pause before a write is tried again that a view store could not take.
const STALL_RETRY_MS: i64 = 500;
/// Pause before records are read again that could not be folded for want of a schema registry.
const REWIND_PAUSE_MS: i64 = 2_000;
/// Calls of [`Operator::prepare`] that are made before partitions are given up; what is not prepared then, the next owner does.
const LAST_CALLS: usize = 50;
/// The same at a stop, polls in between: with 20 ms a call the view store has 20 s.
const FINISH_CALLS: usize = 1_000;
/// What a step of the operator may take before it counts as stuck.
const FOLD_LIMIT: Duration = Duration::from_secs(30);
const RESTORE_LIMIT: Duration = Duration::from_secs(60);
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// What has become of the preparation of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Preparing {
    /// None is under way.
    No,
    /// Begun and not over.
    UnderWay,
    /// Failed at this time; to be tried again.
    Failed(i64),
}

/// What one stage thread is called.
#[derive(Debug, Clone)]
pub struct StageConfig {
    /// Group, topics and id.
    pub member: MemberConfig,
    /// Longest time between two commits while there is something to commit, milliseconds.
    pub commit_interval_ms: i64,
}

/// Everything a stage thread needs beside its operator.
pub struct Context {
    /// The log.
    pub log: Arc<dyn Log>,
    /// Time.
    pub clock: Clock,
    /// Set to end the stage after one last commit.
    pub stop: Arc<AtomicBool>,
    /// Counters of the process.
    pub metrics: Arc<Metrics>,
    /// Where spans of traced commits go.
    pub spans: Arc<dyn Spans>,
}

/// Runs until told to stop or until an error. After an error the operator's state is void and the member is dropped:
/// call again to go on from what is committed.
///
/// # Errors
/// What the log, the registry or the fold found wrong.
pub fn drive(
    context: &Context,
    operator: &mut dyn Operator,
    config: &StageConfig,
    status: &StageStatus,
) -> Result<(), Error> {
    let mut stage = Stage::join(context, operator, config, status)?;
    while !context.stop.load(Ordering::Relaxed) {
        if let Err(error) = stage.step() {
            stage.leave();
            return Err(error);
        }
    }
    stage.finish()
}

/// A stage that is a member of its group: one step is one poll and what follows from it. [`drive`] takes steps until it is
/// told to stop; a simulation takes them one by one.
pub struct Stage<'s> {
    context: &'s Context,
    operator: &'s mut dyn Operator,
    config: &'s StageConfig,
    status: &'s StageStatus,
    member: Box<dyn Member>,
    last_commit: i64,
    preparing: Preparing,
    /// What comes before a commit cannot go on, or state is about to be loaded again: nothing is to be read.
    held_up: bool,
    /// Nothing is read: the stage is held up, or the operator is full.
    paused: bool,
    /// The operator is full since.
    full_since: Option<i64>,
    /// State is being loaded: nothing is folded or committed, but the member goes on answering its group.
    restoring: bool,
    /// Loading begins at this time.
    not_before: i64,
    owned: Vec<TopicPartition>,
}

impl<'s> Stage<'s> {
    /// Joins the group with an operator that holds nothing.
    ///
    /// # Errors
    /// The log refuses the member or cannot be reached.
    pub fn join(
        context: &'s Context,
        operator: &'s mut dyn Operator,
        config: &'s StageConfig,
        status: &'s StageStatus,
    ) -> Result<Self, Error> {
        operator.discard();
        let member = context.log.member(&config.member)?;
        Ok(Self {
            context,
            operator,
            config,
            status,
            member,
            last_commit: (context.clock)(),
            preparing: Preparing::No,
            held_up: false,
            paused: false,
            full_since: None,
            restoring: false,
            not_before: i64::MIN,
            owned: Vec::new(),
        })
    }
}

impl Stage<'_> {
    fn now(&self) -> i64 {
        (self.context.clock)()
    }

    /// Polls once, and does what is due after it.
    ///
    /// # Errors
    /// As of [`drive`]: the stage is of no further use then, and the operator's state is void.
    pub fn step(&mut self) -> Result<(), Error> {
        let now = self.now();
        let wait = self.wait(now);
        let event = self.poll(wait, now)?;
        match self.operator.check() {
            Ok(()) => self.answer(event)?,
            Err(error) if error.is_retriable() => return self.rewind(&error, event),
            Err(error) => return Err(error),
        }
        if self.restoring {
            return self.restore();
        }
        let now = self.now();
        let (operator, member) = (&mut *self.operator, self.member.as_mut());
        blocking(Call::Fold, FOLD_LIMIT, || operator.tick(member, now))?;
        self.commit_if_due(now)?;
        self.tell_full(now);
        self.pause(self.held_up)
    }

    fn answer(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Polled => Ok(()),
            Event::Assigned(owned) => self.assigned(owned),
            Event::Revoking(_) => {
                self.commit_last()?;
                self.release()
            }
            Event::Lost(_) => self.release(),
        }
    }

    fn poll(&mut self, wait: Duration, now: i64) -> Result<Event, Error> {
        let (operator, restoring) = (&mut *self.operator, self.restoring);
        let (mut records, mut handed_at) = (0, None);
        let event = self.member.poll(wait, &mut |batch| {
            // While state is loaded, only what was fetched before a rewind can come: it is read again.
            if !restoring {
                handed_at.get_or_insert_with(SystemTime::now);
                records += batch.records.len();
                blocking(Call::Fold, FOLD_LIMIT, || operator.fold(batch, now));
            }
        })?;
        if let Some(at) = handed_at {
            operator.trace().handed(records, at);
        }
        Ok(event)
    }

    /// How long the poll may wait: until a commit is due, and not at all while something is under way.
    fn wait(&self, now: i64) -> Duration {
        if self.restoring {
            return if now < self.not_before { POLL } else { Duration::ZERO };
        }
        let left = match (self.preparing, self.operator.due()) {
            (Preparing::Failed(_), _) | (Preparing::No, Due::Never) => return self.longest(),
            (Preparing::UnderWay, _) | (Preparing::No, Due::Now) => 0,
            (Preparing::No, Due::AtInterval) if self.interval_is_over(now) => 0,
            (Preparing::No, Due::AtInterval) => self.config.commit_interval_ms - (now - self.last_commit),
        };
        self.longest().min(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
    }

    fn longest(&self) -> Duration {
        if self.operator.backlog() == Backlog::None { POLL } else { POLL_WAITING }
    }

    fn interval_is_over(&self, now: i64) -> bool {
        is_over(now, self.last_commit, self.config.commit_interval_ms)
    }

    fn assigned(&mut self, owned: Vec<TopicPartition>) -> Result<(), Error> {
        tracing::info!(stage = self.operator.stage(), partitions = owned.len(), "assigned");
        self.owned = owned;
        self.begin_restore(i64::MIN)
    }

    fn begin_restore(&mut self, not_before: i64) -> Result<(), Error> {
        self.status.restoring();
        self.operator.assign(&self.owned, self.now())?;
        (self.preparing, self.restoring, self.not_before) = (Preparing::No, true, not_before);
        Ok(())
    }

    /// Goes back to what is committed after records that cannot be folded yet; the member keeps its place in the group.
    fn rewind(&mut self, error: &Error, event: Event) -> Result<(), Error> {
        tracing::warn!(stage = self.operator.stage(), %error, "what was read since the last commit is read again in a moment");
        match event {
            Event::Polled => {
                self.pause(true)?;
                self.begin_restore(self.now().saturating_add(REWIND_PAUSE_MS))?;
                self.status.stalled(&error.to_string());
                Ok(())
            }
            Event::Assigned(owned) => self.assigned(owned),
            // What is folded is not whole: nothing of it may be committed.
            Event::Revoking(_) | Event::Lost(_) => self.release(),
        }
    }

    fn restore(&mut self) -> Result<(), Error> {
        if self.now() < self.not_before {
            return Ok(());
        }
        let Some(from) = blocking(Call::Restore, RESTORE_LIMIT, || self.operator.restore())? else { return Ok(()) };
        self.member.start(&from)?;
        self.pause(false)?;
        self.restoring = false;
        self.last_commit = self.now();
        self.status.running();
        Ok(())
    }

    fn release(&mut self) -> Result<(), Error> {
        self.operator.discard();
        self.owned.clear();
        (self.preparing, self.restoring) = (Preparing::No, false);
        (self.held_up, self.paused) = (false, false);
        Ok(self.member.release()?)
    }

    /// Says so when what waits finds no room for long.
    fn tell_full(&mut self, now: i64) {
        if self.operator.backlog() != Backlog::Full {
            if self.full_since.take().is_some_and(|since| is_over(now, since, FULL_MS)) {
                self.status.running();
            }
        } else if is_over(now, *self.full_since.get_or_insert(now), FULL_MS) {
            self.status.stalled(self.operator.waits_for());
        }
    }

    /// Holds reading up, or not; it also rests while the operator is full.
    fn pause(&mut self, held_up: bool) -> Result<(), Error> {
        self.held_up = held_up;
        let paused = held_up || self.operator.backlog() == Backlog::Full;
        if paused != self.paused {
            self.member.pause(&self.owned, paused)?;
            self.paused = paused;
        }
        Ok(())
    }

    fn commit_if_due(&mut self, now: i64) -> Result<(), Error> {
        let due = match (self.preparing, self.operator.due()) {
            (Preparing::UnderWay, _) | (Preparing::No, Due::Now) => true,
            (Preparing::Failed(since), _) => is_over(now, since, STALL_RETRY_MS),
            (Preparing::No, Due::Never) => false,
            (Preparing::No, Due::AtInterval) => self.interval_is_over(now),
        };
        if due { self.prepare_and_commit() } else { Ok(()) }
    }

    /// Goes on with what comes before the commit, and commits when it is done. Meanwhile reading goes on for as long as the
    /// operator takes more, but not while the view store takes nothing.
    fn prepare_and_commit(&mut self) -> Result<(), Error> {
        let now = self.now();
        match blocking(Call::ViewWrite, WRITE_LIMIT, || self.operator.prepare(now)) {
            Ok(Prepared::Done) => {
                if matches!(self.preparing, Preparing::Failed(_)) {
                    self.status.running();
                }
                self.preparing = Preparing::No;
                self.commit()?;
                self.pause(false)
            }
            Ok(Prepared::More) => {
                if matches!(self.preparing, Preparing::Failed(_)) {
                    self.status.running();
                }
                self.preparing = Preparing::UnderWay;
                if self.operator.due() == Due::Now { self.pause(true) } else { Ok(()) }
            }
            Err(error) if error.is_retriable() => {
                // Tried again twice a second: said once, and in the status for as long as it lasts.
                if !matches!(self.preparing, Preparing::Failed(_)) {
                    tracing::warn!(stage = self.operator.stage(), %error, "reading is paused until the write goes through");
                }
                self.status.stalled(&error.to_string());
                self.preparing = Preparing::Failed(self.now());
                self.pause(true)
            }
            Err(error) => Err(error),
        }
    }

    fn commit(&mut self) -> Result<(), Error> {
        failpoint::hit("prepared", self.operator.stage());
        let began = std::time::Instant::now();
        let now = self.now();
        let offsets = self.operator.offsets(self.member.as_ref())?;
        let operator = &mut *self.operator;
        let stage = operator.stage();
        let mut span = operator.trace().open(&self.context.spans, stage, &self.config.member);
        let committed = self.member.commit(&mut |sink| operator.produce(now, sink), &offsets);
        if let (Err(error), Some(span)) = (&committed, &mut span) {
            span.fail(error);
        }
        committed?;
        operator.trace().clear();
        operator.committed(now);
        self.last_commit = self.now();
        self.context.metrics.commit(self.operator.stage(), began.elapsed());
        Ok(())
    }

    /// Commits what is folded, before the partitions are given up; what a view store does not take in time is left to the next
    /// owner, and only what it has acknowledged is committed.
    fn commit_last(&mut self) -> Result<(), Error> {
        if self.restoring || (self.preparing == Preparing::No && self.operator.due() == Due::Never) {
            return Ok(());
        }
        for _ in 0..LAST_CALLS {
            if !matches!(self.preparing, Preparing::Failed(_)) {
                self.prepare_and_commit()?;
            }
            if self.preparing != Preparing::UnderWay {
                break;
            }
        }
        if self.preparing == Preparing::No { Ok(()) } else { self.commit() }
    }

    /// Leaves after an error. That is no commit: it only spares the others the wait for the session to expire, where the member
    /// is still fit to tell its group; else it comes back under its static id.
    pub fn leave(mut self) {
        let _ = self.member.leave();
    }

    /// Commits what is folded and leaves, so that others take over at once.
    ///
    /// # Errors
    /// The commit did not go through, or leaving got no answer.
    pub fn finish(mut self) -> Result<(), Error> {
        self.operator.stopping();
        let mut calls = 0;
        if !self.restoring && self.operator.due() != Due::Never && self.preparing == Preparing::No {
            self.prepare_and_commit()?;
        }
        while self.preparing == Preparing::UnderWay && calls < FINISH_CALLS {
            self.pause(true)?;
            let event = self.poll(Duration::ZERO, self.now())?;
            self.operator.check()?;
            self.answer(event)?;
            if self.preparing == Preparing::UnderWay {
                self.prepare_and_commit()?;
            }
            calls += 1;
        }
        self.commit_last()?;
        let left = self.member.leave();
        self.operator.left();
        Ok(left?)
    }
}

/// Whether `interval_ms` has gone by since `since`; also when the clock was set back, since nothing may wait for it to catch
/// up.
pub(crate) fn is_over(now: i64, since: i64, interval_ms: i64) -> bool {
    !(since..since.saturating_add(interval_ms)).contains(&now)
}

#[cfg(test)]
mod tests;
