//! Errors as RFC 9457 problem documents, and the one table from what happened to the HTTP status.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::taken::Taken;

/// An `application/problem+json` answer: what happened, why, what to do next.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = DocumentsProblem)]
pub struct Problem {
    /// `urn:tidemark:problem:` and the code of the problem; stable, for programs.
    #[serde(rename = "type")]
    #[schema(example = "urn:tidemark:problem:too_large")]
    pub kind: &'static str,
    /// The kind in a few words.
    pub title: &'static str,
    /// HTTP status.
    pub status: u16,
    /// What happened this time.
    #[schema(value_type = String)]
    pub detail: Box<str>,
    /// The field, header or parameter at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub field: Option<Box<str>>,
    /// The rule that it breaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub rule: Option<Box<str>>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub fix: Option<Box<str>>,
    /// Of an upload of which nothing was taken: what became of each file.
    #[serde(skip_serializing_if = "is_empty")]
    #[schema(value_type = Vec<Taken>, no_recursion)]
    pub documents: Box<[Taken]>,
}

fn is_empty(documents: &[Taken]) -> bool {
    documents.is_empty()
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    BadRequest,
    DigestMismatch,
    NotFound,
    NoResults,
    NotAllowedNow,
    KeyReused,
    LeaseLost,
    TooLarge,
    TypeNotAllowed,
    RangeNotSatisfiable,
    TooSlow,
    Overloaded,
    NotReady,
    StoreAway,
    LogAway,
    ViewsAway,
    NoAnswer,
    Internal,
}

impl Kind {
    fn row(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::BadRequest => {
                (StatusCode::BAD_REQUEST, "urn:tidemark:problem:bad_request", "the request breaks a rule")
            }
            Self::DigestMismatch => (
                StatusCode::BAD_REQUEST,
                "urn:tidemark:problem:digest_mismatch",
                "the digest is not that of the contents",
            ),
            Self::NotFound => (StatusCode::NOT_FOUND, "urn:tidemark:problem:not_found", "there is no such thing"),
            Self::NoResults => (StatusCode::NOT_FOUND, "urn:tidemark:problem:no_results", "there are no results"),
            Self::NotAllowedNow => (
                StatusCode::CONFLICT,
                "urn:tidemark:problem:wrong_state",
                "the state of the document does not allow it",
            ),
            Self::KeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "urn:tidemark:problem:key_reused",
                "the key is that of another upload",
            ),
            Self::LeaseLost => {
                (StatusCode::CONFLICT, "urn:tidemark:problem:lease_lost", "the lease is not the worker's any more")
            }
            Self::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "urn:tidemark:problem:too_large", "the file is too large")
            }
            Self::TypeNotAllowed => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "urn:tidemark:problem:type_not_allowed",
                "files of this type are not taken",
            ),
            Self::RangeNotSatisfiable => (
                StatusCode::RANGE_NOT_SATISFIABLE,
                "urn:tidemark:problem:range_not_satisfiable",
                "the contents have no such range",
            ),
            Self::TooSlow => {
                (StatusCode::REQUEST_TIMEOUT, "urn:tidemark:problem:too_slow", "the upload came to a halt")
            }
            Self::Overloaded => {
                (StatusCode::SERVICE_UNAVAILABLE, "urn:tidemark:problem:overloaded", "too much is under way already")
            }
            Self::NotReady => {
                (StatusCode::SERVICE_UNAVAILABLE, "urn:tidemark:problem:not_ready", "the service is not ready")
            }
            Self::StoreAway => (
                StatusCode::SERVICE_UNAVAILABLE,
                "urn:tidemark:problem:store_unavailable",
                "the object store is not available",
            ),
            Self::LogAway => {
                (StatusCode::SERVICE_UNAVAILABLE, "urn:tidemark:problem:log_unavailable", "the log is not available")
            }
            Self::ViewsAway => (
                StatusCode::SERVICE_UNAVAILABLE,
                "urn:tidemark:problem:views_unavailable",
                "the view store is not available",
            ),
            Self::NoAnswer => (StatusCode::GATEWAY_TIMEOUT, "urn:tidemark:problem:no_answer", "no answer came in time"),
            Self::Internal => {
                (StatusCode::INTERNAL_SERVER_ERROR, "urn:tidemark:problem:internal", "the service failed")
            }
        }
    }

    /// Seconds after which another try is of use.
    fn retry_after(self) -> Option<u32> {
        match self {
            Self::Overloaded | Self::NotReady | Self::LogAway | Self::NoAnswer | Self::ViewsAway => Some(1),
            Self::StoreAway => Some(5),
            _ => None,
        }
    }
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<Box<str>>) -> Self {
        let (status, kind, title) = kind.row();
        Self {
            kind,
            title,
            status: status.as_u16(),
            detail: detail.into(),
            field: None,
            rule: None,
            fix: None,
            documents: Box::default(),
        }
    }

    /// 400: a field that breaks a rule.
    pub(crate) fn field(field: &str, detail: impl Into<Box<str>>, rule: impl Into<Box<str>>) -> Self {
        let mut problem = Self::new(Kind::BadRequest, detail);
        problem.field = Some(field.into());
        problem.rule = Some(rule.into());
        problem
    }

    pub(crate) fn fix(mut self, fix: impl Into<Box<str>>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    fn retry_after(&self) -> Option<u32> {
        let kinds = [Kind::Overloaded, Kind::NotReady, Kind::LogAway, Kind::NoAnswer, Kind::ViewsAway, Kind::StoreAway];
        let is_it = |kind: &Kind| self.kind == kind.row().1;
        kinds.into_iter().find(is_it).and_then(Kind::retry_after)
    }
}

impl From<tidemark_views::Error> for Problem {
    fn from(error: tidemark_views::Error) -> Self {
        tracing::warn!(%error, "the view store failed a query");
        match &error {
            tidemark_views::Error::Unavailable(_) => Self::new(Kind::ViewsAway, error.to_string())
                .fix("try again; nothing is lost, the view catches up by itself"),
            tidemark_views::Error::Invalid { .. } => Self::new(Kind::Internal, error.to_string()),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after();
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
