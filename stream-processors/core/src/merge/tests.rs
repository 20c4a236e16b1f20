//! A checkpoint that is taken piece by piece, and what is restored from it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, in its helpers too")]

use super::*;
use crate::job::LatePolicy;
use proptest::prelude::*;
use tidemark_schemas::avro::{self, Avro, Reader};
use tidemark_schemas::engine::{PartialRow, RowState, SourceMark, TopicPartitions};

mod repair;
mod sessions;

const WINDOW: i64 = 10;
const AMEND_FOR: i64 = 100;
/// Rows that one commit removes.
const REMOVED_MAX: usize = 2;

#[derive(Debug, Clone, Default, PartialEq)]
struct Sum(i64);

impl Accumulator for Sum {
    type Item<'a> = Self;
    fn add(&mut self, item: &Self) {
        self.merge(item);
    }
    fn merge(&mut self, other: &Self) {
        self.0 += other.0;
    }
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
    fn get(reader: &mut Reader<'_>) -> Result<Self, avro::Error> {
        Ok(Self(Avro::get(reader)?))
    }
}

fn spec() -> JobSpec {
    JobSpec {
        name: "sums".into(),
        version: 1,
        sources: vec!["t".into()],
        time: "at".into(),
        dedupe: None,
        key: vec!["key".into()],
        aggregates: vec!["sum".into()],
        expressions: Vec::new(),
        window: Windowing::Tumbling { size_ms: WINDOW },
        grace_ms: 0,
        late: LatePolicy::Amend,
        amend_for_ms: AMEND_FOR,
        idle_after_ms: 1,
        max_future_ms: 1_000,
        merge_partitions: 1,
        retention_ms: 1_000,
    }
}

#[derive(Debug, Clone)]
enum Entry {
    /// Window, key, records, accumulator, revision.
    Row(i64, Vec<u8>, i64, Vec<u8>, i64),
    Removal(i64, Vec<u8>),
    Removed(i64),
    Ledger(Ledger),
    Progress(Progress),
}

/// A merge partition as a stage would run it: its changelog, and what is on disk.
struct Model {
    spec: JobSpec,
    fold: MergeFold<Sum>,
    next: i64,
    changelog: Vec<Entry>,
    /// Rows by window, as of a revision: files that a manifest names.
    files: BTreeMap<i64, (i64, Vec<u8>)>,
    taking: Option<Taking>,
    disk: Option<Disk>,
}

struct Taking {
    covered: usize,
    todo: Vec<Unsaved>,
    current: Option<(Unsaved, usize, Vec<u8>)>,
    new: Vec<(Unsaved, Vec<u8>)>,
}

#[derive(Clone)]
struct Disk {
    covered: usize,
    head: Vec<u8>,
    sealed: Vec<u8>,
    windows: BTreeMap<i64, (i64, Vec<u8>)>,
}

impl Model {
    fn new() -> Self {
        Self::of(spec())
    }

    fn of(spec: JobSpec) -> Self {
        let (fold, files) = (MergeFold::new(&spec, 0, 1), BTreeMap::new());
        Self { spec, fold, next: 0, changelog: Vec::new(), files, taking: None, disk: None }
    }

    /// Takes steps, and commits.
    fn after(steps: Vec<Do>) -> Self {
        let mut model = Self::new();
        for step in steps {
            match step {
                Do::Partial(window, key) => model.partial(window, key),
                Do::Marker(watermark) => model.marker(watermark),
                Do::Repair(window, replaces, is_last) => {
                    let ledger = is_last.then(|| repair::ledger(1, 1, 0));
                    let _ = model.repair(window, replaces, &[(0, 1)], ledger);
                }
                Do::Commit(checkpoint) => model.commit(checkpoint),
                Do::Cool(all) => {
                    model.fold.cool(i64::MAX, if all { 0 } else { usize::MAX });
                }
            }
        }
        model.commit(false);
        model
    }

    fn load(&mut self, start: i64) {
        let rows = self.files[&start].1.clone();
        self.fold.load_rows(start, &rows).unwrap();
        self.fold.check_rows(start).unwrap();
    }

