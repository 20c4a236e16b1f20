//! The second fold: partials of one merge partition into window state, with the ledger beside it.
//!
//! Only input changes it: what it holds after a partials offset depends on the partials up to there and on nothing else,
//! neither on the clock nor on where commits fall.
//!
//! Rows of a window that is in a checkpoint may be dropped from memory ([`MergeFold::cool`]). Such a window is *cold*: its
//! ledger stays and goes on being closed and sealed, and whoever folds loads its rows before they are needed
//! ([`MergeFold::lacking`], [`MergeFold::lacking_sealed`]). Windows of sessions are never cold (`sessions.rs`).

mod checkpoint;
mod error;
mod remove;
mod repair;
mod restore;
mod rows;
mod sessions;
#[cfg(test)]
mod tests;
mod window;

pub use checkpoint::{LoadError, Unsaved};
pub use error::Error;
pub use repair::{EPOCH_MAX, Misfit};
pub use restore::Gap;
pub use rows::{SealedRow, TouchedRow};
pub use window::RowCell;

use crate::job::{Accumulator, JobSpec};
use crate::partial::read_accumulator;
use crate::watermark::Sources;
use crate::window::Windowing;
use repair::Repaired;
use sessions::{Change, Index};
use std::collections::BTreeMap;
use tidemark_schemas::engine::{Ledger, Marker, Partial, PartialWindow, Progress};
use window::{WindowState, opened, widen};

/// The merge fold of one merge partition.
#[derive(Debug)]
pub struct MergeFold<A> {
    window: Windowing,
    grace_ms: i64,
    amend_for_ms: i64,
    idle_after_ms: i64,
    merge_partition: i32,
    merge_partitions: i32,
    fingerprint: i64,
    epoch: i32,
    open: BTreeMap<i64, WindowState<A>>,
    /// Of a job of session windows.
    sessions: Option<Index>,
    /// Ledgers of sealed windows: one small entry each is all that is left, so that a straggler is known as such.
    sealed: BTreeMap<i64, Ledger>,
    sealed_touched: Vec<i64>,
    /// Revision of the last change of a sealed ledger.
    sealed_changed: i64,
    /// Sealed windows whose rows are yet to be removed from the changelog, a bounded number with each commit; of those that
    /// were sealed since the last commit, the last changes are yet to be written too.
    sealing: BTreeMap<i64, WindowState<A>>,
    /// Rows that changed since the last commit.
    touched: usize,
    /// Recomputed rows of sealed windows since the last commit.
    repaired: Vec<Repaired<A>>,
    sources: Sources,
    as_of: i64,
    oldest_append: Option<i64>,
    progress_revision: i64,
    progress_touched: bool,
}

impl<A: Accumulator> MergeFold<A> {
    /// Empty, before the first partial.
    pub fn new(spec: &JobSpec, merge_partition: u32, epoch: i32) -> Self {
        Self {
            window: spec.window,
            grace_ms: spec.grace_ms,
            amend_for_ms: spec.amend_for_ms,
            idle_after_ms: spec.idle_after_ms,
            merge_partition: merge_partition as i32,
            merge_partitions: spec.merge_partitions as i32,
            fingerprint: spec.fingerprint(),
            epoch,
            open: BTreeMap::new(),
            sessions: spec.window.gap_ms().map(Index::new),
            sealed: BTreeMap::new(),
            sealed_touched: Vec::new(),
            sealed_changed: 0,
            sealing: BTreeMap::new(),
            touched: 0,
            repaired: Vec::new(),
            sources: Sources::default(),
            as_of: 0,
            oldest_append: None,
            progress_revision: 0,
            progress_touched: false,
        }
    }

    /// The minimum watermark over all source partitions.
    pub fn watermark(&self) -> Option<i64> {
        self.sources.watermark()
    }

    /// Rows of open windows, cold ones too.
    pub fn rows(&self) -> usize {
        let count =
            |window: &WindowState<A>| window.rows.as_ref().map_or(window.ledger.rows as usize, |rows| rows.len());
        self.open.values().map(count).sum()
    }

    /// Memory that rows take, bytes; also those of sealed windows whose removal is yet to be written.
    pub fn bytes(&self) -> usize {
        let rows: usize = self.open.values().chain(self.sealing.values()).map(WindowState::bytes).sum();
        rows + self.sessions.as_ref().map_or(0, Index::bytes)
    }

    /// Rows that changed since the last commit: what the next one has to write.
    pub fn touched(&self) -> usize {
        self.touched + self.repaired.len()
    }

