//! Input from strangers, changed at random: nothing panics, allocates without measure, or reads back as something else.
//!
//! Each target replays its corpus (`corpus/TARGET/`), then changes members of it for some seconds: 2 in a test run,
//! `TIDEMARK_FUZZ_SECONDS` where that is set. An input that fails is kept in the corpus; the seed is printed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test fails by panicking; modules of one binary"
)]

mod alloc;
mod corpus;
mod datum;
mod input;
mod mutate;
mod resolve;
mod spool;
