//! What a job holds once everything is read, and what of it differs.

use crate::agree;
use crate::job::SpecJob;
use std::collections::BTreeMap;
use tidemark_core::Accumulator;
use tidemark_core::aggregate::{Accumulators, Answer, Function};
use tidemark_core::driver::Driver;
use tidemark_core::partial::Verdict;

/// The time of the last event (of sessions), records, and their sum.
type Held = (Option<i64>, i64, Accumulators);

/// What is the same whatever the way.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct AtRest {
    /// By window and key.
    pub(super) rows: BTreeMap<(i64, Vec<u8>), Held>,
    /// By window: records, late ones in the rows, late ones left out.
    pub(super) windows: BTreeMap<i64, (i64, i64, i64)>,
    verdicts: BTreeMap<(usize, i64), Verdict>,
    rejects: usize,
    sealed_out: i64,
}

impl AtRest {
    /// What a driver holds that has read everything.
    pub(super) fn of(driver: &Driver<SpecJob>, sessions: bool) -> Self {
        let rows = if sessions {
            let row = |(key, (last, records, sum)): (Vec<u8>, (i64, i64, Accumulators))| {
                ((0, key), (Some(last), records, sum))
            };
            driver.sessions().into_iter().map(row).collect()
        } else {
            driver.rows().iter().map(|(key, (records, sum))| (key.clone(), (None, *records, sum.clone()))).collect()
        };
        let mut windows: BTreeMap<i64, (i64, i64, i64)> = BTreeMap::new();
        for ledger in driver.ledgers() {
            let (records, late, held) = windows.entry(ledger.window_start).or_default();
            *records += ledger.records;
            *late += ledger.late;
            *held += ledger.held;
        }
        // A bucket whose sessions have all moved to another is there on some ways only.
        windows.retain(|_, counts| *counts != (0, 0, 0));
        let (verdicts, rejects) = (driver.verdicts().clone(), driver.rejects().len());
        Self { rows, windows, verdicts, rejects, sealed_out: driver.sealed_out() }
    }
}

/// The first thing that differs, in words.
pub(super) fn difference(job: &SpecJob, first: &AtRest, other: &AtRest) -> Option<String> {
    let verdict = first.verdicts.iter().find(|(at, verdict)| other.verdicts.get(at) != Some(verdict));
    if let Some(((partition, offset), verdict)) = verdict {
        let found = other.verdicts.get(&(*partition, *offset));
        return Some(format!("record {offset} of partition {partition} is {verdict:?} and {found:?}"));
    }
    if (first.rejects, first.sealed_out) != (other.rejects, other.sealed_out) {
        let (a, b) = ((first.rejects, first.sealed_out), (other.rejects, other.sealed_out));
        return Some(format!("dead-lettered and sealed out are {a:?} and {b:?}"));
    }
    let starts = first.windows.keys().chain(other.windows.keys());
    for start in starts {
        let (a, b) = (first.windows.get(start), other.windows.get(start));
        if a != b {
            let text = crate::instant::rfc3339(*start);
            return Some(format!("records, late and held of window {text} are {a:?} and {b:?}"));
        }
    }
    for at in first.rows.keys().chain(other.rows.keys()) {
        let (a, b) = (first.rows.get(at), other.rows.get(at));
        let same = match (a, b) {
            (Some(a), Some(b)) => (a.0, a.1) == (b.0, b.1) && same_sums(job, &a.2, &b.2),
            _ => false,
        };
        if !same {
            let text = crate::instant::rfc3339(at.0);
            return Some(format!("the row of key {:02x?} in window {text} is {a:?} and {b:?}", at.1));
        }
    }
    None
}

/// Bit for bit, but for lists of most frequent values that have lost some.
fn same_sums(job: &SpecJob, a: &Accumulators, b: &Accumulators) -> bool {
    let bytes = |sums: &Accumulators| {
        let mut out = Vec::new();
        sums.put(&mut out);
        out
    };
    if bytes(a) == bytes(b) {
        return true;
    }
    let (answers, others) = (a.results(&job.functions), b.results(&job.functions));
    let states = a.0.iter().zip(&b.0);
    a.0.len() == b.0.len()
        && job
            .functions
            .iter()
            .zip(states)
            .zip(answers.zip(others))
            .all(|((function, (a, b)), (x, y))| a == b || (function.order_matters() && same_tops(function, &x, &y)))
}

fn same_tops(function: &Function, a: &Answer<'_>, b: &Answer<'_>) -> bool {
    let Function::TopK { k, .. } = function else { return false };
    let (Answer::Json(a), Answer::Json(b)) = (a, b) else { return false };
    let (Ok(a), Ok(b)) = (serde_json::from_str(a), serde_json::from_str(b)) else { return false };
    agree::top_k(&a, &b, *k as usize)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{Sample, Way, arrivals, run};
    use super::*;
    use crate::datum::Maker;
    use crate::{Topics, compile};
    use serde_json::json;
    use std::sync::Arc;

    struct Access;

    impl Topics for Access {
        fn schema(&self, _: &str) -> Result<Option<String>, String> {
            Ok(Some(include_str!("../../../../examples/access-log/logs.access.avsc").to_owned()))
        }
        fn names(&self) -> Vec<String> {
            vec![]
        }
    }

    fn at_rest(text: &str) -> (Arc<SpecJob>, AtRest) {
        let job = Arc::new(compile("job.yaml", text, &Access).unwrap());
        let maker = Maker::new(&job.sources()[0].avsc, &[]).unwrap();
        let record =
            |at: i64| maker.datum(&json!({"at": at * 1_000, "client": "a", "status": 200, "path": "/"})).unwrap();
        let records = arrivals(&job, [9_000, 1, 9_001].map(record), 1);
        let sample = Sample { records, changes: vec![] };
        let rest = run(&job, &sample, 1, Way::FullSpeed).unwrap();
        (job, rest)
    }

    /// Every part of the figures is compared: tampering with any of them is told.
    #[test]
    fn a_difference_is_found_wherever_it_is() {
        for text in [
            include_str!("../../../../examples/access-log/access.hourly.yaml"),
            include_str!("../../../../examples/access-log/access.sessions.yaml"),
        ] {
            let (job, rest) = at_rest(text);
            assert_eq!(difference(&job, &rest, &rest.clone()), None);
            let tampers: [fn(&mut AtRest); 9] = [
                |rest| rest.verdicts.retain(|(_, offset), _| *offset != 2),
                |rest| rest.verdicts.values_mut().for_each(|verdict| *verdict = Verdict::Filtered),
                |rest| rest.rejects += 1,
                |rest| rest.sealed_out += 1,
                |rest| rest.windows.clear(),
                |rest| rest.windows.values_mut().for_each(|(_, late, _)| *late += 1),
                |rest| rest.rows.clear(),
                |rest| rest.rows.values_mut().for_each(|(_, records, _)| *records += 1),
                |rest| rest.rows.values_mut().for_each(|(_, _, sums)| sums.merge(&sums.clone())),
            ];
            for (at, tamper) in tampers.into_iter().enumerate() {
                let mut other = rest.clone();
                tamper(&mut other);
                assert!(difference(&job, &rest, &other).is_some(), "tamper {at}");
                assert!(difference(&job, &other, &rest).is_some() || at == 0, "tamper {at}, the other way round");
            }
        }
    }
}
