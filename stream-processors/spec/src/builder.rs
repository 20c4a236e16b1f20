//! Jobs whose fold is in Rust: the keys of a job file as methods, and a [`Fold`] in the place of `aggregate`.
//!
//! The methods make the tree that a file is parsed to, and from there everything is the same: names, defaults, checks and what
//! is said of mistakes, with the place in the Rust file where the method was called.
//!
//! `examples/access-log/peaks.rs` is a whole job with its test.

use crate::compile::{InRust, Topics, compile_tree};
use crate::fold::{Fold, FromValues, Put, ToColumn, column};
use crate::instant;
use crate::problem::{At, Problem, Problems};
use crate::row::Cell;
use crate::rust_job::RustJob;
use crate::yaml::{Data, Key, Node};
use std::collections::BTreeMap;
use std::panic::Location;
use std::time::Duration;
use tidemark_schemas::catalog::Schema;

/// What becomes of late records. They go to the late topic and are counted either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// They are folded, and the window is marked amended, for so long after it closed.
    AmendFor(Duration),
    /// They are held out of the sums.
    Hold,
}

/// A table that records are joined with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table<'t> {
    /// Topic with its records.
    pub topic: &'t str,
    /// Their Avro schema, JSON.
    pub schema: &'t str,
    /// Their field that is the table's key.
    pub key: &'t str,
    /// Their field that is the event time; their append time when there is none.
    pub time: Option<&'t str>,
}

/// A job whose fold is `F`, in the making. Each method is a key of a job file, with its name, default and meaning: see
/// [`crate::file::KEYS`].
#[derive(Debug)]
pub struct Builder<F> {
    file: &'static str,
    at: At,
    root: Node,
    schemas: BTreeMap<String, String>,
    columns: Columns<F>,
    registered: Option<(At, Schema, Vec<String>)>,
    problems: Vec<Problem>,
}

struct Columns<F>(Vec<(Cell, Box<Put<F>>)>);

impl<F> std::fmt::Debug for Columns<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(cell, _)| cell)).finish()
    }
}

/// The schemas that the builder was given.
struct Given(BTreeMap<String, String>);

impl Topics for Given {
    fn schema(&self, topic: &str) -> Result<Option<String>, String> {
        Ok(self.0.get(topic).cloned())
    }
    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

/// Where the caller of a method stands.
#[track_caller]
fn here() -> At {
    let caller = Location::caller();
    At { line: caller.line() as usize, column: caller.column() as usize }
}

/// As a file has it. Parts of a millisecond are none of its lengths, and are refused as in a file.
fn length(duration: Duration) -> String {
    match i64::try_from(duration.as_nanos() / 1_000_000) {
        Ok(ms) if duration.subsec_nanos().is_multiple_of(1_000_000) => instant::duration(ms),
        _ => format!("{duration:?}"),
    }
}

fn map(at: At) -> Node {
    Node { at, data: Data::Map(Vec::new()) }
}

/// The entry of a map that has this name, put there where it is missing.
fn entry<'n>(node: &'n mut Node, name: &str, new: Node) -> Option<&'n mut Node> {
    let Data::Map(entries) = &mut node.data else { return None };
    let at = entries.iter().position(|(key, _)| key.name == name).unwrap_or_else(|| {
        entries.push((Key { at: new.at, name: name.to_owned() }, new));
        entries.len() - 1
    });
    entries.get_mut(at).map(|(_, node)| node)
}

impl<F: Fold> Builder<F> {
    /// `job`: its name, and that of its view.
    #[track_caller]
    pub fn new(job: &str) -> Self {
        let at = here();
        let new = Self {
            file: Location::caller().file(),
            at,
            root: map(at),
            schemas: BTreeMap::new(),
            columns: Columns(Vec::new()),
            registered: None,
            problems: Vec::new(),
        };
        new.set(&["job"], job, at)
    }

