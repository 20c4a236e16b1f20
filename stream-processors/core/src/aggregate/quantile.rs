//! Quantiles within a relative error: DDSketch (Masson, Rim, Lee, "DDSketch: a fast and fully-mergeable quantile sketch with
//! relative-error guarantees", VLDB 2019).
//!
//! A value falls into a bucket by its logarithm; a bucket is so narrow that its middle is within the error of all of it.

mod mapping;
mod store;

pub use mapping::{ERROR_DEFAULT, ERROR_MAX, ERROR_MIN};
pub use store::BUCKETS_MAX;

use crate::value::Value;
use mapping::Mapping;
use store::Store;
use tidemark_schemas::avro::{self, Reader, put_long};

/// Counts by bucket, for either sign, and of what no bucket holds.
///
/// The answer is within the error as long as it is within a certain factor of the largest value of its sign: 10¹⁷ at an
/// error of 0.01, 6·10⁸ at the least error, 0.005. Closer to 0 lies the bucket that the buckets beyond [`BUCKETS_MAX`] have
/// collapsed into; a quantile that falls there is null rather than wrong.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sketch {
    positive: Store,
    /// By magnitude.
    negative: Store,
    /// Zeros and subnormals; negative infinities; positive infinities; NaN, which are larger than all others.
    others: [i64; 4],
}

/// The number that a quantile counts a value as: whole numbers as the nearest double. None for what is no number.
#[inline]
pub(super) fn number(value: Value<'_>) -> Option<f64> {
    match value {
        Value::Long(value) => Some(value as f64),
        Value::Integer(value) => Some(value as f64),
        Value::Double(value) => Some(value),
        Value::Null | Value::Boolean(_) | Value::Text(_) | Value::Bytes(_) | Value::Time(_) => None,
    }
}

impl Sketch {
    #[inline]
    pub(super) fn add(&mut self, value: f64, error: f64) {
        let [zero, lowest, highest, nan] = &mut self.others;
        let count = match value {
            _ if value.is_nan() => nan,
            f64::INFINITY => highest,
            f64::NEG_INFINITY => lowest,
            _ if value.abs() < f64::MIN_POSITIVE => zero,
            _ => {
                let store = if value > 0.0 { &mut self.positive } else { &mut self.negative };
                return store.add(Mapping::new(error).index(value.abs()));
            }
        };
        *count = count.saturating_add(1);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.positive.merge(&other.positive);
        self.negative.merge(&other.negative);
        for (count, more) in self.others.iter_mut().zip(other.others) {
            *count = count.saturating_add(more);
        }
    }

    /// The least value that at least a share `q` of all do not exceed; none of nothing, and where buckets have collapsed.
    pub(super) fn quantile(&self, q: f64, error: f64) -> Option<f64> {
        let [zero, lowest, highest, nan] = self.others.map(i128::from);
        let total = self.positive.total() + self.negative.total() + zero + lowest + highest + nan;
        if total == 0 {
            return None;
        }
        let mut rank = ((total as f64 * q).ceil() as i128).clamp(1, total);
        // The product may be rounded up past a whole number: 0.1 of 30 are 3.
        if rank > 1 && (rank - 1) as f64 / total as f64 >= q {
            rank -= 1;
        }
        let middle = |index| Mapping::new(error).middle(index);
        let negative = self.negative.buckets().rev().map(|(count, index)| (count, index.map(|index| -middle(index))));
        let positive = self.positive.buckets().map(|(count, index)| (count, index.map(middle)));
        let ascending = std::iter::once((lowest, Some(f64::NEG_INFINITY)))
            .chain(negative)
            .chain([(zero, Some(0.0))])
            .chain(positive)
            .chain([(highest, Some(f64::INFINITY)), (nan, Some(f64::from_bits(0x7ff8 << 48)))]);
        let mut below = 0;
        for (count, value) in ascending {
            below += count;
            if rank <= below {
                return value;
            }
        }
        None
    }

    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.positive.bytes() + self.negative.bytes()
    }

    /// Appends both stores, then which of the other counts are not 0, and these.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        self.positive.put(out);
        self.negative.put(out);
        put_long(out, self.others.iter().rev().fold(0, |mask, count| mask << 1 | i64::from(*count > 0)));
        self.others.iter().filter(|count| **count > 0).for_each(|count| put_long(out, *count));
    }

    pub(super) fn get(reader: &mut Reader<'_>) -> Result<Self, avro::Error> {
        let (positive, negative) = (Store::get(reader)?, Store::get(reader)?);
        let mask = reader.long()?;
        if !(0..16).contains(&mask) {
            return Err(avro::Error::Branch(mask));
        }
        let mut others = [0; 4];
        for (count, bit) in others.iter_mut().zip(0..) {
            if mask >> bit & 1 == 1 {
                *count = store::count(reader)?;
            }
        }
        Ok(Self { positive, negative, others })
    }
}
