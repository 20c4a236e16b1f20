//! A transactional producer.

use std::ffi::{c_char, c_int, c_void};
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::bindings as sys;

use super::consumer::GroupMetadata;
use super::fault::{self, Fault, code};
use super::handle::{Handle, Kind};
use super::list::List;
use super::{Conf, c_string, millis};
use crate::watch::{Call, blocking};
use crate::{GroupOffset, Outgoing};

/// How long a flush waits before it looks for messages that failed: those count as outstanding until their report is read.
const FLUSH_SLICE: Duration = Duration::from_millis(50);
/// A call that has no timeout of its own and waits for nothing but a thread of librdkafka.
const QUICK: Duration = Duration::from_secs(1);

/// A transactional producer. Only failed messages are reported, as events: delivered ones are then counted off by the broker
/// threads themselves, so that a flush ends with the last acknowledgement instead of at the next poll.
pub(crate) struct Producer {
    // Topics and queue before the handle: they must be gone before their client is.
    topics: Vec<Topic>,
    reports: Reports,
    handle: Handle,
    closed: Arc<AtomicU64>,
}

/// A topic handle: saves the look-up by name for each record.
struct Topic {
    name: String,
    pointer: *mut sys::rd_kafka_topic_t,
}

// SAFETY: topic calls may be made from any thread.
unsafe impl Send for Topic {}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once, before its client.
        unsafe { sys::rd_kafka_topic_destroy(self.pointer) }
    }
}

/// The queue of delivery reports.
struct Reports(*mut sys::rd_kafka_queue_t);

// SAFETY: queue calls may be made from any thread.
unsafe impl Send for Reports {}

impl Drop for Reports {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once, before its client.
        unsafe { sys::rd_kafka_queue_destroy(self.0) }
    }
}

impl Producer {
    /// `conf` names the transactional id and sets `delivery.report.only.error`.
    pub(crate) fn new(mut conf: Conf) -> Result<Self, String> {
        let closed = Arc::new(AtomicU64::new(0));
        // SAFETY: live configuration; the callback gets the counter as its opaque pointer, which the handle keeps until the
        // client has ended.
        unsafe {
            sys::rd_kafka_conf_set_events(conf.pointer(), sys::RD_KAFKA_EVENT_DR);
            sys::rd_kafka_conf_set_opaque(conf.pointer(), Arc::as_ptr(&closed).cast_mut().cast::<c_void>());
            sys::rd_kafka_conf_set_closesocket_cb(conf.pointer(), Some(on_close));
        }
        let handle = Handle::new(Kind::Producer, conf, Some(Box::new(Arc::clone(&closed))))?;
        // SAFETY: live client; the reference taken here is given back by `Reports`.
        let reports = Reports(unsafe { sys::rd_kafka_queue_get_main(handle.pointer()) });
        Ok(Self { topics: Vec::new(), reports, handle, closed })
    }

    /// Connections closed so far, whoever closed them. A request that was on one may still reach the broker, long after
    /// librdkafka has sent it again on the next one: a request without an answer always counts, since `socket.max.fails` of 1
    /// closes its connection before it is sent again.
    pub(crate) fn connections_closed(&self) -> u64 {
        self.closed.load(Ordering::Acquire)
    }

    /// Fences older producers of the same id and ends what they left open.
    pub(crate) fn init(&self, timeout: Duration) -> Result<(), Fault> {
        // SAFETY: live client; the error returned is ours.
        let call = || unsafe { fault::check(sys::rd_kafka_init_transactions(self.handle.pointer(), millis(timeout))) };
        blocking(Call::InitTransactions, timeout, call)
    }

    pub(crate) fn begin(&self) -> Result<(), Fault> {
        // SAFETY: as above.
        let call = || unsafe { fault::check(sys::rd_kafka_begin_transaction(self.handle.pointer())) };
        blocking(Call::BeginTransaction, QUICK, call)
    }

    pub(crate) fn send_offsets(
        &self,
        offsets: &[GroupOffset],
        group: &GroupMetadata,
        timeout: Duration,
    ) -> Result<(), Fault> {
        let mut list = List::new(offsets.len());
        for offset in offsets {
            list.add(&offset.partition.topic, offset.partition.partition, Some(offset.offset), &offset.metadata);
        }
        let rk = self.handle.pointer();
        let timeout_ms = millis(timeout);
        // SAFETY: live client, list and metadata, all copied; the error returned is ours.
        let call = || unsafe {
            fault::check(sys::rd_kafka_send_offsets_to_transaction(rk, list.pointer(), group.pointer(), timeout_ms))
        };
        blocking(Call::SendOffsets, timeout, call)
    }

