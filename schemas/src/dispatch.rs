//! Dispatch: a queue of work, its workers and leases, field by field as in `avsc/dispatch/`.

use crate::avro_record;

avro_record! {
    /// `Answered.avsc`: The answer to a request, read by whoever waits for it.
    pub struct Answered {
        /// Names the answer.
        pub request_id: String,
        /// When, milliseconds since the epoch.
        pub at: i64,
        /// CREATED, DUPLICATE, RETRIED, ASSIGNED, NO_TASK, ACCEPTED, REJECTED, ALIVE, or NOT_FOUND.
        pub outcome: String,
        /// Why it was rejected, for people.
        pub message: Option<String>,
        /// What the task is about: of documents the FileID.
        pub key: Option<String>,
        /// Which task.
        pub task_id: Option<String>,
        /// Fencing token of the lease that was given.
        pub token: Option<i64>,
        /// How many leases the task has had, this one included.
        pub attempt: Option<i32>,
        /// The lease is lost then, unless a next step has begun.
        pub deadline: Option<i64>,
        /// What the worker needs to know of the task, JSON.
        pub payload: Option<String>,
        /// Leases that are none any more.
        pub revoked: Vec<RevokedLease>,
    }
}

avro_record! {
    /// A lease in the heartbeat that is none any more.
    pub struct RevokedLease {
        /// Which task.
        pub task_id: String,
        /// Fencing token of the lease.
        pub token: i64,
    }
}

avro_record! {
    /// `Heartbeat.avsc`: A worker lives, and these are the leases that it holds.
    pub struct Heartbeat {
        /// Whose.
        pub tenant: String,
        /// Name of the queue.
        pub queue: String,
        /// Names the answer.
        pub request_id: String,
        /// Who; 1 to 128 bytes.
        pub worker: String,
        /// Tasks that the worker takes at a time; 0 drains it, 1024 at most.
        pub capacity: i32,
        /// Whether tasks are assigned to it unasked, least loaded first.
        pub push: bool,
        /// Resident memory of the worker and its steps.
        pub memory_bytes: i64,
        /// CPU of the worker and its steps since the last heartbeat; 100 is one core.
        pub cpu_percent: i32,
        /// Leases that it holds.
        pub held: Vec<HeldLease>,
    }
}

avro_record! {
    /// A lease that a worker holds.
    pub struct HeldLease {
        /// Which task.
        pub task_id: String,
        /// Fencing token of the lease.
        pub token: i64,
        /// The step that is being worked on; empty before the first.
        pub step: String,
    }
}

avro_record! {
    /// `LeaseRequested.avsc`: A worker asks a queue for tasks (pull).
    pub struct LeaseRequested {
        /// Whose.
        pub tenant: String,
        /// Name of the queue.
        pub queue: String,
        /// Names the answer; the same request again gets the same task.
        pub request_id: String,
        /// Who asks; 1 to 128 bytes.
        pub worker: String,
        /// Tasks that the worker takes at a time; 1 to 1024.
        pub capacity: i32,
        /// Until then the request waits for a task; then it is answered that there is none.
        pub wait_until: i64,
    }
}

avro_record! {
    /// `QueueEntry.avsc`: Changelog entry of a queue: what never goes back.
    pub struct QueueEntry {
        /// Of the next task or request.
        pub next_place: i64,
        /// Fencing tokens grow over the whole queue and are never used again.
        pub next_token: i64,
        /// By kind and step.
        pub times: Vec<RunTime>,
    }
}

avro_record! {
    /// `RequestEntry.avsc`: Changelog entry of a request that waits for a task.
    pub struct RequestEntry {
        /// Names the answer.
        pub request_id: String,
        /// Which worker.
        pub worker: String,
        /// Requests are served in this order.
        pub place: i64,
        /// Milliseconds since the epoch.
        pub wait_until: i64,
    }
}

avro_record! {
    /// `RunTimesLearned.avsc`: How long steps are expected to run, learned from windowed figures. It replaces what was known of the queue.
    pub struct RunTimesLearned {
        /// Whose.
        pub tenant: String,
        /// Name of the queue.
        pub queue: String,
        /// By kind and step.
        pub times: Vec<RunTime>,
    }
}

avro_record! {
    /// How long a step of a kind of task is expected to run.
    pub struct RunTime {
        /// Kind of task: of documents the media type.
        pub kind: String,
        /// Which step.
        pub step: String,
        /// Milliseconds.
        pub expected_ms: i64,
    }
}

