//! `POST /v1/documents`: files in, each stored under its hash and then spoken of in the log.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use futures::StreamExt;
use tidemark_schemas::documents::DocumentUploaded;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::file::{self, Contents};
use crate::params::Params;
use crate::parts::{Part, Parts};
use crate::problem::{Kind, Problem};
use crate::taken::{Taken, Uploaded, answer, with_error};
use crate::topics::QUEUE;
use crate::{Documents, check, digest, rest};

/// Files of one request.
const FILES_MAX: usize = 1_000;
/// Who uploads without saying who.
const NOBODY: &str = "anonymous";

/// Uploads documents.
///
/// Many files as `multipart/form-data` (field `file`, repeated; fields `owner` and `mail` before them), or one as it is with its
/// name in the query. Contents that are there already make no second task.
#[utoipa::path(
    post, path = "/v1/documents", tag = "documents", operation_id = "upload",
    params(crate::openapi::UploadQuery, crate::openapi::UploadHeaders),
    request_body(content((crate::openapi::UploadForm = "multipart/form-data"), (Vec<u8> = "application/octet-stream"))),
    responses(
        (status = 201, description = "At least one task was made", body = Uploaded),
        (status = 200, description = "Nothing new: duplicates, or retried after an ERROR", body = Uploaded),
        (status = 400, description = "A field breaks a rule, the digest does not match, or the body ends early", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The upload came to a halt", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "A file is too large; the rest of the body is dropped", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "A file's type is not taken", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The Idempotency-Key is that of an upload of other contents", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Log or object store away, or too much under way; Retry-After says when to come again", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "Stored, and no answer came in time: send it again with the same Idempotency-Key", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn upload(
    State(documents): State<Arc<Documents>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    // First of all: whatever refuses the upload, the rest of it is taken in.
    let body = rest::Read::new(&headers, body);
    let place = documents.begin_upload()?;
    let key = idempotency_key(&headers)?;
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "multipart/form-data" => {
            Params::parse(query.as_deref(), &[])?;
            let upload = Upload { documents, key, who: Who::default(), taken: Vec::new(), _place: place };
            upload.multipart(Parts::new(content_type, body)?, &headers).await
        }
        "application/x-www-form-urlencoded" => {
            let detail = "the body is called application/x-www-form-urlencoded, which is no file";
            let fix = "send multipart/form-data (curl -F file=@NAME), or Content-Type: application/octet-stream";
            Err(Problem::new(Kind::TypeNotAllowed, detail).fix(fix))
        }
        _ => {
            let params = Params::parse(query.as_deref(), &["name", "owner", "mail"])?;
            let who = Who::new(params.get("owner").unwrap_or(NOBODY), params.get("mail").unwrap_or_default())?;
            let upload = Upload { documents, key, who, taken: Vec::new(), _place: place };
            upload.raw(params.get("name").unwrap_or_default(), &headers, body).await
        }
    }
}

/// The header, if it is there.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().map_err(|_| {
        Problem::field("Idempotency-Key", "`Idempotency-Key` is not ASCII", "1 to 200 bytes, no control characters")
    })?;
    check::key(text).map(|()| Some(text.to_owned()))
}

/// Who uploads.
#[derive(Debug, Clone)]
struct Who {
    owner: String,
    mail: String,
}

impl Default for Who {
    fn default() -> Self {
        Self { owner: NOBODY.to_owned(), mail: String::new() }
    }
}

impl Who {
    fn new(owner: &str, mail: &str) -> Result<Self, Problem> {
        check::text("owner", owner, check::WHO_BYTES_MAX)?;
        check::mail(mail)?;
        Ok(Self { owner: owner.to_owned(), mail: mail.to_owned() })
    }
}

/// A request under way.
struct Upload {
    documents: Arc<Documents>,
    key: Option<String>,
    who: Who,
    taken: Vec<JoinHandle<Taken>>,
    _place: OwnedSemaphorePermit,
}

impl Upload {
    async fn raw(mut self, name: &str, headers: &HeaderMap, body: rest::Read) -> Result<Response, Problem> {
        check::name(name)?;
        let config = &self.documents.config.upload;
        let told =
            headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
        if told.is_some_and(|bytes| bytes > config.bytes_max) {
            return Err(file::too_large(config.bytes_max));
        }
        let sha256 = digest::sha256(headers)?;
        let broken = |error: axum::Error| {
            Problem::field("body", format!("the body ends early: {error}"), "as many bytes as Content-Length says")
        };
        let mut pieces = body.map(|piece| piece.map_err(broken));
        let contents = file::receive(&self.documents.store, config, sha256.as_deref(), &mut pieces).await;
        self.put(name.to_owned(), contents.inspect_err(|_| self.documents.metrics.refused())?, None);
        Ok(answer(self.finish().await))
    }

