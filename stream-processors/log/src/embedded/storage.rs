//! What is kept on disk: keys, values and one atomic write. All knowledge of the storage crate is here.
//!
//! Keyspace `records`: topic u32, partition u32, last offset u64 → a stored batch. Keyspace `meta`:
//! ```text
//! 't' topic u32                              → partitions u32, cleanup u8, retention i64 (−1 = for ever), name
//! 'p' topic u32, partition u32               → a Mark
//! 'g' group length u16, group, topic u32, partition u32 → offset i64, metadata
//! ```
//! Integers are big-endian, so that a partition's batches lie in the order of their offsets.

use std::path::{Path, PathBuf};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};

use super::batch::Corrupt;
use crate::{Cleanup, Error, TopicPartition, TopicSpec};

/// Written to the directory so that whoever finds it in use learns by whom.
const OWNER_FILE: &str = "owner";
/// Bytes of journal kept before the storage crate flushes the laggards.
const JOURNAL_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The files of the log.
pub(crate) struct Storage {
    dir: PathBuf,
    db: Database,
    records: Keyspace,
    meta: Keyspace,
}

/// What of a partition cannot be told from its batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// First offset kept.
    pub(crate) start: i64,
    /// The end when this was written: deletions may leave no batch to tell it.
    pub(crate) end: i64,
    /// Append time of the last batch then.
    pub(crate) append_time: i64,
    /// How far compaction has come.
    pub(crate) clean: Clean,
}

/// How far compaction of a partition has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clean {
    /// Below it, each key has one record.
    pub(crate) end: i64,
    /// Records below it.
    pub(crate) records: i64,
    /// When the first tombstone below it may go, `i64::MAX` for never.
    pub(crate) tombstone_due: i64,
}

impl Default for Mark {
    fn default() -> Self {
        Self { start: 0, end: 0, append_time: 0, clean: Clean { end: 0, records: 0, tombstone_due: i64::MAX } }
    }
}

/// A committed position as it is on disk: group, topic number, partition, offset, metadata.
pub(crate) type StoredOffset = (String, u32, u32, i64, String);

