//! What became of the files of an upload.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tidemark_schemas::dispatch::Answered;
use tidemark_schemas::documents::DocumentUploaded;
use utoipa::ToSchema;

use crate::Documents;
use crate::commands::Type;
use crate::problem::{Kind, Problem};
use crate::topics::QUEUE;

/// What became of the files, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Uploaded {
    documents: Vec<Taken>,
}

/// What became of one file.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct Taken {
    /// As the uploader calls it.
    pub name: String,
    /// SHA-256 of the contents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_id: Option<String>,
    /// Its task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// `created`; `duplicate` of contents that are there; `retried` when those had ended in ERROR.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "created")]
    pub outcome: Option<&'static str>,
    /// UPLOADED, PROCESSING, DONE or ERROR; left out while it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Media type, found in the bytes.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub media_type: Option<&'static str>,
    /// Size of the contents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Why it was not taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(no_recursion)]
    pub error: Option<Box<Problem>>,
}

impl Documents {
    /// Speaks of stored contents in the log, and waits for what that comes to.
    pub(crate) async fn take(&self, uploaded: DocumentUploaded, media_type: &'static str) -> Taken {
        let (name, bytes) = (uploaded.name.clone(), u64::try_from(uploaded.bytes).ok());
        match self.ask(&uploaded.request_id.clone(), QUEUE, Type::Uploaded, &uploaded, self.config.answer_within).await
        {
            Ok(answer) => {
                let outcome = match outcome(&answer) {
                    Ok(outcome) => outcome,
                    Err(problem) => {
                        self.metrics.refused();
                        return Taken { name, error: Some(Box::new(problem)), ..Taken::default() };
                    }
                };
                let state = match outcome {
                    "created" => self.state_of(&uploaded.file_id).await.or(Some("UPLOADED".to_owned())),
                    // The view may still say ERROR.
                    "retried" => Some("UPLOADED".to_owned()),
                    _ => self.state_of(&uploaded.file_id).await,
                };
                self.metrics.taken(outcome);
                let file_id = Some(uploaded.file_id);
                let (outcome, media_type) = (Some(outcome), Some(media_type));
                Taken { name, file_id, task_id: answer.task_id, outcome, state, media_type, bytes, error: None }
            }
            Err(problem) => Taken { name, error: Some(Box::new(problem)), ..Taken::default() },
        }
    }

    /// As far as the view knows.
    async fn state_of(&self, file_id: &str) -> Option<String> {
        self.row(file_id).await.ok().flatten().map(|row| row.state)
    }
}

/// What the process made of an upload, in our words.
fn outcome(answer: &Answered) -> Result<&'static str, Problem> {
    match answer.outcome.as_str() {
        "CREATED" => Ok("created"),
        "RETRIED" => Ok("retried"),
        "DUPLICATE" => Ok("duplicate"),
        "REJECTED" => {
            let why = answer.message.clone().unwrap_or_else(|| "this upload was made before".to_owned());
            Err(Problem::new(Kind::KeyReused, why).fix("send it with an Idempotency-Key of its own"))
        }
        other => {
            tracing::error!(outcome = other, "the process answered an upload with an outcome that is not known");
            Err(Problem::new(
                Kind::Internal,
                format!("the answer {other:?} is not known; nothing is known of the file"),
            ))
        }
    }
}

pub(crate) fn with_error(mut taken: Vec<Taken>, name: String, problem: Problem) -> Vec<Taken> {
    taken.push(Taken { name, error: Some(Box::new(problem)), ..Taken::default() });
    taken
}

/// 201 if a task was made; 200 if something was taken; else what was wrong with the first.
pub(crate) fn answer(documents: Vec<Taken>) -> Response {
    let created = documents.iter().any(|taken| taken.outcome == Some("created"));
    let taken = documents.iter().any(|taken| taken.error.is_none());
    if taken {
        let status = if created { StatusCode::CREATED } else { StatusCode::OK };
        return (status, Json(Uploaded { documents })).into_response();
    }
    let first = documents.iter().find_map(|taken| taken.error.as_deref().cloned());
    let mut problem = first.unwrap_or_else(|| Problem::new(Kind::Internal, "nothing is known of the files"));
    problem.documents = documents.into();
    problem.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_no_success() {
        let came_to = |text: &str| {
            let answer = Answered { outcome: text.to_owned(), ..EMPTY };
            outcome(&answer).map_err(|problem| problem.status)
        };
        assert_eq!(came_to("DUPLICATE"), Ok("duplicate"));
        assert_eq!(came_to("REJECTED"), Err(422));
        assert_eq!(came_to("ASSIGNED"), Err(500));
    }

    const EMPTY: Answered = Answered {
        request_id: String::new(),
        at: 0,
        outcome: String::new(),
        message: None,
        key: None,
        task_id: None,
        token: None,
        attempt: None,
        deadline: None,
        payload: None,
        revoked: Vec::new(),
    };
}
