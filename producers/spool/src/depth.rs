//! How much waits in a spool, and since when.

use std::collections::VecDeque;

use crate::Entry;

/// Entries are told apart by time to so many milliseconds: a day takes 86,400 marks.
const GRAIN_MS: i64 = 1_000;

/// What a spool holds that has not been released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// Entries.
    pub entries: u64,
    /// Records in them, as they were counted when they were appended.
    pub records: u64,
    /// Bytes that they take in segments.
    pub bytes: u64,
}

impl Depth {
    pub(crate) fn add(&mut self, entry: &Entry) {
        self.entries += 1;
        self.records += u64::from(entry.records);
        self.bytes += entry.bytes;
    }

    pub(crate) fn sub(&mut self, entry: &Entry) {
        self.entries = self.entries.saturating_sub(1);
        self.records = self.records.saturating_sub(u64::from(entry.records));
        self.bytes = self.bytes.saturating_sub(entry.bytes);
    }
}

/// Positions and the times at which they were appended, some seconds apart.
#[derive(Debug, Default)]
pub(crate) struct Times(VecDeque<(u64, i64)>);

impl Times {
    pub(crate) fn push(&mut self, position: u64, at: i64) {
        if self.0.back().is_none_or(|(_, last)| at >= last + GRAIN_MS) {
            self.0.push_back((position, at));
        }
    }

    /// Forgets what is before `position`.
    pub(crate) fn release(&mut self, position: u64) {
        while self.0.get(1).is_some_and(|(next, _)| *next <= position) {
            self.0.pop_front();
        }
    }

    /// When the entry at the released position was appended, or up to a second earlier.
    pub(crate) fn oldest(&self) -> Option<i64> {
        self.0.front().map(|(_, at)| *at)
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_known_to_the_second() {
        let mut times = Times::default();
        for (position, at) in [(0, 0), (1, 500), (2, 1_000), (3, 1_900), (4, 5_000)] {
            times.push(position, at);
        }
        let mut oldest = |position| {
            times.release(position);
            times.oldest()
        };
        assert_eq!([0, 1, 2, 3, 4, 9].map(&mut oldest), [0, 0, 1_000, 1_000, 5_000, 5_000].map(Some));
    }
}
