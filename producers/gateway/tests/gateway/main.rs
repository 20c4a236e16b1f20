//! The gateway over the embedded log, without a socket.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod accept;
mod avro;
mod faults;
mod hostile;
mod idempotency;
mod refuse;
mod support;
