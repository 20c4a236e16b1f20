//! A process with a clock that tests move, and what it has emitted, by kind.

use std::collections::{BTreeMap, BTreeSet};
use tidemark_core::process::{Emitted, Input, Output, Process, Reject};
use tidemark_jobs::documents::{Documents, Settings, output};
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::dispatch::{
    Answered, AttemptReport, Heartbeat, HeldLease, LeaseRequested, RunTimesLearned, TaskActed, TaskReported,
    WorkerChanged,
};
use tidemark_schemas::documents::{Document, DocumentUploaded, StepAttempted, TaskChanged};
use tidemark_schemas::notifications::MailRequested;

pub(crate) const QUEUE: &str = "documents";

/// A UUID that is easy to tell from others.
pub(crate) fn uuid(n: u64) -> String {
    format!("00000000-0000-7000-8000-{n:012x}")
}

/// FileID of the n-th contents.
pub(crate) fn file(n: u64) -> String {
    format!("{n:064x}")
}

/// A command of any kind.
#[derive(Debug, Clone)]
pub(crate) enum Command {
    Upload(DocumentUploaded),
    Lease(LeaseRequested),
    Heartbeat(Heartbeat),
    Report(TaskReported),
    Act(TaskActed),
    Learn(RunTimesLearned),
}

impl Command {
    /// Place of its schema, and its datum.
    pub(crate) fn datum(&self) -> (usize, Vec<u8>) {
        let mut datum = Vec::new();
        let schema = match self {
            Self::Upload(record) => (record.put(&mut datum), 0).1,
            Self::Lease(record) => (record.put(&mut datum), 1).1,
            Self::Heartbeat(record) => (record.put(&mut datum), 2).1,
            Self::Report(record) => (record.put(&mut datum), 3).1,
            Self::Act(record) => (record.put(&mut datum), 4).1,
            Self::Learn(record) => (record.put(&mut datum), 5).1,
        };
        (schema, datum)
    }
}

/// What was emitted, in order of each kind.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Seen {
    pub(crate) answers: Vec<Answered>,
    pub(crate) lines: Vec<TaskChanged>,
    pub(crate) runs: Vec<StepAttempted>,
    pub(crate) rows: Vec<Document>,
    /// By the worker's key; none is a tombstone.
    pub(crate) workers: Vec<(String, Option<WorkerChanged>)>,
    pub(crate) mails: Vec<MailRequested>,
}

impl Seen {
    fn add(&mut self, Emitted { output, key, datum }: Emitted) {
        let key = String::from_utf8(key).unwrap();
        let Some(datum) = datum else {
            assert_eq!(output, output::WORKERS, "only a worker is forgotten");
            return self.workers.push((key, None));
        };
        match output {
            output::ANSWERS => self.answers.push(keyed(&key, &datum, |record: &Answered| record.request_id.clone())),
            output::TASKS => {
                self.lines.push(keyed(&key, &datum, |record: &TaskChanged| of(&key, &record.tenant, &record.file_id)))
            }
            output::STEPS => {
                self.runs.push(keyed(&key, &datum, |record: &StepAttempted| of(&key, &record.tenant, &record.file_id)))
            }
            output::ROWS => self.rows.push(keyed(&key, &datum, |record: &Document| {
                format!("{}/{}/{}", record.tenant, record.queue, record.file_id)
            })),
            output::WORKERS => self.workers.push((key, Some(read(&datum)))),
            output::MAILS => self.mails.push(keyed(&key, &datum, |record: &MailRequested| record.mail_id.clone())),
            other => panic!("there is no output {other}"),
        }
    }

    /// The log of a document: events and messages.
    pub(crate) fn log(&self, file_id: &str) -> Vec<(&str, &str)> {
        let lines = self.lines.iter().filter(|line| line.file_id == file_id);
        lines.map(|line| (line.event.as_str(), line.message.as_str())).collect()
    }
}

pub(crate) fn read<T: for<'a> Avro<'a>>(datum: &[u8]) -> T {
    let mut reader = Reader::new(datum);
    let record = T::get(&mut reader).unwrap();
    reader.finish().unwrap();
    record
}

fn keyed<T: for<'a> Avro<'a>>(key: &str, datum: &[u8], of: impl Fn(&T) -> String) -> T {
    let record = read(datum);
    assert_eq!(of(&record), key);
    record
}

