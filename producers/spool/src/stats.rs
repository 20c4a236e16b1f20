//! What a spool counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What a spool has done since it was opened.
#[derive(Debug, Default)]
pub struct Stats {
    /// Time from an append to its acknowledgement.
    pub appends: Histogram,
    /// Time of one fdatasync.
    pub syncs: Histogram,
    pub(crate) entries: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) refused: AtomicU64,
}

impl Stats {
    /// Entries made durable; divided by the number of syncs: entries of a group.
    pub fn entries(&self) -> u64 {
        self.entries.load(Relaxed)
    }

    /// Writes and syncs that the disk failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Entries not taken because the spool was full, by bytes, by age or on the disk.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }
}

/// How often something took how long.
#[derive(Debug, Default)]
pub struct Histogram {
    count: AtomicU64,
    micros: AtomicU64,
    buckets: [AtomicU64; Self::BOUNDS_MICROS.len()],
}

impl Histogram {
    /// Upper bounds of the buckets, in microseconds: half a sync of a fast disk to a disk that hangs.
    pub const BOUNDS_MICROS: [u64; 12] =
        [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 1_000_000, 10_000_000];

    /// Counts one.
    pub fn add(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.count.fetch_add(1, Relaxed);
        self.micros.fetch_add(micros, Relaxed);
        let at = Self::BOUNDS_MICROS.iter().position(|bound| micros <= *bound);
        if let Some(bucket) = at.and_then(|at| self.buckets.get(at)) {
            bucket.fetch_add(1, Relaxed);
        }
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// All of them together, in seconds.
    pub fn seconds(&self) -> f64 {
        self.micros.load(Relaxed) as f64 / 1e6
    }

    /// Upper bound in microseconds and how many took no longer.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut sum = 0;
        Self::BOUNDS_MICROS.iter().zip(&self.buckets).map(move |(bound, bucket)| {
            sum += bucket.load(Relaxed);
            (*bound, sum)
        })
    }
}
