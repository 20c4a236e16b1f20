//! Uploads: whether contents are new is decided here, one upload after the other.

use super::change::{Change, Line};
use super::ids;
use super::keys::Key;
use super::messages;
use super::state::{ERROR, UPLOADED};
use super::uploads::{Outcome, Upload};
use tidemark_core::dispatch::Command;
use tidemark_schemas::documents::{Document, DocumentUploaded};

impl Change<'_> {
    /// Takes an upload in and answers it.
    pub(super) fn uploaded(&mut self, upload: &DocumentUploaded) {
        if let Some(known) = self.lane.uploads.get(&upload.upload_id) {
            return self.answer_again(upload, known);
        }
        let outcome = match self.document(&upload.file_id) {
            None => self.create(upload),
            Some(document) if document.state == ERROR => self.retry_upload(document, upload),
            Some(document) => self.duplicate(document, upload),
        };
        self.remember(upload, outcome);
        self.answer_upload(&upload.request_id, &upload.file_id, outcome);
    }

    /// The same upload again. Under its id with other contents it is a mistake of whoever made the id.
    fn answer_again(&mut self, upload: &DocumentUploaded, known: Upload) {
        if ids::file(&upload.file_id) == Some(known.file) {
            return self.answer_upload(&upload.request_id, &upload.file_id, known.outcome);
        }
        let first = ids::file_text(&known.file);
        let mut answer = self.answered(&upload.request_id, "REJECTED");
        answer.message = Some(format!(
            "this upload was made before with other contents ({first}): give each upload an id of its own"
        ));
        self.answer(&answer);
    }

    fn create(&mut self, upload: &DocumentUploaded) -> Outcome {
        let now = self.now;
        let mut document = Document {
            tenant: upload.tenant.clone(),
            queue: upload.queue.clone(),
            file_id: upload.file_id.clone(),
            task_id: upload.request_id.clone(),
            name: upload.name.clone(),
            media_type: upload.media_type.clone(),
            bytes: upload.bytes,
            owner: upload.owner.clone(),
            mail: upload.mail.clone(),
            state: UPLOADED.to_owned(),
            uploaded_at: now,
            changed_at: now,
            queued_at: now,
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
        };
        let message = messages::uploaded(&upload.owner, &upload.name);
        self.line(&mut document, Line { event: "UPLOADED", message, ..Line::default() });
        self.submit(document);
        Outcome::Created
    }

    /// The contents had failed: they are whose upload this is now.
    fn retry_upload(&mut self, mut document: Document, upload: &DocumentUploaded) -> Outcome {
        document.owner.clone_from(&upload.owner);
        document.mail.clone_from(&upload.mail);
        document.name.clone_from(&upload.name);
        document.media_type.clone_from(&upload.media_type);
        self.retry(document, messages::uploaded_again(&upload.owner, &upload.name));
        Outcome::Retried
    }

    fn duplicate(&mut self, mut document: Document, upload: &DocumentUploaded) -> Outcome {
        document.duplicates += 1;
        let message = messages::duplicate(&upload.owner, &upload.name, &document);
        self.line(&mut document, Line { event: "DUPLICATE", message, ..Line::default() });
        self.mail_duplicate(upload, &document);
        self.set(document);
        Outcome::Duplicate
    }

    /// Puts a document that had failed back into the queue.
    pub(super) fn retry(&mut self, mut document: Document, message: String) {
        self.enter(&mut document, UPLOADED);
        document.queued_at = self.now;
        (document.step, document.error) = (None, None);
        self.line(&mut document, Line { event: "RETRIED", message, ..Line::default() });
        self.submit(document);
    }

    fn submit(&mut self, document: Document) {
        let (task, kind) = (document.task_id.clone(), document.media_type.clone());
        self.set(document);
        self.command(Command::Submit { task, kind });
    }

    fn remember(&mut self, upload: &DocumentUploaded, outcome: Outcome) {
        let Some(file) = ids::file(&upload.file_id) else { return };
        self.lane.uploads.put(&upload.upload_id, Upload { file, outcome, at: self.now });
        self.out.change(self.lane.id.entry(&Key::Upload(upload.upload_id.clone())));
    }

    fn answer_upload(&mut self, request: &str, file_id: &str, outcome: Outcome) {
        let mut answer = self.answered(request, outcome.name());
        answer.key = Some(file_id.to_owned());
        answer.task_id = self.document(file_id).map(|document| document.task_id);
        self.answer(&answer);
    }
}
