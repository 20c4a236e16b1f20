//! The document pipeline: who uploaded what, which worker has it, how it ended, and who is told.
//!
//! [`Documents`] is a keyed process over `documents.commands`: the dispatch queue ([`tidemark_core::dispatch`]) decides who works
//! on what, and around it are the documents, the uploads of the last day, and a count of what is done. Its promises:
//! - the same contents in one queue are one document and one task, however many uploads of them race;
//! - each upload, lease, report and action is answered once for each time that it is asked, and the same upload again as before;
//! - every change of a task is a line of its log, in the order of time, with nothing left out between `seq` 1 and the last;
//! - a report under an old lease changes nothing but that log;
//! - each mail is decided exactly once.
//!
//! Limits: a document belongs to one queue of its tenant. Each costs about 400 bytes of memory for as long as it is known, which is
//! for ever (measured: 397 bytes over 200,000 that are done), and an upload about 300 more for a day.

mod acts;
mod change;
mod effects;
pub mod figures;
mod ids;
mod intake;
mod keep;
mod keys;
mod lane;
mod mails;
mod messages;
pub mod plan;
mod process;
mod requests;
mod rules;
mod uploads;

pub use figures::{JOBS, differs, run_times};
pub use plan::start;
pub use process::Documents;
pub use rules::{ATTEMPTS_MAX, CAPACITY_MAX, MESSAGE_BYTES_MAX};

use tidemark_core::dispatch;

/// Outputs of the process, in the order of its topics.
pub mod output {
    /// `Answered`, by request_id.
    pub const ANSWERS: usize = 0;
    /// `TaskChanged`, by tenant/queue/file_id.
    pub const TASKS: usize = 1;
    /// `StepAttempted`, by tenant/queue/file_id.
    pub const STEPS: usize = 2;
    /// `Document`, by tenant/queue/file_id.
    pub const ROWS: usize = 3;
    /// `WorkerChanged`, by tenant, queue and worker.
    pub const WORKERS: usize = 4;
    /// `MailRequested`, by mail_id.
    pub const MAILS: usize = 5;
}

/// States of a document.
pub mod state {
    /// It waits for a worker.
    pub const UPLOADED: &str = "UPLOADED";
    /// A worker has it.
    pub const PROCESSING: &str = "PROCESSING";
    /// Its results are stored.
    pub const DONE: &str = "DONE";
    /// It failed for good, or was cancelled.
    pub const ERROR: &str = "ERROR";
}

/// What an operator may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Leases, deadlines and bounds of every queue.
    pub dispatch: dispatch::Settings,
    /// A mail is sent at every so many documents that have become DONE; 1 or more.
    pub progress_every: i64,
    /// Who gets it; when nobody is named, the owner of the document that made the number full.
    pub progress_to: Vec<String>,
    /// The same upload within so much time gets the answer of the first, milliseconds.
    pub upload_kept_ms: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dispatch: dispatch::Settings::default(),
            progress_every: 1_000,
            progress_to: Vec::new(),
            upload_kept_ms: 24 * 3_600_000,
        }
    }
}
