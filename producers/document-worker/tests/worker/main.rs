//! The worker with real child processes, against a small service over real HTTP.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod away;
mod executor;
mod failures;
mod overhead;
mod parent;
mod service;
mod stop;
mod support;
mod tasks;
