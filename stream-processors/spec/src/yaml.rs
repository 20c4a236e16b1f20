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
    /// Where each of its characters stands in the file, and where it ends.
    places: Vec<At>,
}

impl Scalar {
    /// A text at a place.
    pub(crate) fn at(text: impl Into<String>, at: At) -> Self {
        Self { text: text.into(), plain: false, places: vec![at] }
    }

    /// Where the character of this number stands.
    pub fn place(&self, character: usize) -> At {
        self.places.get(character).or(self.places.last()).copied().unwrap_or_default()
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
                (Err(_), Ok(double))
                    if double.is_finite() && number.starts_with(|c: char| c.is_ascii_digit() || c == '-') =>
                {
                    double.into()
                }
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
    let lines = text.split('\n').map(|line| line.trim_end_matches('\r').chars().collect()).collect();
    let mut reader = Reader { parser: Parser::new_from_str(text), lines };
    reader.document()
}

struct Reader<'t> {
    parser: Parser<'t, saphyr_parser::StrInput<'t>>,
    lines: Vec<Vec<char>>,
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
            let fix = "put an expression that begins with `!` in quotes; leave a tag out";
            return Err(Problem::new(place, "tags (`!`) are not read").fix(fix));
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
        let mut source =
            Walk { lines: &self.lines, line: at.line.saturating_sub(1), column: at.column.saturating_sub(1) };
        match style {
            ScalarStyle::Plain => {}
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => source.column += 1,
            // The parser names the line below the sign.
            ScalarStyle::Literal | ScalarStyle::Folded => source.column = 0,
        }
        let mut places: Vec<At> = text.chars().map(|character| source.find(character, style)).collect();
        places.push(source.at());
        Scalar { text, plain: style == ScalarStyle::Plain, places }
    }
}

/// A way over the lines of a file along the text of a scalar, whose line breaks may be folded and whose characters escaped.
struct Walk<'w> {
    lines: &'w [Vec<char>],
    /// From 0.
    line: usize,
    /// From 0.
    column: usize,
}

impl Walk<'_> {
    fn at(&self) -> At {
        At { line: self.line + 1, column: self.column + 1 }
    }

    /// The rest of the line.
    fn rest(&self) -> &[char] {
        self.lines.get(self.line).and_then(|line| line.get(self.column..)).unwrap_or_default()
    }

    fn next(&self) -> Option<char> {
        self.rest().first().copied()
    }

    /// Goes to where the next character that is no white space stands, if there is one.
    fn skip_space(&mut self) {
        while self.rest().iter().all(|c| c.is_whitespace()) && self.line + 1 < self.lines.len() {
            (self.line, self.column) = (self.line + 1, 0);
        }
        self.column += self.rest().iter().take_while(|c| c.is_whitespace()).count();
    }

    /// Where the next character of the text stands; goes on behind it.
    fn find(&mut self, character: char, style: ScalarStyle) -> At {
        let escapes = style == ScalarStyle::DoubleQuoted;
        // A line that ends in a backslash goes on in the next.
        while escapes && self.next() == Some('\\') && self.rest().len() == 1 {
            (self.line, self.column) = (self.line + 1, 0);
            self.skip_space();
        }
        if character.is_whitespace() && !(escapes && self.next() == Some('\\')) {
            let at = self.at();
            // Of a break that is folded one space or line break is left, of what stands around it nothing.
            self.column += usize::from(!self.rest().iter().all(|c| c.is_whitespace()));
            return at;
        }
        self.skip_space();
        let at = self.at();
        self.column += match (style, self.next(), self.rest().get(1)) {
            (ScalarStyle::DoubleQuoted, Some('\\'), Some('x')) => 4,
            (ScalarStyle::DoubleQuoted, Some('\\'), Some('u')) => 6,
            (ScalarStyle::DoubleQuoted, Some('\\'), Some('U')) => 10,
            (ScalarStyle::DoubleQuoted, Some('\\'), _) | (ScalarStyle::SingleQuoted, Some('\''), _) => 2,
            _ => 1,
        };
        at
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

    /// In every style each character is where the file has it, whatever comes after.
    #[test]
    fn characters_know_where_they_stand() {
        for scalar in [
            "one two",
            "one\n    two three\n\n    four",
            "'it''s\n    two ''x'' three'",
            "\"a\\tb \\u0041c\\\\ d\n    e \\\n    f\\x20g\"",
            "|\n    one &&\n      two\n\n    three",
            "|2-\n  one &&\n  two",
            ">\n    one &&\n    two\n\n    three",
            ">-  # a comment\n    one\n      two\n    three",
        ] {
            for (before, after) in
                [("", ""), ("x: 1\n", "\n"), ("x: |\n  y\n\n", "\nz: 1\n"), ("", "\n\n# end\nz: 1\n")]
            {
                let file = format!("{before}e: {scalar}{after}");
                let node = parse(&file).unwrap_or_else(|problem| panic!("{file}: {problem:?}"));
                let Data::Map(entries) = &node.data else { panic!() };
                let found = entries.iter().find(|(key, _)| key.name == "e").unwrap().1.scalar().unwrap();
                let mut last = At::default();
                for (n, character) in found.text.chars().enumerate().filter(|(_, c)| !c.is_whitespace()) {
                    let at = found.place(n);
                    let line = file.lines().nth(at.line - 1).unwrap_or_else(|| panic!("{file}: {at:?}"));
                    let there: String = line.chars().skip(at.column - 1).collect();
                    let same = there.starts_with(character) || (there.starts_with("\\u0041") && character == 'A');
                    assert!(same && at > last, "{file}: {character} of {:?} is not at {at:?}", found.text);
                    last = at;
                }
            }
        }
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
