//! Keys and values as they are on disk.
//!
//! Keyspace `records`: topic u32, partition u32, last offset u64 → a stored batch. Keyspace `meta`:
//! ```text
//! 't' topic u32                              → partitions u32, cleanup u8, retention i64 (−1 = for ever), name
//! 'd' topic u32                              → nothing: it was deleted, and what it held is being removed
//! 'p' topic u32, partition u32               → a Mark
//! 'g' group length u16, group, topic u32, partition u32 → offset i64, metadata
//! ```
//! Integers are big-endian, so that a partition's batches lie in the order of their offsets.

use crate::{Cleanup, TopicSpec};

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

/// The first byte of the keys of marks.
const MARKS: &[u8] = b"p";
/// The first byte of the keys of topics.
pub(crate) const TOPICS: &[u8] = b"t";
/// The first byte of the keys of deleted topics.
pub(crate) const DELETED: &[u8] = b"d";
/// The first byte of the keys of committed positions.
pub(crate) const OFFSETS: &[u8] = b"g";

pub(crate) fn topic_key(topic: u32) -> Vec<u8> {
    [TOPICS, &topic.to_be_bytes()].concat()
}

pub(crate) fn deleted_key(topic: u32) -> Vec<u8> {
    [DELETED, &topic.to_be_bytes()].concat()
}

/// The keys of all batches of a topic begin with it.
pub(crate) fn batches_of(topic: u32) -> [u8; 4] {
    topic.to_be_bytes()
}

/// The keys of all marks of a topic begin with it.
pub(crate) fn marks_of(topic: u32) -> Vec<u8> {
    [MARKS, &topic.to_be_bytes()].concat()
}

pub(crate) fn topic_value(spec: &TopicSpec) -> Vec<u8> {
    let cleanup = match spec.cleanup {
        Cleanup::Delete => 0_u8,
        Cleanup::Compact => 1,
        Cleanup::CompactAndDelete => 2,
    };
    let retention = spec.retention_ms.unwrap_or(-1).to_be_bytes();
    [&spec.partitions.to_be_bytes()[..], &[cleanup], &retention, spec.name.as_bytes()].concat()
}

pub(crate) fn mark_value(mark: &Mark) -> Vec<u8> {
    let Clean { end, records, tombstone_due } = mark.clean;
    let fields = [mark.start, mark.end, mark.append_time, end, records, tombstone_due];
    fields.map(i64::to_be_bytes).concat()
}

pub(crate) fn offset_key((group, topic, partition, _, _): &StoredOffset) -> Vec<u8> {
    let length = u16::try_from(group.len()).unwrap_or(u16::MAX).to_be_bytes();
    [OFFSETS, &length, group.as_bytes(), &topic.to_be_bytes(), &partition.to_be_bytes()].concat()
}

pub(crate) fn offset_value((_, _, _, offset, metadata): &StoredOffset) -> Vec<u8> {
    [&offset.to_be_bytes(), metadata.as_bytes()].concat()
}

pub(crate) fn partition_key(topic: u32, partition: u32) -> [u8; 8] {
    (u64::from(topic) << 32 | u64::from(partition)).to_be_bytes()
}

pub(crate) fn batch_key(topic: u32, partition: u32, last: i64) -> [u8; 16] {
    let place = u128::from(u64::from_be_bytes(partition_key(topic, partition)));
    (place << 64 | u128::from(last.cast_unsigned())).to_be_bytes()
}

pub(crate) fn mark_key(topic: u32, partition: u32) -> Vec<u8> {
    [MARKS, &partition_key(topic, partition)].concat()
}

/// The number in the key of a topic, of one that is there or was deleted. The last one is never given.
pub(crate) fn decode_number(key: &[u8]) -> Option<u32> {
    let (_, number) = key.split_first()?;
    Some(u32::from_be_bytes(number.try_into().ok()?)).filter(|number| *number < u32::MAX)
}

pub(crate) fn decode_topic(key: &[u8], value: &[u8]) -> Option<(u32, TopicSpec)> {
    let number = decode_number(key)?;
    let (partitions, rest) = value.split_first_chunk()?;
    let (cleanup, rest) = rest.split_first()?;
    let (retention, name) = rest.split_first_chunk()?;
    let retention = i64::from_be_bytes(*retention);
    let spec = TopicSpec {
        name: std::str::from_utf8(name).ok()?.to_owned(),
        partitions: u32::from_be_bytes(*partitions),
        cleanup: match cleanup {
            0 => Cleanup::Delete,
            1 => Cleanup::Compact,
            2 => Cleanup::CompactAndDelete,
            _ => return None,
        },
        retention_ms: (retention >= 0).then_some(retention),
    };
    Some((number, spec))
}

pub(crate) fn decode_mark(value: &[u8]) -> Option<Mark> {
    let (fields, rest) = value.as_chunks::<8>();
    let fields: Vec<i64> = fields.iter().map(|bytes| i64::from_be_bytes(*bytes)).collect();
    match (fields.as_slice(), rest) {
        (&[start, end, append_time, clean_end, records, tombstone_due], []) => {
            Some(Mark { start, end, append_time, clean: Clean { end: clean_end, records, tombstone_due } })
        }
        _ => None,
    }
}

pub(crate) fn decode_offset(key: &[u8], value: &[u8]) -> Option<StoredOffset> {
    let (length, rest) = key.strip_prefix(OFFSETS)?.split_first_chunk()?;
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_offset_is_read_as_written(group in ".{0,20}", topic in any::<u32>(), partition in any::<u32>(), offset in 0..i64::MAX, metadata in ".{0,20}") {
            let stored = (group, topic, partition, offset, metadata);
            prop_assert_eq!(decode_offset(&offset_key(&stored), &offset_value(&stored)), Some(stored));
        }

        #[test]
        fn any_bytes_are_read_without_panic(key in proptest::collection::vec(any::<u8>(), 0..40), value in proptest::collection::vec(any::<u8>(), 0..60)) {
            decode_offset(&key, &value);
            decode_offset(&[OFFSETS, &key].concat(), &value);
            decode_topic(&key, &value);
            decode_topic(&topic_key(0), &value);
            decode_mark(&value);
        }

        #[test]
        fn batches_lie_in_the_order_of_their_offsets(a in any::<(u32, u32)>(), offsets in (0..i64::MAX, 0..i64::MAX)) {
            let key = |offset| batch_key(a.0, a.1, offset);
            prop_assert_eq!(key(offsets.0).cmp(&key(offsets.1)), offsets.0.cmp(&offsets.1));
            prop_assert!(key(offsets.0).starts_with(&partition_key(a.0, a.1)));
        }
    }

    #[test]
    fn topics_and_marks_are_read_as_written() {
        for (cleanup, retention_ms) in
            [(Cleanup::Delete, Some(0)), (Cleanup::Compact, None), (Cleanup::CompactAndDelete, Some(i64::MAX))]
        {
            let spec = TopicSpec { name: "t-1".to_owned(), partitions: 10_000, cleanup, retention_ms };
            assert_eq!(decode_topic(&topic_key(7), &topic_value(&spec)), Some((7, spec)));
        }
        assert_eq!((decode_number(&deleted_key(7)), decode_number(&deleted_key(u32::MAX))), (Some(7), None));
        assert!(batch_key(7, 3, 9).starts_with(&batches_of(7)) && mark_key(7, 3).starts_with(&marks_of(7)));
        let mark =
            Mark { start: 1, end: 2, append_time: -3, clean: Clean { end: 4, records: 5, tombstone_due: i64::MAX } };
        assert_eq!(decode_mark(&mark_value(&mark)), Some(mark));
    }
}
