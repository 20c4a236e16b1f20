//! JSON bodies: one object, an array of objects, or one object per line.
//!
//! Values are read from their own text ([`RawValue`]), so that numbers stay exact and a wrong type is a finding about a
//! field instead of the end of the whole body. Reading is iterative: depth costs no stack.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tidemark_schemas::near;

use crate::batch::{Collector, RECORDS_MAX};
use crate::draft::{Draft, FIELDS, Raw};
use crate::number;
use crate::problem::{Kind, Problem};
use crate::rule::{Finding, Rule, shown};

/// Deepest nesting of arrays and objects that is read. A flow record needs 2.
pub(crate) const DEPTH_MAX: usize = 16;

/// Takes the records of a body, each as the text that it is.
pub(crate) trait Records {
    /// Deepest nesting that a record may have.
    const DEPTH_MAX: usize;

    /// Takes a record; fails when the whole request is to be refused.
    fn take(&mut self, text: &str, line: Option<usize>) -> Result<(), Problem>;
}

/// Flows.
impl Records for Collector<'_> {
    const DEPTH_MAX: usize = DEPTH_MAX;

    fn take(&mut self, text: &str, line: Option<usize>) -> Result<(), Problem> {
        self.add(record(text), line)
    }
}

/// Reads an object or an array of objects.
pub(crate) fn read<R: Records>(text: &str, records: &mut R) -> Result<(), Problem> {
    if depth(text) > R::DEPTH_MAX {
        return Err(too_deep::<R>("the body"));
    }
    if text.trim_ascii_start().starts_with('[') {
        for element in elements(text)? {
            records.take(element.get(), None)?;
        }
        return Ok(());
    }
    let whole: &RawValue = serde_json::from_str(text).map_err(|error| malformed(&error))?;
    records.take(whole.get(), None)
}

/// Reads one object per line; blank lines are skipped, the last line may lack its end.
pub(crate) fn read_lines<R: Records>(text: &str, records: &mut R) -> Result<(), Problem> {
    for (at, line) in text.split('\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        if depth(line) > R::DEPTH_MAX {
            return Err(too_deep::<R>(&format!("line {}", at + 1)));
        }
        records.take(line, Some(at + 1))?;
    }
    Ok(())
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(Kind::MalformedBody, format!("not JSON: {error}; nothing was accepted, send valid JSON"))
}

fn too_deep<R: Records>(place: &str) -> Problem {
    let detail = format!("{place} nests arrays or objects deeper than {}; send flatter records", R::DEPTH_MAX);
    Problem::new(Kind::TooDeep, detail)
}

/// Deepest nesting of brackets outside strings.
fn depth(text: &str) -> usize {
    let (mut now, mut deepest, mut quoted, mut escaped) = (0usize, 0usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'[' | b'{' => {
                now += 1;
                deepest = deepest.max(now);
            }
            b']' | b'}' => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The elements of an array, at most one more than may be in a request.
fn elements(text: &str) -> Result<Vec<&RawValue>, Problem> {
    let mut found = Vec::new();
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = Elements(&mut found).deserialize(&mut reader).and_then(|()| reader.end());
    match read {
        Err(error) if found.len() <= RECORDS_MAX => Err(malformed(&error)),
        _ => Ok(found),
    }
}

struct Elements<'v, 'a>(&'v mut Vec<&'a RawValue>);

impl<'a> DeserializeSeed<'a> for Elements<'_, 'a> {
    type Value = ();
    fn deserialize<D: Deserializer<'a>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_seq(self)
    }
}

impl<'a> Visitor<'a> for Elements<'_, 'a> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of records")
    }
    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(element) = seq.next_element()? {
            self.0.push(element);
            if self.0.len() > RECORDS_MAX {
                return Err(A::Error::custom("too many records"));
            }
        }
        Ok(())
    }
}

/// One record.
fn record(text: &str) -> Result<Draft<'_>, Finding> {
    let malformed = |error: serde_json::Error| {
        let message = format!("not JSON: {error}");
        Finding::whole(Rule::Malformed, message, "send one valid JSON object per record")
    };
    if !text.trim_ascii_start().starts_with('{') {
        let found = serde_json::from_str::<&RawValue>(text).map_err(malformed)?;
        let message = format!("the record is {}, not an object", kind(found.get()));
        return Err(Finding::whole(Rule::Object, message, "send one JSON object per record"));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let draft = reader.deserialize_map(Fields).map_err(malformed)?;
    reader.end().map_err(malformed)?;
    Ok(draft)
}

/// Text of JSON, borrowed unless it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

struct Fields;

impl<'a> Visitor<'a> for Fields {
    type Value = Draft<'a>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }
    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Draft<'a>, A::Error> {
        let mut draft = Draft::default();
        let mut seen: u8 = 0;
        while let Some((Text(name), value)) = map.next_entry::<Text<'a>, &'a RawValue>()? {
            let Some(at) = FIELDS.iter().position(|field| *field == name) else {
                draft.find(|| unknown(&name));
                continue;
            };
            if seen & (1 << at) != 0 {
                draft.find(|| duplicate(&name));
            }
            seen |= 1 << at;
            let raw = value_of(value.get()).map_err(A::Error::custom)?;
            if let Some(slot) = draft.slot(&name) {
                *slot = raw;
            }
        }
        Ok(draft)
    }
}

fn value_of(text: &str) -> serde_json::Result<Raw<'_>> {
    Ok(match text.as_bytes().first() {
        Some(b'"') => Raw::Text(serde_json::from_str::<Text<'_>>(text)?.0),
        Some(b'-' | b'0'..=b'9') => {
            number::integer(text).map_or_else(|fault| Raw::Number(Cow::Borrowed(text), fault), Raw::Integer)
        }
        Some(b'n') => Raw::Absent,
        _ => Raw::Other(kind(text)),
    })
}

/// What a JSON value is called, going by its first byte.
pub(crate) fn kind(text: &str) -> &'static str {
    match text.trim_ascii_start().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "text",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

fn unknown(name: &str) -> Finding {
    let fix = format!("{}allowed are {}", near::hint(name, FIELDS.into_iter()), FIELDS.join(", "));
    Finding::of(&shown(name), Rule::UnknownField, format!("no field is called {:?}", shown(name)), fix)
}

fn duplicate(name: &str) -> Finding {
    Finding::of(name, Rule::DuplicateField, format!("{name} is there more than once"), "send each field once")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_outside_strings() {
        for (text, deepest) in [("{}", 1), (r#"{"a":"[[[[","b":[]}"#, 2), (r#""\"[[""#, 0), ("[[]][[[", 3)] {
            assert_eq!(depth(text), deepest, "{text}");
        }
    }
}
