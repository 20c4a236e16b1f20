//! Reads a spool in order.

use std::sync::Arc;

use crate::disk::{self, DiskFile};
use crate::frame::{Framing, HEAD, HEADER, OVERHEAD};
use crate::recover::set_aside;
use crate::scan::{Scan, Step};
use crate::segment::{Place, Segment};
use crate::spool::Spool;
use crate::{Damage, Entry, Error};

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// Reads every durable entry once, in order.
pub struct Reader {
    spool: Arc<Spool>,
    open: Option<Open>,
    /// The next position.
    next: u64,
}

struct Open {
    segment: Segment,
    file: Box<dyn DiskFile>,
    /// Where `buffer` begins in the file.
    at: u64,
    buffer: Vec<u8>,
    /// How much of `buffer` has been read.
    used: usize,
}

impl Reader {
    /// From the first entry that the spool still holds.
    pub fn new(spool: Arc<Spool>) -> Self {
        let next = spool.shared.state().segments.front().map_or(0, |segment| segment.first);
        Self { spool, open: None, next }
    }

    /// The next position: every one before it was handed over or reported as damaged.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// Passes over entries before `place`, which are released.
    ///
    /// # Errors
    /// The disk fails; the reader may be used again.
    pub fn seek(&mut self, place: Place) -> Result<(), Error> {
        while let Some(entry) = self.peek()? {
            if entry.place >= place {
                break;
            }
            self.advance(&entry);
            self.spool.release(std::slice::from_ref(&entry));
        }
        Ok(())
    }

    /// The next entries, until they have `bytes_max` bytes or more, as far as they are durable.
    ///
    /// # Errors
    /// The disk fails; the reader may be used again.
    pub fn read(&mut self, bytes_max: u64) -> Result<Vec<Entry>, Error> {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while bytes < bytes_max {
            let Some(entry) = self.peek()? else { break };
            self.advance(&entry);
            bytes += entry.bytes;
            entries.push(entry);
        }
        Ok(entries)
    }

    fn advance(&mut self, entry: &Entry) {
        self.next = entry.place.position + 1;
        if let Some(open) = &mut self.open {
            open.used += usize::try_from(entry.bytes).unwrap_or(usize::MAX);
        }
    }

    /// The next entry, without passing over it.
    fn peek(&mut self) -> Result<Option<Entry>, Error> {
        loop {
            if self.is_at_end() {
                return Ok(None);
            }
            self.right_segment()?;
            let Some(open) = &mut self.open else { return Ok(None) };
            let framing = self.spool.shared.framing;
            if let Some(entry) = open.entry(framing, self.next)? {
                return Ok(Some(entry));
            }
            // What was read ahead may have been written since.
            open.forget();
            if let Some(entry) = open.entry(framing, self.next)? {
                return Ok(Some(entry));
            }
            self.pass_over()?;
        }
    }

    /// Whether there is nothing to read. A segment that nothing more comes into is let go then: deleted, it would take room on
    /// the disk as long as it is open.
    fn is_at_end(&mut self) -> bool {
        let state = self.spool.shared.state();
        if self.next < state.durable {
            return false;
        }
        if self.open.as_ref().is_some_and(|open| state.segments.back() != Some(&open.segment)) {
            self.open = None;
        }
        true
    }

    /// Opens the segment that has the next position.
    fn right_segment(&mut self) -> Result<(), Error> {
        let state = self.spool.shared.state();
        let segment = state.segments.iter().rev().find(|segment| segment.first <= self.next).copied();
        drop(state);
        let Some(segment) = segment else { return Ok(()) };
        if self.open.as_ref().is_none_or(|open| open.segment != segment) {
            let file = self.spool.shared.disk.open(&segment.name()).map_err(|error| Error::Disk(Arc::new(error)))?;
            // Within a segment one reads on; another one is begun at its start, whatever was lost before.
            self.open = Some(Open { segment, file, at: HEADER as u64, buffer: Vec::new(), used: 0 });
        }
        Ok(())
    }

    /// The bytes here are not the entry that they should be: it was whole when it was acknowledged, or the spool was opened.
    /// Reports that and goes on with the next entry that is whole.
    fn pass_over(&mut self) -> Result<(), Error> {
        let shared = &self.spool.shared;
        let Some(open) = &mut self.open else { return Ok(()) };
        let state = shared.state();
        let after = state.segments.iter().find(|segment| segment.sequence > open.segment.sequence);
        let limit = after.map_or(state.durable, |segment| segment.first);
        drop(state);
        let bytes = disk::read_all(&*open.file).map_err(|error| Error::Disk(Arc::new(error)))?;
        open.forget();
        let start = usize::try_from(open.at).unwrap_or(usize::MAX);
        let mut scan = Scan::from(shared.framing, &bytes, start, self.next, Some(limit));
        if let Step::Gap(gap) = scan.step() {
            set_aside(&*shared.disk, open.segment);
            let bytes = gap.bytes.start as u64..gap.bytes.end as u64;
            let segment = open.segment.name();
            shared.damaged(Damage { segment, kind: gap.kind, bytes, entries_max: gap.entries_max });
            (open.at, self.next) = (scan.at() as u64, scan.next());
        }
        Ok(())
    }
}

impl Open {
    fn unread(&self) -> &[u8] {
        self.buffer.get(self.used..).unwrap_or_default()
    }

    /// The entry here, if it is whole and at `position`.
    fn entry(&mut self, framing: Framing, position: u64) -> Result<Option<Entry>, Error> {
        self.fill(HEAD)?;
        let Some(head) = framing.head(self.unread()) else { return Ok(None) };
        self.fill(OVERHEAD + head.length as usize)?;
        let frame = framing.frame(self.unread()).filter(|frame| frame.head.position == position);
        Ok(frame.map(|frame| Entry::of(self.segment.run, &frame)))
    }

    /// Drops what was read ahead.
    fn forget(&mut self) {
        self.at += self.used as u64;
        self.used = 0;
        self.buffer.clear();
    }

    /// Has `bytes` bytes to read, if the file has them.
    fn fill(&mut self, bytes: usize) -> Result<(), Error> {
        if self.unread().len() >= bytes {
            return Ok(());
        }
        let unread = self.unread();
        let kept = unread.len();
        let mut buffer = vec![0; kept + bytes.max(CHUNK)];
        let (old, free) = buffer.split_at_mut(kept);
        old.copy_from_slice(unread);
        let at = self.at + self.used as u64;
        let read = self.file.read_at(free, at + kept as u64).map_err(|error| Error::Disk(Arc::new(error)))?;
        buffer.truncate(kept + read);
        (self.buffer, self.at, self.used) = (buffer, at, 0);
        Ok(())
    }
}
