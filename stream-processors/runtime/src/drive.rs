//! Runs one stage on the calling thread: polls, folds, commits, and answers changes of assignment.

use crate::metrics::StageStatus;
use crate::trace::CommitTrace;
use crate::{Error, Metrics};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use tidemark_log::span::Spans;
use tidemark_log::{Batch, Clock, Event, GroupOffset, Log, Member, MemberConfig, Sink, TopicPartition};

/// How long a poll waits when nothing comes: bounds how late a stop or a timer is noticed.
const POLL: Duration = Duration::from_millis(50);
/// Pause before a commit is tried again that a view store could not take.
const STALL_RETRY_MS: i64 = 500;

/// When a commit is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// There is nothing to commit.
    Never,
    /// There is something: when the commit interval is over.
    AtInterval,
    /// At once: memory bound reached, or a marker is owed.
    Now,
}

/// What a stage does with what it reads. It is told what it owns, holds what it folded since the last commit, and hands
/// that over at the commit.
pub trait Operator: Send {
    /// Its name in metrics and logs.
    fn stage(&self) -> &'static str;

    /// Takes over partitions and begins to load their state. Everything owned before is gone.
    fn assign(&mut self, owned: &[TopicPartition], now: i64) -> Result<(), Error>;

    /// Called again and again after [`Operator::assign`], polls of the member in between, until the state is loaded: then it
    /// gives the offset to start each partition at. A call takes a fraction of a second.
    fn restore(&mut self) -> Result<Option<Vec<(TopicPartition, i64)>>, Error>;

    /// Folds a batch in. It cannot fail: errors are kept for [`Operator::check`].
    fn fold(&mut self, batch: Batch<'_>, now: i64);

    /// The trace that the next commit goes on with: fed by [`Operator::fold`], its header sent by [`Operator::produce`].
    fn trace(&mut self) -> &mut CommitTrace;

    /// The first error since the last call.
    fn check(&mut self) -> Result<(), Error>;

    /// Called after every poll: timers.
    fn tick(&mut self, member: &dyn Member, now: i64) -> Result<(), Error>;

    /// Whether a commit is wanted.
    fn due(&self) -> Due;

    /// What must be done outside the log before the commit; retried for as long as it fails with a retriable error, while
    /// the member stays in its group.
    fn prepare(&mut self) -> Result<(), Error>;

    /// Writes the commit's records.
    fn produce(&mut self, now: i64, sink: &mut dyn Sink) -> Result<(), tidemark_log::Error>;

    /// The commit's offsets: of every owned partition.
    fn offsets(&self, member: &dyn Member) -> Result<Vec<GroupOffset>, Error>;

    /// The commit went through.
    fn committed(&mut self, now: i64);

    /// Everything owned is gone: throws state away.
    fn discard(&mut self);
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
    operator.discard();
    let member = context.log.member(&config.member)?;
    let mut stage = Stage {
        context,
        operator,
        config,
        status,
        member,
        last_commit: (context.clock)(),
        stalled: None,
        restoring: false,
        owned: Vec::new(),
    };
    while !context.stop.load(Ordering::Relaxed) {
        if let Err(error) = stage.step() {
            // Leaving is no commit: it only spares the others the wait for the session to expire.
            let _ = stage.member.leave();
            return Err(error);
        }
    }
    stage.finish()
}

struct Stage<'s> {
    context: &'s Context,
    operator: &'s mut dyn Operator,
    config: &'s StageConfig,
    status: &'s StageStatus,
    member: Box<dyn Member>,
    last_commit: i64,
    /// Since when the view store has not taken a write; reading is paused until it does.
    stalled: Option<i64>,
    /// State is being loaded: nothing is read or committed, but the member goes on answering its group.
    restoring: bool,
    owned: Vec<TopicPartition>,
}

