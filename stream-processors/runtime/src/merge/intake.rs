//! How much is folded between two commits: no more than one transaction takes, and no more than memory holds.
//!
//! A poll may bring more than that. The rest waits here, in the order in which it was read, and nothing more is read until it
//! is folded; offsets are committed as far as was folded, so that a restart reads again what waited.

use super::{Kind, MergeStage};
use std::collections::VecDeque;
use std::sync::Arc;
use tidemark_core::Job;
use tidemark_log::{Batch, Headers, Record};

/// Memory that rows of a partition may take before partials wait for a checkpoint, as a multiple of its share: the share itself
/// is what is kept after one. On top come the windows of the one partial that is folded next.
const SHARES_MAX: usize = 2;

/// Records that were read and are not folded yet.
pub(super) struct Intake {
    rows_max: usize,
    waiting: VecDeque<Waiting>,
}

/// A record without its headers: a trace ends here.
struct Waiting {
    partition: u32,
    offset: i64,
    timestamp: i64,
    value: Option<Vec<u8>>,
}

impl Intake {
    /// For commits of so many rows.
    pub(super) fn new(rows_max: usize) -> Self {
        Self { rows_max: rows_max.max(1), waiting: VecDeque::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    fn wait(&mut self, partition: u32, record: &Record<'_>) {
        let value = record.value.map(<[u8]>::to_vec);
        self.waiting.push_back(Waiting { partition, offset: record.offset, timestamp: record.timestamp, value });
    }
}

impl<J: Job> MergeStage<J> {
    /// Whether the next commit has as many rows and letters as one may have.
    pub(super) fn is_full(&self) -> bool {
        let rows: usize = self.owned.iter().map(|owned| owned.held.fold.touched() + owned.sealed_out.len()).sum();
        rows >= self.intake.rows_max
    }

    /// Rows of sealed windows that a commit removes of each partition.
    pub(super) fn removals_max(&self) -> usize {
        self.intake.rows_max.div_ceil(self.owned.len().max(1))
    }

    /// Folds a record, or lets it wait.
    pub(super) fn take_in(&mut self, batch: &Batch<'_>, record: &Record<'_>) {
        if self.failed.is_none() && !(self.intake.is_empty() && self.is_taken(batch, record)) {
            self.intake.wait(batch.partition, record);
        }
    }

    /// Folds what waits, as far as it goes.
    pub(super) fn go_on(&mut self) {
        let plan = Arc::clone(&self.plan);
        while self.failed.is_none()
            && let Some(waiting) = self.intake.waiting.pop_front()
        {
            let Waiting { partition, offset, timestamp, ref value } = waiting;
            let (value, headers) = (value.as_deref(), Headers::default());
            let record = Record { offset, timestamp, key: None, value, headers };
            let batch = Batch { topic: &plan.partials, partition, records: &[record] };
            if !self.is_taken(&batch, &record) {
                return self.intake.waiting.push_front(waiting);
            }
        }
    }

    /// Folds a record, if there is room for it.
    fn is_taken(&mut self, batch: &Batch<'_>, record: &Record<'_>) -> bool {
        if self.is_full() {
            return false;
        }
        let memory_max = self.share().saturating_mul(SHARES_MAX);
        let Some(owned) = self.owned.iter_mut().find(|owned| owned.partition.partition == batch.partition) else {
            return true;
        };
        match owned.fold_record(&self.plan, &mut self.input, &mut self.scratch, memory_max, batch, record) {
            Ok(Kind::Partial) => {}
            Ok(Kind::Marker) => self.trace.see(&owned.partition, record),
            Ok(Kind::Waits) => return false,
            Err(error) => self.failed = Some(error),
        }
        true
    }

    /// Drops rows that have come to disk where memory is full, and loads those of sealed windows that are to be removed next.
    pub(super) fn make_room(&mut self) {
        let (share, now) = (self.share(), self.now);
        for owned in &mut self.owned {
            if let Some(disk) = owned.held.disk.as_ref().filter(|_| owned.crowded) {
                owned.crowded = !disk.cool(&mut owned.held.fold, share, now);
            }
            if let Err(error) = owned.held.load_sealed() {
                self.failed = Some(error);
            }
        }
    }
}
