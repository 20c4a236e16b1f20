//! The queue: commands and time in, effects out.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;
use tidemark_schemas::dispatch::{RequestEntry, TaskEntry, WorkerEntry};

use super::index::{Index, Timer};
use super::leases::Outcome;
use super::task;
use super::{Command, Effect, EntryKey, Expected, FINISHED_MAX, LATE_MS, Settings, TIMES_MAX, TaskId, Why};

/// A queue of tasks. A function of its commands and their times: no clock, no randomness, no order of hash maps in what it gives.
#[derive(Debug, Clone)]
pub struct Queue {
    pub(super) settings: Settings,
    pub(super) next_place: i64,
    pub(super) next_token: i64,
    /// Expected run times by kind, then step.
    pub(super) times: BTreeMap<String, BTreeMap<String, i64>>,
    pub(super) tasks: HashMap<TaskId, TaskEntry>,
    pub(super) workers: BTreeMap<String, WorkerEntry>,
    pub(super) requests: HashMap<String, RequestEntry>,
    pub(super) index: Index,
    pub(super) changed: BTreeSet<EntryKey>,
}

impl Queue {
    /// An empty queue. Times of the settings below a millisecond count as one: no timer is due at the moment when it is set.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let settings = Settings {
            heartbeat_timeout_ms: settings.heartbeat_timeout_ms.max(1),
            accept_ms: settings.accept_ms.max(1),
            floor_ms: settings.floor_ms.max(1),
            ..settings
        };
        Self {
            settings,
            next_place: 1,
            next_token: 1,
            times: BTreeMap::new(),
            tasks: HashMap::new(),
            workers: BTreeMap::new(),
            requests: HashMap::new(),
            index: Index::default(),
            changed: BTreeSet::new(),
        }
    }

    /// Applies a command at `now`, milliseconds since the epoch. [`Queue::tick`] has been called with the same time before; times
    /// never go back.
    pub fn apply(&mut self, command: Command, now: i64, out: &mut Vec<Effect>) {
        match command {
            Command::Submit { task, kind } => self.submit(task, kind, now),
            Command::Request { request, worker, capacity, wait_until } => {
                self.request(request, worker, capacity, wait_until, now, out);
            }
            Command::Heartbeat { request, worker, capacity, push, held } => {
                self.heartbeat(request, worker, (capacity, push), held, now, out);
            }
            Command::Complete(report) => self.report(Outcome::Completed, report, now, out),
            Command::Fail(report) => self.report(Outcome::Failed, report, now, out),
            Command::Refuse(report) => self.report(Outcome::Refused, report, now, out),
            Command::Cancel { task } => self.cancel(task, now, out),
            Command::Expect(times) => self.expect(times),
        }
        self.serve(now, out);
        self.forget(now);
    }

    /// Time has come to `now`: fires every timer that is due by then, in the order of their times, and then gives out what has
    /// come back. A timer that fires late by more than [`LATE_MS`] says that the log or the owner of the queue was away: nobody
    /// could be heard meanwhile, so workers and leases have their time anew.
    pub fn tick(&mut self, now: i64, out: &mut Vec<Effect>) {
        while self.due().is_some_and(|due| due <= now) {
            let Some((due, timer)) = self.index.timers.pop_first() else { break };
            let was_away = now.saturating_sub(due) > LATE_MS;
            match timer {
                Timer::Worker(worker) if was_away => self.spare_worker(&worker, now),
                Timer::Lease(task) if was_away => self.spare_lease(&task, now, out),
                Timer::Worker(worker) => self.lose_worker(worker, now, out),
                Timer::Lease(task) => self.give_back(&task, Why::Overdue, None, now, out),
                Timer::Request(request) => {
                    self.drop_request(&request);
                    out.push(Effect::NoTask { request });
                }
            }
        }
        self.serve(now, out);
        self.forget(now);
    }

    /// When the next timer is due, milliseconds since the epoch: always after the last tick. Finished tasks need none: they are
    /// forgotten with the next command or tick after their time.
    #[must_use]
    pub fn due(&self) -> Option<i64> {
        self.index.timers.first().map(|(at, _)| *at)
    }

    fn spare_worker(&mut self, worker: &str, now: i64) {
        if let Some(entry) = self.workers.get(worker).cloned() {
            self.put_worker(WorkerEntry { last_heartbeat: now, ..entry });
        }
    }

    /// One that nobody has taken up goes back, and that is nobody's fault.
    fn spare_lease(&mut self, task_id: &str, now: i64, out: &mut Vec<Effect>) {
        let Some(entry) = self.tasks.get(task_id) else { return };
        if !entry.accepted {
            return self.give_back(task_id, Why::Undelivered, None, now, out);
        }
        let (deadline, step) = (self.deadline(&entry.kind, &entry.step, now), entry.step.clone());
        self.change_task(task_id, |entry| entry.deadline = deadline);
        let lease = self.tasks.get(task_id).and_then(task::lease);
        out.extend(lease.map(|lease| Effect::Stepped { task: task_id.to_owned(), lease, step }));
    }

    /// Forgets finished tasks whose time is over, and the oldest when there are too many.
    fn forget(&mut self, now: i64) {
        let kept_ms = self.settings.finished_kept_ms;
        while let Some((at, task)) = self.index.finished.first() {
            if at.saturating_add(kept_ms) > now && self.index.finished.len() <= FINISHED_MAX {
                return;
            }
            let task = task.clone();
            self.remove_task(&task);
        }
    }

    fn expect(&mut self, expected: Vec<Expected>) {
        let mut times: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
        for Expected { kind, step, expected_ms } in expected.into_iter().take(TIMES_MAX) {
            times.entry(kind).or_default().insert(step, expected_ms.max(0));
        }
        if self.times != times {
            self.times = times;
            self.changed.insert(EntryKey::Queue);
        }
    }

    /// When a lease ends whose step begins at `now`. What stands behind `#` tells the attempts of a step apart: each has its time.
    pub(super) fn deadline(&self, kind: &str, step: &str, now: i64) -> i64 {
        let step = step.split('#').next().unwrap_or(step);
        let expected = self.times.get(kind).and_then(|steps| steps.get(step)).copied().unwrap_or(0);
        now.saturating_add(self.settings.factor.saturating_mul(expected).max(self.settings.floor_ms))
    }

    /// A place behind all others.
    pub(super) fn take_place(&mut self) -> i64 {
        let place = self.next_place;
        self.next_place += 1;
        self.changed.insert(EntryKey::Queue);
        place
    }

    /// A token above all others.
    pub(super) fn take_token(&mut self) -> i64 {
        let token = self.next_token;
        self.next_token += 1;
        self.changed.insert(EntryKey::Queue);
        token
    }
}
