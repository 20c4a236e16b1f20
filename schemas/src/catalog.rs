//! Every schema of the platform, by full name.

use std::borrow::Cow;

/// A schema that is read or written: one of the platform's, or one that a job brings with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// Namespace and name, for example `tidemark.flows.FlowObserved`.
    pub name: Cow<'static, str>,
    /// The .avsc text.
    pub avsc: Cow<'static, str>,
}

macro_rules! schemas {
    ($($(#[$meta:meta])* $id:ident = $name:literal, $file:literal;)*) => {
        $($(#[$meta])* pub const $id: Schema = Schema {
            name: Cow::Borrowed($name),
            avsc: Cow::Borrowed(include_str!(concat!("../avsc/", $file))),
        };)*
        /// All of them.
        pub const ALL: &[Schema] = &[$($id),*];
    };
}

schemas! {
    /// One network flow as an agent saw it.
    FLOW_OBSERVED = "tidemark.flows.FlowObserved", "flows/FlowObserved.avsc";
    /// Hourly sums of a flow key.
    FLOW_HOURLY = "tidemark.flows.FlowHourly", "flows/FlowHourly.avsc";
    /// Pre-folded records.
    PARTIAL = "tidemark.engine.Partial", "engine/Partial.avsc";
    /// How far a commit has read.
    MARKER = "tidemark.engine.Marker", "engine/Marker.avsc";
    /// Rows of a sealed window, recomputed.
    REPAIR = "tidemark.engine.Repair", "engine/Repair.avsc";
    /// What is known of a window.
    LEDGER = "tidemark.engine.Ledger", "engine/Ledger.avsc";
    /// How far a merge partition has come.
    PROGRESS = "tidemark.engine.Progress", "engine/Progress.avsc";
    /// Changelog entry of a row.
    ROW_STATE = "tidemark.engine.RowState", "engine/RowState.avsc";
    /// Ids seen by a job that counts repeats once.
    SEEN_IDS = "tidemark.engine.SeenIds", "engine/SeenIds.avsc";
    /// A late record.
    LATE_RECORD = "tidemark.engine.LateRecord", "engine/LateRecord.avsc";
    /// A partial row for a sealed window.
    SEALED_OUT = "tidemark.engine.SealedOut", "engine/SealedOut.avsc";
    /// A record that could not be read.
    DEAD_LETTER = "tidemark.engine.DeadLetter", "engine/DeadLetter.avsc";
    /// What a gateway answered.
    ANSWER = "tidemark.gateway.Answer", "gateway/Answer.avsc";
    /// How far a gateway has published its spool.
    SPOOL_POSITION = "tidemark.gateway.SpoolPosition", "gateway/SpoolPosition.avsc";
    /// A job that was applied.
    JOB_ENTRY = "tidemark.jobs.JobEntry", "jobs/JobEntry.avsc";
    /// The answer to a request, read by whoever waits for it.
    ANSWERED = "tidemark.dispatch.Answered", "dispatch/Answered.avsc";
    /// A worker lives, and these are the leases that it holds.
    HEARTBEAT = "tidemark.dispatch.Heartbeat", "dispatch/Heartbeat.avsc";
    /// A worker asks a queue for tasks (pull).
    LEASE_REQUESTED = "tidemark.dispatch.LeaseRequested", "dispatch/LeaseRequested.avsc";
    /// Changelog entry of a queue.
    QUEUE_ENTRY = "tidemark.dispatch.QueueEntry", "dispatch/QueueEntry.avsc";
    /// Changelog entry of a request that waits for a task.
    REQUEST_ENTRY = "tidemark.dispatch.RequestEntry", "dispatch/RequestEntry.avsc";
    /// How long steps are expected to run, learned from windowed figures.
    RUN_TIMES_LEARNED = "tidemark.dispatch.RunTimesLearned", "dispatch/RunTimesLearned.avsc";
    /// A person cancels a task or asks for another try.
    TASK_ACTED = "tidemark.dispatch.TaskActed", "dispatch/TaskActed.avsc";
    /// Changelog entry of a task of a queue.
    TASK_ENTRY = "tidemark.dispatch.TaskEntry", "dispatch/TaskEntry.avsc";
    /// What has become of a lease, said by its worker.
    TASK_REPORTED = "tidemark.dispatch.TaskReported", "dispatch/TaskReported.avsc";
    /// Time has passed.
    TICKED = "tidemark.engine.Ticked", "engine/Ticked.avsc";
    /// What is known of a worker, on a compacted topic keyed by queue and worker; a tombstone when it is gone.
    WORKER_CHANGED = "tidemark.dispatch.WorkerChanged", "dispatch/WorkerChanged.avsc";
    /// Changelog entry of a worker of a queue.
    WORKER_ENTRY = "tidemark.dispatch.WorkerEntry", "dispatch/WorkerEntry.avsc";
    /// Changelog entry.
    COUNT_ENTRY = "tidemark.documents.CountEntry", "documents/CountEntry.avsc";
    /// A document and the state of its task.
    DOCUMENT = "tidemark.documents.Document", "documents/Document.avsc";
    /// Contents have been stored under their hash and somebody wants them processed.
    DOCUMENT_UPLOADED = "tidemark.documents.DocumentUploaded", "documents/DocumentUploaded.avsc";
    /// One run of one step of a document, reported with the lease that it ran under.
    STEP_ATTEMPTED = "tidemark.documents.StepAttempted", "documents/StepAttempted.avsc";
    /// A line of the task log.
    TASK_CHANGED = "tidemark.documents.TaskChanged", "documents/TaskChanged.avsc";
    /// Changelog entry.
    UPLOAD_ENTRY = "tidemark.documents.UploadEntry", "documents/UploadEntry.avsc";
    /// What has become of a mail.
    MAIL_HANDLED = "tidemark.notifications.MailHandled", "notifications/MailHandled.avsc";
    /// A mail to be sent, decided once; it is sent at least once, always under the same Message-ID.
    MAIL_REQUESTED = "tidemark.notifications.MailRequested", "notifications/MailRequested.avsc";
}
