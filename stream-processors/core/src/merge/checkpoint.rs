//! What of the state goes to disk and comes back: pure bytes; files are somebody else's.
//!
//! A checkpoint is *fuzzy*: it may be taken piece by piece, each piece just after a commit, because whoever loads it takes
//! all newer entries of the changelog in after it. A window counts as saved up to the revision that it had when its first
//! piece was taken.

use super::restore::gap;
use super::window::WindowState;
use super::{Gap, MergeFold, RowCell};
use crate::job::Accumulator;
use crate::session::Extent;
use crate::table::{self, Table};
use tidemark_schemas::avro::{self, Avro, Reader};
use tidemark_schemas::engine::{Ledger, Partial, Progress, RowState};

/// A window whose rows have changed since they were saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsaved {
    /// Start of the window.
    pub window_start: i64,
    /// Revision of its last change: what [`MergeFold::saved`] is told once the rows are on disk.
    pub changed: i64,
}

impl<A: Accumulator> MergeFold<A> {
    /// Open windows whose rows have changed since they were saved, oldest first.
    pub fn unsaved(&self) -> Vec<Unsaved> {
        let changed = self.open.iter().filter(|(_, state)| !state.is_saved());
        changed.map(|(start, state)| Unsaved { window_start: *start, changed: state.changed }).collect()
    }

    /// Whether a window is open.
    pub fn is_open(&self, window_start: i64) -> bool {
        self.open.contains_key(&window_start)
    }

    /// Whether the rows of an open window are not in memory.
    pub fn is_cold(&self, window_start: i64) -> bool {
        self.open.get(&window_start).is_some_and(|state| state.rows.is_none())
    }

    /// Whether a window is final here.
    pub fn is_final(&self, window_start: i64) -> bool {
        self.open.get(&window_start).is_some_and(|state| state.ledger.closed_at.is_some())
    }

    /// Revision of the last change of a sealed window's ledger.
    pub fn sealed_changed(&self) -> i64 {
        self.sealed_changed
    }

    /// Appends the rows of a window from position `from` on, as Avro `RowState`s, until `out` holds `bytes_max` bytes: the
    /// position to go on from, or none when the last row is in, or the window is not open any more.
    pub fn put_rows(&self, window_start: i64, from: usize, bytes_max: usize, out: &mut Vec<u8>) -> Option<usize> {
        let state = self.open.get(&window_start)?;
        let rows = state.rows.as_ref()?;
        let mut accumulator = Vec::new();
        for at in from..rows.len() {
            if out.len() >= bytes_max {
                return Some(at);
            }
            let (key, entry) = rows.get(at)?;
            accumulator.clear();
            state.extents.get(at).into_iter().for_each(|extent| extent.put(&mut accumulator));
            entry.value.sum.put(&mut accumulator);
            let (records, revision) = (entry.value.records, entry.value.revision);
            RowState { window_start, key, records, accumulator: &accumulator, revision }.put(out);
        }
        None
    }

    /// Appends progress and the ledgers of the open windows.
    pub fn put_head(&self, out: &mut Vec<u8>) {
        self.progress().put(out);
        put_ledgers(self.open.values().map(|state| &state.ledger), self.open.len(), out);
    }

    /// Appends the ledgers of the sealed windows.
    pub fn put_sealed(&self, out: &mut Vec<u8>) {
        put_ledgers(self.sealed.values(), self.sealed.len(), out);
    }

    /// The rows of a window are on disk as of revision `changed`.
    pub fn saved(&mut self, window_start: i64, changed: i64) {
        if let Some(state) = self.open.get_mut(&window_start) {
            state.saved = state.saved.max(changed);
        }
    }

    /// Takes in what [`MergeFold::put_head`] and [`MergeFold::put_sealed`] gave. The windows have no rows yet.
    ///
    /// # Errors
    /// The bytes are something else, or of another job version.
    pub fn load_ledgers(&mut self, head: &[u8], sealed: &[u8]) -> Result<(), LoadError> {
        let mut reader = Reader::new(head);
        self.restore_progress(Progress::get(&mut reader)?).map_err(|_| LoadError::OtherJob)?;
        let open = Vec::<Ledger>::get(&mut reader)?;
        reader.finish()?;
        let mut reader = Reader::new(sealed);
        let sealed = Vec::<Ledger>::get(&mut reader)?;
        reader.finish()?;
        open.into_iter().chain(sealed).for_each(|ledger| self.restore_ledger(ledger));
        Ok(())
    }

