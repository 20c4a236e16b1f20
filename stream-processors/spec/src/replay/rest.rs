//! What a job holds once everything is read, and what of it differs.

use crate::viewed::Viewed;
use std::collections::BTreeMap;
use tidemark_core::Accumulator;
use tidemark_core::driver::Driver;
use tidemark_core::partial::Verdict;

/// The time of the last event (of sessions), records, and their sum.
type Held<A> = (Option<i64>, i64, A);

/// What is the same whatever the way.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct AtRest<A> {
    /// By window and key.
    pub(super) rows: BTreeMap<(i64, Vec<u8>), Held<A>>,
    /// By window: records, late ones in the rows, late ones left out.
    pub(super) windows: BTreeMap<i64, (i64, i64, i64)>,
    verdicts: BTreeMap<(usize, i64), Verdict>,
    rejects: usize,
    sealed_out: i64,
}

impl<A: Accumulator> AtRest<A> {
    /// What a driver holds that has read everything.
    pub(super) fn of<J: Viewed<Accumulator = A>>(driver: &Driver<J>, sessions: bool) -> Self {
        let rows = if sessions {
            let row = |(key, (last, records, sum)): (Vec<u8>, (i64, i64, A))| ((0, key), (Some(last), records, sum));
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
pub(super) fn difference<J: Viewed>(
    job: &J,
    first: &AtRest<J::Accumulator>,
    other: &AtRest<J::Accumulator>,
) -> Option<String> {
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
            (Some(a), Some(b)) => (a.0, a.1) == (b.0, b.1) && job.agree(&a.2, &b.2),
            _ => false,
        };
        if !same {
            let text = crate::instant::rfc3339(at.0);
            return Some(format!("the row of key {:02x?} in window {text} is {a:?} and {b:?}", at.1));
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{Sample, Way, arrivals, run};
    use super::*;
    use crate::datum::Maker;
    use crate::{SpecJob, Topics, compile};
    use serde_json::json;
    use std::sync::Arc;
    use tidemark_core::aggregate::Accumulators;

    struct Access;

    impl Topics for Access {
        fn schema(&self, _: &str) -> Result<Option<String>, String> {
            Ok(Some(include_str!("../../../../examples/access-log/logs.access.avsc").to_owned()))
        }
        fn names(&self) -> Vec<String> {
            vec![]
        }
    }

    fn at_rest(text: &str) -> (Arc<SpecJob>, AtRest<Accumulators>) {
        let job = Arc::new(compile("job.yaml", text, &Access).unwrap());
        let maker = Maker::new(&job.sources()[0].avsc, &[]).unwrap();
        let record =
            |at: i64| maker.datum(&json!({"at": at * 1_000, "client": "a", "status": 200, "path": "/"})).unwrap();
        let records = arrivals(job.as_ref(), [9_000, 1, 9_001].map(record), 1);
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
            assert_eq!(difference(job.as_ref(), &rest, &rest.clone()), None);
            let tampers: [fn(&mut AtRest<Accumulators>); 9] = [
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
                assert!(difference(job.as_ref(), &rest, &other).is_some(), "tamper {at}");
                assert!(
                    difference(job.as_ref(), &other, &rest).is_some() || at == 0,
                    "tamper {at}, the other way round"
                );
            }
        }
    }
}
