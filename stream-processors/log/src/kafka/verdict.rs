//! What an error means: plain functions, facts in, decision out.

use super::native::{Fault, MessageError, code};
use crate::Error;

/// Where in a transaction something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Before the first one: the producer fences its predecessor.
    Init,
    /// Opening it: nothing has been sent.
    Begin,
    /// Filling it: records and offsets are on their way, its end has not been asked for.
    Fill,
    /// Asking for its end as committed.
    Commit,
    /// Asking for its end as aborted.
    Abort,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// The same call again.
    Again,
    /// Abort, then report this.
    Abort(Kind),
    /// Report this and touch the producer no more.
    Fail(Kind),
}

/// A variant of [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Fenced,
    Indefinite,
    Retriable,
    Invalid,
}

impl Kind {
    pub(super) fn error(self, text: String) -> Error {
        match self {
            Self::Fenced => Error::Fenced(text),
            Self::Indefinite => Error::Indefinite(text),
            Self::Retriable => Error::Retriable(text),
            Self::Invalid => Error::Invalid(text),
        }
    }
}

/// Decides on an error in a transaction; `expired` when there is no time left for another try.
///
/// Once its end may have been asked for, nothing is a definite no: librdkafka repeats EndTxn unseen, so that even "fenced" or
/// "requires abort" may answer the second of two, the first of which did it (`rd_kafka_txn_handle_EndTxn`: "a tricky state since
/// the transaction will have failed locally but the EndTxn(commit) may have succeeded"). Only messages that failed are found
/// before anything is sent.
pub(super) fn decide(stage: Stage, fault: &Fault, expired: bool) -> Decision {
    if fault.retriable && !fault.fatal && !expired {
        return Decision::Again;
    }
    match stage {
        Stage::Abort => Decision::Fail(Kind::Indefinite),
        Stage::Commit if fault.code == code::LOCAL_INCONSISTENT && fault.abortable && !fault.fatal => {
            Decision::Abort(kind(fault.code))
        }
        Stage::Commit => Decision::Fail(Kind::Indefinite),
        Stage::Init | Stage::Begin => Decision::Fail(kind(fault.code)),
        Stage::Fill if fault.fatal => Decision::Fail(kind(fault.code)),
        Stage::Fill => Decision::Abort(kind(fault.code)),
    }
}

/// What an error code says of who is at fault and whether another try is of use.
pub(super) fn kind(code: i32) -> Kind {
    match code {
        code::FENCED_INSTANCE_ID
        | code::ILLEGAL_GENERATION
        | code::INVALID_PRODUCER_EPOCH
        | code::LOCAL_FENCED
        | code::FENCED_MEMBER_EPOCH
        | code::PRODUCER_FENCED
        | code::STALE_MEMBER_EPOCH
        | code::UNKNOWN_MEMBER_ID => Kind::Fenced,
        code::CLUSTER_AUTHORIZATION_FAILED
        | code::GROUP_AUTHORIZATION_FAILED
        | code::INCONSISTENT_GROUP_PROTOCOL
        | code::INVALID_CONFIG
        | code::INVALID_PARTITIONS
        | code::INVALID_RECORD
        | code::INVALID_REPLICATION_FACTOR
        | code::INVALID_SESSION_TIMEOUT
        | code::INVALID_TRANSACTION_TIMEOUT
        | code::LOCAL_INVALID_ARG
        | code::LOCAL_UNSUPPORTED_FEATURE
        | code::MSG_SIZE_TOO_LARGE
        | code::OFFSET_METADATA_TOO_LARGE
        | code::POLICY_VIOLATION
        | code::RECORD_LIST_TOO_LARGE
        | code::TOPIC_AUTHORIZATION_FAILED
        | code::TOPIC_DELETION_DISABLED
        | code::TOPIC_EXCEPTION
        | code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        | code::UNSUPPORTED_FOR_MESSAGE_FORMAT
        | code::UNSUPPORTED_VERSION => Kind::Invalid,
        // Unknown topics too: a broker whose metadata lags says so of a topic that was just made.
        _ => Kind::Retriable,
    }
}

