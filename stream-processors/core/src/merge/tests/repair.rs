//! Sealed windows that were recomputed.

use super::*;
use std::collections::BTreeSet;
use tidemark_schemas::engine::{Repair, RepairedLedger, SourceRange};

pub(super) fn ledger(rows: i64, records: i64, sealed_out: i64) -> RepairedLedger {
    let source = SourceRange { topic: "t".into(), partition: 0, first_offset: 0, last_offset: 1 };
    RepairedLedger { rows, records, held: 0, sealed_out, sources: vec![source] }
}

impl Model {
    /// Rows are keys and records of one each.
    pub(super) fn repair(
        &mut self,
        window: i64,
        replaces: i32,
        rows: &[(u8, i64)],
        ledger: Option<RepairedLedger>,
    ) -> Result<(), Misfit> {
        let encoded: Vec<([u8; 1], i64, Vec<u8>)> = rows
            .iter()
            .map(|(key, records)| {
                let mut accumulator = Vec::new();
                Sum(*records).put(&mut accumulator);
                ([*key], *records, accumulator)
            })
            .collect();
        let rows = encoded.iter().map(|(key, records, accumulator)| PartialRow { key, records: *records, accumulator });
        let fingerprint = self.spec.fingerprint();
        let repair = Repair { fingerprint, window_start: window * WINDOW, replaces, rows: rows.collect(), ledger };
        let folded = self.fold.fold_repair(self.next, self.next, &repair);
        self.next += 1;
        folded
    }

    fn sealed(&self, window: i64) -> &Ledger {
        &self.fold.sealed[&(window * WINDOW)]
    }

    /// As after a crash: what was not committed is lost.
    fn restart(&mut self, from_disk: bool) {
        self.fold = self.restored(from_disk, true);
        self.taking = None;
    }
}

/// With a sealed window of two rows, of keys 1 and 2, and a record of key 3 that came after that.
fn sealed() -> Model {
    let mut model = Model::new();
    model.partial(0, 1);
    model.partial(0, 2);
    model.marker(200);
    model.partial(0, 3);
    model.commit(false);
    assert!(model.sealed(0).sealed && model.sealed(0).sealed_out == 1);
    model
}

#[test]
fn the_last_repair_brings_the_ledger_and_the_epoch() {
    let mut model = sealed();
    let before = model.sealed(0).clone();
    model.repair(0, 1, &[(1, 5)], None).unwrap();
    assert_eq!(model.sealed(0), &before, "the ledger does not speak of rows that are yet to come");
    assert_eq!(model.fold.touched(), 1);
    model.commit(false);
    model.restart(false);
    // A straggler between two repairs and one behind them.
    model.partial(0, 3);
    model.repair(0, 1, &[(2, 0), (3, 1)], Some(ledger(2, 6, 1))).unwrap();
    let rows: Vec<_> =
        model.fold.repaired_rows().map(|(epoch, row)| (epoch, row.key[0], row.cell.records, row.opened_at)).collect();
    assert_eq!(rows, [(2, 2, 0, 0), (2, 3, 1, 0)], "a row without records is one that goes");
    model.partial(0, 3);
    let after = model.sealed(0);
    assert_eq!((after.epoch, after.rows, after.records, after.updated_at), (2, 2, 6, model.next - 2));
    assert_eq!((after.late, after.sealed_out, after.amended), (1, 2, true), "what came meanwhile is left out");
    assert_eq!(model.fold.progress().revision, model.next - 1, "who waits for the ledger learns of it");
    model.commit(false);
    assert_eq!(model.fold.repaired_rows().count(), 0);
    assert_eq!(contents(&model.restored(false, true)), contents(&model.fold));
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let mut model = sealed();
    model.partial(3, 1);
    model.repair(0, 1, &[(1, 9)], Some(ledger(1, 9, 0))).unwrap();
    model.commit(false);
    let before = contents(&model.fold);
    for (window, replaces, misfit) in
        [(0, 1, Misfit::Epoch(2)), (0, 3, Misfit::Epoch(2)), (3, 1, Misfit::Open), (4, 1, Misfit::Open)]
    {
        for is_last in [false, true] {
            let ledger = is_last.then(|| ledger(1, 1, 0));
            assert_eq!(model.repair(window, replaces, &[(1, 1)], ledger), Err(misfit.clone()), "window {window}");
        }
    }
    let row = || vec![PartialRow { key: b"k", records: 1, accumulator: b"" }];
    let fingerprint = model.spec.fingerprint();
    let repair =
        |fingerprint, rows| Repair { fingerprint, window_start: 0, replaces: 2, rows, ledger: Some(ledger(1, 1, 0)) };
    let other = fingerprint + 1;
    assert_eq!(model.fold.fold_repair(50, 50, &repair(other, vec![])), Err(Misfit::Fingerprint(other)));
    let broken = model.fold.fold_repair(50, 50, &repair(fingerprint, row()));
    assert!(matches!(broken, Err(Misfit::Accumulator(_))), "{broken:?}");
    assert_eq!((contents(&model.fold), model.fold.touched()), (before, 0));
}

#[test]
fn a_window_has_only_so_many_epochs() {
    let mut model = sealed();
    for epoch in 1..EPOCH_MAX {
        model.repair(0, epoch, &[], Some(ledger(2, 2, 0))).unwrap();
    }
    assert_eq!(model.repair(0, EPOCH_MAX, &[], Some(ledger(2, 2, 0))), Err(Misfit::Worn));
}

#[test]
fn sessions_are_not_repaired() {
    let mut model = Model::of(JobSpec { window: Windowing::Session { gap_ms: 5 }, ..spec() });
    assert_eq!(model.repair(0, 1, &[], None), Err(Misfit::Sessions));
}