    /// Notes that a window's rows are on disk as of `changed`, and not in memory.
    pub fn set_cold(&mut self, window_start: i64, changed: i64) {
        if let Some(state) = self.open.get_mut(&window_start) {
            (state.rows, state.changed, state.saved) = (None, changed, changed);
            state.extents.clear();
        }
    }

    /// Takes the rows of a cold window in; other windows are left as they are.
    ///
    /// # Errors
    /// The bytes are something else.
    pub fn load_rows(&mut self, window_start: i64, rows: &[u8]) -> Result<(), LoadError> {
        let there = self.open.get(&window_start).or_else(|| self.sealing.get(&window_start));
        if there.is_none_or(|state| state.rows.is_some()) {
            return Ok(());
        }
        let (rows, extents) = self.read_rows(window_start, rows)?;
        if let Some(state) = self.sealing.get_mut(&window_start) {
            (state.rows, state.extents) = (Some(rows), extents);
        } else if let Some(state) = self.open.get_mut(&window_start) {
            (state.rows, state.extents) = (Some(rows), extents);
            self.sessions.iter_mut().for_each(|index| index.add(state));
        }
        Ok(())
    }

    fn read_rows(&self, window_start: i64, bytes: &[u8]) -> Result<(Table<RowCell<A>>, Vec<Extent>), LoadError> {
        let (mut reader, mut rows, mut extents) = (Reader::new(bytes), Table::default(), Vec::new());
        while !reader.left().is_empty() {
            let row = RowState::get(&mut reader)?;
            if row.window_start != window_start {
                return Err(LoadError::OtherWindow);
            }
            let (extent, sum) = self.read_state(row.key, row.accumulator)?;
            let cell = RowCell { records: row.records, sum, revision: row.revision, touched: false };
            if rows.position(table::hash(row.key), row.key, || cell) == extents.len() {
                extents.extend(extent);
            }
        }
        Ok((rows, extents))
    }

    /// Whether the rows of an open window that was loaded in the middle of work are all there.
    ///
    /// # Errors
    /// They are not.
    pub fn check_rows(&self, window_start: i64) -> Result<(), Gap> {
        self.open.get(&window_start).map_or(Ok(()), |state| gap(window_start, state))
    }

    /// The first window whose rows must be loaded before a partial can be folded: one of its own, or any, where a job of
    /// session windows was restored without some.
    pub fn lacking(&self, partial: &Partial<'_>) -> Option<i64> {
        if self.keeps_all() {
            return self.open.iter().find(|(_, state)| state.rows.is_none()).map(|(start, _)| *start);
        }
        partial.windows.iter().map(|window| window.start).find(|start| self.is_cold(*start))
    }

    /// Drops rows from memory that are in the checkpoint: of final windows that no commit has touched since `idle_since`,
    /// and, least recently touched first, of as many more as it takes to come down to `bytes_max`. True if that was enough.
    /// Where [`MergeFold::keeps_all`], it drops none.
    pub fn cool(&mut self, idle_since: i64, bytes_max: usize) -> bool {
        let mut bytes = self.bytes();
        if self.keeps_all() {
            return bytes <= bytes_max;
        }
        let is_warm = |state: &WindowState<A>| state.rows.is_some() && state.is_saved() && state.ledger.rows > 0;
        let mut warm: Vec<&mut WindowState<A>> = self.open.values_mut().filter(|state| is_warm(state)).collect();
        warm.sort_by_key(|state| (state.used_at, state.ledger.window_start));
        for state in warm {
            let is_idle = state.ledger.closed_at.is_some() && state.used_at < idle_since;
            if is_idle || bytes > bytes_max {
                bytes -= state.bytes();
                state.rows = None;
            }
        }
        bytes <= bytes_max
    }
}

/// Why bytes of a checkpoint are of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// They are not what was written.
    #[error("{0}")]
    Datum(#[from] avro::Error),
    /// They belong to another job version.
    #[error("it belongs to another version of the job")]
    OtherJob,
    /// A row of another window is among them.
    #[error("it holds rows of another window")]
    OtherWindow,
}

fn put_ledgers<'l>(ledgers: impl Iterator<Item = &'l Ledger>, count: usize, out: &mut Vec<u8>) {
    if count > 0 {
        avro::put_long(out, count as i64);
        ledgers.for_each(|ledger| ledger.put(out));
    }
    avro::put_long(out, 0);
}
