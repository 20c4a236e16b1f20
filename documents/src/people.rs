//! What people do with a document: retry, cancel.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tidemark_schemas::dispatch::TaskActed;
use tidemark_schemas::documents::Document;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::commands::Type;
use crate::document::Shown;
use crate::problem::{Kind, Problem};
use crate::{Documents, check};

/// A body has nothing but a name in it.
const BODY_MAX: usize = 4 << 10;

/// Who does it.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Act {
    /// A name, 1 to 128 bytes; `anonymous` if left out.
    by: Option<String>,
}

/// The document as it is now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Acted {
    document: Shown,
}

/// Tries a document again that has ended in ERROR.
#[utoipa::path(
    post, path = "/v1/documents/{file_id}/retry", tag = "documents", operation_id = "retry",
    params(crate::openapi::FilePath), request_body = Option<Act>,
    responses((status = 202, description = "It is in the queue again", body = Acted), crate::openapi::ActFailures)
)]
pub(crate) async fn retry(
    State(documents): State<Arc<Documents>>,
    Path(file_id): Path<String>,
    body: Body,
) -> Result<(StatusCode, Json<Acted>), Problem> {
    let (mut row, _) = act(&documents, &file_id, "RETRY", body).await?;
    // The view may not know yet.
    (row.state, row.error) = ("UPLOADED".to_owned(), None);
    Ok((StatusCode::ACCEPTED, Json(Acted { document: Shown::from(row) })))
}

/// Takes a document out of the queue, or away from its worker.
#[utoipa::path(
    post, path = "/v1/documents/{file_id}/cancel", tag = "documents", operation_id = "cancel",
    params(crate::openapi::FilePath), request_body = Option<Act>,
    responses((status = 200, description = "It is in ERROR", body = Acted), crate::openapi::ActFailures)
)]
pub(crate) async fn cancel(
    State(documents): State<Arc<Documents>>,
    Path(file_id): Path<String>,
    body: Body,
) -> Result<Json<Acted>, Problem> {
    let (mut row, by) = act(&documents, &file_id, "CANCEL", body).await?;
    (row.state, row.error) = ("ERROR".to_owned(), Some(format!("cancelled by {by}")));
    Ok(Json(Acted { document: Shown::from(row) }))
}

/// The document as the view knows it, and who did it.
async fn act(documents: &Documents, file_id: &str, action: &str, body: Body) -> Result<(Document, String), Problem> {
    let by = who(body).await?;
    let row = documents.known(file_id).await?;
    let acted = TaskActed {
        tenant: documents.config.tenant.clone(),
        queue: row.queue.clone(),
        request_id: Uuid::now_v7().to_string(),
        key: file_id.to_owned(),
        action: action.to_owned(),
        by: by.clone(),
    };
    let within = documents.config.answer_within;
    let answer = documents.ask(&acted.request_id, &row.queue, Type::Acted, &acted, within).await?;
    match answer.outcome.as_str() {
        "ACCEPTED" => Ok((row, by)),
        "NOT_FOUND" => Err(Problem::new(Kind::NotFound, format!("there is no document {file_id}"))),
        _ => {
            let why = answer.message.unwrap_or_else(|| format!("the document is {}", row.state));
            Err(Problem::new(Kind::NotAllowedNow, why)
                .fix("only an ERROR can be retried, and only what has not ended cancelled"))
        }
    }
}

async fn who(body: Body) -> Result<String, Problem> {
    let wrong = |why: String| {
        Problem::field("body", format!("the body cannot be read: {why}"), "{\"by\":\"NAME\"}, or nothing")
    };
    let body = axum::body::to_bytes(body, BODY_MAX).await.map_err(|error| wrong(error.to_string()))?;
    let act = match body.is_empty() {
        true => Act::default(),
        false => serde_json::from_slice::<Act>(&body).map_err(|error| wrong(error.to_string()))?,
    };
    let by = act.by.unwrap_or_else(|| "anonymous".to_owned());
    check::text("by", &by, check::WHO_BYTES_MAX)?;
    Ok(by)
}
