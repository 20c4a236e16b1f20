//! The thread that writes: takes all that waits, writes it with one write and one sync, and acknowledges it.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::Error;
use crate::disk::DiskFile;
use crate::frame::{HEADER, OVERHEAD, Unframed};
use crate::segment::{self, Place, Segment};
use crate::spool::Shared;

/// A group takes no more entries once it has so many bytes: the first of them waits for all.
const GROUP_BYTES_MAX: u64 = 8 << 20;

/// An entry that waits for the disk.
pub(crate) struct Waiting {
    pub(crate) payload: Vec<u8>,
    pub(crate) records: u32,
    pub(crate) since: Instant,
    pub(crate) reply: oneshot::Sender<Result<Place, Error>>,
}

impl Waiting {
    /// Bytes that it will take in a segment.
    pub(crate) fn bytes(&self) -> u64 {
        (OVERHEAD + self.payload.len()) as u64
    }
}

/// The segment that is written to.
struct Active {
    file: Box<dyn DiskFile>,
    length: u64,
    /// Up to here it is durable.
    synced: u64,
}

/// Writes the segments of one spool.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    /// Number of the next segment.
    sequence: u64,
    /// None after a failure, until a new segment could be made.
    active: Option<Active>,
    /// Of the last group, for its memory.
    buffer: Vec<u8>,
}

impl Writer {
    /// With a segment to write to.
    pub(crate) fn begin(shared: Arc<Shared>, sequence: u64) -> io::Result<Self> {
        let mut writer = Self { shared, sequence, active: None, buffer: Vec::new() };
        writer.roll(0)?;
        Ok(writer)
    }

    /// Until the spool is closed and nothing waits.
    pub(crate) fn run(mut self) {
        loop {
            let group = self.gather();
            if group.is_empty() {
                return;
            }
            self.commit(group);
        }
    }

    /// Waits for entries and takes those that go into one segment; none when the spool is closed.
    fn gather(&self) -> Vec<Waiting> {
        let state = self.shared.state();
        let waited = self.shared.appended.wait_while(state, |s| s.waiting.is_empty() && !s.closed);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let room = self.active.as_ref().map_or(0, |active| active.length - active.synced);
        let (mut group, mut bytes) = (Vec::new(), 0);
        while let Some(next) = state.waiting.front() {
            bytes += next.bytes();
            // The first one always goes: with a segment of its own if need be.
            if !group.is_empty() && (bytes > GROUP_BYTES_MAX || bytes > room) {
                break;
            }
            group.extend(state.waiting.pop_front());
        }
        group
    }

    fn commit(&mut self, group: Vec<Waiting>) {
        let now = (self.shared.clock)();
        match self.write(&group, now) {
            Ok(()) => {
                let first = self.shared.synced(&group, now);
                for (position, waiting) in (first..).zip(group) {
                    self.shared.stats.appends.add(waiting.since.elapsed());
                    // The caller may have gone: its entry is there all the same.
                    let _ = waiting.reply.send(Ok(Place { run: self.shared.run, position }));
                }
            }
            Err(error) => {
                tracing::error!(%error, entries = group.len(), "the spool could not be written");
                self.shared.failed(&group, &error);
                for waiting in group {
                    let _ = waiting.reply.send(Err(error.clone()));
                }
            }
        }
    }

    fn write(&mut self, group: &[Waiting], now: i64) -> Result<(), Error> {
        let bytes = group.iter().map(Waiting::bytes).sum();
        if self.active.as_ref().is_none_or(|active| active.synced + bytes > active.length) {
            self.roll(bytes).map_err(|error| Error::Disk(Arc::new(error)))?;
        }
        self.encode(group, now);
        let Some(active) = &mut self.active else { return Err(Error::Closed) };
        let written = active.file.write_at(&self.buffer, active.synced).and_then(|()| {
            let started = Instant::now();
            active.file.sync()?;
            self.shared.stats.syncs.add(started.elapsed());
            Ok(())
        });
        match written {
            Ok(()) => {
                active.synced += bytes;
                Ok(())
            }
            Err(error) => Err(self.abandon(error)),
        }
    }

    fn encode(&mut self, group: &[Waiting], now: i64) {
        let synced = self.shared.state().durable;
        self.buffer.clear();
        for (position, waiting) in (synced..).zip(group) {
            let Waiting { payload, records, .. } = waiting;
            let entry = Unframed { position, synced, appended_at: now, records: *records, payload };
            self.shared.framing.put(&entry, &mut self.buffer);
        }
    }

    /// A new segment, from the next position on. Nothing goes into the old one any more even if that fails: the new one may
    /// be there by name, and then says that the old one ends here.
    fn roll(&mut self, bytes: u64) -> io::Result<()> {
        self.active = None;
        let length = self.shared.limits.segment_for(bytes);
        let first = self.shared.state().durable;
        let segment = Segment { sequence: self.sequence, run: self.shared.run, first };
        // Known before it is there: one that was half made is tried again under its name, and deleted when its time comes.
        let mut state = self.shared.state();
        if state.segments.back() != Some(&segment) {
            state.segments.push_back(segment);
        }
        drop(state);
        let file = segment::create(&*self.shared.disk, self.shared.id, segment, length)?;
        self.sequence += 1;
        self.active = Some(Active { file, length, synced: HEADER as u64 });
        Ok(())
    }

    /// After a failed write or sync the segment is left as it was last synced: whatever it may hold beyond is not asked for
    /// again, neither now (the page cache may show what the disk has not) nor after a restart, because the next segment says
    /// where this one ends. When there can be no next one, what was written is taken back.
    fn abandon(&mut self, error: io::Error) -> Error {
        let Some(old) = self.active.take() else { return Error::Closed };
        let error = Arc::new(error);
        let settled = self.roll(0).is_ok() || old.file.cut(old.synced, old.length).is_ok();
        if settled { Error::Disk(error) } else { Error::Unknown(error) }
    }
}
