//! The gateway's own records, field by field as in `avsc/gateway/`.

use crate::avro_record;

avro_record! {
    /// `Answer.avsc`: what a gateway answered to a request with an Idempotency-Key.
    pub struct Answer<'a> {
        /// Whose request; empty for a gateway's own record.
        pub tenant: &'a str,
        /// Idempotency-Key, 1 to 255 bytes; in a gateway's own record its id.
        pub key: &'a str,
        /// XXH3-128 of event type, format, options and body, big-endian; empty in a gateway's own record.
        pub request_hash: &'a [u8],
        /// When the first request was received, milliseconds since the epoch.
        pub received_at: i64,
        /// Event id of the first record when the gateway made it; in a gateway's own record the commit's id.
        pub first_id: &'a str,
    }
}
