//! What could not be read: reports, each told and counted once.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::ops::Range;

use crate::disk;
use crate::scan::Kind;

/// Reports that are kept for people; all are logged and counted.
const KEPT_MAX: usize = 100;
/// Reports that are known when they are met again. Beyond them a report that is met again counts again: what is told is the
/// most that was lost in any case.
const KNOWN_MAX: usize = 100_000;

/// Entries that are not there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Damage {
    /// File of the segment; it is kept with `.damaged` after its name, unless `kind` is [`Kind::Torn`].
    pub segment: String,
    /// Why.
    pub kind: Kind,
    /// Bytes of the file that cannot be used.
    pub bytes: Range<u64>,
    /// Most entries that stood there.
    pub entries_max: u64,
}

impl Damage {
    fn log(&self) {
        let Self { segment, kind, bytes, entries_max } = self;
        let (from, to) = (bytes.start, bytes.end);
        match kind {
            Kind::Torn => tracing::warn!(
                segment,
                from,
                to,
                "the last write to the spool was not completed before the process ended: it was cut off; nothing that was \
                 acknowledged is lost"
            ),
            Kind::Damaged | Kind::Missing => tracing::error!(
                segment,
                from,
                to,
                entries_max,
                kind = kind.name(),
                "bytes of the spool cannot be read: up to entries_max acknowledged entries are lost; the file is kept with \
                 .damaged after its name; check the disk"
            ),
        }
    }
}

/// All damage that was met since the spool was opened.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    kept: Vec<Damage>,
    known: HashSet<Damage>,
    total: u64,
    torn: u64,
    damaged: u64,
    missing: u64,
}

impl Reports {
    /// Takes in a report, once: what is found at the opening is met again by the reader.
    pub(crate) fn add(&mut self, damage: Damage) {
        if self.known.contains(&damage) {
            return;
        }
        damage.log();
        self.total += 1;
        let entries = match damage.kind {
            Kind::Torn => &mut self.torn,
            Kind::Damaged => &mut self.damaged,
            Kind::Missing => &mut self.missing,
        };
        *entries = entries.saturating_add(damage.entries_max);
        if self.kept.len() < KEPT_MAX {
            self.kept.push(damage.clone());
        }
        if self.known.len() < KNOWN_MAX {
            self.known.insert(damage);
        }
    }

    /// The first hundred, and how many there were.
    pub(crate) fn kept(&self) -> (Vec<Damage>, u64) {
        (self.kept.clone(), self.total)
    }

    /// Most entries lost to this kind of damage.
    pub(crate) fn entries(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Torn => self.torn,
            Kind::Damaged => self.damaged,
            Kind::Missing => self.missing,
        }
    }
}

/// So often an entry that the disk fails to give is asked for. With a reader that waits a second or two after each failure a
/// disk that hangs for a minute costs nothing.
const READS_MAX: u32 = 30;

/// Entries that the disk failed to give, by position, and how often they were asked for.
#[derive(Debug, Default)]
pub(crate) struct Unread(BTreeMap<u64, u32>);

impl Unread {
    /// Whether the entry, which could not be read, is to be passed over: its bytes are gone for good, as far as can be told.
    /// Other faults (no more open files, say) are waited out: the entry is whole.
    pub(crate) fn gives_up(&mut self, position: u64, error: &io::Error) -> bool {
        if !disk::is_unreadable(error) {
            return false;
        }
        let reads = self.0.entry(position).or_default();
        *reads = reads.saturating_add(1);
        *reads >= READS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_report_counts_and_none_twice() {
        let mut reports = Reports::default();
        for _ in 0..2 {
            for at in 0..250 {
                let segment = "a".to_owned();
                reports.add(Damage { segment, kind: Kind::Damaged, bytes: at..at + 1, entries_max: 3 });
            }
        }
        let (kept, total) = reports.kept();
        assert_eq!((kept.len(), total), (100, 250));
        assert_eq!([Kind::Torn, Kind::Damaged, Kind::Missing].map(|kind| reports.entries(kind)), [0, 750, 0]);
    }
}
