//! Mails: who is told of what. Each is decided once, under an id made of what it is about.
//!
//! Data of each: `file_id`, `name`, `type`, `bytes`, `owner`, `at` (of the upload, RFC 3339), `queue`, `state`. Besides, of
//! `duplicate`: `first_name`, `first_owner`, `first_uploaded_at`; of `error`: `step`, `error`, `attempts`; of `progress`: `done`,
//! `pending`, `leased`. Templates name these: none is taken away.

use super::change::Change;
use super::ids;
use super::output::MAILS;
use serde_json::{Value, json};
use tidemark_schemas::documents::{Document, DocumentUploaded};
use tidemark_schemas::notifications::MailRequested;
use tidemark_spec::instant::rfc3339;

/// What takes the place of a step that did not begin.
const NO_STEP: &str = "(none begun)";

impl Change<'_> {
    /// Tells the uploader that the contents are there already.
    pub(super) fn mail_duplicate(&mut self, upload: &DocumentUploaded, known: &Document) {
        let (tenant, queue) = (upload.tenant.as_bytes(), upload.queue.as_bytes());
        let id = format!("duplicate-{}", ids::made_of(&[tenant, queue, upload.upload_id.as_bytes()]));
        let data = json!({
            "file_id": upload.file_id, "name": upload.name, "type": upload.media_type, "bytes": upload.bytes,
            "owner": upload.owner, "at": rfc3339(self.now), "queue": upload.queue, "state": known.state,
            "first_name": known.name, "first_owner": known.owner, "first_uploaded_at": rfc3339(known.uploaded_at),
        });
        self.mail(id, &upload.mail, "duplicate", &data);
    }

    /// Tells the owner that the document failed, after so many attempts.
    pub(super) fn mail_error(&mut self, document: &Document, attempts: usize) {
        let id = format!("error-{}-{}", document.file_id, document.seq);
        let data = about(
            document,
            json!({
                "step": document.step.as_deref().unwrap_or(NO_STEP), "error": document.error, "attempts": attempts,
            }),
        );
        self.mail(id, &document.mail, "error", &data);
    }

    /// Tells how many are done, when the number is full.
    pub(super) fn mail_progress(&mut self, document: &Document) {
        let (done, every) = (self.lane.done, self.settings.progress_every.max(1));
        if done % every != 0 {
            return;
        }
        let settings = self.settings;
        let owner = std::slice::from_ref(&document.mail);
        let to = if settings.progress_to.is_empty() { owner } else { &settings.progress_to };
        let lane = lane_name(&document.tenant, &document.queue);
        let (pending, leased) = (self.lane.queue.pending(), self.lane.queue.leased());
        let data = about(document, json!({ "done": done, "pending": pending, "leased": leased }));
        for (place, to) in to.iter().enumerate() {
            let more = if place == 0 { String::new() } else { format!("-{}", place + 1) };
            self.mail(format!("progress-{lane}-{done}{more}"), to, "progress", &data);
        }
    }

    fn mail(&mut self, mail_id: String, to: &str, template: &str, data: &Value) {
        if to.is_empty() {
            return;
        }
        let (tenant, to, template, data) =
            (self.lane.id.tenant.clone(), to.to_owned(), template.to_owned(), data.to_string());
        let key = mail_id.clone();
        self.out.emit(MAILS, key.as_bytes(), &MailRequested { tenant, mail_id, at: self.now, to, template, data });
    }
}

/// What every mail about a document can name, and more.
fn about(document: &Document, more: Value) -> Value {
    let mut data = json!({
        "file_id": document.file_id, "name": document.name, "type": document.media_type, "bytes": document.bytes,
        "owner": document.owner, "at": rfc3339(document.uploaded_at), "queue": document.queue, "state": document.state,
    });
    if let (Value::Object(data), Value::Object(more)) = (&mut data, more) {
        data.extend(more);
    }
    data
}

/// Tenant and queue as a part of an id: two of them are two names.
fn lane_name(tenant: &str, queue: &str) -> String {
    if tenant.contains('-') || queue.contains('-') {
        return ids::made_of(&[tenant.as_bytes(), queue.as_bytes()]);
    }
    format!("{tenant}-{queue}")
}
