//! Requests to the cluster: each is sent with a queue of its own and waited for.

use std::time::Duration;

use rdkafka::bindings as sys;

use super::fault::{self, Fault, check_code};
use super::handle::{Handle, Kind};
use super::{Conf, ErrorText, millis, text};
use crate::watch::{Call, blocking};

pub(crate) use super::admin_offsets::{EARLIEST, LATEST};

pub(super) type Operation = sys::rd_kafka_admin_op_t;

/// How long the broker may take.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// How much longer the answer may take to get here; then librdkafka itself has given up before.
const GRACE: Duration = Duration::from_secs(5);
/// librdkafka's own patience with requests to a group's coordinator, the longest that it takes: nobody waits for so long. One that
/// it gives up while the coordinator is away ends the process when that is back: `rd_kafka_coord_req_fsm` then calls
/// `rd_kafka_admin_coord_request` with what has been freed (`eonce->refcnt > 0`, librdkafka issue 3663, pull request 5397, not
/// released). So whoever asks gives up first, and an answer that comes after that finds no queue.
const COORDINATOR_TIMEOUT: Duration = Duration::from_secs(3_600);

/// A client for requests: a consumer that never joins, since a producer's requests could make topics by accident.
pub(crate) struct Admin {
    handle: Handle,
}

/// The options of a request.
pub(super) struct Options(*mut sys::rd_kafka_AdminOptions_t);

impl Options {
    fn new(handle: &Handle, operation: Operation, timeout: Duration) -> Self {
        let mut room = ErrorText::new();
        let (pointer, size) = room.pointer();
        // SAFETY: live client and options; a buffer as long as said. A timeout in range is never refused.
        unsafe {
            let options = sys::rd_kafka_AdminOptions_new(handle.pointer(), operation);
            sys::rd_kafka_AdminOptions_set_request_timeout(options, millis(timeout), pointer, size);
            Self(options)
        }
    }

    /// The controller answers when its change is done, not when it has begun.
    pub(super) fn wait_for_change(&mut self) -> Result<(), Fault> {
        let mut room = ErrorText::new();
        let (pointer, size) = room.pointer();
        // SAFETY: live options, a buffer as long as said.
        let result =
            unsafe { sys::rd_kafka_AdminOptions_set_operation_timeout(self.0, millis(REQUEST_TIMEOUT), pointer, size) };
        check_code(result as i32).map_err(|fault| Fault::with_text(fault.code, room.take()))
    }

    /// Offsets of open transactions are waited for, not passed over.
    pub(super) fn require_stable(&mut self) -> Result<(), Fault> {
        // SAFETY: live options; the error returned is ours.
        unsafe { fault::check(sys::rd_kafka_AdminOptions_set_require_stable_offsets(self.0, 1)) }
    }

    pub(super) fn read_committed(&mut self, read_committed: bool) -> Result<(), Fault> {
        let level = match read_committed {
            true => sys::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
            false => sys::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED,
        };
        // SAFETY: live options; the error returned is ours.
        unsafe { fault::check(sys::rd_kafka_AdminOptions_set_isolation_level(self.0, level)) }
    }

    /// Live as long as this value.
    pub(super) fn pointer(&self) -> *const sys::rd_kafka_AdminOptions_t {
        self.0
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once.
        unsafe { sys::rd_kafka_AdminOptions_destroy(self.0) }
    }
}

/// The answer to a request.
pub(super) struct Answer(*mut sys::rd_kafka_event_t);

impl Answer {
    /// Live as long as this value.
    pub(super) fn pointer(&self) -> *mut sys::rd_kafka_event_t {
        self.0
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once.
        unsafe { sys::rd_kafka_event_destroy(self.0) }
    }
}

impl Admin {
    pub(crate) fn new(conf: Conf) -> Result<Self, String> {
        Ok(Self { handle: Handle::new(Kind::Consumer, conf, None)? })
    }

    /// Asks any broker for its metadata: whether the cluster can be reached.
    pub(crate) fn ping(&self, timeout: Duration) -> Result<(), Fault> {
        let mut metadata = std::ptr::null();
        // SAFETY: live client; no topic asked for; the metadata is ours when there is no error.
        unsafe {
            let rk = self.handle.pointer();
            let result = blocking(Call::Request, timeout, || {
                sys::rd_kafka_metadata(rk, 0, std::ptr::null_mut(), &mut metadata, millis(timeout))
            });
            check_code(result as i32)?;
            sys::rd_kafka_metadata_destroy(metadata);
        }
        Ok(())
    }

    /// Live as long as this value.
    pub(super) fn client(&self) -> *mut sys::rd_kafka_t {
        self.handle.pointer()
    }

    pub(super) fn options(&self, operation: Operation) -> Options {
        Options::new(&self.handle, operation, REQUEST_TIMEOUT)
    }

    /// For a request to the coordinator of a group: [`Admin::ask_within`] bounds how long it is waited for.
    pub(super) fn options_of_group(&self, operation: Operation) -> Options {
        Options::new(&self.handle, operation, COORDINATOR_TIMEOUT)
    }

    /// Sends a request and waits for its answer. `send` gets the client and the queue to answer to.
    pub(super) fn ask(
        &self,
        send: impl FnOnce(*mut sys::rd_kafka_t, *mut sys::rd_kafka_queue_t),
    ) -> Result<Answer, Fault> {
        self.ask_within(REQUEST_TIMEOUT + GRACE, send)
    }

    /// As [`Admin::ask`], for so long.
    pub(super) fn ask_within(
        &self,
        longest: Duration,
        send: impl FnOnce(*mut sys::rd_kafka_t, *mut sys::rd_kafka_queue_t),
    ) -> Result<Answer, Fault> {
        // SAFETY: live client; the queue is ours, outlives the request or is told apart by librdkafka's reference count, and is
        // destroyed once; the event is ours.
        let event = unsafe {
            let queue = sys::rd_kafka_queue_new(self.handle.pointer());
            send(self.handle.pointer(), queue);
            let event = blocking(Call::Request, longest, || sys::rd_kafka_queue_poll(queue, millis(longest)));
            sys::rd_kafka_queue_destroy(queue);
            event
        };
        if event.is_null() {
            return Err(Fault::timed_out("the request"));
        }
        let answer = Answer(event);
        // SAFETY: live event; the error code is librdkafka's own or the broker's for the whole request.
        let (code, text) =
            unsafe { (sys::rd_kafka_event_error(event) as i32, text(sys::rd_kafka_event_error_string(event))) };
        check_code(code).map_err(|fault| Fault::with_text(fault.code, text))?;
        Ok(answer)
    }
}
