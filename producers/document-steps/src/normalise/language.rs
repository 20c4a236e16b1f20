//! Which language a text is in.

use serde_json::{Value, json};

/// The first bytes tell the language; more would only take time.
const READ_MAX: usize = 64 << 10;
/// Below that many letters the statistics of letters say nothing.
const LETTERS_MIN: usize = 24;

/// `{"code", "confidence"}`: ISO 639-3 and 0 to 1 with two decimals; `und` (undetermined, ISO 639-3) and 0 when the text is too short,
/// or like no language more than like another.
pub(super) fn of(text: &str) -> Value {
    let start = text.get(..text.floor_char_boundary(READ_MAX)).unwrap_or_default();
    let letters = start.chars().filter(|c| c.is_alphabetic()).take(LETTERS_MIN).count();
    let known = (letters == LETTERS_MIN).then(|| whatlang::detect(start)).flatten();
    match known {
        Some(known) if known.is_reliable() || known.confidence() > 0.3 => {
            json!({ "code": known.lang().code(), "confidence": (known.confidence() * 100.0).round() / 100.0 })
        }
        _ => json!({ "code": "und", "confidence": 0.0 }),
    }
}
