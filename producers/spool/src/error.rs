//! Why a spool takes nothing.

use std::io;
use std::sync::Arc;

/// Why an entry was not taken, or a spool not opened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// What waits takes all the bytes that it may. Nothing was written.
    #[error("the spool is full: it holds {bytes} of at most {bytes_max} bytes")]
    Full {
        /// What it holds.
        bytes: u64,
        /// What it may hold.
        bytes_max: u64,
    },
    /// The oldest entry has waited as long as it may. Nothing was written.
    #[error("the oldest entry of the spool has waited for {age_ms} ms: at most {age_max_ms} ms are allowed")]
    Old {
        /// Its age.
        age_ms: i64,
        /// What it may be.
        age_max_ms: i64,
    },
    /// Too much waits in memory; another try in a moment is of use. Nothing was written.
    #[error("too much waits for the disk")]
    Busy,
    /// The entry is larger than [`crate::PAYLOAD_MAX`], or than the whole spool: no later try is of use. Nothing was written.
    #[error("an entry of {bytes} bytes does not fit: at most {bytes_max} are taken")]
    TooLarge {
        /// What it has.
        bytes: usize,
        /// What it may have.
        bytes_max: usize,
    },
    /// The disk failed. Nothing of the entry is there.
    #[error("the disk did not take it: {0}")]
    Disk(Arc<io::Error>),
    /// The disk failed, and then failed to take back what it may have written: the entry may be there after a restart.
    #[error("the disk failed, and it is not known what it wrote: {0}")]
    Unknown(Arc<io::Error>),
    /// The spool takes nothing more. Nothing was written.
    #[error("the spool is closed")]
    Closed,
    /// The thread that writes could not be started.
    #[error("cannot start the spool's thread: {0}; raise the limit on threads")]
    Thread(Arc<io::Error>),
}

impl Error {
    /// Whether the disk has no room left, or none for this user.
    pub fn no_space(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        matches!(self, Self::Disk(error) if full.contains(&error.kind()))
    }
}
