//! Topics: describe, create, grow, configure, delete.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::ptr::{null, null_mut};

use rdkafka::bindings as sys;

use super::admin::{Admin, Operation, REQUEST_TIMEOUT};
use super::fault::{self, Fault, check_code};
use super::{ErrorText, c_string, code, millis, text};
use crate::watch::{Call, blocking};

/// Partitions of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Partitions {
    /// In all.
    pub(crate) all: u32,
    /// With a leader, so that they can be read and written.
    pub(crate) led: u32,
}

impl Admin {
    /// How many partitions a topic has; `None` when there is no such topic. Also refreshes what the client knows of the topic's
    /// leaders: an offset request fails for as long as the client remembers that there was no topic.
    pub(crate) fn partitions(&self, topic: &str) -> Result<Option<Partitions>, Fault> {
        let name = c_string(topic);
        let mut metadata = null();
        // SAFETY: live client; topic handle and metadata are ours and destroyed once; the arrays are as long as said.
        unsafe {
            let handle = sys::rd_kafka_topic_new(self.client(), name.as_ptr(), null_mut());
            if handle.is_null() {
                return Err(Fault::with_text(code::LOCAL_INVALID_ARG, format!("{topic:?} is no topic name")));
            }
            let timeout = millis(REQUEST_TIMEOUT);
            let result = blocking(Call::Request, REQUEST_TIMEOUT, || {
                sys::rd_kafka_metadata(self.client(), 0, handle, &mut metadata, timeout)
            });
            sys::rd_kafka_topic_destroy(handle);
            check_code(result as i32)?;
            let found = if (*metadata).topic_cnt == 1 { partitions(&*(*metadata).topics) } else { Ok(None) };
            sys::rd_kafka_metadata_destroy(metadata);
            found
        }
    }

    /// Makes a topic; `replication` −1 is the broker's default.
    pub(crate) fn create_topic(
        &self,
        topic: &str,
        partitions: u32,
        replication: i32,
        config: &[(&str, String)],
    ) -> Result<(), Fault> {
        let mut options = self.options(Operation::RD_KAFKA_ADMIN_OP_CREATETOPICS);
        options.wait_for_change()?;
        let count = c_int::try_from(partitions).unwrap_or(c_int::MAX);
        let name = c_string(topic);
        let mut room = ErrorText::new();
        let (pointer, size) = room.pointer();
        // SAFETY: a NUL-terminated name, which is copied, and a buffer as long as said.
        let mut new = unsafe { sys::rd_kafka_NewTopic_new(name.as_ptr(), count, replication, pointer, size) };
        if new.is_null() {
            return Err(Fault::with_text(code::LOCAL_INVALID_ARG, room.take()));
        }
        for (name, value) in config {
            let (name, value) = (c_string(name), c_string(value));
            // SAFETY: live and ours; both strings are copied.
            unsafe { sys::rd_kafka_NewTopic_set_config(new, name.as_ptr(), value.as_ptr()) };
        }
        // SAFETY: all live; the request copies the topic.
        let answer =
            self.ask(|rk, queue| unsafe { sys::rd_kafka_CreateTopics(rk, &mut new, 1, options.pointer(), queue) });
        // SAFETY: ours, destroyed once. The answer is of this kind and outlives what is read from it.
        unsafe {
            sys::rd_kafka_NewTopic_destroy(new);
            let answer = answer?;
            let mut count = 0;
            let result = sys::rd_kafka_event_CreateTopics_result(answer.pointer());
            topic_result(sys::rd_kafka_CreateTopics_result_topics(result, &mut count), count)
        }
    }

    /// Gives a topic more partitions: `partitions` in all.
    pub(crate) fn grow_topic(&self, topic: &str, partitions: u32) -> Result<(), Fault> {
        let mut options = self.options(Operation::RD_KAFKA_ADMIN_OP_CREATEPARTITIONS);
        options.wait_for_change()?;
        let name = c_string(topic);
        let mut room = ErrorText::new();
        let (pointer, size) = room.pointer();
        // SAFETY: a NUL-terminated name, which is copied, and a buffer as long as said.
        let mut new = unsafe { sys::rd_kafka_NewPartitions_new(name.as_ptr(), partitions as usize, pointer, size) };
        if new.is_null() {
            return Err(Fault::with_text(code::LOCAL_INVALID_ARG, room.take()));
        }
        // SAFETY: all live; the request copies the description.
        let answer =
            self.ask(|rk, queue| unsafe { sys::rd_kafka_CreatePartitions(rk, &mut new, 1, options.pointer(), queue) });
        // SAFETY: ours, destroyed once. The answer is of this kind and outlives what is read from it.
        unsafe {
            sys::rd_kafka_NewPartitions_destroy(new);
            let answer = answer?;
            let mut count = 0;
            let result = sys::rd_kafka_event_CreatePartitions_result(answer.pointer());
            topic_result(sys::rd_kafka_CreatePartitions_result_topics(result, &mut count), count)
        }
    }

    /// Deletes a topic. The controller answers when it has forgotten the topic; brokers hear of it a moment later.
    pub(crate) fn delete_topic(&self, topic: &str) -> Result<(), Fault> {
        let mut options = self.options(Operation::RD_KAFKA_ADMIN_OP_DELETETOPICS);
        options.wait_for_change()?;
        let name = c_string(topic);
        // SAFETY: a NUL-terminated name, which is copied.
        let mut old = unsafe { sys::rd_kafka_DeleteTopic_new(name.as_ptr()) };
        // SAFETY: all live; the request copies the name.
        let answer =
            self.ask(|rk, queue| unsafe { sys::rd_kafka_DeleteTopics(rk, &mut old, 1, options.pointer(), queue) });
        // SAFETY: ours, destroyed once. The answer is of this kind and outlives what is read from it.
        unsafe {
            sys::rd_kafka_DeleteTopic_destroy(old);
            let answer = answer?;
            let mut count = 0;
            let result = sys::rd_kafka_event_DeleteTopics_result(answer.pointer());
            topic_result(sys::rd_kafka_DeleteTopics_result_topics(result, &mut count), count)
        }
    }

