//! What a stage is made of beside its group, its polls and its commits.

use crate::Error;
use crate::trace::CommitTrace;
use tidemark_log::{Batch, GroupOffset, Member, Sink, TopicPartition};

/// When a commit is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// There is nothing to commit.
    Never,
    /// There is something: when the commit interval is over.
    AtInterval,
    /// At once: memory bound reached, a commit's worth is folded, or a marker or removals are owed.
    Now,
}

/// Records that were handed over and are not folded yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backlog {
    /// There are none.
    None,
    /// There are some: they are folded in the next steps, which should come soon.
    Some,
    /// There are so many that nothing more is to be read.
    Full,
}

/// How far what comes before a commit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prepared {
    /// All of it is done.
    Done,
    /// There is more to do.
    More,
}

/// What a stage does with what it reads. It is told what it owns, holds what it folded since the last commit, and hands
/// that over at the commit.
pub trait Operator: Send {
    /// Its name in metrics and logs.
    fn stage(&self) -> &'static str;

    /// Takes over partitions and begins to load their state. Everything owned before is gone. It takes no time: what has to be
    /// asked for is asked in [`Operator::restore`].
    fn assign(&mut self, owned: &[TopicPartition], now: i64) -> Result<(), Error>;

    /// Called again and again after [`Operator::assign`], polls of the member in between, until the state is loaded: then it
    /// gives the offset to start each partition at. A call takes a fraction of a second.
    fn restore(&mut self) -> Result<Option<Vec<(TopicPartition, i64)>>, Error>;

    /// Folds a batch in. It cannot fail: errors are kept for [`Operator::check`].
    fn fold(&mut self, batch: Batch<'_>, now: i64);

    /// What waits in it of the records that it was given. Whatever it says, it takes what it is given.
    fn backlog(&self) -> Backlog {
        Backlog::None
    }

    /// What [`Backlog::Full`] waits for, for people.
    fn waits_for(&self) -> &'static str {
        "reading waits until a checkpoint makes room in memory; see checkpoint_errors"
    }

    /// The trace that the next commit goes on with: fed by [`Operator::fold`], its header sent by [`Operator::produce`].
    fn trace(&mut self) -> &mut CommitTrace;

    /// The first error since the last call.
    fn check(&mut self) -> Result<(), Error>;

    /// Called after every poll: timers.
    fn tick(&mut self, member: &mut dyn Member, now: i64) -> Result<(), Error>;

    /// Whether a commit is wanted.
    fn due(&self) -> Due;

    /// What must be done outside the log before the commit. The first call begins it with what is folded, the next ones go on,
    /// polls of the member in between, until it is [`Prepared::Done`]; a call takes a fraction of a second. After a retriable
    /// error it is called again, for as long as it takes, while the member stays in its group. What is folded meanwhile belongs
    /// to the next commit, and at any moment [`Operator::offsets`] speaks only of what is prepared.
    fn prepare(&mut self, _now: i64) -> Result<Prepared, Error> {
        Ok(Prepared::Done)
    }

    /// Writes the commit's records.
    fn produce(&mut self, now: i64, sink: &mut dyn Sink) -> Result<(), tidemark_log::Error>;

    /// The commit's offsets: of every owned partition.
    fn offsets(&self, member: &dyn Member) -> Result<Vec<GroupOffset>, Error>;

    /// The commit went through.
    fn committed(&mut self, now: i64);

    /// Everything owned is gone: throws state away.
    fn discard(&mut self);

    /// The stage is about to end: the next commit is its last.
    fn stopping(&mut self) {}

    /// The last commit went through and the member has left its group: what can be done without it.
    fn left(&mut self) {}
}
