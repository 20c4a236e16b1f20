//! The gateway's part of the OpenAPI 3.1 description.

use serde::Serialize;
use utoipa::{IntoParams, IntoResponses, OpenApi, ToSchema};

use crate::problem::{Problem, RecordError};
use crate::receive::Accepted;
use crate::topics::{List, Listed, Made};
use crate::{routes, topics};

/// Describes the gateway's paths and types, to be merged with those of the query API.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Tidemark gateway", description = "Writes events; 202 means durable."),
    paths(routes::post_flows, routes::post_events, topics::http::get_topics, topics::http::put_topic),
    components(schemas(FlowRecord, FlowBody, Accepted, Problem, RecordError, TopicBody, Made, Listed, List)),
    tags((name = "events", description = "Writing events"), (name = "topics", description = "Topics of users"))
)]
struct Description;

/// A flow record. Exactly one of `hour` and `observed_at`; other fields are refused.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"src_app": "checkout", "dest_app": "payments", "vpc_id": "vpc-1",
    "observed_at": "2026-01-31T12:00:00Z", "bytes_tx": 1200, "bytes_rx": 300}))]
#[serde(deny_unknown_fields)]
pub(crate) struct FlowRecord {
    /// Application that opened the connection; 1 to 256 bytes of UTF-8.
    #[schema(min_length = 1, max_length = 256)]
    src_app: String,
    /// Application or address that it connected to; 1 to 256 bytes of UTF-8.
    #[schema(min_length = 1, max_length = 256)]
    dest_app: String,
    /// Virtual network of the source; 1 to 256 bytes of UTF-8.
    #[schema(min_length = 1, max_length = 256)]
    vpc_id: String,
    /// Bytes sent by `src_app`.
    #[schema(minimum = 0, maximum = 9007199254740991_i64)]
    bytes_tx: i64,
    /// Bytes received by `src_app`.
    #[schema(minimum = 0, maximum = 9007199254740991_i64)]
    bytes_rx: i64,
    /// Whole hours since the Unix epoch; event time is then the time of receipt, clamped into that hour.
    #[schema(minimum = 0, nullable = false)]
    hour: Option<i64>,
    /// Event time: RFC 3339 text with an offset, or milliseconds since the Unix epoch.
    #[schema(nullable = false)]
    observed_at: Option<ObservedAt>,
    /// Unique per event; a UUIDv7 is made when it is left out.
    #[schema(format = "uuid", nullable = false)]
    event_id: Option<String>,
}

/// RFC 3339 text with an offset, or milliseconds since the Unix epoch.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "describes input that is read by hand")]
pub(crate) enum ObservedAt {
    /// RFC 3339.
    Text(String),
    /// Milliseconds.
    Milliseconds(i64),
}

/// One record or many, at most 100,000.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "describes input that is read by hand")]
pub(crate) enum FlowBody {
    /// One.
    One(FlowRecord),
    /// Many.
    Many(Vec<FlowRecord>),
}

/// A topic as it should be.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"schema": {"type": "record", "name": "AccessEvent", "namespace": "access", "fields": [
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}, {"name": "path", "type": "string"}]}}))]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "describes input that is read by hand")]
pub(crate) struct TopicBody {
    /// Avro schema of the events, a record; as JSON, or as text.
    #[schema(value_type = Object)]
    schema: serde_json::Value,
    /// 1 to 10,000; 4 if left out. They can be made more later, not fewer.
    #[schema(minimum = 1, maximum = 10000, nullable = false)]
    partitions: Option<u32>,
    /// Milliseconds that records are kept, -1 for ever; 7 days if left out, for ever if compacted.
    #[schema(nullable = false)]
    retention_ms: Option<i64>,
    /// Keep only the last record of each key, which is the event's id; false if left out.
    #[schema(nullable = false)]
    compact: Option<bool>,
}

/// What can be asked of a write.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "describes input that is read by hand")]
pub(crate) struct WriteQuery {
    /// `true`: accept the records that obey the rules and list the errors of the others.
    partial: Option<bool>,
}

/// Headers of a write.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "describes input that is read by hand")]
pub(crate) struct WriteHeaders {
    /// Makes repeating safe: within 24 hours the same request with the same key takes effect once and gets the first
    /// answer. At most 255 bytes.
    #[param(rename = "Idempotency-Key")]
    idempotency_key: Option<String>,
    /// W3C trace context, kept with the events.
    traceparent: Option<String>,
}

/// The answers to a write.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "describes answers that are made by hand")]
pub(crate) enum WriteResponses {
    /// Durable in the gateway's spool; the log has them as soon as it can be reached, a moment later as a rule.
    #[response(status = 202)]
    Accepted(Accepted),
    /// The body or a header cannot be read.
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// The body took too long to arrive.
    #[response(status = 408, content_type = "application/problem+json")]
    Timeout(Problem),
    /// A request with the same Idempotency-Key is under way; Retry-After says when to ask again.
    #[response(status = 409, content_type = "application/problem+json")]
    InFlight(Problem),
    /// The body is larger than 16 MiB.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// Content type, charset, encoding or codec is not supported.
    #[response(status = 415, content_type = "application/problem+json")]
    Unsupported(Problem),
    /// Records break rules, there are none, too many or too deep ones, or the key belongs to another request.
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(Problem),
    /// Not ready, overloaded, or the disk failed; Retry-After says when to try again.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
    /// The spool is full because the log has been away for long; Retry-After says when to try again.
    #[response(status = 507, content_type = "application/problem+json")]
    Full(Problem),
}
