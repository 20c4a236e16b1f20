//! Dispatch: a queue of tasks, workers that come and go, leases. Pure, and the same for every queue of work.
//!
//! A task is pending, leased, or finished. A lease belongs to a worker until its deadline and carries a fencing token; tokens grow
//! over the whole queue and are never used again, so that what comes under an older one changes nothing.
//!
//! Promises of a [`Queue`], whatever the order of commands and time:
//! - A task has at most one lease, and what is said under another token changes nothing.
//! - Tasks are given out in the order of their places: first in, first out; one that comes back gets a new place at the end.
//! - A worker is given nothing over its capacity.
//! - Every task is pending, leased or finished; each lease ends by a report, a cancel or a timer, so nothing stays in limbo.
//! - The state is a map of entries ([`Entry`]): a queue that is restored from them goes on exactly alike.
//!
//! A command costs O(log n) of tasks and workers, plus the leases that it names; a tick the same for each timer that is due.
//! Limits: [`CAPACITY_MAX`], [`WORKERS_MAX`], [`FINISHED_MAX`], [`TIMES_MAX`]. Tasks that are pending are bounded by whoever submits
//! ([`Queue::pending`] says how many they are).

mod assign;
mod entries;
mod index;
mod leases;
mod queue;
mod task;
#[cfg(test)]
mod tests;
mod view;
mod workers;

pub use entries::{Entry, EntryKey};
pub use queue::Queue;
pub use tidemark_schemas::dispatch::{HeldLease, QueueEntry, RequestEntry, RevokedLease, TaskEntry, WorkerEntry};
pub use view::{TaskState, TaskView, WorkerView};

/// Most tasks that a worker takes at a time, and most of its requests that wait: what is over it is answered at once that there is
/// no task.
pub const CAPACITY_MAX: i32 = 1024;
/// Most workers of a queue. One more is not taken in: its requests get no task.
pub const WORKERS_MAX: usize = 10_000;

/// A timer that fires later than this, milliseconds, was not watched: the log or the owner of the queue was away.
pub const LATE_MS: i64 = 5_000;
/// Most finished tasks that are remembered: those that ended first are forgotten before their time.
pub const FINISHED_MAX: usize = 100_000;
/// Most run times that are expected, by kind and step; more are ignored.
pub const TIMES_MAX: usize = 1_000;

/// Names a task within its queue.
pub type TaskId = String;

/// What the bounds of a queue are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// A worker that is silent for longer is gone, and its leases are lost, milliseconds.
    pub heartbeat_timeout_ms: i64,
    /// A lease that no heartbeat has named by then was never delivered, milliseconds.
    pub accept_ms: i64,
    /// A lease lasts at least so long, and so long after each beginning of a step, milliseconds.
    pub floor_ms: i64,
    /// It lasts so many times the run time that is expected of the step.
    pub factor: i64,
    /// With so many leases lost a task has failed.
    pub lost_max: i32,
    /// With so many leases given back it has failed.
    pub refused_max: i32,
    /// With so many leases never taken up it has failed.
    pub undelivered_max: i32,
    /// A finished task is remembered for so long, so that a report that is sent again gets its answer again, milliseconds.
    pub finished_kept_ms: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            heartbeat_timeout_ms: 15_000,
            accept_ms: 10_000,
            floor_ms: 60_000,
            factor: 3,
            lost_max: 3,
            refused_max: 10,
            undelivered_max: 10,
            finished_kept_ms: 600_000,
        }
    }
}

