//! What the queue has decided, done to its documents.

use super::change::{Cause, Change, Line};
use super::keys::Key;
use super::messages;
use super::output::WORKERS;
use super::state::{DONE, ERROR, PROCESSING, UPLOADED};
use serde_json::json;
use tidemark_core::dispatch::{Effect, Failure, Lease, RevokedLease, Why};
use tidemark_schemas::documents::Document;

impl Change<'_> {
    pub(super) fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Assigned { task, lease, request, again, queued_at } => {
                let Some(document) = self.of_task(&task) else { return };
                let document = if again { document } else { self.assign(document, &lease, queued_at) };
                request.iter().for_each(|request| self.answer_assigned(request, &document, &lease));
            }
            Effect::NoTask { request } => {
                let answer = self.answered(&request, "NO_TASK");
                self.answer(&answer);
            }
            Effect::Requeued { task, lease, why, request } => {
                self.requeue(&task, &lease, why);
                self.accept(request.as_deref(), &task);
            }
            Effect::Completed { task, lease, request } => {
                self.complete(&task, &lease);
                self.accept(Some(&request), &task);
            }
            Effect::Failed { task, lease, why, request } => {
                self.fail(&task, lease.as_ref(), why);
                self.accept(request.as_deref(), &task);
            }
            Effect::Cancelled { task, lease } => self.cancel(&task, lease.as_ref()),
            Effect::Stepped { task, lease: _, step } => {
                // What stands behind `#` tells attempts apart.
                let step = step.split('#').next().filter(|step| !step.is_empty()).map(str::to_owned);
                if let Some(document) = self.of_task(&task).filter(|document| document.step != step) {
                    self.set(Document { step, ..document });
                }
            }
            Effect::Repeated { request, task } => self.accept(Some(&request), &task),
            Effect::Rejected { request, task, token, why } => self.reject(&request, &task, token, why),
            Effect::Alive { request, worker: _, revoked } => self.alive(&request, revoked),
            Effect::Gone { worker } => self.out.forget(WORKERS, &self.lane.id.worker(&worker)),
        }
    }

    fn assign(&mut self, mut document: Document, lease: &Lease, queued_at: i64) -> Document {
        self.enter(&mut document, PROCESSING);
        document.attempt += 1;
        document.leased_at = lease.leased_at;
        document.worker = Some(lease.worker.clone());
        document.token = lease.token;
        document.step = None;
        let message = messages::assigned(&lease.worker, document.attempt);
        let queued_ms = Some(lease.leased_at.saturating_sub(queued_at));
        let line = Line::of("ASSIGNED", message, &document, Some(lease));
        self.line(&mut document, Line { queued_ms, ..line });
        self.set(document.clone());
        document
    }

    fn answer_assigned(&mut self, request: &str, document: &Document, lease: &Lease) {
        let Document { file_id, name, media_type, bytes, .. } = document;
        let payload = json!({ "file_id": file_id, "name": name, "type": media_type, "bytes": bytes });
        let mut answer = self.answered(request, "ASSIGNED");
        answer.key = Some(file_id.clone());
        answer.task_id = Some(document.task_id.clone());
        answer.token = Some(lease.token);
        answer.attempt = Some(document.attempt);
        answer.deadline = Some(lease.deadline);
        answer.payload = Some(payload.to_string());
        self.answer(&answer);
    }

    fn requeue(&mut self, task: &str, lease: &Lease, why: Why) {
        let Some(mut document) = self.of_task(task) else { return };
        let message = format!("back to the queue: {}", self.lost(&document, lease, why));
        self.runs(&document, lease);
        self.enter(&mut document, UPLOADED);
        document.queued_at = self.now;
        document.infrastructure_failures += 1;
        document.step = None;
        let line = Line::of("REQUEUED", message, &document, Some(lease));
        self.line(&mut document, line);
        self.set(document);
    }

    fn complete(&mut self, task: &str, lease: &Lease) {
        let (Some(mut document), Cause::Report(report)) = (self.of_task(task), self.cause) else { return };
        self.runs(&document, lease);
        self.enter(&mut document, DONE);
        (document.step, document.error) = (None, None);
        (document.result, document.result_bytes) = (report.result.clone(), report.result_bytes);
        let worked_ms = self.now.saturating_sub(lease.leased_at);
        let (message, worked_ms) = (messages::done(worked_ms), Some(worked_ms));
        let line = Line::of("DONE", message, &document, Some(lease));
        self.line(&mut document, Line { worked_ms, ..line });
        self.lane.done += 1;
        self.out.change(self.lane.id.entry(&Key::Count));
        self.mail_progress(&document);
        self.set(document);
    }

    fn fail(&mut self, task: &str, lease: Option<&Lease>, why: Failure) {
        let Some(mut document) = self.of_task(task) else { return };
        lease.into_iter().for_each(|lease| self.runs(&document, lease));
        let leases = usize::try_from(document.attempt).unwrap_or(0);
        let (error, message, attempts) = match (why, self.cause, lease) {
            (Failure::Reported, Cause::Report(report), _) => {
                document.step.clone_from(&report.step);
                (messages::error(report), messages::failed(report), messages::attempts(report).max(1))
            }
            (Failure::Lost(why), _, Some(lease)) => {
                document.infrastructure_failures += 1;
                let error = messages::given_up(why, &self.lost(&document, lease, why), self.settings);
                (error.clone(), error, leases)
            }
            (Failure::Reported | Failure::Lost(_), _, _) => ("failed".to_owned(), "failed".to_owned(), leases),
        };
        self.enter(&mut document, ERROR);
        document.error = Some(error);
        let worked_ms = lease.map(|lease| self.now.saturating_sub(lease.leased_at));
        let step = document.step.clone();
        let line = Line::of("ERROR", message, &document, lease);
        self.line(&mut document, Line { step, worked_ms, ..line });
        self.mail_error(&document, attempts);
        self.set(document);
    }

    fn cancel(&mut self, task: &str, lease: Option<&Lease>) {
        let (Some(mut document), Cause::Person(by)) = (self.of_task(task), self.cause) else { return };
        let message = messages::cancelled(by);
        self.enter(&mut document, ERROR);
        document.error = Some(message.clone());
        document.step = None;
        let worked_ms = lease.map(|lease| self.now.saturating_sub(lease.leased_at));
        let line = Line::of("CANCELLED", message, &document, lease);
        self.line(&mut document, Line { worked_ms, ..line });
        self.set(document);
    }

    /// A report under a lease that is none: it is noticed, and changes nothing else.
    fn reject(&mut self, request: &str, task: &str, token: i64, why: String) {
        let document = self.of_task(task);
        let mut answer = self.answered(request, "REJECTED");
        answer.message = Some(why);
        answer.task_id = Some(task.to_owned());
        answer.key = document.as_ref().map(|document| document.file_id.clone());
        if let (Some(mut document), Cause::Report(report)) = (document, self.cause) {
            let message = messages::refused(&report.worker, token, &document);
            let (worker, token) = (Some(report.worker.as_str()), Some(token));
            self.line(&mut document, Line { event: "REFUSED", message, worker, token, ..Line::default() });
            self.set(document);
        }
        self.answer(&answer);
    }

    fn accept(&mut self, request: Option<&str>, task: &str) {
        let Some(request) = request else { return };
        let mut answer = self.answered(request, "ACCEPTED");
        answer.task_id = Some(task.to_owned());
        answer.key = self.of_task(task).map(|document| document.file_id);
        self.answer(&answer);
    }

    fn alive(&mut self, request: &str, revoked: Vec<RevokedLease>) {
        let mut answer = self.answered(request, "ALIVE");
        answer.revoked = revoked;
        self.answer(&answer);
    }

    /// What became of a lease that is over.
    fn lost(&self, document: &Document, lease: &Lease, why: Why) -> String {
        let reason = if let Cause::Report(report) = self.cause { report.message.as_deref() } else { None };
        messages::lost(document, lease, why, reason)
    }

    /// Another state, as of now.
    pub(super) fn enter(&self, document: &mut Document, state: &str) {
        state.clone_into(&mut document.state);
        document.changed_at = self.now;
    }
}
