//! The keys of a job file and their forms, before any schema is looked at.

mod join;
mod keys;
mod read;
mod source;

pub use join::Join;
pub use keys::{AGGREGATES, KEYS, KeyDoc, json_schema, reference};
pub use read::read;
pub use source::ViewName;

use crate::instant::duration;
use crate::problem::{At, Problem};
use crate::yaml::{Node, Scalar};
use tidemark_core::{LatePolicy, Windowing};

/// A value that knows where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed<T> {
    /// Where.
    pub at: At,
    /// What.
    pub value: T,
}

/// A name with its expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// Where the name stands.
    pub at: At,
    /// The name.
    pub name: String,
    /// The expression.
    pub expression: Scalar,
}

/// A job file, its keys read and its forms right; what its expressions name is yet to be found.
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    /// Name of the job and of its view.
    pub job: Placed<String>,
    /// Version.
    pub version: Placed<u32>,
    /// For people.
    pub description: String,
    /// Source topics; none of a job that reads views.
    pub topics: Vec<Placed<String>>,
    /// Views that are read.
    pub views: Vec<Placed<ViewName>>,
    /// Field that is the event time.
    pub time: Placed<String>,
    /// Milliseconds; of views it follows from them unless it is given.
    pub grace: Placed<i64>,
    /// It stands in the file.
    pub grace_given: bool,
    /// Milliseconds.
    pub idle_after_ms: i64,
    /// Milliseconds.
    pub max_future_ms: i64,
    /// Field that is unique to a record, and for how many milliseconds.
    pub dedupe: Option<(Placed<String>, i64)>,
    /// Which records are taken.
    pub filter: Option<Scalar>,
    /// Tables that records are joined with.
    pub joins: Vec<Join>,
    /// Names for expressions.
    pub lets: Vec<Named>,
    /// What rows are kept apart by.
    pub key: Vec<Named>,
    /// The windows.
    pub window: Windowing,
    /// What becomes of late records.
    pub late: LatePolicy,
    /// For so many milliseconds after it closed a window can still change.
    pub amend_for: Placed<i64>,
    /// What is added up.
    pub aggregates: Vec<Named>,
    /// What is computed from it.
    pub emit: Vec<Named>,
    /// Order of the key columns in the view; the key's own when none is given.
    pub clustering: Vec<Placed<String>>,
    /// Milliseconds that rows are kept.
    pub retention: Placed<i64>,
    /// It stands in the file.
    pub retention_given: bool,
    /// Partitions of the job's own topics.
    pub partitions: u32,
    /// A window is to be final so many milliseconds after its end.
    pub freshness: Option<Placed<i64>>,
    /// Inline tests, as they stand.
    pub tests: Vec<Node>,
}

impl File {
    /// Keeps rows for as long as they can change, unless the file says for how long; with these waits of what is read.
    ///
    /// # Errors
    /// What the file says is less.
    pub(crate) fn settle_retention(&mut self, idle_after_ms: i64, max_future_ms: i64) -> Result<(), Problem> {
        let waits = [self.grace.value, idle_after_ms, max_future_ms, self.amend_for.value];
        let least = self.window.least_retention_ms(waits);
        if !self.retention_given {
            self.retention.value = self.retention.value.max(least);
        }
        if least <= self.retention.value {
            return Ok(());
        }
        let waits = match self.views.is_empty() {
            true => "for `source.grace`, `source.idle_after` and `late`, and it may begin `source.max_future` early",
            false => {
                "for `source.grace`, `late` and the view's `idle_after`, and it may begin the view's `max_future` early"
            }
        };
        let what = format!(
            "rows are kept for {} after their window is first written, and until {} after that it can change: as long as it is, \
             then {waits}",
            duration(self.retention.value),
            duration(least)
        );
        Err(Problem::new(self.retention.at, what).fix(format!("make it {} or more", duration(least))))
    }
}
