//! Compaction: one record for each key.
//!
//! A tombstone stays for a day after the first compaction that kept it: a reader that began before then and reads on
//! within the day learns of the deletion (the delete horizon of Kafka's KIP-534).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use super::batch::{Encoder, Stored};
use super::layout::Clean;
use super::maintain::{Job, STEP_BATCHES};
use super::state::Partition;
use crate::{Error, Record};

/// How long a tombstone stays after the first compaction that kept it, so that slow readers learn of the deletion.
const TOMBSTONE_MS: i64 = 24 * 60 * 60 * 1000;
/// Bytes of rewritten batches after which they are written.
const STEP_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of keys that one compaction holds in memory; the next one goes on from there.
const KEY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The last offset of each key.
type Newest = HashMap<Box<[u8]>, i64>;

impl Job<'_> {
    /// Leaves one record for each key, once a third of the partition is not compacted yet or a tombstone may go; returns
    /// the bytes of the batches that it replaced.
    pub(super) fn compact(&self, stopping: &AtomicBool) -> Result<usize, Error> {
        let Some(p) = self.partition() else {
            return Ok(0);
        };
        let dirty = p.durable - p.clean.end;
        let worth_it = dirty > 0 && dirty * 2 >= p.clean.records;
        if !worth_it && p.clean.tombstone_due > self.now {
            return Ok(0);
        }
        let (newest, end) = self.newest(&p)?;
        let mut clean = Clean { end, records: 0, tombstone_due: i64::MAX };
        let replaced = self.rewrite(&p, &newest, &mut clean, stopping)?;
        if !stopping.load(Ordering::Relaxed)
            && let Some(cleaned) = self.update(|p| p.clean = clean)
        {
            self.delete(&[], &cleaned)?;
        }
        Ok(replaced)
    }

    /// The last offset of each key in the part not compacted yet, and the end of what was looked at.
    fn newest(&self, p: &Partition) -> Result<(Newest, i64), Error> {
        let (mut newest, mut key_bytes) = (Newest::new(), 0);
        for batch in self.inner.storage.batches(self.number, &self.place, p.clean.end.max(p.start), p.durable) {
            let (last, stored) = batch?;
            let mut records = Vec::new();
            self.records(last, &stored, &mut records)?;
            for (key, offset) in records.iter().filter_map(|r| Some((r.key?, r.offset))) {
                match newest.get_mut(key) {
                    Some(newer) => *newer = offset,
                    None => {
                        key_bytes += key.len();
                        newest.insert(key.into(), offset);
                    }
                }
            }
            if key_bytes >= KEY_BYTES_MAX {
                return Ok((newest, last + 1));
            }
        }
        Ok((newest, p.durable))
    }

    fn records<'b>(&self, last: i64, stored: &'b [u8], records: &mut Vec<Record<'b>>) -> Result<Stored<'b>, Error> {
        let batch = self.parse(last, stored)?;
        let decoded = batch.records(records);
        decoded.map_err(|e| self.inner.storage.corrupt_batch(&self.place, last, e))?;
        Ok(batch)
    }

    /// Rewrites the batches below `clean.end` in the order of their offsets: a crash leaves no tombstone deleted before
    /// what it deletes.
    fn rewrite(
        &self,
        p: &Partition,
        newest: &Newest,
        clean: &mut Clean,
        stopping: &AtomicBool,
    ) -> Result<usize, Error> {
        let (mut step, mut replaced) = (Vec::new(), 0);
        let mut step_bytes = 0;
        for batch in self.inner.storage.batches(self.number, &self.place, p.start, clean.end) {
            let (last, stored) = batch?;
            let mut records = Vec::new();
            let batch = self.records(last, &stored, &mut records)?;
            let cleaned = clean_batch(&batch, &mut records, newest, self.now);
            clean.records += i64::try_from(records.len()).unwrap_or(0);
            clean.tombstone_due = clean.tombstone_due.min(cleaned.tombstone_due);
            if let Some(rewritten) = cleaned.rewritten {
                replaced += stored.len();
                step_bytes += rewritten.len();
                step.push((last, rewritten));
            }
            if step_bytes >= STEP_BYTES || step.len() >= STEP_BATCHES {
                self.replace(std::mem::take(&mut step))?;
                step_bytes = 0;
            }
            if stopping.load(Ordering::Relaxed) {
                break;
            }
        }
        self.replace(step)?;
        Ok(replaced)
    }

    fn replace(&self, step: Vec<(i64, Vec<u8>)>) -> Result<(), Error> {
        // The start read now: one that retention moved meanwhile must not be written back. The end is in it, since the last
        // batch may be among those that go.
        let Some(partition) = self.partition().filter(|_| !step.is_empty()) else {
            return Ok(());
        };
        let mut write = self.inner.storage.write();
        write.put_mark(self.number, self.place.partition, &partition.mark());
        for (last, stored) in step {
            match stored.is_empty() {
                true => write.remove_batch(self.number, self.place.partition, last),
                false => write.put_batch(self.number, self.place.partition, last, stored),
            }
        }
        write.apply().map_err(Error::Retriable)
    }
}

