//! Membership of a consumer group: a pure state machine.
//!
//! The eager protocol in two steps, as Kafka's: on a change everybody gives up what they have (they may still commit until
//! they release it or their time is up), and once all have, the next generation gets its partitions. So a partition never
//! has two owners, and an owner is always the one that may commit. Time is passed in: milliseconds on any clock that does
//! not go back.

use std::collections::BTreeMap;

use super::assign::{Claim, assign};
use crate::{MemberConfig, TopicPartition};

/// Number of partitions of a topic, 0 when there is none.
pub(crate) type Counts<'c> = &'c dyn Fn(&str) -> u32;

/// A place in the group, never given twice.
pub(crate) type Seat = u64;

/// The members of one group.
#[derive(Debug, Default)]
pub(crate) struct Group {
    seats_given: Seat,
    generation: u64,
    version: u64,
    members: BTreeMap<Seat, Sitting>,
    /// A change is under way: the next generation is not there yet.
    changing: bool,
}

#[derive(Debug)]
struct Sitting {
    id: String,
    topics: Vec<String>,
    timeout_ms: u64,
    /// When it is taken out; `None` while it waits in a poll.
    deadline_ms: Option<u64>,
    phase: Phase,
    /// What it owns; when it owns nothing, what it had last.
    partitions: Vec<TopicPartition>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Owns nothing, waits for the next generation.
    Waiting,
    /// Was given partitions and has not been told.
    Given,
    Owning,
    /// Is to give its partitions up and has not been told.
    Recalled,
    /// Was told, and has until its deadline.
    Revoking,
}

/// What a member is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing: it may read what it owns.
    None,
    Assigned(Vec<TopicPartition>),
    Revoking(Vec<TopicPartition>),
    /// It is no longer of the group.
    Gone,
}

impl Group {
    /// Takes a member in. One with the same id that is still there is put out: it is the same member, come back.
    pub(crate) fn join(&mut self, config: &MemberConfig, now_ms: u64, counts: Counts<'_>) -> Seat {
        let older = self.members.iter().find(|(_, m)| m.id == config.id).map(|(&seat, _)| seat);
        let had = older.and_then(|seat| self.members.remove(&seat)).map(|m| m.partitions);
        let timeout_ms = u64::try_from(config.session_timeout.as_millis()).unwrap_or(u64::MAX);
        let member = Sitting {
            id: config.id.clone(),
            topics: config.topics.clone(),
            timeout_ms,
            deadline_ms: Some(now_ms.saturating_add(timeout_ms)),
            phase: Phase::Waiting,
            partitions: had.unwrap_or_default(),
        };
        self.seats_given += 1;
        self.members.insert(self.seats_given, member);
        self.change(counts);
        self.seats_given
    }

    /// Takes a member out at once.
    pub(crate) fn leave(&mut self, seat: Seat, counts: Counts<'_>) {
        if self.members.remove(&seat).is_some() {
            self.change(counts);
        }
    }

    /// Takes out whoever has been silent for too long; true when somebody was.
    pub(crate) fn expire(&mut self, now_ms: u64, counts: Counts<'_>) -> bool {
        let before = self.members.len();
        self.members.retain(|_, m| m.deadline_ms.is_none_or(|deadline| now_ms < deadline));
        let expired = self.members.len() < before;
        if expired {
            self.change(counts);
        }
        expired
    }

    /// When the next member would be taken out.
    pub(crate) fn next_deadline_ms(&self) -> Option<u64> {
        self.members.values().filter_map(|m| m.deadline_ms).min()
    }

    /// The member is there at this time. One that was told to give up its partitions gains no time by it.
    pub(crate) fn touch(&mut self, seat: Seat, now_ms: u64) {
        if let Some(member) = self.members.get_mut(&seat)
            && member.phase != Phase::Revoking
        {
            member.deadline_ms = Some(now_ms.saturating_add(member.timeout_ms));
        }
    }

    /// The member waits in a poll: it cannot be silent before [`Self::touch`] says that it came out.
    pub(crate) fn park(&mut self, seat: Seat) {
        if let Some(member) = self.members.get_mut(&seat)
            && member.phase != Phase::Revoking
        {
            member.deadline_ms = None;
        }
    }

