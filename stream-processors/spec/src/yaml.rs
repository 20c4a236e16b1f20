//! YAML as a tree that knows where each part stands.
//!
//! Stricter than YAML where a job file would mean something else than it says: a key that stands twice, anchors, tags and several
//! documents are refused. Limits: [`BYTES_MAX`], [`DEPTH_MAX`].

use crate::problem::{At, Problem};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

/// Longest file, bytes.
pub const BYTES_MAX: usize = 256 * 1024;
/// Deepest nesting.
pub const DEPTH_MAX: usize = 32;

/// A part of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it begins.
    pub at: At,
    /// What it is.
    pub data: Data,
}

/// What a part of a file is.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// A text, a number, a word.
    Scalar(Scalar),
    /// `- item` lines, or `[a, b]`.
    List(Vec<Node>),
    /// `key: value` lines, or `{key: value}`, in the file's order.
    Map(Vec<(Key, Node)>),
}

/// A key of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Where it stands.
    pub at: At,
    /// Its text.
    pub name: String,
}

/// A text, a number, a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    /// Its text, quotes taken off.
    pub text: String,
    /// Not in quotes: `1`, `true` and `null` are not texts.
    pub plain: bool,
    /// Where each line of the text stands in the file.
    lines: Vec<At>,
}

impl Scalar {
    /// A text at a place.
    pub(crate) fn at(text: impl Into<String>, at: At) -> Self {
        Self { text: text.into(), plain: false, lines: vec![at] }
    }

    /// Where the character of this number stands.
    pub fn place(&self, character: usize) -> At {
        let before: String = self.text.chars().take(character).collect();
        let line = before.matches('\n').count().min(self.lines.len().saturating_sub(1));
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count());
        let at = self.lines.get(line).copied().unwrap_or_default();
        At { column: at.column + column, ..at }
    }
}

impl Node {
    /// A text at a place.
    pub(crate) fn text(text: impl Into<String>, at: At) -> Self {
        Self { at, data: Data::Scalar(Scalar::at(text, at)) }
    }

    /// [`Node::json`] the other way round: of what stands nowhere.
    pub(crate) fn of_json(json: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        let at = At::default();
        let data = match json {
            Json::String(text) => Data::Scalar(Scalar::at(text, at)),
            Json::Array(items) => Data::List(items.iter().map(Self::of_json).collect()),
            Json::Object(entries) => {
                let entry = |(name, json): (&String, &Json)| (Key { at, name: name.clone() }, Self::of_json(json));
                Data::Map(entries.iter().map(entry).collect())
            }
            plain @ (Json::Null | Json::Bool(_) | Json::Number(_)) => {
                Data::Scalar(Scalar { plain: true, ..Scalar::at(plain.to_string(), at) })
            }
        };
        Self { at, data }
    }

    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match &self.data {
            Data::Scalar(scalar) if scalar.plain && scalar.text.is_empty() => "nothing",
            Data::Scalar(_) => "a single value",
            Data::List(_) => "a list",
            Data::Map(_) => "a map",
        }
    }

    /// Its scalar.
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.data {
            Data::Scalar(scalar) => Some(scalar),
            Data::List(_) | Data::Map(_) => None,
        }
    }

    /// As JSON: plain scalars that look like numbers, booleans or null are those.
    pub fn json(&self) -> serde_json::Value {
        match &self.data {
            Data::Scalar(scalar) => scalar.json(),
            Data::List(items) => items.iter().map(Self::json).collect(),
            Data::Map(entries) => {
                serde_json::Value::Object(entries.iter().map(|(k, v)| (k.name.clone(), v.json())).collect())
            }
        }
    }
}

impl Scalar {
    fn json(&self) -> serde_json::Value {
        let text = || serde_json::Value::String(self.text.clone());
        if !self.plain {
            return text();
        }
        match self.text.as_str() {
            "" | "null" | "~" => serde_json::Value::Null,
            "true" => true.into(),
            "false" => false.into(),
            number => match (number.parse::<i64>(), number.parse::<f64>()) {
                (Ok(whole), _) => whole.into(),
                (Err(_), Ok(double)) if number.starts_with(|c: char| c.is_ascii_digit() || c == '-') => double.into(),
                _ => text(),
            },
        }
    }
}

/// Reads a file of one document.
///
/// # Errors
/// It is not YAML, or not of the kind that is read here.
pub fn parse(text: &str) -> Result<Node, Problem> {
    if text.len() > BYTES_MAX {
        return Err(Problem::new(
            At { line: 1, column: 1 },
            format!("the file has {} bytes; at most {BYTES_MAX} are read", text.len()),
        ));
    }
    let mut reader = Reader { parser: Parser::new_from_str(text), text };
    reader.document()
}

struct Reader<'t> {
    parser: Parser<'t, saphyr_parser::StrInput<'t>>,
    text: &'t str,
}