    pub(crate) fn commit(&self, timeout: Duration) -> Result<(), Fault> {
        // SAFETY: live client; the error returned is ours.
        let call = || unsafe { fault::check(sys::rd_kafka_commit_transaction(self.handle.pointer(), millis(timeout))) };
        blocking(Call::CommitTransaction, timeout, call)
    }

    /// Purges what has not been sent and ends the transaction as aborted. Purged messages count as outstanding until their
    /// reports are read, and the call waits for them: they are read here while another thread makes it.
    pub(crate) fn abort(&self, timeout: Duration) -> Result<(), Fault> {
        let handle = &self.handle;
        let call = || {
            std::thread::scope(|scope| {
                // SAFETY: live client; the error returned is ours.
                let call =
                    move || unsafe { fault::check(sys::rd_kafka_abort_transaction(handle.pointer(), millis(timeout))) };
                let call = scope.spawn(call);
                while !call.is_finished() {
                    let _ = self.failed_message(Duration::from_millis(1));
                }
                call.join().unwrap_or_else(|_| Err(Fault::timed_out("the abort")))
            })
        };
        blocking(Call::AbortTransaction, timeout, call)
    }

    /// What made the client unusable, if anything did.
    pub(crate) fn fatal(&self) -> Option<Fault> {
        // SAFETY: live client.
        unsafe { fault::fatal(self.handle.pointer()) }
    }

    /// Waits for every message to be acknowledged, or for the first that failed.
    pub(crate) fn flush(&self, timeout: Duration) -> Result<(), Fault> {
        blocking(Call::Flush, timeout, || self.wait_for_acknowledgements(timeout))
    }

    fn wait_for_acknowledgements(&self, timeout: Duration) -> Result<(), Fault> {
        let deadline = std::time::Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            // SAFETY: live client.
            let done = unsafe { sys::rd_kafka_flush(self.handle.pointer(), millis(left.min(FLUSH_SLICE))) } as i32;
            if let Some(fault) = self.failed_message(Duration::ZERO).or_else(|| self.fatal()) {
                return Err(fault);
            }
            if done == code::NO_ERROR {
                return Ok(());
            }
            if left.is_zero() {
                return Err(Fault::timed_out("waiting for the broker to acknowledge records"));
            }
        }
    }

    /// Reads the reports there are, waiting for a first one up to `timeout`; the first failure among them.
    fn failed_message(&self, timeout: Duration) -> Option<Fault> {
        let mut first = None;
        // SAFETY: the queue is live; events are ours and destroyed once, their messages only read before that.
        unsafe {
            loop {
                let wait = if first.is_none() { millis(timeout) } else { 0 };
                let event = sys::rd_kafka_queue_poll(self.reports.0, wait);
                if event.is_null() {
                    return first;
                }
                let message = sys::rd_kafka_event_message_next(event);
                if !message.is_null() && first.is_none() {
                    first = Some(Fault::of_code((&raw const (*message).err).cast::<i32>().read()));
                }
                sys::rd_kafka_event_destroy(event);
            }
        }
    }

    /// Waits a moment for room in the queue of outgoing messages.
    pub(crate) fn make_room(&self) -> Result<(), Fault> {
        match self.flush(Duration::from_millis(5)) {
            Err(fault) if fault.code != code::LOCAL_TIMED_OUT || fault.fatal => Err(fault),
            Err(_) | Ok(()) => Ok(()),
        }
    }

    /// Copies a record into the queue of outgoing messages.
    pub(crate) fn produce(&mut self, record: &Outgoing<'_>) -> Result<(), Fault> {
        let partition = i32::try_from(record.partition).unwrap_or(i32::MAX);
        let topic = self.topic(record.topic)?;
        if record.headers.is_empty() {
            produce_plain(topic, partition, record)
        } else {
            self.produce_with_headers(topic, partition, record)
        }
    }

    fn topic(&mut self, name: &str) -> Result<*mut sys::rd_kafka_topic_t, Fault> {
        if let Some(topic) = self.topics.iter().find(|topic| topic.name == name) {
            return Ok(topic.pointer);
        }
        let name_c = c_string(name);
        // SAFETY: live client, NUL-terminated name, default configuration.
        let pointer = unsafe { sys::rd_kafka_topic_new(self.handle.pointer(), name_c.as_ptr(), null_mut()) };
        if pointer.is_null() {
            return Err(Fault::with_text(code::LOCAL_INVALID_ARG, format!("{name:?} is no topic name")));
        }
        self.topics.push(Topic { name: name.to_owned(), pointer });
        Ok(pointer)
    }

    fn produce_with_headers(
        &self,
        topic: *mut sys::rd_kafka_topic_t,
        partition: i32,
        record: &Outgoing<'_>,
    ) -> Result<(), Fault> {
        let (key, value) = (raw(record.key), raw(record.value));
        let values = [
            vu(sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_RKT, |u| u.rkt = topic),
            vu(sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_PARTITION, |u| u.i32_ = partition),
            vu(sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_MSGFLAGS, |u| u.i = sys::RD_KAFKA_MSG_F_COPY),
            vu(sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_KEY, |u| u.mem = Memory { ptr: key.0.cast_mut(), size: key.1 }),
            vu(sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_VALUE, |u| {
                u.mem = Memory { ptr: value.0.cast_mut(), size: value.1 }
            }),
            vu(sys::rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADERS, |u| u.headers = headers(record.headers)),
        ];
        // SAFETY: live client and topic, `values` is as long as said; key and value are copied. The headers are librdkafka's
        // when the call succeeds and still ours, to be destroyed once, when it does not.
        unsafe {
            let sent = fault::check(sys::rd_kafka_produceva(self.handle.pointer(), values.as_ptr(), values.len()));
            if let (Err(_), Some(last)) = (&sent, values.last()) {
                sys::rd_kafka_headers_destroy(last.u.headers);
            }
            sent
        }
    }
}

