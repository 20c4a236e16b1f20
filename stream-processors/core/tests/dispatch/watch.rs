//! Watches a queue from outside: from commands and effects alone it knows what must be, and says what is not so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tidemark_core::dispatch::{
    Command, Effect, Entry, EntryKey, Failure, HeldLease, Lease, Queue, Report, TaskId, TaskState, Why,
};

/// A report by its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Complete,
    Fail,
    Refuse,
}

/// What an onlooker knows of a queue.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watch {
    /// Tasks that wait, in their order.
    pending: VecDeque<TaskId>,
    /// Leases that are valid.
    pub(crate) live: BTreeMap<TaskId, Lease>,
    /// The report that ended a task.
    ended: BTreeMap<TaskId, (i64, Kind)>,
    /// As each worker has said.
    capacity: BTreeMap<String, i32>,
    highest_token: i64,
    /// The changelog, compacted.
    pub(crate) log: Arc<BTreeMap<EntryKey, Entry>>,
}

type Checked = Result<Vec<Effect>, String>;

fn must(holds: bool, rule: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(rule()) }
}

impl Watch {
    pub(crate) fn new(queue: &Queue) -> Self {
        Self { log: Arc::new(queue.entries()), ..Self::default() }
    }

    pub(crate) fn tick(&mut self, queue: &mut Queue, now: i64) -> Checked {
        let mut out = Vec::new();
        queue.tick(now, &mut out);
        self.follow(queue, now, &out)?;
        Ok(out)
    }

    /// Time has come to `now` before.
    pub(crate) fn apply(&mut self, queue: &mut Queue, command: Command, now: i64) -> Checked {
        self.hear(&command);
        let before = self.clone();
        let mut out = Vec::new();
        queue.apply(command.clone(), now, &mut out);
        self.follow(queue, now, &out)?;
        match &command {
            Command::Complete(report) => before.judge(Kind::Complete, report, &out, before.log == self.log)?,
            Command::Fail(report) => before.judge(Kind::Fail, report, &out, before.log == self.log)?,
            Command::Refuse(report) => before.judge(Kind::Refuse, report, &out, before.log == self.log)?,
            Command::Heartbeat { worker, held, .. } => before.judge_heartbeat(worker, held, &out, self)?,
            Command::Submit { .. } | Command::Request { .. } | Command::Cancel { .. } | Command::Expect(_) => {}
        }
        Ok(out)
    }

    /// What a command changes without an effect.
    fn hear(&mut self, command: &Command) {
        match command {
            Command::Submit { task, .. } => {
                if !self.pending.contains(task) && !self.live.contains_key(task) {
                    self.ended.remove(task);
                    self.pending.push_back(task.clone());
                }
            }
            Command::Request { worker, capacity, .. } | Command::Heartbeat { worker, capacity, .. } => {
                self.capacity.insert(worker.clone(), *capacity);
            }
            Command::Complete(_)
            | Command::Fail(_)
            | Command::Refuse(_)
            | Command::Cancel { .. }
            | Command::Expect(_) => {}
        }
    }

    fn follow(&mut self, queue: &mut Queue, now: i64, out: &[Effect]) -> Result<(), String> {
        for effect in out {
            self.effect(effect, now).map_err(|rule| format!("{rule}: {effect:?}"))?;
        }
        self.write(queue)?;
        self.agrees(queue, now)
    }

    fn effect(&mut self, effect: &Effect, now: i64) -> Result<(), String> {
        match effect {
            Effect::Assigned { task, lease, again: true, .. } => must(self.live.get(task) == Some(lease), || {
                "an answer is given again for a lease that is none".to_owned()
            }),
            Effect::Assigned { task, lease, again: false, .. } => self.assigned(task, lease, now),
            Effect::Requeued { task, lease, .. } => {
                self.over(task, lease)?;
                self.pending.push_back(task.clone());
                Ok(())
            }
            Effect::Completed { task, lease, .. } => {
                self.ended.insert(task.clone(), (lease.token, Kind::Complete));
                self.over(task, lease)
            }
            Effect::Failed { task, lease, why, .. } => {
                let lease = lease.as_ref().ok_or("it failed without a lease")?;
                match why {
                    Failure::Reported => drop(self.ended.insert(task.clone(), (lease.token, Kind::Fail))),
                    Failure::Lost(Why::Refused) => drop(self.ended.insert(task.clone(), (lease.token, Kind::Refuse))),
                    Failure::Lost(Why::Silent | Why::Overdue | Why::Undelivered) => {}
                }
                self.over(task, lease)
            }
            Effect::Cancelled { task, lease: Some(lease) } => self.over(task, lease),
            Effect::Cancelled { task, lease: None } => {
                self.pending.retain(|other| other != task);
                Ok(())
            }
            Effect::Stepped { task, lease, .. } => {
                let before = self.live.insert(task.clone(), lease.clone());
                must(before.is_some_and(|before| before.token == lease.token), || "a step without a lease".to_owned())
            }
            Effect::Gone { worker } => {
                self.capacity.remove(worker);
                must(self.held(worker) == 0, || "a worker is gone and holds leases".to_owned())
            }
            Effect::NoTask { .. } | Effect::Repeated { .. } | Effect::Rejected { .. } | Effect::Alive { .. } => Ok(()),
        }
    }

