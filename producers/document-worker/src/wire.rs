//! What goes over HTTP between worker and service.

use serde::{Deserialize, Serialize};

/// A task and the lease under which it is worked on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Task {
    /// Which task.
    pub task_id: String,
    /// Fencing token of the lease.
    pub token: i64,
    /// What to work on.
    pub document: Document,
}

/// A document.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Document {
    /// SHA-256 of the contents, 64 hexadecimal digits in lower case.
    pub file_id: String,
    /// As the uploader calls it: data, never a path.
    pub name: String,
    /// Media type.
    #[serde(rename = "type")]
    pub media_type: String,
    /// Size of the contents.
    pub bytes: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct LeaseBody<'a> {
    pub(crate) worker: &'a str,
    pub(crate) capacity: usize,
}

#[derive(Debug, Deserialize)]
pub(crate) struct LeaseAnswer {
    pub(crate) task: Option<Task>,
}

#[derive(Debug, Serialize)]
pub(crate) struct HeartbeatBody<'a> {
    pub(crate) worker: &'a str,
    pub(crate) capacity: usize,
    pub(crate) memory_bytes: u64,
    pub(crate) cpu_percent: u32,
    pub(crate) tasks: Vec<HeldLease>,
}

/// A lease in hand.
#[derive(Debug, Serialize)]
pub(crate) struct HeldLease {
    pub(crate) task_id: String,
    pub(crate) token: i64,
    /// Another one than before moves the lease's deadline; see [`crate::status::InHand::step`] for the names.
    pub(crate) step: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct HeartbeatAnswer {
    #[serde(default)]
    pub(crate) revoked: Vec<RevokedLease>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RevokedLease {
    pub(crate) task_id: String,
    pub(crate) token: i64,
}

/// A line of the attempt log: one run of one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttemptReport {
    /// Which step.
    pub step: String,
    /// 1 to 4.
    pub attempt: u32,
    /// OK, FAILED, CRASHED, KILLED, GARBAGE or INFRASTRUCTURE.
    pub outcome: &'static str,
    /// For people.
    pub message: Option<String>,
    /// Milliseconds since the epoch, by the worker's clock.
    pub started_at: i64,
    /// Microseconds by the clock.
    pub wall_us: u64,
    /// Microseconds of CPU, user and system.
    pub cpu_us: u64,
    /// Peak resident memory.
    pub memory_bytes: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct ReportBody<'a> {
    pub(crate) worker: &'a str,
    pub(crate) token: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) step: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'a str>,
    pub(crate) attempts: &'a [AttemptReport],
}
