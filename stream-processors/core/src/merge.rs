//! The second fold: partials of one merge partition into window state, with the ledger beside it.
//!
//! Only input changes it: what it holds after a partials offset depends on the partials up to there and on nothing else,
//! neither on the clock nor on where commits fall.

use crate::job::{Accumulator, JobSpec};
use crate::partial::read_accumulator;
use crate::table::{self, Table};
use crate::watermark::Sources;
use std::collections::BTreeMap;
use tidemark_schemas::avro;
use tidemark_schemas::engine::{Ledger, Marker, Partial, PartialWindow, Progress, RowState, SourceRange};

/// One row of window state.
#[derive(Debug, Clone, PartialEq)]
pub struct RowCell<A> {
    /// Records folded.
    pub records: i64,
    /// Their sum.
    pub sum: A,
    /// Partials offset + 1 of the last change.
    pub revision: i64,
    touched: bool,
}

#[derive(Debug)]
struct WindowState<A> {
    ledger: Ledger,
    rows: Table<RowCell<A>>,
    touched: Vec<u32>,
    ledger_touched: bool,
}

/// A row that changed since the last commit.
#[derive(Debug)]
pub struct TouchedRow<'m, A> {
    /// Start of its window.
    pub window_start: i64,
    /// Append time of the first partial of the window here.
    pub opened_at: i64,
    /// Its key.
    pub key: &'m [u8],
    /// What it holds now.
    pub cell: &'m RowCell<A>,
}

/// What a partial row was that came for a sealed window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedRow<'p> {
    /// Of which window and source.
    pub window_start: i64,
    /// End of that window.
    pub window_end: i64,
    /// Lowest source offset of the partial window.
    pub first_offset: i64,
    /// Highest one.
    pub last_offset: i64,
    /// Its key.
    pub key: &'p [u8],
    /// Records in it.
    pub records: i64,
    /// Their sum, encoded.
    pub accumulator: &'p [u8],
}

/// Why the fold stops. None of these can be passed over: rows would be wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Written by another version of the job.
    #[error(
        "partials offset {offset} carries fingerprint {found:016x}, this job has {expected:016x}: undo the change of the job, or give it a new version"
    )]
    Fingerprint {
        /// Partials offset.
        offset: i64,
        /// What it carries.
        found: i64,
        /// What this job has.
        expected: i64,
    },
    /// Source records that earlier markers cover already.
    #[error(
        "partials offset {offset} repeats {topic}-{partition} from offset {first_offset}, which is folded up to {next_offset}"
    )]
    Repeated {
        /// Partials offset.
        offset: i64,
        /// Source topic.
        topic: String,
        /// Source partition.
        partition: i32,
        /// Where the repetition begins.
        first_offset: i64,
        /// How far the source partition is folded.
        next_offset: i64,
    },
    /// An accumulator that is not of this job.
    #[error("partials offset {offset}: accumulator: {reason}")]
    Accumulator {
        /// Partials offset.
        offset: i64,
        /// What is wrong with it.
        reason: avro::Error,
    },
}

/// The merge fold of one merge partition.
#[derive(Debug)]
pub struct MergeFold<A> {
    window_ms: i64,
    grace_ms: i64,
    amend_for_ms: i64,
    idle_after_ms: i64,
    merge_partition: i32,
    merge_partitions: i32,
    fingerprint: i64,
    epoch: i32,
    open: BTreeMap<i64, WindowState<A>>,
    /// Ledgers of sealed windows: one small entry each is all that is left, so that a straggler is known as such.
    sealed: BTreeMap<i64, Ledger>,
    sealed_touched: Vec<i64>,
    /// Windows sealed since the last commit: their last changes are yet to be written, their rows to be removed.
    sealing: Vec<WindowState<A>>,
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
            window_ms: spec.window_ms,
            grace_ms: spec.grace_ms,
            amend_for_ms: spec.amend_for_ms,
            idle_after_ms: spec.idle_after_ms,
            merge_partition: merge_partition as i32,
            merge_partitions: spec.merge_partitions as i32,
            fingerprint: spec.fingerprint(),
            epoch,
            open: BTreeMap::new(),
            sealed: BTreeMap::new(),
            sealed_touched: Vec::new(),
            sealing: Vec::new(),
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

    /// Rows in memory.
    pub fn rows(&self) -> usize {
        self.open.values().map(|window| window.rows.len()).sum()
    }

    /// Memory that the rows take, bytes.
    pub fn bytes(&self) -> usize {
        self.open.values().map(|window| window.rows.bytes()).sum()
    }

