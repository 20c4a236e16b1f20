//! Sums and means against references that share no code with them.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

/// J. R. Shewchuk's expansions, as in Python's `math.fsum`: correctly rounded while nothing overflows.
fn fsum(values: &[f64]) -> f64 {
    let mut partials: Vec<f64> = vec![];
    for value in values {
        let (mut x, mut kept) = (*value, 0);
        for at in 0..partials.len() {
            let mut y = partials[at];
            if x.abs() < y.abs() {
                (x, y) = (y, x);
            }
            let high = x + y;
            let low = y - (high - x);
            if low != 0.0 {
                partials[kept] = low;
                kept += 1;
            }
            x = high;
        }
        partials.truncate(kept);
        partials.push(x);
    }
    let Some(mut high) = partials.pop() else { return 0.0 };
    let mut low = 0.0;
    while let Some(y) = partials.pop() {
        let x = high;
        high = x + y;
        low = y - (high - x);
        if low != 0.0 {
            break;
        }
    }
    // Half way, and what is left decides.
    if let Some(rest) = partials.last()
        && (low < 0.0) == (*rest < 0.0)
    {
        let y = low * 2.0;
        let x = high + y;
        if y == x - high {
            high = x;
        }
    }
    high
}

/// The nearest double of a quotient, by its decimal digits: the standard library parses those correctly.
fn quotient(sum: i128, by: u128) -> f64 {
    let (whole, mut rest) = (sum.unsigned_abs() / by, sum.unsigned_abs() % by);
    let mut digits = format!("{}{whole}.", if sum < 0 { "-" } else { "" });
    for _ in 0..80 {
        rest *= 10;
        digits.push(char::from(b'0' + (rest / by) as u8));
        rest %= by;
    }
    digits.push(if rest > 0 { '1' } else { '0' });
    let value: f64 = digits.parse().unwrap();
    value + 0.0
}

fn fold_doubles(function: &Function, values: &[f64]) -> f64 {
    double(&fold(function, &placed(values.iter().copied().map(Owned::Double))), function)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn sums_of_doubles_are_correctly_rounded(bits in vec(any::<u64>(), 1..50), narrow: bool) {
        // Below 2⁹⁶⁰, so that the reference cannot overflow; narrow ones share buckets, round and cancel.
        let value = |bits: u64| match f64::from_bits(bits & !(1 << 62) | if narrow { 0x3fe0 << 48 } else { 0 }) {
            value if narrow => value,
            value => value * if bits.is_multiple_of(3) { 1e280 } else { 1.0 },
        };
        let values: Vec<_> = bits.into_iter().map(value).filter(|value| value.abs() < 1e288).collect();
        prop_assume!(!values.is_empty());
        prop_assert_eq!(fold_doubles(&Function::Sum, &values), fsum(&values));
    }

    #[test]
    fn sums_that_nearly_cancel_keep_every_bit(bits in vec(any::<u64>(), 1..20), rest in -1e-300f64..1e300) {
        let values = bits.into_iter().map(f64::from_bits).filter(|value| value.abs() < 1e300);
        let mut values: Vec<_> = values.flat_map(|value| [value, -value]).collect();
        values.push(rest);
        prop_assert_eq!(fold_doubles(&Function::Sum, &values), rest);
    }

    #[test]
    fn means_of_doubles_are_correctly_rounded(units in vec(-1i64 << 52..1 << 52, 1..40)) {
        let values: Vec<_> = units.iter().map(|unit| *unit as f64 / 1024.0).collect();
        let sum: i128 = units.iter().map(|unit| i128::from(*unit)).sum();
        prop_assert_eq!(fold_doubles(&Function::Mean, &values), quotient(sum, values.len() as u128 * 1024));
    }

    #[test]
    fn longs_add_up_exactly(values in vec(any::<i64>(), 1..40)) {
        let sum: i128 = values.iter().map(|value| i128::from(*value)).sum();
        let items = placed(values.iter().copied().map(Owned::Long));
        let state = fold(&Function::Sum, &items);
        prop_assert_eq!(state.result(&Function::Sum), Answer::Value(Value::Integer(sum)));
        let mean = double(&fold(&Function::Mean, &items), &Function::Mean);
        prop_assert_eq!(mean, quotient(sum, values.len() as u128));
    }

    #[test]
    fn big_integers_add_up_exactly(values in vec(any::<i128>(), 1..6), shift in 0u32..127) {
        let values: Vec<_> = values.into_iter().map(|value| value >> shift).collect();
        let expected = values.iter().try_fold(0i128, |sum, value| sum.checked_add(*value));
        let items = placed(values.iter().copied().map(Owned::Integer));
        let sum = fold(&Function::Sum, &items);
        if let Some(expected) = expected {
            prop_assert_eq!(sum.result(&Function::Sum), Answer::Value(Value::Integer(expected)));
        }
        if let Ok(sum) = i64::try_from(expected.unwrap_or(i128::MAX)) {
            let mean = double(&fold(&Function::Mean, &items), &Function::Mean);
            prop_assert_eq!(mean, quotient(sum.into(), values.len() as u128));
        }
    }
}