/// `tenant/queue/file_id`, with the queue of the key: the record does not name it.
fn of(key: &str, tenant: &str, file_id: &str) -> String {
    let queue = key.split('/').nth(1).unwrap();
    format!("{tenant}/{queue}/{file_id}")
}

/// Entries of the changelog, compacted.
pub(crate) type Entries = BTreeMap<Vec<u8>, (usize, Vec<u8>)>;

pub(crate) struct World {
    pub(crate) process: Documents,
    pub(crate) now: i64,
    pub(crate) offset: i64,
    pub(crate) seen: Seen,
    pub(crate) entries: Entries,
    requests: u64,
}

impl World {
    pub(crate) fn new(settings: Settings) -> Self {
        let (process, entries) = (Documents::new(settings), Entries::new());
        Self { process, now: 1_800_000_000_000, offset: -1, seen: Seen::default(), entries, requests: 1_000_000 }
    }

    /// The same world, its process rebuilt from the entries.
    pub(crate) fn restart(&mut self, settings: Settings) {
        self.process = Documents::new(settings);
        // In another order than they came in.
        for (key, (schema, datum)) in self.entries.iter().rev() {
            self.process.restore(key, *schema, datum).unwrap();
        }
    }

    /// Gives a command, as the stage does: time first. What came of it.
    pub(crate) fn try_give(&mut self, command: &Command) -> Result<Seen, Reject> {
        self.offset += 1;
        let mut out = Output::default();
        self.process.tick(self.now, self.offset, &mut out);
        let (schema, datum) = command.datum();
        let input = Input { schema, datum: &datum, now: self.now, offset: self.offset };
        let taken = self.process.apply(&input, &mut out);
        let seen = self.take(out);
        taken.map(|()| seen)
    }

    pub(crate) fn give(&mut self, command: Command) -> Seen {
        self.try_give(&command).unwrap()
    }

    /// Time goes on, and a tick comes for every timer.
    pub(crate) fn wait(&mut self, ms: i64) -> Seen {
        let (until, mut seen) = (self.now + ms, Seen::default());
        while let Some(due) = self.process.due().filter(|due| *due <= until) {
            assert!(due > self.now, "a timer that is due was not fired");
            self.now = due;
            self.offset += 1;
            let mut out = Output::default();
            self.process.tick(self.now, self.offset, &mut out);
            let of_tick = self.take(out);
            seen.answers.extend(of_tick.answers);
            seen.lines.extend(of_tick.lines);
            seen.rows.extend(of_tick.rows);
            seen.workers.extend(of_tick.workers);
            seen.mails.extend(of_tick.mails);
        }
        self.now = until;
        seen
    }

    fn take(&mut self, out: Output) -> Seen {
        for key in out.changed {
            let mut datum = Vec::new();
            match self.process.entry(&key, &mut datum) {
                Some(schema) => drop(self.entries.insert(key, (schema, datum))),
                None => drop(self.entries.remove(&key)),
            }
        }
        let mut seen = Seen::default();
        out.emitted.iter().cloned().for_each(|emitted| seen.add(emitted));
        out.emitted.into_iter().for_each(|emitted| self.seen.add(emitted));
        self.check(&seen);
        seen
    }

    /// What always holds of what is emitted.
    fn check(&self, seen: &Seen) {
        let mut answered = BTreeSet::new();
        for answer in &seen.answers {
            assert!(answered.insert(&answer.request_id), "answered twice: {answer:?}");
            assert_eq!(answer.at, self.now);
        }
        for TaskChanged { tenant, file_id, .. } in &seen.lines {
            let its = |line: &&TaskChanged| (&line.tenant, &line.file_id) == (tenant, file_id);
            let log: Vec<i64> = self.seen.lines.iter().filter(its).map(|line| line.seq).collect();
            assert!(log.windows(2).all(|pair| pair[1] == pair[0] + 1), "no line is missing: {log:?}");
        }
        for row in &seen.rows {
            let its = |other: &&Document| (&other.tenant, &other.file_id) == (&row.tenant, &row.file_id);
            let rows = self.seen.rows.iter().filter(its).map(|row| row.revision);
            assert!(rows.is_sorted_by(|before, after| before < after), "revisions grow");
            assert!(row.revision > self.offset);
        }
        assert!(
            seen.lines.iter().all(|line| seen.rows.iter().any(|row| row.file_id == line.file_id)),
            "each line has its row"
        );
    }