    /// Whether anything changed since the last commit.
    pub fn is_touched(&self) -> bool {
        self.progress_touched
            || !self.sealed_touched.is_empty()
            || self.open.values().any(|window| window.ledger_touched)
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
                self.turn_away(offset, appended_at, window, &mut sealed_out);
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
        appended_at: i64,
        window: &PartialWindow<'_>,
        sealed_out: &mut impl FnMut(SealedRow<'_>),
    ) {
        let Some(ledger) = self.sealed.get_mut(&window.start) else { return };
        for row in &window.rows {
            ledger.sealed_out += row.records;
            sealed_out(SealedRow {
                window_start: ledger.window_start,
                window_end: ledger.window_end,
                first_offset: window.first_offset,
                last_offset: window.last_offset,
                key: row.key,
                records: row.records,
                accumulator: row.accumulator,
            });
        }
        ledger.held += window.held;
        ledger.updated_at = appended_at;
        ledger.revision = offset + 1;
        self.sealed_touched.push(window.start);
    }

    fn fold_window(
        &mut self,
        offset: i64,
        appended_at: i64,
        partial: &Partial<'_>,
        window: &PartialWindow<'_>,
    ) -> Result<(), Error> {
        let merge_partition = self.merge_partition;
        let (end, epoch) = (window.start + self.window_ms, self.epoch);
        let closed = self.sources.watermark() >= Some(end + self.grace_ms);
        let state = self.open.entry(window.start).or_insert_with(|| WindowState {
            ledger: opened(window.start, end, merge_partition, appended_at, epoch, closed),
            rows: Table::default(),
            touched: Vec::new(),
            ledger_touched: true,
        });
        for row in &window.rows {
            let sum: A = read_accumulator(row.accumulator).map_err(|reason| Error::Accumulator { offset, reason })?;
            let at = state.rows.position(table::hash(row.key), row.key, new_row);
            let Some(cell) = state.rows.get_mut(at) else { continue };
            cell.records += row.records;
            cell.sum.merge(&sum);
            cell.revision = offset + 1;
            if !std::mem::replace(&mut cell.touched, true) {
                state.touched.push(at as u32);
            }
            state.ledger.records += row.records;
        }
        let ledger = &mut state.ledger;
        ledger.rows = state.rows.len() as i64;
        ledger.late += window.late;
        ledger.held += window.held;
        ledger.amended |= window.late > 0 || (ledger.closed_at.is_some() && !window.rows.is_empty());
        ledger.updated_at = appended_at;
        ledger.revision = offset + 1;
        widen(&mut ledger.sources, partial.topic, partial.partition, window.first_offset, window.last_offset);
        state.ledger_touched = true;
        Ok(())
    }

    /// Folds a marker in: moves the watermark, closes and seals windows.
    pub fn fold_marker(&mut self, offset: i64, appended_at: i64, marker: &Marker) -> Result<(), Error> {
        self.check(offset, marker.fingerprint)?;
        self.as_of = self.as_of.max(marker.at);
        self.oldest_append = earliest(self.oldest_append, marker.oldest_append);
        self.sources.fold(marker, self.idle_after_ms);
        self.progress_revision = offset + 1;
        self.progress_touched = true;
        let Some(watermark) = self.sources.watermark() else { return Ok(()) };
        let closed_before = watermark.saturating_sub(self.grace_ms).saturating_sub(self.window_ms);
        for (_, state) in self.open.range_mut(..=closed_before) {
            if state.ledger.closed_at.is_none() {
                state.ledger.closed_at = Some(appended_at);
                state.ledger.revision = offset + 1;
                state.ledger_touched = true;
            }
        }
        self.seal(
            offset,
            closed_before.saturating_sub(self.amend_for_ms),
            appended_at.saturating_sub(self.amend_for_ms),
        );
        Ok(())
    }

    /// Seals the windows that start by `start_max` and were opened by `opened_max`, in append time: the log's own clock, so
    /// that a replay seals alike. The second condition keeps a window amendable as long as its rows are kept, however old
    /// its event time is: hours of last year can be loaded into a running job (decision 0001).
    fn seal(&mut self, offset: i64, start_max: i64, opened_max: i64) {
        let is_due = |state: &WindowState<A>| state.ledger.opened_at <= opened_max;
        let due: Vec<i64> =
            self.open.range(..=start_max).filter(|(_, state)| is_due(state)).map(|(start, _)| *start).collect();
        for start in due {
            let Some(mut state) = self.open.remove(&start) else { continue };
            state.ledger.sealed = true;
            state.ledger.revision = offset + 1;
            self.sealed.insert(start, state.ledger.clone());
            self.sealed_touched.push(start);
            self.sealing.push(state);
        }
    }

    /// Rows that changed since the last commit, window by window.
    pub fn touched_rows(&self) -> impl Iterator<Item = TouchedRow<'_, A>> {
        self.sealing.iter().chain(self.open.values()).flat_map(|state| {
            state.touched.iter().filter_map(|&at| {
                let (key, entry) = state.rows.get(at as usize)?;
                let Ledger { window_start, opened_at, .. } = state.ledger;
                Some(TouchedRow { window_start, opened_at, key, cell: &entry.value })
            })
        })
    }

