//! The index over documents and their results: list, filters, counts, full text.
//!
//! Promise: what is found is what [`DOCUMENTS`](crate::topics::DOCUMENTS) said up to a position: it is
//! committed every quarter of a second, and about so much behind. That position is in the payload of the index's own commits, so that the two are one: whatever dies, the next start goes on from
//! exactly what the index holds. An index that is missing, of another version or damaged is made anew from the topic and the
//! results in the object store.
//!
//! Bounds: 1 MiB of text of each document, 32 MiB of results read for it, 20 MiB of memory for what is not committed.

mod build;
mod open;
mod search;
mod text;
mod unread;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tantivy::IndexReader;
use tantivy::collector::Count;
use tantivy::query::{BooleanQuery, Query, TermQuery};
use tantivy::schema::{Field, IndexRecordOption, STORED, STRING, Schema, TEXT, Term, TextOptions};

pub(crate) use build::Source;
pub(crate) use open::open;
pub(crate) use search::{Asked, Error as SearchError, Order};

/// The states, in the order of a task's life.
pub(crate) const STATES: [&str; 4] = ["UPLOADED", "PROCESSING", "DONE", "ERROR"];

/// The fields of a document in the index.
#[derive(Debug, Clone, Copy)]
struct Fields {
    file_id: Field,
    tenant: Field,
    queue: Field,
    state: Field,
    media_type: Field,
    owner: Field,
    name: Field,
    text: Field,
    /// Time and FileID as one text: a total order that no two documents share a place in.
    uploaded: Field,
    changed: Field,
    /// The document as JSON.
    row: Field,
}

fn schema() -> (Schema, Fields) {
    let mut schema = Schema::builder();
    let order = || TextOptions::default().set_fast("raw");
    let fields = Fields {
        file_id: schema.add_text_field("file_id", STRING),
        tenant: schema.add_text_field("tenant", STRING),
        queue: schema.add_text_field("queue", STRING),
        state: schema.add_text_field("state", STRING),
        media_type: schema.add_text_field("type", STRING),
        owner: schema.add_text_field("owner", STRING),
        name: schema.add_text_field("name", TEXT),
        text: schema.add_text_field("text", TEXT),
        uploaded: schema.add_text_field("uploaded", order()),
        changed: schema.add_text_field("changed", order()),
        row: schema.add_text_field("row", STORED),
    };
    (schema.build(), fields)
}

/// The side that is asked.
pub(crate) struct Index {
    index: tantivy::Index,
    reader: IndexReader,
    fields: Fields,
    caught_up: AtomicBool,
    /// Commits so far.
    commits: AtomicU64,
}

/// Tasks of a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct QueueCounts {
    pub(crate) pending: usize,
    pub(crate) leased: usize,
}

impl Index {
    /// Whether the topic has been read up to where it ended when this process began with it.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.caught_up.load(Ordering::Acquire)
    }

    /// Documents in it.
    pub(crate) fn documents(&self) -> u64 {
        self.reader.searcher().num_docs()
    }

    /// Commits since the process began.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Tasks of a queue that wait and that are worked on. What cannot be read counts as none, and is told.
    pub(crate) fn queue(&self, tenant: &str, queue: &str) -> QueueCounts {
        let count = |state| {
            let of = [(self.fields.tenant, tenant), (self.fields.queue, queue), (self.fields.state, state)];
            let all = of.into_iter().map(|(field, value)| exact(field, value)).collect();
            self.count(&BooleanQuery::intersection(all))
        };
        QueueCounts { pending: count("UPLOADED"), leased: count("PROCESSING") }
    }

    /// Documents in each state.
    pub(crate) fn counts(&self, tenant: &str) -> BTreeMap<&'static str, usize> {
        let of = |state| vec![exact(self.fields.tenant, tenant), exact(self.fields.state, state)];
        STATES.map(|state| (state, self.count(&BooleanQuery::intersection(of(state))))).into()
    }

    fn count(&self, query: &dyn Query) -> usize {
        let counted = self.reader.searcher().search(query, &Count);
        counted.inspect_err(|error| tracing::error!(%error, "the index cannot be read")).unwrap_or(0)
    }
}

fn exact(field: Field, value: &str) -> Box<dyn Query> {
    Box::new(TermQuery::new(Term::from_field_text(field, value), IndexRecordOption::Basic))
}
