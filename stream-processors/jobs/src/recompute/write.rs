//! What differs, written: as repairs that the merge fold takes in (decision 0017), and then held against the view again.
//!
//! A window is written where all its merge partitions have sealed it and every record that it is to hold is still there. The
//! ledger that it was computed from is read once more before: late records that came meanwhile make it compute anew.

use super::compare::Differing;
use super::fold::Fold;
use super::report::{Verdict, WindowReport, Written};
use super::scope::Scope;
use super::{Error, Recompute};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tidemark_core::merge::EPOCH_MAX;
use tidemark_core::{Accumulator, Job};
use tidemark_runtime::repair::{RepairRow, Repairs, WindowRepair};
use tidemark_schemas::engine::{Ledger, RepairedLedger};
use tidemark_spec::instant::rfc3339;

/// Rows that differ, by window.
pub(super) type Differs = BTreeMap<i64, Vec<Differing>>;

/// How long to wait until the view has what was written.
const TAKEN: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

impl<J: Job> Recompute<'_, J> {
    /// Writes the windows that differ and compares them again; whether something changed meanwhile, so that it is to be computed
    /// anew: then nothing was written. The last time such a window is refused instead.
    pub(super) fn write(
        &self,
        scope: &Scope<'_>,
        fold: &Fold<'_, J::Accumulator>,
        include_late: bool,
        is_last: bool,
        windows: &mut BTreeMap<i64, WindowReport>,
        differs: &Differs,
    ) -> Result<bool, Error> {
        let mut repairs: BTreeMap<i64, Vec<WindowRepair>> = BTreeMap::new();
        for (start, differing) in differs {
            let Some(window) = windows.get_mut(start).filter(|window| window.verdict != Verdict::NotProvable) else {
                continue;
            };
            let open = self.takes_no_more(scope, *start).err().filter(|_| window.verdict == Verdict::Differs);
            if let Some(reason) = open {
                refuse(window, reason);
            } else if include_late && let Some(reason) = lacks_late(scope, fold, *start) {
                window.verdict = Verdict::NotProvable;
                window.notes.push(reason);
            } else if window.verdict == Verdict::Differs {
                match self.repairs(scope, fold, include_late, *start, differing) {
                    Ok(of_window) => drop(repairs.insert(*start, of_window)),
                    Err(reason) => refuse(window, reason),
                }
            }
        }
        let changed = self.changed(scope, repairs.keys().copied())?;
        if !changed.is_empty() && !is_last {
            return Ok(true);
        }
        for start in changed {
            repairs.remove(&start);
            let reason = "it changed while it was recomputed: records came late; ask again".to_owned();
            windows.iter_mut().filter(|(at, _)| **at == start).for_each(|(_, window)| refuse(window, reason.clone()));
        }
        self.publish(&repairs)?;
        self.see(fold, &repairs, windows)?;
        Ok(false)
    }

    /// What is to become of a window.
    ///
    /// # Errors
    /// Why it is not written, for people.
    fn repairs(
        &self,
        scope: &Scope<'_>,
        fold: &Fold<'_, J::Accumulator>,
        include_late: bool,
        start: i64,
        differing: &[Differing],
    ) -> Result<Vec<WindowRepair>, String> {
        if differing.is_empty() {
            return Err("rows of tenants that no record is of cannot be named".to_owned());
        }
        let ledgers: BTreeMap<u32, &Ledger> =
            scope.ledgers(start).map(|ledger| (ledger.merge_partition as u32, ledger)).collect();
        let (totals, mut repairs) = (fold.totals(start), BTreeMap::new());
        for Differing { row, is_extra } in differing {
            let merge_partition = row.partition.merge_partition as u32;
            let Some(ledger) = ledgers.get(&merge_partition) else {
                return Err(format!(
                    "merge partition {merge_partition} has lost the window, ledger and all: a new version of the job folds it anew"
                ));
            };
            if ledger.epoch >= EPOCH_MAX {
                return Err(format!(
                    "it has been written {EPOCH_MAX} times, and more versions of it are not kept apart"
                ));
            }
            let row = self.repair_row(fold, start, row, *is_extra)?;
            let repair = repairs.entry(merge_partition).or_insert_with(|| {
                let (rows, records) = totals.get(&merge_partition).copied().unwrap_or_default();
                let (held, sealed_out) = if include_late { (ledger.held, ledger.sealed_out) } else { (0, 0) };
                let sources = fold.shared(start, merge_partition).sources;
                WindowRepair {
                    window_start: start,
                    merge_partition,
                    replaces: ledger.epoch,
                    rows: Vec::new(),
                    ledger: RepairedLedger { rows, records, held, sealed_out, sources },
                }
            });
            repair.rows.push(row);
        }
        Ok(repairs.into_values().collect())
    }

    /// A window that is not sealed takes records by itself, and its rows are the engine's state.
    fn takes_no_more(&self, scope: &Scope<'_>, start: i64) -> Result<(), String> {
        let spec = self.job.spec();
        let open: Vec<&Ledger> = scope.ledgers(start).filter(|ledger| !ledger.sealed).collect();
        let Some(end) = open.iter().map(|ledger| ledger.window_end).max() else { return Ok(()) };
        let opened = open.iter().map(|ledger| ledger.opened_at).max().unwrap_or(end);
        Err(format!(
            "it is not sealed yet: it still takes late records by itself, and is sealed when every source partition has passed {}, but not before {}; recompute it then",
            rfc3339(end.saturating_add(spec.grace_ms).saturating_add(spec.amend_for_ms)),
            rfc3339(opened.saturating_add(spec.amend_for_ms)),
        ))
    }

    fn repair_row(
        &self,
        fold: &Fold<'_, J::Accumulator>,
        start: i64,
        row: &tidemark_views::Row,
        is_extra: bool,
    ) -> Result<RepairRow, String> {
        let unnamed = || format!("the key of a row cannot be told from the view: {:?}", row.clustering);
        let key = self.columns.key(row).ok_or_else(unnamed)?;
        let mut accumulator = Vec::new();
        if is_extra {
            J::Accumulator::default().put(&mut accumulator);
            return Ok(RepairRow { key, records: 0, accumulator });
        }
        let cell = fold.cell(start, &key).ok_or_else(unnamed)?;
        cell.sum.put(&mut accumulator);
        Ok(RepairRow { key, records: cell.records, accumulator })
    }

    /// The windows whose ledgers are not those that were computed from.
    fn changed(&self, scope: &Scope<'_>, starts: impl Iterator<Item = i64>) -> Result<BTreeSet<i64>, Error> {
        let mut changed = BTreeSet::new();
        for start in starts {
            let now = self.handle.block_on(self.views.ledger(&self.shape.view, start, start.saturating_add(1)))?;
            if !now.iter().eq(scope.ledgers(start)) {
                changed.insert(start);
            }
        }
        Ok(changed)
    }

    fn publish(&self, repairs: &BTreeMap<i64, Vec<WindowRepair>>) -> Result<(), Error> {
        if repairs.is_empty() {
            return Ok(());
        }
        let publisher = Repairs::new(self.job.spec(), self.log, self.registry.as_ref())?;
        for repair in repairs.values().flatten() {
            publisher.publish(repair).map_err(tidemark_runtime::Error::from)?;
        }
        Ok(())
    }

    /// Waits until the view has what was written, and compares it again.
    fn see(
        &self,
        fold: &Fold<'_, J::Accumulator>,
        repairs: &BTreeMap<i64, Vec<WindowRepair>>,
        windows: &mut BTreeMap<i64, WindowReport>,
    ) -> Result<(), Error> {
        if repairs.is_empty() {
            return Ok(());
        }
        let is_taken = self.wait(repairs)?;
        let starts: BTreeSet<i64> = repairs.keys().copied().collect();
        let facts = self.facts(&starts)?;
        let now = Scope::new(self.job.spec(), &facts.ledgers, &facts.progress, starts);
        let mut rows = self.rows(fold)?;
        for (start, repairs) in repairs {
            let Some(window) = windows.get_mut(start) else { continue };
            let recomputed = rows.remove(start).unwrap_or_default();
            let (view, _) = self.view_rows(&now, *start, &recomputed)?;
            let again = self.columns.compare(*start, view, recomputed, |_| {});
            if !is_taken {
                window.notes.push(format!(
                    "written, but the view does not have it after {} s: is the job running? Ask again with --compare",
                    TAKEN.as_secs()
                ));
            } else if again.is_equal() {
                let removed =
                    repairs.iter().flat_map(|repair| &repair.rows).filter(|row| row.records == 0).count() as u64;
                let rows = repairs.iter().map(|repair| repair.rows.len() as u64).sum::<u64>() - removed;
                let fresh = self.window(&now, &facts, *start);
                let epoch = now.ledgers(*start).map(|ledger| ledger.epoch).max().unwrap_or_default();
                let (records, left_out) = (fresh.records, fresh.left_out);
                window.written = Some(Written { rows, removed, epoch, records, left_out });
                window.verdict = Verdict::Equal;
            } else {
                window.notes.push("somebody else has written it meanwhile; ask again".to_owned());
            }
        }
        Ok(())
    }

    /// Whether the view has all that was written, in time.
    fn wait(&self, repairs: &BTreeMap<i64, Vec<WindowRepair>>) -> Result<bool, Error> {
        let (view, began) = (&self.shape.view, Instant::now());
        loop {
            let mut is_there = true;
            for (start, repairs) in repairs {
                let ledgers = self.handle.block_on(self.views.ledger(view, *start, start.saturating_add(1)))?;
                is_there &= repairs.iter().all(|repair| {
                    let of = |ledger: &&Ledger| ledger.merge_partition == repair.merge_partition as i32;
                    ledgers.iter().find(of).is_some_and(|ledger| ledger.epoch > repair.replaces)
                });
            }
            if is_there || began.elapsed() > TAKEN {
                return Ok(is_there);
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// With late records a figure holds all that came, and it can only be had if the source topics still have all of them.
fn lacks_late<A: Accumulator>(scope: &Scope<'_>, fold: &Fold<'_, A>, start: i64) -> Option<String> {
    scope.ledgers(start).find_map(|ledger| {
        let (late, found) =
            (ledger.held + ledger.sealed_out, fold.shared(start, ledger.merge_partition as u32).late_folded);
        (late != found).then(|| {
            format!(
                "of the {late} late records that merge partition {} left out {found} were found: the rest is no longer kept, or cannot be told from the others",
                ledger.merge_partition
            )
        })
    })
}

fn refuse(window: &mut WindowReport, reason: String) {
    window.refused = true;
    window.notes.push(format!("not written: {reason}"));
}
