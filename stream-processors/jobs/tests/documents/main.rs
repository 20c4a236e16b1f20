//! The document pipeline: the process alone, the process with a restart anywhere, the process at work on a log.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, in its helpers too")]

mod leases;
mod mails;
#[path = "../support/registry.rs"]
mod registry;
mod restarts;
mod rules;
mod stage;
mod uploads;
mod world;