/// Puts and removals that happen together.
pub(crate) struct Write<'s> {
    storage: &'s Storage,
    batch: fjall::OwnedWriteBatch,
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
        Ok(Self { dir: dir.to_owned(), db, records, meta })
    }

    /// Every topic, by number.
    pub(crate) fn topics(&self) -> Result<Vec<TopicSpec>, Error> {
        let mut topics = Vec::new();
        for guard in self.meta.prefix(b"t") {
            let (key, value) = guard.into_inner().map_err(|e| self.read_error("the list of topics", &e))?;
            let number = topics.len();
            let topic = decode_topic(number, &key, &value);
            topics.push(topic.ok_or_else(|| self.corrupt(&format!("the description of topic number {number}")))?);
        }
        Ok(topics)
    }

    /// Every committed position.
    pub(crate) fn offsets(&self) -> Result<Vec<StoredOffset>, Error> {
        let mut offsets = Vec::new();
        for guard in self.meta.prefix(b"g") {
            let (key, value) = guard.into_inner().map_err(|e| self.read_error("the committed offsets", &e))?;
            let offset = decode_offset(&key, &value);
            offsets.push(offset.ok_or_else(|| self.corrupt(&format!("a committed offset, after {} good ones", offsets.len())))?);
        }
        Ok(offsets)
    }

    /// The mark of a partition.
    pub(crate) fn mark(&self, topic: u32, partition: u32) -> Result<Mark, Error> {
        let what = || format!("the mark of partition {partition} of topic number {topic}");
        let found = self.meta.get(mark_key(topic, partition)).map_err(|e| self.read_error(&what(), &e))?;
        let Some(value) = found else { return Ok(Mark::default()) };
        decode_mark(&value).ok_or_else(|| self.corrupt(&what()))
    }

    /// The last batch of a partition: its last offset and its bytes.
    pub(crate) fn last_batch(&self, topic: u32, partition: &TopicPartition) -> Result<Option<(i64, fjall::Slice)>, Error> {
        let mut batches = self.records.prefix(partition_key(topic, partition.partition));
        batches.next_back().map(|guard| self.batch(partition, 0, guard)).transpose()
    }

    /// The batches whose last offset is in `[from, to)`, in order, as they were at the time of the call.
    pub(crate) fn batches<'s>(
        &'s self,
        topic: u32,
        partition: &'s TopicPartition,
        from: i64,
        to: i64,
    ) -> impl Iterator<Item = Result<(i64, fjall::Slice), Error>> + use<'s> {
        let key = |offset| batch_key(topic, partition.partition, offset);
        let mut at = from;
        self.records.range(key(from)..key(to.max(from))).map(move |guard| {
            let batch = self.batch(partition, at, guard)?;
            at = batch.0 + 1;
            Ok(batch)
        })
    }

    fn batch(&self, partition: &TopicPartition, at: i64, guard: fjall::Guard) -> Result<(i64, fjall::Slice), Error> {
        let what = || format!("the batch of {partition} at offset {at}");
        let (key, value) = guard.into_inner().map_err(|e| self.read_error(&what(), &e))?;
        let last = key.last_chunk::<8>().map(|bytes| i64::from_be_bytes(*bytes));
        match last.filter(|&last| key.len() == 16 && last >= 0) {
            Some(last) => Ok((last, value)),
            None => Err(self.corrupt(&what())),
        }
    }

    /// A write that is empty yet.
    pub(crate) fn write(&self) -> Write<'_> {
        Write { storage: self, batch: self.db.batch() }
    }

    /// Makes durable all that was written before.
    pub(crate) fn sync(&self) -> Result<(), String> {
        self.db.persist(PersistMode::SyncAll).map_err(|e| self.write_error(&e))
    }

    /// Gives the space of deleted batches back to the file system; may take long, reads and writes go on.
    pub(crate) fn reclaim(&self) -> Result<(), String> {
        self.records.major_compact().map_err(|e| self.write_error(&e))
    }

    /// Says that something on disk is not what was written.
    pub(crate) fn corrupt(&self, what: &str) -> Error {
        let dir = self.dir.display();
        Error::Invalid(format!("{what} is damaged on disk under {dir}: check the disk and restore the directory from a copy"))
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

impl Write<'_> {
    pub(crate) fn put_batch(&mut self, topic: u32, partition: u32, last: i64, stored: Vec<u8>) {
        self.batch.insert(&self.storage.records, batch_key(topic, partition, last), stored);
    }

    pub(crate) fn remove_batch(&mut self, topic: u32, partition: u32, last: i64) {
        self.batch.remove(&self.storage.records, batch_key(topic, partition, last));
    }

    pub(crate) fn put_topic(&mut self, topic: u32, spec: &TopicSpec) {
        let cleanup = match spec.cleanup {
            Cleanup::Delete => 0_u8,
            Cleanup::Compact => 1,
            Cleanup::CompactAndDelete => 2,
        };
        let retention = spec.retention_ms.unwrap_or(-1);
        let head = [&spec.partitions.to_be_bytes()[..], &[cleanup], &retention.to_be_bytes()].concat();
        let key = [&b"t"[..], &topic.to_be_bytes()].concat();
        self.batch.insert(&self.storage.meta, key, [&head, spec.name.as_bytes()].concat());
    }

    pub(crate) fn put_mark(&mut self, topic: u32, partition: u32, mark: &Mark) {
        let Clean { end, records, tombstone_due } = mark.clean;
        let fields = [mark.start, mark.end, mark.append_time, end, records, tombstone_due];
        self.batch.insert(&self.storage.meta, mark_key(topic, partition), fields.map(i64::to_be_bytes).concat());
    }

    pub(crate) fn put_offset(&mut self, (group, topic, partition, offset, metadata): &StoredOffset) {
        let length = u16::try_from(group.len()).unwrap_or(u16::MAX).to_be_bytes();
        let place = [topic.to_be_bytes(), partition.to_be_bytes()].concat();
        let key = [&b"g"[..], &length, group.as_bytes(), &place].concat();
        self.batch.insert(&self.storage.meta, key, [&offset.to_be_bytes(), metadata.as_bytes()].concat());
    }

    /// Writes it, whole or not at all. Not durable before [`Storage::sync`].
    pub(crate) fn apply(self) -> Result<(), String> {
        self.batch.commit().map_err(|e| self.storage.write_error(&e))
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

fn partition_key(topic: u32, partition: u32) -> [u8; 8] {
    (u64::from(topic) << 32 | u64::from(partition)).to_be_bytes()
}

fn batch_key(topic: u32, partition: u32, last: i64) -> [u8; 16] {
    let place = u128::from(u64::from_be_bytes(partition_key(topic, partition)));
    (place << 64 | u128::from(last.cast_unsigned())).to_be_bytes()
}

fn mark_key(topic: u32, partition: u32) -> Vec<u8> {
    [&b"p"[..], &partition_key(topic, partition)].concat()
}

fn decode_topic(number: usize, key: &[u8], value: &[u8]) -> Option<TopicSpec> {
    let (_, id) = key.split_first()?;
    if usize::try_from(u32::from_be_bytes(id.try_into().ok()?)).ok()? != number {
        return None;
    }
    let (partitions, rest) = value.split_first_chunk()?;
    let (cleanup, rest) = rest.split_first()?;
    let (retention, name) = rest.split_first_chunk()?;
    let retention = i64::from_be_bytes(*retention);
    Some(TopicSpec {
        name: std::str::from_utf8(name).ok()?.to_owned(),
        partitions: u32::from_be_bytes(*partitions),
        cleanup: match cleanup {
            0 => Cleanup::Delete,
            1 => Cleanup::Compact,
            2 => Cleanup::CompactAndDelete,
            _ => return None,
        },
        retention_ms: (retention >= 0).then_some(retention),
    })
}

fn decode_mark(value: &[u8]) -> Option<Mark> {
    let (fields, rest) = value.as_chunks::<8>();
    let fields: Vec<i64> = fields.iter().map(|bytes| i64::from_be_bytes(*bytes)).collect();
    match (fields.as_slice(), rest) {
        (&[start, end, append_time, clean_end, records, tombstone_due], []) => {
            Some(Mark { start, end, append_time, clean: Clean { end: clean_end, records, tombstone_due } })
        }
        _ => None,
    }
}

fn decode_offset(key: &[u8], value: &[u8]) -> Option<StoredOffset> {
    let (length, rest) = key.strip_prefix(b"g")?.split_first_chunk()?;
    let (group, place) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    let (topic, partition) = place.split_first_chunk()?;
    let (offset, metadata) = value.split_first_chunk()?;
    Some((
        String::from_utf8(group.to_vec()).ok()?,
        u32::from_be_bytes(*topic),
        u32::from_be_bytes(partition.try_into().ok()?),
        i64::from_be_bytes(*offset),
        String::from_utf8(metadata.to_vec()).ok()?,
    ))
}