#[test]
fn a_sum_beyond_128_bits_is_null_until_it_comes_back() {
    let max = (Owned::Integer(i128::MAX), place(0));
    let mut items = vec![max.clone(), max.clone(), (Owned::Integer(-2), place(0))];
    let function = Function::Sum;
    assert_eq!(fold(&function, &items).result(&function), Answer::Value(Value::Null));
    assert_eq!(double(&fold(&Function::Mean, &items), &Function::Mean), 2f64.powi(128) / 3.0);
    items.push((Owned::Integer(-i128::MAX), place(0)));
    assert_eq!(fold(&function, &items).result(&function), Answer::Value(Value::Integer(i128::MAX - 2)));
    for n in 1..=4 {
        let least = placed(vec![Owned::Integer(i128::MIN); n]);
        assert_eq!(again(&fold(&function, &least)), fold(&function, &least));
        assert_eq!(double(&fold(&Function::Mean, &least), &Function::Mean), -(2f64.powi(127)));
    }
}

#[test]
fn doubles_that_are_no_numbers() {
    let (sum, mean) = (Function::Sum, Function::Mean);
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    assert_eq!(fold_doubles(&sum, &[1.0, inf, -1e300]), inf);
    assert_eq!(fold_doubles(&mean, &[1.0, -inf, inf.recip()]), -inf);
    assert!(fold_doubles(&sum, &[inf, 1.0, -inf]).is_nan());
    assert!(fold_doubles(&mean, &[nan, inf]).is_nan());
    assert_eq!(fold_doubles(&sum, &[-0.0, -0.0]).to_bits(), 0, "zeros have no sign");
    assert_eq!(fold_doubles(&sum, &[-1.0, 1.0]).to_bits(), 0);
}

#[test]
fn doubles_at_the_ends_of_the_range() {
    let (sum, mean) = (Function::Sum, Function::Mean);
    assert_eq!(fold_doubles(&sum, &[f64::MAX, f64::MAX]), f64::INFINITY);
    assert_eq!(fold_doubles(&sum, &[f64::MAX, f64::MAX, f64::MIN]), f64::MAX, "no overflow on the way");
    assert_eq!(fold_doubles(&mean, &[f64::MAX, f64::MAX]), f64::MAX, "nor before the division");
    assert_eq!(fold_doubles(&sum, &[5e-324, 5e-324]), 1e-323);
    assert_eq!(fold_doubles(&mean, &[5e-324, 0.0]), 0.0, "half of the least rounds to even");
    assert_eq!(fold_doubles(&mean, &[5e-324, 1e-323]), 1e-323, "1.5 of the least too");
    assert_eq!(fold_doubles(&sum, &[1e16, 1.0, -1e16]), 1.0);
    assert_eq!(fold_doubles(&sum, &[0.1; 10]), 1.0, "what a loop makes 0.9999999999999999");
}