fn at(marker: &Marker) -> At {
    At { line: marker.line(), column: marker.col() + 1 }
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, At), Problem> {
        let end = || Problem::new(At::default(), "the file ends in the middle");
        let (event, span) = self
            .parser
            .next_event()
            .ok_or_else(end)?
            .map_err(|error| Problem::new(at(error.marker()), format!("this is not YAML: {}", error.info())))?;
        let place = at(&span.start);
        let (anchor, tag) = match &event {
            Event::Scalar(_, _, anchor, tag) => (*anchor, tag.is_some()),
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => (*anchor, tag.is_some()),
            Event::Alias(_) => (1, false),
            _ => (0, false),
        };
        if anchor != 0 {
            return Err(Problem::new(place, "anchors (`&`) and aliases (`*`) are not read").fix("write the value out"));
        }
        if tag {
            return Err(Problem::new(place, "tags (`!`) are not read").fix("leave it out"));
        }
        Ok((event, place))
    }

    fn document(&mut self) -> Result<Node, Problem> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => {
                    return Err(Problem::new(At { line: 1, column: 1 }, "the file is empty"));
                }
                (Event::StreamStart | Event::DocumentStart(_), _) => {}
                (event, at) => {
                    let node = self.node(event, at, 0)?;
                    return self.ended().map(|()| node);
                }
            }
        }
    }

    fn ended(&mut self) -> Result<(), Problem> {
        loop {
            match self.next()? {
                (Event::DocumentEnd, _) => {}
                (Event::StreamEnd, _) => return Ok(()),
                (_, at) => return Err(Problem::new(at, "a second document begins").fix("one job to a file")),
            }
        }
    }

    fn node(&mut self, event: Event<'t>, at: At, depth: usize) -> Result<Node, Problem> {
        if depth > DEPTH_MAX {
            return Err(Problem::new(at, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        let data = match event {
            Event::Scalar(text, style, ..) => Data::Scalar(self.scalar_of(text.into_owned(), style, at)),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break Data::List(items),
                        (event, at) => items.push(self.node(event, at, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => self.map(depth)?,
            other => return Err(Problem::new(at, format!("{other:?} is not expected here"))),
        };
        Ok(Node { at, data })
    }

    fn map(&mut self, depth: usize) -> Result<Data, Problem> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Data::Map(entries)),
                (Event::Scalar(text, ..), at) => Key { at, name: text.into_owned() },
                (_, at) => return Err(Problem::new(at, "a key must be a single word")),
            };
            if let Some((first, _)) = entries.iter().find(|(known, _)| known.name == key.name) {
                let what = format!("`{}` stands twice, first in line {}", key.name, first.at.line);
                return Err(Problem::new(key.at, what).fix("keep one of them"));
            }
            let (event, at) = self.next()?;
            let value = self.node(event, at, depth + 1)?;
            entries.push((key, value));
        }
    }

    fn scalar_of(&self, text: String, style: ScalarStyle, at: At) -> Scalar {
        let lines = match style {
            ScalarStyle::Plain => vec![at],
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => vec![At { column: at.column + 1, ..at }],
            ScalarStyle::Literal | ScalarStyle::Folded => {
                let below = self.text.lines().enumerate().skip(at.line);
                let indented = |(line, text): (usize, &str)| At {
                    line: line + 1,
                    column: text.chars().take_while(|c| *c == ' ').count() + 1,
                };
                below.take(text.lines().count().max(1)).map(indented).collect()
            }
        };
        Scalar { text, plain: style == ScalarStyle::Plain, lines }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn parts_know_where_they_stand() {
        let node = parse("a: 1\nb:\n  - x\n  - 'y z'\nc: |\n  one\n  two\n").unwrap();
        let Data::Map(entries) = &node.data else { panic!() };
        let (key, list) = &entries[1];
        assert_eq!((key.name.as_str(), key.at), ("b", At { line: 2, column: 1 }));
        let Data::List(items) = &list.data else { panic!() };
        assert_eq!(items[1].scalar().unwrap().place(2), At { line: 4, column: 8 });
        assert_eq!(entries[2].1.scalar().unwrap().place(5), At { line: 7, column: 4 });
        assert_eq!(node.json(), serde_json::json!({"a": 1, "b": ["x", "y z"], "c": "one\ntwo\n"}));
    }

    #[test]
    fn what_would_be_misread_is_refused() {
        let deep = format!("a: {}{}", "[".repeat(40), "]".repeat(40));
        let long = " ".repeat(BYTES_MAX + 1);
        for (text, why) in [
            ("a: 1\na: 2", "stands twice"),
            ("a: &x 1\nb: *x", "anchors"),
            ("a: !!str 1", "tags"),
            ("a: 1\n---\nb: 2", "second document"),
            ("a: [1", "not YAML"),
            ("", "empty"),
            (deep.as_str(), "nested deeper"),
            (long.as_str(), "bytes"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.what.contains(why), "{text}: {problem:?}");
        }
    }
}