    /// Tells the member what has changed for it.
    pub(crate) fn news(&mut self, seat: Seat, now_ms: u64) -> News {
        let Some(member) = self.members.get_mut(&seat) else {
            return News::Gone;
        };
        match member.phase {
            Phase::Waiting | Phase::Owning => News::None,
            Phase::Given => {
                member.phase = Phase::Owning;
                News::Assigned(member.partitions.clone())
            }
            Phase::Recalled => {
                member.phase = Phase::Revoking;
                member.deadline_ms = Some(now_ms.saturating_add(member.timeout_ms));
                News::Revoking(member.partitions.clone())
            }
            Phase::Revoking => News::Revoking(member.partitions.clone()),
        }
    }

    /// The member gives its partitions up.
    pub(crate) fn release(&mut self, seat: Seat, now_ms: u64, counts: Counts<'_>) {
        if let Some(member) = self.members.get_mut(&seat) {
            let owned = matches!(member.phase, Phase::Recalled | Phase::Revoking);
            if owned {
                member.phase = Phase::Waiting;
                self.touch(seat, now_ms);
                self.settle(counts);
            }
        }
    }

    /// Topics have come or grown.
    pub(crate) fn topics_changed(&mut self, names: &[&str], counts: Counts<'_>) {
        if self.members.values().any(|m| m.topics.iter().any(|t| names.contains(&t.as_str()))) {
            self.change(counts);
        }
    }

