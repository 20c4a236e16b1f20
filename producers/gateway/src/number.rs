//! JSON numbers, exactly: through a float 9007199254740991.4 would pass for an integer.

use crate::draft::NumberFault;

/// The integer that a JSON number is: `7`, `7.0` and `70e-1` are, `7.5` is not. At most 19 digits.
pub(crate) fn integer(text: &str) -> Result<i64, NumberFault> {
    text.parse().or_else(|_| scaled(text))
}

fn scaled(text: &str) -> Result<i64, NumberFault> {
    let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Ok(0);
    }
    let zeros = (digits.len() - significant.len()) as i64;
    let scale = power(exponent).saturating_sub(fraction.len() as i64).saturating_add(zeros);
    let scale = if scale < 0 {
        return Err(NumberFault::Fraction);
    } else {
        scale
    };
    let value = u32::try_from(scale).ok().and_then(|scale| 10_i64.checked_pow(scale)).and_then(|factor| {
        let value = significant.trim_start_matches('0').parse::<i64>().ok()?.checked_mul(factor)?;
        Some(if negative { -value } else { value })
    });
    value.ok_or(NumberFault::Range)
}

/// An exponent; one that does not fit is as good as the largest.
fn power(text: &str) -> i64 {
    let far = if text.starts_with('-') { i64::MIN / 2 } else { i64::MAX / 2 };
    text.parse().unwrap_or(far)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_exact() {
        for (text, value) in [
            ("0", Ok(0)),
            ("-0.0", Ok(0)),
            ("0e999999999999999999999", Ok(0)),
            ("7.0", Ok(7)),
            ("70e-1", Ok(7)),
            ("1.5E1", Ok(15)),
            ("-2e3", Ok(-2000)),
            ("0.001e3", Ok(1)),
            ("9007199254740991.4", Err(NumberFault::Fraction)),
            ("1e-1", Err(NumberFault::Fraction)),
            ("1.00000000000000000001", Err(NumberFault::Fraction)),
            ("1e-99999999999999999999999", Err(NumberFault::Fraction)),
            ("1e99999999999999999999999", Err(NumberFault::Range)),
            ("92233720368547758070", Err(NumberFault::Range)),
            ("9223372036854775807", Ok(i64::MAX)),
        ] {
            assert_eq!(integer(text), value, "{text}");
        }
    }
}
