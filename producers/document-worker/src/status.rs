//! What a worker has done and does, to be shown.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// A worker at a moment. Counts are from its start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Its id.
    pub worker: String,
    /// Tasks that it takes at a time.
    pub capacity: usize,
    /// What it works on.
    pub in_hand: Vec<InHand>,
    /// Tasks whose results the service has taken.
    pub done: u64,
    /// Tasks whose error it has taken.
    pub failed: u64,
    /// Tasks that could not be worked on here: not the documents' fault.
    pub infrastructure_failures: u64,
    /// Tasks given up because the lease was another's, or nobody's.
    pub revoked: u64,
    /// Why the service is away, while it is.
    pub away: Option<String>,
}

/// A task that is worked on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InHand {
    /// Which task.
    pub task_id: String,
    /// Fencing token of the lease.
    pub token: i64,
    /// What it is at, as heartbeats name it: empty while the contents are fetched (then `#1`, `#2` … as they come), `D2` in the first
    /// attempt of a step, `D2#2` in the second, `report` at the end.
    pub step: String,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) done: Count,
    pub(crate) failed: Count,
    pub(crate) infrastructure_failures: Count,
    pub(crate) revoked: Count,
}

#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
