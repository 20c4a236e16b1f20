//! Rows of sealed windows that were recomputed take the place of those that are served.
//!
//! A sealed window has no rows here, only its ledger; so a repair brings whole rows, which go straight to the view, one epoch
//! above what they replace. It fits if the window is sealed and has the epoch that it was computed from. All repairs of a
//! window and merge partition stand in one transaction of one transactional id, so that two recomputations never mix; the last
//! one brings the ledger and with it the new epoch. From then on no repair of the old epoch fits any more, whoever sent it.
//!
//! Late records that came meanwhile stay accounted for: what a repair has folded is *subtracted* from those that are not in the
//! rows.

use super::window::widen;
use super::{MergeFold, RowCell, TouchedRow};
use crate::job::Accumulator;
use crate::partial::read_accumulator;
use std::fmt;
use tidemark_schemas::avro;
use tidemark_schemas::engine::{Ledger, Repair, RepairedLedger};

/// The highest epoch that views take.
pub const EPOCH_MAX: i32 = 1_023;

/// A recomputed row, as long as it is not committed.
#[derive(Debug)]
pub(super) struct Repaired<A> {
    window_start: i64,
    opened_at: i64,
    epoch: i32,
    key: Box<[u8]>,
    cell: RowCell<A>,
}

/// Why a repair is passed over. Nothing of it is folded, and nothing is lost: the window stays as it is, and can be recomputed
/// again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// It belongs to another version of the job.
    Fingerprint(i64),
    /// The window is not sealed: it takes records by itself.
    Open,
    /// The window was repaired by somebody else meanwhile: it has this epoch.
    Epoch(i32),
    /// It has as many epochs as a window may have.
    Worn,
    /// A job of session windows: its sealed rows are not rewritten.
    Sessions,
    /// An accumulator that is not of this job.
    Accumulator(avro::Error),
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fingerprint(found) => write!(f, "it carries fingerprint {found:016x}, which is another version's"),
            Self::Open => f.write_str("the window is not sealed here"),
            Self::Epoch(found) => write!(f, "the window has epoch {found} by now"),
            Self::Worn => write!(f, "the window has been recomputed {EPOCH_MAX} times, and more is not kept apart"),
            Self::Sessions => f.write_str("sealed sessions are not rewritten"),
            Self::Accumulator(reason) => write!(f, "accumulator: {reason}"),
        }
    }
}

impl<A: Accumulator> MergeFold<A> {
    /// Takes recomputed rows of a sealed window in, all of them or, where they do not fit, none.
    ///
    /// # Errors
    /// They do not fit. That is no reason to stop: state is what it was.
    pub fn fold_repair(&mut self, offset: i64, appended_at: i64, repair: &Repair<'_>) -> Result<(), Misfit> {
        let Repair { window_start, replaces, .. } = *repair;
        let (epoch, revision) = (replaces.saturating_add(1), offset + 1);
        let opened_at = self.fits(repair)?.opened_at;
        let mut rows = Vec::with_capacity(repair.rows.len());
        for row in &repair.rows {
            let sum = read_accumulator(row.accumulator).map_err(Misfit::Accumulator)?;
            let cell = RowCell { records: row.records, sum, revision, touched: true };
            rows.push(Repaired { window_start, opened_at, epoch, key: row.key.into(), cell });
        }
        self.repaired.append(&mut rows);
        let (Some(new), Some(ledger)) = (&repair.ledger, self.sealed.get_mut(&window_start)) else { return Ok(()) };
        replace(ledger, new);
        (ledger.epoch, ledger.updated_at, ledger.revision) = (epoch, appended_at, revision);
        self.sealed_touched.push(window_start);
        self.sealed_changed = revision;
        // Whoever waits for what the ledger says asks how far the merge partition has come.
        self.progress_revision = revision;
        self.progress_touched = true;
        Ok(())
    }

    fn fits(&self, repair: &Repair<'_>) -> Result<&Ledger, Misfit> {
        if repair.fingerprint != self.fingerprint {
            return Err(Misfit::Fingerprint(repair.fingerprint));
        }
        if self.sessions.is_some() {
            return Err(Misfit::Sessions);
        }
        let ledger = self.sealed.get(&repair.window_start).ok_or(Misfit::Open)?;
        match ledger.epoch {
            found if found != repair.replaces => Err(Misfit::Epoch(found)),
            EPOCH_MAX.. => Err(Misfit::Worn),
            _ => Ok(ledger),
        }
    }

    /// Recomputed rows since the last commit, in the order in which they came, each with its epoch. They are in no changelog:
    /// their windows are sealed.
    pub fn repaired_rows(&self) -> impl Iterator<Item = (i32, TouchedRow<'_, A>)> {
        self.repaired.iter().map(|row| {
            let Repaired { window_start, opened_at, epoch, ref key, ref cell } = *row;
            (epoch, TouchedRow { window_start, opened_at, key, cell, extent: None })
        })
    }
}

/// What the rows hold from now on. A late record that is in them is no longer beside them; how many came late stays the same.
fn replace(ledger: &mut Ledger, new: &RepairedLedger) {
    (ledger.rows, ledger.records) = (new.rows, new.records);
    let late = new.held + new.sealed_out;
    ledger.held -= new.held;
    ledger.sealed_out -= new.sealed_out;
    ledger.late += late;
    ledger.amended |= late > 0;
    for source in &new.sources {
        widen(&mut ledger.sources, &source.topic, source.partition, source.first_offset, source.last_offset);
    }
}
