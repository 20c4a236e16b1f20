//! The spool: what its writers, its reader and its thread share.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::damage::{Reports, Unread};
use crate::depth::{Depth, Times};
use crate::disk::Disk;
use crate::frame::{Framing, HEADER, OVERHEAD, PAYLOAD_MAX};
use crate::recover::{self, Found};
use crate::segment::{Place, Segment};
use crate::stats::Stats;
use crate::syncer::{self, Waiting};
use crate::{Damage, Entry, Error, Kind, released};

/// Bytes that wait for the disk.
const WAITING_BYTES_MAX: u64 = 64 << 20;

/// Milliseconds since the epoch.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What a spool may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of entries that are not released.
    pub bytes_max: u64,
    /// Age of the oldest entry that is not released, milliseconds: older, and nothing more is taken.
    pub age_max_ms: i64,
    /// Bytes of a segment; an entry that is larger has a segment of its own. Entries are deleted a segment at a time.
    pub segment_bytes: u64,
}

/// A durable queue.
pub struct Spool {
    pub(crate) shared: Arc<Shared>,
    syncer: Mutex<Option<JoinHandle<()>>>,
}

pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) id: Uuid,
    pub(crate) framing: Framing,
    pub(crate) limits: Limits,
    pub(crate) run: u64,
    pub(crate) clock: Clock,
    pub(crate) stats: Stats,
    state: Mutex<State>,
    /// Something waits for the disk, or the spool is closed.
    pub(crate) appended: Condvar,
    /// Something became durable, or the spool is closed.
    synced: Condvar,
}

pub(crate) struct State {
    pub(crate) waiting: VecDeque<Waiting>,
    waiting_bytes: u64,
    pub(crate) segments: VecDeque<Segment>,
    /// The position after the last durable entry.
    pub(crate) durable: u64,
    released: Place,
    /// Entries before it were released in an earlier run, and do not count.
    counted_from: Place,
    /// `released` as it was last written down.
    kept: Place,
    /// Positions that hold nothing any more, first to next: released once all before them are.
    lost: BTreeMap<u64, u64>,
    unread: Unread,
    depth: Depth,
    times: Times,
    pub(crate) closed: bool,
    pub(crate) last_error: Option<String>,
    damage: Reports,
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // Every change leaves the state whole, so a panic elsewhere while holding the lock is no reason to stop.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Entries are durable: they may be read, and count. Gives the position of the first.
    pub(crate) fn synced(&self, group: &[Waiting], now: i64) -> u64 {
        let mut state = self.state();
        let first = state.durable;
        for waiting in group {
            let position = state.durable;
            state.times.push(position, now);
            state.durable += 1;
            state.depth.entries += 1;
            state.depth.records += u64::from(waiting.records);
            state.depth.bytes += waiting.bytes();
            state.waiting_bytes -= waiting.bytes();
        }
        state.last_error = None;
        self.stats.entries.fetch_add(group.len() as u64, Relaxed);
        self.synced.notify_all();
        first
    }

    /// Entries that the disk did not take.
    pub(crate) fn failed(&self, group: &[Waiting], error: &Error) {
        let mut state = self.state();
        state.waiting_bytes -= group.iter().map(Waiting::bytes).sum::<u64>();
        state.last_error = Some(error.to_string());
        self.stats.failures.fetch_add(1, Relaxed);
        if error.no_space() {
            self.stats.refused.fetch_add(group.len() as u64, Relaxed);
        }
    }

    /// The reader found that these positions hold nothing any more.
    pub(crate) fn lost(&self, positions: Range<u64>, damage: Damage) {
        let mut state = self.state();
        state.damage.add(damage);
        state.lost.insert(positions.start, positions.end);
        state.settle();
    }

    /// Whether the entry at `position`, which could not be read, is to be passed over.
    pub(crate) fn gives_up(&self, position: u64, error: &io::Error) -> bool {
        self.state().unread.gives_up(position, error)
    }
}

impl State {
    fn of(found: Found, begin: Place) -> Self {
        let first = found.segments.first().map_or(begin, Segment::place);
        let mut state = Self {
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            segments: found.segments.into(),
            durable: begin.position,
            released: first,
            counted_from: found.counted_from,
            kept: found.counted_from,
            lost: BTreeMap::new(),
            unread: Unread::default(),
            depth: found.depth,
            times: found.times,
            closed: false,
            last_error: None,
            damage: Reports::default(),
        };
        found.damage.into_iter().for_each(|damage| state.damage.add(damage));
        state
    }

