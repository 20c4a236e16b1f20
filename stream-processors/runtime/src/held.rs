//! The state of one merge partition in this process, and what there is of it on disk.

use crate::merge::removed_window;
use crate::plan::FIRST_EPOCH;
use crate::state::checkpoint::{Checkpoints, Step, Version};
use crate::state::manifest::Facts;
use crate::{Error, Metrics, Plan};
use tidemark_core::Accumulator;
use tidemark_core::merge::MergeFold;
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::catalog::{self, Schema};
use tidemark_schemas::engine::{Ledger, Progress, RowState};
use tidemark_schemas::wire;

/// What is on the changelog.
pub(crate) static STATE: &[Schema] = &[catalog::ROW_STATE, catalog::LEDGER, catalog::PROGRESS];

/// What state was restored from, the tail of the changelog apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The changelog alone.
    Changelog,
    /// A checkpoint on this machine.
    Checkpoint,
    /// The standby of this process.
    Standby,
}

/// State of a merge partition.
pub(crate) struct Held<A> {
    pub(crate) partition: u32,
    pub(crate) fold: MergeFold<A>,
    /// None: in memory alone.
    pub(crate) disk: Option<Checkpoints>,
    /// While it is restored or followed: everything on the changelog below this offset is in the state. None before that.
    pub(crate) at: Option<i64>,
    /// What it was restored from.
    pub(crate) origin: Origin,
    /// Cold windows that were loaded, as long as nobody was told.
    pub(crate) loads: u64,
    /// Entries that the last restore took from the changelog.
    pub(crate) entries: u64,
}

impl<A: Accumulator> Held<A> {
    pub(crate) fn new(plan: &Plan, partition: u32) -> Self {
        let fold = MergeFold::new(&plan.spec, partition, FIRST_EPOCH);
        Self { partition, fold, disk: None, at: None, origin: Origin::Changelog, loads: 0, entries: 0 }
    }

    /// Takes from disk what is of use there and sets `at` behind it.
    pub(crate) fn open(&mut self, plan: &Plan, facts: &Facts, metrics: &Metrics) {
        self.at = Some(facts.start);
        let Some(disk) = &mut self.disk else { return };
        match disk.open(&mut self.fold, facts) {
            Ok(covered) => (self.at, self.origin) = (Some(covered), Origin::Checkpoint),
            Err(None) => {}
            Err(Some(reason)) => self.reset(plan, facts.start, &reason, metrics),
        }
    }

    /// Throws the state and what is on disk away.
    pub(crate) fn reset(&mut self, plan: &Plan, start: i64, reason: &str, metrics: &Metrics) {
        tracing::warn!(
            merge_partition = self.partition,
            reason,
            "the checkpoint is not used; the whole changelog is read instead"
        );
        metrics.checkpoint_discarded(self.partition);
        if let Some(disk) = &mut self.disk {
            disk.discard();
        }
        self.fold = MergeFold::new(&plan.spec, self.partition, FIRST_EPOCH);
        (self.at, self.origin) = (Some(start), Origin::Changelog);
    }

    /// Loads the rows of a cold window that are needed now.
    pub(crate) fn load(&mut self, window_start: i64) -> Result<(), Error> {
        self.loads += 1;
        let none = || Err(format!("window {window_start} is not in memory, and there is no state directory"));
        let loaded = self.disk.as_ref().map_or_else(none, |disk| disk.load(&mut self.fold, window_start));
        loaded.map_err(|reason| {
            if let Some(disk) = &mut self.disk {
                disk.discard();
            }
            Error::State { partition: self.partition, reason }
        })
    }

    /// As [`Held::load`], in the middle of work, when the ledger is up to date.
    pub(crate) fn load_whole(&mut self, window_start: i64) -> Result<(), Error> {
        self.load(window_start)?;
        self.fold.check_rows(window_start).map_err(|gap| {
            if let Some(disk) = &mut self.disk {
                disk.discard();
            }
            Error::State { partition: self.partition, reason: gap.to_string() }
        })
    }

