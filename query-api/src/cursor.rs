//! Where the next page starts, as opaque text.
//!
//! base64url of: checksum (8 bytes) and an Avro-encoded position. The checksum covers the question too, so that a cursor that
//! was cut, changed or taken from another question is refused. It is no secret: a cursor made by hand reads no more than a
//! question may.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_views::Value;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::problem::Problem;

/// The longest cursor: the longest key that a view holds, 30,000 bytes, and what is around it, in base64.
const TEXT_BYTES_MAX: usize = 42_000;

/// After which row, or at which window, to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    /// The version of the view that the first page was of; 0 where there is but one.
    pub(crate) version: u32,
    /// Start of the window.
    pub(crate) start: i64,
    /// The last key that is done within it; empty if none is.
    pub(crate) after: Vec<Value>,
}

impl Position {
    /// As text, for the question with that fingerprint.
    pub(crate) fn encode(&self, question: u64) -> String {
        let mut body = vec![];
        i64::from(self.version).put(&mut body);
        self.start.put(&mut body);
        self.after.iter().map(put).collect::<Vec<String>>().put(&mut body);
        let mut bytes = xxh3_64_with_seed(&body, question).to_be_bytes().to_vec();
        bytes.extend(body);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// From text.
    pub(crate) fn decode(text: &str, question: u64) -> Result<Self, Problem> {
        Self::read(text, question).ok_or_else(|| {
            let fix = "take `next` of the page before as it is, and leave the other parameters as they were";
            Problem::parameter("cursor", "the cursor is damaged or belongs to another question", fix)
        })
    }

    fn read(text: &str, question: u64) -> Option<Self> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (sum, body) = bytes.split_first_chunk::<8>()?;
        if *sum != xxh3_64_with_seed(body, question).to_be_bytes() {
            return None;
        }
        let mut reader = Reader::new(body);
        let version = u32::try_from(<i64 as Avro>::get(&mut reader).ok()?).ok()?;
        let start = Avro::get(&mut reader).ok()?;
        let after = <Vec<&str> as Avro>::get(&mut reader).ok()?;
        reader.finish().ok()?;
        Some(Self { version, start, after: after.into_iter().map(take).collect::<Option<_>>()? })
    }
}

/// A value of a key as a letter for its kind, and its text.
fn put(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("t{text}"),
        Value::Long(n) => format!("l{n}"),
        Value::Integer(n) => format!("i{n}"),
        Value::Boolean(b) => format!("b{b}"),
        Value::Time(ms) => format!("m{ms}"),
        // In no key.
        Value::Null | Value::Double(_) | Value::Json(_) => String::new(),
    }
}

fn take(text: &str) -> Option<Value> {
    let (kind, rest) = text.split_at_checked(1)?;
    match kind {
        "t" => Some(Value::Text(rest.to_owned())),
        "l" => rest.parse().ok().map(Value::Long),
        "i" => rest.parse().ok().map(Value::Integer),
        "b" => rest.parse().ok().map(Value::Boolean),
        "m" => rest.parse().ok().map(Value::Time),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_and_no_other_does() {
        let text = |text: &str| Value::Text(text.into());
        let numbers = [Value::Long(-1), Value::Integer(i128::MIN), Value::Boolean(true), Value::Time(7)];
        let after = [text("a"), text("é"), text("")].into_iter().chain(numbers).collect();
        let position = Position { version: 3, start: 3_600_000, after };
        let text = position.encode(7);
        assert_eq!(Position::decode(&text, 7).unwrap(), position);
        assert!(Position::decode(&text, 8).is_err(), "another question");
        for i in 0..text.len() {
            let mut other = text.clone().into_bytes();
            other[i] = if other[i] == b'A' { b'B' } else { b'A' };
            assert!(Position::decode(std::str::from_utf8(&other).unwrap(), 7).is_err(), "byte {i}");
            assert!(Position::decode(&text[..i], 7).is_err(), "cut at {i}");
        }
    }
}
