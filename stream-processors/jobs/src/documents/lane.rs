//! A queue with the documents in it: all state of one key of the input.

use super::keep;
use super::keys::{Key, LaneId};
use super::uploads::Uploads;
use tidemark_core::dispatch::{self, Entry, EntryKey, Queue};
use tidemark_core::process::Reject;
use tidemark_schemas::avro::{self, Avro, Reader};
use tidemark_schemas::documents::{CountEntry, Document, UploadEntry};

/// Places of the entry schemas: `QueueEntry`, `TaskEntry`, `WorkerEntry`, `RequestEntry`, `Document`, `UploadEntry`, `CountEntry`.
const QUEUE: usize = 0;
const TASK: usize = 1;
const WORKER: usize = 2;
const REQUEST: usize = 3;
const DOCUMENT: usize = 4;
const UPLOAD: usize = 5;
const COUNT: usize = 6;

pub(super) struct Lane {
    pub(super) id: LaneId,
    pub(super) queue: Queue,
    pub(super) documents: keep::Documents,
    pub(super) uploads: Uploads,
    /// Documents that have become DONE.
    pub(super) done: i64,
    /// The timer that is set for it.
    pub(super) timer: Option<i64>,
}

impl Lane {
    pub(super) fn new(id: LaneId, settings: dispatch::Settings) -> Self {
        let (documents, uploads) = (keep::Documents::default(), Uploads::default());
        Self { id, queue: Queue::new(settings), documents, uploads, done: 0, timer: None }
    }

    /// When something is due of itself.
    pub(super) fn due(&self, upload_kept_ms: i64) -> Option<i64> {
        let upload = self.uploads.oldest().map(|at| at.saturating_add(upload_kept_ms));
        self.queue.due().into_iter().chain(upload).min()
    }

    /// Whether there is nothing in it that a new one would not have: nobody but workers that are gone by now ever asked for it.
    pub(super) fn is_empty(&self) -> bool {
        let nobody =
            self.queue.workers().next().is_none() && self.documents.is_empty() && self.uploads.oldest().is_none();
        let Some(Entry::Queue(entry)) = self.queue.entry(&EntryKey::Queue).filter(|_| nobody) else { return false };
        entry.times.is_empty()
    }

    /// Puts the entry's datum and gives the place of its schema.
    pub(super) fn entry(&self, key: &Key, datum: &mut Vec<u8>) -> Option<usize> {
        match key {
            Key::Dispatch(key) => Some(match self.queue.entry(key)? {
                Entry::Queue(entry) => put(&entry, datum, QUEUE),
                Entry::Task(entry) => put(&entry, datum, TASK),
                Entry::Worker(entry) => put(&entry, datum, WORKER),
                Entry::Request(entry) => put(&entry, datum, REQUEST),
            }),
            Key::Document(id) => self.documents.get(&self.id, id).map(|document| put(&document, datum, DOCUMENT)),
            Key::Upload(id) => self.uploads.entry(id).map(|entry| put(&entry, datum, UPLOAD)),
            Key::Count => (self.done > 0).then(|| put(&CountEntry { done: self.done }, datum, COUNT)),
        }
    }

    /// Takes an entry back in.
    pub(super) fn restore(&mut self, schema: usize, datum: &[u8]) -> Result<(), Reject> {
        match schema {
            QUEUE => self.queue.restore(Entry::Queue(read(datum)?)),
            TASK => self.queue.restore(Entry::Task(read(datum)?)),
            WORKER => self.queue.restore(Entry::Worker(read(datum)?)),
            REQUEST => self.queue.restore(Entry::Request(read(datum)?)),
            DOCUMENT => self.documents.put(read::<Document>(datum)?),
            UPLOAD => {
                let entry: UploadEntry = read(datum)?;
                let rule =
                    || Reject::Rule { field: "outcome", rule: format!("no outcome of an upload: {}", entry.outcome) };
                self.uploads.restore(&entry).ok_or_else(rule)?;
            }
            COUNT => self.done = read::<CountEntry>(datum)?.done,
            other => return Err(Reject::Rule { field: "schema", rule: format!("there is no entry schema {other}") }),
        }
        Ok(())
    }
}

fn put<'a>(entry: &impl Avro<'a>, datum: &mut Vec<u8>, schema: usize) -> usize {
    entry.put(datum);
    schema
}

/// A whole datum.
pub(super) fn read<'a, T: Avro<'a>>(datum: &'a [u8]) -> Result<T, avro::Error> {
    let mut reader = Reader::new(datum);
    let record = T::get(&mut reader)?;
    reader.finish()?;
    Ok(record)
}