/// What a recomputation found out at some time: which epoch it replaces, how many records of each key, and how many of them had
/// been left out.
#[derive(Debug, Clone)]
struct Computed {
    window: i64,
    replaces: i32,
    rows: Vec<(u8, i64)>,
    sealed_out: i64,
}

#[derive(Debug, Clone)]
enum Step {
    Do(Do),
    Compute(i64),
    /// Publishes one of those that were computed, a row in each record; what comes behind each record.
    Publish(usize, Vec<Between>),
}

#[derive(Debug, Clone)]
enum Between {
    Straggler(u8),
    Commit(bool),
    Restart(bool),
}

fn repairs() -> impl Strategy<Value = Vec<Step>> {
    let between = prop_oneof![
        (0..4u8).prop_map(Between::Straggler),
        any::<bool>().prop_map(Between::Commit),
        any::<bool>().prop_map(Between::Restart),
    ];
    let step = prop_oneof![
        6 => (0..3i64, 0..4u8).prop_map(|(window, key)| Step::Do(Do::Partial(window, key))),
        2 => (0..200i64).prop_map(|at| Step::Do(Do::Marker(at))),
        3 => any::<bool>().prop_map(|checkpoint| Step::Do(Do::Commit(checkpoint))),
        3 => (0..3i64).prop_map(Step::Compute),
        3 => (0..8usize, prop::collection::vec(between, 0..6)).prop_map(|(at, between)| Step::Publish(at, between)),
    ];
    prop::collection::vec(step, 0..60)
}

/// A model with its view, and every record that was sent.
struct World {
    model: Model,
    view: BTreeMap<(i64, u8), ((i32, i64), i64)>,
    sent: BTreeMap<(i64, u8), i64>,
}

impl World {
    fn partial(&mut self, window: i64, key: u8) {
        self.model.partial(window, key);
        *self.sent.entry((window, key)).or_default() += 1;
    }

    /// The view gets what a stage would write: the highest revision stays.
    fn commit(&mut self, checkpoint: bool) {
        let fold = &self.model.fold;
        for (epoch, row) in fold.touched_rows().map(|row| (1, row)).chain(fold.repaired_rows()) {
            let there = self.view.entry((row.window_start / WINDOW, row.key[0])).or_default();
            *there = (*there).max(((epoch, row.cell.revision), row.cell.records));
        }
        self.model.commit(checkpoint);
    }

    fn compute(&self, window: i64) -> Option<Computed> {
        let ledger = self.model.fold.sealed.get(&(window * WINDOW))?;
        let rows = self.sent.iter().filter(|((of, _), _)| *of == window).map(|((_, key), records)| (*key, *records));
        Some(Computed { window, replaces: ledger.epoch, rows: rows.collect(), sealed_out: ledger.sealed_out })
    }

    fn publish(&mut self, computed: &Computed, between: &[Between]) {
        let Computed { window, replaces, ref rows, sealed_out } = *computed;
        let fits = self.model.sealed(window).epoch == replaces;
        for (at, row) in rows.iter().enumerate() {
            let records = rows.iter().map(|(_, records)| records).sum();
            let ledger = (at + 1 == rows.len()).then(|| ledger(rows.len() as i64, records, sealed_out));
            let is_last = ledger.is_some();
            // Restarts come after a commit: what is read again after one without is what was read before.
            self.commit(false);
            let folded = self.model.repair(window, replaces, &[*row], ledger);
            assert_eq!(folded.is_ok(), fits, "all of them fit or none: {folded:?}");
            match between.get(at) {
                Some(Between::Straggler(key)) => self.partial(window, *key),
                Some(Between::Commit(checkpoint)) => self.commit(*checkpoint),
                Some(Between::Restart(from_disk)) => {
                    self.commit(false);
                    self.model.restart(*from_disk);
                }
                None => {}
            }
            if is_last && fits {
                assert_eq!(self.model.sealed(window).epoch, replaces + 1);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever was computed when, however its records are cut, committed and restored between, and whoever comes late meanwhile:
    /// rows and ledger agree, and every record is in the rows or told as left out.
    #[test]
    fn every_record_is_in_the_rows_or_beside_them(steps in repairs()) {
        let mut world = World { model: Model::new(), view: BTreeMap::new(), sent: BTreeMap::new() };
        let mut computed: Vec<Computed> = Vec::new();
        for step in steps {
            match step {
                Step::Do(Do::Partial(window, key)) => world.partial(window, key),
                Step::Do(Do::Marker(at)) => world.model.marker(at),
                Step::Do(Do::Commit(checkpoint)) => world.commit(checkpoint),
                Step::Do(Do::Repair(..) | Do::Cool(_)) => {}
                Step::Compute(window) => computed.extend(world.compute(window)),
                Step::Publish(at, between) if !computed.is_empty() => {
                    let of = computed[at % computed.len()].clone();
                    world.publish(&of, &between);
                }
                Step::Publish(..) => {}
            }
        }
        world.commit(false);
        let windows: BTreeSet<i64> = world.model.fold.sealed.keys().map(|start| start / WINDOW).collect();
        for window in windows {
            let ledger = world.model.sealed(window);
            let of = |at: &(i64, u8)| at.0 == window;
            let rows: Vec<i64> =
                world.view.iter().filter(|(at, _)| of(at)).map(|(_, (_, records))| *records).collect();
            let sent: i64 = world.sent.iter().filter(|(at, _)| of(at)).map(|(_, records)| *records).sum();
            let live = rows.iter().filter(|records| **records != 0).count() as i64;
            prop_assert_eq!((live, rows.iter().sum::<i64>()), (ledger.rows, ledger.records), "window {}", window);
            prop_assert_eq!(ledger.records + ledger.held + ledger.sealed_out, sent, "window {}", window);
        }
    }
}
