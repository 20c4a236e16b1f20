//! Session windows of one key: events closer than the gap belong together, and a late-comer can join two sessions.

use crate::job::Accumulator;
use std::collections::BTreeMap;

/// A session `[start, last]`: no two neighbours in it are `gap` or more apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Session<A> {
    /// Event time of the first event.
    pub start: i64,
    /// Event time of the last one.
    pub last: i64,
    /// Events in it.
    pub records: i64,
    /// Their sum.
    pub sum: A,
}

/// Open sessions of one key, apart from each other by at least the gap.
#[derive(Debug, Clone, PartialEq)]
pub struct Sessions<A> {
    gap_ms: i64,
    by_start: BTreeMap<i64, Session<A>>,
}

/// What an event did: rows under the `retracted` starts are to be removed, `session` is to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Change<A> {
    /// Starts of sessions that are no more, ascending.
    pub retracted: Vec<i64>,
    /// The session that the event is in now.
    pub session: Session<A>,
}

impl<A: Accumulator> Sessions<A> {
    /// None yet. `gap_ms` is at least 1.
    pub fn new(gap_ms: i64) -> Self {
        Self { gap_ms, by_start: BTreeMap::new() }
    }

    /// An event is late iff its time + grace < watermark.
    pub fn is_late(event_time: i64, grace_ms: i64, watermark: Option<i64>) -> bool {
        watermark.is_some_and(|watermark| event_time.saturating_add(grace_ms) < watermark)
    }

    /// Adds events that are one session already: a single event, or a partial.
    pub fn add(&mut self, mut added: Session<A>) -> Change<A> {
        let near = added.start - self.gap_ms + 1..added.last + self.gap_ms;
        let before = self
            .by_start
            .range(..near.start)
            .next_back()
            .filter(|(_, s)| s.last >= near.start)
            .map(|(start, _)| *start);
        let joined: Vec<i64> = before.into_iter().chain(self.by_start.range(near).map(|(start, _)| *start)).collect();
        for start in &joined {
            let Some(old) = self.by_start.remove(start) else { continue };
            added.start = added.start.min(old.start);
            added.last = added.last.max(old.last);
            added.records += old.records;
            added.sum.merge(&old.sum);
        }
        self.by_start.insert(added.start, added.clone());
        let retracted = joined.into_iter().filter(|start| *start != added.start).collect();
        Change { retracted, session: added }
    }

    /// Takes out the sessions that closed: last + gap + grace ≤ watermark.
    pub fn close(&mut self, grace_ms: i64, watermark: i64) -> Vec<Session<A>> {
        let closed = |s: &Session<A>| s.last.saturating_add(self.gap_ms).saturating_add(grace_ms) <= watermark;
        let due: Vec<i64> = self.by_start.values().filter(|s| closed(s)).map(|s| s.start).collect();
        due.into_iter().filter_map(|start| self.by_start.remove(&start)).collect()
    }

    /// Open sessions by start.
    pub fn open(&self) -> impl Iterator<Item = &Session<A>> {
        self.by_start.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tidemark_schemas::avro;

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
            avro::put_long(out, self.0);
        }
        fn get(reader: &mut avro::Reader<'_>) -> Result<Self, avro::Error> {
            reader.long().map(Sum)
        }
    }

    fn event(time: i64) -> Session<Sum> {
        Session { start: time, last: time, records: 1, sum: Sum(time) }
    }

    /// Sorts and cuts at the gaps.
    fn reference(times: &[i64], gap: i64) -> Vec<(i64, i64, i64, i64)> {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        let mut sessions: Vec<(i64, i64, i64, i64)> = vec![];
        for time in sorted {
            match sessions.last_mut() {
                Some(last) if time - last.1 < gap => *last = (last.0, time, last.2 + 1, last.3 + time),
                _ => sessions.push((time, time, 1, time)),
            }
        }
        sessions
    }

    proptest! {
        #[test]
        fn any_order_gives_the_sessions_of_the_sorted_events(times in prop::collection::vec(0..300i64, 1..60), gap in 1..20i64) {
            let mut sessions = Sessions::new(gap);
            let mut rows = BTreeMap::new();
            for time in &times {
                let change = sessions.add(event(*time));
                for start in &change.retracted {
                    prop_assert!(rows.remove(start).is_some(), "only rows that were written are retracted");
                }
                rows.insert(change.session.start, change.session);
            }
            let flat = |s: &Session<Sum>| (s.start, s.last, s.records, s.sum.0);
            let want = reference(&times, gap);
            prop_assert_eq!(sessions.open().map(flat).collect::<Vec<_>>(), want.clone());
            prop_assert_eq!(rows.values().map(flat).collect::<Vec<_>>(), want);
        }
    }

    #[test]
    fn closes_at_last_plus_gap_plus_grace() {
        let mut sessions = Sessions::new(10);
        sessions.add(event(100));
        assert!(sessions.close(5, 114).is_empty());
        assert_eq!(sessions.close(5, 115).len(), 1);
        assert!(!Sessions::<Sum>::is_late(100, 5, Some(105)));
        assert!(Sessions::<Sum>::is_late(100, 5, Some(106)));
    }
}
