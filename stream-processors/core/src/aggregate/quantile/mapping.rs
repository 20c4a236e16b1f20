//! From a magnitude to its bucket and back.

/// The smallest relative error: with it [`super::BUCKETS_MAX`] buckets span a factor of 6·10⁸.
pub const ERROR_MIN: f64 = 0.005;
/// The largest relative error.
pub const ERROR_MAX: f64 = 0.1;
/// The relative error where a specification states none.
pub const ERROR_DEFAULT: f64 = 0.01;

/// A logarithm by the exponent and a cubic in the significand (the "cubically interpolated" mapping of Datadog's
/// sketches-java), for which `x · d/dx` is 10/7 at least: buckets are as narrow as with the true logarithm, and 1 % more.
///
/// Not the true logarithm: its last bit depends on the machine's libm, and a record that moves to the next bucket when it is
/// folded again elsewhere would not be the same bits. Additions and multiplications of IEEE 754 are the same everywhere.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mapping {
    /// Buckets for a factor of 2.
    scale: f64,
}

/// The significand s in 0 to 1 goes to ((A s + B) s + C) s in 0 to 1.
const CUBIC: [f64; 3] = [6.0 / 35.0, -3.0 / 5.0, 10.0 / 7.0];
/// Makes up for rounding at the edges of buckets, less than 10⁻¹¹ of their width.
const SLACK: f64 = 1.0 + 1e-9;

impl Mapping {
    /// A bucket may span a factor γ = (1 + error) / (1 - error), and ln γ = 2 artanh(error). `error` up to [`ERROR_MAX`].
    #[inline]
    pub(super) fn new(error: f64) -> Self {
        let square = error * error;
        // error + error³ / 3 + error⁵ / 5 …: at 0.1, what comes after eight terms is below the last bit.
        let artanh = error * (0..8).rev().fold(0.0, |sum, n| sum * square + 1.0 / f64::from(2 * n + 1));
        let [.., steepest] = CUBIC;
        Self { scale: SLACK / (2.0 * artanh * steepest) }
    }

    /// The bucket of a normal positive number.
    #[inline]
    pub(super) fn index(&self, magnitude: f64) -> i32 {
        let bits = magnitude.to_bits();
        let exponent = (bits >> 52) as i32 - 1023;
        let s = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52) - 1.0;
        let [a, b, c] = CUBIC;
        ((f64::from(exponent) + ((a * s + b) * s + c) * s) * self.scale).floor() as i32
    }

    /// The value of a bucket with the least relative error: 2 l h / (l + h) for its ends l and h.
    pub(super) fn middle(&self, index: i32) -> f64 {
        let (low, high) = (self.first(index), self.first(index.saturating_add(1)));
        (low * (2.0 / (1.0 + low / high))).clamp(f64::MIN_POSITIVE, f64::MAX)
    }

    /// The smallest number whose bucket is `index` or a later one. By bisection over the bits of doubles, which are in the
    /// order of the doubles: the cubic's inverse needs roots, which round by machine too.
    fn first(&self, index: i32) -> f64 {
        let (mut low, mut high) = (f64::MIN_POSITIVE.to_bits(), f64::MAX.to_bits());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.index(f64::from_bits(middle)) < index {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        f64::from_bits(low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_middle_is_within_the_error(
            bits in f64::MIN_POSITIVE.to_bits()..=f64::MAX.to_bits(),
            error in ERROR_MIN..=ERROR_MAX,
        ) {
            let (value, mapping) = (f64::from_bits(bits), Mapping::new(error));
            let middle = mapping.middle(mapping.index(value));
            prop_assert!((middle - value).abs() <= error * value, "{value} became {middle}");
        }

        #[test]
        fn indices_do_not_fall(bits in f64::MIN_POSITIVE.to_bits()..f64::MAX.to_bits(), by in 1u64..1 << 40) {
            let mapping = Mapping::new(ERROR_DEFAULT);
            let more = f64::from_bits((bits + by).min(f64::MAX.to_bits()));
            prop_assert!(mapping.index(f64::from_bits(bits)) <= mapping.index(more));
        }
    }

    #[test]
    fn a_value_at_any_place_of_its_bucket_is_within_the_error() {
        for error in [ERROR_MIN, ERROR_DEFAULT, ERROR_MAX] {
            let mapping = Mapping::new(error);
            for index in -500..500 {
                let (low, high) = (mapping.first(index), mapping.first(index + 1));
                let ends = [low, f64::from_bits(high.to_bits() - 1)];
                let middle = mapping.middle(index);
                assert!(ends.iter().all(|end| (middle - end).abs() <= error * end), "{error} {index}");
            }
        }
    }

    #[test]
    fn eight_terms_are_all_of_the_logarithm() {
        for error in [ERROR_MIN, ERROR_DEFAULT, ERROR_MAX] {
            let expected = SLACK * 0.7 / ((1.0 + error) / (1.0 - error)).ln();
            assert!((Mapping::new(error).scale / expected - 1.0).abs() < 1e-13, "{error}");
        }
    }

    #[test]
    fn indices_are_pinned() {
        let index = |value| Mapping::new(ERROR_DEFAULT).index(value);
        assert_eq!([1.0, 1.5, 2.0, 1000.0, 1e-300].map(index), [0, 20, 34, 348, -34880]);
        let true_logarithm = 2f64.powi(100).ln() / (1.01f64 / 0.99).ln();
        let more = f64::from(index(2f64.powi(100))) / true_logarithm;
        assert!((1.0..1.011).contains(&more), "{more} of the buckets of the true logarithm");
    }

    #[test]
    fn the_span_is_as_stated() {
        for (error, span) in [(ERROR_MIN, 6e8), (ERROR_DEFAULT, 1e17)] {
            let mapping = Mapping::new(error);
            let buckets = mapping.index(span) - mapping.index(1.0);
            assert!(buckets < super::super::BUCKETS_MAX as i32, "{error}: {buckets}");
        }
    }
}
