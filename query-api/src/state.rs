//! How complete a window is: plain functions of the ledger and the watermarks.

use serde::Serialize;
use tidemark_schemas::engine::{Ledger, Progress};
use utoipa::ToSchema;

/// How complete a window is, the least complete first, so that the state of several windows is the smallest of theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Records that are on time may still come: the sums are partial.
    Open,
    /// Complete, and late or straggling records have been added since it was; more may come.
    Amended,
    /// Every record that was on time is in.
    Final,
    /// Nothing can change any more.
    Sealed,
}

impl State {
    /// As it is written in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Amended => "amended",
            Self::Final => "final",
            Self::Sealed => "sealed",
        }
    }
}

/// M, as the progress entries say; 0 when there is none.
pub fn merge_partitions(progress: &[Progress]) -> i32 {
    progress.iter().map(|p| p.merge_partitions).max().unwrap_or(0)
}

/// The merge partitions of which nothing has been heard yet, ascending.
pub fn missing(progress: &[Progress]) -> Vec<i32> {
    (0..merge_partitions(progress)).filter(|m| progress.iter().all(|p| p.merge_partition != *m)).collect()
}

/// The lowest watermark of the M merge partitions, in milliseconds; `None` while one is missing or has none.
pub fn watermark(progress: &[Progress]) -> Option<i64> {
    if progress.is_empty() || !missing(progress).is_empty() {
        return None;
    }
    progress.iter().map(|p| p.watermark).min().flatten()
}

/// The state of the window that ends at `window_end`, from the lowest watermark and the window's ledger entries (one per
/// merge partition that has records of it). A window that no ledger knows is open or final by the watermark alone. It is
/// sealed once all M merge partitions have sealed it: one that has no record of it yet can still open it.
pub fn decide(window_end: i64, grace_ms: i64, watermark: Option<i64>, m: i32, ledgers: &[Ledger]) -> State {
    if watermark.is_none_or(|w| w < window_end.saturating_add(grace_ms)) {
        State::Open
    } else if ledgers.len() >= usize::try_from(m).unwrap_or(1).max(1) && ledgers.iter().all(|l| l.sealed) {
        State::Sealed
    } else if ledgers.iter().any(|l| l.amended) {
        State::Amended
    } else {
        State::Final
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(merge_partition: i32, merge_partitions: i32, watermark: Option<i64>) -> Progress {
        Progress {
            fingerprint: 1,
            merge_partition,
            merge_partitions,
            watermark,
            as_of: 0,
            oldest_append: None,
            sources: vec![],
            partition_counts: vec![],
            epoch: 0,
            revision: 1,
        }
    }

    fn ledger(amended: bool, sealed: bool) -> Ledger {
        Ledger {
            window_start: 0,
            window_end: 100,
            merge_partition: 0,
            rows: 1,
            records: 1,
            late: 0,
            held: 0,
            sealed_out: 0,
            amended,
            sealed,
            opened_at: 0,
            closed_at: None,
            updated_at: 0,
            sources: vec![],
            epoch: 0,
            revision: 1,
        }
    }

    /// Window `[0, 100)`, grace 10, two merge partitions.
    fn state(watermarks: &[Option<i64>], ledgers: &[(bool, bool)]) -> State {
        let progress: Vec<_> = (0..).zip(watermarks).map(|(m, w)| progress(m, 2, *w)).collect();
        let ledgers: Vec<_> = ledgers.iter().map(|(amended, sealed)| ledger(*amended, *sealed)).collect();
        decide(100, 10, watermark(&progress), merge_partitions(&progress), &ledgers)
    }

    #[test]
    fn without_progress_a_window_is_open() {
        assert_eq!(state(&[], &[(false, true)]), State::Open);
    }

    #[test]
    fn with_a_merge_partition_missing_it_is_open() {
        assert_eq!(state(&[Some(500)], &[(false, false)]), State::Open);
    }

    #[test]
    fn with_a_merge_partition_without_watermark_it_is_open() {
        assert_eq!(state(&[Some(500), None], &[(false, false)]), State::Open);
    }

    #[test]
    fn one_millisecond_before_end_and_grace_it_is_open_even_if_a_ledger_is_sealed() {
        assert_eq!(state(&[Some(500), Some(109)], &[(true, true)]), State::Open);
    }

    #[test]
    fn at_end_and_grace_it_is_final() {
        assert_eq!(state(&[Some(500), Some(110)], &[(false, false)]), State::Final);
    }

    #[test]
    fn one_amended_ledger_makes_it_amended() {
        assert_eq!(state(&[Some(110), Some(110)], &[(false, false), (true, false)]), State::Amended);
        assert_eq!(state(&[Some(110), Some(110)], &[(false, false), (true, true)]), State::Amended);
    }

    #[test]
    fn only_if_all_ledgers_are_sealed_it_is_sealed() {
        assert_eq!(state(&[Some(110), Some(110)], &[(true, true), (false, true)]), State::Sealed);
        assert_eq!(state(&[Some(110), Some(110)], &[(false, true), (false, false)]), State::Final);
    }

    #[test]
    fn a_window_that_no_ledger_knows_goes_by_the_watermark() {
        assert_eq!(state(&[Some(110), Some(110)], &[]), State::Final);
        assert_eq!(state(&[Some(110), Some(9)], &[]), State::Open);
    }

    #[test]
    fn the_state_of_several_windows_is_the_least_complete() {
        let order = [State::Open, State::Amended, State::Final, State::Sealed];
        assert!(order.is_sorted());
    }
}
