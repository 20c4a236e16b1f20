//! One document: its state and steps, its log, its results, its contents.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::TryStreamExt;
use serde::Serialize;
use tidemark_schemas::documents::{Document, StepAttempted, TaskChanged};
use tidemark_views::documents::{self as tables, Tabled};
use utoipa::ToSchema;

use crate::document::{Line, OneDocument, Shown, Step};
use crate::file::store_failed;
use crate::problem::{Kind, Problem};
use crate::range::{Asked, asked};
use crate::store::Kind as Object;
use crate::{Documents, check, store};

/// Lines of a log and runs of steps in one answer; of more, the first.
const ROWS_MAX: usize = 10_000;

/// A document's log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogAnswer {
    log: Vec<Line>,
}

impl Documents {
    /// The document, as far as the view knows.
    pub(crate) async fn row(&self, file_id: &str) -> Result<Option<Document>, Problem> {
        Ok(self.rows::<Document>(file_id, 1).await?.pop())
    }

    /// The document, which must be there.
    pub(crate) async fn known(&self, file_id: &str) -> Result<Document, Problem> {
        check::file_id(file_id)?;
        self.row(file_id).await?.ok_or_else(|| {
            Problem::new(Kind::NotFound, format!("there is no document {file_id}"))
                .fix("see /v1/documents for those there are; one that was just uploaded takes a moment to show")
        })
    }

    async fn rows<T: Tabled>(&self, file_id: &str, limit: usize) -> Result<Vec<T>, Problem> {
        let query = tables::of_file(&self.config.tenant, file_id, None, limit);
        let rows = self.views.rows(&T::spec(), &query).await?;
        Ok(rows.into_iter().filter_map(T::record).collect())
    }
}

/// One document, with the runs of its steps.
#[utoipa::path(
    get, path = "/v1/documents/{file_id}", tag = "documents", operation_id = "document",
    params(crate::openapi::FilePath),
    responses((status = 200, description = "As far as the view knows", body = OneDocument), crate::openapi::ReadFailures)
)]
pub(crate) async fn document(
    State(documents): State<Arc<Documents>>,
    Path(file_id): Path<String>,
) -> Result<Json<OneDocument>, Problem> {
    let row = documents.known(&file_id).await?;
    let steps = documents.rows::<StepAttempted>(&file_id, ROWS_MAX).await?;
    Ok(Json(OneDocument { document: Shown::from(row), steps: steps.into_iter().map(Step::from).collect() }))
}

/// What has become of a document, line by line.
#[utoipa::path(
    get, path = "/v1/documents/{file_id}/log", tag = "documents", operation_id = "log",
    params(crate::openapi::FilePath),
    responses((status = 200, description = "By `seq`", body = LogAnswer), crate::openapi::ReadFailures)
)]
pub(crate) async fn log(
    State(documents): State<Arc<Documents>>,
    Path(file_id): Path<String>,
) -> Result<Json<LogAnswer>, Problem> {
    documents.known(&file_id).await?;
    let lines = documents.rows::<TaskChanged>(&file_id, ROWS_MAX).await?;
    Ok(Json(LogAnswer { log: lines.into_iter().map(Line::from).collect() }))
}

