//! What goes wrong, as people and programs read it: RFC 9457 problems, and the one table from what happened to the HTTP
//! status.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// At most so many record errors are listed in one answer; `errors_total` counts them all.
pub const ERRORS_LISTED_MAX: usize = 100;

/// An answer that says what happened, why, and what to do next (`application/problem+json`).
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// `urn:tidemark:problem:` and the code of the problem; stable, for programs.
    #[serde(rename = "type")]
    #[schema(example = "urn:tidemark:problem:invalid_records")]
    pub kind: String,
    /// The same in words.
    #[schema(example = "records break rules")]
    pub title: &'static str,
    /// HTTP status.
    #[schema(example = 422)]
    pub status: u16,
    /// What happened to this request, and what to do.
    #[schema(example = "1 of 2 records breaks a rule; nothing was accepted")]
    pub detail: String,
    /// Errors by record, in order, at most 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<RecordError>,
    /// All errors, the ones not listed included.
    #[serde(skip_serializing_if = "is_zero")]
    pub errors_total: usize,
    /// Seconds after which another try is of use.
    #[serde(skip)]
    pub retry_after: Option<u32>,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// One rule that one record breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RecordError {
    /// Which record of the request, from 0.
    #[schema(example = 1)]
    pub index: usize,
    /// Line of the body, from 1; of NDJSON only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Which field, if one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "bytes_tx")]
    pub field: Option<String>,
    /// Short name of the rule.
    #[schema(example = "integer")]
    pub rule: &'static str,
    /// What was found.
    #[schema(example = "bytes_tx is 1.5, which is not an integer")]
    pub message: String,
    /// What to send instead.
    #[schema(example = "send an integer from 0 to 9007199254740991")]
    pub fix: String,
}

/// What can be wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    MalformedBody,
    MalformedRequest,
    UnknownEventType,
    ReservedTopic,
    TopicConflict,
    InvalidTopic,
    InvalidSchema,
    MethodNotAllowed,
    BodyTimeout,
    InFlight,
    BodyTooLarge,
    UnsupportedMediaType,
    InvalidRecords,
    TooManyRecords,
    TooDeep,
    NoRecords,
    WriterSchema,
    KeyReused,
    NotReady,
    Overloaded,
    SpoolFull,
    NotStored,
    OutcomeUnknown,
}

impl Kind {
    /// The table: status, code, title.
    fn row(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::MalformedBody => (StatusCode::BAD_REQUEST, "malformed_body", "the body cannot be read"),
            Self::MalformedRequest => (StatusCode::BAD_REQUEST, "malformed_request", "the request cannot be read"),
            Self::UnknownEventType => (StatusCode::NOT_FOUND, "unknown_event_type", "no such event type"),
            Self::ReservedTopic => (StatusCode::FORBIDDEN, "reserved_topic", "the topic is not for this"),
            Self::TopicConflict => (StatusCode::CONFLICT, "topic_conflict", "the topic is there and is not like that"),
            Self::InvalidTopic => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_topic", "there can be no such topic"),
            Self::InvalidSchema => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid_schema", "the schema cannot be that of events")
            }
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "method not allowed"),
            Self::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, "body_timeout", "the body took too long to arrive"),
            Self::InFlight => (StatusCode::CONFLICT, "in_flight", "a request with this Idempotency-Key is under way"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "the body is too large"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "the body's type is not supported")
            }
            Self::InvalidRecords => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_records", "records break rules"),
            Self::TooManyRecords => (StatusCode::UNPROCESSABLE_ENTITY, "too_many_records", "too many records"),
            Self::TooDeep => (StatusCode::UNPROCESSABLE_ENTITY, "too_deep", "the body is nested too deeply"),
            Self::NoRecords => (StatusCode::UNPROCESSABLE_ENTITY, "no_records", "the body holds no records"),
            Self::WriterSchema => {
                (StatusCode::UNPROCESSABLE_ENTITY, "writer_schema", "the writer's schema does not fit the event type")
            }
            Self::KeyReused => {
                (StatusCode::UNPROCESSABLE_ENTITY, "key_reused", "the Idempotency-Key belongs to another request")
            }
            Self::NotReady => (StatusCode::SERVICE_UNAVAILABLE, "not_ready", "the gateway is not ready"),
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded", "too much is waiting already"),
            Self::SpoolFull => (StatusCode::INSUFFICIENT_STORAGE, "spool_full", "the gateway's spool is full"),
            Self::NotStored => (StatusCode::SERVICE_UNAVAILABLE, "not_stored", "the disk did not take the events"),
            Self::OutcomeUnknown => {
                (StatusCode::SERVICE_UNAVAILABLE, "outcome_unknown", "it is not known whether the events were stored")
            }
        }
    }

    /// Seconds after which to try again, where that is of use.
    fn retry_after(self) -> Option<u32> {
        match self {
            Self::InFlight | Self::Overloaded => Some(1),
            Self::SpoolFull => Some(10),
            Self::NotReady | Self::NotStored | Self::OutcomeUnknown => Some(5),
            _ => None,
        }
    }
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let (status, code, title) = kind.row();
        Self {
            kind: format!("urn:tidemark:problem:{code}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            errors_total: 0,
            retry_after: kind.retry_after(),
        }
    }

    pub(crate) fn with_errors(mut self, errors: Vec<RecordError>, total: usize) -> Self {
        self.errors = errors;
        self.errors_total = total;
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
