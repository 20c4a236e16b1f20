//! D4: the facts found in a text, each with its place.
//!
//! `{"facts": {kind: {"found": [{"at", "text", …}], "more"}}}`: `at` is the character offset in the text of this output, from 0; `text` what
//! stands there; in the order of the text, at most [`FOUND_MAX`] of a kind, with `more` true when there are more.

mod addresses;
pub(crate) mod amounts;
mod coordinates;
mod dates;
pub(crate) mod months;
mod numbers;

use std::ops::Range;

use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::fault::{Fault, failed};

/// The most facts of a kind that are told.
const FOUND_MAX: usize = 1_000;

/// D3's output: what D4 needs of it, and passes on.
#[derive(Debug, Deserialize)]
pub(crate) struct Input {
    text: String,
    language: Value,
    title: Option<String>,
    pages: Option<u64>,
    #[serde(default)]
    truncated: bool,
}

/// A fact at a range of bytes of the text: fields by name.
struct Fact {
    at: Range<usize>,
    fields: Vec<(&'static str, Value)>,
}

pub(crate) fn run(input: Input) -> Result<Value, Fault> {
    let language = input.language.get("code").and_then(Value::as_str).unwrap_or("und");
    let text = input.text.as_str();
    let facts = json!({
        "dates": told(text, dates::find(text, language)?),
        "amounts": told(text, amounts::find(text)?),
        "emails": told(text, addresses::emails(text)?),
        "urls": told(text, addresses::urls(text)?),
        "coordinates": told(text, coordinates::find(text)?),
    });
    let mut output = Map::new();
    output.insert("facts".into(), facts);
    output.insert("language".into(), input.language);
    if let Some(title) = input.title {
        output.insert("title".into(), title.into());
    }
    if let Some(pages) = input.pages {
        output.insert("pages".into(), pages.into());
    }
    output.insert("truncated".into(), input.truncated.into());
    output.insert("text".into(), input.text.into());
    Ok(Value::Object(output))
}

/// Facts in the order of the text; of two that overlap the first and longer.
fn in_order(mut facts: Vec<Fact>) -> Vec<Fact> {
    facts.sort_by_key(|fact| (fact.at.start, std::cmp::Reverse(fact.at.end)));
    let mut end = 0;
    facts.retain(|fact| {
        let apart = fact.at.start >= end;
        end = if apart { fact.at.end } else { end };
        apart
    });
    facts
}

fn told(text: &str, mut facts: Vec<Fact>) -> Value {
    let more = facts.len() > FOUND_MAX;
    facts.truncate(FOUND_MAX);
    let (mut byte, mut character) = (0, 0);
    let mut found = Vec::with_capacity(facts.len());
    for fact in facts {
        character += text.get(byte..fact.at.start).unwrap_or_default().chars().count();
        byte = fact.at.start;
        let mut entry = Map::new();
        entry.insert("at".into(), character.into());
        entry.insert("text".into(), text.get(fact.at).unwrap_or_default().into());
        entry.extend(fact.fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
        found.push(Value::Object(entry));
    }
    json!({ "found": found, "more": more })
}

/// Longer texts are read by the patterns at once, which costs less than a look for each name.
const LOOK_BYTES_MAX: usize = 64 << 10;

/// A pattern of ours; that it does not compile is a defect, not the document's fault.
fn pattern(pattern: &str) -> Result<Regex, Fault> {
    Regex::new(pattern).map_err(|error| failed(format!("a pattern of D4 is wrong: {error}")))
}

/// Whether so many bytes in a row are as wanted, somewhere in the text.
fn has<const N: usize>(text: &str, wanted: impl Fn(&[u8; N]) -> bool) -> bool {
    text.as_bytes().windows(N).any(|window| window.first_chunk().is_some_and(&wanted))
}

fn are_digits(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_digit)
}

/// Whether what is before and after a range goes on with it: a letter or digit, or a sign between digits.
fn stands_alone(text: &str, at: &Range<usize>) -> bool {
    let before = text.get(..at.start).and_then(|before| before.chars().next_back());
    let mut after = text.get(at.end..).unwrap_or_default().chars();
    let goes_on = match (after.next(), after.next()) {
        (Some('.' | ',' | '/' | '-' | ':'), Some(next)) => next.is_ascii_digit(),
        (Some(next), _) => next.is_alphanumeric(),
        (None, _) => false,
    };
    !goes_on && !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | ',' | '/' | '-' | '_'))
}
