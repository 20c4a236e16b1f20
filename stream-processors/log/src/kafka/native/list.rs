//! Lists of partitions with offsets, as librdkafka passes them.

use std::ffi::{c_int, c_void};

use rdkafka::bindings as sys;

use super::fault::{Fault, check_code, code};
use super::{c_string, text};
use crate::TopicPartition;

/// A list that this side owns.
pub(super) struct List(*mut sys::rd_kafka_topic_partition_list_t);

/// One row of a list.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) partition: TopicPartition,
    /// Below 0: none.
    pub(super) offset: i64,
    pub(super) metadata: String,
    /// What the broker or librdkafka says of this partition.
    pub(super) result: Result<(), Fault>,
}

impl List {
    pub(super) fn new(capacity: usize) -> Self {
        // SAFETY: no preconditions; the capacity is a hint.
        Self(unsafe { sys::rd_kafka_topic_partition_list_new(c_int::try_from(capacity).unwrap_or(0)) })
    }

    /// Of partitions without offsets.
    pub(super) fn of<'p>(partitions: impl IntoIterator<Item = &'p TopicPartition>) -> Self {
        let mut list = Self::new(0);
        for partition in partitions {
            list.add(&partition.topic, partition.partition, None, "");
        }
        list
    }

    /// Adds a row; an empty `metadata` is none.
    pub(super) fn add(&mut self, topic: &str, partition: u32, offset: Option<i64>, metadata: &str) {
        let topic = c_string(topic);
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        // SAFETY: the list is ours, the name is copied; the row stays in place until the next one is added, and its metadata
        // is memory from librdkafka's allocator (malloc), freed with the list.
        unsafe {
            let row = sys::rd_kafka_topic_partition_list_add(self.0, topic.as_ptr(), partition);
            if let Some(offset) = offset {
                (*row).offset = offset;
            }
            if !metadata.is_empty() {
                let copy = sys::rd_kafka_mem_malloc(std::ptr::null_mut(), metadata.len());
                std::ptr::copy_nonoverlapping(metadata.as_ptr(), copy.cast::<u8>(), metadata.len());
                (*row).metadata = copy.cast::<c_void>();
                (*row).metadata_size = metadata.len();
            }
        }
    }

    /// The list; live as long as this value.
    pub(super) fn pointer(&self) -> *mut sys::rd_kafka_topic_partition_list_t {
        self.0
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        // SAFETY: ours and live.
        unsafe { entries(self.0) }
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once.
        unsafe { sys::rd_kafka_topic_partition_list_destroy(self.0) }
    }
}

/// Copies the rows of a list out; none for null.
///
/// # Safety
/// `list` is null or valid.
pub(super) unsafe fn entries(list: *const sys::rd_kafka_topic_partition_list_t) -> Vec<Entry> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: valid as promised; `elems` holds `cnt` rows.
    unsafe {
        let count = usize::try_from((*list).cnt).unwrap_or(0);
        (0..count).map(|row| entry((*list).elems.add(row))).collect()
    }
}

/// Copies one row out.
///
/// # Safety
/// `row` is valid.
pub(super) unsafe fn entry(row: *const sys::rd_kafka_topic_partition_t) -> Entry {
    // SAFETY: valid as promised. The error is read as an integer: the broker may send a code the enum does not have.
    unsafe {
        let metadata = match (*row).metadata.is_null() {
            true => &[][..],
            false => std::slice::from_raw_parts((*row).metadata.cast::<u8>(), (*row).metadata_size),
        };
        Entry {
            partition: TopicPartition::new(text((*row).topic), u32::try_from((*row).partition).unwrap_or(u32::MAX)),
            offset: (*row).offset,
            metadata: String::from_utf8_lossy(metadata).into_owned(),
            result: check_code((&raw const (*row).err).cast::<i32>().read()),
        }
    }
}

/// The row of `partition`, or what went wrong with it.
pub(super) fn of_partition<'e>(rows: &'e [Entry], partition: &TopicPartition) -> Result<&'e Entry, Fault> {
    let row = rows.iter().find(|row| row.partition == *partition);
    let row =
        row.ok_or_else(|| Fault::with_text(code::LOCAL_UNKNOWN_PARTITION, format!("no answer for {partition}")))?;
    match &row.result {
        Ok(()) => Ok(row),
        Err(fault) => Err(Fault { text: format!("{partition}: {}", fault.text), ..fault.clone() }),
    }
}
