//! The gateway over the embedded log, without a socket.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod accept;
mod avro;
mod away;
mod events;
mod faults;
mod files;
mod hostile;
mod idempotency;
mod property;
mod refuse;
mod support;
mod topics;
mod typed;
