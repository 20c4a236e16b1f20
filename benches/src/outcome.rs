//! Compares what the job wrote with the reference.

use crate::observed::read;
use crate::{Observed, Reference};
use std::collections::{HashMap, HashSet};
use std::fmt;

/// The comparison, as counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Records of the workload.
    pub records: u64,
    /// Rows of the reference.
    pub cells: usize,
    /// Rows that equal the reference.
    pub exact: usize,
    /// Rows of the reference with other sums.
    pub wrong: usize,
    /// Rows of the reference that are not there.
    pub missing: usize,
    /// Rows that the reference does not have, or that are in a second merge partition as well.
    pub unknown: usize,
    /// Records that rows lack, summed over the rows that lack some.
    pub lost: i64,
    /// Records that rows have too many, summed likewise.
    pub over_counted: i64,
    /// Late records of the reference.
    pub late: usize,
    /// Letters on the late topic.
    pub letters: usize,
    /// Letters about a record that has one already.
    pub repeated_letters: usize,
    /// Letters about records that were on time in their own partition.
    pub on_time_judged_late: usize,
    /// Records in the ledgers.
    pub ledger_records: i64,
    /// Late records in the ledgers.
    pub ledger_late: i64,
    /// Rows by the ledgers.
    pub ledger_rows: i64,
    /// Records kept out of rows, for whatever reason: late, sealed, filtered, unreadable.
    pub kept_out: i64,
    /// Merge partitions that have not heard of exactly all records and all late ones.
    pub behind: usize,
}

impl Outcome {
    /// Compares.
    pub fn of(reference: &Reference, observed: &Observed) -> Self {
        let mut outcome = Self {
            records: reference.records,
            cells: reference.cells.len(),
            late: reference.late.len(),
            ..Self::default()
        };
        outcome.rows(reference, observed);
        outcome.letters(reference, observed);
        outcome.ledgers(observed);
        outcome.progress(observed);
        outcome
    }

    fn rows(&mut self, reference: &Reference, observed: &Observed) {
        let mut rows = HashMap::new();
        for ((_, cell), sums) in &observed.rows {
            let second = rows.insert(cell, sums).is_some();
            self.unknown += usize::from(second || !reference.cells.contains_key(cell));
        }
        for (cell, want) in &reference.cells {
            let got = rows.get(cell).copied();
            match got {
                Some(got) if got == want => self.exact += 1,
                Some(_) => self.wrong += 1,
                None => self.missing += 1,
            }
            let off_by = want.records - got.map_or(0, |got| got.records);
            self.lost += off_by.max(0);
            self.over_counted += (-off_by).max(0);
        }
    }

    fn letters(&mut self, reference: &Reference, observed: &Observed) {
        let mut seen = HashSet::new();
        self.letters = observed.letters.len();
        for number in &observed.letters {
            let late = number.is_some_and(|number| reference.late.contains(&number));
            self.on_time_judged_late += usize::from(!late);
            self.repeated_letters += usize::from(!seen.insert(number));
        }
    }

    fn ledgers(&mut self, observed: &Observed) {
        for ledger in observed.ledgers.values() {
            self.ledger_records += ledger.records;
            self.ledger_late += ledger.late;
            self.ledger_rows += ledger.rows;
            self.kept_out += ledger.held + ledger.sealed_out;
        }
        self.kept_out += i64::try_from(observed.sealed_out).unwrap_or(i64::MAX);
    }

    fn progress(&mut self, observed: &Observed) {
        for progress in observed.progress.values() {
            let late: i64 = progress.sources.iter().map(|source| source.late).sum();
            self.behind += usize::from(read(progress) != self.records || late != self.late as i64);
            let out = progress
                .sources
                .iter()
                .map(|source| source.held + source.filtered + source.dead_lettered + source.duplicates);
            self.kept_out += out.sum::<i64>();
        }
        // Who has not said anything is behind; when nobody has, there is one at least.
        let all = observed.progress.values().map(|progress| progress.merge_partitions).max().unwrap_or(1);
        self.behind += (all as usize).saturating_sub(observed.progress.len());
    }

    /// Whether every row, count and letter is what it must be.
    pub fn is_exact(&self) -> bool {
        let none =
            [self.wrong, self.missing, self.unknown, self.repeated_letters, self.on_time_judged_late, self.behind];
        none == [0; 6]
            && self.exact == self.cells
            && self.letters == self.late
            && (self.ledger_records, self.ledger_late) == (self.records as i64, self.late as i64)
            && (self.ledger_rows, self.kept_out) == (self.cells as i64, 0)
    }
}

