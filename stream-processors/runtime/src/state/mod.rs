//! Merge state on this machine's disk: one directory per merge partition, claimed by whoever works on it.
//!
//! A *checkpoint* is a manifest and the files that it names: `head` (progress and the ledgers of open windows), `sealed`
//! (ledgers of sealed windows) and one file of rows per open window. Only what changed is written again, always to files of
//! new names; the manifest takes its place last and at once, and only then are the files that it no longer names removed.
//! Whatever is torn, missing or damaged in any byte is therefore seen, and costs a restore of the whole changelog, never a
//! row.
//!
//! **Which changelog offset a checkpoint covers.** The end of the changelog (read_uncommitted) is asked for *before* a commit
//! and counts once that commit has gone through: then we were the owner when we asked, so that everything below that end is
//! in our state. Asking after the commit would be wrong: an owner that has lost the partition without noticing would be told
//! of an end that the new owner has written up to, and would claim changes that it does not have.

pub(crate) mod checkpoint;
pub(crate) mod files;
pub(crate) mod manifest;
pub mod memory;
pub mod storage;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
pub use storage::{DiskStorage, Storage};
use tidemark_core::JobSpec;

/// What may be set of the state on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateSettings {
    /// Longest time between two checkpoints of a partition that changes, milliseconds.
    pub checkpoint_interval_ms: i64,
    /// Memory for rows of open windows, bytes, for each stage thread: what is over it is dropped once it is on disk. At twice as
    /// much, partials wait until that makes room. Jobs of session windows keep all rows of open windows in memory, since any
    /// partial may touch any of them: there partials wait for a checkpoint each, which slows them down and makes no room.
    pub memory_bytes: usize,
    /// Final windows that no commit has touched for so long are dropped from memory, milliseconds.
    pub cold_after_ms: i64,
}

impl Default for StateSettings {
    fn default() -> Self {
        Self { checkpoint_interval_ms: 30_000, memory_bytes: 1 << 30, cold_after_ms: 300_000 }
    }
}

/// Where the state of a process's jobs is, and what may be set of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateConfig {
    /// Directory; each job version has one of its own in it. Nobody else may use it.
    pub path: PathBuf,
    /// For all stage threads together.
    pub settings: StateSettings,
    /// Whether the partitions that other processes own are followed.
    pub standby: bool,
}

impl StateConfig {
    /// The directory of a job version, for so many stage threads.
    pub(crate) fn open(&self, spec: &JobSpec, threads: u32) -> Arc<StateDir> {
        let memory_bytes = self.settings.memory_bytes / threads.max(1) as usize;
        let settings = StateSettings { memory_bytes, ..self.settings };
        StateDir::open(&self.path.join(format!("{}.v{}", spec.name, spec.version)), settings)
    }
}

/// The state of one job version on this machine.
pub struct StateDir {
    storage: Arc<dyn Storage>,
    pub(crate) settings: StateSettings,
    claimed: Mutex<BTreeSet<u32>>,
    /// Partitions whose checkpoint was found to be wrong, whether or not it could be removed.
    distrusted: Mutex<BTreeSet<u32>>,
}

impl StateDir {
    /// On disk, under `path`: nobody else may use it.
    pub fn open(path: &Path, settings: StateSettings) -> Arc<Self> {
        Self::over(Arc::new(DiskStorage::new(path)), settings)
    }

    /// Over any storage.
    pub fn over(storage: Arc<dyn Storage>, settings: StateSettings) -> Arc<Self> {
        Arc::new(Self { storage, settings, claimed: Mutex::default(), distrusted: Mutex::default() })
    }

    /// Whether checkpoints are written on threads of their own.
    pub(crate) fn is_slow(&self) -> bool {
        self.storage.is_slow()
    }

    /// Claims a partition's directory; none while a thread of this process still works on it.
    pub(crate) fn claim(self: &Arc<Self>, partition: u32) -> Option<Arc<Claim>> {
        let claim = || Arc::new(Claim { dir: Arc::clone(self), partition, name: partition.to_string() });
        lock(&self.claimed).insert(partition).then(claim)
    }
}

fn lock(partitions: &Mutex<BTreeSet<u32>>) -> MutexGuard<'_, BTreeSet<u32>> {
    partitions.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The right to work on a partition's directory; it ends with its last copy, so that a checkpoint that is still being written
/// for a partition that has been given up keeps others away until it has come to its end.
pub(crate) struct Claim {
    dir: Arc<StateDir>,
    partition: u32,
    name: String,
}

impl Claim {
    /// Whether what is on disk was found to be wrong, by this owner or by one before it.
    pub(crate) fn is_distrusted(&self) -> bool {
        lock(&self.dir.distrusted).contains(&self.partition)
    }

    /// What is on disk is wrong, until another checkpoint has taken its place.
    pub(crate) fn distrust(&self) {
        lock(&self.dir.distrusted).insert(self.partition);
    }

    /// Another checkpoint has taken its place.
    pub(crate) fn trust(&self) {
        lock(&self.dir.distrusted).remove(&self.partition);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.dir.claimed).remove(&self.partition);
    }
}
