//! What a commit of the merge stage writes for one merge partition: rows first, then the ledger that speaks of them, then
//! the progress that closes windows.

use super::Owned;
use crate::Plan;
use crate::plan::FIRST_EPOCH;
use tidemark_core::merge::{MergeFold, SealedRow, TouchedRow};
use tidemark_core::{Job, ViewRow};
use tidemark_log::{Outgoing, Sink};
use tidemark_schemas::avro::Avro;
use tidemark_schemas::engine::{Partial, Progress, RowState, SealedOut};
use tidemark_schemas::wire;

pub(super) fn sealed_letter(plan: &Plan, partial: &Partial<'_>, row: &SealedRow<'_>) -> Vec<u8> {
    let letter = SealedOut {
        topic: partial.topic,
        partition: partial.partition,
        first_offset: row.first_offset,
        last_offset: row.last_offset,
        window_start: row.window_start,
        window_end: row.window_end,
        key: row.key,
        records: row.records,
        accumulator: row.accumulator,
    };
    let mut value = Vec::new();
    wire::put(plan.ids.sealed_out, &letter, &mut value);
    value
}

/// Keys of the changelog and the view topic: `R` window start, key; `L` window start; `P`. On the changelog alone, and never with
/// a value: `D` window start, after the removal of the last row of a sealed window. Big-endian, so that a dump is in order.
fn row_key(window_start: i64, key: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.push(b'R');
    out.extend_from_slice(&window_start.to_be_bytes());
    out.extend_from_slice(key);
}

fn window_key(letter: u8, window_start: i64) -> [u8; 9] {
    let mut key = [letter; 9];
    key[1..].copy_from_slice(&window_start.to_be_bytes());
    key
}

/// The window of which a changelog entry with this key says that all rows are removed.
pub(crate) fn removed_window(key: &[u8]) -> Option<i64> {
    key.strip_prefix(b"D")?.try_into().ok().map(i64::from_be_bytes)
}

/// Writes what changed in one merge partition.
pub(super) struct Output<'o, J: Job> {
    pub(super) job: &'o J,
    pub(super) plan: &'o Plan,
    pub(super) partition: u32,
    /// Most rows of sealed windows that are removed.
    pub(super) removals_max: usize,
    pub(super) sink: &'o mut dyn Sink,
    /// Header of the record that ends the commit: who reads that has read all of it.
    pub(super) trace: Option<(&'o str, &'o [u8])>,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

impl<J: Job> Output<'_, J> {
    fn send(&mut self, topic: &str, key: &[u8], value: Option<&[u8]>) -> Result<(), tidemark_log::Error> {
        self.sink.send(Outgoing { topic, partition: self.partition, key: Some(key), value, headers: &[] })
    }

    pub(super) fn all(&mut self, owned: &Owned<J::Accumulator>) -> Result<(), tidemark_log::Error> {
        let plan = self.plan;
        self.rows(&owned.held.fold)?;
        for ledger in owned.held.fold.touched_ledgers() {
            self.send_both(&window_key(b'L', ledger.window_start), plan.ids.ledger, ledger)?;
        }
        self.removals(&owned.held.fold)?;
        if let Some(progress) = owned.held.fold.touched_progress() {
            self.progress(&progress)?;
        }
        for letter in &owned.sealed_out {
            self.sink.send(Outgoing {
                topic: &plan.late,
                partition: self.partition,
                value: Some(letter),
                ..Outgoing::default()
            })?;
        }
        Ok(())
    }

    fn rows(&mut self, fold: &MergeFold<J::Accumulator>) -> Result<(), tidemark_log::Error> {
        let plan = self.plan;
        let (mut key, mut value, mut accumulator) = (Vec::new(), Vec::new(), Vec::new());
        let mut scratch = Vec::new();
        for row in fold.touched_rows() {
            row_key(row.window_start, row.key, &mut key);
            accumulator.clear();
            row.put_accumulator(&mut accumulator);
            let (records, revision) = (row.cell.records, row.cell.revision);
            let state =
                RowState { window_start: row.window_start, key: row.key, records, accumulator: &accumulator, revision };
            value.clear();
            wire::put(plan.ids.row_state, &state, &mut value);
            self.send(&plan.changelog, &key, Some(&value))?;
            self.view_row(&row, FIRST_EPOCH, &mut value, &mut scratch);
            self.send(&plan.view, &key, Some(&value))?;
        }
        // After those that a window had when it was sealed, perhaps just now.
        for (epoch, row) in fold.repaired_rows() {
            row_key(row.window_start, row.key, &mut key);
            self.view_row(&row, epoch, &mut value, &mut scratch);
            self.send(&plan.view, &key, Some(&value))?;
        }
        (self.key, self.value) = (key, value);
        Ok(())
    }

    fn view_row(&self, row: &TouchedRow<'_, J::Accumulator>, epoch: i32, value: &mut Vec<u8>, scratch: &mut Vec<u8>) {
        value.clear();
        wire::put_header(self.plan.ids.row, value);
        let view_row = ViewRow {
            key: row.view_key(scratch),
            window_start: row.window_start,
            merge_partition: self.partition,
            opened_at: row.opened_at,
            records: row.cell.records,
            accumulator: &row.cell.sum,
            epoch,
            revision: row.cell.revision,
        };
        match row.extent {
            None => self.job.put_row(&view_row, value),
            Some(extent) => self.job.put_session(&view_row, extent.last, value),
        }
    }

    /// After the ledger that says that they are no state any more.
    fn removals(&mut self, fold: &MergeFold<J::Accumulator>) -> Result<(), tidemark_log::Error> {
        let (plan, mut key) = (self.plan, std::mem::take(&mut self.key));
        for (window_start, row) in fold.removed_rows(self.removals_max) {
            row_key(window_start, row, &mut key);
            self.send(&plan.changelog, &key, None)?;
        }
        self.key = key;
        for window_start in fold.removed_windows(self.removals_max) {
            self.send(&plan.changelog, &window_key(b'D', window_start), None)?;
        }
        Ok(())
    }

    fn progress(&mut self, progress: &Progress) -> Result<(), tidemark_log::Error> {
        let (plan, trace) = (self.plan, self.trace);
        let mut value = Vec::new();
        wire::put(plan.ids.progress, progress, &mut value);
        let (key, value) = (Some(b"P".as_slice()), Some(value.as_slice()));
        self.sink.send(Outgoing { topic: &plan.changelog, partition: self.partition, key, value, headers: &[] })?;
        self.sink.send(Outgoing { topic: &plan.view, partition: self.partition, key, value, headers: trace.as_slice() })
    }

    fn send_both<'a>(&mut self, key: &[u8], id: u32, record: &impl Avro<'a>) -> Result<(), tidemark_log::Error> {
        let mut value = std::mem::take(&mut self.value);
        value.clear();
        wire::put(id, record, &mut value);
        let plan = self.plan;
        self.send(&plan.changelog, key, Some(&value))?;
        self.send(&plan.view, key, Some(&value))?;
        self.value = value;
        Ok(())
    }
}
