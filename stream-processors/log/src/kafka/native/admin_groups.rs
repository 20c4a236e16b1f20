//! Committed offsets of groups, and the end of a group.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::bindings as sys;

use super::admin::{Admin, Operation, REQUEST_TIMEOUT};
use super::c_string;
use super::fault::{self, Fault};
use super::list::{self, Entry, List};
use crate::{GroupOffset, TopicPartition};

/// How long the broker may take to tell committed offsets: the member that asks has to poll again within its session.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);

impl Admin {
    /// What a group has committed, in the order asked. Fails with `UNSTABLE_OFFSET_COMMIT` while a transaction that moves one
    /// of the offsets is open.
    pub(crate) fn group_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<GroupOffset>>, Fault> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let mut options = self.options_of_group(Operation::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
        options.require_stable()?;
        let (name, list) = (c_string(group), List::of(partitions.iter().collect::<BTreeSet<_>>()));
        // SAFETY: a NUL-terminated name and a live list, both copied.
        let mut request = unsafe { sys::rd_kafka_ListConsumerGroupOffsets_new(name.as_ptr(), list.pointer()) };
        // SAFETY: all live; the request is copied.
        let answer = self.ask_within(FETCH_TIMEOUT, |rk, queue| unsafe {
            sys::rd_kafka_ListConsumerGroupOffsets(rk, &mut request, 1, options.pointer(), queue);
        });
        // SAFETY: ours, destroyed once. The answer is of this kind and outlives what is read from it.
        let rows = unsafe {
            sys::rd_kafka_ListConsumerGroupOffsets_destroy(request);
            let answer = answer?;
            let mut count = 0;
            let result = sys::rd_kafka_event_ListConsumerGroupOffsets_result(answer.pointer());
            group_rows(sys::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &mut count), count)?
        };
        partitions.iter().map(|partition| committed(&rows, partition)).collect()
    }

    /// Commits offsets for a group without members.
    pub(crate) fn set_group_offsets(&self, group: &str, offsets: &[GroupOffset]) -> Result<(), Fault> {
        let options = self.options_of_group(Operation::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS);
        let name = c_string(group);
        let mut list = List::new(offsets.len());
        for offset in offsets {
            list.add(&offset.partition.topic, offset.partition.partition, Some(offset.offset), &offset.metadata);
        }
        // SAFETY: a NUL-terminated name and a live list, both copied.
        let mut request = unsafe { sys::rd_kafka_AlterConsumerGroupOffsets_new(name.as_ptr(), list.pointer()) };
        // SAFETY: all live; the request is copied.
        let answer = self.ask_within(REQUEST_TIMEOUT, |rk, queue| unsafe {
            sys::rd_kafka_AlterConsumerGroupOffsets(rk, &mut request, 1, options.pointer(), queue);
        });
        // SAFETY: ours, destroyed once. The answer is of this kind and outlives what is read from it.
        let rows = unsafe {
            sys::rd_kafka_AlterConsumerGroupOffsets_destroy(request);
            let answer = answer?;
            let mut count = 0;
            let result = sys::rd_kafka_event_AlterConsumerGroupOffsets_result(answer.pointer());
            group_rows(sys::rd_kafka_AlterConsumerGroupOffsets_result_groups(result, &mut count), count)?
        };
        offsets.iter().try_for_each(|offset| list::of_partition(&rows, &offset.partition).map(|_| ()))
    }

    /// Deletes a group with its offsets. Fails with `NON_EMPTY_GROUP` while it has members.
    pub(crate) fn delete_group(&self, group: &str) -> Result<(), Fault> {
        let options = self.options_of_group(Operation::RD_KAFKA_ADMIN_OP_DELETEGROUPS);
        let name = c_string(group);
        // SAFETY: a NUL-terminated name, which is copied.
        let mut old = unsafe { sys::rd_kafka_DeleteGroup_new(name.as_ptr()) };
        // SAFETY: all live; the request copies the name.
        let answer = self.ask_within(REQUEST_TIMEOUT, |rk, queue| unsafe {
            sys::rd_kafka_DeleteGroups(rk, &mut old, 1, options.pointer(), queue);
        });
        // SAFETY: ours, destroyed once. The answer is of this kind and outlives what is read from it.
        unsafe {
            sys::rd_kafka_DeleteGroup_destroy(old);
            let answer = answer?;
            let mut count = 0;
            let result = sys::rd_kafka_event_DeleteGroups_result(answer.pointer());
            group_rows(sys::rd_kafka_DeleteGroups_result_groups(result, &mut count), count).map(|_| ())
        }
    }
}

fn committed(rows: &[Entry], partition: &TopicPartition) -> Result<Option<GroupOffset>, Fault> {
    let row = list::of_partition(rows, partition)?;
    Ok((row.offset >= 0).then(|| GroupOffset {
        partition: partition.clone(),
        offset: row.offset,
        metadata: row.metadata.clone(),
    }))
}

/// # Safety
/// `groups` holds `count` valid results.
unsafe fn group_rows(groups: *mut *const sys::rd_kafka_group_result_t, count: usize) -> Result<Vec<Entry>, Fault> {
    if count == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: valid as promised by the caller.
    unsafe {
        fault::check_borrowed(sys::rd_kafka_group_result_error(*groups))?;
        Ok(list::entries(sys::rd_kafka_group_result_partitions(*groups)))
    }
}
