//! From a long whole number to the nearest double.
//!
//! Numbers are digits of 32 bits, the lowest first. What is computed here is exact until the one rounding at the end, to
//! nearest, ties to even (IEEE 754-2019, 4.3.1), so the answer is a function of the number alone.

/// Bits of a double's significand.
const SIGNIFICAND: i32 = 53;
/// The exponent of the smallest subnormal: 2⁻¹⁰⁷⁴.
pub(super) const LEAST: i32 = -1074;

/// Divides in place; true when a remainder is lost. `by` is not 0.
pub(super) fn divide(digits: &mut [u32], by: u64) -> bool {
    let by = u128::from(by.max(1));
    let mut rest = 0u128;
    for digit in digits.iter_mut().rev() {
        let part = rest << 32 | u128::from(*digit);
        *digit = (part / by) as u32; // rest < by, so the quotient has 32 bits
        rest = part % by;
    }
    rest > 0
}

/// `± (digits + inexact) · 2^unit` as the nearest double, where `inexact` is some part of 1 that was lost below the digits:
/// then they must hold more than 54 bits, or it could decide a tie. Infinite from 2¹⁰²⁴ - 2⁹⁷⁰ on. Zero has no sign.
pub(super) fn nearest(negative: bool, digits: &[u32], unit: i32, inexact: bool) -> f64 {
    let Some((top, digit)) = digits.iter().enumerate().rev().find(|(_, digit)| **digit != 0) else {
        return 0.0;
    };
    let length = top as i32 * 32 + 32 - digit.leading_zeros() as i32;
    // Bits below the last place of the double, which subnormals have at 2^LEAST.
    let cut = (length - SIGNIFICAND).max(LEAST - unit);
    let significand = window(digits, cut);
    let half = window(digits, cut - 1) & 1 == 1;
    let below = inexact || has_bits_below(digits, cut - 1);
    let rounded = significand + u64::from(half && (below || significand & 1 == 1));
    let sign = u64::from(negative) << 63;
    // A significand with its leading bit adds 1 to the exponent, and so does one that rounds up to 2⁵³.
    let exponent = (cut + unit - LEAST) as u64;
    match (exponent << (SIGNIFICAND - 1)) + rounded {
        bits if exponent < 2047 && bits < f64::INFINITY.to_bits() => f64::from_bits(sign | bits),
        _ => f64::from_bits(sign | f64::INFINITY.to_bits()),
    }
}

/// The number shifted down by `cut` bits (up, when negative), its lowest 64 bits.
fn window(digits: &[u32], cut: i32) -> u64 {
    let digit = |at: i32| usize::try_from(at).ok().and_then(|at| digits.get(at)).copied().unwrap_or(0);
    let (at, shift) = (cut.div_euclid(32), cut.rem_euclid(32));
    let wide = (0..3).rev().fold(0u128, |wide, next| wide << 32 | u128::from(digit(at + next)));
    (wide >> shift) as u64
}

fn has_bits_below(digits: &[u32], cut: i32) -> bool {
    let (at, shift) = (cut.div_euclid(32), cut.rem_euclid(32));
    digits.iter().zip(0i32..).any(|(digit, index)| match index.cmp(&at) {
        std::cmp::Ordering::Less => *digit != 0,
        std::cmp::Ordering::Equal => digit & ((1 << shift) - 1) != 0,
        std::cmp::Ordering::Greater => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digits(value: u128) -> Vec<u32> {
        (0..4).map(|at| (value >> (32 * at)) as u32).collect()
    }

    #[test]
    fn ties_go_to_even() {
        for (value, expected) in [
            ((1 << 53) + 1, (1u64 << 53) as f64),
            ((1 << 53) + 3, ((1u64 << 53) + 4) as f64),
            (u128::MAX, 2f64.powi(128)),
        ] {
            assert_eq!(nearest(false, &digits(value), 0, false), expected, "{value}");
        }
        assert_eq!(nearest(false, &digits((1 << 53) + 1), 0, true), ((1u64 << 53) + 2) as f64, "something is below");
        assert_eq!(nearest(false, &digits(1 << 53), 0, true), (1u64 << 53) as f64);
    }

    #[test]
    fn a_lost_remainder_is_told() {
        let (mut odd, mut even) = ([7, 0], [8, 1]);
        assert!(divide(&mut odd, 2) && odd == [3, 0]);
        assert!(!divide(&mut even, 2) && even == [(1 << 31) + 4, 0]);
    }

    #[test]
    fn the_ends_of_the_range() {
        assert_eq!(nearest(true, &digits(1), LEAST, false), -f64::from_bits(1));
        assert_eq!(nearest(false, &digits(1), LEAST - 1, false), 0.0, "half the least is even");
        assert_eq!(nearest(false, &digits(3), LEAST - 1, false), f64::from_bits(2));
        assert_eq!(nearest(false, &digits((1 << 53) - 1), 971, false), f64::MAX);
        assert_eq!(nearest(false, &digits((1 << 54) - 1), 970, false), f64::INFINITY, "rounds up beyond the largest");
        assert_eq!(nearest(true, &digits(1), 1024, false), f64::NEG_INFINITY);
        assert_eq!(nearest(true, &digits(1), i32::MAX - 2000, false), f64::NEG_INFINITY);
        assert_eq!(nearest(true, &[], 0, false).to_bits(), 0);
    }

    proptest! {
        /// The compiler's own conversion and division round correctly too.
        #[test]
        fn whole_numbers_round_as_the_hardware_does(value: u128, shift in 0u32..128) {
            let value = value >> shift;
            prop_assert_eq!(nearest(false, &digits(value), 0, false), value as f64);
        }

        #[test]
        fn doubles_stay_as_they_are(bits in 0u64..0x7ff0 << 48) {
            let exponent = (bits >> 52).max(1);
            let significand = bits & ((1 << 52) - 1) | u64::from(bits >> 52 > 0) << 52;
            let unit = LEAST + exponent as i32 - 1;
            prop_assert_eq!(nearest(false, &digits(significand.into()), unit, false).to_bits(), bits);
        }

        #[test]
        fn quotients_round_as_the_hardware_does(value in 1u64..1 << 53, by in 1u64..1 << 53) {
            let mut wide = [vec![0; 4], digits(value.into())].concat();
            let inexact = divide(&mut wide, by);
            prop_assert_eq!(nearest(false, &wide, -128, inexact), value as f64 / by as f64);
        }
    }
}
