//! Offsets of partitions.

use std::collections::BTreeSet;

use rdkafka::bindings as sys;

use super::admin::{Admin, Operation};
use super::fault::Fault;
use super::list::{self, Entry, List};
use crate::TopicPartition;

/// Asks for the first offset kept.
pub(crate) const EARLIEST: i64 = sys::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_EARLIEST as i64;
/// Asks for the end.
pub(crate) const LATEST: i64 = sys::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_LATEST as i64;

impl Admin {
    /// One offset for each partition, in the order asked: [`EARLIEST`], [`LATEST`] (the last stable offset when
    /// `read_committed`, else the high watermark), or by a time in milliseconds, then below 0 where nothing is as late.
    pub(crate) fn offsets(
        &self,
        partitions: &[TopicPartition],
        spec: i64,
        read_committed: bool,
    ) -> Result<Vec<i64>, Fault> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let mut options = self.options(Operation::RD_KAFKA_ADMIN_OP_LISTOFFSETS);
        options.read_committed(read_committed)?;
        let mut list = List::new(partitions.len());
        // librdkafka refuses one that is named twice.
        for partition in partitions.iter().collect::<BTreeSet<_>>() {
            list.add(&partition.topic, partition.partition, Some(spec), "");
        }
        // SAFETY: all live; the request copies the list.
        let answer =
            self.ask(|rk, queue| unsafe { sys::rd_kafka_ListOffsets(rk, list.pointer(), options.pointer(), queue) })?;
        // SAFETY: the answer is of this kind and outlives what is read from it; the array is as long as said.
        let found: Vec<Entry> = unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_ListOffsets_result(answer.pointer());
            let infos = sys::rd_kafka_ListOffsets_result_infos(result, &mut count);
            let row = |info| list::entry(sys::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(info)));
            (0..count).map(row).collect()
        };
        partitions.iter().map(|partition| list::of_partition(&found, partition).map(|entry| entry.offset)).collect()
    }
}
