//! `join`: the tables that records are joined with.

use super::Placed;
use super::read::Reader;
use crate::near;
use crate::problem::{At, Problem};
use crate::yaml::{Data, Key, Node, Scalar};

/// Most tables of a job: each is held in memory.
const JOINS_MAX: usize = 8;
/// Keys of a join.
const KEYS: &[&str] = &["table", "key", "on", "time"];

/// A table that records are joined with.
#[derive(Debug, Clone, PartialEq)]
pub struct Join {
    /// Where its name stands.
    pub at: At,
    /// What its fields are called by: `name.field`.
    pub name: String,
    /// Topic with the table's records.
    pub table: Placed<String>,
    /// Their field that is the table's key.
    pub key: Placed<String>,
    /// What a record of the stream is looked up by.
    pub on: Scalar,
    /// Their field that is the event time; their append time when there is none.
    pub time: Option<Placed<String>>,
}

impl Reader {
    pub(super) fn joins(&mut self, node: Option<&Node>) -> Vec<Join> {
        let Some(node) = node else { return Vec::new() };
        let Data::Map(entries) = &node.data else {
            let what = format!("`join` is a map of names and tables, not {}", node.kind());
            self.fail(
                Problem::new(node.at, what).fix("write `partner: {table: TOPIC, key: FIELD, on: EXPRESSION}` under it"),
            );
            return Vec::new();
        };
        if let Some((beyond, _)) = entries.get(JOINS_MAX) {
            self.fail(Problem::new(beyond.at, format!("more than {JOINS_MAX} tables: each is held in memory")));
        }
        entries.iter().filter_map(|(key, node)| self.join(key, node)).collect()
    }

    fn join(&mut self, key: &Key, node: &Node) -> Option<Join> {
        let path = format!("join.{}", key.name);
        let Data::Map(entries) = &node.data else {
            let what = format!("`{path}` is a map of {}, not {}", KEYS.join(", "), node.kind());
            self.fail(Problem::new(node.at, what));
            return None;
        };
        for (key, _) in entries.iter().filter(|(key, _)| !KEYS.contains(&key.name.as_str())) {
            let what = format!("there is no key `{}` under `{path}`", key.name);
            self.fail(Problem::new(key.at, what).fix(near::advice(&key.name, KEYS.iter().copied())));
        }
        let get = |name: &str| entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node);
        let mut given = |name: &str, fix: &str| match get(name) {
            Some(node) => self.text(node, &format!("{path}.{name}")),
            None => {
                self.fail(Problem::new(key.at, format!("`{path}.{name}` is missing")).fix(fix));
                None
            }
        };
        let table = given("table", "name the topic that has the table's records");
        let of_table = given("key", "name the field of the table's records that is its key");
        let on = given("on", "write what a record is looked up by, for example `on: partner_id`");
        let time = get("time").map(|node| self.text(node, &format!("{path}.time")));
        let on = on.and_then(|_| get("on")?.scalar().cloned());
        let (name, at) = (key.name.clone(), key.at);
        let named = self.name(&name, at);
        let join = Join { at, name, table: table?, key: of_table?, on: on?, time: time.flatten() };
        named.then_some(join)
    }
}
