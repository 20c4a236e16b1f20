//! How much is folded between two commits: no more than one transaction takes, and no more than memory holds.
//!
//! A poll may bring more than that. The rest waits here, in the order in which it was read; while that is much, nothing more is
//! read. Offsets are committed as far as was folded, so that a restart reads again what waited.

use super::{Kind, MergeStage};
use crate::operator::Backlog;
use std::collections::VecDeque;
use std::sync::Arc;
use tidemark_core::Job;
use tidemark_log::{Batch, Headers, Record};

/// Memory that rows may take before partials wait for a checkpoint, as a multiple of what may be kept after one. On top come
/// the windows of the one partial that is folded next.
const TIMES_MAX: usize = 2;

/// Bytes that may wait before reading rests. It goes on when all are folded: each pause throws away what the client has
/// fetched.
const WAITING_BYTES_MAX: usize = 32 << 20;

/// Records that were read and are not folded yet.
pub(super) struct Intake {
    rows_max: usize,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    is_full: bool,
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
        Self { rows_max: rows_max.max(1), waiting: VecDeque::new(), waiting_bytes: 0, is_full: false }
    }

    pub(super) fn backlog(&self) -> Backlog {
        match (self.waiting.is_empty(), self.is_full) {
            (true, _) => Backlog::None,
            (false, false) => Backlog::Some,
            (false, true) => Backlog::Full,
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.rows_max);
    }

    fn wait(&mut self, partition: u32, record: &Record<'_>) {
        let value = record.value.map(<[u8]>::to_vec);
        self.waiting_bytes += value.as_ref().map_or(0, Vec::len);
        self.waiting.push_back(Waiting { partition, offset: record.offset, timestamp: record.timestamp, value });
        // Each record has a row at least.
        self.is_full |= self.waiting_bytes >= WAITING_BYTES_MAX || self.waiting.len() >= self.rows_max;
    }

    /// The first that waits, to be given back when it has to wait on.
    fn take(&mut self) -> Option<Waiting> {
        let first = self.waiting.pop_front()?;
        self.waiting_bytes -= first.value.as_ref().map_or(0, Vec::len);
        self.is_full &= !self.waiting.is_empty();
        Some(first)
    }

    fn give_back(&mut self, first: Waiting, was_full: bool) {
        self.waiting_bytes += first.value.as_ref().map_or(0, Vec::len);
        self.waiting.push_front(first);
        self.is_full = was_full;
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
        if self.failed.is_none() && !(self.intake.waiting.is_empty() && self.is_taken(batch, record)) {
            self.intake.wait(batch.partition, record);
        }
    }

    /// Folds what waits, as far as it goes.
    pub(super) fn go_on(&mut self) {
        let plan = Arc::clone(&self.plan);
        let was_full = self.intake.is_full;
        while self.failed.is_none()
            && let Some(waiting) = self.intake.take()
        {
            let Waiting { partition, offset, timestamp, ref value } = waiting;
            let (value, headers) = (value.as_deref(), Headers::default());
            let record = Record { offset, timestamp, key: None, value, headers };
            let batch = Batch { topic: &plan.partials, partition, records: &[record] };
            if !self.is_taken(&batch, &record) {
                return self.intake.give_back(waiting, was_full);
            }
        }
    }

    /// Folds a record, if there is room for it.
    fn is_taken(&mut self, batch: &Batch<'_>, record: &Record<'_>) -> bool {
        if self.is_full() {
            return false;
        }
        let bytes: usize = self.owned.iter().map(|owned| owned.held.fold.bytes()).sum();
        let is_short = bytes > self.memory().saturating_mul(TIMES_MAX);
        let Some(owned) = self.owned.iter_mut().find(|owned| owned.partition.partition == batch.partition) else {
            return true;
        };
        match owned.fold_record(&self.plan, &mut self.input, &mut self.scratch, is_short, batch, record) {
            Ok(Kind::Partial | Kind::Repair) => {}
            Ok(Kind::Marker) => self.trace.see(&owned.partition, record),
            Ok(Kind::Waits) => return false,
            Err(error) => self.failed = Some(error),
        }
        true
    }

    /// Drops rows that have come to disk where memory is full, and loads those of one sealed window that are to be removed next:
    /// one alone, so that the member is polled again soon.
    pub(super) fn make_room(&mut self) {
        let (share, now) = (self.share(), self.now);
        for owned in &mut self.owned {
            if let Some(disk) = owned.held.disk.as_ref().filter(|_| owned.crowded) {
                owned.crowded = !disk.cool(&mut owned.held.fold, share, now);
            }
        }
        let lacking = self.owned.iter_mut().find(|owned| owned.held.fold.lacking_sealed().is_some());
        if let Some(Err(error)) = lacking.map(|owned| owned.held.load_sealed()) {
            self.failed = Some(error);
        }
    }
}
