//! Rows of sealed windows leave the changelog: so many with each commit, however many a marker has sealed at once.
//!
//! The ledger alone says that a window is sealed: its rows are no state from then on, and may be removed in any later commit,
//! or twice. An entry of its own says that the last one is removed. Whoever restores the state before that entry has all the
//! rows that may be left, and begins with their removal anew; for their sake no checkpoint takes another's place meanwhile.

use super::MergeFold;
use crate::job::Accumulator;

impl<A: Accumulator> MergeFold<A> {
    /// The next rows that are no longer state since their windows were sealed, at most `rows_max`: window start and key.
    pub fn removed_rows(&self, rows_max: usize) -> impl Iterator<Item = (i64, &[u8])> {
        // Not past a window whose rows are yet to be loaded: what is told as removed is in order.
        let loaded =
            self.sealing.iter().map_while(|(start, state)| Some((*start, state.removed, state.rows.as_ref()?)));
        let rows = loaded.flat_map(|(start, removed, rows)| {
            (removed..rows.len()).filter_map(move |at| rows.get(at).map(|(key, _)| (start, key)))
        });
        rows.take(rows_max)
    }

    /// The windows whose last row [`MergeFold::removed_rows`] gives for the same `rows_max`.
    pub fn removed_windows(&self, rows_max: usize) -> impl Iterator<Item = i64> {
        let mut left = rows_max;
        self.sealing.iter().map_while(move |(start, state)| {
            left = left.checked_sub(state.rows.as_ref()?.len() - state.removed)?;
            Some(*start)
        })
    }

    /// What [`MergeFold::removed_rows`] gave for the same `rows_max` has been committed.
    pub fn removed(&mut self, rows_max: usize) {
        let mut left = rows_max;
        while let Some(mut first) = self.sealing.first_entry() {
            let state = first.get_mut();
            let Some(rows) = &state.rows else { return };
            let more = rows.len() - state.removed;
            if more > left {
                state.removed += left;
                return;
            }
            left -= more;
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

    /// Takes the end of a window's removal from the changelog in: nothing is left of it but its ledger, which may be yet to come
    /// where compaction has put a later one in its place.
    pub fn restore_removed(&mut self, window_start: i64) {
        self.open.remove(&window_start);
        self.sealing.remove(&window_start);
    }
}
