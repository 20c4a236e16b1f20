//! From JSON to Avro, by a form. Values are read from their own text, so that numbers stay exact; each object and array is walked
//! once, its parts then again: depth times length is the most that reading costs.

use std::borrow::Cow;

use serde::Deserialize;
use uuid::Uuid;

use super::{DEPTH_MAX, Field, Form, Node, VALUES_MAX};
use crate::rule::{Finding, Rule};

/// Findings kept of one event.
const FINDINGS_MAX: usize = 20;
/// Names that are guessed at in one body: more than are ever listed, and each costs a walk over all that there are.
const GUESSES_MAX: usize = 500;

/// Reads the events of one body.
pub(crate) struct Encoder<'f> {
    pub(super) form: &'f Form,
    /// Where in the event, for people: `items[2].price`.
    pub(super) path: String,
    pub(super) findings: Vec<Finding>,
    /// Findings, those not kept included.
    pub(super) bad: usize,
    /// Values that may still be looked at in this body.
    pub(super) left: usize,
    /// Names that may still be guessed at in this body.
    pub(super) guesses: usize,
}

/// The body has more values than are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany;

/// Text of JSON, borrowed unless it has escapes.
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl<'f> Encoder<'f> {
    pub(crate) fn new(form: &'f Form) -> Self {
        Self { form, path: String::new(), findings: Vec::new(), bad: 0, left: VALUES_MAX, guesses: GUESSES_MAX }
    }

    /// Appends the event that `text` is, with `id` if it has none of its own; gives its id and what is wrong with it. On findings a
    /// part of it may have been appended.
    pub(crate) fn event(&mut self, text: &str, id: Uuid, out: &mut Vec<u8>) -> Result<(Uuid, Vec<Finding>), TooMany> {
        self.path.clear();
        self.bad = 0;
        let id = self.root(text, id, out);
        if self.left == 0 {
            return Err(TooMany);
        }
        Ok((id, std::mem::take(&mut self.findings)))
    }

    pub(super) fn find(&mut self, finding: impl FnOnce() -> Finding) {
        self.bad += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding());
        }
    }

    /// A finding about the value at this path.
    pub(super) fn wrong(&mut self, rule: Rule, why: impl FnOnce(&str) -> String, fix: impl FnOnce() -> String) {
        let path = self.path.clone();
        self.find(|| match path.as_str() {
            "" => Finding::whole(rule, why("the record"), fix()),
            path => Finding::of(path, rule, why(path), fix()),
        });
    }

    pub(super) fn under<T>(&mut self, part: impl FnOnce(&mut String), walk: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.path.len();
        part(&mut self.path);
        let walked = walk(self);
        self.path.truncate(before);
        walked
    }

    pub(super) fn spend(&mut self, values: usize) -> bool {
        self.left = self.left.saturating_sub(values);
        self.left > 0
    }

    pub(super) fn field(&mut self, field: &Field, value: Option<&str>, out: &mut Vec<u8>, depth: usize) {
        let name = |path: &mut String| {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&field.name);
        };
        self.under(name, |encoder| match (value, &field.absent) {
            (Some(value), _) => encoder.value(field.node, value, out, depth),
            (None, Some(absent)) => out.extend_from_slice(absent),
            (None, None) => {
                let wanted = encoder.form.told(field.node);
                encoder.wrong(Rule::Missing, |path| format!("{path} is missing"), || format!("send {wanted}"));
            }
        });
    }

    pub(super) fn value(&mut self, node: usize, text: &str, out: &mut Vec<u8>, depth: usize) {
        if !self.spend(1) {
            return;
        }
        if depth > DEPTH_MAX {
            return self.wrong(
                Rule::Type,
                |path| format!("{path} nests too deep"),
                || format!("nest at most {DEPTH_MAX} levels"),
            );
        }
        let form = self.form;
        match form.node(node) {
            Node::Record(record) => self.record(record, text, out, depth),
            Node::Array(items) => self.array(*items, text, out, depth),
            Node::Map(values) => self.map(*values, text, out, depth),
            Node::Union(branches) => self.union(node, branches, text, out, depth),
            _ => self.leaf(node, text, out),
        }
    }
}
