//! The gateway's routes; `POST /v1/flows` and `POST /v1/events/{type}`.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};

use crate::problem::{Kind, Problem};
use crate::receive::handle;
use crate::topics::http::{get_topics, put_topic};
use crate::trace;
use crate::{FLOWS_TOPIC, Gateway};

/// The gateway's routes. Testable without a socket.
pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/v1/flows", post(post_flows))
        .route("/v1/events/{type}", post(post_events))
        .route("/v1/topics", get(get_topics))
        .route("/v1/topics/{topic}", put(put_topic))
        // Bodies have their own limit, which also holds after decompression.
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(gateway)
}

/// Answers a method that a path has not, for `Router::method_not_allowed_fallback` of the whole application: set on a router
/// that is merged, it would clash with others on the same path. Axum adds `Allow`.
pub async fn method_not_allowed() -> Response {
    let detail = "this path has no such method; the Allow header lists those it has";
    Problem::new(Kind::MethodNotAllowed, detail).into_response()
}

/// Writes flow records.
///
/// One JSON object, an array of them, one per line (NDJSON), or an Avro object container file. Either all records are
/// accepted or none, unless `partial=true`.
#[utoipa::path(
    post,
    path = "/v1/flows",
    tag = "events",
    params(crate::openapi::WriteQuery, crate::openapi::WriteHeaders),
    request_body(content(
        (crate::openapi::FlowBody = "application/json"),
        (String = "application/x-ndjson"),
        (Vec<u8> = "application/avro"),
    )),
    responses(crate::openapi::WriteResponses)
)]
pub(crate) async fn post_flows(
    State(gateway): State<Arc<Gateway>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    respond(gateway, "/v1/flows", FLOWS_TOPIC, query, headers, body).await
}

/// Writes events of a type.
///
/// A type is a topic that has a schema: one made with `PUT /v1/topics/{topic}`, or any other of the log whose schema is registered
/// under `<topic>-value`. A JSON record is held against the latest version of it: all fields that have no default and may not be
/// null, no others; times as RFC 3339 text or as numbers, decimals as numbers or text, nothing rounded. Of `flows.observed` the
/// records are those of `POST /v1/flows`. Fields `tenant` and `event_id` may be left out and are filled.
#[utoipa::path(
    post,
    path = "/v1/events/{type}",
    tag = "events",
    params(("type" = String, Path, description = "Event type: the topic's name", example = "access.events"),
           crate::openapi::WriteQuery, crate::openapi::WriteHeaders),
    request_body(content(
        (serde_json::Value = "application/json"),
        (String = "application/x-ndjson"),
        (Vec<u8> = "application/avro"),
    )),
    responses(crate::openapi::WriteResponses,
              (status = 403, description = "The topic is Tidemark's own", body = Problem,
               content_type = "application/problem+json"),
              (status = 404, description = "No such topic, or it has no schema", body = Problem,
               content_type = "application/problem+json"))
)]
pub(crate) async fn post_events(
    State(gateway): State<Arc<Gateway>>,
    Path(event_type): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    respond(gateway, "/v1/events/{type}", &event_type, query, headers, body).await
}

async fn respond(
    gateway: Arc<Gateway>,
    route: &'static str,
    topic: &str,
    query: Option<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let _in_flight = gateway.shared.metrics.request();
    let mut span = trace::request(&gateway.shared.spans, &headers, route);
    let context = span.context();
    let (started, trace_id) = (Instant::now(), format!("{:032x}", context.trace_id()));
    let handled = handle(&gateway, topic, query.as_deref(), &headers, body, context);
    let in_log = tracing::info_span!("receive", trace_id);
    let answer = tracing::Instrument::instrument(handled, in_log).await;
    let response = answer.unwrap_or_else(|problem| {
        gateway.shared.metrics.request_failed();
        problem.into_response()
    });
    trace::answered(&mut span, response.status());
    let (status, ms) = (response.status().as_u16(), started.elapsed().as_millis() as u64);
    tracing::info!(target: "tidemark::access", method = "POST", path = route, status, ms, trace_id);
    response
}
