//! Time that is moved by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::Clock;

/// A wall clock, which may be set back, and time elapsed, which only grows. Sessions are timed by the second.
#[derive(Debug)]
pub struct Time {
    wall_ms: AtomicI64,
    elapsed_ms: AtomicU64,
}

impl Time {
    /// The wall clock shows `wall_ms`, milliseconds since the epoch.
    pub fn new(wall_ms: i64) -> Arc<Self> {
        Arc::new(Self { wall_ms: AtomicI64::new(wall_ms), elapsed_ms: AtomicU64::new(0) })
    }

    /// So many milliseconds go by.
    pub fn pass(&self, ms: u64) {
        self.elapsed_ms.fetch_add(ms, Ordering::Relaxed);
        self.wall_ms.fetch_add(i64::try_from(ms).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Sets the wall clock forth or back.
    pub fn step_wall(&self, ms: i64) {
        self.wall_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// What the wall clock shows.
    pub fn wall_ms(&self) -> i64 {
        self.wall_ms.load(Ordering::Relaxed)
    }

    /// Milliseconds since the beginning.
    pub fn elapsed_ms(&self) -> u64 {
        self.elapsed_ms.load(Ordering::Relaxed)
    }

    /// The wall clock as the platform reads it.
    pub fn clock(self: &Arc<Self>) -> Clock {
        let time = Arc::clone(self);
        Arc::new(move || time.wall_ms())
    }
}
