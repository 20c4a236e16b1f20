//! Which offset of a partition is asked for.

use super::Inner;
use super::batch::Stored;
use super::state::TopicNumber;
use crate::{At, Error, TopicPartition};

impl Inner {
    /// The offset of the partition at the given place.
    pub(crate) fn offset(&self, place: &TopicPartition, at: At) -> Result<i64, Error> {
        let state = self.lock();
        let (topic, partition) = state.topics.find(place)?;
        let (start, end) = (partition.start, partition.durable);
        match (at, partition.offset(at)) {
            (_, Some(offset)) => Ok(offset),
            (At::Time(time), _) => {
                drop(state);
                self.first_at(topic, place, time, start, end)
            }
            _ => Ok(end),
        }
    }

    /// The first record in `[start, end)` appended at or after `time`, else `end`. Append times never go back within a
    /// partition, so the batches are searched by halves.
    fn first_at(
        &self,
        topic: TopicNumber,
        place: &TopicPartition,
        time: i64,
        start: i64,
        end: i64,
    ) -> Result<i64, Error> {
        let (mut low, mut high) = (start, end);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.next_batch(topic, place, middle, end)? {
                Some(batch) if batch.append_time < time => low = batch.last + 1,
                Some(_) | None => high = middle,
            }
        }
        Ok(self.next_batch(topic, place, low, end)?.map_or(end, |batch| batch.first_record.max(low)))
    }

    fn next_batch(
        &self,
        topic: TopicNumber,
        place: &TopicPartition,
        from: i64,
        end: i64,
    ) -> Result<Option<Found>, Error> {
        let Some((last, bytes)) = self.storage.batches(topic, place, from, end).next().transpose()? else {
            return Ok(None);
        };
        let mut records = Vec::new();
        let parsed = Stored::parse(last, &bytes).and_then(|batch| batch.records(&mut records).map(|()| batch));
        let batch = parsed.map_err(|e| self.storage.corrupt_batch(place, last, e))?;
        let first_record = records.first().map_or(last, |r| r.offset);
        Ok(Some(Found { append_time: batch.append_time, first_record, last }))
    }
}

struct Found {
    append_time: i64,
    first_record: i64,
    last: i64,
}