/// What a queue is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A task for the back of the queue. One that is pending or leased already stays as it is; one that is finished begins anew
    /// with its count of attempts going on.
    Submit {
        /// Which.
        task: TaskId,
        /// Run times are expected by it.
        kind: String,
    },
    /// A worker asks for a task. The same request again gets the same answer, as long as the lease is its own.
    Request {
        /// Names the answer.
        request: String,
        /// Who.
        worker: String,
        /// Tasks that it takes at a time, 1 or more.
        capacity: i32,
        /// It waits until then, milliseconds since the epoch.
        wait_until: i64,
    },
    /// A worker lives.
    Heartbeat {
        /// Names the answer.
        request: String,
        /// Who.
        worker: String,
        /// Tasks that it takes at a time; 0 drains it.
        capacity: i32,
        /// Whether it is given tasks unasked, least loaded first.
        push: bool,
        /// The leases that it holds, and the step that each is at.
        held: Vec<HeldLease>,
    },
    /// The worker has done the task.
    Complete(Report),
    /// The worker has found that the task cannot be done.
    Fail(Report),
    /// The worker gives the task back.
    Refuse(Report),
    /// Nobody wants the task any more.
    Cancel {
        /// Which.
        task: TaskId,
    },
    /// Replaces all run times that are expected.
    Expect(Vec<Expected>),
}

/// What a worker says of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Names the answer.
    pub request: String,
    /// Which task.
    pub task: TaskId,
    /// Under which lease.
    pub token: i64,
}

/// How long a step of a kind of task is expected to run. The step of no name is what comes before the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Kind of task.
    pub kind: String,
    /// Step.
    pub step: String,
    /// Milliseconds.
    pub expected_ms: i64,
}

/// What became of a command or of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A lease was given.
    Assigned {
        /// The task.
        task: TaskId,
        /// Its lease.
        lease: Lease,
        /// The request that it answers; none in push mode. An answer that is given again is only for the one who asks: nothing has
        /// changed.
        request: Option<String>,
        /// Whether it was given before and is only answered again.
        again: bool,
        /// When the task came to its place in the queue, milliseconds since the epoch.
        queued_at: i64,
    },
    /// There is no task for the request, and it has waited long enough.
    NoTask {
        /// Names the answer.
        request: String,
    },
    /// A task is at the back of the queue again.
    Requeued {
        /// The task.
        task: TaskId,
        /// The lease that is over.
        lease: Lease,
        /// Why.
        why: Why,
        /// The report that it answers, when it was given back.
        request: Option<String>,
    },
    /// Done.
    Completed {
        /// The task.
        task: TaskId,
        /// Under which lease.
        lease: Lease,
        /// Names the answer.
        request: String,
    },
    /// It will not be done.
    Failed {
        /// The task.
        task: TaskId,
        /// The last lease, when there was one.
        lease: Option<Lease>,
        /// Why.
        why: Failure,
        /// The report that it answers, if any.
        request: Option<String>,
    },
    /// Nobody wanted it any more.
    Cancelled {
        /// The task.
        task: TaskId,
        /// The lease that is over by it.
        lease: Option<Lease>,
    },
    /// A worker has begun a step, or its lease has its time anew after nobody could be heard.
    Stepped {
        /// The task.
        task: TaskId,
        /// Its lease, with the new deadline.
        lease: Lease,
        /// The step.
        step: String,
    },
    /// A report of the lease that ended the task, sent again.
    Repeated {
        /// Names the answer.
        request: String,
        /// The task.
        task: TaskId,
    },
    /// A report under a lease that is none.
    Rejected {
        /// Names the answer.
        request: String,
        /// The task.
        task: TaskId,
        /// Under which token.
        token: i64,
        /// Why, for people.
        why: String,
    },
    /// A heartbeat was heard.
    Alive {
        /// Names the answer.
        request: String,
        /// Who.
        worker: String,
        /// Leases that it named and that are none any more.
        revoked: Vec<RevokedLease>,
    },
    /// A worker is not heard of any more.
    Gone {
        /// Who.
        worker: String,
    },
}

/// A task in a worker's hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Who.
    pub worker: String,
    /// Fencing token.
    pub token: i64,
    /// How many leases the task has had, this one included.
    pub attempt: i32,
    /// When it was given, milliseconds since the epoch.
    pub leased_at: i64,
    /// It is lost then, unless a next step has begun, milliseconds since the epoch.
    pub deadline: i64,
}

/// Why a task went back to the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its worker is silent.
    Silent,
    /// The deadline has passed.
    Overdue,
    /// The worker never took it up.
    Undelivered,
    /// The worker gave it back.
    Refused,
}

/// Why a task will not be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Its worker says so.
    Reported,
    /// So many leases were lost, the last one so.
    Lost(Why),
}
