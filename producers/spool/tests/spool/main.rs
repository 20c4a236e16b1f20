//! The spool on a disk in memory that fails and crashes as it is told, and on a real one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod bounds;
mod damage;
mod faults;
mod model;
mod support;
