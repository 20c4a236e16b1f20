//! Takes documents from a queue, runs the steps of a pipeline on them in child processes, and reports.
//!
//! The worker never parses a document itself: each step is a process of its own with limits on memory, CPU, time and output, so a
//! crash, a hang or a bomb in a document is an error of that document, and the worker goes on with the next one.
//!
//! The way of a task: `tasks` asks the queue for one (`client`), `contents` fetches the document, `work` runs the steps (`executor`)
//! and keeps the log of attempts, `report` says what became of it until the service has taken that. Meanwhile `heartbeat` names all
//! leases in hand; a lease that is revoked ends its step at once.
//!
//! Bounds of one worker: [`CAPACITY_MAX`] tasks at a time; of a task the document on disk, each step's output on disk, and one
//! output (32 MiB at most) in memory while it is read.

mod backoff;
mod client;
mod contents;
mod executor;
mod heartbeat;
mod held;
mod parent;
mod pipeline;
mod progress;
mod report;
mod room;
mod settings;
mod status;
mod stop;
mod tasks;
mod usage;
mod wire;
mod work;
mod worker;

pub use client::{Client, Error as ClientError, Token};
pub use executor::{Cancelled, Executor, Limit, Outcome, Ran, Run, Running, Verdict};
pub use parent::end_with_parent;
pub use pipeline::{Error as PipelineError, Limits, Pipeline, RETRIES_MAX, STEPS_MAX, Step};
pub use settings::{CAPACITY_MAX, Error, Settings};
pub use status::{InHand, Status};
pub use stop::Stop;
pub use wire::{AttemptReport, Document, Task};
pub use worker::Worker;
