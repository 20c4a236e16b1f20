//! Values of columns: as JSON, as text, and from text.

use serde::ser::{Error as _, Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;
use tidemark_views::{Column, Kind, Row, Value};

use crate::instant;

/// A value as it is written in CSV, in names and in cursors' questions. Nothing for a null; doubles that are no number too,
/// as in JSON.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Text(text) | Value::Json(text) => text.clone(),
        Value::Long(n) => n.to_string(),
        Value::Integer(n) => n.to_string(),
        Value::Double(n) if n.is_finite() => n.to_string(),
        Value::Double(_) => String::new(),
        Value::Boolean(b) => b.to_string(),
        Value::Time(ms) => instant::rfc3339(*ms),
    }
}

/// A value of a clustering column from what somebody wrote; `Err` says what is wanted.
pub(crate) fn parse(kind: Kind, text: &str) -> Result<Value, &'static str> {
    match kind {
        Kind::Text | Kind::Json => Ok(Value::Text(text.to_owned())),
        Kind::Long => text.parse().map(Value::Long).map_err(|_| "a whole number of 64 bits"),
        Kind::Integer => text.parse().map(Value::Integer).map_err(|_| "a whole number"),
        Kind::Double => text.parse().map(Value::Double).map_err(|_| "a number"),
        Kind::Boolean => text.parse().map(Value::Boolean).map_err(|_| "`true` or `false`"),
        Kind::Time => instant::parse(text)
            .map(Value::Time)
            .ok_or("RFC 3339 such as 2026-11-21T03:00:00Z, or milliseconds since 1970"),
    }
}

/// A value as JSON: whole numbers with all their digits, instants in RFC 3339, JSON as it is; `null` for what is missing and for
/// doubles that JSON has no number for.
struct Json<'a>(&'a Value);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => to.serialize_unit(),
            Value::Text(text) => to.serialize_str(text),
            Value::Long(n) => to.serialize_i64(*n),
            Value::Integer(n) => to.serialize_i128(*n),
            Value::Double(n) => to.serialize_f64(*n),
            Value::Boolean(b) => to.serialize_bool(*b),
            Value::Time(ms) => to.serialize_str(&instant::rfc3339(*ms)),
            Value::Json(text) => match serde_json::from_str::<&RawValue>(text) {
                Ok(json) => json.serialize(to),
                // Better a text that can be looked at than a page that cannot be had.
                Err(_) => to.serialize_str(text),
            },
        }
    }
}

/// A row as a JSON object: its window, then its columns by name.
pub(crate) struct RowJson<'a> {
    pub(crate) key: &'a [Column],
    pub(crate) values: &'a [Column],
    pub(crate) row: &'a Row,
    /// None of a session, whose columns say it.
    pub(crate) window: Option<[i64; 2]>,
}

impl Serialize for RowJson<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let row = self.row;
        if row.clustering.len() != self.key.len() || row.values.len() != self.values.len() {
            return Err(S::Error::custom("a row has other columns than its view"));
        }
        let mut map = to.serialize_map(None)?;
        if let Some([start, end]) = self.window {
            map.serialize_entry("window_start", &instant::rfc3339(start))?;
            map.serialize_entry("window_end", &instant::rfc3339(end))?;
        }
        let columns = self.key.iter().zip(&row.clustering).chain(self.values.iter().zip(&row.values));
        for (column, value) in columns {
            map.serialize_entry(&column.name, &Json(value))?;
        }
        map.end()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn values_as_json_and_text() {
        let cases = [
            (Value::Null, "null", ""),
            (Value::Text("a\"b".into()), r#""a\"b""#, "a\"b"),
            (Value::Long(i64::MIN), "-9223372036854775808", "-9223372036854775808"),
            (
                Value::Integer(i128::MAX),
                "170141183460469231731687303715884105727",
                "170141183460469231731687303715884105727",
            ),
            (Value::Double(0.1), "0.1", "0.1"),
            (Value::Double(f64::NAN), "null", ""),
            (Value::Double(f64::NEG_INFINITY), "null", ""),
            (Value::Boolean(true), "true", "true"),
            (Value::Time(1_795_230_000_000), r#""2026-11-21T03:00:00Z""#, "2026-11-21T03:00:00Z"),
            (
                Value::Json(r#"[{"z":18446744073709551616,"a":1}]"#.into()),
                r#"[{"z":18446744073709551616,"a":1}]"#,
                r#"[{"z":18446744073709551616,"a":1}]"#,
            ),
            (Value::Json("[oops".into()), r#""[oops""#, "[oops"),
        ];
        for (value, json, plain) in cases {
            assert_eq!(serde_json::to_string(&Json(&value)).unwrap(), json, "{value:?}");
            assert_eq!(text(&value), plain, "{value:?}");
        }
    }

    #[test]
    fn keys_come_from_text() {
        let values =
            [Value::Text("".into()), Value::Long(-7), Value::Integer(1 << 70), Value::Boolean(false), Value::Time(5)];
        for value in values {
            assert_eq!(parse(value.kind().unwrap(), &text(&value)), Ok(value));
        }
        assert_eq!(parse(Kind::Long, "x"), Err("a whole number of 64 bits"));
        assert_eq!(parse(Kind::Boolean, "1"), Err("`true` or `false`"));
    }
}
