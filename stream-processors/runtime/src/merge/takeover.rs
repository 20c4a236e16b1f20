//! Takes partitions over: the stable offset, then the state, then a look whether the two belong together.

use super::{MergeStage, Owned};
use crate::held::{Origin, is_committed};
use crate::restore::Means;
use crate::{Error, Plan};
use std::time::{Duration, Instant};
use tidemark_core::merge::MergeFold;
use tidemark_core::{Accumulator, Job};
use tidemark_log::{At, GroupOffset, Log, TopicPartition};
use tidemark_schemas::engine::SourceProgress;

/// How long the transaction of a predecessor may stay open. Brokers end one after its timeout, which is shorter.
const UNSTABLE_MAX: Duration = Duration::from_secs(120);

/// How far it is.
#[derive(Debug, Clone)]
pub(super) enum Takeover {
    /// The stable offsets are to be fetched: asked since.
    Fetching(Instant),
    /// The state of these merge partitions is being restored.
    Restoring(Vec<u32>),
    /// The state is there and right.
    Restored,
    /// Nothing is under way.
    Done,
}

impl Takeover {
    pub(super) fn begin() -> Self {
        Self::Fetching(Instant::now())
    }
}

impl<J: Job> MergeStage<J> {
    /// Goes on for a moment; true once the partitions can be read.
    pub(super) fn take_over(&mut self) -> Result<bool, Error> {
        match self.takeover.clone() {
            Takeover::Fetching(since) => self.fetch(since)?,
            Takeover::Restoring(partitions) => {
                if self.restore_some(&partitions)? {
                    self.verify()?;
                }
            }
            Takeover::Restored => {
                if stable(self.skip_what_is_gone())?.is_some() {
                    self.takeover = Takeover::Done;
                }
            }
            Takeover::Done => {}
        }
        Ok(matches!(self.takeover, Takeover::Done))
    }

    /// First the stable fetch, then the ends of the changelog: the other way round, a commit of the predecessor that is still
    /// open would come after the end and before the offset, and its changes would be missing for ever.
    fn fetch(&mut self, since: Instant) -> Result<(), Error> {
        let fetched = self.fetch_committed();
        if since.elapsed() > UNSTABLE_MAX {
            fetched.as_ref().map_err(Clone::clone)?;
        }
        let Some(committed) = stable(fetched)? else { return Ok(()) };
        for (owned, at) in self.owned.iter_mut().zip(committed) {
            (owned.next_offset, owned.metadata) = at.map_or((0, String::new()), |at| (at.offset, at.metadata));
        }
        self.begin_restore(self.owned.iter().map(|owned| owned.held.partition).collect())
    }

    fn fetch_committed(&self) -> Result<Vec<Option<GroupOffset>>, Error> {
        let partitions: Vec<TopicPartition> = self.owned.iter().map(|owned| owned.partition.clone()).collect();
        Ok(self.log.committed(&self.plan.group("merge"), &partitions)?)
    }

    fn begin_restore(&mut self, partitions: Vec<u32>) -> Result<(), Error> {
        self.restore.begin(self.log.as_ref(), &self.plan, &partitions)?;
        self.takeover = Takeover::Restoring(partitions);
        Ok(())
    }

    fn restore_some(&mut self, partitions: &[u32]) -> Result<bool, Error> {
        let held = self.owned.iter_mut().map(|owned| &mut owned.held);
        let mut held: Vec<_> = held.filter(|held| partitions.contains(&held.partition)).collect();
        let (log, plan, metrics) = (self.log.as_ref(), self.plan.as_ref(), self.metrics.as_ref());
        let means =
            Means { log, plan, dir: self.dir.as_ref(), standby: self.standby.as_deref(), metrics, now: self.now };
        self.restore.step(&means, &mut held)
    }