    fn partial(&mut self, window: i64, key: u8) {
        let (key, mut accumulator) = ([key], Vec::new());
        Sum(1).put(&mut accumulator);
        let rows = vec![PartialRow { key: &key, records: 1, accumulator: &accumulator }];
        self.fold_rows(window * WINDOW, rows);
    }

    fn fold_rows(&mut self, start: i64, rows: Vec<PartialRow<'_>>) -> i64 {
        let offset = self.next;
        let windows = vec![PartialWindow { start, first_offset: offset, last_offset: offset, late: 0, held: 0, rows }];
        let partial = Partial { fingerprint: self.spec.fingerprint(), topic: "t", partition: 0, windows };
        while let Some(start) = self.fold.lacking(&partial) {
            self.load(start);
        }
        let mut turned_away = 0;
        self.fold.fold_partial(offset, offset, &partial, |row| turned_away += row.records).unwrap();
        self.next += 1;
        turned_away
    }

    fn marker(&mut self, watermark: i64) {
        let mark = SourceMark {
            topic: "t".into(),
            partition: 0,
            next_offset: self.next,
            watermark: Some(watermark),
            idle_at: None,
            records: 1,
            late: 0,
            held: 0,
            filtered: 0,
            dead_lettered: 0,
            duplicates: 0,
        };
        let counts = vec![TopicPartitions { topic: "t".into(), partitions: 1 }];
        let fingerprint = self.spec.fingerprint();
        let marker =
            Marker { fingerprint, at: self.next, oldest_append: None, sources: vec![mark], partition_counts: counts };
        // Append time far on: what the watermark seals is sealed.
        self.fold.fold_marker(self.next, self.next + self.spec.amend_for_ms, &marker).unwrap();
        self.next += 1;
    }

    fn commit(&mut self, checkpoint: bool) {
        let covered = self.changelog.len();
        if let Some(start) = self.fold.lacking_sealed() {
            self.load(start);
        }
        for row in self.fold.touched_rows() {
            let (key, cell, mut accumulator) = (row.key.to_vec(), row.cell, Vec::new());
            row.put_accumulator(&mut accumulator);
            self.changelog.push(Entry::Row(row.window_start, key, cell.records, accumulator, cell.revision));
        }
        self.changelog.extend(self.fold.touched_ledgers().cloned().map(Entry::Ledger));
        let removed = self.fold.removed_rows(REMOVED_MAX).map(|(start, key)| Entry::Removal(start, key.to_vec()));
        self.changelog.extend(removed);
        self.changelog.extend(self.fold.removed_windows(REMOVED_MAX).map(Entry::Removed));
        self.changelog.extend(self.fold.touched_progress().map(Entry::Progress));
        self.fold.committed(self.next);
        self.fold.removed(REMOVED_MAX);
        if checkpoint && self.taking.is_none() {
            self.taking = Some(Taking { covered, todo: self.fold.unsaved(), current: None, new: Vec::new() });
        }
        self.take_piece();
    }

    fn take_piece(&mut self) {
        let Some(mut taking) = self.taking.take() else { return };
        if taking.current.is_none() {
            taking.current = taking.todo.pop().map(|window| (window, 0, Vec::new()));
        }
        match taking.current.take() {
            Some((window, from, mut bytes)) => {
                // One row at a time: the next ones are taken after later commits.
                let room = bytes.len() + 1;
                match self.fold.put_rows(window.window_start, from, room, &mut bytes) {
                    Some(next) => taking.current = Some((window, next, bytes)),
                    None => taking.new.push((window, bytes)),
                }
                self.taking = Some(taking);
            }
            None if self.fold.is_removing() => self.taking = Some(taking),
            None => self.publish(taking),
        }
    }

    fn publish(&mut self, taking: Taking) {
        let mut windows = self.files.clone();
        for (window, bytes) in taking.new {
            windows.insert(window.window_start, (window.changed, bytes));
        }
        windows.retain(|start, _| self.fold.is_open(*start));
        windows.iter().for_each(|(start, (changed, _))| self.fold.saved(*start, *changed));
        let (mut head, mut sealed) = (Vec::new(), Vec::new());
        self.fold.put_head(&mut head);
        self.fold.put_sealed(&mut sealed);
        self.files.clone_from(&windows);
        self.disk = Some(Disk { covered: taking.covered, head, sealed, windows });
    }

