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
            let out = progress.sources.iter().map(|source| source.held + source.filtered + source.dead_lettered);
            self.kept_out += out.sum::<i64>();
        }
        // Nobody has said anything: everybody is behind.
        self.behind += usize::from(observed.progress.is_empty());
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
