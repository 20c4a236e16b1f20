//! What workers send and get, as JSON.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::workers::Worker;

/// A worker asks for a task.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LeaseBody {
    /// Who; 1 to 128 bytes.
    pub(super) worker: String,
    /// Tasks that it takes at a time, 1 to 1024.
    #[serde(default = "one")]
    pub(super) capacity: i32,
}

fn one() -> i32 {
    1
}

/// A task, or none.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeaseAnswer {
    /// None is `null`.
    pub(super) task: Option<Task>,
    /// With none: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<&'static str>,
}

/// A task with its lease.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Task {
    /// Which.
    pub(super) task_id: String,
    /// Fencing token of the lease; named in every report.
    pub(super) token: i64,
    /// How many leases the task has had, this one included.
    pub(super) attempt: i32,
    /// The lease is lost then, unless a next step has begun.
    #[serde(with = "crate::instant")]
    #[schema(value_type = String, format = DateTime)]
    pub(super) deadline: i64,
    /// `{"file_id","name","type","bytes"}`.
    #[schema(value_type = Object)]
    pub(super) document: Box<RawValue>,
}

/// A worker lives.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeartbeatBody {
    /// Who; 1 to 128 bytes.
    pub(super) worker: String,
    /// Tasks that it takes at a time; 0 drains it.
    #[serde(default = "one")]
    pub(super) capacity: i32,
    /// Resident memory of the worker and its steps.
    #[serde(default)]
    pub(super) memory_bytes: i64,
    /// CPU since the last heartbeat; 100 is one core.
    #[serde(default)]
    pub(super) cpu_percent: i32,
    /// Leases that it holds.
    #[serde(default)]
    pub(super) tasks: Vec<Held>,
}

/// A lease that a worker holds.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Held {
    /// Which task.
    pub(super) task_id: String,
    /// Its token.
    pub(super) token: i64,
    /// The step that is being worked on; empty before the first.
    #[serde(default)]
    pub(super) step: String,
}

/// Leases that are none any more: their work is to be dropped.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HeartbeatAnswer {
    pub(super) revoked: Vec<Revoked>,
}

/// A lease that is none any more.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Revoked {
    pub(super) task_id: String,
    pub(super) token: i64,
}

/// What a worker says of a lease.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReportBody {
    /// Who.
    pub(super) worker: String,
    /// Of the lease.
    pub(super) token: i64,
    /// Of a failure: the step.
    pub(super) step: Option<String>,
    /// Of a failure: what went wrong.
    pub(super) error: Option<String>,
    /// Of a refusal: why.
    pub(super) reason: Option<String>,
    /// Runs of steps, in order; at most 1000.
    #[serde(default)]
    pub(super) attempts: Vec<Attempt>,
    /// Of a completion: the results, at most 32 MiB of JSON; stored as they are.
    #[schema(value_type = Option<Object>)]
    pub(super) result: Option<Box<RawValue>>,
}

/// One run of one step.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Attempt {
    /// Which step.
    pub(super) step: String,
    /// 1 to 100: the first run and its retries.
    pub(super) attempt: i32,
    /// OK, FAILED, CRASHED, KILLED, GARBAGE or INFRASTRUCTURE.
    pub(super) outcome: String,
    /// For people.
    pub(super) message: Option<String>,
    /// By the worker's clock, milliseconds since 1970.
    pub(super) started_at: i64,
    /// Microseconds by the clock.
    pub(super) wall_us: i64,
    /// Microseconds of CPU.
    pub(super) cpu_us: i64,
    /// Peak resident memory.
    pub(super) memory_bytes: i64,
}

/// The report was taken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReportAnswer {
    #[schema(example = "accepted")]
    pub(super) outcome: &'static str,
}

/// How a queue stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct QueueAnswer {
    pub(super) queue: String,
    /// Tasks that wait.
    pub(super) pending: usize,
    /// Tasks in workers' hands.
    pub(super) leased: usize,
    /// By name.
    pub(super) workers: Vec<Worker>,
}

impl QueueAnswer {
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    pub(crate) fn leased(&self) -> usize {
        self.leased
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers.len()
    }
}