/// Whether a request got no answer at all.
pub(super) fn is_silence(code: i32) -> bool {
    matches!(code, code::LOCAL_ALL_BROKERS_DOWN | code::LOCAL_TIMED_OUT | code::LOCAL_TRANSPORT)
}

/// Whether the broker that keeps a group is being found: it has just been made, has moved, or reads what it has to know.
pub(super) fn is_coordinator_changing(code: i32) -> bool {
    matches!(code, code::COORDINATOR_LOAD_IN_PROGRESS | code::COORDINATOR_NOT_AVAILABLE | code::NOT_COORDINATOR)
}

/// What a failed request means, with the address in it.
pub(super) fn of_request(bootstrap: &str, doing: &str, fault: &Fault) -> Error {
    match kind(fault.code) {
        Kind::Retriable | Kind::Indefinite => Error::Retriable(format!(
            "{doing}: kafka at {bootstrap} did not answer: {}; check that a broker runs there, that the address is right, and \
             that its advertised.listeners can be reached from here",
            fault.text
        )),
        kind @ (Kind::Fenced | Kind::Invalid) => kind.error(format!("{doing}: kafka at {bootstrap}: {}", fault.text)),
    }
}

/// What an error in place of a message means for the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// librdkafka goes on by itself, or a rebalance follows.
    GoesOn,
    /// The offset asked for is not kept.
    OffsetGone,
    /// Reading has ended.
    Ends(Kind),
}

