//! Merge partitions that die and come back: from the changelog, or from a checkpoint and the changelog after it.

use super::Driver;
use crate::job::{Accumulator, Job};
use crate::merge::{self, MergeFold};
use std::collections::{BTreeMap, BTreeSet};
use tidemark_schemas::avro;
use tidemark_schemas::engine::{Ledger, Progress, RowState};

/// Accumulator, records and revision of a changelog entry.
type StoredRow = (Vec<u8>, i64, i64);

/// A changelog, as compaction leaves it.
#[derive(Debug, Default)]
pub(super) struct Changelog {
    rows: BTreeMap<(i64, Vec<u8>), StoredRow>,
    ledgers: BTreeMap<i64, Ledger>,
    /// Windows whose rows are all removed.
    removed: BTreeSet<i64>,
    progress: Option<Progress>,
}

impl Changelog {
    /// Takes in what a commit writes, which removes all rows of windows that were sealed.
    pub(super) fn take<A: Accumulator>(&mut self, fold: &MergeFold<A>) {
        for row in fold.touched_rows() {
            let mut sum = Vec::new();
            row.put_accumulator(&mut sum);
            let stored = (sum, row.cell.records, row.cell.revision);
            self.rows.insert((row.window_start, row.key.to_vec()), stored);
        }
        self.ledgers.extend(fold.touched_ledgers().map(|ledger| (ledger.window_start, ledger.clone())));
        for (start, key) in fold.removed_rows(usize::MAX) {
            self.rows.remove(&(start, key.to_vec()));
        }
        self.removed.extend(fold.removed_windows(usize::MAX));
        self.progress = Some(fold.progress()).filter(|progress| progress.revision > 0);
    }

    fn restore<A: Accumulator>(&self, fold: &mut MergeFold<A>) -> Result<(), merge::Error> {
        for ((window_start, key), (accumulator, records, revision)) in &self.rows {
            let row =
                RowState { window_start: *window_start, key, records: *records, accumulator, revision: *revision };
            fold.restore_row(&row).map_err(|reason| corrupt(*revision, reason))?;
        }
        self.ledgers.values().for_each(|ledger| fold.restore_ledger(ledger.clone()));
        self.removed.iter().for_each(|start| fold.restore_removed(*start));
        self.progress.clone().map_or(Ok(()), |progress| fold.restore_progress(progress))
    }
}

/// What is on disk of a merge partition, and what the changelog got since.
#[derive(Debug, Default)]
pub(super) struct Checkpoint {
    head: Vec<u8>,
    sealed: Vec<u8>,
    /// By window: revision of its last change, and the rows.
    rows: BTreeMap<i64, (i64, Vec<u8>)>,
    pub(super) after: Changelog,
}

fn corrupt(offset: i64, reason: avro::Error) -> merge::Error {
    merge::Error::Accumulator { offset, reason }
}

impl<J: Job> Driver<J> {
    /// Takes a checkpoint of a merge partition, of what has changed since the last one.
    pub fn checkpoint(&mut self, merge_partition: usize) {
        let Some(merge) = self.merges.get_mut(merge_partition) else { return };
        let rows = merge.checkpoint.take().map(|last| last.rows).unwrap_or_default();
        let mut next = Checkpoint { rows, ..Checkpoint::default() };
        for unsaved in merge.fold.unsaved() {
            let mut rows = Vec::new();
            merge.fold.put_rows(unsaved.window_start, 0, usize::MAX, &mut rows);
            merge.fold.saved(unsaved.window_start, unsaved.changed);
            next.rows.insert(unsaved.window_start, (unsaved.changed, rows));
        }
        next.rows.retain(|start, _| merge.fold.is_open(*start));
        merge.fold.put_head(&mut next.head);
        merge.fold.put_sealed(&mut next.sealed);
        merge.checkpoint = Some(next);
    }

    /// The member that owns a merge partition dies: its state is restored from the changelog alone.
    ///
    /// # Errors
    /// A changelog that is not of this job.
    pub fn crash_merge(&mut self, merge_partition: usize) -> Result<(), merge::Error> {
        let Some(merge) = self.merges.get_mut(merge_partition) else { return Ok(()) };
        merge.fold = MergeFold::new(self.job.spec(), merge_partition as u32, 1);
        // Its disk is gone with it.
        merge.checkpoint = None;
        merge.changelog.restore(&mut merge.fold)?;
        Ok(merge.fold.restored()?)
    }

    /// The member that owns a merge partition dies: its state is restored from the last checkpoint, and what the changelog
    /// has since. Nothing happens where there is none.
    ///
    /// # Errors
    /// A changelog that is not of this job.
    pub fn reopen_merge(&mut self, merge_partition: usize) -> Result<(), merge::Error> {
        let Some(merge) = self.merges.get_mut(merge_partition) else { return Ok(()) };
        let Some(Checkpoint { head, sealed, rows, after }) = &merge.checkpoint else { return Ok(()) };
        let fold = &mut merge.fold;
        *fold = MergeFold::new(self.job.spec(), merge_partition as u32, 1);
        let unusable = |error: merge::LoadError| match error {
            merge::LoadError::Datum(reason) => corrupt(0, reason),
            merge::LoadError::OtherJob | merge::LoadError::OtherWindow => corrupt(0, avro::Error::Branch(0)),
        };
        fold.load_ledgers(head, sealed).map_err(unusable)?;
        for (start, (changed, rows)) in rows {
            fold.set_cold(*start, *changed);
            fold.load_rows(*start, rows).map_err(unusable)?;
        }
        after.restore(fold)?;
        Ok(fold.restored()?)
    }
}
