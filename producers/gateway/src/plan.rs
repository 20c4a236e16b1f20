//! Which events go into the next commit. Pure.

use std::collections::VecDeque;

use tidemark_spool::{Entry, Place};

/// An event of the spool: the one numbered `record` of the entry at `place`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct EventPlace {
    pub(crate) place: Place,
    pub(crate) record: u32,
}

/// The next commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Entries that it completes.
    pub(crate) whole: usize,
    /// Events that it writes.
    pub(crate) events: usize,
    /// The last of them.
    pub(crate) last: EventPlace,
    /// The first event that it leaves.
    pub(crate) next: EventPlace,
}

/// Takes events in order, at most `limit`, from the one numbered `record` of the first entry on; passes over `suspects`, but
/// leaves those behind the last event taken.
pub(crate) fn plan(queue: &VecDeque<Entry>, record: u32, limit: usize, suspects: &[EventPlace]) -> Plan {
    let first = queue.front().map_or_else(EventPlace::default, |entry| EventPlace { place: entry.place, record });
    let mut plan = Plan { whole: 0, events: 0, last: first, next: first };
    for (at, entry) in queue.iter().enumerate() {
        let start = if at == 0 { record } else { 0 };
        for record in start..entry.records {
            if plan.events == limit {
                return plan;
            }
            let event = EventPlace { place: entry.place, record };
            if !suspects.contains(&event) {
                plan.events += 1;
                plan.last = event;
                plan.next = after(event, entry.records);
                plan.whole = at + usize::from(record + 1 == entry.records);
            }
        }
    }
    plan
}

fn after(event: EventPlace, records: u32) -> EventPlace {
    let EventPlace { place, record } = event;
    if record + 1 < records {
        return EventPlace { place, record: record + 1 };
    }
    EventPlace { place: Place { run: place.run, position: place.position + 1 }, record: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(position: u64, record: u32) -> EventPlace {
        EventPlace { place: Place { run: 1, position }, record }
    }

    fn queue() -> VecDeque<Entry> {
        let entry = |position, records| Entry {
            place: Place { run: 1, position },
            appended_at: 0,
            records,
            bytes: 0,
            payload: Vec::new(),
        };
        VecDeque::from([entry(5, 3), entry(6, 1), entry(7, 2)])
    }

    #[test]
    fn events_are_taken_in_order_up_to_the_limit_and_suspects_passed_over() {
        let (queue, all) = (queue(), usize::MAX);
        for (record, limit, suspects, whole, events, last, next) in [
            (0, all, vec![], 3, 6, at(7, 1), at(8, 0)),
            (2, all, vec![], 3, 4, at(7, 1), at(8, 0)),
            (0, 2, vec![], 0, 2, at(5, 1), at(5, 2)),
            (2, 1, vec![], 1, 1, at(5, 2), at(6, 0)),
            (1, 3, vec![], 2, 3, at(6, 0), at(7, 0)),
            (0, 1, vec![at(5, 0), at(5, 1)], 1, 1, at(5, 2), at(6, 0)),
            (0, all, vec![at(7, 1)], 2, 5, at(7, 0), at(7, 1)),
            (2, all, vec![at(5, 2), at(6, 0), at(7, 0), at(7, 1)], 0, 0, at(5, 2), at(5, 2)),
        ] {
            let plan = plan(&queue, record, limit, &suspects);
            assert_eq!(plan, Plan { whole, events, last, next }, "{record} {limit} {suspects:?}");
        }
    }
}
