//! Any order, any split, any nesting of merges, with trips through bytes: the same bytes.

use super::*;
use crate::aggregate::{Accumulators, Items};
use crate::job::Accumulator;
use proptest::collection::vec;
use proptest::prelude::*;
use smallvec::smallvec;

/// Doubles of every kind, and many that cancel.
fn doubles() -> BoxedStrategy<f64> {
    let special = [0.0, -0.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, 5e-324, 1e16];
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        (-1000i32..1000).prop_map(|cents| f64::from(cents) / 100.0),
        proptest::sample::select(special.to_vec()),
    ]
    .boxed()
}

fn values() -> BoxedStrategy<Vec<Owned>> {
    let some = |one: BoxedStrategy<Owned>| vec(prop_oneof![1 => Just(Owned::Null), 9 => one], 0..60).boxed();
    prop_oneof![
        some(any::<i64>().prop_map(Owned::Long).boxed()),
        some((-3i64..50).prop_map(Owned::Long).boxed()),
        some(any::<i128>().prop_map(Owned::Integer).boxed()),
        some(doubles().prop_map(Owned::Double).boxed()),
        some(any::<bool>().prop_map(Owned::Boolean).boxed()),
        some("[a-c]{0,3}".prop_map(Owned::Text).boxed()),
        some(("[a-z]", 250usize..260).prop_map(|(text, n)| Owned::Text("é".repeat(n / 2) + &text)).boxed()),
        some(vec(any::<u8>(), 0..3).prop_map(Owned::Bytes).boxed()),
        some((-5i64..5).prop_map(Owned::Time).boxed()),
    ]
    .boxed()
}

/// Precision 4 keeps 4 fine registers, 6 keeps 16: most inputs cross the bound.
pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::Count,
        Function::Sum,
        Function::Min,
        Function::Max,
        Function::Mean,
        Function::Quantile { q: 0.5, error: 0.01 },
        Function::Distinct { precision: 4 },
        Function::Distinct { precision: 6 },
        Function::TopK { k: 5, capacity: 100 },
        Function::First,
        Function::Last,
    ]
}

/// Few places, so that some are equal.
fn items() -> impl Strategy<Value = Vec<(Owned, Place)>> {
    values().prop_perturb(|values, mut random| {
        let mut place = || Place {
            time: i64::from(random.next_u32() % 4),
            topic: random.next_u32() % 2,
            partition: random.next_u32() % 2,
            offset: i64::from(random.next_u32() % 4),
        };
        values.into_iter().map(|value| (value, place())).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn order_split_and_nesting_change_no_byte(items in items(), seed: u64) {
        for function in functions() {
            let straight = fold(&function, &items);
            let nested = fold_at_random(&function, &items, &mut Random(seed));
            prop_assert_eq!(bytes(&nested), bytes(&straight), "{}", function);
            prop_assert_eq!(&nested, &straight, "{}", &function);
            prop_assert_eq!(again(&straight), straight, "{}", function);
        }
    }

    #[test]
    fn a_state_read_back_goes_on_as_before(items in items(), seed: u64) {
        let (before, after) = items.split_at(Random(seed).below(items.len() + 1));
        for function in functions() {
            let mut state = again(&fold_at_random(&function, before, &mut Random(seed)));
            after.iter().for_each(|(value, place)| state.add(&function, value.value(), *place));
            prop_assert_eq!(bytes(&state), bytes(&fold(&function, &items)), "{}", function);
        }
    }

    #[test]
    fn rows_merge_as_their_aggregates_do(items in items(), seed: u64) {
        let functions = functions();
        let row = |items: &[(Owned, Place)]| {
            let mut row = Accumulators::default();
            for (value, place) in items {
                let values = functions.iter().map(|_| value.value()).collect();
                row.add(&Items { functions: &functions, values, place: *place });
            }
            row
        };
        let bytes = |row: &Accumulators| {
            let mut out = vec![];
            row.put(&mut out);
            out
        };
        let all = row(&items);
        let (left, right) = items.split_at(Random(seed).below(items.len() + 1));
        let (mut merged, mut identity) = (row(right), Accumulators::default());
        merged.merge(&row(left));
        merged.merge(&Accumulators::default());
        identity.merge(&merged);
        prop_assert_eq!(bytes(&merged), bytes(&all));
        prop_assert_eq!(bytes(&identity), bytes(&all));
        prop_assert_eq!(&Accumulators::get(&mut Reader::new(&bytes(&all))).unwrap(), &all);
        for ((answer, function), state) in all.results(&functions).zip(&functions).zip(&all.0) {
            prop_assert_eq!(format!("{answer:?}"), format!("{:?}", state.result(function)));
        }
    }
}

#[test]
fn nulls_add_nothing_and_an_empty_row_answers() {
    let functions = functions();
    let mut row = Accumulators::default();
    let empty: Vec<_> = row.results(&functions).map(|answer| format!("{answer:?}")).collect();
    row.add(&Items { functions: &functions, values: functions.iter().map(|_| Value::Null).collect(), place: place(0) });
    assert_eq!(row.0.len(), functions.len());
    assert!(row.0.iter().all(|state| *state == State::Empty));
    let nulls: Vec<_> = row.results(&functions).map(|answer| format!("{answer:?}")).collect();
    assert_eq!(nulls, empty);
    let zeros = ["count", "distinct"];
    for (answer, function) in empty.iter().zip(&functions) {
        let expected = if zeros.contains(&function.name()) { "Value(Long(0))" } else { "Value(Null)" };
        assert_eq!(answer, expected, "{function}");
    }
}

#[test]
fn the_bytes_are_pinned() {
    let functions = [
        Function::Count,
        Function::Sum,
        Function::Mean,
        Function::Min,
        Function::Last,
        Function::Quantile { q: 0.5, error: 0.01 },
        Function::Distinct { precision: 14 },
        Function::TopK { k: 1, capacity: 1000 },
    ];
    let mut row = Accumulators::default();
    for value in [1, 300] {
        let values = functions.iter().map(|_| Value::Long(value)).collect();
        row.add(&Items { functions: &functions, values, place: Place { time: 7, topic: 0, partition: 3, offset: 9 } });
    }
    let doubles = [Function::Sum, Function::Mean];
    let mut sums = Accumulators::default();
    sums.add(&Items {
        functions: &doubles,
        values: smallvec![Value::Double(1.5), Value::Double(-0.25)],
        place: place(0),
    });
    let hex = |row: &Accumulators| {
        let mut out = vec![];
        row.put(&mut out);
        out.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let states = [
        "0204",                       // count: 2
        "0404012d",                   // sum: 301 in two bytes
        "0604012d04",                 // mean: the same, and 2 values
        "0c0402",                     // min: long, 1
        "120e00061204d804",           // last: time 7, topic 0, partition 3, offset 9; long, 300
        "14080002be04020000",         // quantile: 4 / 2 buckets, 0 once, 287 later once; no negative ones, no others
        "161c0482cce18e0884e2eacb12", // distinct: precision 14, 2 fine registers
        "18d00f000404020204d80402",   // top-k: capacity 1000, 0 lost, 2 values; long, 1, once; long, 300, once
    ];
    assert_eq!(hex(&row), format!("10{}", states.concat()));
    // No flags, one bucket, the 31st: 1.5 = (2⁸² + 2⁸¹) / 2⁸² there, and -0.25 = -2⁸⁰ / 2⁸², which is one value.
    assert_eq!(hex(&sums), "040800023e1606000000000000000000000a00023e16ff0000000000000000000002");
}