    /// Takes an entry of the changelog in.
    pub(crate) fn entry(
        &mut self,
        decoder: &mut wire::Decoder,
        scratch: &mut Vec<u8>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), EntryError> {
        self.entries += 1;
        let Some(value) = value else {
            // Of a row: the ledger says that its window is sealed.
            if let Some(window_start) = key.and_then(removed_window) {
                self.fold.restore_removed(window_start);
            }
            return Ok(());
        };
        let (schema, datum) = decoder.datum(value, scratch)?;
        let mut reader = Reader::new(datum);
        match schema {
            0 => {
                let row = RowState::get(&mut reader)?;
                if self.fold.lacks(&row) {
                    self.load(row.window_start)?;
                }
                self.fold.restore_row(&row)?;
            }
            1 => self.fold.restore_ledger(Ledger::get(&mut reader)?),
            _ => {
                // A progress entry of other settings is passed over: the first partial of them stops the stage and says so.
                let _ = self.fold.restore_progress(Progress::get(&mut reader)?);
            }
        }
        Ok(())
    }

    /// Loads the rows of a sealed window that are the next to be removed.
    pub(crate) fn load_sealed(&mut self) -> Result<(), Error> {
        self.fold.lacking_sealed().map_or(Ok(()), |window_start| self.load(window_start))
    }

    /// Goes on with a checkpoint that was begun. The fold holds nothing that is not committed.
    pub(crate) fn step(&mut self, now: i64, metrics: &Metrics) {
        let Some(disk) = &mut self.disk else { return };
        let step = disk.step(&mut self.fold);
        self.tell(step, now, metrics);
    }

    /// Whether a checkpoint is on its way.
    pub(crate) fn is_making(&self) -> bool {
        self.disk.as_ref().is_some_and(Checkpoints::is_making)
    }

    /// While the changelog is read, when everything below `at` is here: takes a checkpoint when one is due, or memory is over
    /// its bound, and drops rows that are on disk.
    pub(crate) fn keep(&mut self, share: usize, now: i64, metrics: &Metrics) {
        let Self { disk: Some(disk), fold, at: Some(at), .. } = self else { return };
        // Where all rows stay in memory, a checkpoint makes no room.
        let crowded = !disk.cool(fold, share, now) && !fold.keeps_all();
        if disk.is_wanted(Version::Changelog(*at)) && (crowded || disk.is_due(now)) {
            let begun = disk.begin(fold, *at, Version::Changelog(*at), now);
            self.tell(begun, now, metrics);
        }
        self.step(now, metrics);
    }

    /// Says what became of a step.
    pub(crate) fn tell(&self, step: Step, now: i64, metrics: &Metrics) {
        match step {
            Step::Going => {}
            Step::Done(bytes) => {
                metrics.checkpoint(self.partition, bytes, now);
                tracing::debug!(merge_partition = self.partition, bytes, "checkpoint written");
            }
            Step::Failed(reason) => {
                metrics.checkpoint_failed(self.partition, &reason);
                tracing::warn!(
                    merge_partition = self.partition,
                    reason,
                    "no checkpoint could be written: nothing is lost; a restart reads more of the changelog, and reading waits once memory is full: free disk space or mend the disk"
                );
            }
        }
    }

    /// Whether everything that the ledgers count is there.
    pub(crate) fn restored(&mut self) -> Result<(), String> {
        self.fold.restored().map_err(|gap| gap.to_string())
    }
}

/// Why an entry cannot be taken in.
pub(crate) enum EntryError {
    /// It cannot be read.
    Unreadable(wire::Error),
    /// What is on disk cannot.
    State(Error),
}

impl From<wire::Error> for EntryError {
    fn from(error: wire::Error) -> Self {
        Self::Unreadable(error)
    }
}

impl From<tidemark_schemas::avro::Error> for EntryError {
    fn from(error: tidemark_schemas::avro::Error) -> Self {
        Self::Unreadable(error.into())
    }
}

impl From<Error> for EntryError {
    fn from(error: Error) -> Self {
        Self::State(error)
    }
}

/// Offset metadata of the merge stage: what the state of that commit is known by.
pub(crate) fn metadata<A: Accumulator>(fold: &MergeFold<A>) -> String {
    format!("{} {:016x}", fold.revision(), fold.digest())
}

/// Whether restored state is the one that was committed with `metadata`; there is nothing to say where there is none.
pub(crate) fn is_committed<A: Accumulator>(fold: &MergeFold<A>, committed: &str) -> bool {
    committed.is_empty() || committed == metadata(fold)
}
