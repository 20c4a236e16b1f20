//! The exact sum of doubles, independent of order.

use super::rounding;
use smallvec::SmallVec;
use tidemark_schemas::avro::{self, Avro, Reader, put_long};

/// A bucket for every 32 binary exponents.
const STEP: u32 = 32;
/// A double's exponent takes one of 2046 places above the least, 2⁻¹⁰⁷⁴.
const BUCKETS: u32 = 2046u32.div_ceil(STEP);

/// `sum · 2^(32 at - 1074)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(Rust, packed(8))]
struct Bucket {
    sum: i128,
    at: u32,
}

/// A sparse superaccumulator (R. M. Neal, "Fast exact summation using small and large superaccumulators", 2015, without its
/// carries): the significand of a double is added, shifted by its exponent modulo 32, to the bucket of its exponent by 32.
///
/// Buckets are integers that no carry ever leaves, so each is a function of the values alone; one that comes to 0 is taken
/// out. 84 bits of 127 are one value's: 2⁴³ additions (at a million a second, 100 days) cannot overflow. Beyond, buckets wrap:
/// wrong, yet the same in every order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Exact {
    /// In the order of `at`, none 0. Two inside: the values of most fields are within 2⁶⁴ of each other.
    buckets: SmallVec<[Bucket; 2]>,
    /// 0 in a sum.
    count: i64,
    /// Which values came that are no numbers to add: [`NAN`], [`POSITIVE`] and [`NEGATIVE`] infinity.
    flags: u8,
}

const NAN: u8 = 1;
const POSITIVE: u8 = 2;
const NEGATIVE: u8 = 4;

impl Exact {
    /// One value; `count` is 1 in a mean, 0 in a sum.
    #[inline]
    pub(super) fn add(&mut self, value: f64, count: i64) {
        self.count = self.count.saturating_add(count);
        let bits = value.to_bits();
        let (exponent, fraction) = ((bits >> 52) as u32 & 0x7ff, bits & ((1 << 52) - 1));
        if exponent == 0x7ff {
            self.flags |= if value.is_nan() {
                NAN
            } else if value > 0.0 {
                POSITIVE
            } else {
                NEGATIVE
            };
            return;
        }
        // Subnormals have no leading bit, and the exponent of the smallest normals.
        let (place, significand) = match exponent {
            0 => (0, fraction),
            _ => (exponent - 1, fraction | 1 << 52),
        };
        let part = i128::from(significand) << (place % STEP);
        self.plus(place / STEP, if value < 0.0 { -part } else { part });
    }

    pub(super) fn merge(&mut self, other: &Self) {
        other.buckets.iter().for_each(|bucket| self.plus(bucket.at, bucket.sum));
        self.count = self.count.saturating_add(other.count);
        self.flags |= other.flags;
    }

    #[inline]
    fn plus(&mut self, at: u32, part: i128) {
        let next = self.buckets.iter().position(|bucket| bucket.at >= at).unwrap_or(self.buckets.len());
        match self.buckets.get_mut(next).filter(|bucket| bucket.at == at) {
            Some(bucket) => {
                bucket.sum = bucket.sum.wrapping_add(part);
                if bucket.sum == 0 {
                    self.buckets.remove(next);
                }
            }
            None if part != 0 => self.buckets.insert(next, Bucket { at, sum: part }),
            None => {}
        }
    }

    pub(super) fn count(&self) -> i64 {
        self.count
    }

    /// The sum, rounded once to the nearest double, ties to even; infinite where it is larger than any. NaN when a NaN or both
    /// infinities were added. A sum of 0 is +0, whatever the signs of its zeros.
    pub(super) fn sum(&self) -> f64 {
        self.quotient(1)
    }

    /// The exact sum by the count, rounded once: finite even where the sum is not.
    pub(super) fn mean(&self) -> f64 {
        self.quotient(self.count.unsigned_abs().max(1))
    }

    fn quotient(&self, by: u64) -> f64 {
        match self.flags {
            0 => {}
            POSITIVE => return f64::INFINITY,
            NEGATIVE => return f64::NEG_INFINITY,
            _ => return f64::from_bits(0x7ff8 << 48),
        }
        // Four digits of fraction keep 64 bits of the quotient even of the least double by the largest count.
        const FRACTION: usize = 4;
        let mut digits = [0u32; FRACTION + BUCKETS as usize + 4];
        let negative = self.carry(&mut digits, FRACTION);
        let inexact = rounding::divide(&mut digits, by);
        rounding::nearest(negative, &digits, rounding::LEAST - 32 * FRACTION as i32, inexact)
    }

    /// Writes the magnitude from digit `from` on and gives its sign. Four digits above the last bucket hold what it carries.
    fn carry(&self, digits: &mut [u32], from: usize) -> bool {
        let mut carry = 0i128;
        let mut buckets = self.buckets.iter().peekable();
        for (digit, at) in digits.iter_mut().skip(from).zip(0u32..) {
            let sum = buckets.next_if(|bucket| bucket.at == at).map_or(0, |bucket| bucket.sum);
            // In halves: a forged sum of 127 bits plus a carry would overflow.
            let low = (sum & 0xffff_ffff) + (carry & 0xffff_ffff);
            *digit = low as u32;
            carry = (sum >> 32) + (carry >> 32) + (low >> 32);
        }
        if carry < 0 {
            let mut one = true;
            for digit in digits.iter_mut().skip(from) {
                (*digit, one) = (!*digit).overflowing_add(u32::from(one));
            }
        }
        carry < 0
    }

    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + if self.buckets.spilled() { self.buckets.capacity() * size_of::<Bucket>() } else { 0 }
    }

    /// Appends flags, number of buckets, each with its place after the one before, and the count of a mean.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_long(out, i64::from(self.flags));
        put_long(out, self.buckets.len() as i64);
        let mut after = 0;
        for bucket in &self.buckets {
            put_long(out, i64::from(bucket.at - after));
            { bucket.sum }.put(out);
            after = bucket.at;
        }
        if self.count > 0 {
            put_long(out, self.count);
        }
    }

    pub(super) fn get(reader: &mut Reader<'_>, mean: bool) -> Result<Self, avro::Error> {
        let flags = reader.long()?;
        let flags = u8::try_from(flags).ok().filter(|flags| *flags < 8).ok_or(avro::Error::Branch(flags))?;
        let mut exact = Self { flags, ..Self::default() };
        let buckets = reader.long()?;
        if !(0..=i64::from(BUCKETS)).contains(&buckets) {
            return Err(avro::Error::Length(buckets));
        }
        let mut at = 0;
        for n in 0..buckets {
            let gap = reader.long()?;
            let gap = u32::try_from(gap).ok().filter(|gap| *gap < BUCKETS && (n == 0 || *gap > 0));
            at += gap.ok_or(avro::Error::Integer)?;
            let sum = i128::get(reader)?;
            if at >= BUCKETS || sum == 0 {
                return Err(avro::Error::Integer);
            }
            exact.buckets.push(Bucket { sum, at });
        }
        exact.count = if mean { reader.long()? } else { 0 };
        if exact.count < i64::from(mean) {
            return Err(avro::Error::Length(exact.count));
        }
        Ok(exact)
    }
}
