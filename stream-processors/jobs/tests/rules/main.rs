//! The rules that keep windowed state exact, one test for the counterexample of each: stable offset fetch, markers, sealed
//! windows, checkpoints. The stages are driven by hand over the embedded log, so that a test decides who steps when.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod bounds;
mod checkpoints;
mod claims;
mod damage;
mod hooked;
mod machine;
mod markers;
#[path = "../support/registry.rs"]
mod registry;
mod standby;
mod takeover;
mod world;