/// Decides on an error in place of a message. An error of one partition ends the reading: it would stand still unseen.
pub(super) fn reading(error: &MessageError) -> Reading {
    match (error.fault.code, kind(error.fault.code)) {
        (code::LOCAL_AUTO_OFFSET_RESET | code::OFFSET_OUT_OF_RANGE, _) => Reading::OffsetGone,
        (code::LOCAL_FATAL, _) => Reading::Ends(Kind::Fenced),
        (_, kind @ (Kind::Fenced | Kind::Invalid | Kind::Indefinite)) => Reading::Ends(kind),
        (_, Kind::Retriable) if error.partition.is_some() => Reading::Ends(Kind::Retriable),
        (_, Kind::Retriable) => Reading::GoesOn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TopicPartition;

    // Decided on by their flags alone, so that no code outside the test names them.
    const REBALANCE_IN_PROGRESS: i32 = 27;
    const OUT_OF_ORDER_SEQUENCE_NUMBER: i32 = 45;
    const INVALID_TXN_STATE: i32 = 48;
    const INVALID_PRODUCER_ID_MAPPING: i32 = 49;
    const CONCURRENT_TRANSACTIONS: i32 = 51;
    const TRANSACTION_ABORTABLE: i32 = 120;
    const LOCAL_MSG_TIMED_OUT: i32 = -192;
    const LOCAL_STATE: i32 = -172;
    const LOCAL_CONFLICT: i32 = -173;

    fn fault(code: i32) -> Fault {
        Fault { code, text: "x".to_owned(), fatal: false, retriable: false, abortable: false }
    }

    #[test]
    fn every_row_of_the_table() {
        let plain = fault(code::LOCAL_TIMED_OUT);
        let retriable = Fault { retriable: true, ..plain.clone() };
        let abortable = |code| Fault { abortable: true, ..fault(code) };
        let fatal = |code| Fault { fatal: true, ..fault(code) };
        let retriable_of = |code| Fault { retriable: true, ..fault(code) };
        let rows = [
            // Retriable: again while there is time, at every stage.
            (Stage::Init, retriable.clone(), false, Decision::Again),
            (Stage::Init, retriable_of(CONCURRENT_TRANSACTIONS), false, Decision::Again),
            (Stage::Begin, retriable.clone(), false, Decision::Again),
            (Stage::Fill, retriable.clone(), false, Decision::Again),
            (Stage::Commit, retriable.clone(), false, Decision::Again),
            (Stage::Commit, retriable_of(LOCAL_STATE), false, Decision::Again),
            (Stage::Abort, retriable.clone(), false, Decision::Again),
            // Out of time: an end that was asked for may have come; nothing else has.
            (Stage::Init, retriable.clone(), true, Decision::Fail(Kind::Retriable)),
            (Stage::Begin, retriable.clone(), true, Decision::Fail(Kind::Retriable)),
            (Stage::Fill, retriable.clone(), true, Decision::Abort(Kind::Retriable)),
            (Stage::Commit, retriable.clone(), true, Decision::Fail(Kind::Indefinite)),
            (Stage::Commit, retriable_of(LOCAL_CONFLICT), true, Decision::Fail(Kind::Indefinite)),
            (Stage::Abort, retriable, true, Decision::Fail(Kind::Indefinite)),
            // Requires abort, before the end was asked for.
            (Stage::Fill, abortable(code::ILLEGAL_GENERATION), false, Decision::Abort(Kind::Fenced)),
            (Stage::Fill, abortable(code::UNKNOWN_MEMBER_ID), false, Decision::Abort(Kind::Fenced)),
            (Stage::Fill, abortable(code::FENCED_INSTANCE_ID), false, Decision::Abort(Kind::Fenced)),
            (Stage::Fill, abortable(code::STALE_MEMBER_EPOCH), false, Decision::Abort(Kind::Fenced)),
            (Stage::Fill, abortable(REBALANCE_IN_PROGRESS), false, Decision::Abort(Kind::Retriable)),
            (Stage::Fill, abortable(code::OFFSET_METADATA_TOO_LARGE), false, Decision::Abort(Kind::Invalid)),
            (Stage::Fill, abortable(code::TOPIC_AUTHORIZATION_FAILED), false, Decision::Abort(Kind::Invalid)),
            (Stage::Fill, abortable(code::GROUP_AUTHORIZATION_FAILED), false, Decision::Abort(Kind::Invalid)),
            (Stage::Fill, abortable(INVALID_PRODUCER_ID_MAPPING), false, Decision::Abort(Kind::Retriable)),
            (Stage::Fill, abortable(TRANSACTION_ABORTABLE), false, Decision::Abort(Kind::Retriable)),
            (Stage::Fill, abortable(code::LOCAL_TIMED_OUT), false, Decision::Abort(Kind::Retriable)),
            // Messages failed: found before the end is asked for.
            (Stage::Commit, abortable(code::LOCAL_INCONSISTENT), false, Decision::Abort(Kind::Retriable)),
            (Stage::Commit, abortable(code::LOCAL_INCONSISTENT), true, Decision::Abort(Kind::Retriable)),
            // Requires abort, but the end may have been asked for and come.
            (Stage::Commit, abortable(LOCAL_STATE), false, Decision::Fail(Kind::Indefinite)),
            (Stage::Commit, abortable(code::LOCAL_TIMED_OUT), false, Decision::Fail(Kind::Indefinite)),
            (Stage::Commit, abortable(INVALID_PRODUCER_ID_MAPPING), false, Decision::Fail(Kind::Indefinite)),
            (Stage::Abort, abortable(INVALID_PRODUCER_ID_MAPPING), false, Decision::Fail(Kind::Indefinite)),
            // Fatal.
            (Stage::Init, fatal(code::LOCAL_FENCED), false, Decision::Fail(Kind::Fenced)),
            (Stage::Init, fatal(code::INVALID_TRANSACTION_TIMEOUT), false, Decision::Fail(Kind::Invalid)),
            (Stage::Init, fatal(code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED), false, Decision::Fail(Kind::Invalid)),
            (Stage::Init, fatal(code::LOCAL_UNSUPPORTED_FEATURE), false, Decision::Fail(Kind::Invalid)),
            (Stage::Begin, fatal(code::PRODUCER_FENCED), false, Decision::Fail(Kind::Fenced)),
            (Stage::Fill, fatal(code::LOCAL_FENCED), false, Decision::Fail(Kind::Fenced)),
            (Stage::Fill, fatal(code::INVALID_PRODUCER_EPOCH), false, Decision::Fail(Kind::Fenced)),
            (Stage::Fill, fatal(code::CLUSTER_AUTHORIZATION_FAILED), false, Decision::Fail(Kind::Invalid)),
            (Stage::Fill, fatal(code::UNSUPPORTED_FOR_MESSAGE_FORMAT), false, Decision::Fail(Kind::Invalid)),
            (Stage::Fill, fatal(INVALID_TXN_STATE), false, Decision::Fail(Kind::Retriable)),
            (Stage::Fill, fatal(OUT_OF_ORDER_SEQUENCE_NUMBER), false, Decision::Fail(Kind::Retriable)),
            (Stage::Commit, fatal(code::PRODUCER_FENCED), false, Decision::Fail(Kind::Indefinite)),
            (Stage::Commit, fatal(INVALID_TXN_STATE), false, Decision::Fail(Kind::Indefinite)),
            (Stage::Abort, fatal(code::PRODUCER_FENCED), false, Decision::Fail(Kind::Indefinite)),
            // None of them: nothing more is asked of the producer but the abort.
            (Stage::Init, plain.clone(), false, Decision::Fail(Kind::Retriable)),
            (Stage::Begin, plain.clone(), false, Decision::Fail(Kind::Retriable)),
            (Stage::Fill, plain.clone(), false, Decision::Abort(Kind::Retriable)),
            (Stage::Fill, fault(LOCAL_MSG_TIMED_OUT), false, Decision::Abort(Kind::Retriable)),
            (Stage::Fill, fault(code::MSG_SIZE_TOO_LARGE), false, Decision::Abort(Kind::Invalid)),
            (Stage::Fill, fault(code::RECORD_LIST_TOO_LARGE), false, Decision::Abort(Kind::Invalid)),
            (Stage::Commit, plain.clone(), false, Decision::Fail(Kind::Indefinite)),
            (Stage::Abort, plain, false, Decision::Fail(Kind::Indefinite)),
            // Fatal wins over every other flag.
            (
                Stage::Commit,
                Fault { fatal: true, retriable: true, ..abortable(code::LOCAL_INCONSISTENT) },
                false,
                Decision::Fail(Kind::Indefinite),
            ),
        ];
        for (stage, fault, expired, wanted) in rows {
            assert_eq!(decide(stage, &fault, expired), wanted, "{stage:?} {fault:?} expired {expired}");
        }
    }

    #[test]
    fn an_indefinite_end_is_never_followed_by_an_abort() {
        for bits in 0..16 {
            let flags = Fault { fatal: bits & 1 > 0, retriable: bits & 2 > 0, abortable: bits & 4 > 0, ..fault(-185) };
            let decision = decide(Stage::Commit, &flags, bits & 8 > 0);
            assert!(!matches!(decision, Decision::Abort(_)), "{flags:?}: {decision:?}");
        }
    }

    #[test]
    fn errors_in_place_of_messages() {
        let error = |code, of_partition: bool| MessageError {
            fault: fault(code),
            partition: of_partition.then(|| TopicPartition::new("t", 0)),
            offset: 5,
        };
        assert_eq!(reading(&error(code::LOCAL_AUTO_OFFSET_RESET, true)), Reading::OffsetGone);
        assert_eq!(reading(&error(code::OFFSET_OUT_OF_RANGE, true)), Reading::OffsetGone);
        assert_eq!(reading(&error(code::LOCAL_FATAL, false)), Reading::Ends(Kind::Fenced));
        assert_eq!(reading(&error(code::FENCED_INSTANCE_ID, false)), Reading::Ends(Kind::Fenced));
        assert_eq!(reading(&error(code::INVALID_SESSION_TIMEOUT, false)), Reading::Ends(Kind::Invalid));
        assert_eq!(reading(&error(code::UNKNOWN_TOPIC_OR_PART, true)), Reading::Ends(Kind::Retriable));
        assert_eq!(reading(&error(code::LOCAL_TIMED_OUT, true)), Reading::Ends(Kind::Retriable));
        assert_eq!(reading(&error(code::LOCAL_TIMED_OUT, false)), Reading::GoesOn);
    }

    #[test]
    fn an_unreachable_broker_is_named_with_what_to_check() {
        let error = of_request("10.0.0.1:9092", "connecting", &Fault::timed_out("it")).to_string();
        assert!(error.contains("10.0.0.1:9092") && error.contains("advertised.listeners"), "{error}");
    }
}