    /// Sets a key, which is not set twice.
    fn put(mut self, path: &[&str], node: Node) -> Self {
        let Some((name, above)) = path.split_last() else { return self };
        let at = node.at;
        let map = above.iter().try_fold(&mut self.root, |node, level| entry(node, level, map(at)));
        if let Some(Data::Map(entries)) = map.map(|map| &mut map.data) {
            match entries.iter().find(|(key, _)| key.name == *name) {
                None => entries.push((Key { at, name: (*name).to_owned() }, node)),
                Some((first, _)) => {
                    let what = format!("`{name}` stands twice, first in line {}", first.at.line);
                    self.problems.push(Problem::new(at, what).fix("keep one of them"));
                }
            }
        }
        self
    }

    fn set(self, path: &[&str], text: impl Into<String>, at: At) -> Self {
        self.put(path, Node::text(text, at))
    }

    /// Adds to the list at a path.
    fn add(mut self, path: &[&str], node: Node) -> Self {
        let Some((name, above)) = path.split_last() else { return self };
        let at = node.at;
        let map = above.iter().try_fold(&mut self.root, |node, level| entry(node, level, map(at)));
        let list = map.and_then(|map| entry(map, name, Node { at, data: Data::List(Vec::new()) }));
        if let Some(Data::List(items)) = list.map(|node| &mut node.data) {
            items.push(node);
        }
        self
    }

    /// `version`; 1 unless given. What is said of [`Fold`] is why it matters more here than in a file.
    #[track_caller]
    #[must_use]
    pub fn version(self, version: u32) -> Self {
        self.set(&["version"], version.to_string(), here())
    }

    /// `description`.
    #[track_caller]
    #[must_use]
    pub fn description(self, text: &str) -> Self {
        self.set(&["description"], text, here())
    }

    /// One of `source.topics`, with the Avro schema (JSON) of its records.
    #[track_caller]
    #[must_use]
    pub fn source(mut self, topic: &str, schema: &str) -> Self {
        self.schemas.insert(topic.to_owned(), schema.to_owned());
        self.add(&["source", "topics"], Node::text(topic, here()))
    }

    /// `source.time`.
    #[track_caller]
    #[must_use]
    pub fn time(self, field: &str) -> Self {
        self.set(&["source", "time"], field, here())
    }

    /// `source.grace`; 10 minutes unless given.
    #[track_caller]
    #[must_use]
    pub fn grace(self, grace: Duration) -> Self {
        self.set(&["source", "grace"], length(grace), here())
    }

    /// `source.idle_after`; 30 seconds unless given.
    #[track_caller]
    #[must_use]
    pub fn idle_after(self, silence: Duration) -> Self {
        self.set(&["source", "idle_after"], length(silence), here())
    }

    /// `source.max_future`; 10 minutes unless given.
    #[track_caller]
    #[must_use]
    pub fn max_future(self, ahead: Duration) -> Self {
        self.set(&["source", "max_future"], length(ahead), here())
    }

    /// `source.dedupe`: repeats of records with the same `by` count once `within` so long.
    #[track_caller]
    #[must_use]
    pub fn dedupe(self, by: &str, within: Duration) -> Self {
        let at = here();
        self.set(&["source", "dedupe", "by"], by, at).set(&["source", "dedupe", "for"], length(within), at)
    }

    /// `where`, an expression.
    #[track_caller]
    #[must_use]
    pub fn filter(self, condition: &str) -> Self {
        self.set(&["where"], condition, here())
    }

    /// `join`: the fields of the table's row are `name.field` in expressions; a record is looked up by `on`, an expression.
    #[track_caller]
    #[must_use]
    pub fn join(mut self, name: &str, table: Table<'_>, on: &str) -> Self {
        let at = here();
        self.schemas.insert(table.topic.to_owned(), table.schema.to_owned());
        let entry = |(name, text): (&str, &str)| (Key { at, name: name.to_owned() }, Node::text(text, at));
        let given = [("table", table.topic), ("key", table.key), ("on", on)].into_iter();
        let data = Data::Map(given.chain(table.time.map(|time| ("time", time))).map(entry).collect());
        self.put(&["join", name], Node { at, data })
    }

    /// `let`: a name for an expression.
    #[track_caller]
    #[must_use]
    pub fn define(self, name: &str, expression: &str) -> Self {
        self.set(&["let", name], expression, here())
    }

    /// The next part of the `key`: a field or what [`Builder::define`] has named. The tenant is always the first part, and not
    /// said here.
    #[track_caller]
    #[must_use]
    pub fn key(self, name: &str) -> Self {
        self.add(&["key"], Node::text(name, here()))
    }

