//! A task's way: submitted, stepped on, reported, given back, cancelled.

use tidemark_schemas::dispatch::TaskEntry;

use super::task::{self, Finish};
use super::{Effect, EntryKey, Failure, Lease, Queue, Report, TaskId, TaskState, Why};

/// What a worker says of its lease.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome {
    Completed,
    Failed,
    Refused,
}

impl Queue {
    /// A task that is pending or leased stays as it is.
    pub(super) fn submit(&mut self, task_id: TaskId, kind: String, now: i64) {
        match self.tasks.get(&task_id).map(task::state) {
            None => {
                let entry = task::new(task_id, kind, self.take_place(), now);
                self.insert_task(entry);
            }
            Some(TaskState::Finished) => {
                let place = self.take_place();
                self.change_task(&task_id, |entry| task::renew(entry, kind, place, now));
            }
            Some(TaskState::Pending | TaskState::Leased) => {}
        }
    }

    pub(super) fn cancel(&mut self, task: TaskId, now: i64, out: &mut Vec<Effect>) {
        let Some(entry) = self.tasks.get(&task).filter(|entry| entry.finished.is_none()) else { return };
        let lease = task::lease(entry);
        self.change_task(&task, |entry| task::finish(entry, Finish::Cancelled, None, now));
        out.push(Effect::Cancelled { task, lease });
    }

    /// A report counts under the task's lease, and is answered again under the one that it ended.
    pub(super) fn report(&mut self, outcome: Outcome, report: Report, now: i64, out: &mut Vec<Effect>) {
        let Report { request, task, token } = report;
        let entry = self.tasks.get(&task);
        let latest = entry.filter(|entry| entry.token == token);
        if let Some(lease) = latest.and_then(task::lease) {
            self.close(outcome, task, lease, request, now, out);
        } else if latest.is_some_and(|entry| task::ended(entry, outcome.finish())) {
            out.push(Effect::Repeated { request, task });
        } else {
            let why = rejection(entry, token);
            out.push(Effect::Rejected { request, task, token, why });
        }
    }

    fn close(
        &mut self,
        outcome: Outcome,
        task: TaskId,
        lease: Lease,
        request: String,
        now: i64,
        out: &mut Vec<Effect>,
    ) {
        let by = Some(lease.worker.clone());
        match outcome {
            Outcome::Completed => {
                self.change_task(&task, |entry| task::finish(entry, Finish::Completed, by, now));
                out.push(Effect::Completed { task, lease, request });
            }
            Outcome::Failed => {
                self.change_task(&task, |entry| task::finish(entry, Finish::Failed, by, now));
                out.push(Effect::Failed { task, lease: Some(lease), why: Failure::Reported, request: Some(request) });
            }
            Outcome::Refused => self.give_back(&task, Why::Refused, Some(request), now, out),
        }
    }

    /// Ends a lease without a result: back to the end of the queue, unless it was once too often. A lease that was never taken
    /// up is undelivered when its worker has been heard since: the task is not to blame. One whose worker has not may have gone with
    /// it: a task that kills its worker at once is lost like any other.
    pub(super) fn give_back(&mut self, task: &str, why: Why, request: Option<String>, now: i64, out: &mut Vec<Effect>) {
        let Some(entry) = self.tasks.get(task) else { return };
        let Some(lease) = task::lease(entry) else { return };
        let heard = self.workers.get(&lease.worker).is_some_and(|worker| worker.last_heartbeat > lease.leased_at);
        let why = match why {
            Why::Refused | Why::Undelivered => why,
            _ if entry.accepted => why,
            _ if heard => Why::Undelivered,
            _ => Why::Silent,
        };
        let task = entry.task_id.clone();
        if self.is_last(entry, why) {
            let (how, by) = match why {
                Why::Refused => (Finish::Refused, Some(lease.worker.clone())),
                Why::Silent | Why::Overdue | Why::Undelivered => (Finish::Lost, None),
            };
            self.change_task(&task, |entry| {
                *count(entry, why) += 1;
                task::finish(entry, how, by, now);
            });
            out.push(Effect::Failed { task, lease: Some(lease), why: Failure::Lost(why), request });
        } else {
            let place = self.take_place();
            self.change_task(&task, |entry| {
                *count(entry, why) += 1;
                task::release(entry);
                entry.place = place;
                entry.queued_at = now;
            });
            out.push(Effect::Requeued { task, lease, why, request });
        }
    }

    /// Whether one more lease lost in this way is too many.
    fn is_last(&self, entry: &TaskEntry, why: Why) -> bool {
        let (so_far, most) = match why {
            Why::Silent | Why::Overdue => (entry.lost, self.settings.lost_max),
            Why::Undelivered => (entry.undelivered, self.settings.undelivered_max),
            Why::Refused => (entry.refused, self.settings.refused_max),
        };
        so_far + 1 >= most
    }

    /// The one way in which a task changes: the orders follow it, and it is noted.
    pub(super) fn change_task(&mut self, task: &str, change: impl FnOnce(&mut TaskEntry)) {
        let Some(entry) = self.tasks.get_mut(task) else { return };
        self.index.remove_task(entry, &self.settings);
        let before = entry.worker.clone();
        change(entry);
        self.index.add_task(entry, &self.settings);
        let after = entry.worker.clone();
        self.changed.insert(EntryKey::Task(entry.task_id.clone()));
        for worker in before.iter().chain(after.iter().filter(|after| before.as_ref() != Some(*after))) {
            self.index.place_worker(worker, self.workers.get(worker));
        }
    }

    pub(super) fn insert_task(&mut self, entry: TaskEntry) {
        self.index.add_task(&entry, &self.settings);
        self.changed.insert(EntryKey::Task(entry.task_id.clone()));
        self.tasks.insert(entry.task_id.clone(), entry);
    }

    pub(super) fn remove_task(&mut self, task: &str) {
        let Some(entry) = self.tasks.remove(task) else { return };
        self.index.remove_task(&entry, &self.settings);
        self.changed.insert(EntryKey::Task(entry.task_id));
    }
}

impl Outcome {
    /// How the task ends by it.
    fn finish(self) -> Finish {
        match self {
            Self::Completed => Finish::Completed,
            Self::Failed => Finish::Failed,
            Self::Refused => Finish::Refused,
        }
    }
}

fn count(entry: &mut TaskEntry, why: Why) -> &mut i32 {
    match why {
        Why::Silent | Why::Overdue => &mut entry.lost,
        Why::Undelivered => &mut entry.undelivered,
        Why::Refused => &mut entry.refused,
    }
}

fn rejection(entry: Option<&TaskEntry>, token: i64) -> String {
    let Some(entry) = entry else {
        return format!("lease {token} is none: the task is not known, or it ended long ago; drop the work");
    };
    let state = match (&entry.finished, &entry.worker) {
        (Some(finished), _) => format!("has ended ({})", finished.to_lowercase()),
        (None, Some(_)) => format!("is leased under token {}", entry.token),
        (None, None) => "is back in the queue".to_owned(),
    };
    format!("lease {token} is none any more: the task {state}; drop the work")
}
