//! What librdkafka says went wrong, as plain facts.

use std::ffi::{c_char, c_int};

use rdkafka::bindings as sys;

use super::{ErrorText, text};

// Declared again with integers: bindgen's enum makes a code that is newer than this librdkafka undefined behaviour.
unsafe extern "C" {
    fn rd_kafka_err2str(code: c_int) -> *const c_char;
    fn rd_kafka_error_code(error: *const sys::rd_kafka_error_t) -> c_int;
    fn rd_kafka_fatal_error(rk: *mut sys::rd_kafka_t, text: *mut c_char, size: usize) -> c_int;
}

/// Error codes that decisions are made on, by Kafka's names; those that librdkafka adds begin with `LOCAL_`.
pub(crate) mod code {
    use rdkafka::bindings::rd_kafka_resp_err_t as e;

    macro_rules! codes {
        ($($name:ident = $variant:ident,)*) => { $(pub(crate) const $name: i32 = e::$variant as i32;)* };
    }
    codes! {
        NO_ERROR = RD_KAFKA_RESP_ERR_NO_ERROR,
        LOCAL_ASSIGN_PARTITIONS = RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS,
        LOCAL_AUTO_OFFSET_RESET = RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET,
        LOCAL_FATAL = RD_KAFKA_RESP_ERR__FATAL,
        LOCAL_FENCED = RD_KAFKA_RESP_ERR__FENCED,
        LOCAL_INCONSISTENT = RD_KAFKA_RESP_ERR__INCONSISTENT,
        LOCAL_INVALID_ARG = RD_KAFKA_RESP_ERR__INVALID_ARG,
        LOCAL_NOENT = RD_KAFKA_RESP_ERR__NOENT,
        LOCAL_QUEUE_FULL = RD_KAFKA_RESP_ERR__QUEUE_FULL,
        LOCAL_ALL_BROKERS_DOWN = RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN,
        LOCAL_TIMED_OUT = RD_KAFKA_RESP_ERR__TIMED_OUT,
        LOCAL_TRANSPORT = RD_KAFKA_RESP_ERR__TRANSPORT,
        LOCAL_UNKNOWN_PARTITION = RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION,
        LOCAL_UNKNOWN_TOPIC = RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
        LOCAL_UNSUPPORTED_FEATURE = RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE,
        CLUSTER_AUTHORIZATION_FAILED = RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED,
        COORDINATOR_LOAD_IN_PROGRESS = RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
        COORDINATOR_NOT_AVAILABLE = RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
        FENCED_LEADER_EPOCH = RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH,
        FENCED_INSTANCE_ID = RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID,
        FENCED_MEMBER_EPOCH = RD_KAFKA_RESP_ERR_FENCED_MEMBER_EPOCH,
        GROUP_AUTHORIZATION_FAILED = RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
        GROUP_ID_NOT_FOUND = RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND,
        ILLEGAL_GENERATION = RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION,
        INCONSISTENT_GROUP_PROTOCOL = RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL,
        INVALID_CONFIG = RD_KAFKA_RESP_ERR_INVALID_CONFIG,
        INVALID_PARTITIONS = RD_KAFKA_RESP_ERR_INVALID_PARTITIONS,
        INVALID_PRODUCER_EPOCH = RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
        INVALID_RECORD = RD_KAFKA_RESP_ERR_INVALID_RECORD,
        INVALID_REPLICATION_FACTOR = RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR,
        INVALID_SESSION_TIMEOUT = RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT,
        INVALID_TRANSACTION_TIMEOUT = RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT,
        LEADER_NOT_AVAILABLE = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
        MSG_SIZE_TOO_LARGE = RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
        NON_EMPTY_GROUP = RD_KAFKA_RESP_ERR_NON_EMPTY_GROUP,
        NOT_COORDINATOR = RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
        NOT_LEADER_FOR_PARTITION = RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        OFFSET_METADATA_TOO_LARGE = RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE,
        OFFSET_OUT_OF_RANGE = RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE,
        POLICY_VIOLATION = RD_KAFKA_RESP_ERR_POLICY_VIOLATION,
        PRODUCER_FENCED = RD_KAFKA_RESP_ERR_PRODUCER_FENCED,
        RECORD_LIST_TOO_LARGE = RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE,
        STALE_MEMBER_EPOCH = RD_KAFKA_RESP_ERR_STALE_MEMBER_EPOCH,
        TOPIC_ALREADY_EXISTS = RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS,
        TOPIC_AUTHORIZATION_FAILED = RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
        TOPIC_DELETION_DISABLED = RD_KAFKA_RESP_ERR_TOPIC_DELETION_DISABLED,
        TOPIC_EXCEPTION = RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION,
        TRANSACTIONAL_ID_AUTHORIZATION_FAILED = RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        UNKNOWN_LEADER_EPOCH = RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH,
        UNKNOWN_MEMBER_ID = RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID,
        UNKNOWN_TOPIC_OR_PART = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
        UNSUPPORTED_FOR_MESSAGE_FORMAT = RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT,
        UNSUPPORTED_VERSION = RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION,
        UNSTABLE_OFFSET_COMMIT = RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT,
    }
}