avro_record! {
    /// `TaskActed.avsc`: A person cancels a task or asks for another try.
    pub struct TaskActed {
        /// Whose.
        pub tenant: String,
        /// Name of the queue.
        pub queue: String,
        /// Names the answer.
        pub request_id: String,
        /// What the task is about: of documents the FileID.
        pub key: String,
        /// CANCEL or RETRY.
        pub action: String,
        /// Who.
        pub by: String,
    }
}

avro_record! {
    /// `TaskEntry.avsc`: Changelog entry of a task of a queue: pending without a lease, leased with one, finished for a while after its end.
    pub struct TaskEntry {
        /// Which task.
        pub task_id: String,
        /// Its run times are expected by it.
        pub kind: String,
        /// Place in the queue: lower is earlier. It is given anew each time that the task goes back.
        pub place: i64,
        /// When it got that place.
        pub queued_at: i64,
        /// Leases that it has had.
        pub attempt: i32,
        /// Leases that were lost after they had been taken up.
        pub lost: i32,
        /// Leases that were never taken up.
        pub undelivered: i32,
        /// Leases that were given back.
        pub refused: i32,
        /// Who holds the lease; also of a finished task: who ended it.
        pub worker: Option<String>,
        /// Fencing token of the latest lease; 0 before the first.
        pub token: i64,
        /// The request that the lease answers.
        pub request_id: Option<String>,
        /// The worker has said that it holds the lease.
        pub accepted: bool,
        /// Which step.
        pub step: String,
        /// When the latest lease was given, milliseconds since the epoch.
        pub leased_at: i64,
        /// When the lease is lost, milliseconds since the epoch.
        pub deadline: i64,
        /// COMPLETED or FAILED as reported, REFUSED or LOST too often, or CANCELLED.
        pub finished: Option<String>,
        /// Milliseconds since the epoch.
        pub finished_at: i64,
    }
}

avro_record! {
    /// `TaskReported.avsc`: What has become of a lease, said by its worker.
    pub struct TaskReported {
        /// Whose.
        pub tenant: String,
        /// Name of the queue.
        pub queue: String,
        /// Names the answer.
        pub request_id: String,
        /// Who.
        pub worker: String,
        /// Which task.
        pub task_id: String,
        /// Fencing token of the lease; a stale one changes nothing.
        pub token: i64,
        /// COMPLETED, FAILED (for good), or REFUSED (back to the queue).
        pub outcome: String,
        /// The step that failed.
        pub step: Option<String>,
        /// The error or the reason, for people.
        pub message: Option<String>,
        /// Where the results are: the SHA-256 of what was stored before this was sent.
        pub result: Option<String>,
        /// Size of the results.
        pub result_bytes: i64,
        /// Runs of steps, in order.
        pub attempts: Vec<AttemptReport>,
    }
}

avro_record! {
    /// One run of one step.
    pub struct AttemptReport {
        /// Which step.
        pub step: String,
        /// 1 to 4: the first run and up to 3 retries.
        pub attempt: i32,
        /// OK, FAILED, CRASHED, KILLED (a limit), GARBAGE (its output), or INFRASTRUCTURE (not the step's fault).
        pub outcome: String,
        /// For people.
        pub message: Option<String>,
        /// By the worker's clock, milliseconds since the epoch.
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
    /// `WorkerChanged.avsc`: What is known of a worker, on a compacted topic keyed by queue and worker; a tombstone when it is gone.
    pub struct WorkerChanged {
        /// Whose.
        pub tenant: String,
        /// Name of the queue.
        pub queue: String,
        /// Which worker.
        pub worker: String,
        /// Tasks that it takes at a time.
        pub capacity: i32,
        /// Leases that it holds.
        pub leases: i32,
        /// Milliseconds since the epoch.
        pub last_heartbeat: i64,
        /// Resident memory.
        pub memory_bytes: i64,
        /// 100 is one core.
        pub cpu_percent: i32,
    }
}

avro_record! {
    /// `WorkerEntry.avsc`: Changelog entry of a worker of a queue.
    pub struct WorkerEntry {
        /// Which worker.
        pub worker: String,
        /// Tasks that it takes at a time.
        pub capacity: i32,
        /// Whether tasks are assigned to it unasked.
        pub push: bool,
        /// Milliseconds since the epoch.
        pub last_heartbeat: i64,
        /// When it was last given a task: of two with equal load the one that waits longer is next.
        pub assigned_at: i64,
    }
}