    /// Members that are there.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Grows whenever somebody may have news.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Why the member may not commit the offsets of these partitions, if it may not.
    pub(crate) fn refusal<'p>(
        &self,
        seat: Seat,
        mut partitions: impl Iterator<Item = &'p TopicPartition>,
    ) -> Option<String> {
        let Some(member) = self.members.get(&seat) else {
            return Some("it was silent for longer than its session timeout, or a newer member took its id".to_owned());
        };
        let owns = matches!(member.phase, Phase::Owning | Phase::Recalled | Phase::Revoking);
        let foreign = partitions.find(|p| !owns || member.partitions.binary_search(p).is_err())?;
        Some(format!("it does not own {foreign} in generation {}", self.generation))
    }

    fn change(&mut self, counts: Counts<'_>) {
        self.changing = true;
        self.version += 1;
        for member in self.members.values_mut() {
            member.phase = match member.phase {
                // Whoever has nothing or does not know of it yet has nothing to finish.
                Phase::Waiting | Phase::Given => Phase::Waiting,
                Phase::Owning if member.partitions.is_empty() => Phase::Waiting,
                Phase::Owning | Phase::Recalled => Phase::Recalled,
                Phase::Revoking => Phase::Revoking,
            };
        }
        self.settle(counts);
    }

    /// The next generation begins once nobody owns anything.
    fn settle(&mut self, counts: Counts<'_>) {
        let settled = self.members.values().all(|m| m.phase == Phase::Waiting);
        if !self.changing || !settled {
            return;
        }
        self.changing = false;
        self.generation += 1;
        self.version += 1;
        let all = self.subscribed(counts);
        let claims: Vec<_> = self.members.values().map(|m| Claim { topics: &m.topics, had: &m.partitions }).collect();
        let sets = assign(&claims, &all);
        for (member, set) in self.members.values_mut().zip(sets) {
            member.partitions = set;
            member.phase = Phase::Given;
        }
    }

    fn subscribed(&self, counts: Counts<'_>) -> Vec<TopicPartition> {
        let mut topics: Vec<&str> = self.members.values().flat_map(|m| &m.topics).map(String::as_str).collect();
        topics.sort_unstable();
        topics.dedup();
        let of = |topic| {
            let name = std::sync::Arc::<str>::from(topic);
            (0..counts(topic)).map(move |p| TopicPartition { topic: name.clone(), partition: p })
        };
        topics.into_iter().flat_map(of).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::time::Duration;

    const TIMEOUT_MS: u64 = 100;

    fn config(id: &str) -> MemberConfig {
        let session_timeout = Duration::from_millis(TIMEOUT_MS);
        MemberConfig { group: "g".into(), topics: vec!["t".into()], id: id.into(), session_timeout }
    }

    fn places(numbers: impl IntoIterator<Item = u32>) -> Vec<TopicPartition> {
        numbers.into_iter().map(|p| TopicPartition::new("t", p)).collect()
    }

    fn four(_: &str) -> u32 {
        4
    }

    #[test]
    fn a_second_member_gets_its_half_once_the_first_has_let_go() {
        let mut group = Group::default();
        let a = group.join(&config("a"), 0, &four);
        assert_eq!(group.news(a, 0), News::Assigned(places(0..4)));
        assert_eq!(group.news(a, 0), News::None);
        let b = group.join(&config("b"), 10, &four);
        assert_eq!(group.news(b, 10), News::None);
        assert_eq!(group.news(a, 10), News::Revoking(places(0..4)));
        assert_eq!(group.refusal(a, places(0..4).iter()), None, "may commit until it lets go");
        assert!(group.refusal(b, places([0]).iter()).is_some());
        group.release(a, 20, &four);
        assert!(group.refusal(a, places([0]).iter()).is_some());
        assert_eq!(group.news(a, 20), News::Assigned(places(0..2)));
        assert_eq!(group.news(b, 20), News::Assigned(places(2..4)));
    }

    #[test]
    fn a_member_that_does_not_let_go_in_time_is_put_out() {
        let mut group = Group::default();
        let a = group.join(&config("a"), 0, &four);
        group.news(a, 0);
        let b = group.join(&config("b"), 10, &four);
        assert!(matches!(group.news(a, 50), News::Revoking(_)));
        group.touch(a, 149);
        group.touch(b, 149);
        assert!(!group.expire(149, &four));
        assert!(group.expire(150, &four), "being there gains no time for letting go");
        assert_eq!(group.news(a, 150), News::Gone);
        assert!(group.refusal(a, places([0]).iter()).is_some());
        assert_eq!(group.news(b, 150), News::Assigned(places(0..4)));
    }

    #[test]
    fn a_member_waiting_in_a_poll_is_not_silent() {
        let mut group = Group::default();
        let a = group.join(&config("a"), 0, &four);
        group.park(a);
        assert!(!group.expire(1_000_000, &four));
        group.touch(a, 1_000_000);
        assert_eq!(group.next_deadline_ms(), Some(1_000_000 + TIMEOUT_MS));
    }

    #[test]
    fn a_member_come_back_under_its_id_gets_what_it_had() {
        let mut group = Group::default();
        let (a, b) = (group.join(&config("a"), 0, &four), group.join(&config("b"), 0, &four));
        assert_eq!(group.news(a, 0), News::Assigned(places(0..2)));
        let News::Assigned(had) = group.news(b, 0) else { panic!() };
        let again = group.join(&config("b"), 1, &four);
        assert_eq!(group.news(b, 1), News::Gone);
        group.news(a, 1);
        group.release(a, 1, &four);
        assert_eq!(group.news(again, 1), News::Assigned(had));
    }

    #[test]
    fn new_partitions_make_a_new_generation() {
        let mut group = Group::default();
        let a = group.join(&config("a"), 0, &four);
        group.news(a, 0);
        group.topics_changed(&["other"], &|_| 5);
        assert_eq!(group.news(a, 0), News::None);
        group.topics_changed(&["t"], &|_| 5);
        assert_eq!(group.news(a, 0), News::Revoking(places(0..4)));
        group.release(a, 0, &|_| 5);
        assert_eq!(group.news(a, 0), News::Assigned(places(0..5)));
    }

    proptest! {
        /// Members come, go, come back, fall silent, look for news and let go in any order.
        #[test]
        fn no_partition_ever_has_two_owners(steps in proptest::collection::vec((0..6_u8, 0..4_usize, 0..60_u64), 1..80)) {
            let (mut group, mut now) = (Group::default(), 0);
            let mut seats: HashMap<usize, Seat> = HashMap::new();
            for (act, who, later) in steps {
                now += later;
                group.expire(now, &four);
                let seat = seats.get(&who).copied().unwrap_or(0);
                match act {
                    0 => { seats.insert(who, group.join(&config(&who.to_string()), now, &four)); }
                    1 => group.leave(seat, &four),
                    2 => group.release(seat, now, &four),
                    _ => { group.news(seat, now); group.touch(seat, now); }
                }
                for place in places(0..4) {
                    let owners = (1..=group.seats_given).filter(|&s| group.refusal(s, std::iter::once(&place)).is_none());
                    prop_assert!(owners.count() <= 1);
                }
            }
            // Everybody who is there does as told: the group comes to rest with every partition owned.
            let present: Vec<Seat> = group.members.keys().copied().collect();
            for &seat in present.iter().chain(&present) {
                if matches!(group.news(seat, now), News::Revoking(_)) {
                    group.release(seat, now, &four);
                }
            }
            let owned: usize = group.members.values().filter(|m| m.phase == Phase::Owning).map(|m| m.partitions.len()).sum();
            prop_assert_eq!(owned, if present.is_empty() { 0 } else { 4 });
        }
    }
}
