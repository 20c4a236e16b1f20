//! Documents and their tasks, field by field as in `avsc/documents/`.

use crate::avro_record;

avro_record! {
    /// `CountEntry.avsc`: Changelog entry: what has been counted of a queue.
    pub struct CountEntry {
        /// Documents that have become DONE; decides the mail at every 1,000th.
        pub done: i64,
    }
}

avro_record! {
    /// `Document.avsc`: A document and the state of its task: row of the view documents, keyed by tenant/queue/file_id, and changelog entry.
    pub struct Document {
        /// Whose.
        pub tenant: String,
        /// Name of the queue.
        pub queue: String,
        /// SHA-256 of the contents.
        pub file_id: String,
        /// Which task.
        pub task_id: String,
        /// As the uploader calls it.
        pub name: String,
        /// Media type.
        pub media_type: String,
        /// Size of the contents.
        pub bytes: i64,
        /// Who uploaded it.
        pub owner: String,
        /// Mail address of the owner; empty when there is none.
        pub mail: String,
        /// UPLOADED, PROCESSING, DONE or ERROR.
        pub state: String,
        /// First upload.
        pub uploaded_at: i64,
        /// Of the state.
        pub changed_at: i64,
        /// When it last entered the queue.
        pub queued_at: i64,
        /// When the latest lease was given; 0 before the first.
        pub leased_at: i64,
        /// Of the latest lease.
        pub worker: Option<String>,
        /// Of the latest lease; 0 before the first.
        pub token: i64,
        /// Leases so far.
        pub attempt: i32,
        /// Being worked on, or that failed.
        pub step: Option<String>,
        /// What went wrong.
        pub error: Option<String>,
        /// SHA-256 under which the results are stored.
        pub result: Option<String>,
        /// Size of the results.
        pub result_bytes: i64,
        /// Uploads of the same contents that were told to be duplicates.
        pub duplicates: i64,
        /// Leases given back or never taken up, and lost ones.
        pub infrastructure_failures: i32,
        /// Lines of its log so far.
        pub seq: i64,
        /// Offset + 1 of the command that made it so: the highest is the latest.
        pub revision: i64,
    }
}

avro_record! {
    /// `DocumentUploaded.avsc`: Contents have been stored under their hash and somebody wants them processed. Whether they are new is decided where this is read.
    pub struct DocumentUploaded {
        /// Whose.
        pub tenant: String,
        /// Name of the queue.
        pub queue: String,
        /// Names the answer.
        pub request_id: String,
        /// Unique per upload: the Idempotency-Key, else the request id. The same upload again is no duplicate; 1 to 255 bytes.
        pub upload_id: String,
        /// SHA-256 of the contents, 64 hexadecimal digits in lower case.
        pub file_id: String,
        /// As the uploader calls it: data, never a path; 1 to 255 bytes.
        pub name: String,
        /// Media type, found in the bytes.
        pub media_type: String,
        /// Size of the contents.
        pub bytes: i64,
        /// Who uploaded it; 1 to 128 bytes.
        pub owner: String,
        /// Mail address of the owner; empty when there is none.
        pub mail: String,
        /// Milliseconds since the epoch.
        pub received_at: i64,
    }
}

avro_record! {
    /// `StepAttempted.avsc`: One run of one step of a document, reported with the lease that it ran under. Keyed by tenant/queue/file_id.
    pub struct StepAttempted {
        /// Whose.
        pub tenant: String,
        /// Made of file_id, token, step and attempt: the same run has the same id.
        pub event_id: String,
        /// SHA-256 of the contents.
        pub file_id: String,
        /// Which task.
        pub task_id: String,
        /// Of the lease.
        pub token: i64,
        /// Which worker.
        pub worker: String,
        /// 0, 1, … within the lease.
        pub place: i32,
        /// Which step.
        pub step: String,
        /// 1 to 4.
        pub attempt: i32,
        /// OK, FAILED, CRASHED, KILLED, GARBAGE or INFRASTRUCTURE.
        pub outcome: String,
        /// For people.
        pub message: Option<String>,
        /// Media type of the document.
        pub media_type: String,
        /// Event time: when it was reported.
        pub at: i64,
        /// By the worker's clock.
        pub started_at: i64,
        /// Microseconds by the clock.
        pub wall_us: i64,
        /// Microseconds of CPU, user and system.
        pub cpu_us: i64,
        /// Peak resident memory.
        pub memory_bytes: i64,
    }
}

avro_record! {
    /// `TaskChanged.avsc`: A line of the task log: one change of a document's task, or what was noticed about it. Keyed by tenant/queue/file_id.
    pub struct TaskChanged {
        /// Whose.
        pub tenant: String,
        /// Made of file_id and seq: the same change has the same id.
        pub event_id: String,
        /// SHA-256 of the contents.
        pub file_id: String,
        /// Which task.
        pub task_id: String,
        /// 1, 2, … within the document.
        pub seq: i64,
        /// Event time.
        pub at: i64,
        /// UPLOADED, ASSIGNED, REQUEUED, DONE, ERROR, CANCELLED, RETRIED, DUPLICATE, or REFUSED (a stale token).
        pub event: String,
        /// After it: UPLOADED, PROCESSING, DONE or ERROR.
        pub state: String,
        /// For people.
        pub message: String,
        /// Which worker.
        pub worker: Option<String>,
        /// Fencing token of the lease.
        pub token: Option<i64>,
        /// Of the task: which lease.
        pub attempt: Option<i32>,
        /// The step that failed.
        pub step: Option<String>,
        /// Media type.
        pub media_type: String,
        /// Size of the contents.
        pub bytes: i64,
        /// With ASSIGNED: how long it was in the queue.
        pub queued_ms: Option<i64>,
        /// With DONE and ERROR: from the lease to the report.
        pub worked_ms: Option<i64>,
    }
}

avro_record! {
    /// `UploadEntry.avsc`: Changelog entry: an upload that has been answered, remembered for a day so that the same one is not answered twice.
    pub struct UploadEntry {
        /// Which upload.
        pub upload_id: String,
        /// SHA-256 of the contents.
        pub file_id: String,
        /// CREATED, DUPLICATE or RETRIED.
        pub outcome: String,
        /// When, milliseconds since the epoch.
        pub at: i64,
    }
}
