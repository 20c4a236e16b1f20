//! Retention and compaction: what deletes old records, in steps that hold no lock while they read or write.
//!
//! Both touch only batches that are durable, under keys that no append ever writes again, so they cannot lose a record to a
//! race. Retention moves a partition's start before it deletes; a reader checks the start after it has fixed its view.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Inner;
use super::batch::{Encoder, Stored};
use super::state::{Partition, TopicNumber};
use super::storage::Clean;
use super::topic::{age_limit, compacts};
use crate::{Error, Record, TopicPartition, TopicSpec};

/// Between two rounds of the log's own thread.
const ROUND: Duration = Duration::from_secs(30);
/// How long a tombstone stays after the first compaction that kept it, so that slow readers learn of the deletion.
const TOMBSTONE_MS: i64 = 24 * 60 * 60 * 1000;
/// Most batches that one write deletes.
const STEP_BATCHES: usize = 1_000;
/// Bytes of rewritten batches after which they are written.
const STEP_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of keys that one compaction holds in memory; the next one goes on from there.
const KEY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Deleted bytes after which the storage is asked to give space back.
const RECLAIM_BYTES: usize = 64 * 1024 * 1024;

/// The thread that keeps the log tidy; stops when dropped.
pub(crate) struct Maintenance {
    stopping: Arc<AtomicBool>,
    wake: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Maintenance {
    pub(crate) fn start(inner: &Arc<Inner>) -> Result<Self, Error> {
        let stopping = Arc::new(AtomicBool::new(false));
        let (wake, woken) = mpsc::channel::<()>();
        let (flag, inner) = (stopping.clone(), inner.clone());
        let run = move || {
            while woken.recv_timeout(ROUND) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = inner.maintain(&flag) {
                    tracing::warn!(%error, "the log could not be cleaned up; trying again in {} s", ROUND.as_secs());
                }
            }
        };
        let thread = std::thread::Builder::new().name("log-maintenance".to_owned()).spawn(run);
        let thread = thread.map_err(|e| Error::Retriable(format!("cannot start the log's maintenance thread: {e}")))?;
        Ok(Self { stopping, wake: Some(wake), thread: Some(thread) })
    }

    /// Set when the log is being dropped.
    pub(crate) fn stopping(&self) -> &AtomicBool {
        &self.stopping
    }
}

impl Drop for Maintenance {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Inner {
    /// One round over every partition, cut short when `stopping`.
    pub(crate) fn maintain(&self, stopping: &AtomicBool) -> Result<(), Error> {
        let _one_at_a_time = self.cleaning.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (self.clock)();
        let mut deleted = 0;
        for (number, spec) in self.specs() {
            for partition in 0..spec.partitions {
                if stopping.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let job = Job { inner: self, number, place: TopicPartition::new(spec.name.as_str(), partition), now };
                if let Some(limit_ms) = age_limit(&spec) {
                    deleted += job.expire(limit_ms)?;
                }
                if compacts(spec.cleanup) {
                    deleted += job.compact(stopping)?;
                }
            }
        }
        match deleted > 0 {
            true => self.settle_deletions(deleted).map_err(Error::Retriable),
            false => Ok(()),
        }
    }

    fn specs(&self) -> Vec<(TopicNumber, TopicSpec)> {
        let state = self.lock();
        (0..state.topics.len()).filter_map(|n| Some((n, state.topics.at(n)?.spec.clone()))).collect()
    }

    fn settle_deletions(&self, deleted: usize) -> Result<(), String> {
        self.storage.sync()?;
        let unreclaimed = self.unreclaimed.fetch_add(deleted, Ordering::Relaxed) + deleted;
        if unreclaimed >= RECLAIM_BYTES {
            self.unreclaimed.store(0, Ordering::Relaxed);
            self.storage.reclaim()?;
        }
        Ok(())
    }
}

/// The cleaning of one partition.
struct Job<'i> {
    inner: &'i Inner,
    number: TopicNumber,
    place: TopicPartition,
    now: i64,
}