    /// Passes over what is lost. Lost entries go on counting until nothing is left: how many records they had is not known.
    fn settle(&mut self) {
        while let Some(lost) = self.lost.first_entry().filter(|lost| *lost.key() <= self.released.position) {
            self.released.position = self.released.position.max(lost.remove());
        }
        self.times.release(self.released.position);
        if self.released.position >= self.durable {
            self.depth = Depth::default();
        }
        if self.depth.entries == 0 {
            self.times.clear();
        }
    }

    fn age_ms(&self, now: i64) -> Option<i64> {
        self.times.oldest().filter(|_| self.depth.entries > 0).map(|at| now.saturating_sub(at).max(0))
    }

    fn admit(&self, bytes: u64, limits: &Limits, now: i64) -> Result<(), Error> {
        let held = self.depth.bytes + self.waiting_bytes;
        let age_ms = self.age_ms(now).unwrap_or(0);
        if self.closed {
            return Err(Error::Closed);
        }
        if held + bytes > limits.bytes_max {
            return Err(Error::Full { bytes: held, bytes_max: limits.bytes_max });
        }
        if age_ms > limits.age_max_ms {
            return Err(Error::Old { age_ms, age_max_ms: limits.age_max_ms });
        }
        if self.waiting_bytes > 0 && self.waiting_bytes + bytes > WAITING_BYTES_MAX {
            return Err(Error::Busy);
        }
        Ok(())
    }
}

impl Spool {
    /// Opens a spool, or makes one in an empty directory; hands over every entry that is there, in order.
    ///
    /// # Errors
    /// The disk cannot be read or written.
    pub fn open(
        disk: Arc<dyn Disk>,
        limits: Limits,
        clock: Clock,
        visit: &mut dyn FnMut(Entry),
    ) -> Result<Arc<Self>, Error> {
        let found = recover::recover(&*disk, limits.segment_bytes, visit).map_err(|e| Error::Disk(Arc::new(e)))?;
        let begin = found.begin(clock());
        let id = found.id;
        let sequence = found.segments.last().map_or(0, |last| last.sequence + 1);
        let shared = Arc::new(Shared {
            disk,
            id,
            framing: Framing::of(id),
            limits,
            run: begin.run,
            clock,
            stats: Stats::default(),
            state: Mutex::new(State::of(found, begin)),
            appended: Condvar::new(),
            synced: Condvar::new(),
        });
        // The first segment is made here: a directory that cannot be written is told at once, and the next position is kept
        // also when every segment before is deleted.
        let writes = syncer::Writer::begin(Arc::clone(&shared), sequence).map_err(|e| Error::Disk(Arc::new(e)))?;
        let spawned = std::thread::Builder::new().name("spool".to_owned()).spawn(move || writes.run());
        let thread = spawned.map_err(|error| Error::Thread(Arc::new(error)))?;
        Ok(Arc::new(Self { shared, syncer: Mutex::new(Some(thread)) }))
    }

    /// The spool's id: that of its directory; a directory that was lost or replaced has another.
    pub fn id(&self) -> Uuid {
        self.shared.id
    }

    /// Hands an entry of `records` records to the disk; the receiver hears where it is once it is
    /// durable, or why it is not.
    ///
    /// # Errors
    /// A bound is reached, or the spool is closed. Nothing was written.
    pub fn append(&self, payload: Vec<u8>, records: u32) -> Result<oneshot::Receiver<Result<Place, Error>>, Error> {
        let bytes_max = self.shared.limits.payload_max();
        if payload.len() > bytes_max {
            return Err(Error::TooLarge { bytes: payload.len(), bytes_max });
        }
        let (reply, receiver) = oneshot::channel();
        let waiting = Waiting { payload, records, since: Instant::now(), reply };
        let now = (self.shared.clock)();
        let mut state = self.shared.state();
        if let Err(error) = state.admit(waiting.bytes(), &self.shared.limits, now) {
            self.shared.stats.refused.fetch_add(1, Relaxed);
            return Err(error);
        }
        state.waiting_bytes += waiting.bytes();
        state.waiting.push_back(waiting);
        drop(state);
        self.shared.appended.notify_one();
        Ok(receiver)
    }

