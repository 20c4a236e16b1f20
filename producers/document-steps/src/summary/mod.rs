//! D5: figures, keywords and an extract.

mod keywords;
mod sentences;
mod stop_words;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::normalise::words;

/// Words that people read in a minute (Brysbaert 2019, "How many words do we read per minute?": English, not fiction).
const WORDS_PER_MINUTE: usize = 238;
/// The most characters of an extract.
const EXTRACT_MAX: usize = 300;

/// What D5 needs of D4's output.
#[derive(Debug, Deserialize)]
pub(crate) struct Input {
    text: String,
    language: Value,
    facts: Map<String, Value>,
    title: Option<String>,
    pages: Option<u64>,
    #[serde(default)]
    truncated: bool,
}

pub(crate) fn run(input: Input) -> Value {
    let language = input.language.get("code").and_then(Value::as_str).unwrap_or("und");
    let keywords = keywords::of(&input.text, language);
    let counts: Map<_, _> = keywords.iter().map(|(word, count)| (word.clone(), (*count).into())).collect();
    let words_only: Vec<_> = keywords.into_iter().map(|(word, _)| word).collect();
    let sentences = sentences::of(&input.text);
    let mut output = Map::new();
    if let Some(title) = input.title {
        output.insert("title".into(), title.into());
    }
    output.insert("figures".into(), figures(&input.text, sentences.len(), input.pages, &input.facts));
    output.insert("keywords".into(), words_only.into());
    output.insert("keyword_counts".into(), counts.into());
    output.insert("extract".into(), extract(&input.text, &sentences).into());
    output.insert("language".into(), input.language);
    output.insert("truncated".into(), input.truncated.into());
    Value::Object(output)
}

fn figures(text: &str, sentences: usize, pages: Option<u64>, facts: &Map<String, Value>) -> Value {
    let words = words(text);
    let found = |kind: &Value| kind.get("found").and_then(Value::as_array).map_or(0, Vec::len);
    let facts: Map<_, _> = facts.iter().map(|(kind, facts)| (kind.clone(), found(facts).into())).collect();
    let mut figures = json!({
        "characters": text.chars().count(),
        "words": words,
        "sentences": sentences,
        "reading_seconds": (words * 60).div_ceil(WORDS_PER_MINUTE),
        "facts": facts,
    });
    if let (Some(pages), Some(fields)) = (pages, figures.as_object_mut()) {
        fields.insert("pages".into(), pages.into());
    }
    figures
}

/// The first whole sentences that fit; where none does, the start of the text up to a word's end, with an ellipsis.
fn extract(text: &str, sentences: &[&str]) -> String {
    let mut extract = String::new();
    for sentence in sentences {
        let sentence = flat(sentence, EXTRACT_MAX + 1);
        let separate = usize::from(!extract.is_empty());
        if extract.chars().count() + separate + sentence.chars().count() > EXTRACT_MAX {
            break;
        }
        extract.extend([" "].iter().take(separate).copied());
        extract.push_str(&sentence);
    }
    if extract.is_empty() { start(sentences.first().copied().unwrap_or(text)) } else { extract }
}

fn start(text: &str) -> String {
    let flat = flat(text, EXTRACT_MAX + 1);
    if flat.chars().count() <= EXTRACT_MAX {
        return flat;
    }
    let short: String = flat.chars().take(EXTRACT_MAX - 1).collect();
    // A text without spaces is cut where it must be.
    let end = short.rfind(' ').unwrap_or(short.len());
    format!("{}…", short.get(..end).unwrap_or_default().trim_end_matches([',', ';', ':', '.']))
}

/// The first characters on one line.
fn flat(text: &str, characters: usize) -> String {
    let mut flat = String::new();
    for word in text.split_whitespace() {
        if flat.len() > 4 * characters {
            break;
        }
        if !flat.is_empty() {
            flat.push(' ');
        }
        flat.push_str(word);
    }
    flat.chars().take(characters).collect()
}
