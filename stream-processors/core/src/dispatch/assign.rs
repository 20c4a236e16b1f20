//! Who gets which task.

use tidemark_schemas::dispatch::WorkerEntry;

use super::{Effect, Queue, TaskId, index, task};

impl Queue {
    /// Gives out tasks in their order as long as somebody takes one.
    pub(super) fn serve(&mut self, now: i64, out: &mut Vec<Effect>) {
        while let Some(task) = self.index.pending.values().next() {
            let Some((worker, request)) = self.index.taker() else { return };
            let task = task.clone();
            if let Some(request) = &request {
                self.drop_request(request);
            }
            self.assign(&task, worker, request, now, out);
        }
    }

    /// The next task, when the worker has room for one.
    pub(super) fn next_for(&self, worker: &str) -> Option<TaskId> {
        let room = index::capacity(self.workers.get(worker)?) > self.index.counts(worker).0;
        self.index.pending.values().next().filter(|_| room).cloned()
    }

    pub(super) fn assign(
        &mut self,
        task: &str,
        worker: String,
        request: Option<String>,
        now: i64,
        out: &mut Vec<Effect>,
    ) {
        let Some(entry) = self.tasks.get(task) else { return };
        let deadline = self.deadline(&entry.kind, "", now);
        let token = self.take_token();
        self.change_task(task, |entry| {
            entry.worker = Some(worker.clone());
            entry.token = token;
            entry.attempt = entry.attempt.saturating_add(1);
            entry.request_id.clone_from(&request);
            entry.leased_at = now;
            entry.deadline = deadline;
        });
        if let Some(known) = self.workers.get(&worker).filter(|known| known.assigned_at != now) {
            self.put_worker(WorkerEntry { assigned_at: now, ..known.clone() });
        }
        let Some(entry) = self.tasks.get(task) else { return };
        let assigned = |lease| Effect::Assigned {
            task: entry.task_id.clone(),
            lease,
            request,
            again: false,
            queued_at: entry.queued_at,
        };
        out.extend(task::lease(entry).map(assigned));
    }
}
