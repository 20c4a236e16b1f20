//! Errors as RFC 9457 problem documents: what happened, why, what to do.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tidemark_views::Error as ViewError;
use utoipa::ToSchema;

/// An `application/problem+json` answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = QueryProblem)]
pub struct Problem {
    /// Names the kind of problem: `urn:tidemark:problem:` and a word.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The kind in a few words, always the same for the kind.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// The query parameter at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub parameter: Option<Box<str>>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub fix: Option<Box<str>>,
    /// Of `not_ready`: every check that failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
}

/// Why the service is not ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reason {
    /// Name of the check.
    pub check: String,
    /// What it found.
    pub reason: String,
}

const VIEWS_INVALID: &str = "urn:tidemark:problem:views_invalid";
const NO_VIEW: &str = "urn:tidemark:problem:no_view";

/// Seconds after which a caller who met a passing problem may come again.
const RETRY_AFTER_S: &str = "1";

impl Problem {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind,
            title,
            status: status.as_u16(),
            detail: detail.into(),
            parameter: None,
            fix: None,
            reasons: vec![],
        }
    }

    /// 400: a query parameter that cannot be used.
    pub fn parameter(name: &str, detail: impl Into<String>, fix: impl Into<Box<str>>) -> Self {
        let mut problem =
            Self::new(StatusCode::BAD_REQUEST, "urn:tidemark:problem:bad_parameter", "bad query parameter", detail);
        problem.parameter = Some(name.into());
        problem.fix = Some(fix.into());
        problem
    }

    /// 422: the question is well put and too big for one answer.
    pub fn too_big(detail: impl Into<String>, fix: impl Into<Box<str>>) -> Self {
        let mut problem = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "urn:tidemark:problem:too_big",
            "too much for one answer",
            detail,
        );
        problem.fix = Some(fix.into());
        problem
    }

    /// 404: no such path.
    pub fn not_found(path: &str) -> Self {
        let mut problem = Self::new(
            StatusCode::NOT_FOUND,
            "urn:tidemark:problem:not_found",
            "no such path",
            format!("nothing is at {path}"),
        );
        problem.fix = Some("see /v1/openapi.json for what there is".into());
        problem
    }

    /// 404: no such view, or no such version of it.
    pub fn no_view(detail: impl Into<String>, fix: impl Into<Box<str>>) -> Self {
        let mut problem = Self::new(StatusCode::NOT_FOUND, NO_VIEW, "no such view", detail);
        problem.fix = Some(fix.into());
        problem
    }

    /// 410: the version that the question is about is there no more.
    pub fn gone(view: &str, version: u32) -> Self {
        let detail = format!("version {version} of `{view}` has been removed");
        let mut problem = Self::new(StatusCode::GONE, "urn:tidemark:problem:version_gone", "version gone", detail);
        problem.fix = Some("read again from the first page: leave `cursor` and `version` out".into());
        problem
    }

    /// Whether there is no such view.
    pub(crate) fn is_no_view(&self) -> bool {
        self.kind == NO_VIEW
    }

    /// Whether the store holds something else than was expected.
    pub(crate) fn is_invalid_view(&self) -> bool {
        self.kind == VIEWS_INVALID
    }

    /// 405: the path is there, the method is not.
    pub fn method_not_allowed(method: &str, path: &str) -> Self {
        let detail = format!("{path} does not take {method}");
        let mut problem = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "urn:tidemark:problem:method_not_allowed",
            "method not allowed",
            detail,
        );
        problem.fix = Some("use a method of the Allow header".into());
        problem
    }

    /// 503: some check failed.
    pub fn not_ready(reasons: Vec<Reason>) -> Self {
        let detail = format!("{} of the checks failed", reasons.len());
        Self {
            reasons,
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "urn:tidemark:problem:not_ready", "not ready", detail)
        }
    }

    /// 503: as many streams are open as are allowed.
    pub fn too_many_streams(limit: usize) -> Self {
        let detail = format!("{limit} live streams are open, which is the limit");
        let mut problem = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "urn:tidemark:problem:too_many_streams",
            "too many live streams",
            detail,
        );
        problem.fix = Some("close one, or ask /v1/hours and /v1/progress again from time to time".into());
        problem
    }

    /// A bare error answer of the router as a document; `None` for a status that has none.
    pub fn bare(status: StatusCode, method: &str, path: &str) -> Option<Self> {
        match status {
            StatusCode::NOT_FOUND => Some(Self::not_found(path)),
            StatusCode::METHOD_NOT_ALLOWED => Some(Self::method_not_allowed(method, path)),
            _ => None,
        }
    }

    /// The document as JSON.
    pub fn body(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl From<ViewError> for Problem {
    fn from(error: ViewError) -> Self {
        let detail = error.to_string();
        tracing::warn!(error = detail, "the view store failed a query");
        match error {
            ViewError::Unavailable(_) => {
                let mut problem = Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "urn:tidemark:problem:views_unavailable",
                    "the view store is not available",
                    detail,
                );
                problem.fix = Some("try again; nothing is lost, the view catches up by itself".into());
                problem
            }
            ViewError::Invalid { .. } => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, VIEWS_INVALID, "the view cannot be read", detail)
            }
        }
    }
}

/// The media type of problem documents.
pub(crate) const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, self.body()).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, MEDIA_TYPE);
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
        }
        response
    }
}
