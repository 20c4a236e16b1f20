//! The files of the log: ranges to read, one atomic write, a sync. All knowledge of the storage crate is here; [`layout`]
//! has the keys and values. A simulation puts a [`Memory`] in place of the files.
//!
//! [`layout`]: super::layout

mod entries;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode, Slice};

use self::entries::{Entries, Keys};
pub(crate) use self::write::Write;
use self::write::WriteBatch;
use super::batch::Corrupt;
use super::layout::*;
use super::memory::{Memory, Space};
use crate::{Error, TopicPartition, TopicSpec};

/// Written to the directory so that whoever finds it in use learns by whom.
const OWNER_FILE: &str = "owner";
/// Bytes of journal kept before the storage crate flushes the laggards.
const JOURNAL_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The files of the log.
pub(crate) struct Storage {
    dir: PathBuf,
    backend: Backend,
}

enum Backend {
    Disk(Disk),
    Memory(Arc<Memory>),
}

struct Disk {
    db: Database,
    records: Keyspace,
    meta: Keyspace,
}

impl Disk {
    fn keyspace(&self, space: Space) -> &Keyspace {
        match space {
            Space::Records => &self.records,
            Space::Meta => &self.meta,
        }
    }
}

impl Storage {
    /// Opens the directory, making it if it is not there.
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(dir)
            .map_err(|e| Error::Invalid(format!("cannot make the log's directory {}: {e}", dir.display())))?;
        let opened = Database::builder(dir.join("data")).max_journaling_size(JOURNAL_BYTES_MAX).open();
        let db = opened.map_err(|e| open_error(dir, &e))?;
        let failed = |e: fjall::Error| open_error(dir, &e);
        let large = || KeyspaceCreateOptions::default().with_kv_separation(Some(KvSeparationOptions::default()));
        let records = db.keyspace("records", large).map_err(failed)?;
        let meta = db.keyspace("meta", KeyspaceCreateOptions::default).map_err(failed)?;
        if let Err(e) = std::fs::write(dir.join(OWNER_FILE), format!("process {}", std::process::id())) {
            tracing::warn!(error = %e, dir = %dir.display(), "cannot note who uses the log's directory");
        }
        Ok(Self { dir: dir.to_owned(), backend: Backend::Disk(Disk { db, records, meta }) })
    }

    /// Opens a disk in memory as it is now.
    pub(crate) fn in_memory(memory: Arc<Memory>) -> Self {
        Self { dir: PathBuf::from("memory"), backend: Backend::Memory(memory) }
    }

    fn prefix(&self, space: Space, prefix: &[u8]) -> Entries {
        match &self.backend {
            Backend::Disk(disk) => Entries::Disk(disk.keyspace(space).prefix(prefix)),
            Backend::Memory(memory) => Entries::Memory(memory.prefix(space, prefix).into_iter()),
        }
    }

    fn range(&self, space: Space, from: &[u8], to: &[u8]) -> Entries {
        match &self.backend {
            Backend::Disk(disk) => Entries::Disk(disk.keyspace(space).range(from..to)),
            Backend::Memory(memory) => Entries::Memory(memory.range(space, from, to).into_iter()),
        }
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Slice>, fjall::Error> {
        match &self.backend {
            Backend::Disk(disk) => disk.keyspace(space).get(key),
            Backend::Memory(memory) => Ok(memory.get(space, key)),
        }
    }

    /// Every topic, by number.
    pub(crate) fn topics(&self) -> Result<Vec<(u32, TopicSpec)>, Error> {
        let mut topics = Vec::new();
        for entry in self.prefix(Space::Meta, TOPICS) {
            let (key, value) = entry.map_err(|e| self.read_error("the list of topics", &e))?;
            let topic = decode_topic(&key, &value);
            let what = || format!("the description of a topic, after {} good ones", topics.len());
            topics.push(topic.ok_or_else(|| self.corrupt(&what()))?);
        }
        Ok(topics)
    }

    /// The numbers of the topics that were deleted and still hold something.
    pub(crate) fn deleted_topics(&self) -> Result<Vec<u32>, Error> {
        let mut numbers = Vec::new();
        for entry in self.prefix(Space::Meta, DELETED) {
            let (key, _) = entry.map_err(|e| self.read_error("the list of deleted topics", &e))?;
            numbers.push(decode_number(&key).ok_or_else(|| self.corrupt("the number of a deleted topic"))?);
        }
        Ok(numbers)
    }

    /// Bytes of the batches of a topic. Batches are large and lie apart from their keys: they are not read.
    pub(crate) fn batch_bytes(&self, topic: u32) -> Result<usize, Error> {
        let what = || format!("the sizes of the batches of topic number {topic}");
        match self.prefix(Space::Records, &batches_of(topic)) {
            Entries::Disk(mut entries) => entries
                .try_fold(0, |sum, entry| Ok(sum + entry.size()? as usize))
                .map_err(|e| self.read_error(&what(), &e)),
            Entries::Memory(entries) => Ok(entries.map(|(_, value)| value.len()).sum()),
        }
    }

    /// The keys of the batches of a topic, as they were at the time of the call.
    pub(crate) fn batch_keys(&self, topic: u32) -> impl Iterator<Item = Result<Slice, Error>> + use<'_> {
        self.keys(Space::Records, &batches_of(topic))
    }

    /// The keys of the marks of a topic.
    pub(crate) fn mark_keys(&self, topic: u32) -> impl Iterator<Item = Result<Slice, Error>> + use<'_> {
        self.keys(Space::Meta, &marks_of(topic))
    }

    fn keys(&self, space: Space, prefix: &[u8]) -> impl Iterator<Item = Result<Slice, Error>> + use<'_> {
        let entries = match self.prefix(space, prefix) {
            Entries::Disk(entries) => Keys::Disk(entries),
            Entries::Memory(entries) => Keys::Memory(entries),
        };
        entries.map(|key| key.map_err(|e| self.read_error("the keys of a deleted topic", &e)))
    }

    /// Every committed position.
    pub(crate) fn offsets(&self) -> Result<Vec<StoredOffset>, Error> {
        let mut offsets = Vec::new();
        for entry in self.prefix(Space::Meta, OFFSETS) {
            let (key, value) = entry.map_err(|e| self.read_error("the committed offsets", &e))?;
            let offset = decode_offset(&key, &value);
            offsets.push(
                offset
                    .ok_or_else(|| self.corrupt(&format!("a committed offset, after {} good ones", offsets.len())))?,
            );
        }
        Ok(offsets)
    }

    /// The mark of a partition.
    pub(crate) fn mark(&self, topic: u32, partition: u32) -> Result<Mark, Error> {
        let what = || format!("the mark of partition {partition} of topic number {topic}");
        let found = self.get(Space::Meta, &mark_key(topic, partition)).map_err(|e| self.read_error(&what(), &e))?;
        let Some(value) = found else {
            return Ok(Mark::default());
        };
        decode_mark(&value).ok_or_else(|| self.corrupt(&what()))
    }

    /// The last batch of a partition: its last offset and its bytes.
    pub(crate) fn last_batch(&self, topic: u32, partition: &TopicPartition) -> Result<Option<(i64, Slice)>, Error> {
        let mut batches = self.prefix(Space::Records, &partition_key(topic, partition.partition));
        batches.next_back().map(|entry| self.batch(partition, 0, entry)).transpose()
    }

    /// The batches whose last offset is in `[from, to)`, in order, as they were at the time of the call.
    pub(crate) fn batches<'s>(
        &'s self,
        topic: u32,
        partition: &'s TopicPartition,
        from: i64,
        to: i64,
    ) -> impl Iterator<Item = Result<(i64, Slice), Error>> + use<'s> {
        let key = |offset| batch_key(topic, partition.partition, offset);
        let mut at = from;
        self.range(Space::Records, &key(from), &key(to.max(from))).map(move |entry| {
            let batch = self.batch(partition, at, entry)?;
            at = batch.0 + 1;
            Ok(batch)
        })
    }

    fn batch(
        &self,
        partition: &TopicPartition,
        at: i64,
        entry: Result<(Slice, Slice), fjall::Error>,
    ) -> Result<(i64, Slice), Error> {
        let what = || format!("the batch of {partition} at offset {at}");
        let (key, value) = entry.map_err(|e| self.read_error(&what(), &e))?;
        let last = key.last_chunk::<8>().map(|bytes| i64::from_be_bytes(*bytes));
        match last.filter(|&last| key.len() == 16 && last >= 0) {
            Some(last) => Ok((last, value)),
            None => Err(self.corrupt(&what())),
        }
    }

    /// A write that is empty yet.
    pub(crate) fn write(&self) -> Write<'_> {
        let batch = match &self.backend {
            Backend::Disk(disk) => WriteBatch::Disk(disk, disk.db.batch()),
            Backend::Memory(memory) => WriteBatch::Memory(memory, Vec::new()),
        };
        Write { storage: self, batch }
    }

    /// Makes durable all that was written before.
    pub(crate) fn sync(&self) -> Result<(), String> {
        match &self.backend {
            Backend::Disk(disk) => disk.db.persist(PersistMode::SyncAll).map_err(|e| self.write_error(&e)),
            Backend::Memory(memory) => memory.sync(),
        }
    }

    /// Gives the space of deleted batches back to the file system; may take long, reads and writes go on.
    ///
    /// Batches lie in files of their own, apart from their keys. The storage crate finds out in one round that nothing is left in
    /// such a file, lets go of it in the next and removes it in another: whoever will delete again soon asks for one round, and
    /// later ones finish it.
    pub(crate) fn reclaim(&self, rounds: usize) -> Result<(), String> {
        let Backend::Disk(Disk { records, .. }) = &self.backend else { return Ok(()) };
        let round = || {
            // A round without a change does nothing; no batch ever has this key.
            records.remove(batch_key(u32::MAX, u32::MAX, i64::MAX))?;
            // Deletions that are only in memory yet would free nothing.
            records.rotate_memtable_and_wait()?;
            records.major_compact()
        };
        for done in 0..rounds {
            let is_last = done > 0 && records.fragmented_blob_bytes() == 0;
            round().map_err(|e| self.write_error(&e))?;
            if is_last {
                break;
            }
        }
        Ok(())
    }

    /// Says that something on disk is not what was written.
    pub(crate) fn corrupt(&self, what: &str) -> Error {
        let dir = self.dir.display();
        Error::Invalid(format!(
            "{what} is damaged on disk under {dir}: check the disk and restore the directory from a copy"
        ))
    }

    /// Says that a stored batch is not what was written.
    pub(crate) fn corrupt_batch(&self, place: &TopicPartition, offset: i64, why: Corrupt) -> Error {
        self.corrupt(&format!("the batch of {place} at offset {offset} ({})", why.0))
    }

    fn read_error(&self, what: &str, e: &fjall::Error) -> Error {
        match e {
            fjall::Error::Io(e) => Error::Retriable(format!("cannot read {what} under {}: {e}", self.dir.display())),
            other => self.corrupt(&format!("{what} ({other})")),
        }
    }

    fn write_error(&self, e: &fjall::Error) -> String {
        let dir = self.dir.display();
        format!("cannot write to the log under {dir}: {e}; free space or mend the disk, then start again")
    }
}

fn open_error(dir: &Path, e: &fjall::Error) -> Error {
    let at = dir.display();
    match e {
        fjall::Error::Locked => {
            let owner = std::fs::read_to_string(dir.join(OWNER_FILE)).unwrap_or_else(|_| "another process".to_owned());
            Error::Invalid(format!(
                "the log under {at} is in use by {owner}: stop that one first, or give this one a data directory of its own"
            ))
        }
        fjall::Error::Io(e) => Error::Invalid(format!("cannot open the log under {at}: {e}")),
        other => Error::Invalid(format!(
            "the log under {at} cannot be opened: {other}; check the disk and restore the directory from a copy"
        )),
    }
}