    /// Ledger entries that changed since the last commit.
    pub fn touched_ledgers(&self) -> impl Iterator<Item = &Ledger> {
        let open = self.open.values().filter(|state| state.ledger_touched).map(|state| &state.ledger);
        open.chain(self.sealed_touched.iter().filter_map(|start| self.sealed.get(start)))
    }

    /// Rows that are no longer state since their windows were sealed: window start and key.
    pub fn removed_rows(&self) -> impl Iterator<Item = (i64, &[u8])> {
        self.sealing.iter().flat_map(|state| state.rows.iter().map(|(key, _)| (state.ledger.window_start, key)))
    }

    /// How far it has come, if that changed since the last commit: only a marker changes it, so that equal revisions have
    /// equal contents.
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

    /// Forgets what has been committed.
    pub fn committed(&mut self) {
        self.progress_touched = false;
        self.oldest_append = None;
        self.sealed_touched.clear();
        self.sealing.clear();
        for state in self.open.values_mut() {
            state.ledger_touched = false;
            for at in std::mem::take(&mut state.touched) {
                if let Some(cell) = state.rows.get_mut(at as usize) {
                    cell.touched = false;
                }
            }
        }
    }

    /// Takes a row of the changelog in. The ledger of its window may come before or after it.
    pub fn restore_row(&mut self, row: &RowState<'_>) -> Result<(), avro::Error> {
        let sum = read_accumulator(row.accumulator)?;
        let rows = &mut self.restoring(row.window_start).rows;
        let at = rows.position(table::hash(row.key), row.key, new_row);
        if let Some(cell) = rows.get_mut(at) {
            *cell = RowCell { records: row.records, sum, revision: row.revision, touched: false };
        }
        Ok(())
    }

    /// Takes a ledger entry of the changelog in.
    pub fn restore_ledger(&mut self, ledger: Ledger) {
        if ledger.sealed {
            self.open.remove(&ledger.window_start);
            self.sealed.insert(ledger.window_start, ledger);
        } else {
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

    /// Ends a restore: rows of sealed windows whose tombstones are yet to be compacted away are dropped.
    pub fn restored(&mut self) {
        let sealed = &self.sealed;
        self.open.retain(|start, _| !sealed.contains_key(start));
    }

    fn restoring(&mut self, start: i64) -> &mut WindowState<A> {
        let (end, merge_partition, epoch) = (start + self.window_ms, self.merge_partition, self.epoch);
        self.open.entry(start).or_insert_with(|| WindowState {
            ledger: opened(start, end, merge_partition, 0, epoch, false),
            rows: Table::default(),
            touched: Vec::new(),
            ledger_touched: false,
        })
    }
}

/// The earlier of two times that may be missing.
pub fn earliest(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    a.into_iter().chain(b).min()
}

fn new_row<A: Accumulator>() -> RowCell<A> {
    RowCell { records: 0, sum: A::default(), revision: 0, touched: false }
}

fn opened(start: i64, end: i64, merge_partition: i32, at: i64, epoch: i32, closed: bool) -> Ledger {
    Ledger {
        window_start: start,
        window_end: end,
        merge_partition,
        rows: 0,
        records: 0,
        late: 0,
        held: 0,
        sealed_out: 0,
        amended: false,
        sealed: false,
        opened_at: at,
        closed_at: closed.then_some(at),
        updated_at: at,
        sources: Vec::new(),
        epoch,
        revision: 0,
    }
}

/// Puts offsets into a ledger's ranges, which are kept by topic and partition.
fn widen(ranges: &mut Vec<SourceRange>, topic: &str, partition: i32, first: i64, last: i64) {
    match ranges.binary_search_by(|range| (range.topic.as_str(), range.partition).cmp(&(topic, partition))) {
        Ok(at) => {
            if let Some(range) = ranges.get_mut(at) {
                range.first_offset = range.first_offset.min(first);
                range.last_offset = range.last_offset.max(last);
            }
        }
        Err(at) => ranges
            .insert(at, SourceRange { topic: topic.to_owned(), partition, first_offset: first, last_offset: last }),
    }
}
