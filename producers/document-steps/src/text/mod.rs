//! D2: the text of a document, with title, author and pages where they are known.

mod decode;
mod docx;
mod html;
pub(crate) mod pdf;
mod plain;
mod xml;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::fault::{Fault, failed};
use crate::input::Context;

/// The most bytes of text, as UTF-8, that are taken from a document; what is more is cut off and said so. Written as JSON it at most
/// doubles, because control characters are dropped: half of what a step may give.
pub const TEXT_MAX: usize = 8 << 20;
/// The most characters of a title and of an author.
const TITLE_MAX: usize = 500;

/// What D2 needs of D1's output.
#[derive(Debug, Deserialize)]
pub(crate) struct Input {
    #[serde(rename = "type")]
    kind: String,
    encoding: Option<String>,
}

/// The text as it grows, up to [`TEXT_MAX`].
#[derive(Debug, Default)]
pub(crate) struct Text {
    text: String,
    truncated: bool,
    title: Option<String>,
    author: Option<String>,
    pages: Option<u64>,
}

impl Text {
    /// Adds to the text, without control characters other than tab and line ends.
    fn push(&mut self, more: &str) {
        for c in more.chars() {
            self.push_char(c);
        }
    }

    fn push_char(&mut self, c: char) {
        if c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{c}') {
            return;
        }
        if self.truncated || self.text.len() + c.len_utf8() > TEXT_MAX {
            self.truncated = true;
            return;
        }
        self.text.push(c);
    }

    /// Begins a new line, unless one has just begun.
    fn line(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.push_char('\n');
        }
    }

    fn full(&self) -> bool {
        self.truncated
    }

    fn cut(&mut self) {
        self.truncated = true;
    }
}

pub(crate) fn run(input: Input, context: &Context) -> Result<Value, Fault> {
    let text = match input.kind.as_str() {
        "application/pdf" => pdf::read(context)?,
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => docx::read(context)?,
        "text/html" => html::read(context, input.encoding.as_deref())?,
        "text/plain" => plain::read(context, input.encoding.as_deref())?,
        other => return Err(failed(format!("the type {other:?} in the input is none that D1 gives"))),
    };
    Ok(output(input.kind, text))
}

fn output(kind: String, text: Text) -> Value {
    let mut output = Map::new();
    output.insert("type".into(), kind.into());
    for (name, value) in [("title", text.title), ("author", text.author)] {
        if let Some(value) = value.and_then(|value| tidy(&value)) {
            output.insert(name.into(), value.into());
        }
    }
    if let Some(pages) = text.pages {
        output.insert("pages".into(), pages.into());
    }
    output.insert("characters".into(), text.text.chars().count().into());
    output.insert("truncated".into(), text.truncated.into());
    output.insert("text".into(), text.text.into());
    Value::Object(output)
}

/// A title or author on one line; none when nothing is left of it.
fn tidy(value: &str) -> Option<String> {
    let words: Vec<_> =
        value.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    let tidy: String = words.join(" ").chars().take(TITLE_MAX).collect();
    (!tidy.is_empty()).then_some(tidy)
}
