//! Session windows in the second fold.
//!
//! A session of a partial joins every open session of its key that is closer than the gap. The joined one lives under the
//! bucket of its first event; the rows that it replaces are *retracted*: their records become 0 and their accumulators the
//! identity, and they are written like any other change, so that whoever holds them as they were learns that they are no more.
//! Readers pass over rows without records. Such a row comes alive again when a session begins there once more. Its ledger
//! counts live rows alone, and what was in the others: records and late records move with a session from ledger to ledger, and
//! so do the source offsets, of which the old ledger keeps a copy. `held` is of the records' own time and stays.
//!
//! `window_end` of a bucket is the end of its last session, at least its own, and never shrinks, so that it is final iff the
//! watermark has passed `window_end + grace`, as any window. No record that is on time changes a final bucket. One that
//! is late, or comes from a partition that had been idle, may prolong a session beyond the watermark: then the bucket is
//! amended, and open again until that has passed.
//!
//! Sealed sessions are joined with nothing: what belongs under a sealed bucket is turned away, and what begins after it
//! is a session of its own, however close. So what is in the rows depends on the order of the partials alone, as everywhere.
//!
//! Any partial may touch sessions of any open bucket, so all of them stay in memory, and there is an index from key to
//! sessions beside them, made anew from the rows at a restore. The bound of memory slows partials down and drops nothing.

use super::window::{WindowState, widen};
use super::{Error, MergeFold, SealedRow};
use crate::job::Accumulator;
use crate::session::{self, Extent, Session, Span};
use crate::table;
use crate::window::{self, Window};
use std::collections::HashMap;
use tidemark_schemas::avro::{self, Reader};
use tidemark_schemas::engine::{Partial, PartialRow, PartialWindow, SourceRange};

/// Where the open sessions of each key are.
#[derive(Debug)]
pub(super) struct Index {
    gap_ms: i64,
    /// By start, at least the gap apart.
    keys: HashMap<Box<[u8]>, Vec<Span>>,
    bytes: usize,
}

impl Index {
    pub(super) fn new(gap_ms: i64) -> Self {
        Self { gap_ms, keys: HashMap::new(), bytes: 0 }
    }

    /// Memory in use, allocator overhead apart.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn key_bytes(key: &[u8]) -> usize {
        key.len() + size_of::<(Box<[u8]>, Vec<Span>)>()
    }

    /// Takes the sessions out that are closer to `span` than the gap, earliest first.
    fn take_near(&mut self, key: &[u8], span: Span) -> Vec<Span> {
        let Some(spans) = self.keys.get_mut(key) else { return Vec::new() };
        let near = session::near(spans, |span| *span, span, self.gap_ms);
        self.bytes -= near.len() * size_of::<Span>();
        spans.drain(near).collect()
    }

    fn put(&mut self, key: &[u8], span: Span) {
        if !self.keys.contains_key(key) {
            self.bytes += Self::key_bytes(key);
            self.keys.insert(key.into(), Vec::new());
        }
        let Some(spans) = self.keys.get_mut(key) else { return };
        spans.insert(spans.partition_point(|there| there.start < span.start), span);
        self.bytes += size_of::<Span>();
    }

    /// Takes all sessions of a key out that are in a bucket.
    fn remove(&mut self, key: &[u8], bucket: Window) {
        let Some(spans) = self.keys.get_mut(key) else { return };
        let place = |start: i64| spans.partition_point(|span| span.start < start);
        let range = place(bucket.start)..place(bucket.end);
        self.bytes -= range.len() * size_of::<Span>();
        spans.drain(range);
        if spans.is_empty() {
            self.keys.remove(key);
            self.bytes -= Self::key_bytes(key);
        }
    }

    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.bytes = 0;
    }

    /// Takes the sessions of a bucket in.
    pub(super) fn add<A: Accumulator>(&mut self, state: &WindowState<A>) {
        state.sessions().for_each(|(key, span)| self.put(key, span));
    }

    /// The bucket is sealed: nothing is joined with its sessions any more.
    pub(super) fn forget<A: Accumulator>(&mut self, state: &WindowState<A>) {
        state.sessions().for_each(|(key, span)| self.remove(key, window::session_bucket(span.start)));
    }
}

/// What changes rows and ledgers: a partial.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    pub(super) appended_at: i64,
    /// Its offset + 1.
    pub(super) revision: i64,
}

impl<A: Accumulator> WindowState<A> {
    /// Keys and spans of the rows that are not retracted.
    fn sessions(&self) -> impl Iterator<Item = (&[u8], Span)> {
        let rows = self.rows.iter().flat_map(|rows| rows.iter()).zip(&self.extents);
        rows.filter(|((_, entry), _)| entry.value.records != 0).filter_map(|((row_key, _), extent)| {
            let (start, key) = session::split_row_key(row_key).ok()?;
            Some((key, Span { start, last: extent.last }))
        })
    }

    fn changed(&mut self, change: Change) {
        self.ledger.amended |= self.ledger.closed_at.is_some();
        self.ledger.updated_at = change.appended_at;
        self.ledger.revision = change.revision;
        self.ledger_touched = true;
    }

    /// Retracts the row of a session: what was in it, and whether the row was untouched before.
    fn take_session(&mut self, start: i64, row_key: &[u8], change: Change) -> Option<(Session<A>, bool)> {
        let at = self.rows.as_ref()?.find(table::hash(row_key), row_key)?;
        let extent = self.extents.get_mut(at)?;
        let Extent { last, late } = std::mem::replace(extent, Extent { last: start, late: 0 });
        let cell = self.rows.as_mut()?.get_mut(at)?;
        let (records, sum) = (std::mem::take(&mut cell.records), std::mem::take(&mut cell.sum));
        cell.revision = change.revision;
        self.ledger.rows -= 1;
        self.ledger.records -= records;
        self.ledger.late -= late;
        self.changed = change.revision;
        self.changed(change);
        Some((Session { span: Span { start, last }, records, late, sum }, self.touch(at)))
    }

