//! Flow records and their hourly sums, field by field as in `avsc/flows/`.

use crate::avro_record;

avro_record! {
    /// `FlowObserved.avsc`: one network flow as an agent saw it.
    pub struct FlowObserved<'a> {
        /// Whose data this is.
        pub tenant: &'a str,
        /// Application that opened the connection; 1 to 256 bytes.
        pub src_app: &'a str,
        /// Application or address it connected to; 1 to 256 bytes.
        pub dest_app: &'a str,
        /// Virtual network of the source; 1 to 256 bytes.
        pub vpc_id: &'a str,
        /// Event time, milliseconds since the epoch.
        pub observed_at: i64,
        /// Bytes sent; 0 to 2^53-1.
        pub bytes_tx: i64,
        /// Bytes received; 0 to 2^53-1.
        pub bytes_rx: i64,
        /// Unique per event, a UUID.
        pub event_id: &'a str,
    }
}

avro_record! {
    /// `FlowHourly.avsc`: the sums of one (tenant, hour, src_app, dest_app, vpc_id).
    pub struct FlowHourly<'a> {
        /// Whose data this is.
        pub tenant: &'a str,
        /// Application that opened the connections.
        pub src_app: &'a str,
        /// Application or address they went to.
        pub dest_app: &'a str,
        /// Virtual network of the source.
        pub vpc_id: &'a str,
        /// Start of the hour, milliseconds since the epoch.
        pub window_start: i64,
        /// Partition of the partials topic that holds this key.
        pub merge_partition: i32,
        /// Append time of the first partial of the window here; retention counts from it.
        pub opened_at: i64,
        /// Flow records folded.
        pub records: i64,
        /// Sum of bytes sent.
        pub bytes_tx: i128,
        /// Sum of bytes received.
        pub bytes_rx: i128,
        /// Grows when partials are rebuilt; 0 to 1023.
        pub epoch: i32,
        /// Last folded partials offset + 1.
        pub revision: i64,
    }
}
