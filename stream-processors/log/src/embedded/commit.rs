//! The way of a commit: gathered without a lock, given its offsets under the lock, then made durable by a leader that
//! writes and syncs for everybody who waits (group commit).
//!
//! Only what is durable is read by anybody, so a crash takes nothing back that somebody has seen.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard};

use super::Inner;
use super::batch::Encoder;
use super::layout::StoredOffset;
use super::open::Course;
use super::state::{Accepted, State, TopicNumber, deleted_topic, no_partition, no_topic};
use super::topic::compacts;
use crate::{Error, GroupOffset, Outgoing, Produce, Sink, TopicPartition, failpoint};

/// Most bytes of a record, its headers included: Kafka's default for a message.
const RECORD_BYTES_MAX: usize = 1024 * 1024;
/// A stored batch is closed beyond it, so that readers take a partition in small bites.
const BATCH_BYTES: usize = 256 * 1024;
/// Most bytes of the metadata of an offset: Kafka's limit is 4,096 with its own framing.
const METADATA_BYTES_MAX: usize = 4_000;

/// The records of one commit, by partition.
struct Gathering<'i> {
    inner: &'i Inner,
    parts: Vec<Part>,
    places: HashMap<(TopicNumber, u32), usize>,
    topics: Vec<Known>,
}

pub(crate) struct Part {
    topic: TopicNumber,
    partition: u32,
    batches: Vec<Encoder>,
}

/// Whose commit it is, and where it moves the group.
pub(crate) struct By<'b> {
    pub(crate) id: &'b str,
    /// Empty without offsets.
    pub(crate) group: &'b str,
    pub(crate) offsets: &'b [GroupOffset],
}

/// A topic as it was when this commit first wrote to it.
struct Known {
    name: Arc<str>,
    number: TopicNumber,
    partitions: u32,
    keyed: bool,
}

impl Sink for Gathering<'_> {
    fn send(&mut self, record: Outgoing<'_>) -> Result<(), Error> {
        check_size(&record)?;
        let part = self.part(&record)?;
        if part.batches.last().is_none_or(|b| b.len() >= BATCH_BYTES) {
            part.batches.push(Encoder::new());
        }
        if let Some(batch) = part.batches.last_mut() {
            batch.push(record.key, record.value, record.headers);
        }
        Ok(())
    }
}

impl Gathering<'_> {
    fn part(&mut self, record: &Outgoing<'_>) -> Result<&mut Part, Error> {
        let known = self.known(record.topic)?;
        let (number, partitions, keyed) = (known.number, known.partitions, known.keyed);
        if record.partition >= partitions {
            return Err(no_partition(&TopicPartition::new(record.topic, record.partition), partitions));
        }
        if keyed && record.key.is_none() {
            let topic = record.topic;
            return Err(Error::Invalid(format!(
                "a record for {topic} has no key: a compacted topic keeps records by key"
            )));
        }
        let place = (number, record.partition);
        let index = *self.places.entry(place).or_insert(self.parts.len());
        if index == self.parts.len() {
            self.parts.push(Part { topic: number, partition: record.partition, batches: Vec::new() });
        }
        // Always there: the index was looked up or made above.
        self.parts.get_mut(index).ok_or_else(|| no_topic(record.topic))
    }

    /// A commit writes to few topics, so a linear search beats a hash of the name for each record.
    fn known(&mut self, name: &str) -> Result<&Known, Error> {
        let index = match self.topics.iter().position(|t| *t.name == *name) {
            Some(index) => index,
            None => {
                let state = self.inner.lock();
                let number = state.topics.number(name).ok_or_else(|| no_topic(name))?;
                let topic = state.topics.at(number).ok_or_else(|| no_topic(name))?;
                let (partitions, keyed) = (topic.spec.partitions, compacts(topic.spec.cleanup));
                self.topics.push(Known { name: topic.name.clone(), number, partitions, keyed });
                self.topics.len() - 1
            }
        };
        self.topics.get(index).ok_or_else(|| no_topic(name))
    }
}

fn check_size(record: &Outgoing<'_>) -> Result<(), Error> {
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    let bytes = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len) + headers;
    if bytes > RECORD_BYTES_MAX {
        let topic = record.topic;
        return Err(Error::Invalid(format!("a record for {topic} has {bytes} bytes: at most {RECORD_BYTES_MAX} fit")));
    }
    Ok(())
}

/// Refuses offsets that cannot be kept.
pub(crate) fn check_offsets(offsets: &[GroupOffset]) -> Result<(), Error> {
    for GroupOffset { partition, offset, metadata } in offsets {
        if *offset < 0 {
            return Err(Error::Invalid(format!("offset {offset} of {partition} is negative")));
        }
        if metadata.len() > METADATA_BYTES_MAX {
            let bytes = metadata.len();
            return Err(Error::Invalid(format!(
                "the metadata of {partition} has {bytes} bytes: at most {METADATA_BYTES_MAX} fit"
            )));
        }
    }
    Ok(())
}