    /// Holds the state against what was committed with the offsets. What differs is restored again from the changelog alone.
    fn verify(&mut self) -> Result<(), Error> {
        let wrong: Vec<(u32, String)> = self.owned.iter_mut().filter_map(Owned::mismatch).collect();
        let Some((partition, reason)) = wrong.first() else {
            self.takeover = Takeover::Restored;
            return Ok(());
        };
        self.still_ours()?;
        let mut again = Vec::new();
        let starts = self.log.offsets(&crate::restore::changelog(&self.plan, &partitions(&wrong)), At::Start)?;
        for ((partition, reason), start) in wrong.iter().zip(starts) {
            let of = |owned: &&mut Owned<J::Accumulator>| owned.held.partition == *partition;
            if let Some(owned) = self.owned.iter_mut().find(of).filter(|owned| owned.held.origin != Origin::Changelog) {
                owned.held.reset(&self.plan, start, reason, &self.metrics);
                again.push(*partition);
            }
        }
        if again.is_empty() {
            let (partition, reason) = (*partition, reason.clone());
            return Err(Error::Changelog { topic: self.plan.changelog.clone(), partition, reason });
        }
        self.begin_restore(again)
    }

    /// Whether the offsets are where they were: if not, somebody else has the partitions by now.
    fn still_ours(&self) -> Result<(), Error> {
        let committed = self.fetch_committed()?;
        let same = self.owned.iter().zip(&committed).all(|(owned, at)| {
            let (offset, metadata) = at.as_ref().map_or((0, ""), |at| (at.offset, at.metadata.as_str()));
            (owned.next_offset, owned.metadata.as_str()) == (offset, metadata)
        });
        let moved = || tidemark_log::Error::Retriable("somebody else has committed during the restore".into());
        if same { Ok(()) } else { Err(moved().into()) }
    }

    /// Moves on to the start of the log where retention has deleted partials beyond the committed offset, if that lost
    /// nothing: the state has then folded every source offset that the partial stage ever committed, and what is gone were
    /// control markers. If it has not, the start fails on the missing offset.
    fn skip_what_is_gone(&mut self) -> Result<(), Error> {
        let partitions: Vec<TopicPartition> = self.owned.iter().map(|owned| owned.partition.clone()).collect();
        let starts = self.log.offsets(&partitions, At::Start)?;
        for (owned, start) in self.owned.iter_mut().zip(starts) {
            if owned.next_offset < start && all_folded(self.log.as_ref(), &self.plan, &owned.held.fold)? {
                tracing::info!(
                    partition = owned.partition.partition,
                    from = owned.next_offset,
                    to = start,
                    "skipped what retention deleted"
                );
                owned.next_offset = start;
            }
        }
        Ok(())
    }
}

impl<A: Accumulator> Owned<A> {
    /// Why the state that was restored is not the one that was committed.
    fn mismatch(&mut self) -> Option<(u32, String)> {
        let whole = self.held.restored();
        let committed = || {
            let differs = "its state is not the one that was committed with the group's offset".to_owned();
            if is_committed(&self.held.fold, &self.metadata) { Ok(()) } else { Err(differs) }
        };
        whole.and_then(|()| committed()).err().map(|reason| (self.held.partition, reason))
    }
}

fn partitions(wrong: &[(u32, String)]) -> Vec<u32> {
    wrong.iter().map(|(partition, _)| *partition).collect()
}

/// None while a transaction of a predecessor is open: ask again.
fn stable<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Error::Log(tidemark_log::Error::Unstable(_))) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a fold's state covers all that the partial stage has committed.
fn all_folded<A: Accumulator>(log: &dyn Log, plan: &Plan, fold: &MergeFold<A>) -> Result<bool, Error> {
    let sources = fold.progress().sources;
    let partition = |source: &SourceProgress| TopicPartition::new(source.topic.as_str(), source.partition as u32);
    let partitions: Vec<TopicPartition> = sources.iter().map(partition).collect();
    let committed = log.committed(&plan.group("partial"), &partitions)?;
    let covered =
        |(source, at): (&SourceProgress, Option<GroupOffset>)| at.is_some_and(|at| at.offset == source.next_offset);
    Ok(!sources.is_empty() && sources.iter().zip(committed).all(covered))
}
