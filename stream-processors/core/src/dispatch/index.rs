//! What is found in order: the next task, who takes it, the next timer. All of it follows from the entries and is never stored.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;
use tidemark_schemas::dispatch::{RequestEntry, TaskEntry, WorkerEntry};

use super::{Settings, TaskId, TaskState, task};

/// What is done when its time has come; of those at the same time in this order, so that a worker's leases are lost with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Worker(String),
    Lease(TaskId),
    Request(String),
}

/// What a worker holds and asks for, and under which keys it stands in the orders of those who take tasks.
#[derive(Debug, Clone, Default)]
struct Hands {
    /// By token.
    leases: BTreeMap<i64, TaskId>,
    /// By place.
    requests: BTreeMap<i64, String>,
    /// The task that is leased for a request.
    answers: HashMap<String, TaskId>,
    asking: Option<i64>,
    idle: Option<(u64, i64)>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    /// By place.
    pub(super) pending: BTreeMap<i64, TaskId>,
    /// By the time of their end.
    pub(super) finished: BTreeSet<(i64, TaskId)>,
    pub(super) timers: BTreeSet<(i64, Timer)>,
    pub(super) leased: usize,
    hands: HashMap<String, Hands>,
    /// Workers with room that ask, by the place of their first request.
    asking: BTreeSet<(i64, String)>,
    /// Workers with room that take tasks unasked, by load and latest assignment.
    idle: BTreeSet<(u64, i64, String)>,
}

impl Index {
    pub(super) fn add_task(&mut self, entry: &TaskEntry, settings: &Settings) {
        let id = || entry.task_id.clone();
        match (task::state(entry), &entry.worker) {
            (TaskState::Leased, Some(worker)) => {
                self.leased += 1;
                self.timers.insert((task::lapses_at(entry, settings), Timer::Lease(id())));
                let hands = self.hands.entry_ref(worker.as_str()).or_default();
                hands.leases.insert(entry.token, id());
                hands.answers.extend(entry.request_id.clone().map(|request| (request, id())));
            }
            (TaskState::Finished, _) => drop(self.finished.insert((entry.finished_at, id()))),
            (TaskState::Pending | TaskState::Leased, _) => drop(self.pending.insert(entry.place, id())),
        }
    }

    pub(super) fn remove_task(&mut self, entry: &TaskEntry, settings: &Settings) {
        match (task::state(entry), &entry.worker) {
            (TaskState::Leased, Some(worker)) => {
                self.leased -= 1;
                self.timers.remove(&(task::lapses_at(entry, settings), Timer::Lease(entry.task_id.clone())));
                if let Some(hands) = self.hands.get_mut(worker) {
                    hands.leases.remove(&entry.token);
                    entry.request_id.as_ref().map(|request| hands.answers.remove(request));
                }
            }
            (TaskState::Finished, _) => drop(self.finished.remove(&(entry.finished_at, entry.task_id.clone()))),
            (TaskState::Pending | TaskState::Leased, _) => drop(self.pending.remove(&entry.place)),
        }
    }

    pub(super) fn add_request(&mut self, entry: &RequestEntry) {
        self.timers.insert((entry.wait_until, Timer::Request(entry.request_id.clone())));
        let hands = self.hands.entry_ref(entry.worker.as_str()).or_default();
        hands.requests.insert(entry.place, entry.request_id.clone());
    }

    pub(super) fn remove_request(&mut self, entry: &RequestEntry) {
        self.timers.remove(&(entry.wait_until, Timer::Request(entry.request_id.clone())));
        if let Some(hands) = self.hands.get_mut(&entry.worker) {
            hands.requests.remove(&entry.place);
        }
    }

    pub(super) fn add_worker(&mut self, entry: &WorkerEntry, settings: &Settings) {
        self.timers.insert((silent_at(entry, settings), Timer::Worker(entry.worker.clone())));
    }

    pub(super) fn remove_worker(&mut self, entry: &WorkerEntry, settings: &Settings) {
        self.timers.remove(&(silent_at(entry, settings), Timer::Worker(entry.worker.clone())));
    }

    /// Puts a worker where it belongs among those who take tasks. To be called after whatever it holds, asks for or says of itself
    /// has changed; `known` is its entry.
    pub(super) fn place_worker(&mut self, name: &str, known: Option<&WorkerEntry>) {
        let Some(hands) = self.hands.get_mut(name) else {
            if let Some(worker) = known {
                self.hands.insert(worker.worker.clone(), Hands::default());
                self.place_worker(name, known);
            }
            return;
        };
        let room = known.filter(|worker| hands.leases.len() < capacity(worker));
        let asking = room.and(hands.requests.keys().next().copied());
        if hands.asking != asking {
            let set = &mut self.asking;
            hands.asking.map(|place| set.remove(&(place, name.to_owned())));
            asking.map(|place| set.insert((place, name.to_owned())));
            hands.asking = asking;
        }
        let idle =
            room.filter(|worker| worker.push).map(|worker| (load(worker, hands.leases.len()), worker.assigned_at));
        if hands.idle != idle {
            let set = &mut self.idle;
            hands.idle.map(|(load, at)| set.remove(&(load, at, name.to_owned())));
            idle.map(|(load, at)| set.insert((load, at, name.to_owned())));
            hands.idle = idle;
        }
        if known.is_none() && hands.leases.is_empty() && hands.requests.is_empty() {
            self.hands.remove(name);
        }
    }

    /// Who takes the next task, and for which request: the one that has waited longest, else who is least loaded.
    pub(super) fn taker(&self) -> Option<(String, Option<String>)> {
        if let Some((place, worker)) = self.asking.first() {
            let request = self.hands.get(worker).and_then(|hands| hands.requests.get(place));
            return Some((worker.clone(), request.cloned()));
        }
        self.idle.first().map(|(_, _, worker)| (worker.clone(), None))
    }

    /// Tasks that a worker holds, in the order in which it was given them.
    pub(super) fn held_by(&self, worker: &str) -> impl Iterator<Item = &TaskId> {
        self.hands.get(worker).into_iter().flat_map(|hands| hands.leases.values())
    }

    /// Requests of a worker that wait, in order.
    pub(super) fn asked_by(&self, worker: &str) -> impl Iterator<Item = &String> {
        self.hands.get(worker).into_iter().flat_map(|hands| hands.requests.values())
    }

    /// How many tasks a worker holds, and how many of its requests wait.
    pub(super) fn counts(&self, worker: &str) -> (usize, usize) {
        self.hands.get(worker).map_or((0, 0), |hands| (hands.leases.len(), hands.requests.len()))
    }

    /// The task that is leased for a worker's request.
    pub(super) fn answer(&self, worker: &str, request: &str) -> Option<&TaskId> {
        self.hands.get(worker)?.answers.get(request)
    }
}

pub(super) fn capacity(worker: &WorkerEntry) -> usize {
    usize::try_from(worker.capacity).unwrap_or(0)
}

fn silent_at(worker: &WorkerEntry, settings: &Settings) -> i64 {
    worker.last_heartbeat.saturating_add(settings.heartbeat_timeout_ms)
}

/// Leases by capacity as an integer, so that the order is exact: two fractions with denominators up to 1,024 that differ, do so by
/// 2⁻²⁰ or more.
fn load(worker: &WorkerEntry, leases: usize) -> u64 {
    let leases = u64::try_from(leases).unwrap_or(u64::MAX >> 32);
    (leases << 32) / u64::try_from(worker.capacity).unwrap_or(0).max(1)
}
