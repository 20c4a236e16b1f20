//! A task by its entry: pending without a worker, leased with one, finished when it says how.

use tidemark_schemas::dispatch::TaskEntry;

use super::{Lease, Settings, TaskState};

/// How a task has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    Completed,
    Failed,
    Refused,
    Lost,
    Cancelled,
}

impl Finish {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Refused => "REFUSED",
            Self::Lost => "LOST",
            Self::Cancelled => "CANCELLED",
        }
    }
}

/// A task that nobody has had yet.
pub(super) fn new(task_id: String, kind: String, place: i64, queued_at: i64) -> TaskEntry {
    TaskEntry {
        task_id,
        kind,
        place,
        queued_at,
        attempt: 0,
        lost: 0,
        undelivered: 0,
        refused: 0,
        worker: None,
        token: 0,
        request_id: None,
        accepted: false,
        step: String::new(),
        leased_at: 0,
        deadline: 0,
        finished: None,
        finished_at: 0,
    }
}

pub(super) fn state(task: &TaskEntry) -> TaskState {
    match (&task.finished, &task.worker) {
        (Some(_), _) => TaskState::Finished,
        (None, Some(_)) => TaskState::Leased,
        (None, None) => TaskState::Pending,
    }
}

pub(super) fn ended(task: &TaskEntry, how: Finish) -> bool {
    task.finished.as_deref() == Some(how.name())
}

/// The lease, while it lasts.
pub(super) fn lease(task: &TaskEntry) -> Option<Lease> {
    let worker = task.worker.as_ref().filter(|_| task.finished.is_none())?;
    Some(Lease {
        worker: worker.clone(),
        token: task.token,
        attempt: task.attempt,
        leased_at: task.leased_at,
        deadline: task.deadline,
    })
}

/// When the lease is lost unless something comes.
pub(super) fn lapses_at(task: &TaskEntry, settings: &Settings) -> i64 {
    let delivered_by = task.leased_at.saturating_add(settings.accept_ms);
    if task.accepted { task.deadline } else { task.deadline.min(delivered_by) }
}

/// Takes the lease off. Its token and its beginning stay as facts of the latest lease.
pub(super) fn release(task: &mut TaskEntry) {
    task.worker = None;
    task.request_id = None;
    task.accepted = false;
    task.step.clear();
    task.deadline = 0;
}

/// Ends the task; `by` is the worker whose report ended it, if one did.
pub(super) fn finish(task: &mut TaskEntry, how: Finish, by: Option<String>, now: i64) {
    release(task);
    task.worker = by;
    task.finished = Some(how.name().to_owned());
    task.finished_at = now;
}

/// Puts a finished task at a new place as if it were new, but for its attempts and its token.
pub(super) fn renew(task: &mut TaskEntry, kind: String, place: i64, now: i64) {
    let before = std::mem::replace(task, new(task.task_id.clone(), kind, place, now));
    task.attempt = before.attempt;
    task.token = before.token;
    task.leased_at = before.leased_at;
}
