//! What stands for the process `documents`: a queue that answers commands by the rules that the API relies on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidemark_log::{Log, Outgoing, Producer, Reader, TopicPartition};
use tidemark_schemas::avro::{self, Avro};
use tidemark_schemas::catalog;
use tidemark_schemas::dispatch::{
    Answered, Heartbeat, LeaseRequested, RevokedLease, RunTimesLearned, TaskActed, TaskReported, WorkerChanged,
};
use tidemark_schemas::documents::{Document, DocumentUploaded, StepAttempted, TaskChanged};
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire::{self, Decoder};
use tidemark_views::ViewStore;
use tidemark_views::documents::{self as tables, Tabled};

use crate::world::now;

/// What a test may ask of it and see.
#[derive(Default)]
pub(crate) struct Said {
    /// Commands are read and not answered.
    pub(crate) silent: AtomicBool,
    pub(crate) stop: AtomicBool,
    pub(crate) uploads: std::sync::Mutex<Vec<DocumentUploaded>>,
    pub(crate) reports: std::sync::Mutex<Vec<TaskReported>>,
    pub(crate) learned: std::sync::Mutex<Vec<RunTimesLearned>>,
}

pub(crate) struct Responder {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) views: Arc<dyn ViewStore>,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) said: Arc<Said>,
    pub(crate) documents: BTreeMap<String, Document>,
    pub(crate) queue: VecDeque<String>,
    pub(crate) waiting: VecDeque<LeaseRequested>,
    pub(crate) leased: BTreeMap<String, Answered>,
    pub(crate) uploads: BTreeMap<String, Answered>,
    pub(crate) clock: i64,
    pub(crate) out: Vec<(&'static str, String, Option<Vec<u8>>)>,
    pub(crate) rows: Vec<Document>,
    pub(crate) lines: Vec<TaskChanged>,
    pub(crate) runs: Vec<StepAttempted>,
}

impl Responder {
    pub(crate) fn run(mut self) {
        let all: Vec<_> = (0..2).map(|p| (TopicPartition::new("documents.commands", p), 0)).collect();
        let mut reader = self.log.reader(&all).unwrap();
        let mut producer = self.log.producer("responder").unwrap();
        while !self.said.stop.load(Ordering::SeqCst) {
            for value in poll(&mut *reader) {
                self.take(&value);
            }
            self.expire();
            self.publish(&mut *producer);
        }
    }

    fn take(&mut self, value: &[u8]) {
        let schemas = vec![
            catalog::DOCUMENT_UPLOADED,
            catalog::LEASE_REQUESTED,
            catalog::HEARTBEAT,
            catalog::TASK_REPORTED,
            catalog::TASK_ACTED,
            catalog::RUN_TIMES_LEARNED,
        ];
        let (mut decoder, mut scratch) = (Decoder::new(self.registry.clone(), schemas), Vec::new());
        let (schema, datum) = decoder.datum(value, &mut scratch).unwrap();
        let datum = datum.to_vec();
        let silent = self.said.silent.load(Ordering::SeqCst);
        match schema {
            0 => self.said.uploads.lock().unwrap().push(get(&datum)),
            3 => self.said.reports.lock().unwrap().push(get(&datum)),
            5 => self.said.learned.lock().unwrap().push(get(&datum)),
            _ => {}
        }
        if silent {
            return;
        }
        self.clock += 1;
        match schema {
            0 => self.uploaded(get(&datum)),
            1 => self.asked(get(&datum)),
            2 => self.heard(get(&datum)),
            3 => self.reported(get(&datum)),
            4 => self.acted(&get(&datum)),
            _ => {}
        }
        self.assign();
    }