    fn assigned(&mut self, task: &TaskId, lease: &Lease, now: i64) -> Result<(), String> {
        must(!self.live.contains_key(task), || "two valid leases for a task".to_owned())?;
        must(self.pending.pop_front().as_ref() == Some(task), || "not first in, first out".to_owned())?;
        must(lease.token > self.highest_token, || "the token does not grow".to_owned())?;
        let capacity = self.capacity.get(&lease.worker).copied().unwrap_or(0);
        must(self.held(&lease.worker) < capacity, || "over the capacity".to_owned())?;
        must(lease.deadline > now && lease.leased_at == now, || "the lease is over already".to_owned())?;
        self.highest_token = lease.token;
        self.live.insert(task.clone(), lease.clone());
        Ok(())
    }

    fn over(&mut self, task: &TaskId, lease: &Lease) -> Result<(), String> {
        must(self.live.remove(task).as_ref() == Some(lease), || "a lease ends that is none".to_owned())
    }

    fn held(&self, worker: &str) -> i32 {
        i32::try_from(self.live.values().filter(|lease| lease.worker == worker).count()).unwrap()
    }

    /// Writes the changelog: exactly what is another now is named, each entry once.
    fn write(&mut self, queue: &mut Queue) -> Result<(), String> {
        let entries = queue.entries();
        let keys: BTreeSet<&EntryKey> = self.log.keys().chain(entries.keys()).collect();
        let differ: Vec<EntryKey> =
            keys.into_iter().filter(|key| self.log.get(key) != entries.get(key)).cloned().collect();
        let named = queue.take_changed();
        must(named == differ, || format!("named as changed {named:?}, changed are {differ:?}"))?;
        self.log = Arc::new(entries);
        Ok(())
    }

    /// Every task is pending, leased or finished, as the effects have said, and nobody who could work is kept waiting.
    fn agrees(&self, queue: &Queue, now: i64) -> Result<(), String> {
        for entry in self.log.values() {
            if let Entry::Request(request) = entry {
                let known = queue.worker(&request.worker).is_some();
                must(known && request.wait_until > now, || format!("{request:?} waits for nothing"))?;
            }
            let Entry::Task(entry) = entry else { continue };
            let task = queue.task(&entry.task_id).ok_or("an entry without a task")?;
            let expected = match (self.pending.contains(&entry.task_id), self.live.get(&entry.task_id)) {
                (true, None) => TaskState::Pending,
                (false, Some(_)) => TaskState::Leased,
                (false, None) => TaskState::Finished,
                (true, Some(_)) => return Err(format!("{} is pending and leased", entry.task_id)),
            };
            must(task.state == expected, || format!("{} is {:?}, not {expected:?}", entry.task_id, task.state))?;
            must(task.lease.as_ref() == self.live.get(&entry.task_id), || format!("another lease: {:?}", task.lease))?;
        }
        let counts = (queue.pending(), queue.leased());
        must(counts == (self.pending.len(), self.live.len()), || format!("tasks are in limbo: {counts:?}, {self:?}"))?;
        let due = queue.due();
        must(due.is_none_or(|due| due > now), || format!("a timer is past: {due:?} at {now}"))?;
        let ends = self.live.values().map(|lease| lease.deadline).min();
        must(ends.is_none_or(|ends| due.is_some_and(|due| due <= ends)), || "a lease without a timer".to_owned())?;
        let idle = queue.workers().find(|worker| {
            i32::try_from(worker.leases).unwrap() < worker.capacity && (worker.push || worker.requests > 0)
        });
        must(self.pending.is_empty() || idle.is_none(), || format!("a task waits and so does {idle:?}"))
    }

    /// A report counts under the valid lease; under any other it changes nothing.
    fn judge(&self, kind: Kind, report: &Report, out: &[Effect], same: bool) -> Result<(), String> {
        if self.live.get(&report.task).is_some_and(|lease| lease.token == report.token) {
            return must(!matches!(out[0], Effect::Rejected { .. } | Effect::Repeated { .. }), || {
                "a valid report is turned down".to_owned()
            });
        }
        must(same, || format!("a stale report has changed something: {report:?}"))?;
        let ended = self.ended.get(&report.task) == Some(&(report.token, kind));
        let known = self.log.contains_key(&EntryKey::Task(report.task.clone()));
        let right = match out {
            [Effect::Repeated { .. }] => ended && known,
            [Effect::Rejected { .. }] => !(ended && known),
            _ => false,
        };
        must(right, || format!("wrong answer to a report: {out:?}"))
    }

    /// Names that are no leases are revoked, in order, and tasks that are not the worker's stay as they are.
    fn judge_heartbeat(&self, worker: &str, held: &[HeldLease], out: &[Effect], after: &Self) -> Result<(), String> {
        let own = |task: &TaskId, token| {
            self.live.get(task).is_some_and(|lease| lease.token == token && lease.worker == worker)
        };
        let stale = held.iter().filter(|held| !own(&held.task_id, held.token)).map(|held| (&held.task_id, held.token));
        let revoked =
            out.iter().find_map(|effect| if let Effect::Alive { revoked, .. } = effect { Some(revoked) } else { None });
        let revoked = revoked.ok_or("a heartbeat without an answer")?;
        must(stale.eq(revoked.iter().map(|lease| (&lease.task_id, lease.token))), || {
            format!("wrongly revoked: {revoked:?}")
        })?;
        let named = |task: &TaskId| held.iter().any(|held| held.task_id == *task && own(task, held.token));
        let given = |task: &TaskId| {
            out.iter().any(|effect| matches!(effect, Effect::Assigned { task: other, .. } if other == task))
        };
        let mut tasks = self
            .log
            .iter()
            .filter_map(|(key, entry)| if let EntryKey::Task(task) = key { Some((task, key, entry)) } else { None });
        let same = tasks.all(|(task, key, entry)| named(task) || given(task) || after.log.get(key) == Some(entry));
        must(same, || "a heartbeat has changed a task that is not its worker's".to_owned())
    }
}
