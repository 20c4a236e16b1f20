//! The gateway's own records, field by field as in `avsc/gateway/`.

use crate::avro_record;

avro_record! {
    /// `Answer.avsc`: what a gateway answered to a request with an Idempotency-Key.
    pub struct Answer<'a> {
        /// Whose request.
        pub tenant: &'a str,
        /// Idempotency-Key, 1 to 255 bytes.
        pub key: &'a str,
        /// XXH3-128 of event type, format, options and body, big-endian.
        pub request_hash: &'a [u8],
        /// When the first request was received, milliseconds since the epoch.
        pub received_at: i64,
        /// Event id of the first record when the gateway made it.
        pub first_id: &'a str,
    }
}

avro_record! {
    /// `SpoolPosition.avsc`: how far a gateway has published its spool.
    pub struct SpoolPosition<'a> {
        /// Id of the spool.
        pub spool: &'a str,
        /// Opening of the spool that gave the position.
        pub run: i64,
        /// Of the next entry.
        pub position: i64,
        /// Events of that entry that are published already.
        pub record: i32,
    }
}