/// Closes a connection and counts it; called on librdkafka's threads.
unsafe extern "C" fn on_close(socket: c_int, opaque: *mut c_void) -> c_int {
    // SAFETY: the opaque pointer is the counter, alive as long as the client; the socket is librdkafka's to close, and is not
    // used after this.
    unsafe {
        (*opaque.cast::<AtomicU64>()).fetch_add(1, Ordering::AcqRel);
        drop(OwnedFd::from_raw_fd(socket));
    }
    0
}

type Memory = sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1;

fn vu(vtype: sys::rd_kafka_vtype_t, set: impl FnOnce(&mut sys::rd_kafka_vu_s__bindgen_ty_1)) -> sys::rd_kafka_vu_s {
    let mut u = sys::rd_kafka_vu_s__bindgen_ty_1 { _pad: [0; 64] };
    set(&mut u);
    sys::rd_kafka_vu_s { vtype, u }
}

fn headers(pairs: &[(&str, &[u8])]) -> *mut sys::rd_kafka_headers_t {
    // SAFETY: a new list, names and values as long as said, both copied.
    unsafe {
        let list = sys::rd_kafka_headers_new(pairs.len());
        for (name, value) in pairs {
            let (name_size, value_size) = (signed(name.len()), signed(value.len()));
            let name = name.as_ptr().cast::<c_char>();
            sys::rd_kafka_header_add(list, name, name_size, value.as_ptr().cast::<c_void>(), value_size);
        }
        list
    }
}

fn signed(size: usize) -> isize {
    isize::try_from(size).unwrap_or(isize::MAX)
}

fn produce_plain(topic: *mut sys::rd_kafka_topic_t, partition: i32, record: &Outgoing<'_>) -> Result<(), Fault> {
    let (key, value) = (raw(record.key), raw(record.value));
    let copy = sys::RD_KAFKA_MSG_F_COPY;
    // SAFETY: a live topic; key and value are null or as long as said, and copied.
    let result =
        unsafe { sys::rd_kafka_produce(topic, partition, copy, value.0.cast_mut(), value.1, key.0, key.1, null_mut()) };
    if result == 0 {
        return Ok(());
    }
    // SAFETY: no preconditions; the error of this thread's last call.
    Err(Fault::of_code(unsafe { sys::rd_kafka_last_error() } as i32))
}

/// Null for none; an empty slice is not null.
fn raw(bytes: Option<&[u8]>) -> (*const c_void, usize) {
    bytes.map_or((std::ptr::null(), 0), |bytes| (bytes.as_ptr().cast(), bytes.len()))
}
