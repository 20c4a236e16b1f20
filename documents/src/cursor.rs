//! Where the next page starts, as opaque text: base64url of a checksum and a place in the order of the list.
//!
//! The checksum covers the question too, so that a cursor that was cut, changed or taken from another question is refused.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tidemark_core::table;

use crate::problem::Problem;

/// The longest cursor: 8 bytes, 15 digits and a FileID, in base64, and some room.
const TEXT_BYTES_MAX: usize = 256;

pub(crate) fn encode(place: &str, question: u64) -> String {
    let mut bytes = sum(place, question).to_vec();
    bytes.extend_from_slice(place.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn decode(text: &str, question: u64) -> Result<String, Problem> {
    read(text, question).ok_or_else(|| {
        let rule = "`next` of the page before, with the other parameters as they were";
        Problem::field("cursor", "the cursor is damaged or belongs to another question", rule)
    })
}

fn read(text: &str, question: u64) -> Option<String> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (told, place) = bytes.split_first_chunk::<8>()?;
    let place = String::from_utf8(place.to_vec()).ok()?;
    (*told == sum(&place, question)).then_some(place)
}

fn sum(place: &str, question: u64) -> [u8; 8] {
    table::hash(format!("{question} {place}").as_bytes()).to_be_bytes()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_and_no_other_does() {
        let text = encode("000001700000000abc", 7);
        assert_eq!(decode(&text, 7).unwrap(), "000001700000000abc");
        decode(&text, 8).unwrap_err();
        for i in 0..text.len() {
            let mut other = text.clone().into_bytes();
            other[i] = if other[i] == b'A' { b'B' } else { b'A' };
            decode(std::str::from_utf8(&other).unwrap(), 7).unwrap_err();
            decode(&text[..i], 7).unwrap_err();
        }
    }
}
