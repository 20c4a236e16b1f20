//! A batch of messages borrowed from librdkafka.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::mem;

use rdkafka::bindings as sys;

use super::fault::{Fault, code};
use super::{NativeHeaders, text};
use crate::{Batch, Headers, OnBatch, RawHeaders, Record, TopicPartition};

/// Messages taken in one call: enough to make the call's cost vanish, few enough to keep in the cache.
pub(super) const BATCH: usize = 4_096;

/// The messages of one poll; the memory of the vectors is used again for the next.
pub(crate) struct Messages {
    taken: Vec<*mut sys::rd_kafka_message_t>,
    /// Always empty between calls: kept for its memory.
    records: Vec<Record<'static>>,
}

// SAFETY: messages may be read and destroyed on any thread, and this value owns those that it holds.
unsafe impl Send for Messages {}

/// An error that came in place of a message.
#[derive(Debug, Clone)]
pub(crate) struct MessageError {
    /// What happened.
    pub(crate) fault: Fault,
    /// Of which partition, if of one.
    pub(crate) partition: Option<TopicPartition>,
    /// The offset it happened at, when there is a partition.
    pub(crate) offset: i64,
}

impl Messages {
    pub(crate) fn new() -> Self {
        Self { taken: Vec::with_capacity(BATCH), records: Vec::with_capacity(BATCH) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    /// Lets `fill` write message pointers into the free room; it returns how many it wrote.
    ///
    /// # Safety
    /// The pointers written are messages that the caller owned and now gives away.
    pub(super) unsafe fn fill(
        &mut self,
        most: usize,
        fill: impl FnOnce(*mut *mut sys::rd_kafka_message_t, usize) -> isize,
    ) {
        let room = most.min(self.taken.capacity() - self.taken.len());
        // SAFETY: `room` pointers fit behind the ones there are, and `fill` has written as many as it says.
        unsafe {
            let written = fill(self.taken.as_mut_ptr().add(self.taken.len()), room);
            let written = usize::try_from(written).unwrap_or(0).min(room);
            self.taken.set_len(self.taken.len() + written);
        }
    }

    /// The errors among the messages.
    pub(crate) fn errors(&self) -> impl Iterator<Item = MessageError> {
        // SAFETY: the messages are owned and live.
        self.taken
            .iter()
            .filter(|message| unsafe { code_of(**message) } != code::NO_ERROR)
            .map(|message| unsafe { error_of(*message) })
    }

    /// Hands the messages over, run by run of one partition, passing over errors.
    pub(crate) fn hand_over(&mut self, on_batch: OnBatch<'_>) {
        let mut records: Vec<Record<'_>> = mem::take(&mut self.records);
        // SAFETY: owned and live until `clear`, which needs `&mut self`.
        let place = |message: &*mut sys::rd_kafka_message_t| unsafe { ((**message).rkt, (**message).partition) };
        for run in self.taken.chunk_by(|one, next| place(one) == place(next)) {
            // SAFETY: as above.
            records.extend(run.iter().filter_map(|message| unsafe { record(*message) }));
            if let (Some(first), false) = (run.first(), records.is_empty()) {
                // SAFETY: a message with a record has a topic, whose name lives as long as it.
                let topic = unsafe { CStr::from_ptr(sys::rd_kafka_topic_name((**first).rkt)) };
                let partition = u32::try_from(place(first).1).unwrap_or(u32::MAX);
                on_batch(Batch { topic: topic.to_str().unwrap_or_default(), partition, records: &records });
            }
            records.clear();
        }
        // SAFETY: the vector is empty, so that no borrow is stretched; the types differ in the lifetime alone.
        self.records = unsafe { mem::transmute::<Vec<Record<'_>>, Vec<Record<'static>>>(records) };
    }

    /// Gives the messages back to librdkafka.
    pub(crate) fn clear(&mut self) {
        for message in self.taken.drain(..) {
            // SAFETY: owned, destroyed once.
            unsafe { sys::rd_kafka_message_destroy(message) };
        }
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.clear();
    }
}

/// # Safety
/// `message` is valid.
unsafe fn code_of(message: *const sys::rd_kafka_message_t) -> i32 {
    // SAFETY: valid as promised; read as an integer, since the broker may send a code the enum does not have.
    unsafe { (&raw const (*message).err).cast::<i32>().read() }
}

/// # Safety
/// `message` is valid.
unsafe fn error_of(message: *const sys::rd_kafka_message_t) -> MessageError {
    // SAFETY: valid as promised; an error's payload is its text.
    unsafe {
        let fault = Fault::with_text(code_of(message), text(sys::rd_kafka_message_errstr(message)));
        let partition = (!(*message).rkt.is_null() && (*message).partition >= 0).then(|| {
            let topic = text(sys::rd_kafka_topic_name((*message).rkt));
            TopicPartition::new(topic, u32::try_from((*message).partition).unwrap_or(u32::MAX))
        });
        MessageError { fault, partition, offset: (*message).offset }
    }
}

/// The record in a message, `None` for an error.
///
/// # Safety
/// `message` is valid for `'a`.
unsafe fn record<'a>(message: *const sys::rd_kafka_message_t) -> Option<Record<'a>> {
    // SAFETY: valid for 'a as promised; key and payload are null or as long as said and live as long as the message.
    unsafe {
        if code_of(message) != code::NO_ERROR {
            return None;
        }
        let _: PhantomData<&'a ()> = PhantomData;
        let at = &*message;
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        Some(Record {
            offset: at.offset,
            timestamp: sys::rd_kafka_message_timestamp(message, &mut kind),
            key: bytes(at.key.cast(), at.key_len),
            value: bytes(at.payload.cast(), at.len),
            headers: Headers(RawHeaders::Native(NativeHeaders::new(message))),
        })
    }
}

/// # Safety
/// `start` is null or points to `size` bytes that live for `'a`.
unsafe fn bytes<'a>(start: *const u8, size: usize) -> Option<&'a [u8]> {
    // SAFETY: as promised by the caller.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start, size) })
}
