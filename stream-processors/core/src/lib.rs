//! Windows, watermarks, lateness, accumulators and the two folds: pure, no I/O, no clock.
//!
//! Everything here is a plain function of facts that are passed in: records with their offsets and append times, markers,
//! the time. The [`driver`] runs a whole job on nothing but this crate.
//!
//! Times are milliseconds since the Unix epoch, UTC. Windows are half-open `[start, end)`.

pub mod aggregate;
pub mod dedupe;
pub mod dispatch;
pub mod driver;
pub mod job;
pub mod join;
pub mod merge;
pub mod partial;
pub mod process;
pub mod session;
pub mod table;
pub mod value;
pub mod versions;
pub mod watermark;
pub mod window;

pub use job::{Accumulator, Dedupe, Input, Job, JobSpec, LatePolicy, NEVER_MS, Reject, Sample, UNTIMED, ViewRow};
pub use window::Windowing;
