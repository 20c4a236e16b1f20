//! Reading: cursors over partitions, batches decoded into one reused buffer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fjall::Slice;

use super::Inner;
use super::batch::Stored;
use super::state::{State, TopicNumber, deleted_topic};
use crate::{Batch, Error, OnBatch, Reader, Record, TopicPartition};

/// Stored bytes read from one partition before the next one has its turn.
const TURN_BYTES: usize = 1024 * 1024;
/// Stored bytes handed over by one poll, but for the rest of the turn that reaches it.
const POLL_BYTES: usize = 4 * 1024 * 1024;

/// Where a partition is read.
#[derive(Debug)]
pub(crate) struct Cursor {
    pub(crate) place: TopicPartition,
    pub(crate) topic: TopicNumber,
    pub(crate) position: i64,
    pub(crate) paused: bool,
}

/// Reads partitions in turns.
#[derive(Debug, Default)]
pub(crate) struct Fetcher {
    pub(crate) cursors: Vec<Cursor>,
    /// Whose turn is first in the next fetch.
    turn: usize,
    /// Always empty between batches; kept for its memory.
    records: Vec<Record<'static>>,
    /// Cursor and durable end of each partition that has something to read.
    ready: Vec<(usize, i64)>,
    /// Most records of one partition that a poll hands over, for a simulation of small polls.
    pub(crate) records_max: Option<usize>,
}

impl Fetcher {
    pub(crate) fn find(&self, place: &TopicPartition) -> Result<&Cursor, Error> {
        let found = self.cursors.iter().find(|c| c.place == *place);
        found.ok_or_else(|| Error::Invalid(format!("{place} is not being read here: start it first")))
    }

    /// Notes which partitions have something to read; true when any has.
    pub(crate) fn look(&mut self, state: &State) -> Result<bool, Error> {
        self.ready.clear();
        let n = self.cursors.len();
        for i in 0..n {
            let i = (self.turn + i) % n;
            let Some(cursor) = self.cursors.get(i).filter(|c| !c.paused) else {
                continue;
            };
            let Some(partition) = state.topics.partition(cursor.topic, cursor.place.partition) else {
                return Err(deleted_topic(&cursor.place.topic));
            };
            check_kept(cursor, partition.start)?;
            if cursor.position > partition.next {
                let Cursor { place, position, .. } = cursor;
                return Err(Error::Invalid(format!(
                    "offset {position} of {place} is past its end, {}",
                    partition.next
                )));
            }
            if cursor.position < partition.durable {
                self.ready.push((i, partition.durable));
            }
        }
        Ok(!self.ready.is_empty())
    }

    /// Hands over what [`Self::look`] found, up to the bound of a poll.
    pub(crate) fn fetch(&mut self, inner: &Inner, on_batch: OnBatch<'_>) -> Result<(), Error> {
        let mut bytes = 0;
        for (index, end) in std::mem::take(&mut self.ready) {
            let Some(cursor) = self.cursors.get_mut(index) else {
                continue;
            };
            bytes += read_turn(inner, cursor, end, self.records_max, &mut self.records, on_batch)?;
            self.turn = index + 1;
            if bytes >= POLL_BYTES {
                break;
            }
        }
        Ok(())
    }
}

/// Hands over one partition's next batches below `end`; returns their stored bytes.
fn read_turn(
    inner: &Inner,
    cursor: &mut Cursor,
    end: i64,
    records_max: Option<usize>,
    buffer: &mut Vec<Record<'static>>,
    on_batch: OnBatch<'_>,
) -> Result<usize, Error> {
    let place = cursor.place.clone();
    let mut batches = inner.storage.batches(cursor.topic, &place, cursor.position, end);
    // Retention moves the start before it deletes: batches that were there when the iterator was made are whole if the
    // start is still not past the position now, and the topic still in the list.
    let start = inner.lock().topics.partition(cursor.topic, place.partition).map(|p| p.start);
    let start = start.ok_or_else(|| deleted_topic(&place.topic))?;
    check_kept(cursor, start)?;
    let mut bytes = 0;
    while bytes < TURN_BYTES {
        let Some(batch) = batches.next().transpose()? else {
            // Past what compaction has left out at the end.
            cursor.position = end;
            break;
        };
        bytes += batch.1.len();
        hand_over(inner, cursor, &batch, records_max, buffer, on_batch)?;
        if records_max.is_some() {
            break;
        }
    }
    Ok(bytes)
}