    /// The next part of the `key`, an expression under a name of its own.
    #[track_caller]
    #[must_use]
    pub fn key_as(self, name: &str, expression: &str) -> Self {
        let at = here();
        let entry = (Key { at, name: name.to_owned() }, Node::text(expression, at));
        self.add(&["key"], Node { at, data: Data::Map(vec![entry]) })
    }

    /// `window.tumbling`.
    #[track_caller]
    #[must_use]
    pub fn tumbling(self, size: Duration) -> Self {
        self.set(&["window", "tumbling"], length(size), here())
    }

    /// `window.hopping` and `window.every`.
    #[track_caller]
    #[must_use]
    pub fn hopping(self, size: Duration, every: Duration) -> Self {
        let at = here();
        self.set(&["window", "hopping"], length(size), at).set(&["window", "every"], length(every), at)
    }

    /// `window.session`.
    #[track_caller]
    #[must_use]
    pub fn session(self, gap: Duration) -> Self {
        self.set(&["window", "session"], length(gap), here())
    }

    /// `late`.
    #[track_caller]
    #[must_use]
    pub fn late(self, late: Late) -> Self {
        let text = match late {
            Late::AmendFor(time) => format!("amend for {}", length(time)),
            Late::Hold => "hold".to_owned(),
        };
        self.set(&["late"], text, here())
    }

    /// The next one of `view.clustering`.
    #[track_caller]
    #[must_use]
    pub fn clustering(self, key: &str) -> Self {
        self.add(&["view", "clustering"], Node::text(key, here()))
    }

    /// `view.retention`; 7 days unless given.
    #[track_caller]
    #[must_use]
    pub fn retention(self, kept: Duration) -> Self {
        self.set(&["view", "retention"], length(kept), here())
    }

    /// `partitions`; 4 unless given.
    #[track_caller]
    #[must_use]
    pub fn partitions(self, partitions: u32) -> Self {
        self.set(&["partitions"], partitions.to_string(), here())
    }

    /// `freshness`.
    #[track_caller]
    #[must_use]
    pub fn freshness(self, after: Duration) -> Self {
        self.set(&["freshness"], length(after), here())
    }

    /// The next column of the view, of what `value` gives when a row is written; `description` is for the dashboard and the API.
    #[track_caller]
    #[must_use]
    pub fn column<T: ToColumn>(
        mut self,
        name: &str,
        description: &str,
        value: impl Fn(&F) -> T + Send + Sync + 'static,
    ) -> Self {
        self.columns.0.push(column(name, value));
        let at = here();
        self.set(&["aggregate", name], description, at)
    }

    /// The schema that the view's rows were registered with before there was this builder, and the order of the values in the
    /// table. The columns must be those of the schema.
    #[track_caller]
    #[must_use]
    pub fn registered(mut self, schema: Schema, order: &[&str]) -> Self {
        self.registered = Some((here(), schema, order.iter().map(|&name| name.to_owned()).collect()));
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// All that is wrong, each with its place in the Rust file, the rule and the fix.
    #[track_caller]
    pub fn build(self) -> Result<RustJob<F>, Problems>
    where
        for<'i> F::Item<'i>: Default,
    {
        let Self { file, at, root, schemas, columns: Columns(columns), registered, problems } = self;
        let told = |problems| Problems::new(file, "", problems);
        if columns.is_empty() {
            let none = Problem::new(at, "the view has no column").fix("name what the fold gives: `.column(name, …)`");
            return Err(told(vec![none]));
        }
        let (cells, columns): (Vec<Cell>, Vec<Box<Put<F>>>) = columns.into_iter().unzip();
        let types = <F::Input<'static> as FromValues<'static>>::TYPES;
        let fold = InRust { at: here(), reads: F::READS, types, aggregates: F::AGGREGATES, cells, registered };
        match compile_tree(&root, "", &Given(schemas), Some(&fold)) {
            Ok(head) if problems.is_empty() => Ok(RustJob::new(head, columns)),
            Ok(_) => Err(told(problems)),
            Err(found) => Err(told(problems.into_iter().chain(found).collect())),
        }
    }
}
