//! Abuse: what strangers send to the shipped binary. After each attack the process lives, its memory is bounded and a good
//! request is answered.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test fails by panicking; modules of one binary"
)]

mod access;
mod avro;
mod bodies;
mod framing;
mod names;
mod slow;
mod target;
