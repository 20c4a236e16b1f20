//! Decimals, exactly: from digits to the bytes that Avro keeps them in (specification 1.11, "Decimal").

/// Why digits are not a decimal of some precision and scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not a number at all.
    Syntax,
    /// More digits after the point than the scale.
    Scale,
    /// More digits than the precision.
    Precision,
}

/// The unscaled value of `text` (`-12.5`, `1.25e1`), big-endian two's complement, as short as it goes. Nothing is rounded.
pub(super) fn unscaled(text: &str, precision: usize, scale: usize) -> Result<Vec<u8>, Fault> {
    let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).map_or((unsigned, None), |(m, e)| (m, Some(e)));
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(w, f)| (w, Some(f)));
    let digits_only = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits_only(whole) || !fraction.is_none_or(digits_only) {
        return Err(Fault::Syntax);
    }
    let exponent = exponent.map_or(Some(0), power).ok_or(Fault::Syntax)?;
    let fraction = fraction.unwrap_or_default();
    let all = format!("{whole}{fraction}");
    let significant = all.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Ok(vec![0]);
    }
    let zeros = all.len() - all.trim_end_matches('0').len();
    let shift = exponent.saturating_add(signed(zeros) + signed(scale) - signed(fraction.len()));
    let shift = usize::try_from(shift).map_err(|_| Fault::Scale)?;
    if significant.len().saturating_add(shift) > precision {
        return Err(Fault::Precision);
    }
    Ok(twos_complement(magnitude(significant, shift), negative))
}

fn signed(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX / 8)
}

/// An exponent; one that does not fit is as good as a very large one.
fn power(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse().unwrap_or(i64::MAX / 4).min(i64::MAX / 4);
    Some(if negative { -size } else { size })
}

/// `digits` times ten to the `shift`, big-endian without leading zeros. Nine digits at a time.
fn magnitude(digits: &str, shift: usize) -> Vec<u8> {
    let mut limbs: Vec<u32> = Vec::new(); // little-endian
    let padded = digits.bytes().chain(std::iter::repeat_n(b'0', shift));
    let (mut chunk, mut factor) = (0u32, 1u32);
    let mut push = |factor: u32, chunk: u32| {
        let mut carry = u64::from(chunk);
        for limb in &mut limbs {
            let wide = u64::from(*limb) * u64::from(factor) + carry;
            *limb = wide as u32;
            carry = wide >> 32;
        }
        if carry > 0 {
            limbs.push(carry as u32);
        }
    };
    for digit in padded {
        chunk = chunk * 10 + u32::from(digit - b'0');
        factor *= 10;
        if factor == 1_000_000_000 {
            push(factor, chunk);
            (chunk, factor) = (0, 1);
        }
    }
    push(factor, chunk);
    let bytes: Vec<u8> = limbs.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect();
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}

fn twos_complement(mut bytes: Vec<u8>, negative: bool) -> Vec<u8> {
    if bytes.first().is_none_or(|first| *first >= 0x80) {
        bytes.insert(0, 0);
    }
    if negative {
        let mut carry = true;
        for byte in bytes.iter_mut().rev() {
            let (sum, over) = (!*byte).overflowing_add(u8::from(carry));
            (*byte, carry) = (sum, over);
        }
        // -128 is 0x80, which has no need of the 0xff before it.
        let redundant = matches!(bytes.as_slice(), [0xff, second, ..] if *second >= 0x80);
        if redundant {
            bytes.remove(0);
        }
    }
    bytes
}

/// As wide as a fixed of `size` bytes; `None` if it does not fit.
pub(super) fn widened(bytes: &[u8], size: usize) -> Option<Vec<u8>> {
    let fill = if bytes.first().is_some_and(|first| *first >= 0x80) { 0xff } else { 0 };
    let missing = size.checked_sub(bytes.len())?;
    Some(std::iter::repeat_n(fill, missing).chain(bytes.iter().copied()).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tidemark_schemas::avro::{Avro, Reader};

    #[test]
    fn nothing_is_rounded() {
        for (text, precision, scale, found) in [
            ("12.5", 4, 2, Ok(vec![0x04, 0xe2])),
            ("1.25e1", 4, 2, Ok(vec![0x04, 0xe2])),
            ("-0.00", 4, 2, Ok(vec![0])),
            ("0e99999999999999999999", 4, 2, Ok(vec![0])),
            ("-1.28", 4, 2, Ok(vec![0x80])),
            ("1.28", 4, 2, Ok(vec![0, 0x80])),
            ("-1.29", 4, 2, Ok(vec![0xff, 0x7f])),
            ("0.001", 4, 2, Err(Fault::Scale)),
            ("1e-99999999999999999999", 4, 2, Err(Fault::Scale)),
            ("100", 4, 2, Err(Fault::Precision)),
            ("1e99999999999999999999", 4, 2, Err(Fault::Precision)),
            ("12,5", 4, 2, Err(Fault::Syntax)),
            ("", 4, 2, Err(Fault::Syntax)),
            (".5", 4, 2, Err(Fault::Syntax)),
            ("1.", 4, 2, Err(Fault::Syntax)),
            ("1e", 4, 2, Err(Fault::Syntax)),
            ("NaN", 4, 2, Err(Fault::Syntax)),
        ] {
            assert_eq!(unscaled(text, precision, scale), found, "{text}");
        }
        assert_eq!(widened(&[0x80], 3), Some(vec![0xff, 0xff, 0x80]));
        assert_eq!(widened(&[0, 0x80], 1), None);
    }

    proptest! {
        /// Against the other encoder of this project, which knows 128 bits.
        #[test]
        fn bytes_are_those_of_the_number(n: i128) {
            let mut expected = Vec::new();
            n.put(&mut expected);
            let bytes = unscaled(&n.to_string(), 40, 0).unwrap();
            prop_assert_eq!(&bytes, Reader::new(&expected).bytes().unwrap());
        }
    }
}