/// The results of a document, as its worker sent them.
#[utoipa::path(
    get, path = "/v1/documents/{file_id}/results", tag = "documents", operation_id = "results",
    params(crate::openapi::FilePath),
    responses(
        (status = 200, description = "The output of each step by name", body = Object),
        (status = 304, description = "Not changed since that ETag"),
        crate::openapi::ReadFailures
    )
)]
pub(crate) async fn results(
    State(documents): State<Arc<Documents>>,
    Path(file_id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let row = documents.known(&file_id).await?;
    let Some(sha256) = row.result else {
        let detail = format!("{file_id} has no results: it is {}", row.state);
        return Err(Problem::new(Kind::NoResults, detail).fix("ask again when it is DONE"));
    };
    if is_known(&headers, &sha256) {
        return Ok(not_modified(&sha256));
    }
    let (bytes, stream) = get(&documents, Object::Results, &sha256, None).await?;
    let all = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::CONTENT_LENGTH, bytes.to_string()),
        (header::ETAG, etag(&sha256)),
        (header::CACHE_CONTROL, "private, no-cache".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    Ok((all, stream).into_response())
}

/// The contents of a document, to be saved: whatever they are, no browser shows or runs them.
#[utoipa::path(
    get, path = "/v1/documents/{file_id}/contents", tag = "documents", operation_id = "contents",
    params(crate::openapi::FilePath, crate::openapi::RangeHeaders),
    responses(
        (status = 200, description = "The bytes", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "The part that was asked for"),
        (status = 304, description = "Not changed since that ETag"),
        (status = 416, description = "There is no such part", body = Problem, content_type = "application/problem+json"),
        crate::openapi::ReadFailures
    )
)]
pub(crate) async fn contents(
    State(documents): State<Arc<Documents>>,
    Path(file_id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    check::file_id(&file_id)?;
    // A worker that is given a task asks at once: the view may not know of it yet, or be away.
    let row = documents.row(&file_id).await.ok().flatten();
    let Some(total) = documents.store.size(Object::Contents, &file_id).await.map_err(store_failed)? else {
        return Err(no_contents(&file_id, row.is_some()));
    };
    if is_known(&headers, &file_id) {
        return Ok(not_modified(&file_id));
    }
    let (name, media_type) =
        row.map_or_else(|| (file_id.clone(), "application/octet-stream".to_owned()), |row| (row.name, row.media_type));
    let range = match asked(range_header(&headers, &file_id), total) {
        Asked::Whole => None,
        Asked::Part(range) => Some(range),
        Asked::None => {
            let problem = Problem::new(Kind::RangeNotSatisfiable, format!("the contents have {total} bytes"));
            return Ok(([(header::CONTENT_RANGE, format!("bytes */{total}"))], problem).into_response());
        }
    };
    let (bytes, stream) = get(&documents, Object::Contents, &file_id, range.clone()).await?;
    let all = [
        (header::CONTENT_TYPE, media_type),
        (header::CONTENT_LENGTH, bytes.to_string()),
        (header::CONTENT_DISPOSITION, attachment(&name)),
        (header::ETAG, etag(&file_id)),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::CACHE_CONTROL, "private, no-cache".to_owned()),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    Ok(match range {
        None => (all, stream).into_response(),
        Some(range) => {
            let part = format!("bytes {}-{}/{total}", range.start, range.end.saturating_sub(1));
            (StatusCode::PARTIAL_CONTENT, all, [(header::CONTENT_RANGE, part)], stream).into_response()
        }
    })
}

fn no_contents(file_id: &str, is_known: bool) -> Problem {
    if is_known {
        tracing::error!(file_id, "the contents of a document are not in the object store");
        let detail = format!("the contents of {file_id} are not in the object store any more");
        return Problem::new(Kind::NotFound, detail).fix("upload the document again");
    }
    Problem::new(Kind::NotFound, format!("there are no contents {file_id}"))
        .fix("see /v1/documents for those there are")
}

async fn get(
    documents: &Documents,
    kind: Object,
    sha256: &str,
    range: Option<std::ops::Range<u64>>,
) -> Result<(u64, Body), Problem> {
    match documents.store.get(kind, sha256, range).await {
        Ok((bytes, stream)) => Ok((bytes, Body::from_stream(stream.map_err(std::io::Error::other)))),
        Err(store::Error::NotFound(path)) => {
            tracing::error!(path, "what a document speaks of is not in the object store");
            let detail = format!("{path} is not in the object store any more");
            Err(Problem::new(Kind::NotFound, detail).fix("upload the document again"))
        }
        Err(error) => Err(store_failed(error)),
    }
}

fn etag(sha256: &str) -> String {
    format!("\"{sha256}\"")
}

fn is_known(headers: &HeaderMap, sha256: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    known.split(',').map(|tag| tag.trim().trim_start_matches("W/")).any(|tag| tag == "*" || tag == etag(sha256))
}

fn not_modified(sha256: &str) -> Response {
    (StatusCode::NOT_MODIFIED, [(header::ETAG, etag(sha256))]).into_response()
}

/// The range, unless it is of other contents.
fn range_header<'h>(headers: &'h HeaderMap, sha256: &str) -> Option<&'h str> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let is_ours = text(header::IF_RANGE).is_none_or(|tag| tag.trim() == etag(sha256));
    text(header::RANGE).filter(|_| is_ours)
}

/// `Content-Disposition` of RFC 6266: the name as it is in UTF-8, and what of it is plain for those that do not know that.
fn attachment(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._- ".contains(c) { c } else { '_' };
    let ascii: String = last.chars().map(plain).collect();
    let kept = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let encoded: String = last
        .bytes()
        .map(|byte| if kept(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_into_a_header_and_not_out_of_it() {
        assert_eq!(attachment("a.pdf"), "attachment; filename=\"a.pdf\"; filename*=UTF-8''a.pdf");
        assert_eq!(
            attachment("../ö \"x\";.pdf"),
            "attachment; filename=\"_ _x__.pdf\"; filename*=UTF-8''%C3%B6%20%22x%22%3B.pdf"
        );
        assert_eq!(attachment("a/"), "attachment; filename=\"\"; filename*=UTF-8''");
    }
}