    fn uploaded(&mut self, upload: DocumentUploaded) {
        if let Some(first) = self.uploads.get(&upload.upload_id) {
            if first.key.as_ref() != Some(&upload.file_id) {
                let message = Some("this upload was made before with other contents".to_owned());
                return self.answer(Answered { message, ..answered(&upload.request_id, "REJECTED") });
            }
            let again = Answered { request_id: upload.request_id, ..first.clone() };
            return self.answer(again);
        }
        let known = self.documents.get(&upload.file_id).cloned();
        let (outcome, row) = match known {
            None => ("CREATED", created(&upload)),
            Some(row) if row.state == "ERROR" => {
                ("RETRIED", Document { state: "UPLOADED".into(), error: None, owner: upload.owner.clone(), ..row })
            }
            Some(row) => ("DUPLICATE", Document { duplicates: row.duplicates + 1, ..row }),
        };
        let answer = Answered {
            key: Some(row.file_id.clone()),
            task_id: Some(row.task_id.clone()),
            ..answered(&upload.request_id, outcome)
        };
        if outcome != "DUPLICATE" {
            self.queue.push_back(row.file_id.clone());
        }
        self.uploads.insert(upload.upload_id, answer.clone());
        self.change(row, outcome);
        self.answer(answer);
    }

    /// The same request again gets the same task.
    fn asked(&mut self, asked: LeaseRequested) {
        match self.leased.values().find(|lease| lease.request_id == asked.request_id).cloned() {
            Some(lease) => self.answer(lease),
            None => self.waiting.push_back(asked),
        }
    }

    fn assign(&mut self) {
        while !self.queue.is_empty() && !self.waiting.is_empty() {
            let (file_id, asked) = (self.queue.pop_front().unwrap(), self.waiting.pop_front().unwrap());
            let row = self.documents[&file_id].clone();
            let token = row.token.max(self.clock) + 1;
            let row = Document {
                state: "PROCESSING".into(),
                token,
                attempt: row.attempt + 1,
                leased_at: now(),
                worker: Some(asked.worker.clone()),
                ..row
            };
            let payload = serde_json::json!({"file_id": row.file_id, "name": row.name, "type": row.media_type, "bytes": row.bytes});
            let answer = Answered {
                key: Some(file_id.clone()),
                task_id: Some(row.task_id.clone()),
                token: Some(token),
                attempt: Some(row.attempt),
                deadline: Some(now() + 60_000),
                payload: Some(payload.to_string()),
                ..answered(&asked.request_id, "ASSIGNED")
            };
            self.leased.insert(row.task_id.clone(), answer.clone());
            self.change(row, "ASSIGNED");
            self.answer(answer);
        }
    }

    fn expire(&mut self) {
        let (late, waiting): (Vec<_>, Vec<_>) = self.waiting.drain(..).partition(|asked| asked.wait_until <= now());
        self.waiting.extend(waiting);
        late.iter().for_each(|asked| self.answer(answered(&asked.request_id, "NO_TASK")));
    }

    fn heard(&mut self, heard: Heartbeat) {
        let lives = |held: &tidemark_schemas::dispatch::HeldLease| {
            self.leased.get(&held.task_id).is_some_and(|lease| lease.token == Some(held.token))
        };
        let leases = heard.held.iter().filter(|held| lives(held)).count() as i32;
        let revoked = heard.held.iter().filter(|held| !lives(held));
        let revoked = revoked.map(|held| RevokedLease { task_id: held.task_id.clone(), token: held.token }).collect();
        let worker = WorkerChanged {
            tenant: heard.tenant.clone(),
            queue: heard.queue.clone(),
            worker: heard.worker.clone(),
            capacity: heard.capacity,
            leases,
            last_heartbeat: now(),
            memory_bytes: heard.memory_bytes,
            cpu_percent: heard.cpu_percent,
        };
        let key = format!("{}/{}/{}", heard.tenant, heard.queue, heard.worker);
        // A worker that is drained and holds nothing is gone, as far as a test is concerned.
        let value = (heard.capacity > 0).then(|| datum(&worker));
        self.out.push(("documents.workers", key, value));
        self.answer(Answered { revoked, ..answered(&heard.request_id, "ALIVE") });
    }

