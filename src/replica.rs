//! The replica id of a process: a UUID in a directory that the process holds locked, so that it is stable over restarts and
//! never used by two processes at a time. It is part of every transactional id.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// Replicas of one part on one machine.
const REPLICAS_MAX: u32 = 1_024;

/// A claimed replica; the lock goes with it.
#[derive(Debug)]
pub struct Replica {
    /// The UUID.
    pub id: String,
    /// The directory that is this process's own.
    pub dir: PathBuf,
    _lock: File,
}

/// Why no replica could be claimed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error(
        "cannot use {path}: {source}; check that the directory exists and may be written, or name another with --data-dir"
    )]
    Io {
        /// Which path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process holds the directory.
    #[error("{path} is in use by another tidemark process; stop it, or name another directory with --data-dir")]
    InUse {
        /// Which directory.
        path: PathBuf,
    },
}

impl Replica {
    /// Claims `dir` itself.
    ///
    /// # Errors
    /// It is in use, or cannot be written.
    pub fn claim(dir: &Path) -> Result<Self, Error> {
        Self::try_claim(dir)?.ok_or_else(|| Error::InUse { path: dir.into() })
    }

    /// Claims the first free one of `data_dir/part-0`, `part-1`, …: a restart takes up where the process before it left,
    /// and several on one machine keep apart.
    ///
    /// # Errors
    /// All are in use, or cannot be written.
    pub fn claim_one_of(data_dir: &Path, part: &str) -> Result<Self, Error> {
        for n in 0..REPLICAS_MAX {
            if let Some(replica) = Self::try_claim(&data_dir.join(format!("{part}-{n}")))? {
                return Ok(replica);
            }
        }
        Err(Error::InUse { path: data_dir.join(part) })
    }

    fn try_claim(dir: &Path) -> Result<Option<Self>, Error> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { path, source }
        };
        fs::create_dir_all(dir).map_err(io(dir))?;
        let lock_path = dir.join("lock");
        let lock = File::create(&lock_path).map_err(io(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => return Err(Error::Io { path: lock_path, source }),
        }
        let id_path = dir.join("replica");
        let id = match fs::read_to_string(&id_path) {
            Ok(text) => text.trim().to_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let id = uuid::Uuid::now_v7().to_string();
                fs::write(&id_path, &id).map_err(io(&id_path))?;
                id
            }
            Err(source) => return Err(Error::Io { path: id_path, source }),
        };
        Ok(Some(Self { id, dir: dir.to_owned(), _lock: lock }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_and_never_shared() {
        let dir = tempfile::tempdir().unwrap();
        let first = Replica::claim_one_of(dir.path(), "jobs").unwrap();
        let second = Replica::claim_one_of(dir.path(), "jobs").unwrap();
        assert_ne!(first.id, second.id);
        let id = first.id.clone();
        drop(first);
        assert_eq!(Replica::claim_one_of(dir.path(), "jobs").unwrap().id, id);
        let held = Replica::claim(dir.path()).unwrap();
        assert!(matches!(Replica::claim(dir.path()), Err(Error::InUse { .. })));
        drop(held);
    }
}
