//! Where the next page starts, as opaque text.
//!
//! base64url of: checksum (8 bytes) and an Avro-encoded position. The checksum covers the question too, so that a cursor that
//! was cut, changed or taken from another question is refused. It is no secret: a cursor made by hand reads no more than a
//! question may.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tidemark_schemas::avro::{Avro, Reader};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::problem::Problem;

/// The longest cursor: three keys of 256 bytes and what is around them, in base64.
const TEXT_BYTES_MAX: usize = 2_048;

/// After which row, or at which hour, to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    /// Start of the hour.
    pub(crate) start: i64,
    /// The last key that is done within it; empty if none is.
    pub(crate) after: Vec<String>,
}

impl Position {
    /// As text, for the question with that fingerprint.
    pub(crate) fn encode(&self, question: u64) -> String {
        let mut body = vec![];
        self.start.put(&mut body);
        self.after.put(&mut body);
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
        let position = Self { start: Avro::get(&mut reader).ok()?, after: Avro::get(&mut reader).ok()? };
        reader.finish().ok()?;
        Some(position)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_and_no_other_does() {
        let position = Position { start: 3_600_000, after: vec!["a".into(), "é".into(), "".into()] };
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
