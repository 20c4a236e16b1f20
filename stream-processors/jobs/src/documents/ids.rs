//! Ids in short form, and ids made of what they name.

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

/// A FileID: SHA-256 of the contents.
pub(super) type File = [u8; 32];

/// From 64 hexadecimal digits in lower case; `None` for anything else.
pub(super) fn file(text: &str) -> Option<File> {
    let mut file = [0; 32];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != file.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in file.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(file)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// As 64 hexadecimal digits.
pub(super) fn file_text(file: &File) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    file.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// From a UUID with hyphens in lower case, as [`uuid_text`] gives it; `None` for anything else, so that two texts are two ids.
pub(super) fn uuid(text: &str) -> Option<u128> {
    let id = Uuid::try_parse(text).ok()?.as_u128();
    (uuid_text(id) == text).then_some(id)
}

pub(super) fn uuid_text(id: u128) -> String {
    Uuid::from_u128(id).hyphenated().to_string()
}

/// A UUID of version 8 (RFC 9562, section 5.8) made of these parts: the same parts give the same id.
pub(super) fn made_of(parts: &[&[u8]]) -> String {
    let mut bytes = Vec::with_capacity(128);
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part);
    }
    uuid::Builder::from_custom_bytes(xxh3_128(&bytes).to_be_bytes()).into_uuid().hyphenated().to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_and_only_their_one_form_is_taken() {
        let text = "00ff10a9".repeat(8);
        assert_eq!(file_text(&file(&text).unwrap()), text);
        for wrong in ["", "00", &text.to_uppercase(), &text.replace('0', "g"), &format!("{text}00"), &text[1..]] {
            assert_eq!(file(wrong), None, "{wrong}");
        }
        let text = "0190c1f0-0000-7000-8000-00000000abcd";
        assert_eq!(uuid_text(uuid(text).unwrap()), text);
        for wrong in ["", "x", &text.to_uppercase(), &text.replace('-', "")] {
            assert_eq!(uuid(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_made_of_other_parts_is_another() {
        let id = made_of(&[b"a", b"bc"]);
        assert_eq!(id, made_of(&[b"a", b"bc"]));
        assert_ne!(id, made_of(&[b"ab", b"c"]));
        assert_eq!(Uuid::try_parse(&id).unwrap().get_version_num(), 8);
    }
}
