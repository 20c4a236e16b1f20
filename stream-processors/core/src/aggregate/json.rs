//! JSON text of a value (RFC 8259).

use crate::value::Value;
use std::fmt::Write;

/// Appends a value. Whole numbers have all their digits, also beyond the 2⁵³ that some readers stop at; a timestamp is its
/// milliseconds. NaN and infinities, for which JSON has no number, and bytes, as lowercase hexadecimal digits, are texts.
pub(super) fn put(value: Value<'_>, out: &mut String) {
    // Writing to a string cannot fail.
    let _ = match value {
        Value::Null => write!(out, "null"),
        Value::Boolean(value) => write!(out, "{value}"),
        Value::Long(value) | Value::Time(value) => write!(out, "{value}"),
        Value::Integer(value) => write!(out, "{value}"),
        Value::Double(value) if value.is_nan() => write!(out, "\"NaN\""),
        Value::Double(f64::INFINITY) => write!(out, "\"Infinity\""),
        Value::Double(f64::NEG_INFINITY) => write!(out, "\"-Infinity\""),
        Value::Double(value) => write!(out, "{value:?}"),
        Value::Text(value) => put_text(value, out),
        Value::Bytes(value) => {
            out.push('"');
            let written = value.iter().try_for_each(|byte| write!(out, "{byte:02x}"));
            out.push('"');
            written
        }
    };
}

fn put_text(text: &str, out: &mut String) -> std::fmt::Result {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\0'..='\x1f' => write!(out, "\\u{:04x}", u32::from(c))?,
            _ => out.push(c),
        }
    }
    out.push('"');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_its_json() {
        for (value, json) in [
            (Value::Null, "null"),
            (Value::Boolean(true), "true"),
            (Value::Long(i64::MIN), "-9223372036854775808"),
            (Value::Integer(i128::MAX), "170141183460469231731687303715884105727"),
            (Value::Double(0.1), "0.1"),
            (Value::Double(-1e300), "-1e300"),
            (Value::Double(f64::NAN), "\"NaN\""),
            (Value::Double(f64::NEG_INFINITY), "\"-Infinity\""),
            (Value::Text("a \"b\" \\ \n\u{1} é"), r#""a \"b\" \\ \u000a\u0001 é""#),
            (Value::Bytes(&[0, 171]), "\"00ab\""),
            (Value::Time(12), "12"),
        ] {
            let mut out = String::new();
            put(value, &mut out);
            assert_eq!(out, json);
        }
    }
}
