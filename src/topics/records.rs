//! What is on a topic: its last records, or those that were appended in a time. No group is touched.
//!
//! Promise: the records are those of one moment, up to the stable ends of the partitions, in the order in which they were
//! appended: by append time, then partition and offset; within a partition always by offset. What does not fit the bounds is left
//! out at one end, and [`Found::cut`] says so.
//!
//! Limits: [`RECORDS_MAX`] and [`BYTES_MAX`] for what is held, [`TIME_MAX`] for reading it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidemark_log::{At, Error, Log, TopicPartition};

/// Most records of one answer.
pub const RECORDS_MAX: usize = 1_000_000;
/// Most bytes of keys and values of one answer.
pub const BYTES_MAX: usize = 64 << 20;
/// Longest time that reading takes.
pub const TIME_MAX: Duration = Duration::from_secs(60);

/// How long a poll waits.
const POLL: Duration = Duration::from_millis(50);
/// Memory of a record besides its key and value, about.
const RECORD_BYTES: usize = 128;
/// A partition that has fewer records than offsets is read from so many times further back.
const WIDER: i64 = 4;

/// Which records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The last ones.
    Last,
    /// The first ones that were appended from one time on and before another, milliseconds.
    Between(i64, i64),
}

/// A record as it is on the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Partition.
    pub partition: u32,
    /// Offset.
    pub offset: i64,
    /// Append time, milliseconds.
    pub appended_at: i64,
    /// Key, if any.
    pub key: Option<Vec<u8>>,
    /// Value; none deletes.
    pub value: Option<Vec<u8>>,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// In the order in which they were appended.
    pub entries: Vec<Entry>,
    /// Partitions of the topic.
    pub partitions: u32,
    /// What was asked for and is left out, and why.
    pub cut: Option<String>,
}

/// Offsets done, of so many; false gives up.
pub type OnProgress<'p> = &'p mut dyn FnMut(i64, i64) -> bool;

/// Reads at most `limit` records of a topic; `None` when there is no such topic. Blocks up to [`TIME_MAX`].
///
/// # Errors
/// The log does not answer, it takes too long, or `on_progress` gives up.
pub fn read(
    log: &dyn Log,
    topic: &str,
    which: Which,
    limit: usize,
    on_progress: OnProgress<'_>,
) -> Result<Option<Found>, Error> {
    let Some(count) = log.partitions(topic)? else { return Ok(None) };
    let partitions: Vec<TopicPartition> = (0..count).map(|partition| TopicPartition::new(topic, partition)).collect();
    let (starts, ends) = (log.offsets(&partitions, At::Start)?, log.offsets(&partitions, At::StableEnd)?);
    let limit = limit.clamp(1, RECORDS_MAX);
    let mut kept = Kept { entries: BTreeMap::new(), bytes: 0, cut: None, which, limit };
    let mut reading = Reading { log, until: Instant::now() + TIME_MAX, on_progress };
    let mut spans: Vec<Span<'_>> = partitions
        .iter()
        .zip(starts.into_iter().zip(ends))
        .map(|(partition, (start, end))| Span { partition, start, from: start, end })
        .collect();
    match which {
        Which::Between(from, to) => {
            let (from, to) = (log.offsets(&partitions, At::Time(from))?, log.offsets(&partitions, At::Time(to))?);
            for (span, (from, to)) in spans.iter_mut().zip(from.into_iter().zip(to)) {
                (span.from, span.end) = (from, span.end.min(to));
            }
            reading.read(&spans, &mut kept)?;
        }
        Which::Last => {
            let mut back = limit as i64;
            while !spans.is_empty() {
                for span in &mut spans {
                    span.from = span.end.saturating_sub(back).max(span.start);
                    kept.forget(span.partition.partition);
                }
                let found = reading.read(&spans, &mut kept)?;
                // Offsets without a record are normal: markers, compaction.
                let mut short = found.iter().map(|found| *found < limit);
                spans.retain(|span| short.next() == Some(true) && span.from > span.start);
                back = back.saturating_mul(WIDER);
            }
        }
    }
    let entries = kept.entries.into_values().collect();
    Ok(Some(Found { entries, partitions: count, cut: kept.cut }))
}