    /// What a restart has, from disk if there is anything and that is wanted, and the changelog after it.
    fn restored(&self, from_disk: bool, hot: bool) -> MergeFold<Sum> {
        let mut fold = MergeFold::new(&self.spec, 0, 1);
        let disk = self.disk.as_ref().filter(|_| from_disk);
        if let Some(disk) = disk {
            fold.load_ledgers(&disk.head, &disk.sealed).unwrap();
            for (start, (changed, rows)) in &disk.windows {
                fold.set_cold(*start, *changed);
                if hot {
                    fold.load_rows(*start, rows).unwrap();
                }
            }
        }
        for entry in &self.changelog[disk.map_or(0, |disk| disk.covered)..] {
            match entry {
                Entry::Row(window_start, key, records, accumulator, revision) => {
                    let (window_start, records, revision) = (*window_start, *records, *revision);
                    let row = RowState { window_start, key, records, accumulator, revision };
                    if fold.lacks(&row) {
                        fold.load_rows(window_start, &disk.unwrap().windows[&window_start].1).unwrap();
                    }
                    fold.restore_row(&row).unwrap();
                }
                Entry::Removal(..) => {}
                Entry::Removed(start) => fold.restore_removed(*start),
                Entry::Ledger(ledger) => fold.restore_ledger(ledger.clone()),
                Entry::Progress(progress) => fold.restore_progress(progress.clone()).unwrap(),
            }
        }
        fold.restored().unwrap();
        let cold: Vec<i64> = fold.open.iter().filter(|(_, state)| state.rows.is_none()).map(|(at, _)| *at).collect();
        for start in cold {
            fold.load_rows(start, &disk.unwrap().windows[&start].1).unwrap();
            fold.check_rows(start).unwrap();
        }
        fold
    }
}

/// Head, sealed ledgers, digest; window, key, records, sum, revision and extent of each row.
type Contents = (Vec<u8>, Vec<u8>, u64, Vec<(i64, Vec<u8>, i64, i64, i64, (i64, i64))>);

