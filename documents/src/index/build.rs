//! The thread that keeps the index: follows the topic of documents and commits rows and position together.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tantivy::schema::Term;
use tantivy::{IndexWriter, TantivyDocument};
use tidemark_log::At;
use tidemark_schemas::documents::Document;

use super::open::{Payload, writer};
use super::unread::Unread;
use super::{Index, text};
use crate::document::Shown;
use crate::follow::{PAUSE, Topic, Values};
use crate::live::Changes;
use crate::stop::Stop;
use crate::store::{self, Kind, Store};

/// A commit is due so long after its first row, or at so many.
const COMMIT_EVERY: Duration = Duration::from_millis(250);
const ROWS_MAX: usize = 2_000;
/// Results that are larger are not searched.
const RESULTS_BYTES_MAX: u64 = 32 << 20;

/// Where rows and results come from, and who is told of them.
pub(crate) struct Source {
    pub(crate) topic: Topic,
    pub(crate) values: Values,
    pub(crate) store: Store,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) changed: Changes,
}

/// The one writer of the index.
pub(crate) struct Indexer {
    index: Arc<Index>,
    writer: Option<IndexWriter>,
    /// As committed, which is before all that is unread; none before the first commit.
    positions: BTreeMap<u32, i64>,
    /// The last row of each document since then; `None` is one that is gone.
    rows: HashMap<String, Option<Document>>,
    /// Documents that are in the index without their text.
    unread: Unread,
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Log(#[from] tidemark_log::Error),
    #[error("the index failed: {0}")]
    Index(#[from] tantivy::TantivyError),
    #[error("a row cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl Indexer {
    pub(super) fn new(index: Arc<Index>, writer: IndexWriter, positions: BTreeMap<u32, i64>) -> Self {
        Self { index, writer: Some(writer), positions, rows: HashMap::new(), unread: Unread::default() }
    }

    /// Follows the topic until the service stops. After a failure the index is as it was committed, and goes on from there.
    pub(crate) fn run(mut self, mut source: Source, stop: &Stop) {
        while !stop.stopping() {
            if let Err(error) = self.follow(&mut source, stop) {
                tracing::warn!(%error, "the index cannot be kept up to date; trying again");
                self.rows.clear();
                self.unread.clear();
                // A writer that has failed may be of no further use.
                self.writer = None;
                stop.pause(PAUSE);
            }
        }
    }

    fn follow(&mut self, source: &mut Source, stop: &Stop) -> Result<(), Failed> {
        let ends = source.topic.ask(At::StableEnd)?;
        self.seek(&mut source.topic, &ends)?;
        let mut first = None;
        loop {
            let read = source.topic.poll()?;
            for record in read {
                let (key, row) = match record.value {
                    None => (String::from_utf8_lossy(&record.key).into_owned(), None),
                    Some(value) => match source.values.read::<Document>(&value, stop) {
                        Some(row) => (row.file_id.clone(), Some(row)),
                        None if stop.stopping() => return Ok(()),
                        None => continue,
                    },
                };
                self.rows.insert(key, row);
                first.get_or_insert_with(Instant::now);
            }
            // Not over a newer row that waits for the commit.
            for row in self.unread.due(Instant::now()) {
                self.rows.entry(row.file_id.clone()).or_insert(Some(row));
                first.get_or_insert_with(Instant::now);
            }
            let (is_stopping, is_past) = (stop.stopping(), source.topic.is_past(&ends));
            let is_due = first.is_some_and(|first| first.elapsed() >= COMMIT_EVERY) || self.rows.len() >= ROWS_MAX;
            if !self.rows.is_empty() && (is_due || is_stopping || (is_past && !self.index.is_caught_up())) {
                self.commit(source)?;
                first = None;
            }
            if is_past {
                self.index.caught_up.store(true, Ordering::Release);
            }
            if is_stopping {
                return Ok(());
            }
        }
    }

    /// Goes to where the index is; to the start, with an empty index, when the topic is not the one that it was made of.
    fn seek(&mut self, topic: &mut Topic, ends: &BTreeMap<u32, i64>) -> Result<(), Failed> {
        let starts = topic.ask(At::Start)?;
        let fits = |(partition, at): (&u32, &i64)| {
            starts.get(partition).is_some_and(|start| start <= at) && ends.get(partition).is_some_and(|end| at <= end)
        };
        if !self.positions.iter().all(fits) {
            tracing::warn!("the topic of documents is another one than the index was made of; the index is made anew");
            self.empty()?;
        }
        // A partition that was added is read from its start.
        topic.seek(starts.into_iter().chain(self.positions.clone()).collect());
        Ok(())
    }

    /// At once, for the topic may have nothing to put in its place.
    fn empty(&mut self) -> Result<(), Failed> {
        self.writer()?.delete_all_documents()?;
        self.writer()?.commit()?;
        self.index.reader.reload()?;
        self.positions.clear();
        Ok(())
    }

    fn writer(&mut self) -> tantivy::Result<&mut IndexWriter> {
        match &mut self.writer {
            Some(writer) => Ok(writer),
            none => Ok(none.insert(writer(&self.index.index)?)),
        }
    }

    fn commit(&mut self, source: &mut Source) -> Result<(), Failed> {
        let (fields, rows) = (self.index.fields, std::mem::take(&mut self.rows));
        let mut changed = Vec::with_capacity(rows.len());
        for (file_id, row) in rows {
            self.unread.forget(&file_id);
            let entry = row.map(|row| self.entry(row, source)).transpose()?;
            let writer = self.writer()?;
            writer.delete_term(Term::from_field_text(fields.file_id, &file_id));
            if let Some((entry, json)) = entry {
                writer.add_document(entry)?;
                changed.push(json);
            }
        }
        let positions = self.unread.position(source.topic.positions());
        let payload = serde_json::to_string(&Payload::new(positions.clone()))?;
        let mut commit = self.writer()?.prepare_commit()?;
        commit.set_payload(&payload);
        commit.commit()?;
        self.positions = positions;
        self.index.reader.reload()?;
        self.index.commits.fetch_add(1, Ordering::Relaxed);
        if self.index.is_caught_up() {
            source.changed.tell(changed);
        }
        Ok(())
    }

    /// Results that are gone are not searched; when the store is away, the row waits for them.
    fn text(&mut self, row: &Document, sha256: &str, source: &Source) -> String {
        if !self.unread.is_away(Instant::now()) {
            match source.runtime.block_on(source.store.read(Kind::Results, sha256, RESULTS_BYTES_MAX)) {
                Ok(results) => {
                    self.unread.answered();
                    return results.map(|results| text::of(&results)).unwrap_or_default();
                }
                Err(store::Error::NotFound(path)) => {
                    tracing::warn!(path, "results are not in the object store: their text is not searched");
                    self.unread.answered();
                    return String::new();
                }
                Err(error) => {
                    tracing::warn!(%error, row.file_id, "results cannot be read: their text is searched later");
                    self.unread.failed(Instant::now());
                }
            }
        }
        self.unread.put(row.clone(), &self.positions);
        String::new()
    }

    fn entry(&mut self, row: Document, source: &Source) -> Result<(TantivyDocument, String), Failed> {
        let text = match &row.result {
            Some(sha256) => self.text(&row, sha256, source),
            None => String::new(),
        };
        let (fields, tenant) = (self.index.fields, row.tenant.clone());
        let row = Shown::from(row);
        let json = serde_json::to_string(&row)?;
        let mut entry = TantivyDocument::new();
        let parts = [
            (fields.file_id, row.file_id.as_str()),
            (fields.tenant, &tenant),
            (fields.queue, &row.queue),
            (fields.state, &row.state),
            (fields.media_type, &row.media_type),
            (fields.owner, &row.owner),
            (fields.name, &row.name),
            (fields.text, &text),
            (fields.uploaded, &place(row.uploaded_at, &row.file_id)),
            (fields.changed, &place(row.changed_at, &row.file_id)),
            (fields.row, &json),
        ];
        parts.into_iter().for_each(|(field, value)| entry.add_text(field, value));
        Ok((entry, json))
    }
}

/// Times of the same length order like numbers.
fn place(at: i64, file_id: &str) -> String {
    format!("{:015}{file_id}", at.max(0))
}