    async fn multipart(mut self, mut parts: Parts, headers: &HeaderMap) -> Result<Response, Problem> {
        if digest::sha256(headers)?.is_some() {
            let rule = "with multipart/form-data each file's own header, since contents are verified one by one";
            return Err(Problem::field("Content-Digest", "`Content-Digest` is of the whole body", rule));
        }
        let mut stopped = None;
        while stopped.is_none() {
            stopped = match parts.next().await {
                Ok(Some(part)) => self.part(part).await.err(),
                Ok(None) => break,
                Err(problem) => Some(problem),
            };
        }
        let taken = self.finish().await;
        match stopped {
            // Files before it were taken: they are told of all the same.
            Some(problem) if taken.is_empty() => Err(problem),
            Some(problem) => Ok(answer(with_error(taken, String::new(), problem))),
            None if taken.is_empty() => {
                let fix = "send at least one field `file`, with a file name";
                Err(Problem::field("file", "there is no file in the body", "one or more").fix(fix))
            }
            None => Ok(answer(taken)),
        }
    }

    /// Takes one part. After an error the rest of the body is not read.
    async fn part(&mut self, mut part: Part) -> Result<(), Problem> {
        match (part.name(), part.file_name().map(str::to_owned)) {
            ("owner", None) => self.who = Who::new(&part.text().await?, &self.who.mail)?,
            ("mail", None) => self.who = Who::new(&self.who.owner, &part.text().await?)?,
            ("file", Some(name)) => self.file(name, part).await?,
            (other, _) => {
                let rule = "fields are `owner`, `mail`, and `file` with a file name";
                return Err(Problem::field(other, format!("there is a field {other:?} that is none of ours"), rule));
            }
        }
        Ok(())
    }

    async fn file(&mut self, name: String, mut part: Part) -> Result<(), Problem> {
        let place = self.taken.len();
        if place >= FILES_MAX {
            let rule = format!("{FILES_MAX} files for each request");
            return Err(Problem::field("file", format!("there are more than {FILES_MAX} files"), rule));
        }
        let config = &self.documents.config.upload;
        let sha256 = digest::sha256(part.headers());
        let mut pieces = Box::pin(part.pieces());
        let received = match check::name(&name).and(sha256) {
            Ok(sha256) => file::receive(&self.documents.store, config, sha256.as_deref(), &mut pieces).await,
            Err(problem) => Err(problem),
        };
        match received {
            Ok(contents) => self.put(name, contents, Some(place)),
            Err(problem) => {
                self.documents.metrics.refused();
                let is_over = matches!(problem.status, 408 | 413 | 503);
                let refused = Taken { name, error: Some(Box::new(problem.clone())), ..Taken::default() };
                self.taken.push(tokio::spawn(async move { refused }));
                // The next files may be fine; after these they are not reached.
                if is_over || drain(&mut pieces, config.bytes_max).await.is_none() {
                    return Err(Problem::new(Kind::BadRequest, "the rest of the body was not read")
                        .fix("send the files that are not in this answer again"));
                }
            }
        }
        Ok(())
    }

    /// Speaks of the file in the log, while the next one comes in.
    fn put(&mut self, name: String, contents: Contents, place: Option<usize>) {
        self.documents.metrics.stored(contents.bytes);
        let request_id = Uuid::now_v7().to_string();
        let upload_id = match (&self.key, place) {
            (None, _) => request_id.clone(),
            (Some(key), None) => key.clone(),
            (Some(key), Some(place)) => format!("{key}#{place}"),
        };
        let uploaded = DocumentUploaded {
            tenant: self.documents.config.tenant.clone(),
            queue: QUEUE.to_owned(),
            request_id,
            upload_id,
            file_id: contents.file_id,
            name,
            media_type: contents.media_type.to_owned(),
            bytes: i64::try_from(contents.bytes).unwrap_or(i64::MAX),
            owner: self.who.owner.clone(),
            mail: self.who.mail.clone(),
            received_at: (self.documents.clock)(),
        };
        let documents = Arc::clone(&self.documents);
        // A task of its own: a caller that goes away leaves a command that is written and answered all the same.
        self.taken.push(tokio::spawn(async move { documents.take(uploaded, contents.media_type).await }));
    }

    async fn finish(&mut self) -> Vec<Taken> {
        let mut all = Vec::with_capacity(self.taken.len());
        for taken in std::mem::take(&mut self.taken) {
            let failed = |error: tokio::task::JoinError| {
                tracing::error!(%error, "an upload failed");
                let problem = Problem::new(Kind::Internal, "the service failed; send the file again, and report this");
                Taken { error: Some(Box::new(problem)), ..Taken::default() }
            };
            all.push(taken.await.unwrap_or_else(failed));
        }
        all
    }
}

impl Documents {
    /// A place among the uploads under way.
    fn begin_upload(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.uploads).try_acquire_owned().map_err(|_| {
            let detail = format!("{} uploads are under way, which is the limit", self.config.upload.at_a_time);
            Problem::new(Kind::Overloaded, detail).fix("send the request again after Retry-After seconds")
        })
    }
}

/// Reads on to the end of a part, within the limit of a file.
async fn drain(
    pieces: &mut (impl futures::Stream<Item = Result<bytes::Bytes, Problem>> + Unpin),
    bytes_max: u64,
) -> Option<()> {
    let mut bytes = 0;
    while let Some(piece) = pieces.next().await {
        bytes += piece.ok()?.len() as u64;
        if bytes > bytes_max {
            return None;
        }
    }
    Some(())
}
