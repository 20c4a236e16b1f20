//! What people do to a document: cancel it, have it tried again.

use super::change::Change;
use super::messages;
use super::state::{ERROR, PROCESSING, UPLOADED};
use tidemark_core::dispatch::Command;
use tidemark_schemas::dispatch::TaskActed;
use tidemark_schemas::documents::Document;

impl Change<'_> {
    /// The person is this change's cause.
    pub(super) fn acted(&mut self, act: &TaskActed) {
        let Some(document) = self.document(&act.key) else {
            let mut answer = self.answered(&act.request_id, "NOT_FOUND");
            answer.message = Some(format!("there is no document {}", act.key));
            return self.answer(&answer);
        };
        let task_id = document.task_id.clone();
        let refused = if act.action == "RETRY" { self.retry_by(document, &act.by) } else { self.cancel_by(&document) };
        let mut answer = self.answered(&act.request_id, if refused.is_none() { "ACCEPTED" } else { "REJECTED" });
        (answer.message, answer.key, answer.task_id) = (refused, Some(act.key.clone()), Some(task_id));
        self.answer(&answer);
    }

    /// Why not, unless it was done.
    fn retry_by(&mut self, document: Document, by: &str) -> Option<String> {
        if document.state != ERROR {
            return Some(format!("the document is {}: only one that is ERROR can be tried again", document.state));
        }
        self.retry(document, messages::retried(by));
        None
    }

    /// Why not, unless it was done.
    fn cancel_by(&mut self, document: &Document) -> Option<String> {
        if ![UPLOADED, PROCESSING].contains(&document.state.as_str()) {
            return Some(format!(
                "the document is {}: only one that is UPLOADED or PROCESSING can be cancelled",
                document.state
            ));
        }
        self.command(Command::Cancel { task: document.task_id.clone() });
        None
    }
}