/// Everything that a fold holds, rows in order of their keys.
fn contents(fold: &MergeFold<Sum>) -> Contents {
    let (mut head, mut sealed) = (Vec::new(), Vec::new());
    fold.put_head(&mut head);
    fold.put_sealed(&mut sealed);
    let rows = fold.open.iter().flat_map(|(start, state)| {
        state.rows.iter().flat_map(|rows| rows.iter()).enumerate().map(|(at, (key, entry))| {
            let RowCell { records, sum, revision, .. } = &entry.value;
            let extent = state.extents.get(at).map_or((0, 0), |extent| (extent.last, extent.late));
            (*start, key.to_vec(), *records, sum.0, *revision, extent)
        })
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort();
    (head, sealed, fold.digest(), rows)
}

#[derive(Debug, Clone)]
enum Do {
    Partial(i64, u8),
    Marker(i64),
    Repair(i64, i32, bool),
    Commit(bool),
    Cool(bool),
}

fn steps() -> impl Strategy<Value = Vec<Do>> {
    let step = prop_oneof![
        6 => (0..6i64, 0..4u8).prop_map(|(window, key)| Do::Partial(window, key)),
        2 => (0..200i64).prop_map(Do::Marker),
        2 => (0..6i64, 1..4i32, any::<bool>()).prop_map(|(window, replaces, last)| Do::Repair(window, replaces, last)),
        6 => any::<bool>().prop_map(Do::Commit),
        1 => any::<bool>().prop_map(Do::Cool),
    ];
    prop::collection::vec(step, 0..150)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// However a checkpoint is cut into pieces, whatever is folded between them and whichever windows are cold: with the
    /// changelog after it, it is the state of the whole changelog, which is the state that was committed.
    #[test]
    fn a_checkpoint_and_the_changelog_after_it_are_the_state(steps in steps(), hot in any::<bool>()) {
        let mut model = Model::after(steps);
        let whole = contents(&model.restored(false, true));
        prop_assert_eq!(&contents(&model.restored(true, hot)), &whole);
        let cold: Vec<i64> = model.fold.open.iter().filter(|(_, s)| s.rows.is_none()).map(|(at, _)| *at).collect();
        cold.into_iter().for_each(|start| model.load(start));
        prop_assert_eq!(&contents(&model.fold), &whole);
    }

    /// However few rows a commit removes and wherever a restart falls between: whoever goes on removes the rest.
    #[test]
    fn rows_of_sealed_windows_leave_the_changelog(steps in steps(), from_disk in any::<bool>()) {
        let model = Model::after(steps);
        let mut fold = model.restored(from_disk, false);
        let mut left = std::collections::BTreeSet::new();
        for entry in &model.changelog {
            match entry {
                Entry::Row(start, key, ..) => drop(left.insert((*start, key.clone()))),
                Entry::Removal(start, key) => drop(left.remove(&(*start, key.clone()))),
                Entry::Removed(_) | Entry::Ledger(_) | Entry::Progress(_) => {}
            }
        }
        for _ in 0..1_000 {
            if let Some(start) = fold.lacking_sealed() {
                fold.load_rows(start, &model.disk.as_ref().unwrap().windows[&start].1).unwrap();
            }
            let removed: Vec<_> = fold.removed_rows(REMOVED_MAX).map(|(start, key)| (start, key.to_vec())).collect();
            prop_assert!(removed.len() <= REMOVED_MAX);
            for row in &removed {
                left.remove(row);
            }
            fold.removed(REMOVED_MAX);
        }
        prop_assert!(!fold.is_removing());
        left.retain(|(start, _)| fold.sealed.contains_key(start));
        prop_assert_eq!(left, Default::default());
    }
}

#[test]
fn a_window_that_is_not_saved_stays_in_memory() {
    let mut model = Model::new();
    model.partial(0, 1);
    assert!(!model.fold.cool(i64::MAX, 0), "it is not committed");
    model.commit(true);
    assert!(!model.fold.cool(i64::MAX, 0), "it is not on disk");
    while model.taking.is_some() {
        model.take_piece();
    }
    model.partial(0, 1);
    model.commit(false);
    assert!(!model.fold.cool(i64::MAX, 0), "it has changed since");
    assert_eq!(model.fold.unsaved(), [Unsaved { window_start: 0, changed: 2 }]);
    model.commit(true);
    while model.taking.is_some() {
        model.take_piece();
    }
    assert!(model.fold.cool(i64::MAX, 0));
    assert_eq!((model.fold.bytes(), model.fold.rows()), (0, 1));
}

#[test]
fn state_without_a_row_that_its_ledger_counts_is_refused() {
    let mut model = Model::new();
    model.partial(0, 1);
    model.partial(0, 2);
    model.commit(false);
    model.changelog.retain(|entry| !matches!(entry, Entry::Row(_, key, ..) if key == &[2]));
    let mut fold = MergeFold::<Sum>::new(&spec(), 0, 1);
    for entry in &model.changelog {
        match entry {
            Entry::Ledger(ledger) => fold.restore_ledger(ledger.clone()),
            Entry::Row(..) | Entry::Removal(..) | Entry::Removed(_) | Entry::Progress(_) => {}
        }
    }
    assert_eq!(fold.restored(), Err(Gap { window_start: 0, rows: 0, expected: 2 }));
}

/// Compaction may put the ledger that says that a window is sealed behind the end of the removal of its rows.
#[test]
fn a_removal_that_ends_before_the_ledger_says_sealed_is_the_end() {
    let mut model = Model::new();
    model.partial(0, 1);
    model.commit(false);
    model.marker(200);
    model.commit(false);
    let is_sealed = |entry: &Entry| matches!(entry, Entry::Ledger(ledger) if ledger.sealed);
    let at = model.changelog.iter().position(is_sealed).unwrap();
    let sealed = model.changelog.remove(at);
    assert!(matches!(model.changelog.iter().find(|entry| matches!(entry, Entry::Removed(_))), Some(Entry::Removed(0))));
    model.changelog.push(sealed);
    let fold = model.restored(false, false);
    assert_eq!((fold.is_removing(), fold.rows()), (false, 0));
}
