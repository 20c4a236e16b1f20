//! Finds the frames of a segment, and tells what it could not read. Pure.

use std::ops::Range;

use crate::frame::{Frame, Framing, HEAD, HEADER, OVERHEAD};

/// Smallest piece that disks write at once.
const SECTOR: usize = 512;

/// Why entries are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The process or the machine ended while they were written: they were never acknowledged.
    Torn,
    /// They were acknowledged, or may have been, and their bytes have changed since.
    Damaged,
    /// They were acknowledged, or may have been, and their bytes are gone.
    Missing,
}

impl Kind {
    /// In a word, for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Torn => "torn",
            Self::Damaged => "damaged",
            Self::Missing => "missing",
        }
    }
}

/// Bytes that hold no entry although they should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) kind: Kind,
    /// In the file.
    pub(crate) bytes: Range<usize>,
    /// Most entries that were there.
    pub(crate) entries_max: u64,
}

/// What comes next in a segment.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    Entry(Frame<'a>),
    Gap(Gap),
    End,
}

/// A walk over the frames of a segment, in order of position.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    framing: Framing,
    bytes: &'a [u8],
    /// Where the next frame begins.
    at: usize,
    /// The next position.
    next: u64,
    /// Where the next segment begins, if there is one: entries from there on were never acknowledged here.
    limit: Option<u64>,
}

impl<'a> Scan<'a> {
    /// Of a whole file whose first position is `first`.
    pub(crate) fn new(framing: Framing, bytes: &'a [u8], first: u64, limit: Option<u64>) -> Self {
        Self::from(framing, bytes, HEADER, first, limit)
    }

    /// From a frame's beginning on.
    pub(crate) fn from(framing: Framing, bytes: &'a [u8], at: usize, next: u64, limit: Option<u64>) -> Self {
        Self { framing, bytes, at, next, limit }
    }

    /// The position that the next entry would have.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Where the next frame begins.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The next entry, or bytes that should hold some.
    pub(crate) fn step(&mut self) -> Step<'a> {
        if self.limit.is_some_and(|limit| self.next >= limit) {
            return Step::End;
        }
        if let Some(frame) = self.frame_at(self.at).filter(|frame| frame.head.position == self.next) {
            self.at += frame.bytes();
            self.next += 1;
            return Step::Entry(frame);
        }
        match self.gap() {
            Some(gap) => Step::Gap(gap),
            None => Step::End,
        }
    }

    fn frame_at(&self, at: usize) -> Option<Frame<'a>> {
        let frame = self.framing.frame(self.bytes.get(at..)?)?;
        let fits = frame.head.position >= self.next && self.limit.is_none_or(|limit| frame.head.position < limit);
        fits.then_some(frame)
    }

    /// What there is instead of the frame expected here; `None` for nothing. The walk goes on behind it.
    fn gap(&mut self) -> Option<Gap> {
        let start = self.at;
        let written = self.written();
        let later = (start..written.saturating_sub(HEAD)).find_map(|at| self.frame_at(at).map(|frame| (at, frame)));
        let Some((at, frame)) = later else {
            self.at = self.bytes.len();
            return self.tail(start, written);
        };
        let proven = frame.head.synced > self.next;
        let torn = !proven && self.has_hole(start, at);
        let kind = if torn { Kind::Torn } else { Kind::Damaged };
        let entries_max = frame.head.position - self.next;
        (self.at, self.next) = (at, frame.head.position);
        Some(Gap { kind, bytes: start..at, entries_max })
    }

    /// Nothing follows that can be read: the end of what was written, or of what can still be found.
    fn tail(&mut self, start: usize, written: usize) -> Option<Gap> {
        let (kind, entries_max) = match self.limit {
            Some(limit) => {
                let there = if written > start { Kind::Damaged } else { Kind::Missing };
                let lost = limit - self.next;
                self.next = limit;
                (there, lost)
            }
            None if written <= start => return None,
            None if self.is_cut(start, written) => (Kind::Torn, most_entries(written - start)),
            None => (Kind::Damaged, most_entries(written - start)),
        };
        Some(Gap { kind, bytes: start..written.max(start), entries_max })
    }

    /// Where the last byte stands that is not zero.
    fn written(&self) -> usize {
        self.bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1)
    }

    /// Whether the frame at `start`, the last one, was not written to its end. A disk writes sectors whole and in any order;
    /// those that it did not write are zero.
    fn is_cut(&self, start: usize, written: usize) -> bool {
        let end = match self.framing.head(self.bytes.get(start..).unwrap_or_default()) {
            Some(head) => start + OVERHEAD + head.length as usize,
            None => start + HEAD + 1,
        };
        written < end || self.has_hole(start, written)
    }

    /// Whether a sector, or the part of one that lies between the two, is zero.
    fn has_hole(&self, start: usize, end: usize) -> bool {
        let boundary = start.next_multiple_of(SECTOR).min(end);
        let is_zero = |sector: &[u8]| !sector.is_empty() && sector.iter().all(|byte| *byte == 0);
        let first = self.bytes.get(start..boundary).unwrap_or_default();
        is_zero(first) || self.bytes.get(boundary..end).unwrap_or_default().chunks(SECTOR).any(is_zero)
    }
}

fn most_entries(bytes: usize) -> u64 {
    bytes.div_ceil(OVERHEAD) as u64
}