    /// The document as its newest row says.
    pub(crate) fn row(&self, file_id: &str) -> &Document {
        self.seen.rows.iter().rfind(|row| row.file_id == file_id).unwrap()
    }

    pub(crate) fn request(&mut self) -> String {
        self.requests += 1;
        uuid(self.requests)
    }

    pub(crate) fn upload(&mut self, n: u64, owner: &str) -> DocumentUploaded {
        let request_id = self.request();
        DocumentUploaded {
            tenant: "default".into(),
            queue: QUEUE.into(),
            upload_id: format!("up-{request_id}"),
            request_id,
            file_id: file(n),
            name: format!("{owner}.txt"),
            media_type: "text/plain".into(),
            bytes: 10,
            owner: owner.into(),
            mail: format!("{owner}@example.org"),
            received_at: self.now,
        }
    }

    /// Uploads contents; the outcome.
    pub(crate) fn uploaded(&mut self, n: u64, owner: &str) -> String {
        let upload = self.upload(n, owner);
        let seen = self.give(Command::Upload(upload.clone()));
        let answer = seen.answers.iter().find(|answer| answer.request_id == upload.request_id).unwrap();
        assert_eq!(answer.key.as_ref(), Some(&upload.file_id));
        answer.outcome.clone()
    }

    /// A worker asks, and does not wait.
    pub(crate) fn lease(&mut self, worker: &str) -> Answered {
        self.lease_waiting(worker, 0).unwrap()
    }

    /// A worker asks, and waits so long; the answer if there is one at once.
    pub(crate) fn lease_waiting(&mut self, worker: &str, ms: i64) -> Option<Answered> {
        let request_id = self.request();
        let (tenant, queue, worker) = ("default".into(), QUEUE.into(), worker.into());
        let wait_until = self.now + ms;
        let asked = LeaseRequested { tenant, queue, request_id: request_id.clone(), worker, capacity: 4, wait_until };
        self.give(Command::Lease(asked)).answers.into_iter().find(|answer| answer.request_id == request_id)
    }

    pub(crate) fn heartbeat(&mut self, worker: &str, held: &[(&Answered, &str)]) -> Seen {
        let hold = |(lease, step): &(&Answered, &str)| HeldLease {
            task_id: lease.task_id.clone().unwrap(),
            token: lease.token.unwrap(),
            step: (*step).to_owned(),
        };
        let heard = Heartbeat {
            tenant: "default".into(),
            queue: QUEUE.into(),
            request_id: self.request(),
            worker: worker.into(),
            capacity: 4,
            push: false,
            memory_bytes: 7,
            cpu_percent: 50,
            held: held.iter().map(hold).collect(),
        };
        self.give(Command::Heartbeat(heard))
    }

    pub(crate) fn report(&mut self, worker: &str, lease: &Answered, outcome: &str) -> TaskReported {
        TaskReported {
            tenant: "default".into(),
            queue: QUEUE.into(),
            request_id: self.request(),
            worker: worker.into(),
            task_id: lease.task_id.clone().unwrap(),
            token: lease.token.unwrap(),
            outcome: outcome.into(),
            step: None,
            message: None,
            result: (outcome == "COMPLETED").then(|| file(0xab)),
            result_bytes: 3,
            attempts: vec![run("D1", 1, "OK")],
        }
    }

    /// A report with nothing special; its outcome.
    pub(crate) fn reported(&mut self, worker: &str, lease: &Answered, outcome: &str) -> Answered {
        let report = self.report(worker, lease, outcome);
        self.give(Command::Report(report)).answers.remove(0)
    }

    pub(crate) fn act(&mut self, file_id: &str, action: &str) -> Answered {
        let request_id = self.request();
        let (tenant, queue, key) = ("default".into(), QUEUE.into(), file_id.into());
        let act =
            TaskActed { tenant, queue, request_id: request_id.clone(), key, action: action.into(), by: "eve".into() };
        let answers = self.give(Command::Act(act)).answers;
        answers.into_iter().find(|answer| answer.request_id == request_id).unwrap()
    }
}

pub(crate) fn run(step: &str, attempt: i32, outcome: &str) -> AttemptReport {
    AttemptReport {
        step: step.into(),
        attempt,
        outcome: outcome.into(),
        message: None,
        started_at: 5,
        wall_us: 1_000,
        cpu_us: 900,
        memory_bytes: 4_096,
    }
}
