//! Reads a spool in order.

use std::io;
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
    /// Whether bytes not far from here cannot be read: then no more are asked for than are needed.
    careful: bool,
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

    /// The next entries, until they have `bytes_max` bytes or more, as far as they are durable. One that the disk fails to give
    /// at every one of thirty calls is damage, and passed over.
    ///
    /// # Errors
    /// The disk fails at the first of them; the reader may be used again.
    pub fn read(&mut self, bytes_max: u64) -> Result<Vec<Entry>, Error> {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while bytes < bytes_max {
            let entry = match self.peek() {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                // Those before it are whole; the next call meets the error again.
                Err(_) if !entries.is_empty() => break,
                Err(error) => return Err(error),
            };
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
            match self.here() {
                Ok(Some(entry)) => return Ok(Some(entry)),
                Ok(None) => drop(self.pass_over().map_err(failed)?),
                Err(error) => {
                    let gives_up = self.spool.shared.gives_up(self.next, &error);
                    if !gives_up || !self.pass_over().map_err(failed)? {
                        return Err(failed(error));
                    }
                }
            }
        }
    }

    /// The next entry, if its bytes are whole.
    fn here(&mut self) -> io::Result<Option<Entry>> {
        self.right_segment()?;
        let Some(open) = &mut self.open else { return Err(io::ErrorKind::NotFound.into()) };
        let framing = self.spool.shared.framing;
        if let Some(entry) = open.entry(framing, self.next)? {
            return Ok(Some(entry));
        }
        // What was read ahead may have been written since.
        open.forget();
        open.entry(framing, self.next)
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
    fn right_segment(&mut self) -> io::Result<()> {
        let state = self.spool.shared.state();
        let segment = state.segments.iter().rev().find(|segment| segment.first <= self.next).copied();
        drop(state);
        let Some(segment) = segment else { return Ok(()) };
        if self.open.as_ref().is_none_or(|open| open.segment != segment) {
            let file = self.spool.shared.disk.open(&segment.name())?;
            // Within a segment one reads on; another one is begun at its start, whatever was lost before.
            self.open = Some(Open { segment, file, at: HEADER as u64, buffer: Vec::new(), used: 0, careful: false });
        }
        Ok(())
    }

    /// The bytes here are not the entry that they should be: it was whole when it was acknowledged, or the spool was opened.
    /// Reports that and goes on with the next entry that is whole; says whether there was anything to pass over.
    fn pass_over(&mut self) -> io::Result<bool> {
        let shared = &self.spool.shared;
        let Some(open) = &mut self.open else { return Ok(false) };
        let state = shared.state();
        let after = state.segments.iter().find(|segment| segment.sequence > open.segment.sequence);
        let limit = after.map_or(state.durable, |segment| segment.first);
        drop(state);
        let bytes = disk::read_readable(&*open.file)?;
        open.forget();
        open.careful = false;
        let start = usize::try_from(open.at).unwrap_or(usize::MAX);
        let mut scan = Scan::from(shared.framing, &bytes, start, self.next, Some(limit));
        let Step::Gap(gap) = scan.step() else { return Ok(false) };
        set_aside(&*shared.disk, open.segment);
        let bytes = gap.bytes.start as u64..gap.bytes.end as u64;
        let segment = open.segment.name();
        let damage = Damage { segment, kind: gap.kind, bytes, entries_max: gap.entries_max };
        shared.lost(self.next..scan.next(), damage);
        (open.at, self.next) = (scan.at() as u64, scan.next());
        Ok(true)
    }
}

fn failed(error: io::Error) -> Error {
    Error::Disk(Arc::new(error))
}

impl Open {
    fn unread(&self) -> &[u8] {
        self.buffer.get(self.used..).unwrap_or_default()
    }

    /// The entry here, if it is whole and at `position`.
    fn entry(&mut self, framing: Framing, position: u64) -> io::Result<Option<Entry>> {
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
    fn fill(&mut self, bytes: usize) -> io::Result<()> {
        if self.unread().len() >= bytes {
            return Ok(());
        }
        if !self.careful {
            self.careful = self.grow(bytes.max(CHUNK)).is_err();
        }
        // Bytes further on that cannot be read are no reason to lose these.
        if self.careful { self.grow(bytes - self.unread().len()) } else { Ok(()) }
    }

    /// Reads `more` bytes, or as many as the file has.
    fn grow(&mut self, more: usize) -> io::Result<()> {
        let unread = self.unread();
        let kept = unread.len();
        let mut buffer = vec![0; kept + more];
        let (old, free) = buffer.split_at_mut(kept);
        old.copy_from_slice(unread);
        let at = self.at + self.used as u64;
        let read = self.file.read_at(free, at + kept as u64)?;
        buffer.truncate(kept + read);
        (self.buffer, self.at, self.used) = (buffer, at, 0);
        Ok(())
    }
}