    /// Waits until there is an entry at `position` or after, at most for `timeout`; says whether there is.
    pub fn wait(&self, position: u64, timeout: Duration) -> bool {
        let there = |state: &State| state.durable > position;
        let waited = self.shared.synced.wait_timeout_while(self.shared.state(), timeout, |s| !there(s) && !s.closed);
        waited.is_ok_and(|(state, _)| there(&state))
    }

    /// These entries, the next in order, are done with: their room is free again. Those released before are passed over.
    pub fn release(&self, entries: &[Entry]) {
        let mut state = self.shared.state();
        for entry in entries {
            if entry.place < state.released {
                continue;
            }
            if entry.place >= state.counted_from {
                state.depth.sub(entry);
            }
            state.released = Place { run: entry.place.run, position: entry.place.position + 1 };
        }
        state.settle();
    }

    /// Writes down how far the entries are released, if that has changed, so that the next start does not count them as
    /// waiting. Only a hint: what is done with is for the caller to know.
    ///
    /// # Errors
    /// The disk fails; another call tries again.
    pub fn keep_released(&self) -> Result<(), Error> {
        let place = {
            let state = self.shared.state();
            if state.released <= state.kept {
                return Ok(());
            }
            state.released
        };
        released::write(&*self.shared.disk, place).map_err(|error| Error::Disk(Arc::new(error)))?;
        self.shared.state().kept = place;
        Ok(())
    }

    /// The first entry that [`Spool::trim`] would keep, if it would delete any segment.
    pub fn trimmable(&self) -> Option<Place> {
        let state = self.shared.state();
        let released = state.released.position;
        let kept = state.segments.iter().skip(1).take_while(|segment| segment.first <= released).last();
        kept.map(Segment::place)
    }

    /// Deletes the segments all of whose entries are before `place`.
    ///
    /// # Errors
    /// The disk fails; what could not be deleted is tried again the next time.
    pub fn trim(&self, place: Place) -> Result<(), Error> {
        loop {
            let (segment, next) = {
                let state = self.shared.state();
                match (state.segments.front(), state.segments.get(1)) {
                    (Some(segment), Some(next)) => (*segment, *next),
                    _ => return Ok(()),
                }
            };
            if next.place() > place {
                return Ok(());
            }
            match self.shared.disk.remove(&segment.name()) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::Disk(Arc::new(error)));
                }
                Ok(()) | Err(_) => {}
            }
            self.shared.state().segments.pop_front();
        }
    }

    /// What is there and not released.
    pub fn depth(&self) -> Depth {
        self.shared.state().depth
    }

    /// How long the oldest entry has waited, milliseconds, to the second.
    pub fn oldest_age_ms(&self) -> Option<i64> {
        self.shared.state().age_ms((self.shared.clock)())
    }

    /// What it may hold.
    pub fn limits(&self) -> Limits {
        self.shared.limits
    }

    /// Why the disk did not take the last entries, if it did not.
    pub fn last_error(&self) -> Option<String> {
        self.shared.state().last_error.clone()
    }

    /// What could not be read, the first hundred reports, and how many there were.
    pub fn damage(&self) -> (Vec<Damage>, u64) {
        self.shared.state().damage.kept()
    }

    /// Most entries lost to a kind of damage, of all reports.
    pub fn lost(&self, kind: Kind) -> u64 {
        self.shared.state().damage.entries(kind)
    }

    /// What was counted so far.
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// Makes durable what waits, takes nothing more and ends the thread. Reading and releasing go on. A second call does
    /// nothing.
    pub fn close(&self) {
        self.shared.state().closed = true;
        self.shared.appended.notify_all();
        self.shared.synced.notify_all();
        let thread = self.syncer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the spool's thread ended in a panic");
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.close();
    }
}

impl Limits {
    /// Bytes of a new segment that has room for `bytes` of frames.
    pub(crate) fn segment_for(&self, bytes: u64) -> u64 {
        self.segment_bytes.max(HEADER as u64 + bytes)
    }

    /// Largest payload that ever fits.
    fn payload_max(&self) -> usize {
        usize::try_from(self.bytes_max).unwrap_or(usize::MAX).saturating_sub(OVERHEAD).min(PAYLOAD_MAX)
    }
}
