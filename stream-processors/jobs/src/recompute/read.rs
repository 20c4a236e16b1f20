//! Reading the offsets again: one source partition after the other, so that each stops at its own end.

use super::Error;
use super::fold::{At, Fold, Partition};
use super::scope::{Source, Span};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemark_core::join::TABLE_BEHIND;
use tidemark_core::{Input, Job, Reject};
use tidemark_log::{Batch, Log, TopicPartition};
use tidemark_schemas::catalog::Schema;
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire;

/// How long a poll waits.
const POLL: Duration = Duration::from_millis(100);
/// How long reading may stand still before the log counts as stuck.
const STALL: Duration = Duration::from_secs(30);

/// The log, by source.
pub(super) struct Records<'r, J> {
    pub(super) job: &'r J,
    pub(super) log: &'r dyn Log,
    pub(super) registry: Arc<dyn Registry>,
    pub(super) schemas: Arc<[Schema]>,
}

/// Why a record is dead-lettered that does not come as far as the job.
fn unreadable(error: &wire::Error) -> Reject {
    Reject { rule: "unreadable", detail: error.to_string() }
}

pub(super) fn partition_of((topic, partition): &Source) -> Result<TopicPartition, Error> {
    let number =
        u32::try_from(*partition).map_err(|_| Error::Ledger(format!("it names partition {partition} of {topic}")))?;
    Ok(TopicPartition::new(topic.as_str(), number))
}

impl<J: Job> Records<'_, J> {
    /// One offset of a partition.
    pub(super) fn offset(&self, source: &Source, at: tidemark_log::At) -> Result<i64, Error> {
        let offsets = self.log.offsets(&[partition_of(source)?], at)?;
        Ok(offsets.first().copied().unwrap_or(0))
    }

    /// Append time of the first record at or after an offset that is there.
    pub(super) fn appended_at(&self, source: &Source, offset: i64) -> Result<Option<i64>, Error> {
        let mut first = None;
        self.each(source, offset, offset, &mut |batch| {
            first = first.or(batch.records.first().map(|record| record.timestamp));
            true
        })?;
        Ok(first)
    }

    /// Reads `[from, last]` until `on_batch` says no; batches may go on after it.
    fn each(
        &self,
        source: &Source,
        from: i64,
        last: i64,
        on_batch: &mut dyn FnMut(&Batch<'_>) -> bool,
    ) -> Result<(), Error> {
        let partition = partition_of(source)?;
        let end = self.offset(source, tidemark_log::At::StableEnd)?;
        if end <= last {
            let what =
                format!("it names offset {last} of {partition}, but that ends at {end}: the topic is another one");
            return Err(Error::Ledger(what));
        }
        let mut reader = self.log.reader(&[(partition.clone(), from)])?;
        let (mut position, mut moved, mut wanted) = (from, Instant::now(), true);
        while wanted && position <= last {
            reader.poll(POLL, &mut |batch| wanted = wanted && on_batch(&batch))?;
            let now_at = reader.position(&partition)?;
            if now_at > position {
                (position, moved) = (now_at, Instant::now());
            } else if moved.elapsed() > STALL {
                let what = format!("{partition} has stood at offset {position} of {last} for {} s", STALL.as_secs());
                return Err(tidemark_log::Error::Retriable(what).into());
            }
        }
        Ok(())
    }

    /// Folds `[from, span.last]`; `tick` is told of offsets and records done, and says whether to go on.
    pub(super) fn fold(
        &self,
        span: &Span,
        from: i64,
        partition: &mut Partition,
        fold: &mut Fold<'_, J::Accumulator>,
        tick: &mut dyn FnMut(i64, i64) -> bool,
    ) -> Result<(), Error> {
        let topic = self.job.spec().sources.iter().position(|topic| *topic == span.source.0);
        let topic =
            topic.ok_or_else(|| Error::Ledger(format!("it names {}, which is no source of the job", span.source.0)))?;
        let mut decoder = wire::Decoder::new(Arc::clone(&self.registry), Arc::clone(&self.schemas));
        let (mut scratch, mut key) = (Vec::new(), Vec::new());
        let (mut failed, mut cancelled, mut done) = (None, false, from);
        self.each(&span.source, from, span.last, &mut |batch| {
            let records = batch.records.iter().take_while(|record| record.offset <= span.last);
            let mut count = 0;
            for record in records {
                let at = At { offset: record.offset, appended_at: record.timestamp };
                key.clear();
                match decoder.datum(record.value.unwrap_or_default(), &mut scratch) {
                    Ok((schema, datum)) => {
                        let At { offset, appended_at } = at;
                        let input = Input { schema, topic, partition: batch.partition, offset, appended_at, datum };
                        match self.job.read(input, &mut key) {
                            Err(reject) if reject.rule == TABLE_BEHIND => {
                                failed = Some(Error::Tables(reject.detail));
                                return false;
                            }
                            read => fold.record(partition, at, read),
                        }
                    }
                    Err(error @ wire::Error::Registry(_)) => {
                        failed = Some(Error::Registry(error));
                        return false;
                    }
                    Err(error) => fold.record(partition, at, Err(unreadable(&error))),
                }
                count += 1;
            }
            let next = batch.records.last().map_or(done, |record| record.offset.min(span.last) + 1);
            cancelled = !tick(next - done, count);
            done = next;
            !cancelled
        })?;
        match (failed, cancelled) {
            (Some(error), _) => Err(error),
            (None, true) => Err(Error::Cancelled),
            (None, false) => Ok(()),
        }
    }
}
