//! Stages: *consume → fold → commit*, the only thing that runs.
//!
//! A job is a chain of three stages linked by topics: [`partial`] folds records of a source partition, [`merge`] folds
//! partials into window state, [`writer`] puts rows into a view store. [`plan`] knows the topics, [`drive`] runs one stage
//! on one thread, [`run`] keeps the threads of a process going. [`keyed`] runs state machines by key.
//!
//! Invariants:
//! - records are folded with no transaction open; outputs, changelog and offsets commit together or not at all;
//! - after any failed commit the member is dropped and what was folded is thrown away: state is rebuilt from what the
//!   group has committed;
//! - no stage reads a clock: time is passed in.

mod align;
pub mod drive;
pub mod error;
mod held;
pub mod keyed;
mod lag;
mod letters;
pub mod merge;
pub mod metrics;
mod operator;
pub mod partial;
pub mod plan;
pub mod repair;
mod replay;
mod restore;
pub mod run;
mod seen;
mod slices;
pub mod standby;
pub mod state;
pub mod tables;
pub mod trace;
pub mod writer;

pub use align::Alignment;
pub use drive::{Operator, StageConfig};
pub use error::Error;
pub use metrics::Metrics;
pub use plan::Plan;
pub use run::{Running, Settings};
