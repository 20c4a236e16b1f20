//! Workers: heard, asking, gone.

use std::collections::BTreeSet;

use tidemark_schemas::dispatch::{HeldLease, RequestEntry, RevokedLease, WorkerEntry};

use super::{CAPACITY_MAX, Effect, EntryKey, Queue, TaskState, WORKERS_MAX, Why, task};

impl Queue {
    pub(super) fn heartbeat(
        &mut self,
        request: String,
        worker: String,
        (capacity, push): (i32, bool),
        held: Vec<HeldLease>,
        now: i64,
        out: &mut Vec<Effect>,
    ) {
        self.hear(&worker, capacity, Some(push), now);
        let (mut named, mut revoked) = (BTreeSet::new(), Vec::new());
        for HeldLease { task_id, token, step } in held {
            if !self.holds(&worker, &task_id, token) {
                revoked.push(RevokedLease { task_id, token });
            } else if named.insert(token) {
                // A lease is at one step: named twice, what is said first counts.
                self.take_up(task_id, step, now, out);
            }
        }
        out.push(Effect::Alive { request, worker, revoked });
    }

    fn holds(&self, worker: &str, task: &str, token: i64) -> bool {
        self.tasks.get(task).is_some_and(|entry| {
            task::state(entry) == TaskState::Leased && entry.token == token && entry.worker.as_deref() == Some(worker)
        })
    }

    /// The worker has the lease in its hands and is at the step: a new one gets a deadline of its own.
    fn take_up(&mut self, task: String, step: String, now: i64, out: &mut Vec<Effect>) {
        let Some(entry) = self.tasks.get(&task) else { return };
        if entry.step != step {
            let deadline = self.deadline(&entry.kind, &step, now);
            self.change_task(&task, |entry| {
                entry.accepted = true;
                entry.deadline = deadline;
                entry.step.clone_from(&step);
            });
            let lease = self.tasks.get(&task).and_then(task::lease);
            out.extend(lease.map(|lease| Effect::Stepped { task, lease, step }));
        } else if !entry.accepted {
            self.change_task(&task, |entry| entry.accepted = true);
        }
    }

    pub(super) fn request(
        &mut self,
        request: String,
        worker: String,
        capacity: i32,
        wait_until: i64,
        now: i64,
        out: &mut Vec<Effect>,
    ) {
        self.hear(&worker, capacity, None, now);
        if self.answer_again(&request, &worker, out) {
            return;
        }
        // What the worker has room for now goes to its older requests first.
        let waited = self.rewait(&request, &worker, wait_until);
        self.serve(now, out);
        if waited {
            if wait_until <= now && self.drop_request(&request) {
                out.push(Effect::NoTask { request });
            }
        } else if let Some(task) = self.next_for(&worker) {
            self.assign(&task, worker, Some(request), now, out);
        } else if wait_until <= now || !self.may_wait(&worker) {
            out.push(Effect::NoTask { request });
        } else {
            let place = self.take_place();
            self.insert_request(RequestEntry { request_id: request, worker, place, wait_until });
        }
    }

    /// The request was answered, and the lease is its own still.
    fn answer_again(&self, request: &str, worker: &str, out: &mut Vec<Effect>) -> bool {
        let entry = self.index.answer(worker, request).and_then(|task| self.tasks.get(task));
        let Some((entry, lease)) = entry.and_then(|entry| Some((entry, task::lease(entry)?))) else { return false };
        out.push(Effect::Assigned {
            task: entry.task_id.clone(),
            lease,
            request: Some(request.to_owned()),
            again: true,
            queued_at: entry.queued_at,
        });
        true
    }

    /// A request that waits and is sent again keeps its place and waits as long as it says now; under another worker's name it is
    /// a new one. Whether it has waited.
    fn rewait(&mut self, request: &str, worker: &str, wait_until: i64) -> bool {
        let Some(entry) = self.requests.get(request) else { return false };
        let entry = RequestEntry { wait_until, ..entry.clone() };
        if entry.worker != worker {
            self.drop_request(request);
            return false;
        }
        if self.requests.get(request) != Some(&entry) {
            self.drop_request(request);
            self.insert_request(entry);
        }
        true
    }

    fn may_wait(&self, worker: &str) -> bool {
        let most = usize::try_from(CAPACITY_MAX).unwrap_or(0);
        self.workers.contains_key(worker) && self.index.counts(worker).1 < most
    }

    fn insert_request(&mut self, entry: RequestEntry) {
        self.index.add_request(&entry);
        self.index.place_worker(&entry.worker, self.workers.get(&entry.worker));
        self.changed.insert(EntryKey::Request(entry.request_id.clone()));
        self.requests.insert(entry.request_id.clone(), entry);
    }

    /// Whether the request waited.
    pub(super) fn drop_request(&mut self, request: &str) -> bool {
        let Some(entry) = self.requests.remove(request) else { return false };
        self.index.remove_request(&entry);
        self.index.place_worker(&entry.worker, self.workers.get(&entry.worker));
        self.changed.insert(EntryKey::Request(entry.request_id));
        true
    }

    /// A worker lives. One that is not known is taken in, unless there are too many.
    fn hear(&mut self, name: &str, capacity: i32, push: Option<bool>, now: i64) {
        let before = self.workers.get(name);
        if before.is_none() && self.workers.len() >= WORKERS_MAX {
            return;
        }
        let after = WorkerEntry {
            worker: name.to_owned(),
            capacity: capacity.clamp(0, CAPACITY_MAX),
            push: push.unwrap_or_else(|| before.is_some_and(|worker| worker.push)),
            last_heartbeat: now,
            assigned_at: before.map_or(0, |worker| worker.assigned_at),
        };
        if before != Some(&after) {
            self.put_worker(after);
        }
    }

    pub(super) fn put_worker(&mut self, entry: WorkerEntry) {
        let before = self.workers.get(&entry.worker);
        if before.is_none_or(|before| before.last_heartbeat != entry.last_heartbeat) {
            before.into_iter().for_each(|before| self.index.remove_worker(before, &self.settings));
            self.index.add_worker(&entry, &self.settings);
        }
        self.index.place_worker(&entry.worker, Some(&entry));
        self.changed.insert(EntryKey::Worker(entry.worker.clone()));
        self.workers.insert(entry.worker.clone(), entry);
    }

    /// A worker is silent: it is forgotten, its requests are answered that there is no task, and its leases are lost.
    pub(super) fn lose_worker(&mut self, worker: String, now: i64, out: &mut Vec<Effect>) {
        if let Some(entry) = self.workers.remove(&worker) {
            self.index.remove_worker(&entry, &self.settings);
            self.changed.insert(EntryKey::Worker(entry.worker));
        }
        let asked: Vec<String> = self.index.asked_by(&worker).cloned().collect();
        for request in asked {
            self.drop_request(&request);
            out.push(Effect::NoTask { request });
        }
        let held: Vec<String> = self.index.held_by(&worker).cloned().collect();
        for task in held {
            self.give_back(&task, Why::Silent, None, now, out);
        }
        self.index.place_worker(&worker, None);
        out.push(Effect::Gone { worker });
    }
}
