//! The notifier against a real mail server, a maildir and logs that fail; both are killed at every step that matters.
//!
//! The law of all of these: each mail is taken at least once, it is repeated at most as often as something was killed, and
//! every copy of it is the same, byte for byte.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod deferred;
mod kills;
mod maildir;
#[path = "../../../../stream-processors/jobs/tests/support/registry.rs"]
mod registry;
mod requests;
mod server;
mod simulated;
mod smtp;
mod world;
