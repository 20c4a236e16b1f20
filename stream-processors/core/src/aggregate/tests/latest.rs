//! Revisions of rows, in any order and as often as one likes: what is left is each row's latest, added up.

use super::*;
use crate::aggregate::{Accumulators, Contribution, Items, Latest};
use crate::job::Accumulator;
use proptest::collection::vec;
use proptest::prelude::*;
use smallvec::smallvec;
use std::collections::BTreeMap;

/// A revision of a row: which row, (epoch, revision), and its value; none retracts it.
type Revision = (u128, (i32, i64), Option<i64>);

const FUNCTIONS: [Function; 3] = [Function::Count, Function::Sum, Function::Max];

fn sum_of<'v>(values: impl IntoIterator<Item = &'v i64>) -> Accumulators {
    let mut sum = Accumulators::default();
    for value in values {
        let value = Value::Long(*value);
        sum.add(&Items { functions: &FUNCTIONS, values: smallvec![value, value, value], place: place(0) });
    }
    sum
}

fn contribution((row, revision, value): &Revision) -> Latest {
    Latest::of(*row, Contribution { revision: *revision, sum: value.as_ref().map(|value| sum_of([value])) })
}

/// As a fold takes it: a datum.
fn add(row: &mut Accumulators, revision: &Revision) {
    let mut datum = vec![];
    contribution(revision).put(&mut datum);
    let functions = [Function::Latest];
    row.add(&Items { functions: &functions, values: smallvec![Value::Bytes(&datum)], place: place(0) });
}

fn put(row: &Accumulators) -> Vec<u8> {
    let mut out = vec![];
    row.put(&mut out);
    out
}

/// The values of a row's revisions are a function of them: equal revisions are equal.
fn revisions() -> impl Strategy<Value = Vec<Revision>> {
    let one = (0u128..6, 0i32..3, 0i64..5).prop_map(|(row, epoch, revision)| {
        let value = row as i64 * 100 + i64::from(epoch) * 10 + revision;
        (row << 90, (epoch, revision), (value % 4 != 3).then_some(value))
    });
    vec(one, 0..40)
}

proptest! {
    #[test]
    fn any_order_split_and_repetition_gives_the_latest_of_each(
        all in revisions(),
        cuts in vec(any::<prop::sample::Index>(), 0..6),
        seed: u64,
    ) {
        // The naive way: sort, keep the last of each, add up.
        let mut last: BTreeMap<u128, ((i32, i64), Option<i64>)> = BTreeMap::new();
        for (row, revision, value) in &all {
            let known = last.entry(*row).or_insert((*revision, *value));
            *known = (*known).max((*revision, *value));
        }
        let live: Vec<i64> = last.values().filter_map(|(_, value)| *value).collect();

        let mut mixed: Vec<Revision> = all.clone();
        mixed.extend(all.iter().filter(|(_, (_, revision), _)| revision % 2 == 0).cloned());
        let mut random = Random(seed);
        (1..mixed.len()).rev().for_each(|at| mixed.swap(at, random.below(at + 1)));
        let mut bounds: Vec<usize> = cuts.iter().map(|cut| cut.index(mixed.len() + 1)).chain([0, mixed.len()]).collect();
        bounds.sort_unstable();
        let mut merged = Accumulators::default();
        for piece in bounds.windows(2) {
            let mut part = Accumulators::default();
            mixed[piece[0]..piece[1]].iter().for_each(|revision| add(&mut part, revision));
            let part = Accumulators::get(&mut Reader::new(&put(&part))).unwrap();
            merged.merge(&part);
            // Merged twice: a commit that is read again.
            merged.merge(&part);
        }
        let mut straight = Accumulators::default();
        all.iter().for_each(|revision| add(&mut straight, revision));
        prop_assert_eq!(put(&merged), put(&straight));

        let (records, sum) = merged.latest();
        prop_assert_eq!(records, live.len() as i64);
        prop_assert_eq!(put(&sum), put(&sum_of(&live)));
    }

    /// Bytes that claim two contents for one revision come to one of them, whichever came first.
    #[test]
    fn forged_revisions_merge_alike_in_any_order(values in vec(any::<Option<i64>>(), 1..6)) {
        let all: Vec<Latest> = values.iter().map(|value| contribution(&(7, (1, 1), *value))).collect();
        let merged = |all: &mut dyn Iterator<Item = &Latest>| {
            let (mut total, mut out) = (Latest::default(), vec![]);
            all.for_each(|one| total.merge(one));
            total.put(&mut out);
            out
        };
        prop_assert_eq!(merged(&mut all.iter()), merged(&mut all.iter().rev()));
    }

    #[test]
    fn bytes_that_are_something_else_are_refused_or_read(bytes in vec(any::<u8>(), 0..80)) {
        if let Ok(read) = Latest::get(&mut Reader::new(&bytes)) {
            let mut out = vec![];
            read.put(&mut out);
            prop_assert_eq!(Latest::get(&mut Reader::new(&out)).unwrap(), read);
        }
    }
}

/// Contributors inside of contributors, without end, would exhaust the stack.
#[test]
fn contributors_are_not_nested() {
    let mut datum = vec![];
    Latest::of(1, Contribution { revision: (1, 1), sum: Some(Accumulators::default()) }).put(&mut datum);
    let mut inner = Accumulators::default();
    add(&mut inner, &(1, (1, 1), None));
    let nested = Latest::of(1, Contribution { revision: (1, 1), sum: Some(inner) });
    let mut datum = vec![];
    nested.put(&mut datum);
    assert!(Latest::get(&mut Reader::new(&datum)).is_err());
}

#[test]
fn the_bytes_are_pinned() {
    let mut row = Accumulators::default();
    add(&mut row, &(2, (1, 300), Some(5)));
    add(&mut row, &(1, (1, 7), None));
    let hex: String = put(&row).iter().map(|byte| format!("{byte:02x}")).collect();
    // One state, of branch 13, with two contributors: hash; epoch, revision, whether it counts; three states: count 1, sum 5,
    // max 5.
    let (first, second) = (format!("{:032x}020e00", 1), format!("{:032x}02d80401", 2));
    assert_eq!(hex, format!("021a04{first}{second}060202040205{}", "0e040a"));
}
