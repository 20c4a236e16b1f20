//! Who of a group reads which partition: a pure decision.

use std::collections::BTreeSet;

use crate::TopicPartition;

/// What one member brings to the decision.
#[derive(Debug, Clone)]
pub(crate) struct Claim<'a> {
    /// Topics that it subscribes to.
    pub(crate) topics: &'a [String],
    /// What it had before, kept where balance permits.
    pub(crate) had: &'a [TopicPartition],
}

/// Shares `partitions` out among the members, in the order of `claims`; each set sorted.
///
/// Every partition of a subscribed topic goes to exactly one subscriber. No member has two more than another that could
/// take one of them, so with equal subscriptions the sets differ by one at most. A partition moves only where that asks
/// for it.
pub(crate) fn assign(claims: &[Claim<'_>], partitions: &[TopicPartition]) -> Vec<Vec<TopicPartition>> {
    let mut free: BTreeSet<&TopicPartition> = partitions.iter().collect();
    let mut sets: Vec<BTreeSet<&TopicPartition>> = Vec::with_capacity(claims.len());
    for claim in claims {
        let kept = claim.had.iter().filter(|p| reads(claim, p));
        sets.push(kept.filter_map(|p| free.take(p)).collect());
    }
    for partition in free {
        if let Some(to) = least_loaded(claims, &sets, partition) {
            sets.get_mut(to).map(|set| set.insert(partition));
        }
    }
    while let Some((from, to, partition)) = next_move(claims, &sets) {
        sets.get_mut(from).map(|set| set.remove(partition));
        sets.get_mut(to).map(|set| set.insert(partition));
    }
    sets.into_iter().map(|set| set.into_iter().cloned().collect()).collect()
}

fn reads(claim: &Claim<'_>, partition: &TopicPartition) -> bool {
    claim.topics.iter().any(|t| **t == *partition.topic)
}

fn least_loaded(claims: &[Claim<'_>], sets: &[BTreeSet<&TopicPartition>], partition: &TopicPartition) -> Option<usize> {
    let subscribers = claims.iter().zip(sets).enumerate().filter(|(_, (claim, _))| reads(claim, partition));
    subscribers.min_by_key(|(_, (_, set))| set.len()).map(|(i, _)| i)
}

/// From the member with most: the sum of squares falls with each move, so the moves come to an end.
fn next_move<'p>(
    claims: &[Claim<'_>],
    sets: &[BTreeSet<&'p TopicPartition>],
) -> Option<(usize, usize, &'p TopicPartition)> {
    let mut order: Vec<usize> = (0..sets.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(sets.get(i).map_or(0, BTreeSet::len)));
    for from in order {
        let set = sets.get(from)?;
        for partition in set.iter().rev() {
            let to = least_loaded(claims, sets, partition)?;
            if sets.get(to)?.len() + 1 < set.len() {
                return Some((from, to, partition));
            }
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn topic(name: &str, partitions: u32) -> Vec<TopicPartition> {
        (0..partitions).map(|p| TopicPartition::new(name, p)).collect()
    }

    fn run(
        subscriptions: &[Vec<String>],
        had: &[Vec<TopicPartition>],
        all: &[TopicPartition],
    ) -> Vec<Vec<TopicPartition>> {
        let claims: Vec<_> = subscriptions.iter().zip(had).map(|(topics, had)| Claim { topics, had }).collect();
        assign(&claims, all)
    }

    proptest! {
        #[test]
        fn complete_disjoint_balanced_and_sticky(members in 1..6_usize, a in 1..12_u32, b in 0..12_u32, joins in 0..3_usize) {
            let all: Vec<_> = topic("a", a).into_iter().chain(topic("b", b)).collect();
            let both = vec!["a".to_owned(), "b".to_owned()];
            let first = run(&vec![both.clone(); members], &vec![Vec::new(); members], &all);
            let mut had = first.clone();
            had.resize(members + joins, Vec::new());
            let second = run(&vec![both; members + joins], &had, &all);
            for sets in [&first, &second] {
                let mut seen: Vec<_> = sets.iter().flatten().cloned().collect();
                seen.sort();
                prop_assert_eq!(&seen, &all);
                let sizes = sets.iter().map(Vec::len);
                prop_assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
            }
            if joins == 0 {
                prop_assert_eq!(first, second);
            } else {
                let arrivals: usize = second.iter().skip(members).map(Vec::len).sum();
                let moved: usize = second.iter().zip(&had).map(|(now, had)| now.iter().filter(|p| !had.contains(p)).count()).sum();
                prop_assert_eq!(moved, arrivals, "a partition moved between members that were there before");
            }
        }

        #[test]
        fn only_subscribers_get_a_topic(n in 1..8_u32) {
            let all: Vec<_> = topic("a", n).into_iter().chain(topic("b", n)).collect();
            let (a, b) = (vec!["a".to_owned()], vec!["b".to_owned()]);
            let sets = run(&[a, b], &[topic("b", n), Vec::new()], &all);
            prop_assert_eq!(sets, vec![topic("a", n), topic("b", n)]);
        }
    }

    #[test]
    fn a_topic_without_subscriber_is_nobodys() {
        assert_eq!(run(&[vec!["a".to_owned()]], &[Vec::new()], &topic("b", 3)), vec![Vec::new()]);
    }
}
