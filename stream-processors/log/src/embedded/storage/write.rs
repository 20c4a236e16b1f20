//! One atomic write.

use fjall::Slice;

use super::super::layout::*;
use super::super::memory::{Change, Memory, Space};
use super::{Disk, Storage};
use crate::TopicSpec;

/// Puts and removals that happen together.
pub(crate) struct Write<'s> {
    pub(super) storage: &'s Storage,
    pub(super) batch: WriteBatch<'s>,
}

pub(super) enum WriteBatch<'s> {
    Disk(&'s Disk, fjall::OwnedWriteBatch),
    Memory(&'s Memory, Vec<Change>),
}

impl Write<'_> {
    fn put_meta(&mut self, key: Vec<u8>, value: Vec<u8>) {
        match &mut self.batch {
            WriteBatch::Disk(disk, batch) => batch.insert(&disk.meta, key, value),
            WriteBatch::Memory(_, changes) => {
                changes.push(Change { space: Space::Meta, key, value: Some(Slice::from(value)) });
            }
        }
    }

    pub(crate) fn put_batch(&mut self, topic: u32, partition: u32, last: i64, stored: Vec<u8>) {
        let key = batch_key(topic, partition, last);
        match &mut self.batch {
            WriteBatch::Disk(disk, batch) => batch.insert(&disk.records, key, stored),
            WriteBatch::Memory(_, changes) => {
                let (space, value) = (Space::Records, Some(Slice::from(stored)));
                changes.push(Change { space, key: key.to_vec(), value });
            }
        }
    }

    pub(crate) fn remove_batch(&mut self, topic: u32, partition: u32, last: i64) {
        self.remove(Space::Records, &batch_key(topic, partition, last));
    }

    fn remove(&mut self, space: Space, key: &[u8]) {
        match &mut self.batch {
            WriteBatch::Disk(disk, batch) => batch.remove(disk.keyspace(space), key),
            WriteBatch::Memory(_, changes) => changes.push(Change { space, key: key.to_vec(), value: None }),
        }
    }

    /// Removes a batch by its key.
    pub(crate) fn remove_batch_key(&mut self, key: &[u8]) {
        self.remove(Space::Records, key);
    }

    /// Removes a mark by its key.
    pub(crate) fn remove_mark_key(&mut self, key: &[u8]) {
        self.remove(Space::Meta, key);
    }

    pub(crate) fn remove_offset(&mut self, offset: &StoredOffset) {
        self.remove(Space::Meta, &offset_key(offset));
    }

    /// Takes a topic out of the list and notes that what it holds is to be removed.
    pub(crate) fn delete_topic(&mut self, topic: u32) {
        self.remove(Space::Meta, &topic_key(topic));
        self.put_meta(deleted_key(topic), Vec::new());
    }

    /// Nothing of a deleted topic is left.
    pub(crate) fn forget_topic(&mut self, topic: u32) {
        self.remove(Space::Meta, &deleted_key(topic));
    }

    pub(crate) fn put_topic(&mut self, topic: u32, spec: &TopicSpec) {
        self.put_meta(topic_key(topic), topic_value(spec));
    }

    pub(crate) fn put_mark(&mut self, topic: u32, partition: u32, mark: &Mark) {
        self.put_meta(mark_key(topic, partition), mark_value(mark));
    }

    pub(crate) fn put_offset(&mut self, offset: &StoredOffset) {
        self.put_meta(offset_key(offset), offset_value(offset));
    }

    /// Writes it, whole or not at all. Not durable before [`Storage::sync`].
    pub(crate) fn apply(self) -> Result<(), String> {
        match self.batch {
            WriteBatch::Disk(_, batch) => batch.commit().map_err(|e| self.storage.write_error(&e)),
            WriteBatch::Memory(memory, changes) => {
                memory.write(changes);
                Ok(())
            }
        }
    }
}