/// An error of librdkafka or the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// One of [`code`], or any other number that Kafka defines.
    pub(crate) code: i32,
    /// What happened, in librdkafka's or the broker's words.
    pub(crate) text: String,
    /// The handle is of no further use.
    pub(crate) fatal: bool,
    /// The same call may be made again.
    pub(crate) retriable: bool,
    /// The transaction can only be aborted now.
    pub(crate) abortable: bool,
}

impl Fault {
    /// An error of which only the code is known.
    pub(crate) fn of_code(code: i32) -> Self {
        // SAFETY: takes any integer and returns a static or thread-local NUL-terminated string.
        let text = unsafe { text(rd_kafka_err2str(code)) };
        Self { code, text, fatal: code == code::LOCAL_FATAL, retriable: false, abortable: false }
    }

    /// An error with a text of its own; an empty one is replaced by the code's.
    pub(crate) fn with_text(code: i32, text: String) -> Self {
        let fault = Self::of_code(code);
        if text.is_empty() { fault } else { Self { text, ..fault } }
    }

    /// The call waited for as long as it may.
    pub(crate) fn timed_out(what: &str) -> Self {
        Self::with_text(code::LOCAL_TIMED_OUT, format!("{what} timed out"))
    }
}

/// `Ok` for no error.
pub(super) fn check_code(code: i32) -> Result<(), Fault> {
    if code == code::NO_ERROR { Ok(()) } else { Err(Fault::of_code(code)) }
}

/// Takes over an error object; `Ok` for null.
///
/// # Safety
/// `error` is null, or an error object that the caller owns.
pub(super) unsafe fn check(error: *mut sys::rd_kafka_error_t) -> Result<(), Fault> {
    // SAFETY: owned by us as promised, so valid until it is destroyed below, once.
    unsafe {
        let result = check_borrowed(error);
        if !error.is_null() {
            sys::rd_kafka_error_destroy(error);
        }
        result
    }
}

/// As [`check`], for an error object that stays librdkafka's.
///
/// # Safety
/// `error` is null or valid.
pub(super) unsafe fn check_borrowed(error: *const sys::rd_kafka_error_t) -> Result<(), Fault> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: valid as promised by the caller; the calls only read it.
    unsafe {
        let code = rd_kafka_error_code(error);
        if code == code::NO_ERROR {
            return Ok(());
        }
        Err(Fault {
            code,
            text: text(sys::rd_kafka_error_string(error)),
            fatal: sys::rd_kafka_error_is_fatal(error) != 0,
            retriable: sys::rd_kafka_error_is_retriable(error) != 0,
            abortable: sys::rd_kafka_error_txn_requires_abort(error) != 0,
        })
    }
}

/// The first fatal error that the client has met, with its own code rather than `LOCAL_FATAL`.
///
/// # Safety
/// `rk` is a live client.
pub(super) unsafe fn fatal(rk: *mut sys::rd_kafka_t) -> Option<Fault> {
    let mut room = ErrorText::new();
    let (pointer, size) = room.pointer();
    // SAFETY: the client is live as promised, and the buffer is as long as said.
    let code = unsafe { rd_kafka_fatal_error(rk, pointer, size) };
    (code != code::NO_ERROR).then(|| Fault { fatal: true, ..Fault::with_text(code, room.take()) })
}
