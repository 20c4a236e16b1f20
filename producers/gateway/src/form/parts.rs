//! Values with parts: records, arrays, maps, unions.

use std::borrow::Cow;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use tidemark_schemas::avro::{put_bytes, put_long};
use tidemark_schemas::near;

use super::Record;
use super::encode::{Encoder, Text};
use crate::json::kind;
use crate::rule::{Rule, shown};

/// Names of a list that are told.
const NAMES_TOLD: usize = 20;

impl<'f> Encoder<'f> {
    pub(super) fn record(&mut self, record: &'f Record, text: &str, out: &mut Vec<u8>, depth: usize) {
        if let Some(slots) = self.slots(record, text) {
            for (field, value) in record.fields.iter().zip(&slots) {
                self.field(field, *value, out, depth + 1);
            }
        }
    }

    /// The values of a record's fields, as they came.
    pub(super) fn slots<'a>(&mut self, record: &'f Record, text: &'a str) -> Option<Vec<Option<&'a str>>> {
        if !self.spend(record.fields.len()) {
            return None;
        }
        if !text.starts_with('{') {
            let rule = if self.path.is_empty() { Rule::Object } else { Rule::Type };
            let found = kind(text);
            self.wrong(rule, |path| format!("{path} is {found}, not an object"), || "send a JSON object".to_owned());
            return None;
        }
        let entries = self.entries(text)?;
        let mut slots = vec![None; record.fields.len()];
        for (name, value) in entries {
            match record.by_name.get(&*name).and_then(|at| slots.get_mut(*at)) {
                Some(slot) if slot.is_some() => self.twice(&name),
                Some(slot) => *slot = Some(value),
                None => self.unknown(record, &name),
            }
        }
        Some(slots)
    }

    /// The keys and values of an object.
    fn entries<'a>(&mut self, text: &'a str) -> Option<Vec<(Cow<'a, str>, &'a str)>> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let read = reader.deserialize_map(Entries).and_then(|entries| reader.end().map(|()| entries));
        read.map_err(|error| self.malformed(&error)).ok()
    }

    pub(super) fn malformed(&mut self, error: &serde_json::Error) {
        let fix = || "send one valid JSON object per record".to_owned();
        self.wrong(Rule::Malformed, |path| format!("{path} is not JSON: {error}"), fix);
    }

    fn twice(&mut self, name: &str) {
        let name = shown(name);
        self.under(
            |path| push_name(path, &name),
            |encoder| {
                let why = |path: &str| format!("{path} is there more than once");
                encoder.wrong(Rule::DuplicateField, why, || "send each name once".to_owned());
            },
        );
    }

    fn unknown(&mut self, record: &Record, name: &str) {
        let names = || record.fields.iter().map(|field| field.name.as_str());
        let told = shown(name);
        let hint = self.guess(name, names());
        let fix = || {
            let list: Vec<&str> = names().take(NAMES_TOLD).collect();
            let more = if record.fields.len() > NAMES_TOLD { " and others" } else { "" };
            format!("{hint}allowed are {}{more}", list.join(", "))
        };
        self.under(
            |path| push_name(path, &told),
            |encoder| {
                encoder.wrong(Rule::UnknownField, |_| format!("no field is called {told:?}"), fix);
            },
        );
    }

    /// `did you mean X? `, or nothing.
    pub(super) fn guess<'n>(&mut self, name: &str, names: impl Iterator<Item = &'n str>) -> String {
        if self.guesses == 0 {
            return String::new();
        }
        self.guesses -= 1;
        near::hint(name, names)
    }

    pub(super) fn array(&mut self, items: usize, text: &str, out: &mut Vec<u8>, depth: usize) {
        if !text.starts_with('[') {
            let found = kind(text);
            return self.wrong(
                Rule::Type,
                |path| format!("{path} is {found}, not an array"),
                || "send an array".to_owned(),
            );
        }
        let elements: Vec<&RawValue> = match serde_json::from_str(text) {
            Ok(elements) => elements,
            Err(error) => return self.malformed(&error),
        };
        put_count(elements.len(), out);
        for (at, element) in elements.iter().enumerate() {
            self.under(
                |path| path.push_str(&format!("[{at}]")),
                |encoder| {
                    encoder.value(items, element.get(), out, depth + 1);
                },
            );
            if self.left == 0 {
                return;
            }
        }
        if !elements.is_empty() {
            put_long(out, 0);
        }
    }

    pub(super) fn map(&mut self, values: usize, text: &str, out: &mut Vec<u8>, depth: usize) {
        if !text.starts_with('{') {
            let found = kind(text);
            return self.wrong(
                Rule::Type,
                |path| format!("{path} is {found}, not an object"),
                || "send an object".to_owned(),
            );
        }
        let Some(entries) = self.entries(text) else {
            return;
        };
        put_count(entries.len(), out);
        let mut seen = std::collections::HashSet::with_capacity(entries.len());
        for (key, value) in &entries {
            if !seen.insert(key) {
                self.twice(key);
            }
            put_bytes(out, key.as_bytes());
            self.under(
                |path| path.push_str(&format!("[\"{}\"]", shown(key))),
                |encoder| {
                    encoder.value(values, value, out, depth + 1);
                },
            );
            if self.left == 0 {
                return;
            }
        }
        if !entries.is_empty() {
            put_long(out, 0);
        }
    }

    /// The first branch that takes the value. Of one alone that could, what is wrong with the value is told.
    pub(super) fn union(&mut self, node: usize, branches: &[usize], text: &str, out: &mut Vec<u8>, depth: usize) {
        let form = self.form;
        let fitting: Vec<(usize, usize)> =
            branches.iter().copied().enumerate().filter(|(_, branch)| form.node(*branch).takes(text)).collect();
        let start = (out.len(), self.bad, self.findings.len());
        for (at, branch) in &fitting {
            put_long(out, i64::try_from(*at).unwrap_or(0));
            // No deeper: it is the same value, and no union stands right in a union.
            self.value(*branch, text, out, depth);
            if self.bad == start.1 || fitting.len() == 1 || self.left == 0 {
                return;
            }
            out.truncate(start.0);
            self.bad = start.1;
            self.findings.truncate(start.2);
        }
        let (found, wanted) = (shown(text), form.told(node));
        let rule = if fitting.is_empty() { Rule::Type } else { Rule::Branch };
        self.wrong(rule, |path| format!("{path} is {found}, which is not {wanted}"), || format!("send {wanted}"));
    }
}

fn push_name(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

fn put_count(count: usize, out: &mut Vec<u8>) {
    put_long(out, i64::try_from(count).unwrap_or(i64::MAX));
}

struct Entries;

impl<'a> Visitor<'a> for Entries {
    type Value = Vec<(Cow<'a, str>, &'a str)>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((Text(name), value)) = map.next_entry::<Text<'a>, &'a RawValue>()? {
            entries.push((name, value.get()));
        }
        Ok(entries)
    }
}
