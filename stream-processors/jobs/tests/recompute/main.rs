//! Figures computed again from their offsets: on the embedded log and local views, after the real stages have made them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, in its helpers too")]

mod gone;
mod late;
#[path = "../support/registry.rs"]
mod registry;
mod tampered;
mod windows;
mod world;
mod write;
