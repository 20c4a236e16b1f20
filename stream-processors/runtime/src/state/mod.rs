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
use std::sync::atomic::{AtomicUsize, Ordering};
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

/// Who keeps state in one memory: each has an equal part of it. Copies are of the same memory.
#[derive(Debug, Clone, Default)]
pub struct Sharers(Arc<AtomicUsize>);

impl Sharers {
    fn join(&self) -> Sharer {
        self.0.fetch_add(1, Ordering::Relaxed);
        Sharer(self.clone())
    }
}

/// One of them, until it is dropped.
struct Sharer(Sharers);

impl Sharer {
    fn part_of(&self, bytes: usize) -> usize {
        bytes / self.0.0.load(Ordering::Relaxed).max(1)
    }
}

impl Drop for Sharer {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where the state of a process's jobs is, and what may be set of it.
#[derive(Debug, Clone)]
pub struct StateConfig {
    /// Directory; each job version has one of its own in it. Nobody else may use it.
    pub path: PathBuf,
    /// For the stage threads of all job versions together.
    pub settings: StateSettings,
    /// The job versions that run with this configuration or a copy of it.
    pub sharers: Sharers,
    /// Whether the partitions that other processes own are followed.
    pub standby: bool,
}

impl StateConfig {
    /// The directory of a job version, for so many stage threads.
    pub(crate) fn open(&self, spec: &JobSpec, threads: u32) -> Arc<StateDir> {
        let memory_bytes = self.settings.memory_bytes / threads.max(1) as usize;
        let settings = StateSettings { memory_bytes, ..self.settings };
        let path = self.path.join(format!("{}.v{}", spec.name, spec.version));
        StateDir::with(Arc::new(DiskStorage::new(&path)), settings, &self.sharers)
    }
}

/// The state of one job version on this machine.
pub struct StateDir {
    storage: Arc<dyn Storage>,
    pub(crate) settings: StateSettings,
    sharer: Sharer,
    claimed: Mutex<BTreeSet<u32>>,
    /// Partitions whose checkpoint was found to be wrong, whether or not it could be removed.
    distrusted: Mutex<BTreeSet<u32>>,
}

impl StateDir {
    /// On disk, under `path`: nobody else may use it.
    pub fn open(path: &Path, settings: StateSettings) -> Arc<Self> {
        Self::over(Arc::new(DiskStorage::new(path)), settings)
    }

    /// Over any storage, with memory of its own.
    pub fn over(storage: Arc<dyn Storage>, settings: StateSettings) -> Arc<Self> {
        Self::with(storage, settings, &Sharers::default())
    }

    fn with(storage: Arc<dyn Storage>, settings: StateSettings, sharers: &Sharers) -> Arc<Self> {
        let (claimed, distrusted) = Default::default();
        Arc::new(Self { storage, settings, sharer: sharers.join(), claimed, distrusted })
    }

    /// Memory for rows of open windows that each stage thread has now, bytes: less when another job version starts.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.sharer.part_of(self.settings.memory_bytes)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(version: u32) -> JobSpec {
        JobSpec { version, ..crate::Plan::named("a.b", 1).spec }
    }

    #[test]
    fn the_memory_of_a_process_is_shared_by_the_versions_that_run() {
        let settings = StateSettings { memory_bytes: 1_200, ..StateSettings::default() };
        let config = StateConfig { path: PathBuf::from("none"), settings, sharers: Sharers::default(), standby: false };
        let one = config.open(&spec(1), 2);
        assert_eq!(one.memory_bytes(), 600, "for each of two threads");
        let (two, three) = (config.clone().open(&spec(2), 2), config.open(&spec(3), 1));
        assert_eq!([&one, &two, &three].map(|dir| dir.memory_bytes()), [200, 200, 400]);
        drop((two, three));
        assert_eq!(one.memory_bytes(), 600, "what has stopped takes no part");
        let other = StateDir::over(Arc::new(memory::MemoryStorage::default()), settings);
        assert_eq!((one.memory_bytes(), other.memory_bytes()), (600, 1_200));
    }
}