impl Job<'_> {
    fn partition(&self) -> Option<Partition> {
        self.inner.lock().topics.partition(self.number, self.place.partition).copied()
    }

    fn update(&self, change: impl FnOnce(&mut Partition)) -> Option<Partition> {
        let mut state = self.inner.lock();
        let partition = state.topics.partition_mut(self.number, self.place.partition)?;
        change(partition);
        Some(*partition)
    }

    /// Deletes the batches at the start that are older than `limit_ms`; returns their bytes.
    fn expire(&self, limit_ms: i64) -> Result<usize, Error> {
        let keep_from = self.now.saturating_sub(limit_ms);
        let mut deleted = 0;
        while let Some(p) = self.partition()
            && p.start < p.durable
            && p.oldest < keep_from
        {
            let (gone, oldest, bytes) = self.older(&p, keep_from)?;
            let start = gone.last().map_or(p.start, |last| last + 1);
            let moved = self.update(|p| (p.start, p.oldest) = (start, oldest));
            deleted += bytes;
            if let Some(moved) = moved.filter(|_| !gone.is_empty()) {
                self.delete(&gone, &moved)?;
            } else {
                break;
            }
        }
        Ok(deleted)
    }

    /// The last offsets of one step's batches that are too old, the append time of the next one, and their bytes.
    fn older(&self, p: &Partition, keep_from: i64) -> Result<(Vec<i64>, i64, usize), Error> {
        let (mut gone, mut bytes) = (Vec::new(), 0);
        for batch in self.inner.storage.batches(self.number, &self.place, p.start, p.durable).take(STEP_BATCHES) {
            let (last, stored) = batch?;
            let append_time = self.parse(last, &stored)?.append_time;
            if append_time >= keep_from {
                return Ok((gone, append_time, bytes));
            }
            gone.push(last);
            bytes += stored.len();
        }
        Ok((gone, i64::MIN, bytes))
    }

    fn delete(&self, lasts: &[i64], partition: &Partition) -> Result<(), Error> {
        let mut write = self.inner.storage.write();
        lasts.iter().for_each(|&last| write.remove_batch(self.number, self.place.partition, last));
        write.put_mark(self.number, self.place.partition, &partition.mark());
        write.apply().map_err(Error::Retriable)
    }

    fn parse<'b>(&self, last: i64, stored: &'b [u8]) -> Result<Stored<'b>, Error> {
        Stored::parse(last, stored).map_err(|e| self.inner.storage.corrupt_batch(&self.place, last, e))
    }

    /// Leaves one record for each key, once a third of the partition is not compacted yet or a tombstone may go; returns
    /// the bytes of the batches that it replaced.
    fn compact(&self, stopping: &AtomicBool) -> Result<usize, Error> {
        let Some(p) = self.partition() else { return Ok(0) };
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
    fn newest(&self, p: &Partition) -> Result<(HashMap<Box<[u8]>, i64>, i64), Error> {
        let (mut newest, mut key_bytes) = (HashMap::<Box<[u8]>, i64>::new(), 0);
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
        newest: &HashMap<Box<[u8]>, i64>,
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
        let Some(partition) = self.partition().filter(|_| !step.is_empty()) else { return Ok(()) };
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
fn clean_batch(batch: &Stored<'_>, records: &mut Vec<Record<'_>>, newest: &HashMap<Box<[u8]>, i64>, now: i64) -> Cleaned {
    let before = records.len();
    let tombstones_go = batch.cleaned_at != 0 && batch.cleaned_at.saturating_add(TOMBSTONE_MS) <= now;
    let superseded = |r: &Record<'_>| r.key.and_then(|key| newest.get(key)).is_some_and(|&last| last > r.offset);
    records.retain(|r| !superseded(r) && !(r.value.is_none() && tombstones_go));
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