impl fmt::Display for Outcome {
    /// One line of `name=value`, the verdict last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, cells, exact, wrong, missing, unknown, lost, over_counted, late, letters, .. } = self;
        let Self { repeated_letters, on_time_judged_late, ledger_records, ledger_late, ledger_rows, .. } = self;
        let Self { kept_out, behind, .. } = self;
        write!(
            f,
            "verify records={records} cells={cells} exact={exact} wrong={wrong} missing={missing} unknown={unknown} "
        )?;
        write!(f, "lost={lost} over_counted={over_counted} late={late} letters={letters} ")?;
        write!(f, "repeated_letters={repeated_letters} on_time_judged_late={on_time_judged_late} ")?;
        write!(f, "ledger_records={ledger_records} ledger_late={ledger_late} ledger_rows={ledger_rows} ")?;
        write!(f, "kept_out={kept_out} behind={behind} verdict={}", if self.is_exact() { "EXACT" } else { "WRONG" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{Cell, Sums};
    use tidemark_schemas::engine::{Ledger, Progress, SourceProgress};

    const START: i64 = 3_600_000;

    fn cell(src_app: &str) -> Cell {
        Cell { window_start: START, src_app: src_app.into(), dest_app: "db".into(), vpc_id: "v".into() }
    }

    fn sums(records: i64) -> Sums {
        Sums { records, bytes_tx: 10, bytes_rx: 20 }
    }

    fn ledger(records: i64, late: i64, rows: i64) -> Ledger {
        Ledger {
            window_start: START,
            window_end: 2 * START,
            merge_partition: 0,
            rows,
            records,
            late,
            held: 0,
            sealed_out: 0,
            amended: late > 0,
            sealed: false,
            opened_at: 0,
            closed_at: None,
            updated_at: 0,
            sources: vec![],
            epoch: 1,
            revision: 1,
        }
    }

    fn progress(records: i64, late: i64) -> Progress {
        let source = SourceProgress {
            topic: "t".into(),
            partition: 0,
            next_offset: records,
            watermark: None,
            idle_at: None,
            records,
            late,
            held: 0,
            filtered: 0,
            dead_lettered: 0,
            duplicates: 0,
        };
        Progress {
            fingerprint: 0,
            merge_partition: 0,
            merge_partitions: 2,
            watermark: None,
            as_of: 0,
            oldest_append: None,
            sources: vec![source],
            partition_counts: vec![],
            epoch: 1,
            revision: 1,
        }
    }

    /// Five records in two rows on two merge partitions; 2 and 4 are late.
    fn exact() -> (Reference, Observed) {
        let cells = HashMap::from([(cell("a"), sums(3)), (cell("b"), sums(2))]);
        let reference = Reference { records: 5, cells, late: [2, 4].into() };
        let observed = Observed {
            rows: HashMap::from([((0, cell("a")), sums(3)), ((1, cell("b")), sums(2))]),
            ledgers: HashMap::from([((0, START), ledger(3, 2, 1)), ((1, START), ledger(2, 0, 1))]),
            progress: HashMap::from([(0, progress(5, 2)), (1, progress(5, 2))]),
            letters: vec![Some(4), Some(2)],
            sealed_out: 0,
        };
        (reference, observed)
    }

    fn verdict(spoil: impl FnOnce(&mut Observed)) -> String {
        let (reference, mut observed) = exact();
        spoil(&mut observed);
        Outcome::of(&reference, &observed).to_string()
    }

    #[test]
    fn equal_is_exact() {
        let line = verdict(|_| {});
        assert!(line.ends_with("verdict=EXACT"), "{line}");
        assert!(line.contains("exact=2 ") && line.contains("on_time_judged_late=0 "), "{line}");
    }

    #[test]
    fn every_difference_is_wrong_and_counted() {
        type Spoil = fn(&mut Observed);
        let cases: &[(&str, Spoil)] = &[
            ("wrong=1", |o| o.rows.values_mut().take(1).for_each(|sums| sums.bytes_rx += 1)),
            ("lost=1", |o| o.rows.values_mut().take(1).for_each(|sums| sums.records -= 1)),
            ("over_counted=1", |o| o.rows.values_mut().take(1).for_each(|sums| sums.records += 1)),
            ("missing=1", |o| {
                o.rows.remove(&(1, cell("b")));
            }),
            ("unknown=1", |o| {
                o.rows.insert((1, cell("c")), sums(1));
            }),
            ("unknown=1", |o| {
                o.rows.insert((1, cell("a")), sums(3));
            }),
            ("letters=1", |o| {
                o.letters.pop();
            }),
            ("repeated_letters=1", |o| o.letters = vec![Some(2), Some(2)]),
            ("on_time_judged_late=1", |o| o.letters.push(Some(3))),
            ("on_time_judged_late=1", |o| o.letters.push(None)),
            ("ledger_records=4", |o| o.ledgers.values_mut().take(1).for_each(|ledger| ledger.records -= 1)),
            ("ledger_late=3", |o| o.ledgers.values_mut().take(1).for_each(|ledger| ledger.late += 1)),
            ("ledger_rows=1", |o| o.ledgers.values_mut().take(1).for_each(|ledger| ledger.rows -= 1)),
            ("kept_out=1", |o| o.ledgers.values_mut().take(1).for_each(|ledger| ledger.held += 1)),
            ("kept_out=1", |o| o.sealed_out = 1),
            ("behind=1", |o| {
                o.progress.insert(0, progress(4, 2));
            }),
            ("behind=1", |o| {
                o.progress.insert(1, progress(5, 3));
            }),
            ("behind=1", |o| {
                o.progress.remove(&0);
            }),
            ("behind=1", |o| o.progress.clear()),
        ];
        for (want, spoil) in cases {
            let line = verdict(spoil);
            assert!(line.ends_with("verdict=WRONG") && line.contains(&format!(" {want} ")), "{want}: {line}");
        }
    }
}