    fn reported(&mut self, report: TaskReported) {
        let lease = self.leased.get(&report.task_id).filter(|lease| lease.token == Some(report.token)).cloned();
        let Some(lease) = lease else {
            let known = self.documents.values().any(|row| row.task_id == report.task_id);
            let outcome = if known { "REJECTED" } else { "NOT_FOUND" };
            return self.answer(answered(&report.request_id, outcome));
        };
        let row = self.documents[&lease.key.unwrap()].clone();
        let row = match report.outcome.as_str() {
            "COMPLETED" => Document {
                state: "DONE".into(),
                result: report.result.clone(),
                result_bytes: report.result_bytes,
                ..row
            },
            "FAILED" => {
                Document { state: "ERROR".into(), error: report.message.clone(), step: report.step.clone(), ..row }
            }
            _ => {
                self.queue.push_back(row.file_id.clone());
                Document { state: "UPLOADED".into(), ..row }
            }
        };
        for (place, run) in report.attempts.iter().enumerate() {
            self.runs.push(StepAttempted {
                tenant: report.tenant.clone(),
                event_id: format!("{}-{place}", row.token),
                file_id: row.file_id.clone(),
                task_id: row.task_id.clone(),
                token: row.token,
                worker: report.worker.clone(),
                place: place as i32,
                step: run.step.clone(),
                attempt: run.attempt,
                outcome: run.outcome.clone(),
                message: run.message.clone(),
                media_type: row.media_type.clone(),
                at: now(),
                started_at: run.started_at,
                wall_us: run.wall_us,
                cpu_us: run.cpu_us,
                memory_bytes: run.memory_bytes,
            });
        }
        self.leased.remove(&report.task_id);
        let event = row.state.clone();
        self.change(row, &event);
        self.answer(answered(&report.request_id, "ACCEPTED"));
    }

    fn acted(&mut self, act: &TaskActed) {
        let Some(row) = self.documents.get(&act.key).cloned() else {
            return self.answer(answered(&act.request_id, "NOT_FOUND"));
        };
        let ended = row.state == "ERROR" || row.state == "DONE";
        let row = match act.action.as_str() {
            "RETRY" if row.state == "ERROR" => {
                self.queue.push_back(row.file_id.clone());
                Document { state: "UPLOADED".into(), error: None, ..row }
            }
            "CANCEL" if !ended => {
                self.queue.retain(|file_id| *file_id != row.file_id);
                self.leased.remove(&row.task_id);
                Document { state: "ERROR".into(), error: Some(format!("cancelled by {}", act.by)), ..row }
            }
            _ => {
                let message = Some(format!("it is {}", row.state));
                return self.answer(Answered { message, ..answered(&act.request_id, "REJECTED") });
            }
        };
        let event = row.state.clone();
        self.change(row, &event);
        self.answer(answered(&act.request_id, "ACCEPTED"));
    }

    /// A new row, and its line in the log.
    pub(crate) fn change(&mut self, row: Document, event: &str) {
        let row = Document { seq: row.seq + 1, revision: self.clock, changed_at: now(), ..row };
        self.lines.push(TaskChanged {
            tenant: row.tenant.clone(),
            event_id: format!("{}-{}", row.file_id, row.seq),
            file_id: row.file_id.clone(),
            task_id: row.task_id.clone(),
            seq: row.seq,
            at: now(),
            event: event.to_owned(),
            state: row.state.clone(),
            message: String::new(),
            worker: row.worker.clone(),
            token: None,
            attempt: None,
            step: None,
            media_type: row.media_type.clone(),
            bytes: row.bytes,
            queued_ms: None,
            worked_ms: None,
        });
        self.out.push(("view.documents.v1", row.file_id.clone(), Some(datum(&row))));
        self.rows.push(row.clone());
        self.documents.insert(row.file_id.clone(), row);
    }

