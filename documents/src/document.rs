//! Documents as JSON.

use serde::{Deserialize, Serialize};
use tidemark_schemas::documents::{Document, StepAttempted, TaskChanged};
use utoipa::ToSchema;

/// A document and the state of its task. Times are milliseconds since 1970, UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Document)]
pub struct Shown {
    /// SHA-256 of the contents, 64 hexadecimal digits.
    pub file_id: String,
    /// Its task; it stays over retries.
    pub task_id: String,
    /// Name of the queue.
    pub queue: String,
    /// As the uploader calls it.
    pub name: String,
    /// Media type, found in the bytes.
    #[serde(rename = "type")]
    pub media_type: String,
    /// Size of the contents.
    pub bytes: i64,
    /// Who uploaded it.
    pub owner: String,
    /// UPLOADED, PROCESSING, DONE or ERROR.
    #[schema(example = "DONE")]
    pub state: String,
    /// First upload.
    #[serde(with = "crate::instant")]
    #[schema(value_type = String, format = DateTime)]
    pub uploaded_at: i64,
    /// Of the state.
    #[serde(with = "crate::instant")]
    #[schema(value_type = String, format = DateTime)]
    pub changed_at: i64,
    /// When it last entered the queue.
    #[serde(with = "crate::instant")]
    #[schema(value_type = String, format = DateTime)]
    pub queued_at: i64,
    /// When the latest lease was given; none before the first.
    #[serde(with = "crate::instant::if_ever")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub leased_at: i64,
    /// Of the latest lease.
    pub worker: Option<String>,
    /// Leases so far.
    pub attempt: i32,
    /// Being worked on, or that failed.
    pub step: Option<String>,
    /// What went wrong.
    pub error: Option<String>,
    /// SHA-256 of its results.
    pub result: Option<String>,
    /// Size of its results.
    pub result_bytes: i64,
    /// Uploads of the same contents that were told to be duplicates.
    pub duplicates: i64,
    /// Leases given back, never taken up, or lost.
    pub infrastructure_failures: i32,
    /// Grows with each change.
    pub revision: i64,
}

impl From<Document> for Shown {
    fn from(row: Document) -> Self {
        Self {
            file_id: row.file_id,
            task_id: row.task_id,
            queue: row.queue,
            name: row.name,
            media_type: row.media_type,
            bytes: row.bytes,
            owner: row.owner,
            state: row.state,
            uploaded_at: row.uploaded_at,
            changed_at: row.changed_at,
            queued_at: row.queued_at,
            leased_at: row.leased_at,
            worker: row.worker,
            attempt: row.attempt,
            step: row.step,
            error: row.error,
            result: row.result,
            result_bytes: row.result_bytes,
            duplicates: row.duplicates,
            infrastructure_failures: row.infrastructure_failures,
            revision: row.revision,
        }
    }
}

/// A document with the runs of its steps.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OneDocument {
    #[serde(flatten)]
    pub(crate) document: Shown,
    /// In the order of the leases and within them.
    pub(crate) steps: Vec<Step>,
}

/// One run of one step.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StepRun)]
pub(crate) struct Step {
    /// Which step.
    step: String,
    /// 1 to 100: the first run and its retries.
    attempt: i32,
    /// OK, FAILED, CRASHED, KILLED, GARBAGE or INFRASTRUCTURE.
    outcome: String,
    /// For people.
    message: Option<String>,
    /// Who ran it.
    worker: String,
    /// Fencing token of the lease.
    token: i64,
    /// 0, 1, … within the lease.
    place: i32,
    /// By the worker's clock.
    #[serde(with = "crate::instant")]
    #[schema(value_type = String, format = DateTime)]
    started_at: i64,
    /// When it was reported.
    #[serde(with = "crate::instant")]
    #[schema(value_type = String, format = DateTime)]
    reported_at: i64,
    /// Microseconds by the clock.
    wall_us: i64,
    /// Microseconds of CPU.
    cpu_us: i64,
    /// Peak resident memory.
    memory_bytes: i64,
}

impl From<StepAttempted> for Step {
    fn from(run: StepAttempted) -> Self {
        Self {
            step: run.step,
            attempt: run.attempt,
            outcome: run.outcome,
            message: run.message,
            worker: run.worker,
            token: run.token,
            place: run.place,
            started_at: run.started_at,
            reported_at: run.at,
            wall_us: run.wall_us,
            cpu_us: run.cpu_us,
            memory_bytes: run.memory_bytes,
        }
    }
}

/// A line of a document's log.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LogLine)]
pub(crate) struct Line {
    /// 1, 2, … within the document.
    seq: i64,
    /// When.
    #[serde(with = "crate::instant")]
    #[schema(value_type = String, format = DateTime)]
    at: i64,
    /// UPLOADED, ASSIGNED, REQUEUED, DONE, ERROR, RETRIED, DUPLICATE or REFUSED.
    event: String,
    /// After it.
    state: String,
    /// For people.
    message: String,
    /// Which worker.
    worker: Option<String>,
    /// Fencing token of the lease.
    token: Option<i64>,
    /// Which lease of the task.
    attempt: Option<i32>,
    /// The step that failed.
    step: Option<String>,
    /// With ASSIGNED: how long it was in the queue.
    queued_ms: Option<i64>,
    /// With DONE and ERROR: from the lease to the report.
    worked_ms: Option<i64>,
}

impl From<TaskChanged> for Line {
    fn from(line: TaskChanged) -> Self {
        Self {
            seq: line.seq,
            at: line.at,
            event: line.event,
            state: line.state,
            message: line.message,
            worker: line.worker,
            token: line.token,
            attempt: line.attempt,
            step: line.step,
            queued_ms: line.queued_ms,
            worked_ms: line.worked_ms,
        }
    }
}
