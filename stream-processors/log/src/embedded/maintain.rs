//! Retention, and the thread that applies it and compaction and empties deleted topics: what deletes old records, in steps that hold no lock while they read or write.
//!
//! Both touch only batches that are durable, under keys that no append ever writes again, so they cannot lose a record to a
//! race. Retention moves a partition's start before it deletes; a reader checks the start after it has fixed its view.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Inner;
use super::batch::Stored;
use super::state::{Partition, TopicNumber};
use super::topic::{age_limit, compacts};
use crate::{Error, TopicPartition, TopicSpec};

/// Between two rounds of the log's own thread.
const ROUND: Duration = Duration::from_secs(30);
/// Most batches that one write deletes.
pub(super) const STEP_BATCHES: usize = 1_000;
/// Deleted bytes after which the storage is asked to give space back.
const RECLAIM_BYTES: usize = 64 * 1024 * 1024;
/// Rounds after which the space of a deleted topic is free.
pub(super) const RECLAIM_ROUNDS: usize = 4;

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
        let emptied = self.empty_deleted(stopping)?;
        self.settle_deletions(emptied, RECLAIM_ROUNDS).map_err(Error::Retriable)?;
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
        self.settle_deletions(deleted, 1).map_err(Error::Retriable)
    }

    fn specs(&self) -> Vec<(TopicNumber, TopicSpec)> {
        let state = self.lock();
        state.topics.iter().map(|(number, topic)| (number, topic.spec.clone())).collect()
    }

    /// Makes deletions durable, and asks for their space in so many rounds once it is worth it.
    pub(super) fn settle_deletions(&self, deleted: usize, rounds: usize) -> Result<(), String> {
        if deleted == 0 {
            return Ok(());
        }
        self.storage.sync()?;
        let unreclaimed = self.unreclaimed.fetch_add(deleted, Ordering::Relaxed) + deleted;
        if unreclaimed >= RECLAIM_BYTES {
            self.unreclaimed.store(0, Ordering::Relaxed);
            self.storage.reclaim(rounds)?;
        }
        Ok(())
    }
}

/// The cleaning of one partition.
pub(super) struct Job<'i> {
    pub(super) inner: &'i Inner,
    pub(super) number: TopicNumber,
    pub(super) place: TopicPartition,
    pub(super) now: i64,
}

impl Job<'_> {
    pub(super) fn partition(&self) -> Option<Partition> {
        self.inner.lock().topics.partition(self.number, self.place.partition).copied()
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut Partition)) -> Option<Partition> {
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

    pub(super) fn delete(&self, lasts: &[i64], partition: &Partition) -> Result<(), Error> {
        let mut write = self.inner.storage.write();
        lasts.iter().for_each(|&last| write.remove_batch(self.number, self.place.partition, last));
        write.put_mark(self.number, self.place.partition, &partition.mark());
        write.apply().map_err(Error::Retriable)
    }

    pub(super) fn parse<'b>(&self, last: i64, stored: &'b [u8]) -> Result<Stored<'b>, Error> {
        Stored::parse(last, stored).map_err(|e| self.inner.storage.corrupt_batch(&self.place, last, e))
    }
}