    fn answer(&mut self, answer: Answered) {
        self.out.push(("documents.answers", answer.request_id.clone(), Some(datum(&answer))));
    }

    fn publish(&mut self, producer: &mut dyn Producer) {
        let out = std::mem::take(&mut self.out);
        if out.is_empty() {
            return;
        }
        publish(&*self.registry, producer, &out);
        let (rows, lines, runs) =
            (std::mem::take(&mut self.rows), std::mem::take(&mut self.lines), std::mem::take(&mut self.runs));
        let views = self.views.clone();
        self.runtime.block_on(async move {
            let rows: Vec<_> = rows.iter().map(Tabled::row).collect();
            views.put_rows(&tables::documents(), &rows).await.unwrap();
            let lines: Vec<_> = lines.iter().map(Tabled::row).collect();
            views.put_rows(&tables::log(), &lines).await.unwrap();
            let runs: Vec<_> = runs.iter().map(Tabled::row).collect();
            views.put_rows(&tables::steps(), &runs).await.unwrap();
        });
    }
}

/// Writes records to topics of two partitions.
pub(crate) fn publish(registry: &dyn Registry, producer: &mut dyn Producer, out: &[(&str, String, Option<Vec<u8>>)]) {
    let schema = |topic: &str| match topic {
        "documents.answers" => catalog::ANSWERED,
        "documents.workers" => catalog::WORKER_CHANGED,
        _ => catalog::DOCUMENT,
    };
    producer
        .commit(&mut |sink| {
            for (topic, key, datum) in out {
                let id = registry.register(&format!("{topic}-value"), &schema(topic).avsc).unwrap();
                let value = datum.as_ref().map(|datum| {
                    let mut value = Vec::new();
                    wire::put_header(id, &mut value);
                    value.extend_from_slice(datum);
                    value
                });
                let partition = (tidemark_core::table::hash(key.as_bytes()) % 2) as u32;
                let (key, value) = (Some(key.as_bytes()), value.as_deref());
                sink.send(Outgoing { topic, partition, key, value, headers: &[] })?;
            }
            Ok(())
        })
        .unwrap();
}

pub(crate) fn datum<'a>(record: &impl Avro<'a>) -> Vec<u8> {
    let mut datum = Vec::new();
    record.put(&mut datum);
    datum
}

fn get<T: for<'a> Avro<'a>>(datum: &[u8]) -> T {
    T::get(&mut avro::Reader::new(datum)).unwrap()
}

fn poll(reader: &mut dyn Reader) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    let take = &mut |batch: tidemark_log::Batch<'_>| {
        values.extend(batch.records.iter().filter_map(|record| record.value).map(<[u8]>::to_vec));
    };
    reader.poll(Duration::from_millis(10), take).unwrap();
    values
}

fn answered(request_id: &str, outcome: &str) -> Answered {
    Answered {
        request_id: request_id.to_owned(),
        at: now(),
        outcome: outcome.to_owned(),
        message: None,
        key: None,
        task_id: None,
        token: None,
        attempt: None,
        deadline: None,
        payload: None,
        revoked: Vec::new(),
    }
}

pub(crate) fn created(upload: &DocumentUploaded) -> Document {
    Document {
        tenant: upload.tenant.clone(),
        queue: upload.queue.clone(),
        file_id: upload.file_id.clone(),
        task_id: upload.request_id.clone(),
        name: upload.name.clone(),
        media_type: upload.media_type.clone(),
        bytes: upload.bytes,
        owner: upload.owner.clone(),
        mail: upload.mail.clone(),
        state: "UPLOADED".into(),
        uploaded_at: upload.received_at,
        changed_at: upload.received_at,
        queued_at: upload.received_at,
        leased_at: 0,
        worker: None,
        token: 0,
        attempt: 0,
        step: None,
        error: None,
        result: None,
        result_bytes: 0,
        duplicates: 0,
        infrastructure_failures: 0,
        seq: 0,
        revision: 0,
    }
}
