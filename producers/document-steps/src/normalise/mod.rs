//! D3: the language of a text and its normal form.

mod form;
mod language;

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What D3 needs of D2's output.
#[derive(Debug, Deserialize)]
pub(crate) struct Input {
    text: String,
    title: Option<String>,
    author: Option<String>,
    pages: Option<u64>,
    #[serde(default)]
    truncated: bool,
}

pub(crate) fn run(input: Input) -> Value {
    let normal = form::normal(&input.text);
    let mut output = Map::new();
    for (name, value) in [("title", input.title), ("author", input.author)] {
        if let Some(value) = value {
            output.insert(name.into(), value.into());
        }
    }
    if let Some(pages) = input.pages {
        output.insert("pages".into(), pages.into());
    }
    output.insert("language".into(), language::of(&normal.text));
    output.insert("counts".into(), counts(&normal.text));
    output.insert(
        "changed".into(),
        json!({
            "controls_removed": normal.controls,
            "soft_hyphens_removed": normal.soft_hyphens,
            "words_joined": normal.joined,
        }),
    );
    output.insert("truncated".into(), input.truncated.into());
    output.insert("text".into(), normal.text.into());
    Value::Object(output)
}

fn counts(text: &str) -> Value {
    json!({
        "characters": text.chars().count(),
        "words": words(text),
        "lines": text.lines().count(),
        "paragraphs": text.split("\n\n").filter(|paragraph| !paragraph.is_empty()).count(),
    })
}

/// Words: what stands between white space and holds a letter or digit.
pub(crate) fn words(text: &str) -> usize {
    text.split_whitespace().filter(|word| word.chars().any(char::is_alphanumeric)).count()
}