impl Stage<'_> {
    fn now(&self) -> i64 {
        (self.context.clock)()
    }

    fn step(&mut self) -> Result<(), Error> {
        let now = self.now();
        let wait = if self.restoring { Duration::ZERO } else { POLL.min(self.wait(now)) };
        let event = self.poll(wait, now)?;
        self.operator.check()?;
        match event {
            Event::Polled => {}
            Event::Assigned(owned) => self.assigned(owned)?,
            Event::Revoking(_) => {
                self.commit_last()?;
                self.release()?;
            }
            Event::Lost(_) => self.release()?,
        }
        if self.restoring {
            return self.restore();
        }
        let now = self.now();
        self.operator.tick(self.member.as_ref(), now)?;
        self.commit_if_due(now)
    }

    fn poll(&mut self, wait: Duration, now: i64) -> Result<Event, Error> {
        let operator = &mut *self.operator;
        let (mut records, mut handed_at) = (0, None);
        let event = self.member.poll(wait, &mut |batch| {
            handed_at.get_or_insert_with(SystemTime::now);
            records += batch.records.len();
            operator.fold(batch, now);
        })?;
        if let Some(at) = handed_at {
            operator.trace().handed(records, at);
        }
        Ok(event)
    }

    /// How long the poll may wait before a commit is due.
    fn wait(&self, now: i64) -> Duration {
        let left = match self.operator_due() {
            Due::Never => return POLL,
            Due::Now => 0,
            Due::AtInterval if self.interval_is_over(now) => 0,
            Due::AtInterval => self.config.commit_interval_ms - (now - self.last_commit),
        };
        Duration::from_millis(u64::try_from(left).unwrap_or(0))
    }

    fn interval_is_over(&self, now: i64) -> bool {
        is_over(now, self.last_commit, self.config.commit_interval_ms)
    }

    fn operator_due(&self) -> Due {
        if self.stalled.is_some() { Due::Never } else { self.operator.due() }
    }

    fn assigned(&mut self, owned: Vec<TopicPartition>) -> Result<(), Error> {
        tracing::info!(stage = self.operator.stage(), partitions = owned.len(), "assigned");
        self.status.restoring();
        self.operator.assign(&owned, self.now())?;
        self.owned = owned;
        self.stalled = None;
        self.restoring = true;
        Ok(())
    }

    fn restore(&mut self) -> Result<(), Error> {
        let Some(from) = self.operator.restore()? else { return Ok(()) };
        self.member.start(&from)?;
        self.restoring = false;
        self.last_commit = self.now();
        self.status.running();
        Ok(())
    }

    fn release(&mut self) -> Result<(), Error> {
        self.operator.discard();
        self.owned.clear();
        self.stalled = None;
        self.restoring = false;
        Ok(self.member.release()?)
    }

    fn commit_if_due(&mut self, now: i64) -> Result<(), Error> {
        let due = match (self.stalled, self.operator.due()) {
            (Some(since), _) => is_over(now, since, STALL_RETRY_MS),
            (None, Due::Never) => false,
            (None, Due::AtInterval) => self.interval_is_over(now),
            (None, Due::Now) => true,
        };
        if due { self.commit_or_stall() } else { Ok(()) }
    }

    fn commit_or_stall(&mut self) -> Result<(), Error> {
        match self.operator.prepare() {
            Ok(()) => {
                if self.stalled.take().is_some() {
                    self.member.pause(&self.owned, false)?;
                    self.status.running();
                }
                self.commit()
            }
            Err(error) if error.is_retriable() => {
                if self.stalled.is_none() {
                    self.member.pause(&self.owned, true)?;
                }
                tracing::warn!(stage = self.operator.stage(), %error, "reading is paused until the write goes through");
                self.status.stalled(&error.to_string());
                self.stalled = Some(self.now());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn commit(&mut self) -> Result<(), Error> {
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

    /// Commits what is folded, before the partitions are given up.
    fn commit_last(&mut self) -> Result<(), Error> {
        let nothing = self.restoring || self.stalled.is_some() || self.operator.due() == Due::Never;
        if nothing { Ok(()) } else { self.commit_or_stall() }
    }

    /// Commits what is folded and leaves, so that others take over at once.
    fn finish(mut self) -> Result<(), Error> {
        self.commit_last()?;
        Ok(self.member.leave()?)
    }
}

/// Whether `interval_ms` has gone by since `since`; also when the clock was set back, since nothing may wait for it to catch
/// up.
pub(crate) fn is_over(now: i64, since: i64, interval_ms: i64) -> bool {
    !(since..since.saturating_add(interval_ms)).contains(&now)
}

#[cfg(test)]
mod tests {
    use super::is_over;

    #[test]
    fn a_clock_set_back_ends_an_interval() {
        let facts = [(100, true), (99, false), (50, false), (49, true), (-1_000_000, true)];
        for (now, over) in facts {
            assert_eq!(is_over(now, 50, 50), over, "at {now}");
        }
    }
}
