//! Alignment: a source partition that is read far ahead of the others in event time is held back.
//!
//! While a backlog is read, each hour that one partition is ahead of the slowest is an hour of windows that cannot close and
//! must be kept. Holding back changes when a record is read and nothing else: lateness is a matter of the record's own
//! partition. Partitions that are read to their end hold nobody.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

/// How far ahead a partition may be, in windows.
const WINDOWS_AHEAD: i64 = 6;
/// So many looks in a row that tell nothing end the holding back: an old bound would stop everybody in the end.
const BLIND_LOOKS: u32 = 10;

/// What is known of one source partition, of whichever process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// What is committed is short of the end that the look before found: it has a backlog, not just records on their way.
    pub(crate) behind: bool,
    /// As committed; `None` before the first accepted record.
    pub(crate) watermark: Option<i64>,
}

/// The watermark of the slowest partition that is not read to its end; `None` when none holds the others. One without a
/// watermark is about to have its first commit and is not waited for.
pub(crate) fn slowest(standings: impl Iterator<Item = Standing>) -> Option<i64> {
    standings.filter(|standing| standing.behind).filter_map(|standing| standing.watermark).min()
}

/// The bound that the partial stages of a process keep to.
#[derive(Debug)]
pub struct Alignment {
    ahead_ms: i64,
    /// Highest watermark with which a partition is read on.
    bound: AtomicI64,
    blind: AtomicU32,
}

impl Alignment {
    /// For windows of this length: nobody is held back yet.
    pub fn new(window_ms: i64) -> Self {
        Self {
            ahead_ms: window_ms.saturating_mul(WINDOWS_AHEAD),
            bound: AtomicI64::new(i64::MAX),
            blind: AtomicU32::new(0),
        }
    }

    /// Takes in the watermark of the slowest partition that is not read to its end, of whichever process; `None` holds nobody.
    pub fn learn(&self, slowest: Option<i64>) {
        let bound = slowest.map_or(i64::MAX, |watermark| watermark.saturating_add(self.ahead_ms));
        self.bound.store(bound, Ordering::Relaxed);
        self.blind.store(0, Ordering::Relaxed);
    }

    /// Notes that it could not be found out who is slowest.
    pub(crate) fn learn_nothing(&self) {
        if self.blind.fetch_add(1, Ordering::Relaxed) + 1 == BLIND_LOOKS {
            tracing::warn!("how far partitions have been read is not known: none is held back for the others");
            self.bound.store(i64::MAX, Ordering::Relaxed);
        }
    }

    /// Whether a partition with this watermark is to wait for the others.
    pub(crate) fn holds(&self, watermark: Option<i64>) -> bool {
        watermark > Some(self.bound.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_partitions_behind_their_end_hold_others() {
        let standing = |behind, watermark| Standing { behind, watermark };
        let all =
            [standing(true, Some(700)), standing(false, Some(10)), standing(true, Some(400)), standing(true, None)];
        assert_eq!(slowest(all.into_iter()), Some(400));
        assert_eq!(slowest([standing(false, Some(1)), standing(false, None)].into_iter()), None);
    }

    #[test]
    fn a_partition_may_be_six_windows_ahead() {
        let alignment = Alignment::new(100);
        assert!(!alignment.holds(Some(i64::MAX)) && !alignment.holds(None));
        alignment.learn(Some(400));
        assert_eq!([Some(1_000), Some(1_001), None].map(|watermark| alignment.holds(watermark)), [false, true, false]);
        (1..BLIND_LOOKS).for_each(|_| alignment.learn_nothing());
        assert!(alignment.holds(Some(1_001)));
        alignment.learn_nothing();
        assert!(!alignment.holds(Some(i64::MAX)));
        alignment.learn(Some(400));
        assert!(alignment.holds(Some(1_001)));
        alignment.learn(None);
        assert!(!alignment.holds(Some(i64::MAX)));
    }
}
