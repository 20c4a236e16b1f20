//! End to end: the shipped binary as its users run it, on embedded parts and on real Kafka, a CQL store and a registry.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test fails by panicking; modules of one binary"
)]

mod browser;
mod collector;
mod documents;
mod embedded;
mod flows;
mod ingest;
mod jobs;
mod lifecycle;
mod manage;
mod process;
mod recompute;
mod rewrite;
mod servers;
mod signin;
mod topics;
mod traces;
mod tryout;
mod tutorial;
mod webdriver;
