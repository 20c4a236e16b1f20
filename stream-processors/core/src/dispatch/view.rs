//! What a queue knows, for those who ask.

use super::{Lease, Queue, task};

/// Where a task is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    /// It waits for a worker.
    Pending,
    /// A worker has it.
    Leased,
    /// It has ended, and is remembered for a while.
    Finished,
}

/// What is known of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskView<'a> {
    /// Where it is on its way.
    pub state: TaskState,
    /// Run times are expected by it.
    pub kind: &'a str,
    /// While it is leased.
    pub lease: Option<Lease>,
    /// The worker has said that it holds the lease.
    pub accepted: bool,
    /// The step that is being worked on; empty before the first and without a lease.
    pub step: &'a str,
    /// When it came to its latest place in the queue, milliseconds since the epoch.
    pub queued_at: i64,
    /// Leases that it has had.
    pub attempt: i32,
    /// Leases that were lost after they had been taken up.
    pub lost: i32,
    /// Fencing token of its latest lease; 0 before the first.
    pub token: i64,
}

/// What is known of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerView<'a> {
    /// Who.
    pub worker: &'a str,
    /// Tasks that it takes at a time; 0 when it is drained.
    pub capacity: i32,
    /// Leases that it holds.
    pub leases: usize,
    /// Its requests that wait.
    pub requests: usize,
    /// Whether it is given tasks unasked.
    pub push: bool,
    /// When it was last heard of, milliseconds since the epoch.
    pub last_heartbeat: i64,
}

impl Queue {
    /// What is known of a task; `None` when it never was here or has been forgotten.
    #[must_use]
    pub fn task(&self, task: &str) -> Option<TaskView<'_>> {
        let entry = self.tasks.get(task)?;
        Some(TaskView {
            state: task::state(entry),
            kind: &entry.kind,
            lease: task::lease(entry),
            accepted: entry.accepted,
            step: &entry.step,
            queued_at: entry.queued_at,
            attempt: entry.attempt,
            lost: entry.lost,
            token: entry.token,
        })
    }

    /// Tasks that wait for a worker.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.index.pending.len()
    }

    /// Tasks in workers' hands.
    #[must_use]
    pub fn leased(&self) -> usize {
        self.index.leased
    }

    /// What is known of a worker; `None` when it is not heard of.
    #[must_use]
    pub fn worker(&self, worker: &str) -> Option<WorkerView<'_>> {
        let entry = self.workers.get(worker)?;
        let (leases, requests) = self.index.counts(worker);
        Some(WorkerView {
            worker: &entry.worker,
            capacity: entry.capacity,
            leases,
            requests,
            push: entry.push,
            last_heartbeat: entry.last_heartbeat,
        })
    }

    /// Workers that are heard of, by name.
    pub fn workers(&self) -> impl Iterator<Item = WorkerView<'_>> {
        self.workers.keys().filter_map(|worker| self.worker(worker))
    }
}