impl Inner {
    /// Commits the records of `produce` and the offsets of the group, if `allowed` says so under the lock that gives the
    /// offsets. Returns once durable; a simulation may leave the commit open instead.
    pub(crate) fn commit(
        &self,
        course: Course,
        by: By<'_>,
        produce: Produce<'_>,
        allowed: impl FnOnce(&mut State) -> Result<(), Error>,
    ) -> Result<(), Error> {
        check_offsets(by.offsets)?;
        let mut gathering = Gathering { inner: self, parts: Vec::new(), places: HashMap::new(), topics: Vec::new() };
        produce(&mut gathering)?;
        let Gathering { parts, topics, .. } = gathering;
        let now = (self.clock)();
        let mut state = self.lock();
        allowed(&mut state)?;
        if let Some(gone) = topics.iter().find(|topic| state.topics.at(topic.number).is_none()) {
            return Err(deleted_topic(&gone.name));
        }
        let mut accepted = Accepted::default();
        for offset in by.offsets {
            accepted.offsets.push(stored_offset(&state, by.group, offset)?);
        }
        self.check_failed(&state)?;
        match course {
            Course::Now => self.append(&mut state, parts, now, &mut accepted),
            Course::Open { appended: true } => {
                self.append(&mut state, parts, now, &mut accepted);
                return self.leave_open(&mut state, &by, accepted, Vec::new());
            }
            Course::Open { appended: false } => return self.leave_open(&mut state, &by, accepted, parts),
        }
        let ticket = accept(&mut state, accepted);
        self.wait_durable(state, ticket).map(drop)
    }

    /// Gives the records their offsets and time.
    pub(crate) fn append(&self, state: &mut State, parts: Vec<Part>, now: i64, accepted: &mut Accepted) {
        let markers = u32::from(self.simulation.is_some());
        parts.into_iter().for_each(|part| append(state, part, now, markers, accepted));
    }

    /// Nothing was accepted yet, so the failure is definite.
    pub(crate) fn check_failed(&self, state: &State) -> Result<(), Error> {
        match &state.queue.failed {
            Some(why) => Err(Error::Retriable(why.clone())),
            None => Ok(()),
        }
    }

    /// Waits until the first `ticket` commits are durable, writing them if nobody else does.
    pub(crate) fn wait_durable<'i>(
        &'i self,
        mut state: MutexGuard<'i, State>,
        ticket: u64,
    ) -> Result<MutexGuard<'i, State>, Error> {
        loop {
            if state.queue.durable >= ticket {
                return Ok(state);
            }
            if let Some(why) = &state.queue.failed {
                return Err(Error::Indefinite(why.clone()));
            }
            state = match state.queue.led {
                true => self.wait(state, None),
                false => self.lead(state),
            };
        }
    }

    fn lead<'i>(&'i self, mut state: MutexGuard<'i, State>) -> MutexGuard<'i, State> {
        state.queue.led = true;
        let work = std::mem::take(&mut state.queue.pending);
        let ticket = state.queue.accepted;
        drop(state);
        let mut lead = Lead { inner: self, outcome: Err("the thread that wrote to the log panicked".to_owned()) };
        lead.outcome = self.write(work).map(|ends| (ticket, ends));
        drop(lead);
        self.lock()
    }

    fn write(&self, work: Vec<Accepted>) -> Result<Vec<End>, String> {
        let mut write = self.storage.write();
        let mut ends = Vec::new();
        for accepted in work {
            for (topic, partition, last, stored) in accepted.batches {
                write.put_batch(topic, partition, last, stored);
                ends.push((topic, partition, last + 1));
            }
            accepted.offsets.iter().for_each(|offset| write.put_offset(offset));
        }
        write.apply()?;
        failpoint::hit("embedded-written", "");
        self.storage.sync()?;
        failpoint::hit("embedded-synced", "");
        Ok(ends)
    }
}

/// A partition and its end once a write is durable.
type End = (TopicNumber, u32, i64);

/// Ends a leader's turn whatever happens, lest everybody else waits for ever.
struct Lead<'i> {
    inner: &'i Inner,
    outcome: Result<(u64, Vec<End>), String>,
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut state = self.inner.lock();
        state.queue.led = false;
        match &self.outcome {
            Ok((ticket, ends)) => {
                state.queue.durable = *ticket;
                for &(topic, partition, end) in ends {
                    let end = state.readable(topic, partition, end);
                    if let Some(partition) = state.topics.partition_mut(topic, partition) {
                        partition.durable = partition.durable.max(end);
                    }
                }
            }
            Err(why) => state.queue.failed = Some(why.clone()),
        }
        self.inner.changed.notify_all();
    }
}

/// The form of an offset on disk.
pub(crate) fn stored_offset(state: &State, group: &str, offset: &GroupOffset) -> Result<StoredOffset, Error> {
    let (number, _) = state.topics.find(&offset.partition)?;
    Ok((group.to_owned(), number, offset.partition.partition, offset.offset, offset.metadata.clone()))
}

/// Gives the records of one partition their offsets and time; the last batch takes `markers` offsets more.
fn append(state: &mut State, part: Part, now: i64, markers: u32, accepted: &mut Accepted) {
    let Some(partition) = state.topics.partition_mut(part.topic, part.partition) else {
        return;
    };
    partition.append_time = partition.append_time.max(now);
    let mut left = part.batches.len();
    for batch in part.batches {
        left -= 1;
        let span = batch.records().saturating_sub(1) + if left == 0 { markers } else { 0 };
        let last = partition.next + i64::from(span);
        partition.next = last + 1;
        accepted.batches.push((part.topic, part.partition, last, batch.seal(partition.append_time, 0, span)));
    }
}

/// Queues a commit; returns its ticket.
pub(crate) fn accept(state: &mut State, accepted: Accepted) -> u64 {
    for (group, topic, partition, offset, metadata) in &accepted.offsets {
        let group = state.offsets.entry(group.clone()).or_default();
        group.insert((*topic, *partition), (*offset, metadata.clone()));
    }
    state.queue.pending.push(accepted);
    state.queue.accepted += 1;
    state.queue.accepted
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