fn hand_over(
    inner: &Inner,
    cursor: &mut Cursor,
    (last, bytes): &(i64, Slice),
    records_max: Option<usize>,
    buffer: &mut Vec<Record<'static>>,
    on_batch: OnBatch<'_>,
) -> Result<(), Error> {
    let mut records = recycle(std::mem::take(buffer));
    let decoded = Stored::parse(*last, bytes).and_then(|batch| batch.records(&mut records));
    decoded.map_err(|e| inner.storage.corrupt_batch(&cursor.place, *last, e))?;
    let read = records.partition_point(|r| r.offset < cursor.position);
    let cut = read.saturating_add(records_max.unwrap_or(usize::MAX)).min(records.len());
    if let Some(records @ [_, ..]) = records.get(read..cut) {
        on_batch(Batch { topic: &cursor.place.topic, partition: cursor.place.partition, records });
    }
    cursor.position = records.get(cut).map_or(last + 1, |next| next.offset);
    *buffer = recycle(records);
    Ok(())
}

/// The same memory for records of another batch: collecting an emptied vector into one of equal layout reuses it.
#[allow(clippy::unnecessary_filter_map)] // It maps from one lifetime to another.
fn recycle<'b>(mut records: Vec<Record<'_>>) -> Vec<Record<'b>> {
    records.clear();
    records.into_iter().filter_map(|_| None).collect()
}

fn check_kept(cursor: &Cursor, start: i64) -> Result<(), Error> {
    match cursor.position < start {
        true => Err(Error::OffsetGone { partition: cursor.place.clone(), wanted: cursor.position, start }),
        false => Ok(()),
    }
}

/// Reads given partitions without a group.
pub(crate) struct EmbeddedReader {
    inner: Arc<Inner>,
    fetcher: Fetcher,
}

impl EmbeddedReader {
    pub(crate) fn new(inner: Arc<Inner>, from: &[(TopicPartition, i64)]) -> Result<Self, Error> {
        let cursors = cursors(&inner.lock(), from)?;
        Ok(Self { inner, fetcher: Fetcher { cursors, ..Fetcher::default() } })
    }
}

/// Cursors at the given offsets.
pub(crate) fn cursors(state: &State, from: &[(TopicPartition, i64)]) -> Result<Vec<Cursor>, Error> {
    let cursor = |(place, position): &(TopicPartition, i64)| {
        let (topic, _) = state.topics.find(place)?;
        Ok(Cursor { place: place.clone(), topic, position: *position, paused: false })
    };
    from.iter().map(cursor).collect()
}

impl EmbeddedReader {
    /// Hands over at most so many records of a partition in a poll, or without bound.
    pub(crate) fn read_at_most(&mut self, records: Option<usize>) {
        self.fetcher.records_max = records;
    }
}

impl Reader for EmbeddedReader {
    fn poll(&mut self, timeout: Duration, on_batch: OnBatch<'_>) -> Result<(), Error> {
        let until = self.inner.poll_until(timeout);
        let mut state = self.inner.lock();
        while !self.fetcher.look(&state)? {
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(());
            }
            state = self.inner.wait(state, until);
        }
        drop(state);
        self.fetcher.fetch(&self.inner, on_batch)
    }

    fn position(&self, partition: &TopicPartition) -> Result<i64, Error> {
        self.fetcher.find(partition).map(|c| c.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recycled_buffer_keeps_its_memory() {
        let records: Vec<Record<'_>> = Vec::with_capacity(1000);
        let before = records.as_ptr() as usize;
        let again: Vec<Record<'static>> = recycle(records);
        assert_eq!((again.as_ptr() as usize, again.capacity()), (before, 1000));
    }
}
