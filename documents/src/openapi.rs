//! The documents API's part of the OpenAPI 3.1 description.

use serde::Serialize;
use utoipa::{IntoParams, IntoResponses, OpenApi, ToSchema};

use crate::problem::Problem;
use crate::queues::report;
use crate::{list, live, people, queues, read, upload};

/// Describes the paths and types, to be merged with those of the other parts.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Tidemark documents", description = "Documents in, results out; a queue of work between."),
    paths(
        upload::upload, list::list, live::live, read::document, read::log, read::results, read::contents, people::retry,
        people::cancel, queues::queue, queues::lease, queues::heartbeat, report::complete, report::fail, report::refuse
    ),
    components(schemas(Problem, UploadForm)),
    tags(
        (name = "documents", description = "Uploading documents and what becomes of them"),
        (name = "queues", description = "Work: leases, heartbeats, reports")
    )
)]
struct Description;

/// Files and who uploads them.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "describes input that is read by hand")]
pub(crate) struct UploadForm {
    /// Who uploads; `anonymous` if left out. Before the files.
    owner: Option<String>,
    /// Where news of the documents are sent; none if left out. Before the files.
    mail: Option<String>,
    /// One or more, up to 1,000.
    #[schema(content_media_type = "application/octet-stream")]
    file: Vec<String>,
}

/// Of a raw upload.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "describes input that is read by hand")]
pub(crate) struct UploadQuery {
    /// Of a raw body: what the document is called, 1 to 255 bytes.
    name: Option<String>,
    /// Of a raw body: who uploads; `anonymous` if left out.
    owner: Option<String>,
    /// Of a raw body: a mail address.
    mail: Option<String>,
}

/// Headers of an upload.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "describes input that is read by hand")]
pub(crate) struct UploadHeaders {
    /// `sha-256=:BASE64:` (RFC 9530), verified; in multipart a header of the part.
    #[param(rename = "Content-Digest")]
    content_digest: Option<String>,
    /// Names the upload: sent again within 24 hours it is the same one. At most 200 bytes.
    #[param(rename = "Idempotency-Key")]
    idempotency_key: Option<String>,
}

/// Filters of the list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "describes input that is read by hand")]
pub(crate) struct ListQuery {
    /// UPLOADED, PROCESSING, DONE or ERROR.
    state: Option<String>,
    /// Media type, exactly.
    #[param(rename = "type")]
    media_type: Option<String>,
    /// Owner, exactly.
    owner: Option<String>,
    /// Words of the name, the last one as far as it is written.
    name: Option<String>,
    /// Full text over results and names: words, `"a phrase"`, `-word`, `OR`.
    q: Option<String>,
    /// `uploaded`, as if left out, or `changed`.
    sort: Option<String>,
    /// Documents of a page, 1 to 500; 50 if left out.
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// A document.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "describes input that is read by hand")]
pub(crate) struct FilePath {
    /// SHA-256 of the contents: 64 hexadecimal digits in lower case.
    file_id: String,
}

/// A part of the contents.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "describes input that is read by hand")]
pub(crate) struct RangeHeaders {
    /// One range, `bytes=0-499`.
    #[param(rename = "Range")]
    range: Option<String>,
    /// An ETag: when it is still the same, 304.
    #[param(rename = "If-None-Match")]
    if_none_match: Option<String>,
}

/// A queue.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "describes input that is read by hand")]
pub(crate) struct QueuePath {
    /// Its name; that of documents is `documents`.
    queue: String,
}

/// A task of a queue.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "describes input that is read by hand")]
pub(crate) struct TaskPath {
    /// Name of the queue.
    queue: String,
    /// Which task.
    task_id: String,
}

/// Headers of a lease request.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "describes input that is read by hand")]
pub(crate) struct LeaseHeaders {
    /// `wait=SECONDS`, 0 to 60 (RFC 7240): how long to wait for a task.
    #[param(rename = "Prefer")]
    prefer: Option<String>,
    /// The same request again gets the same task. At most 200 bytes.
    #[param(rename = "Idempotency-Key")]
    idempotency_key: Option<String>,
}

/// What may go wrong with any request.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "describes answers that are made by hand")]
pub(crate) enum Failures {
    /// A field, header or parameter breaks a rule.
    #[response(status = 400, content_type = "application/problem+json")]
    Bad(Problem),
    /// The body is too long.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// Not ready, too much under way, or the log is away; Retry-After says when to come again.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
    /// Written, and no answer came in time.
    #[response(status = 504, content_type = "application/problem+json")]
    NoAnswer(Problem),
}

/// What may go wrong with a report.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "describes answers that are made by hand")]
pub(crate) enum LeaseFailures {
    /// A field breaks a rule.
    #[response(status = 400, content_type = "application/problem+json")]
    Bad(Problem),
    /// There is no such task.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// The lease is not the worker's any more: nothing has changed.
    #[response(status = 409, content_type = "application/problem+json")]
    Lost(Problem),
    /// The body is too long.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// Log or object store away, or too much under way; Retry-After says when to come again.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
    /// Written, and no answer came in time: send the same report again.
    #[response(status = 504, content_type = "application/problem+json")]
    NoAnswer(Problem),
}

/// What may go wrong when a document is read.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "describes answers that are made by hand")]
pub(crate) enum ReadFailures {
    /// That is no FileID.
    #[response(status = 400, content_type = "application/problem+json")]
    Bad(Problem),
    /// There is no such document, or it has no such thing.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// View store or object store away; Retry-After says when to come again.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}

/// What may go wrong with a retry or a cancel.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "describes answers that are made by hand")]
pub(crate) enum ActFailures {
    /// A field breaks a rule.
    #[response(status = 400, content_type = "application/problem+json")]
    Bad(Problem),
    /// There is no such document.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// Its state does not allow it.
    #[response(status = 409, content_type = "application/problem+json")]
    WrongState(Problem),
    /// Log or view store away, or too much under way; Retry-After says when to come again.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
    /// Written, and no answer came in time.
    #[response(status = 504, content_type = "application/problem+json")]
    NoAnswer(Problem),
}