/// Offsets of a partition.
struct Span<'p> {
    partition: &'p TopicPartition,
    /// The first that is kept.
    start: i64,
    /// The first that is read.
    from: i64,
    /// The first that is not.
    end: i64,
}

struct Reading<'r> {
    log: &'r dyn Log,
    until: Instant,
    on_progress: OnProgress<'r>,
}

impl Reading<'_> {
    /// Reads spans to their ends; gives the number of records found in each.
    fn read(&mut self, spans: &[Span<'_>], kept: &mut Kept) -> Result<Vec<usize>, Error> {
        let mut found = vec![0; spans.len()];
        let open: Vec<&Span<'_>> = spans.iter().filter(|span| span.from < span.end).collect();
        if open.is_empty() {
            return Ok(found);
        }
        let from: Vec<(TopicPartition, i64)> = open.iter().map(|span| (span.partition.clone(), span.from)).collect();
        let total: i64 = open.iter().map(|span| span.end - span.from).sum();
        let mut clocks = vec![i64::MIN; spans.len()];
        let mut reader = self.log.reader(&from)?;
        loop {
            reader.poll(POLL, &mut |batch| {
                let Some(at) = spans.iter().position(|span| span.partition.partition == batch.partition) else {
                    return;
                };
                let (Some(span), Some(found), Some(clock)) = (spans.get(at), found.get_mut(at), clocks.get_mut(at))
                else {
                    return;
                };
                for record in batch.records.iter().take_while(|record| record.offset < span.end) {
                    *found += 1;
                    // Within a partition the order is that of the offsets, also where the log's clock went back.
                    *clock = record.timestamp.max(*clock);
                    kept.take(*clock, batch.partition, record);
                }
            })?;
            let mut done = 0;
            for span in &open {
                done += reader.position(span.partition)?.clamp(span.from, span.end) - span.from;
            }
            if !(self.on_progress)(done, total) {
                return Err(Error::Retriable("nobody waits for it any more".to_owned()));
            }
            if done == total {
                return Ok(found);
            }
            if Instant::now() > self.until {
                let s = TIME_MAX.as_secs();
                let what = format!("only {done} of {total} offsets could be read in {s} s: ask for fewer records");
                return Err(Error::Retriable(what));
            }
        }
    }
}

/// What is held: of all that comes the last or the first ones.
struct Kept {
    /// By append time, partition and offset.
    entries: BTreeMap<(i64, u32, i64), Entry>,
    bytes: usize,
    cut: Option<String>,
    which: Which,
    limit: usize,
}

impl Kept {
    fn take(&mut self, clock: i64, partition: u32, record: &tidemark_log::Record<'_>) {
        let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
        let entry = Entry { partition, offset: record.offset, appended_at: record.timestamp, key, value };
        self.bytes += size(&entry);
        self.entries.insert((clock, partition, record.offset), entry);
        while self.entries.len() > self.limit || (self.bytes > BYTES_MAX && self.entries.len() > 1) {
            let full = self.entries.len() <= self.limit;
            let (which, left_out) = match self.which {
                Which::Last => ("last", self.entries.pop_first()),
                Which::Between(..) => ("first", self.entries.pop_last()),
            };
            self.bytes -= left_out.as_ref().map_or(0, |(_, entry)| size(entry));
            if full || self.which != Which::Last {
                let why = if full { format!("{} MiB", BYTES_MAX >> 20) } else { format!("{} records", self.limit) };
                self.cut = Some(format!("there are more: these are the {which} ones, as many as go into {why}"));
            }
        }
    }

    fn forget(&mut self, partition: u32) {
        self.entries.retain(|_, entry| entry.partition != partition);
        self.bytes = self.entries.values().map(size).sum();
    }
}

fn size(entry: &Entry) -> usize {
    let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    RECORD_BYTES + len(&entry.key) + len(&entry.value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
