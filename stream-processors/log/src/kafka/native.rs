//! A thin safe layer over librdkafka, so that unsafe code is in this folder and nowhere else.
//!
//! What is written by hand instead of taken from `rdkafka`'s safe types, and why:
//! - revocations are reported and answered later ([`consumer`]), where the crate answers them inside its poll;
//! - batches of borrowed messages from `rd_kafka_consume_batch_queue` ([`messages`]), twice as fast as polling one by one;
//! - a flush that ends with the last acknowledgement ([`producer`]), where the crate's polls in steps of 100 ms;
//! - a drop that never blocks and never leaves the group by itself ([`handle`]).

#![allow(unsafe_code, reason = "calls to librdkafka; every block says what makes it sound")]

pub(super) mod admin;
mod admin_groups;
mod admin_offsets;
mod admin_topics;
mod conf;
pub(super) mod consumer;
pub(super) mod fault;
mod handle;
mod headers;
mod list;
mod messages;
pub(super) mod producer;

use std::ffi::{CStr, CString, c_char, c_int};
use std::time::Duration;

pub(super) use conf::Conf;
pub(super) use fault::{Fault, code};
pub use headers::NativeHeaders;
pub(super) use messages::{MessageError, Messages};

unsafe extern "C" {
    fn _exit(status: c_int) -> !;
}

/// Ends the process without exit handlers.
pub(crate) fn end_process(status: i32) -> ! {
    // SAFETY: no preconditions, and nothing runs after it.
    unsafe { _exit(status) }
}

/// A timeout as librdkafka takes it: whole milliseconds, rounded up so that a short wait does not become none.
fn millis(timeout: Duration) -> c_int {
    c_int::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
}

/// A name for C. Topic, group and property names never hold NUL; one that does is cut off there and then unknown to the broker.
fn c_string(text: &str) -> CString {
    let end = text.find('\0').unwrap_or(text.len());
    CString::new(text.get(..end).unwrap_or_default()).unwrap_or_default()
}

/// The text at `text`, empty for null.
///
/// # Safety
/// `text` is null or a NUL-terminated string.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null, and NUL-terminated as promised by the caller.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// Room for an error text that librdkafka writes.
struct ErrorText([c_char; 512]);

impl ErrorText {
    fn new() -> Self {
        Self([0; 512])
    }

    fn pointer(&mut self) -> (*mut c_char, usize) {
        (self.0.as_mut_ptr(), self.0.len())
    }

    fn take(&self) -> String {
        // SAFETY: zeroed at first, and librdkafka always terminates what it writes within the size it was given.
        unsafe { text(self.0.as_ptr()) }
    }
}
