//! What is said of a window: its state, what is gone of it, and what a difference proves.

use super::compare::{Compared, Difference, What};
use super::pass::Facts;
use super::report::{Verdict, WindowReport};
use super::scope::{Gone, Scope};
use super::{Error, Recompute};
use tidemark_core::Job;
use tidemark_log::At;
use tidemark_schemas::engine::Ledger;
use tidemark_spec::instant::rfc3339;

impl<J: Job> Recompute<'_, J> {
    /// Not provable until it is found to be.
    pub(super) fn window(&self, scope: &Scope<'_>, facts: &Facts, start: i64) -> WindowReport {
        let sum = |count: fn(&Ledger) -> i64| scope.ledgers(start).map(count).sum();
        let end = scope.end(start).unwrap_or(start);
        WindowReport {
            start,
            end,
            state: self.state(scope, facts, start, end),
            records: sum(|ledger| ledger.records),
            late: sum(|ledger| ledger.late),
            left_out: sum(|ledger| ledger.held + ledger.sealed_out),
            verdict: Verdict::NotProvable,
            opened_at: scope.ledgers(start).map(|ledger| ledger.opened_at).min(),
            closed_at: scope.ledgers(start).filter_map(|ledger| ledger.closed_at).max(),
            written: None,
            refused: false,
            notes: Vec::new(),
            gone: Vec::new(),
            compared: Compared::default(),
        }
    }

    /// As the query API has it.
    fn state(&self, scope: &Scope<'_>, facts: &Facts, start: i64, end: i64) -> &'static str {
        let spec = self.job.spec();
        let known = facts.progress.len() >= spec.merge_partitions as usize;
        let watermark = facts.progress.iter().map(|progress| progress.watermark).min().flatten().filter(|_| known);
        let ledgers: Vec<&Ledger> = scope.ledgers(start).collect();
        if watermark.is_none_or(|watermark| watermark < end.saturating_add(spec.grace_ms)) {
            "open"
        } else if ledgers.len() >= spec.merge_partitions as usize && ledgers.iter().all(|ledger| ledger.sealed) {
            "sealed"
        } else if ledgers.iter().any(|ledger| ledger.amended) {
            "amended"
        } else {
            "final"
        }
    }

    pub(super) fn say_gone(&self, gone: &Gone) -> Result<String, Error> {
        let Gone { source, first, start } = gone;
        let (topic, partition) = source;
        let records = self.records();
        let kept =
            if records.offset(source, At::StableEnd)? > *start { records.appended_at(source, *start)? } else { None };
        let until = kept.map_or_else(
            || "nothing of that partition is kept".to_owned(),
            |at| format!("what was appended before {} is gone", rfc3339(at)),
        );
        Ok(format!(
            "the retention of {topic} ends the proof: {topic}-{partition} is needed from offset {first} on and starts at {start}; {until}; it was provable while offset {first} was kept"
        ))
    }

    /// `found` is how many rows the view has, of the tenants that are known.
    pub(super) fn judge(
        &self,
        window: &mut WindowReport,
        scope: &Scope<'_>,
        mut compared: Compared,
        found: i64,
        newer: bool,
    ) {
        let counted: i64 = scope.ledgers(window.start).map(|ledger| ledger.rows).sum();
        if compared.is_equal() && !newer && counted != found {
            window.notes.push(format!(
                "the ledger counts {counted} rows, and {found} were found: rows of tenants without a record"
            ));
            compared.only_in_view += u64::try_from(counted - found).unwrap_or(1);
            compared.differences.push(Difference {
                window_start: window.start,
                tenant: String::new(),
                key: Vec::new(),
                what: What::OnlyInView,
            });
        }
        window.verdict = match (compared.is_equal(), newer) {
            (true, _) => Verdict::Equal,
            (false, true) => {
                window
                    .notes
                    .push("the window changed while it was compared; try again, or when it is final".to_owned());
                Verdict::NotProvable
            }
            (false, false) => Verdict::Differs,
        };
        window.compared = compared;
    }
}

/// A difference proves nothing where something that decides it is not known: which records were late, which were repeats, or
/// how sessions were cut beside a sealed bucket.
pub(super) fn doubt(window: &mut WindowReport, late: bool, repeats: Option<&str>, cuts: bool) {
    let late = late.then_some(
        "which of its records were late depends on records that are no longer kept: fewer are found late than were held",
    );
    let cuts = cuts.then_some(
        "records came after sealing beside its sessions; whether they are one with them depends on when commits came",
    );
    let why: Vec<String> = late.into_iter().chain(repeats).chain(cuts).map(str::to_owned).collect();
    if !why.is_empty() {
        window.verdict = Verdict::NotProvable;
        window.notes.extend(why);
    }
}
