//! The text of a document, as its results have it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// Bytes of text that are searched; the rest of a longer document is not.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// Bytes of keywords.
const KEYWORDS_BYTES_MAX: usize = 64 << 10;

#[derive(Deserialize)]
struct Results<'a> {
    #[serde(borrow)]
    steps: BTreeMap<&'a str, &'a RawValue>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
}

#[derive(Deserialize)]
struct Keywords {
    keywords: Value,
}

/// Text (`steps.D3.text`, else `steps.D2.text`) and keywords (`steps.D5.keywords`). Steps of users may be anything: what is not
/// there is not searched.
pub(super) fn of(results: &[u8]) -> String {
    let Ok(Results { steps }) = serde_json::from_slice(results) else { return String::new() };
    let step = |name: &str| steps.get(name).map(|step| step.get());
    let text = |name| serde_json::from_str::<Text>(step(name)?).ok().map(|step| step.text);
    let mut all = text("D3").or_else(|| text("D2")).unwrap_or_default();
    cut(&mut all, TEXT_BYTES_MAX);
    let mut keywords = String::new();
    if let Some(Keywords { keywords: found }) = step("D5").and_then(|step| serde_json::from_str(step).ok()) {
        words(&found, &mut keywords);
        cut(&mut keywords, KEYWORDS_BYTES_MAX);
    }
    all.push('\n');
    all.push_str(&keywords);
    all
}

/// All texts in a list of keywords, whether those are words or objects with one.
fn words(value: &Value, out: &mut String) {
    match value {
        Value::String(word) => {
            out.push_str(word);
            out.push('\n');
        }
        Value::Array(all) => all.iter().for_each(|value| words(value, out)),
        Value::Object(all) => all.values().for_each(|value| words(value, out)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn cut(text: &mut String, bytes_max: usize) {
    text.truncate(text.floor_char_boundary(bytes_max));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_keywords_are_found_and_nothing_else() {
        let results = r#"{"steps":{"D2":{"text":"raw","x":[1]},"D3":{"text":"normal"},
            "D5":{"keywords":[{"word":"ox","count":2},"cart"]},"own":[1,2]}}"#;
        assert_eq!(of(results.as_bytes()), "normal\nox\ncart\n");
        assert_eq!(of(br#"{"steps":{"D2":{"text":"raw"},"D3":7}}"#), "raw\n");
        for other in ["", "[]", "{}", r#"{"steps":{}}"#, r#"{"steps":{"D2":{"text":7}}}"#] {
            assert_eq!(of(other.as_bytes()).trim(), "", "{other}");
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let results = format!(r#"{{"steps":{{"D2":{{"text":"a{}"}}}}}}"#, "ö".repeat(TEXT_BYTES_MAX));
        let text = of(results.as_bytes());
        assert_eq!(text.len(), TEXT_BYTES_MAX, "one byte less, and the line feed");
    }
}