    /// Writes the row of a session, which is not there or retracted: whether it was untouched before.
    fn put_session(&mut self, row_key: &[u8], session: Session<A>, change: Change) -> Option<bool> {
        let (at, cell) = self.row(row_key)?;
        (cell.records, cell.sum, cell.revision) = (session.records, session.sum, change.revision);
        self.set_extent(at, Extent { last: session.span.last, late: session.late });
        self.ledger.rows += 1;
        self.ledger.records += session.records;
        self.ledger.late += session.late;
        self.changed = change.revision;
        self.changed(change);
        self.ledger.amended |= session.late > 0;
        Some(self.touch(at))
    }
}

impl<A: Accumulator> MergeFold<A> {
    /// Whether rows stay in memory for as long as their windows are open, whatever the bound.
    pub fn keeps_all(&self) -> bool {
        self.sessions.is_some()
    }

    pub(super) fn fold_sessions(
        &mut self,
        change: Change,
        partial: &Partial<'_>,
        window: &PartialWindow<'_>,
    ) -> Result<(), Error> {
        let source = SourceRange {
            topic: partial.topic.to_owned(),
            partition: partial.partition,
            first_offset: window.first_offset,
            last_offset: window.last_offset,
        };
        for row in &window.rows {
            let read = read_session(row);
            let offset = change.revision - 1;
            let (key, session) = read.map_err(|reason| Error::Accumulator { offset, reason })?;
            self.join(change, &source, key, session)?;
        }
        if window.held > 0 {
            let state = self.open_window(window.start, change.appended_at);
            state.ledger.held += window.held;
            state.ledger.updated_at = change.appended_at;
            state.ledger.revision = change.revision;
            state.ledger_touched = true;
            add_source(state, &source);
        }
        Ok(())
    }

    fn join(&mut self, change: Change, source: &SourceRange, key: &[u8], mut session: Session<A>) -> Result<(), Error> {
        let Some(index) = &mut self.sessions else { return Ok(()) };
        let gap_ms = index.gap_ms;
        let near = index.take_near(key, session.span);
        let start = near.first().map_or(session.span.start, |first| first.start.min(session.span.start));
        let (home, mut row_key) = (window::session_bucket(start).start, Vec::with_capacity(key.len() + 10));
        let mut moved: Vec<SourceRange> = Vec::new();
        for Span { start, .. } in near {
            let bucket = window::session_bucket(start).start;
            let lacking = Error::Lacking { window_start: bucket };
            row_key.clear();
            session::put_row_key(start, key, &mut row_key);
            let Some(state) = self.open.get_mut(&bucket) else { return Err(lacking) };
            let Some((old, untouched)) = state.take_session(start, &row_key, change) else { return Err(lacking) };
            session.join(&old);
            self.touched += usize::from(untouched);
            if bucket != home {
                moved.extend_from_slice(&state.ledger.sources);
            }
        }
        index.put(key, session.span);
        row_key.clear();
        session::put_row_key(start, key, &mut row_key);
        let end = session.span.end(gap_ms);
        let (watermark, grace_ms) = (self.sources.watermark(), self.grace_ms);
        let state = self.open_window(home, change.appended_at);
        let put = state.put_session(&row_key, session, change);
        moved.iter().chain([source]).for_each(|source| add_source(state, source));
        let ledger = &mut state.ledger;
        ledger.window_end = ledger.window_end.max(end);
        let is_final = watermark >= Some(ledger.window_end.saturating_add(grace_ms));
        ledger.closed_at = ledger.closed_at.filter(|_| is_final);
        self.touched += usize::from(put.ok_or(Error::Lacking { window_start: home })?);
        Ok(())
    }
}

fn add_source<A>(state: &mut WindowState<A>, source: &SourceRange) {
    let SourceRange { topic, partition, first_offset, last_offset } = source;
    widen(&mut state.ledger.sources, topic, *partition, *first_offset, *last_offset);
}

/// A session as a partial brings it, and its key.
fn read_session<'p, A: Accumulator>(row: &PartialRow<'p>) -> Result<(&'p [u8], Session<A>), avro::Error> {
    let (start, key) = session::split_row_key(row.key)?;
    let (Extent { last, late }, sum) = read_row(row.accumulator)?;
    Ok((key, Session { span: Span { start, last }, records: row.records, late, sum }))
}

/// Reads what stands in the place of a fixed window's accumulators.
pub(super) fn read_row<A: Accumulator>(bytes: &[u8]) -> Result<(Extent, A), avro::Error> {
    let mut reader = Reader::new(bytes);
    let extent = Extent::get(&mut reader)?;
    let sum = A::get(&mut reader)?;
    reader.finish()?;
    Ok((extent, sum))
}

/// A session that came too late for a sealed bucket, as a fixed window's row: from its first event to a gap after its last.
pub(super) fn sealed_row<'p>(row: SealedRow<'p>, gap_ms: i64) -> Result<SealedRow<'p>, avro::Error> {
    let (start, key) = session::split_row_key(row.key)?;
    let mut reader = Reader::new(row.accumulator);
    let last = Extent::get(&mut reader)?.last;
    let window_end = Span { start, last }.end(gap_ms);
    Ok(SealedRow { window_start: start, window_end, key, accumulator: reader.left(), ..row })
}
