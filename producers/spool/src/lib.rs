//! A durable queue on local disk, in front of something that may be away.
//!
//! Promise: an entry that [`Spool::append`] acknowledged is read again, in order and once, whatever ends the process; one that
//! the disk has changed or lost since is reported, never handed over changed and never passed over in silence.
//!
//! How: entries are appended to segment files. One thread writes all that waits with one write and one fdatasync (group commit)
//! and only then acknowledges. What follows the last sync is not trusted: after a failed write or sync the segment ends at its
//! last synced entry and a new one begins; the page cache is not asked again. Readers see what is durable only.
//!
//! When a spool is opened every byte is checked. A write that was not completed when the process ended is cut off: it was
//! never acknowledged. Anything else that cannot be read is [`Damage`]: it is logged with its bytes and the most entries it can
//! have held, the file is kept as `….damaged`, and what follows is read all the same. What cannot be told from the bytes: the
//! last segment lost as a whole, or an older copy put back. [`Place`] keeps positions apart over that.
//!
//! What the disk fails to give later, while the spool is open, is asked for again and again before it counts as damage: see
//! [`Reader::read`]. What was released before a start is known only as far as [`Spool::keep_released`] wrote it down: that is
//! for [`Depth`] and age alone, and every entry that is there is read all the same.
//!
//! Limits: 64 MiB for an entry; 64 MiB wait in memory; [`Limits`] for the disk. Beyond them nothing is taken. Segments are
//! deleted whole once all their entries are released: the disk holds up to two segments more than the entries.

mod damage;
mod depth;
pub mod disk;
mod error;
mod frame;
mod reader;
mod recover;
mod released;
mod scan;
mod segment;
mod spool;
mod stats;
mod syncer;

pub use damage::Damage;
pub use depth::Depth;
pub use error::Error;
pub use frame::PAYLOAD_MAX;
pub use reader::Reader;
pub use scan::Kind;
pub use segment::Place;
pub use spool::{Clock, Limits, Spool};
pub use stats::{Histogram, Stats};

/// An entry as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub place: Place,
    /// When it was appended, milliseconds since the epoch.
    pub appended_at: i64,
    /// Records in it, as its writer counted them.
    pub records: u32,
    /// Bytes that it takes in its segment.
    pub bytes: u64,
    /// What was appended.
    pub payload: Vec<u8>,
}

impl Entry {
    fn of(run: u64, frame: &frame::Frame<'_>) -> Self {
        Self {
            place: Place { run, position: frame.head.position },
            appended_at: frame.head.appended_at,
            records: frame.head.records,
            bytes: frame.bytes() as u64,
            payload: frame.payload.to_vec(),
        }
    }
}
