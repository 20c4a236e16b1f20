//! Commits whose end is not decided yet, as Kafka's transactions are between their last record and their end marker. Only a
//! simulation leaves commits open; the embedded log decides each at once.
//!
//! What is behind an open commit in its partitions is written, and read by nobody until the commit has ended: the last
//! stable offset. An open commit is only in memory, so a crash aborts it.

use super::Inner;
use super::batch::Stored;
use super::commit::{By, Part, accept};
use super::state::{Accepted, State, StoredBatch, TopicNumber};
use crate::{Error, TopicPartition};

/// What becomes of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Course {
    /// It is written.
    Now,
    /// It stays open.
    Open {
        /// Whether its records have their offsets already; if not, they are appended when it ends well.
        appended: bool,
    },
}

/// A commit whose end is not decided yet.
pub(crate) struct Open {
    id: String,
    group: String,
    accepted: Accepted,
    /// Records without offsets yet.
    late: Vec<Part>,
    /// Partition and first offset of its batches.
    firsts: Vec<(TopicNumber, u32, i64)>,
    /// When it was left open, on the clock of the sessions.
    since_ms: u64,
}

impl State {
    /// Up to where a partition can be read that is durable up to `end`.
    pub(crate) fn readable(&self, topic: TopicNumber, partition: u32, end: i64) -> i64 {
        let firsts = self.open.iter().flat_map(|open| &open.firsts);
        let here = firsts.filter(|(t, p, _)| (*t, *p) == (topic, partition));
        here.map(|(_, _, first)| *first).min().map_or(end, |first| first.min(end))
    }
}

impl Inner {
    /// Keeps the commit as it is; its writer gets no definite answer.
    pub(crate) fn leave_open(
        &self,
        state: &mut State,
        by: &By<'_>,
        accepted: Accepted,
        late: Vec<Part>,
    ) -> Result<(), Error> {
        let first = |(topic, partition, last, stored): &StoredBatch| {
            Some((*topic, *partition, Stored::parse(*last, stored).ok()?.first))
        };
        let firsts = accepted.batches.iter().filter_map(first).collect();
        let (id, group, since_ms) = (by.id.to_owned(), by.group.to_owned(), self.elapsed_ms());
        state.open.push(Open { id, group, accepted, late, firsts, since_ms });
        Err(Error::Indefinite("no answer came in time".to_owned()))
    }

    pub(crate) fn has_open(&self) -> bool {
        !self.lock().open.is_empty()
    }

    /// The id of an open commit that moves the group on one of the partitions.
    pub(crate) fn open_of(&self, group: &str, partitions: &[TopicPartition]) -> Option<String> {
        let state = self.lock();
        let place = |wanted: &TopicPartition| Some((state.topics.number(&wanted.topic)?, wanted.partition));
        let wanted: Vec<_> = partitions.iter().filter_map(place).collect();
        let moves = |open: &&Open| {
            open.group == group
                && open.accepted.offsets.iter().any(|(_, topic, at, ..)| wanted.contains(&(*topic, *at)))
        };
        state.open.iter().find(moves).map(|open| open.id.clone())
    }

    /// Open commits move these groups nowhere any more.
    pub(crate) fn drop_open_offsets(&self, state: &mut State, groups: &[String]) {
        for open in &mut state.open {
            open.accepted.offsets.retain(|(group, ..)| !groups.contains(group));
        }
    }

    /// Ends the first open commit that `which` picks by its id and time; true when there was one.
    pub(crate) fn settle(&self, applied: bool, which: impl Fn(&str, u64) -> bool) -> Result<bool, Error> {
        let mut state = self.lock();
        let found = state.open.iter().position(|open| which(&open.id, open.since_ms));
        let Some(at) = found else { return Ok(false) };
        let Open { mut accepted, late, firsts, .. } = state.open.remove(at);
        // Topics may have been deleted since.
        accepted.batches.retain(|(topic, ..)| state.topics.at(*topic).is_some());
        accepted.offsets.retain(|(_, topic, ..)| state.topics.at(*topic).is_some());
        if applied {
            self.append(&mut state, late, (self.clock)(), &mut accepted);
            let ticket = accept(&mut state, accepted);
            state = self.wait_durable(state, ticket)?;
        }
        for &(topic, partition, _) in &firsts {
            let end = state.topics.partition(topic, partition).map_or(0, |p| p.next);
            let end = state.readable(topic, partition, end);
            if let Some(partition) = state.topics.partition_mut(topic, partition) {
                partition.durable = partition.durable.max(end);
            }
        }
        self.note_ends(&state, &firsts)?;
        Ok(true)
    }

    /// Makes the ends durable: the offsets of an aborted commit, this one or one behind it, are never given again.
    fn note_ends(&self, state: &State, places: &[(TopicNumber, u32, i64)]) -> Result<(), Error> {
        let mut write = self.storage.write();
        for &(topic, partition, _) in places {
            if let Some(p) = state.topics.partition(topic, partition) {
                write.put_mark(topic, partition, &p.mark());
            }
        }
        write.apply().and_then(|()| self.storage.sync()).map_err(Error::Retriable)
    }
}
