//! The exact sum of whole numbers.

use super::rounding;
use tidemark_schemas::avro::{self, Reader, put_bytes, put_long};

/// A sum of 160 bits, and for means how many values it has.
///
/// It cannot overflow before 2⁹⁵ values of 64 bits, or 2³² values of 128 bits, have been added; beyond that it is the sum
/// modulo 2¹⁶⁰, which keeps even a sum of forged bytes independent of order. Packed, so that a state takes 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(Rust, packed(4))]
pub struct Whole {
    low: u128,
    top: i32,
    /// 0 in a sum.
    count: i64,
}

const BYTES: usize = 20;

impl Whole {
    /// One value; `count` is 1 in a mean, 0 in a sum.
    #[inline]
    pub(super) fn add(&mut self, value: i128, count: i64) {
        self.plus(value as u128, if value < 0 { -1 } else { 0 }, count);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.plus(other.low, other.top, other.count);
    }

    #[inline]
    fn plus(&mut self, low: u128, top: i32, count: i64) {
        let (sum, carry) = self.low.overflowing_add(low);
        self.low = sum;
        self.top = self.top.wrapping_add(top).wrapping_add(i32::from(carry));
        self.count = self.count.saturating_add(count);
    }

    pub(super) fn count(&self) -> i64 {
        self.count
    }

    /// The sum; none when 128 bits cannot hold it, which only values of 128 bits can bring about.
    pub(super) fn sum(&self) -> Option<i128> {
        let low = self.low as i128;
        (self.top == if low < 0 { -1 } else { 0 }).then_some(low)
    }

    /// The sum by the count, rounded once to the nearest double, ties to even.
    pub(super) fn mean(&self) -> f64 {
        let negative = self.top < 0;
        // 128 bits of fraction below the sum: more than enough for the quotient's 53 bits, the count having 63.
        let mut digits = [0u32; 9];
        for (digit, bytes) in digits.iter_mut().skip(4).zip(self.magnitude().chunks_exact(4)) {
            *digit = bytes.iter().rev().fold(0, |digit, byte| digit << 8 | u32::from(*byte));
        }
        let inexact = rounding::divide(&mut digits, self.count.unsigned_abs().max(1));
        rounding::nearest(negative, &digits, -128, inexact)
    }

    /// Little-endian, 160 bits.
    fn magnitude(&self) -> [u8; BYTES] {
        let (low, top) = (self.low, self.top);
        let (low, top) = match top < 0 {
            true => ((!low).wrapping_add(1), (!top).wrapping_add(i32::from(low == 0))),
            false => (low, top),
        };
        little_endian(low, top)
    }

    /// Appends the sum as big-endian two's complement, as short as it goes, at most 20 bytes; then the count of a mean.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let mut bytes = little_endian(self.low, self.top);
        bytes.reverse();
        let fill = if self.top < 0 { 0xff } else { 0 };
        let redundant = bytes.windows(2).take_while(|w| matches!(w, [a, b] if *a == fill && (b ^ fill) < 0x80)).count();
        put_bytes(out, bytes.get(redundant..).unwrap_or(&bytes));
        if self.count > 0 {
            put_long(out, self.count);
        }
    }

    pub(super) fn get(reader: &mut Reader<'_>, mean: bool) -> Result<Self, avro::Error> {
        let bytes = reader.bytes()?;
        let fill = if bytes.first().is_some_and(|byte| *byte >= 0x80) { 0xff } else { 0u8 };
        let padding = BYTES.checked_sub(bytes.len()).ok_or(avro::Error::Decimal(bytes.len()))?;
        let (mut low, mut top) = (0u128, 0u32);
        for (at, byte) in std::iter::repeat_n(fill, padding).chain(bytes.iter().copied()).enumerate() {
            match at {
                0..4 => top = top << 8 | u32::from(byte),
                _ => low = low << 8 | u128::from(byte),
            }
        }
        let count = if mean { reader.long()? } else { 0 };
        if count < i64::from(mean) {
            return Err(avro::Error::Length(count));
        }
        Ok(Self { low, top: top as i32, count })
    }
}

fn little_endian(low: u128, top: i32) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    for (to, from) in bytes.iter_mut().zip(low.to_le_bytes().into_iter().chain(top.to_le_bytes())) {
        *to = from;
    }
    bytes
}
