//! State from where it is kept: entries of the changelog, in the order of their offsets.
//!
//! Every entry holds a whole value, so that taking entries in again that are there already changes nothing once the newest
//! has been taken in: a restore may begin anywhere at or before the state it begins with.

use super::sessions::read_row;
use super::window::{WindowState, opened};
use super::{Error, MergeFold, RowCell};
use crate::job::Accumulator;
use crate::partial::read_accumulator;
use crate::session::{self, Extent};
use crate::table;
use crate::watermark::Sources;
use tidemark_schemas::avro;
use tidemark_schemas::engine::{Ledger, Progress, RowState};

/// A window whose rows are not those that its ledger counts: entries are missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("window {window_start} holds {rows} rows where its ledger counts {expected}, or other records")]
pub struct Gap {
    /// Start of the window.
    pub window_start: i64,
    /// Rows there are.
    pub rows: usize,
    /// Rows there should be.
    pub expected: i64,
}

impl<A: Accumulator> MergeFold<A> {
    /// Whether [`MergeFold::restore_row`] would change a window whose rows are not in memory.
    pub fn lacks(&self, row: &RowState<'_>) -> bool {
        // Changes up to `saved` are in the checkpoint that the window's rows will be loaded from.
        let is_new = |state: &WindowState<A>| state.rows.is_none() && row.revision > state.saved;
        self.open.get(&row.window_start).is_some_and(is_new)
    }

    /// Takes a row of the changelog in. The ledger of its window may come before or after it.
    pub fn restore_row(&mut self, row: &RowState<'_>) -> Result<(), avro::Error> {
        let (extent, sum) = self.read_state(row.key, row.accumulator)?;
        // Nothing is added to a sealed window: the entry is older than what is here.
        if self.sealed.contains_key(&row.window_start) {
            return Ok(());
        }
        let state = self.restoring(row.window_start);
        if let Some((at, cell)) = state.row(row.key) {
            *cell = RowCell { records: row.records, sum, revision: row.revision, touched: false };
            state.changed = state.changed.max(row.revision);
            extent.into_iter().for_each(|extent| state.set_extent(at, extent));
        }
        Ok(())
    }

    /// Reads what changelog and checkpoint have in the place of the accumulator.
    pub(super) fn read_state(&self, key: &[u8], accumulator: &[u8]) -> Result<(Option<Extent>, A), avro::Error> {
        if self.sessions.is_none() {
            return Ok((None, read_accumulator(accumulator)?));
        }
        session::split_row_key(key)?;
        let (extent, sum) = read_row(accumulator)?;
        Ok((Some(extent), sum))
    }

    /// Takes a ledger entry of the changelog in.
    pub fn restore_ledger(&mut self, ledger: Ledger) {
        if ledger.sealed {
            let state = self.open.remove(&ledger.window_start);
            let left = state.filter(|state| state.rows.as_ref().is_none_or(|rows| !rows.is_empty()));
            if let Some(state) = left {
                self.sealing.insert(ledger.window_start, state);
            }
            self.sealed_changed = self.sealed_changed.max(ledger.revision);
            self.sealed.insert(ledger.window_start, ledger);
        } else if !self.sealed.contains_key(&ledger.window_start) {
            let state = self.restoring(ledger.window_start);
            state.ledger = ledger;
        }
    }

    /// Takes the progress entry of the changelog in.
    pub fn restore_progress(&mut self, progress: Progress) -> Result<(), Error> {
        self.check(progress.revision - 1, progress.fingerprint)?;
        self.as_of = progress.as_of;
        self.progress_revision = progress.revision;
        self.sources = Sources::restore(progress.sources, progress.partition_counts, progress.watermark);
        Ok(())
    }

    /// Ends a restore: holds the rows of open windows against the ledgers.
    pub fn restored(&mut self) -> Result<(), Gap> {
        self.open.iter().try_for_each(|(start, state)| gap(*start, state))?;
        if let Some(index) = &mut self.sessions {
            index.clear();
            self.open.values().for_each(|state| index.add(state));
        }
        Ok(())
    }

    /// Revision of the progress: partials offset + 1 of the last marker, or of the last repair.
    pub fn revision(&self) -> i64 {
        self.progress_revision
    }

    /// What the committed state is known by: equal digests have equal ledgers and progress. It stands in the metadata of the
    /// group's offset, so that state that was restored from anything but the changelog of that commit is seen.
    pub fn digest(&self) -> u64 {
        let ledgers = self.sealed.values().chain(self.open.values().map(|state| &state.ledger));
        let progress = [self.progress_revision, self.as_of, i64::from(self.epoch), 0, 0];
        // A sum: the order of open and sealed windows must not matter.
        ledgers.fold(hash_of(progress), |sum, ledger| {
            let Ledger { window_start, revision, rows, records, sealed_out, .. } = *ledger;
            sum.wrapping_add(hash_of([window_start, revision, rows, records, sealed_out]))
        })
    }

    fn restoring(&mut self, start: i64) -> &mut WindowState<A> {
        let (end, merge_partition, epoch) = (start + self.window.size_ms(), self.merge_partition, self.epoch);
        self.open.entry(start).or_insert_with(|| WindowState::new(opened(start, end, merge_partition, 0, epoch, false)))
    }
}

pub(super) fn gap<A: Accumulator>(window_start: i64, state: &WindowState<A>) -> Result<(), Gap> {
    if state.adds_up() {
        return Ok(());
    }
    let rows = state.rows.as_ref().map_or(0, |rows| rows.len());
    Err(Gap { window_start, rows, expected: state.ledger.rows })
}

fn hash_of(numbers: [i64; 5]) -> u64 {
    let mut bytes = [0; 40];
    for (to, number) in bytes.chunks_exact_mut(8).zip(numbers) {
        to.copy_from_slice(&number.to_be_bytes());
    }
    table::hash(&bytes)
}
