//! The dispatch queue under random commands, in every state of a small world, and at its size.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod cost;
mod model;
mod properties;
mod watch;