/// What compaction makes of a batch.
#[derive(Debug, PartialEq, Eq)]
struct Cleaned {
    /// Its new form if it changes, empty when nothing is left of it.
    rewritten: Option<Vec<u8>>,
    /// When the first tombstone in it may go.
    tombstone_due: i64,
}

/// Leaves in `records` those of the batch that stay: the newest of each key, and of tombstones those whose time is not up.
fn clean_batch(batch: &Stored<'_>, records: &mut Vec<Record<'_>>, newest: &Newest, now: i64) -> Cleaned {
    let before = records.len();
    let tombstones_go = batch.cleaned_at != 0 && batch.cleaned_at.saturating_add(TOMBSTONE_MS) <= now;
    let superseded = |r: &Record<'_>| r.key.and_then(|key| newest.get(key)).is_some_and(|&last| last > r.offset);
    records.retain(|r| !(superseded(r) || tombstones_go && r.value.is_none()));
    let (cleaned_at, tombstone_due) = match records.iter().any(|r| r.value.is_none()) {
        false => (batch.cleaned_at, i64::MAX),
        true => {
            let at = if batch.cleaned_at == 0 { now.max(1) } else { batch.cleaned_at };
            (at, at.saturating_add(TOMBSTONE_MS))
        }
    };
    let changed = records.len() < before || cleaned_at != batch.cleaned_at;
    let rewritten = changed.then(|| encode(batch, records, cleaned_at));
    Cleaned { rewritten, tombstone_due }
}

fn encode(batch: &Stored<'_>, records: &[Record<'_>], cleaned_at: i64) -> Vec<u8> {
    if records.is_empty() {
        return Vec::new();
    }
    let mut encoder = Encoder::new();
    records.iter().for_each(|r| encoder.copy(batch.first, r));
    encoder.seal(batch.append_time, cleaned_at, u32::try_from(batch.last - batch.first).unwrap_or(u32::MAX))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::embedded::EmbeddedLog;
    use crate::{At, Cleanup, Log, Outgoing, TopicPartition, TopicSpec, system_clock};

    #[test]
    fn a_crash_after_the_last_batch_was_deleted_gives_no_offset_twice() {
        let dir = tempfile::tempdir().unwrap();
        let place = TopicPartition::new("t", 0);
        let log = EmbeddedLog::open(dir.path(), system_clock()).unwrap();
        let (name, cleanup) = ("t".to_owned(), Cleanup::Compact);
        log.create_topics(&[TopicSpec { name, partitions: 1, cleanup, retention_ms: None }]).unwrap();
        let record = Outgoing { topic: "t", key: Some(b"k"), ..Outgoing::default() };
        log.producer("p").unwrap().commit(&mut |sink| sink.send(record)).unwrap();
        let job = |now| Job { inner: &log.inner, number: 0, place: place.clone(), now };
        let (running, now) = (AtomicBool::new(false), (log.inner.clock)());
        // Two rounds, each cut off before it has said how far it came; the second deletes what is left.
        for now in [now, now + TOMBSTONE_MS] {
            let job = job(now);
            let partition = job.partition().unwrap();
            let mut clean = Clean { end: partition.durable, ..partition.clean };
            assert!(job.rewrite(&partition, &Newest::new(), &mut clean, &running).unwrap() > 0);
        }
        drop(log);
        let log = EmbeddedLog::open(dir.path(), system_clock()).unwrap();
        assert_eq!(log.offsets(&[place], At::End).unwrap(), [1]);
    }
}
