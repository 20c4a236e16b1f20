//! Segment files: their names, and how one is made.

use std::io;

use uuid::Uuid;

use crate::disk::{Disk, DiskFile};
use crate::frame::{HEADER, Header};

const SUFFIX: &str = ".segment";
const NEW: &str = "segment.new";

/// A segment, as its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Grows by one with each segment.
    pub(crate) sequence: u64,
    /// The time at which the spool was opened, or later: grows with each opening.
    pub(crate) run: u64,
    /// Position of the first entry.
    pub(crate) first: u64,
}

impl Segment {
    pub(crate) fn name(&self) -> String {
        format!("{:010}-{:013}-{:016}{SUFFIX}", self.sequence, self.run, self.first)
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(SUFFIX)?.split('-').map(|part| part.parse().ok());
        let segment = Self { sequence: parts.next()??, run: parts.next()??, first: parts.next()?? };
        (segment.name() == name).then_some(segment)
    }

    /// Where its entries stand in the order of all.
    pub(crate) fn place(&self) -> Place {
        Place { run: self.run, position: self.first }
    }
}

/// Makes a segment that is empty and durable.
pub(crate) fn create(disk: &dyn Disk, spool: Uuid, segment: Segment, length: u64) -> io::Result<Box<dyn DiskFile>> {
    let Segment { sequence, run, first } = segment;
    let length = length.max(HEADER as u64);
    let file = disk.create(NEW, length)?;
    file.write_at(&Header { spool, sequence, run, first, length }.encode(), 0)?;
    file.sync()?;
    disk.rename(NEW, &segment.name())?;
    disk.sync()?;
    Ok(file)
}

/// Where an entry stands: the order of all entries that a spool ever held.
///
/// Positions grow by one, and go on over restarts. The run keeps apart what a restart would confuse when the end of the spool
/// was lost, or an older copy of it put back: positions are then given a second time, but in a later run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// When the spool was opened, milliseconds since the epoch, or a little later: grows with each opening.
    pub run: u64,
    /// From 0, one for each entry.
    pub position: u64,
}

/// The segments of a directory in order.
pub(crate) fn list(disk: &dyn Disk) -> io::Result<Vec<Segment>> {
    let mut segments: Vec<Segment> = disk.list()?.iter().filter_map(|name| Segment::parse(name)).collect();
    segments.sort_by_key(|segment| segment.sequence);
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_passed_over() {
        let segment = Segment { sequence: 3, run: 1_769_860_800_123, first: 17 };
        assert_eq!(segment.name(), "0000000003-1769860800123-0000000000000017.segment");
        assert_eq!(Segment::parse(&segment.name()), Some(segment));
        for other in ["3-1-17.segment", "lock", "0000000003-1769860800123-0000000000000017.segment.damaged"] {
            assert_eq!(Segment::parse(other), None, "{other}");
        }
    }
}
