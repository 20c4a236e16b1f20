//! Keyed processes at work: [`KeyedStage`] runs a [`Process`](tidemark_core::process::Process) over each partition of its input
//! that it owns.
//!
//! What a process emits, the entries of its state that have changed, dead letters, ticks and offsets are one commit: all of it
//! is there or nothing. A restart reads the entries back from the changelog, up to its *position* and after the *stable* offset,
//! holds them against the digest in the offset's metadata, and goes on at that offset and at the time that stands beside it.
//!
//! Limits: state is held in memory; a commit takes what polls bring in [`COMMIT_INTERVAL_MS`], or [`COMMIT_BYTES_MAX`] and the
//! rest of one poll; each partition has one tick under way at most.

mod outbox;
mod owned;
mod plan;
mod restore;
mod stage;
mod start;
mod written;

pub use plan::{Output, Plan, Spec};
pub use stage::KeyedStage;
pub use start::{Parts, View, start};

use tidemark_core::table;

/// Longest time between two commits of a keyed stage while there is something to commit, milliseconds: people wait for what it
/// answers.
pub const COMMIT_INTERVAL_MS: i64 = 5;

/// Bytes of outputs and dead letters that bring a commit on at once.
pub const COMMIT_BYTES_MAX: usize = 4 << 20;

/// The partition of a key, of `partitions`: for records of a process's input, and for what it emits.
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    table::merge_partition(table::hash(key), partitions)
}