    /// A topic's configuration, defaults included.
    pub(crate) fn topic_config(&self, topic: &str) -> Result<BTreeMap<String, String>, Fault> {
        let options = self.options(Operation::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
        let resource = Resource::topic(topic);
        let mut pointers = [resource.0];
        // SAFETY: all live; the request copies the resource.
        let answer = self.ask(|rk, queue| unsafe {
            sys::rd_kafka_DescribeConfigs(rk, pointers.as_mut_ptr(), 1, options.pointer(), queue);
        })?;
        // SAFETY: the answer is of this kind and outlives what is read from it; the arrays are as long as said.
        unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_DescribeConfigs_result(answer.pointer());
            let resources = sys::rd_kafka_DescribeConfigs_result_resources(result, &mut count);
            if count == 0 {
                return Ok(BTreeMap::new());
            }
            resource_result(*resources)?;
            let entries = sys::rd_kafka_ConfigResource_configs(*resources, &mut count);
            let pair = |entry: usize| {
                let entry = *entries.add(entry);
                (text(sys::rd_kafka_ConfigEntry_name(entry)), text(sys::rd_kafka_ConfigEntry_value(entry)))
            };
            Ok((0..count).map(pair).collect())
        }
    }

    /// Sets some of a topic's properties; the others stay.
    pub(crate) fn set_topic_config(&self, topic: &str, config: &[(&str, String)]) -> Result<(), Fault> {
        let options = self.options(Operation::RD_KAFKA_ADMIN_OP_INCREMENTALALTERCONFIGS);
        let resource = Resource::topic(topic);
        for (name, value) in config {
            resource.set(name, value)?;
        }
        let mut pointers = [resource.0];
        // SAFETY: all live; the request copies the resource.
        let answer = self.ask(|rk, queue| unsafe {
            sys::rd_kafka_IncrementalAlterConfigs(rk, pointers.as_mut_ptr(), 1, options.pointer(), queue);
        })?;
        // SAFETY: the answer is of this kind and outlives what is read from it.
        unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_IncrementalAlterConfigs_result(answer.pointer());
            let resources = sys::rd_kafka_IncrementalAlterConfigs_result_resources(result, &mut count);
            if count == 0 { Ok(()) } else { resource_result(*resources) }
        }
    }
}

/// # Safety
/// `topic` comes from valid metadata.
unsafe fn partitions(topic: &sys::rd_kafka_metadata_topic) -> Result<Option<Partitions>, Fault> {
    // SAFETY: valid as promised by the caller; the code is read as an integer, and the array is as long as said.
    unsafe {
        match (&raw const topic.err).cast::<i32>().read() {
            code::NO_ERROR | code::LEADER_NOT_AVAILABLE => {}
            code::UNKNOWN_TOPIC_OR_PART => return Ok(None),
            other => return Err(Fault::of_code(other)),
        }
        let all = usize::try_from(topic.partition_cnt).unwrap_or(0);
        let led = (0..all).filter(|partition| (*topic.partitions.add(*partition)).leader >= 0).count();
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Ok(Some(Partitions { all: count(all), led: count(led) }))
    }
}

/// A topic as the holder of properties.
struct Resource(*mut sys::rd_kafka_ConfigResource_t);

impl Resource {
    fn topic(topic: &str) -> Self {
        let name = c_string(topic);
        // SAFETY: a NUL-terminated name, which is copied.
        Self(unsafe {
            sys::rd_kafka_ConfigResource_new(sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC, name.as_ptr())
        })
    }

    fn set(&self, name: &str, value: &str) -> Result<(), Fault> {
        let (name, value) = (c_string(name), c_string(value));
        let set = sys::rd_kafka_AlterConfigOpType_t::RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET;
        // SAFETY: live and ours; both strings are copied; the error returned is ours.
        unsafe {
            let error = sys::rd_kafka_ConfigResource_add_incremental_config(self.0, name.as_ptr(), set, value.as_ptr());
            fault::check(error)
        }
    }
}

impl Drop for Resource {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once.
        unsafe { sys::rd_kafka_ConfigResource_destroy(self.0) }
    }
}

/// # Safety
/// `topics` holds `count` valid results.
unsafe fn topic_result(topics: *mut *const sys::rd_kafka_topic_result_t, count: usize) -> Result<(), Fault> {
    if count == 0 {
        return Ok(());
    }
    // SAFETY: valid as promised by the caller.
    unsafe {
        let text = text(sys::rd_kafka_topic_result_error_string(*topics));
        let result = check_code(sys::rd_kafka_topic_result_error(*topics) as i32);
        result.map_err(|fault| Fault::with_text(fault.code, text))
    }
}

/// # Safety
/// `resource` is valid.
unsafe fn resource_result(resource: *const sys::rd_kafka_ConfigResource_t) -> Result<(), Fault> {
    // SAFETY: valid as promised by the caller.
    unsafe {
        let text = text(sys::rd_kafka_ConfigResource_error_string(resource));
        let result = check_code(sys::rd_kafka_ConfigResource_error(resource) as i32);
        result.map_err(|fault| Fault::with_text(fault.code, text))
    }
}
