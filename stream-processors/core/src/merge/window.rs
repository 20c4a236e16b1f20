//! One window of one merge partition: its ledger, and its rows for as long as they are in memory.

use crate::job::Accumulator;
use crate::session::Extent;
use crate::table::{self, Table};
use tidemark_schemas::engine::{Ledger, SourceRange};

/// One row of window state.
#[derive(Debug, Clone, PartialEq)]
pub struct RowCell<A> {
    /// Records folded.
    pub records: i64,
    /// Their sum.
    pub sum: A,
    /// Partials offset + 1 of the last change.
    pub revision: i64,
    pub(super) touched: bool,
}

#[derive(Debug)]
pub(super) struct WindowState<A> {
    pub(super) ledger: Ledger,
    /// None: cold, the rows are in the checkpoint alone.
    pub(super) rows: Option<Table<RowCell<A>>>,
    /// Of sessions, by the position of their rows; of fixed windows there is none.
    pub(super) extents: Vec<Extent>,
    /// Positions of the rows that changed since the last commit.
    pub(super) touched: Vec<u32>,
    pub(super) ledger_touched: bool,
    /// Revision of the last change of a row.
    pub(super) changed: i64,
    /// Every change up to this revision is in the checkpoint.
    pub(super) saved: i64,
    /// Processing time of the last commit that changed a row.
    pub(super) used_at: i64,
    /// Once the window is sealed: the position up to which the removal of rows is on the changelog.
    pub(super) removed: usize,
}

impl<A: Accumulator> WindowState<A> {
    /// Without rows, and with nothing in a checkpoint.
    pub(super) fn new(ledger: Ledger) -> Self {
        Self {
            ledger,
            rows: Some(Table::default()),
            extents: Vec::new(),
            touched: Vec::new(),
            ledger_touched: false,
            changed: 0,
            saved: 0,
            used_at: 0,
            removed: 0,
        }
    }

    /// The row of `key`, which is there from now on, and its position; none when the window is cold.
    pub(super) fn row(&mut self, key: &[u8]) -> Option<(usize, &mut RowCell<A>)> {
        let rows = self.rows.as_mut()?;
        let at = rows.position(table::hash(key), key, || RowCell {
            records: 0,
            sum: A::default(),
            revision: 0,
            touched: false,
        });
        rows.get_mut(at).map(|cell| (at, cell))
    }

    /// Notes what the row at a position says of its session. Rows are put in one after the other, each with its own.
    pub(super) fn set_extent(&mut self, at: usize, extent: Extent) {
        match self.extents.get_mut(at) {
            Some(there) => *there = extent,
            None => self.extents.push(extent),
        }
    }

    /// Notes that the row at a position has changed; whether it had not since the last commit.
    pub(super) fn touch(&mut self, at: usize) -> bool {
        let cell = self.rows.as_mut().and_then(|rows| rows.get_mut(at));
        let untouched = cell.is_some_and(|cell| !std::mem::replace(&mut cell.touched, true));
        if untouched {
            self.touched.push(at as u32);
        }
        untouched
    }

    pub(super) fn bytes(&self) -> usize {
        self.rows.as_ref().map_or(0, Table::bytes) + self.extents.len() * size_of::<Extent>()
    }

    /// Whether dropping the rows from memory loses nothing.
    pub(super) fn is_saved(&self) -> bool {
        self.touched.is_empty() && self.changed <= self.saved
    }

    /// Whether the rows that are in memory are those that the ledger counts, and the late records of sessions too. It does not
    /// count rows that were retracted: they are the only ones without records.
    pub(super) fn adds_up(&self) -> bool {
        let Some(rows) = &self.rows else { return true };
        let live = rows.iter().map(|(_, entry)| entry.value.records).filter(|records| *records != 0);
        let (count, records) = live.fold((0, 0), |(count, sum), records| (count + 1, sum + records));
        let late: i64 = self.extents.iter().map(|extent| extent.late).sum();
        let late_is_right = self.extents.is_empty() || late == self.ledger.late;
        (count, records) == (self.ledger.rows, self.ledger.records) && late_is_right
    }
}

pub(super) fn opened(start: i64, end: i64, merge_partition: i32, at: i64, epoch: i32, closed: bool) -> Ledger {
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
pub(super) fn widen(ranges: &mut Vec<SourceRange>, topic: &str, partition: i32, first: i64, last: i64) {
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
