//! Where the worker keeps documents and outputs while it works on them.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tempfile::{Builder, TempDir};

const PREFIX: &str = "tidemark-worker-";
const LOCK: &str = "lock";
/// A younger directory may be one that its owner has not locked yet.
const YOUNG: Duration = Duration::from_secs(60);

/// A directory that only this user can read and that goes when the worker does. One whose worker was killed is removed by the next,
/// or by one that runs beside it.
#[derive(Debug)]
pub(crate) struct Room {
    base: PathBuf,
    directory: Mutex<Option<TempDir>>,
    /// Locked while the worker lives.
    _lock: File,
}

impl Room {
    pub(crate) fn open(base: &Path) -> io::Result<Self> {
        sweep(base, SystemTime::now());
        let directory = Builder::new().prefix(PREFIX).tempdir_in(base)?;
        let lock = File::create(directory.path().join(LOCK))?;
        lock.lock()?;
        Ok(Self { base: base.to_owned(), directory: Mutex::new(Some(directory)), _lock: lock })
    }

    /// A directory for one task.
    pub(crate) fn for_task(&self) -> io::Result<TempDir> {
        match &*self.lock() {
            Some(directory) => Builder::new().prefix("task-").tempdir_in(directory.path()),
            None => Err(io::Error::other("the worker has stopped")),
        }
    }

    /// Removes what killed workers have left beside it.
    pub(crate) fn sweep(&self) {
        sweep(&self.base, SystemTime::now());
    }

    /// Removes it. Threads that still wait for an answer of the service would else keep it until the process is gone, and longer.
    pub(crate) fn close(&self) {
        drop(self.lock().take());
    }

    fn lock(&self) -> MutexGuard<'_, Option<TempDir>> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sweep(base: &Path, now: SystemTime) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        if abandoned(&entry.path().join(LOCK), now) {
            let removed = fs::remove_dir_all(entry.path());
            tracing::info!(directory = %entry.path().display(), ?removed, "what a killed worker left behind is removed");
        }
    }
}

fn abandoned(lock: &Path, now: SystemTime) -> bool {
    let age =
        fs::metadata(lock).and_then(|metadata| metadata.modified()).ok().and_then(|at| now.duration_since(at).ok());
    age.is_some_and(|age| age > YOUNG)
        && File::open(lock).is_ok_and(|file| !matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_holds_is_swept() {
        let base = tempfile::tempdir().unwrap();
        let held = Room::open(base.path()).unwrap();
        let left = base.path().join(format!("{PREFIX}left"));
        fs::create_dir(&left).unwrap();
        File::create(left.join(LOCK)).unwrap();
        sweep(base.path(), SystemTime::now());
        assert!(left.exists(), "too young");
        sweep(base.path(), SystemTime::now() + 2 * YOUNG);
        let task = held.for_task().unwrap();
        assert!(!left.exists() && task.path().starts_with(base.path()));
        fs::create_dir(&left).unwrap();
        let long_ago = SystemTime::now() - 2 * YOUNG;
        File::create(left.join(LOCK)).unwrap().set_modified(long_ago).unwrap();
        held.sweep();
        assert!(!left.exists() && task.path().exists(), "it sweeps while it is held");
        held.close();
        assert!(held.for_task().is_err() && !task.path().exists());
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }
}
