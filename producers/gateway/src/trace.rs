//! The spans of a request: its own, in the caller's trace or in one that begins here, and that of its way into the log.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};
use tidemark_log::span::{ActiveSpan, Kind, Spans};
use tidemark_log::{TRACEPARENT, TraceContext};

/// The span of a request: goes on with the caller's trace if its header is well formed, else begins one that is sampled.
pub(crate) fn request(spans: &Arc<dyn Spans>, headers: &HeaderMap, route: &'static str) -> ActiveSpan {
    let parent = headers.get(TRACEPARENT).and_then(|value| TraceContext::parse(value.as_bytes()));
    let mut span = ActiveSpan::begin(spans, parent, Kind::Server, format!("POST {route}"));
    span.set("http.request.method", "POST");
    span.set("http.route", route);
    span
}

/// The request was answered. Only a failure of ours makes the span one that failed.
pub(crate) fn answered(span: &mut ActiveSpan, status: StatusCode) {
    span.set("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.set("error.type", status.as_u16().to_string());
        span.fail(&status);
    }
}

/// The span from the moment that `records` events wait for the disk until they are durable, as part of `request`. The events
/// carry its context, so that whoever consumes them goes on from here.
pub(crate) fn publish(
    spans: &Arc<dyn Spans>,
    request: TraceContext,
    gateway: &str,
    topic: &str,
    records: usize,
) -> ActiveSpan {
    let mut span = ActiveSpan::begin(spans, Some(request), Kind::Producer, format!("send {topic}"));
    span.set("messaging.operation.name", "send");
    span.set("messaging.operation.type", "send");
    span.set("messaging.destination.name", topic.to_owned());
    span.set("messaging.client.id", gateway.to_owned());
    span.set("messaging.batch.message_count", i64::try_from(records).unwrap_or(i64::MAX));
    span.fail(&"the spool did not say that it took the events"); // unless it says so later
    span
}
