//! The state as a map of entries, for the changelog.

use std::collections::BTreeMap;

use tidemark_schemas::dispatch::{QueueEntry, RequestEntry, RunTime, TaskEntry, WorkerEntry};

use super::{Queue, TaskId};

/// Names an entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKey {
    /// What never goes back, and the expected run times: there always.
    Queue,
    /// A task.
    Task(TaskId),
    /// A worker.
    Worker(String),
    /// A request that waits.
    Request(String),
}

/// A piece of the state of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Under [`EntryKey::Queue`].
    Queue(QueueEntry),
    /// Under [`EntryKey::Task`].
    Task(TaskEntry),
    /// Under [`EntryKey::Worker`].
    Worker(WorkerEntry),
    /// Under [`EntryKey::Request`].
    Request(RequestEntry),
}

impl Queue {
    /// The entries that have changed, come or gone since the last call, each once, in order.
    pub fn take_changed(&mut self) -> Vec<EntryKey> {
        std::mem::take(&mut self.changed).into_iter().collect()
    }

    /// An entry as it is now; `None` when it is gone.
    #[must_use]
    pub fn entry(&self, key: &EntryKey) -> Option<Entry> {
        match key {
            EntryKey::Queue => Some(Entry::Queue(self.queue_entry())),
            EntryKey::Task(task) => self.tasks.get(task).cloned().map(Entry::Task),
            EntryKey::Worker(worker) => self.workers.get(worker).cloned().map(Entry::Worker),
            EntryKey::Request(request) => self.requests.get(request).cloned().map(Entry::Request),
        }
    }

    /// Takes an entry back in, before any command: each key once, in any order.
    pub fn restore(&mut self, entry: Entry) {
        match entry {
            Entry::Queue(entry) => {
                self.next_place = entry.next_place;
                self.next_token = entry.next_token;
                self.times.clear();
                for RunTime { kind, step, expected_ms } in entry.times {
                    self.times.entry(kind).or_default().insert(step, expected_ms);
                }
            }
            Entry::Task(entry) => self.restore_task(entry),
            Entry::Worker(entry) => {
                self.index.add_worker(&entry, &self.settings);
                self.index.place_worker(&entry.worker, Some(&entry));
                self.workers.insert(entry.worker.clone(), entry);
            }
            Entry::Request(entry) => {
                self.index.add_request(&entry);
                self.index.place_worker(&entry.worker, self.workers.get(&entry.worker));
                self.requests.insert(entry.request_id.clone(), entry);
            }
        }
    }

    fn restore_task(&mut self, entry: TaskEntry) {
        self.index.add_task(&entry, &self.settings);
        if let Some(worker) = &entry.worker {
            self.index.place_worker(worker, self.workers.get(worker));
        }
        self.tasks.insert(entry.task_id.clone(), entry);
    }

    /// All entries. Linear: for checks and dumps.
    #[must_use]
    pub fn entries(&self) -> BTreeMap<EntryKey, Entry> {
        let tasks = self.tasks.keys().cloned().map(EntryKey::Task);
        let workers = self.workers.keys().cloned().map(EntryKey::Worker);
        let requests = self.requests.keys().cloned().map(EntryKey::Request);
        let keys = tasks.chain(workers).chain(requests).chain([EntryKey::Queue]);
        keys.filter_map(|key| self.entry(&key).map(|entry| (key, entry))).collect()
    }

    fn queue_entry(&self) -> QueueEntry {
        let times = self.times.iter().flat_map(|(kind, steps)| {
            let time =
                move |(step, ms): (&String, &i64)| RunTime { kind: kind.clone(), step: step.clone(), expected_ms: *ms };
            steps.iter().map(time)
        });
        QueueEntry { next_place: self.next_place, next_token: self.next_token, times: times.collect() }
    }
}

/// Two queues are equal when their settings and entries are: they go on alike.
impl PartialEq for Queue {
    fn eq(&self, other: &Self) -> bool {
        self.settings == other.settings
            && (self.next_place, self.next_token, &self.times) == (other.next_place, other.next_token, &other.times)
            && self.tasks == other.tasks
            && self.workers == other.workers
            && self.requests == other.requests
    }
}

impl Eq for Queue {}
