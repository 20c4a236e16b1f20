//! Keyed processes on the shipped stage: `simulation.rs` runs a small one under every fault of the simulated log, by seed;
//! `rules.rs` asks for one promise at a time; `views.rs` is the writer of rows alone; `kafka.rs` the same on a real broker.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod accounts;
mod check;
mod kafka;
mod plans;
#[path = "../../../jobs/tests/support/registry.rs"]
mod registry;
mod rest;
mod rules;
mod schedule;
#[path = "../../../jobs/tests/simulation/seat.rs"]
mod seat;
mod simulation;
mod topics;
mod views;
mod world;