    /// Folds a partial in; hands over rows that came too late for a sealed window.
    pub fn fold_partial(
        &mut self,
        offset: i64,
        appended_at: i64,
        partial: &Partial<'_>,
        mut sealed_out: impl FnMut(SealedRow<'_>),
    ) -> Result<(), Error> {
        self.check(offset, partial.fingerprint)?;
        if let Some(window_start) = self.lacking(partial) {
            return Err(Error::Lacking { window_start });
        }
        let next_offset = self.sources.next_offset(partial.topic, partial.partition);
        for window in &partial.windows {
            if window.first_offset < next_offset {
                return Err(Error::Repeated {
                    offset,
                    topic: partial.topic.to_owned(),
                    partition: partial.partition,
                    first_offset: window.first_offset,
                    next_offset,
                });
            }
            if self.sealed.contains_key(&window.start) {
                self.turn_away(offset, window, &mut sealed_out)?;
            } else if self.sessions.is_some() {
                self.fold_sessions(Change { appended_at, revision: offset + 1 }, partial, window)?;
            } else {
                self.fold_window(offset, appended_at, partial, window)?;
            }
        }
        Ok(())
    }

    fn check(&self, offset: i64, found: i64) -> Result<(), Error> {
        if found == self.fingerprint {
            return Ok(());
        }
        Err(Error::Fingerprint { offset, found, expected: self.fingerprint })
    }

    fn turn_away(
        &mut self,
        offset: i64,
        window: &PartialWindow<'_>,
        sealed_out: &mut impl FnMut(SealedRow<'_>),
    ) -> Result<(), Error> {
        let Some(ledger) = self.sealed.get_mut(&window.start) else { return Ok(()) };
        for row in &window.rows {
            ledger.sealed_out += row.records;
            let turned_away = SealedRow {
                window_start: ledger.window_start,
                window_end: ledger.window_end,
                first_offset: window.first_offset,
                last_offset: window.last_offset,
                key: row.key,
                records: row.records,
                accumulator: row.accumulator,
            };
            let turned_away = match self.window.gap_ms() {
                None => Ok(turned_away),
                Some(gap_ms) => sessions::sealed_row(turned_away, gap_ms),
            };
            sealed_out(turned_away.map_err(|reason| Error::Accumulator { offset, reason })?);
        }
        ledger.held += window.held;
        ledger.revision = offset + 1;
        self.sealed_touched.push(window.start);
        self.sealed_changed = offset + 1;
        Ok(())
    }

    fn fold_window(
        &mut self,
        offset: i64,
        appended_at: i64,
        partial: &Partial<'_>,
        window: &PartialWindow<'_>,
    ) -> Result<(), Error> {
        let mut touched = 0;
        let state = self.open_window(window.start, appended_at);
        for row in &window.rows {
            let sum: A = read_accumulator(row.accumulator).map_err(|reason| Error::Accumulator { offset, reason })?;
            let (at, cell) = state.row(row.key).ok_or(Error::Lacking { window_start: window.start })?;
            cell.records += row.records;
            cell.sum.merge(&sum);
            cell.revision = offset + 1;
            if !std::mem::replace(&mut cell.touched, true) {
                state.touched.push(at as u32);
                touched += 1;
            }
            state.ledger.records += row.records;
            state.changed = offset + 1;
        }
        let ledger = &mut state.ledger;
        ledger.rows = state.rows.as_ref().map_or(ledger.rows, |rows| rows.len() as i64);
        ledger.late += window.late;
        ledger.held += window.held;
        ledger.amended |= window.late > 0 || (ledger.closed_at.is_some() && !window.rows.is_empty());
        ledger.updated_at = appended_at;
        ledger.revision = offset + 1;
        widen(&mut ledger.sources, partial.topic, partial.partition, window.first_offset, window.last_offset);
        state.ledger_touched = true;
        self.touched += touched;
        Ok(())
    }

    /// The open window at `start`, which is there from now on. The watermark may have passed its end already.
    fn open_window(&mut self, start: i64, appended_at: i64) -> &mut WindowState<A> {
        let (merge_partition, epoch) = (self.merge_partition, self.epoch);
        let end = start + self.window.size_ms();
        let closed = self.sources.watermark() >= Some(end + self.grace_ms);
        self.open
            .entry(start)
            .or_insert_with(|| WindowState::new(opened(start, end, merge_partition, appended_at, epoch, closed)))
    }

    /// Folds a marker in: moves the watermark, closes and seals windows.
    pub fn fold_marker(&mut self, offset: i64, appended_at: i64, marker: &Marker) -> Result<(), Error> {
        self.check(offset, marker.fingerprint)?;
        self.as_of = self.as_of.max(marker.at);
        self.oldest_append = earliest(self.oldest_append, marker.oldest_append);
        self.sources.fold(marker, appended_at, self.idle_after_ms);
        self.progress_revision = offset + 1;
        self.progress_touched = true;
        let Some(watermark) = self.sources.watermark() else { return Ok(()) };
        let end_max = watermark.saturating_sub(self.grace_ms);
        let start_max = end_max.saturating_sub(self.window.size_ms());
        for (_, state) in self.open.range_mut(..=start_max) {
            if state.ledger.closed_at.is_none() && state.ledger.window_end <= end_max {
                state.ledger.closed_at = Some(appended_at);
                state.ledger.revision = offset + 1;
                state.ledger_touched = true;
            }
        }
        self.seal(
            offset,
            start_max.saturating_sub(self.amend_for_ms),
            end_max.saturating_sub(self.amend_for_ms),
            appended_at.saturating_sub(self.amend_for_ms),
        );
        Ok(())
    }

    /// Seals the windows that start by `start_max`, end by `end_max` and were opened by `opened_max`, in append time: the
    /// log's own clock, so that a replay seals alike. The last condition keeps a window amendable as long as its rows are kept,
    /// however old its event time is: hours of last year can be loaded into a running job (decision 0001). Only a bucket of
    /// sessions ends later than its start says.
    fn seal(&mut self, offset: i64, start_max: i64, end_max: i64, opened_max: i64) {
        let is_due =
            |state: &WindowState<A>| state.ledger.opened_at <= opened_max && state.ledger.window_end <= end_max;
        let due: Vec<i64> =
            self.open.range(..=start_max).filter(|(_, state)| is_due(state)).map(|(start, _)| *start).collect();
        for start in due {
            let Some(mut state) = self.open.remove(&start) else { continue };
            self.sessions.iter_mut().for_each(|index| index.forget(&state));
            state.ledger.sealed = true;
            state.ledger.revision = offset + 1;
            self.sealed.insert(start, state.ledger.clone());
            self.sealed_touched.push(start);
            self.sealed_changed = offset + 1;
            self.sealing.insert(start, state);
        }
    }

    /// Rows that changed since the last commit, window by window.
    pub fn touched_rows(&self) -> impl Iterator<Item = TouchedRow<'_, A>> {
        self.sealing.values().chain(self.open.values()).flat_map(|state| {
            state.touched.iter().filter_map(|&at| {
                let (key, entry) = state.rows.as_ref()?.get(at as usize)?;
                let Ledger { window_start, opened_at, .. } = state.ledger;
                let extent = state.extents.get(at as usize).copied();
                Some(TouchedRow { window_start, opened_at, key, cell: &entry.value, extent })
            })
        })
    }

    /// Ledger entries that changed since the last commit.
    pub fn touched_ledgers(&self) -> impl Iterator<Item = &Ledger> {
        let open = self.open.values().filter(|state| state.ledger_touched).map(|state| &state.ledger);
        open.chain(self.sealed_touched.iter().filter_map(|start| self.sealed.get(start)))
    }

    /// How far it has come, if that changed since the last commit: only a marker or a repair changes it, so that equal revisions
    /// have equal contents.
    pub fn touched_progress(&self) -> Option<Progress> {
        self.progress_touched.then(|| self.progress())
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        Progress {
            fingerprint: self.fingerprint,
            merge_partition: self.merge_partition,
            merge_partitions: self.merge_partitions,
            watermark: self.sources.watermark(),
            as_of: self.as_of,
            oldest_append: self.oldest_append,
            sources: self.sources.progress(),
            partition_counts: self.sources.counts(),
            epoch: self.epoch,
            revision: self.progress_revision,
        }
    }

    /// Forgets what has been committed, at processing time `now`.
    pub fn committed(&mut self, now: i64) {
        self.progress_touched = false;
        self.oldest_append = None;
        self.sealed_touched.clear();
        self.repaired.clear();
        self.touched = 0;
        for state in self.open.values_mut().chain(self.sealing.values_mut()) {
            state.ledger_touched = false;
            if !state.touched.is_empty() {
                state.used_at = now;
            }
            for at in std::mem::take(&mut state.touched) {
                if let Some(cell) = state.rows.as_mut().and_then(|rows| rows.get_mut(at as usize)) {
                    cell.touched = false;
                }
            }
        }
    }
}

/// The earlier of two times that may be missing.
pub fn earliest(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    a.into_iter().chain(b).min()
}
