//! Quantiles against exact ones.

use super::*;
use crate::aggregate::{ERROR_DEFAULT, ERROR_MAX, ERROR_MIN};
use proptest::collection::vec;
use proptest::prelude::*;

const QS: [f64; 9] = [0.0, 0.01, 0.1, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0];

fn exact(sorted: &[f64], q: f64) -> f64 {
    let is_share = |i: &usize| (i + 1) as f64 / sorted.len() as f64 >= q;
    sorted[(0..sorted.len()).find(is_share).unwrap()]
}

fn check(name: &str, mut values: Vec<f64>, error: f64) {
    let items = placed(values.iter().copied().map(Owned::Double));
    let state = fold_at_random(&Function::Quantile { q: 0.5, error }, &items, &mut Random(1));
    values.sort_by(f64::total_cmp);
    for q in QS {
        let (found, expected) = (double(&state, &Function::Quantile { q, error }), exact(&values, q));
        let off = (found - expected).abs();
        assert!(off <= error * expected.abs(), "{name} at {q}, error {error}: {found} for {expected}");
    }
}

#[test]
fn the_error_is_kept_on_many_distributions() {
    let mut random = Random(7);
    let mut unit = move || random.unit();
    let mut draw = |f: fn(&mut dyn FnMut() -> f64) -> f64| (0..20_000).map(|_| f(&mut unit)).collect::<Vec<_>>();
    let distributions = [
        ("uniform", draw(|u| u() * 1000.0)),
        ("exponential", draw(|u| -u().ln())),
        ("pareto", draw(|u| u().powf(-1.5))),
        ("lognormal", draw(|u| (2.0 * (-2.0 * u().ln()).sqrt() * (std::f64::consts::TAU * u()).cos()).exp())),
        ("normal, both signs", draw(|u| (-2.0 * u().ln()).sqrt() * (std::f64::consts::TAU * u()).cos())),
        ("two humps", draw(|u| if u() < 0.5 { 1.0 + u() } else { 1e6 + u() })),
        ("whole milliseconds", draw(|u| (-40.0 * u().ln()).floor())),
        ("mostly zero", draw(|u| if u() < 0.7 { 0.0 } else { u() - 0.5 })),
        ("one value", vec![-3.7; 100]),
        ("two values", vec![1.0, 2.0]),
    ];
    for (name, values) in distributions {
        for error in [ERROR_MIN, ERROR_DEFAULT, ERROR_MAX] {
            check(name, values.clone(), error);
        }
    }
}

#[test]
fn of_few_values_it_is_one_of_them() {
    let values = (1..=10).map(|n| f64::from(n) * 10.0);
    let state = fold(&Function::Quantile { q: 0.5, error: 0.01 }, &placed(values.map(Owned::Double)));
    for (q, expected) in [(0.0, 10.0), (0.1, 10.0), (0.11, 20.0), (0.5, 50.0), (0.9, 90.0), (0.95, 100.0), (1.0, 100.0)]
    {
        let found = double(&state, &Function::Quantile { q, error: 0.01 });
        assert!((found - expected).abs() <= 0.01 * expected, "{q}: {found} for {expected}");
    }
}

#[test]
fn infinities_zeros_and_nan_have_their_ranks() {
    let function = |q| Function::Quantile { q, error: 0.01 };
    let values = [f64::NAN, f64::INFINITY, 0.0, f64::NEG_INFINITY, 1.0, -1.0, 5e-324];
    let state = fold(&function(0.0), &placed(values.map(Owned::Double)));
    let at = |rank: i32| double(&state, &function(f64::from(rank + 1) / 7.0));
    assert_eq!(at(0), f64::NEG_INFINITY);
    assert!((at(1) + 1.0).abs() <= 0.01);
    assert_eq!((at(2), at(3)), (0.0, 0.0), "a subnormal counts as 0");
    assert!((at(4) - 1.0).abs() <= 0.01);
    assert_eq!(at(5), f64::INFINITY);
    assert!(at(6).is_nan());
}

#[test]
fn longs_and_big_integers_are_numbers() {
    let function = Function::Quantile { q: 1.0, error: 0.01 };
    let largest = |value: Owned| double(&fold(&function, &placed([Owned::Long(1), value])), &function);
    assert!((largest(Owned::Long(i64::MAX)) / i64::MAX as f64 - 1.0).abs() <= 0.01);
    assert!((largest(Owned::Integer(i128::MAX)) / i128::MAX as f64 - 1.0).abs() <= 0.01);
    assert_eq!(fold(&function, &placed([Owned::Text("1".into())])), State::Empty);
}

#[test]
fn a_quantile_among_what_has_collapsed_is_null() {
    // 2,048 buckets at 0.01 span a factor of about 10¹⁷: 1 and 10⁶ are lifted to one bucket, 10²⁰ is not.
    let function = |q| Function::Quantile { q, error: 0.01 };
    for sign in [1.0, -1.0] {
        let values = [1.0, 1e6, 1e20, 1e30].map(|value| Owned::Double(sign * value));
        let state = fold_at_random(&function(0.5), &placed(values), &mut Random(3));
        let at =
            |rank: i32| state.result(&function(f64::from(if sign > 0.0 { rank + 1 } else { 4 - rank }) / 4.0)).clone();
        assert_eq!((at(0), at(1)), (Answer::Value(Value::Null), Answer::Value(Value::Null)), "{sign}");
        for (rank, expected) in [(2, 1e20), (3, 1e30)] {
            let Answer::Value(Value::Double(found)) = at(rank) else { panic!("{:?}", at(rank)) };
            assert!((found - sign * expected).abs() <= 0.01 * expected, "{found}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Over the whole range of doubles, where most inputs collapse: within the error, or null.
    #[test]
    fn an_answer_is_within_the_error_or_null(
        bits in vec(any::<u64>(), 1..80),
        error in ERROR_MIN..=ERROR_MAX,
        q in 0.0f64..=1.0,
        seed: u64,
    ) {
        let mut values: Vec<_> = bits.into_iter().map(f64::from_bits).filter(|value| value.is_normal()).collect();
        prop_assume!(!values.is_empty());
        let function = Function::Quantile { q, error };
        let items = placed(values.iter().copied().map(Owned::Double));
        let state = fold_at_random(&function, &items, &mut Random(seed));
        prop_assert_eq!(bytes(&state), bytes(&fold(&function, &items)));
        values.sort_by(f64::total_cmp);
        let expected = exact(&values, q);
        match state.result(&function) {
            Answer::Value(Value::Double(found)) => {
                prop_assert!((found - expected).abs() <= error * expected.abs(), "{} for {}", found, expected);
            }
            other => {
                prop_assert_eq!(other, Answer::Value(Value::Null));
                let same_sign = values.iter().filter(|value| (**value < 0.0) == (expected < 0.0));
                let largest = same_sign.fold(0.0f64, |largest, value| largest.max(value.abs()));
                prop_assert!(expected.abs() < largest / 1e8, "null without need: {} of {}", expected, largest);
            }
        }
    }
}

#[test]
fn a_sketch_has_a_bound() {
    let function = Function::Quantile { q: 0.5, error: ERROR_MIN };
    let mut random = Random(11);
    let values = (0..50_000).map(|_| Owned::Double(f64::from_bits(random.next() >> 1)));
    let values = values.filter(|value| matches!(value, Owned::Double(value) if value.is_finite()));
    let state = fold(&function, &placed(values));
    assert!(state.bytes() < 2 * 4096 * 16 + 200, "{}", state.bytes());
    assert!(bytes(&state).len() < 2048 * 4, "{}", bytes(&state).len());
}
