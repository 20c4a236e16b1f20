//! Rows of sealed windows leave the changelog: so many with each commit, however many a marker has sealed at once.
//!
//! The ledger alone says that a window is sealed, so a removal may come in any later commit: a restore drops what is left, and
//! goes on with removing it. A window stays in checkpoints until its last row is removed.

use super::MergeFold;
use super::window::WindowState;
use crate::job::Accumulator;
use crate::table;

impl<A: Accumulator> MergeFold<A> {
    /// The next rows that are no longer state since their windows were sealed, at most `rows_max`: window start and key.
    pub fn removed_rows(&self, rows_max: usize) -> impl Iterator<Item = (i64, &[u8])> {
        // Not past a window whose rows are yet to be loaded: what is told as removed is in order.
        let loaded = self.sealing.values().take_while(|state| state.rows.is_some());
        loaded.flat_map(WindowState::removals).take(rows_max)
    }

    /// What [`MergeFold::removed_rows`] gave for the same `rows_max` has been committed.
    pub fn removed(&mut self, rows_max: usize) {
        let mut left = rows_max;
        while let Some(mut first) = self.sealing.first_entry() {
            left = first.get_mut().remove(left);
            if !first.get().is_removed() {
                return;
            }
            first.remove();
        }
    }

    /// Whether rows of sealed windows are yet to be removed.
    pub fn is_removing(&self) -> bool {
        !self.sealing.is_empty()
    }

    /// The sealed window whose rows must be loaded before the next of them can be removed.
    pub fn lacking_sealed(&self) -> Option<i64> {
        self.sealing.first_key_value().filter(|(_, state)| state.rows.is_none()).map(|(start, _)| *start)
    }

    /// Takes the removal of a row from the changelog in; once all of a window are removed, nothing is left of it but its
    /// ledger.
    pub fn restore_removal(&mut self, window_start: i64, key: &[u8]) {
        let Some(state) = self.sealing.get_mut(&window_start) else { return };
        let Some(rows) = &mut state.rows else { return };
        let found = rows.find(table::hash(key), key);
        if let Some(cell) = found.and_then(|at| rows.get_mut(at))
            && !std::mem::replace(&mut cell.removed, true)
        {
            state.removed += 1;
        }
        if state.is_removed() {
            self.sealing.remove(&window_start);
        }
    }
}
