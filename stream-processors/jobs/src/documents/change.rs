//! What one input, or time, does to a queue and its documents: gathered here and written out once at its end.

use super::keys::Key;
use super::lane::Lane;
use super::output::{ANSWERS, ROWS, STEPS, TASKS};
use super::{Settings, ids};
use std::collections::BTreeMap;
use tidemark_core::dispatch::{Command, Lease};
use tidemark_core::process::Output;
use tidemark_schemas::dispatch::{Answered, TaskReported};
use tidemark_schemas::documents::{Document, StepAttempted, TaskChanged};

/// What the effects of a command are due to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cause<'a> {
    /// Time, or a command that says no more than its effects.
    Other,
    /// A worker's report.
    Report(&'a TaskReported),
    /// A person who cancels.
    Person(&'a str),
}

/// One input's change of a queue.
pub(super) struct Change<'a> {
    pub(super) lane: &'a mut Lane,
    pub(super) settings: &'a Settings,
    pub(super) out: &'a mut Output,
    pub(super) now: i64,
    pub(super) offset: i64,
    pub(super) cause: Cause<'a>,
    /// Changed documents, by file_id.
    pub(super) changed: BTreeMap<String, Document>,
}

/// A line of the log, but for what the document says itself.
#[derive(Debug, Default)]
pub(super) struct Line<'l> {
    pub(super) event: &'static str,
    pub(super) message: String,
    pub(super) worker: Option<&'l str>,
    pub(super) token: Option<i64>,
    pub(super) attempt: Option<i32>,
    pub(super) step: Option<String>,
    pub(super) queued_ms: Option<i64>,
    pub(super) worked_ms: Option<i64>,
}

impl<'l> Line<'l> {
    /// About a lease of the document.
    pub(super) fn of(event: &'static str, message: String, document: &Document, lease: Option<&'l Lease>) -> Self {
        let (worker, token) = (lease.map(|lease| lease.worker.as_str()), lease.map(|lease| lease.token));
        Self { event, message, worker, token, attempt: lease.map(|_| document.attempt), ..Self::default() }
    }
}

impl Change<'_> {
    /// Tells the queue, and does what comes of it.
    pub(super) fn command(&mut self, command: Command) {
        let mut effects = Vec::new();
        self.lane.queue.apply(command, self.now, &mut effects);
        effects.into_iter().for_each(|effect| self.effect(effect));
    }

    /// Lets time come to the queue and to uploads that have been remembered for long enough.
    pub(super) fn time(&mut self) {
        let mut effects = Vec::new();
        self.lane.queue.tick(self.now, &mut effects);
        effects.into_iter().for_each(|effect| self.effect(effect));
        while let Some(upload) = self.lane.uploads.forget(self.now.saturating_sub(self.settings.upload_kept_ms)) {
            self.out.change(self.lane.id.entry(&Key::Upload(upload.to_string())));
        }
    }

    /// A document as it is by now.
    pub(super) fn document(&self, file_id: &str) -> Option<Document> {
        self.changed.get(file_id).cloned().or_else(|| self.lane.documents.get(&self.lane.id, file_id))
    }

    pub(super) fn of_task(&self, task_id: &str) -> Option<Document> {
        let is_its = |document: &&Document| document.task_id == task_id;
        let changed = self.changed.values().find(is_its).cloned();
        changed.or_else(|| self.document(&self.lane.documents.of_task(task_id)?))
    }

    pub(super) fn set(&mut self, document: Document) {
        self.changed.insert(document.file_id.clone(), document);
    }

    /// Adds a line to the document's log.
    pub(super) fn line(&mut self, document: &mut Document, line: Line<'_>) {
        document.seq += 1;
        let Document { tenant, queue, file_id, .. } = &*document;
        let seq = document.seq.to_le_bytes();
        let event_id = ids::made_of(&[b"line", tenant.as_bytes(), queue.as_bytes(), file_id.as_bytes(), &seq]);
        let changed = TaskChanged {
            tenant: tenant.clone(),
            event_id,
            file_id: file_id.clone(),
            task_id: document.task_id.clone(),
            seq: document.seq,
            at: self.now,
            event: line.event.to_owned(),
            state: document.state.clone(),
            message: line.message,
            worker: line.worker.map(str::to_owned),
            token: line.token,
            attempt: line.attempt,
            step: line.step,
            media_type: document.media_type.clone(),
            bytes: document.bytes,
            queued_ms: line.queued_ms,
            worked_ms: line.worked_ms,
        };
        self.out.emit(TASKS, &key_of(document), &changed);
    }

    /// Tells of the runs of steps that the report of a lease has.
    pub(super) fn runs(&mut self, document: &Document, lease: &Lease) {
        let Cause::Report(report) = self.cause else { return };
        let Document { tenant, queue, file_id, task_id, media_type, .. } = document;
        let token = lease.token.to_le_bytes();
        for (place, run) in (0..).zip(&report.attempts) {
            let (step, attempt) = (run.step.as_bytes(), run.attempt.to_le_bytes());
            let named = [b"run", tenant.as_bytes(), queue.as_bytes(), file_id.as_bytes(), &token, step, &attempt];
            let place_bytes = i32::to_le_bytes(place);
            let event_id = ids::made_of(&[&named[..], &[&place_bytes]].concat());
            let attempted = StepAttempted {
                tenant: tenant.clone(),
                event_id,
                file_id: file_id.clone(),
                task_id: task_id.clone(),
                token: lease.token,
                worker: lease.worker.clone(),
                place,
                step: run.step.clone(),
                attempt: run.attempt,
                outcome: run.outcome.clone(),
                message: run.message.clone(),
                media_type: media_type.clone(),
                at: self.now,
                started_at: run.started_at,
                wall_us: run.wall_us,
                cpu_us: run.cpu_us,
                memory_bytes: run.memory_bytes,
            };
            self.out.emit(STEPS, &key_of(document), &attempted);
        }
    }

    /// An answer that says no more than its outcome.
    pub(super) fn answered(&self, request_id: &str, outcome: &str) -> Answered {
        Answered {
            request_id: request_id.to_owned(),
            at: self.now,
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

    pub(super) fn answer(&mut self, answer: &Answered) {
        self.out.emit(ANSWERS, answer.request_id.as_bytes(), answer);
    }

    /// Writes down what has changed: one row for each document. Revisions only grow: time and a record can change a document at
    /// one offset, one after the other.
    pub(super) fn finish(self) {
        let Self { lane, out, offset, changed, .. } = self;
        for (file_id, mut document) in changed {
            document.revision = offset.max(document.revision).saturating_add(1);
            out.emit(ROWS, &key_of(&document), &document);
            out.change(lane.id.entry(&Key::Document(file_id)));
            lane.documents.put(document);
        }
        for key in lane.queue.take_changed() {
            out.change(lane.id.entry(&Key::Dispatch(key)));
        }
    }
}

/// Key of what is told of a document: `tenant/queue/file_id`.
fn key_of(document: &Document) -> Vec<u8> {
    let Document { tenant, queue, file_id, .. } = document;
    format!("{tenant}/{queue}/{file_id}").into_bytes()
}
