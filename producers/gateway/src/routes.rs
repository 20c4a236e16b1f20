//! `POST /v1/flows` and `POST /v1/events/{type}`.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use crate::problem::{Kind, Problem};
use crate::receive::handle;
use crate::trace;
use crate::{FLOWS_TOPIC, Gateway};

/// The gateway's routes. Testable without a socket.
pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/v1/flows", post(post_flows))
        .route("/v1/events/{type}", post(post_events))
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
    respond(gateway, "/v1/flows", query, headers, body).await
}

/// Writes events of a type.
///
/// `flows.observed` is the only type so far; its records are those of `POST /v1/flows`.
#[utoipa::path(
    post,
    path = "/v1/events/{type}",
    tag = "events",
    params(("type" = String, Path, description = "Event type: `flows.observed`", example = "flows.observed"),
           crate::openapi::WriteQuery, crate::openapi::WriteHeaders),
    request_body(content(
        (crate::openapi::FlowBody = "application/json"),
        (String = "application/x-ndjson"),
        (Vec<u8> = "application/avro"),
    )),
    responses(crate::openapi::WriteResponses,
              (status = 404, description = "No such event type", body = Problem,
               content_type = "application/problem+json"))
)]
pub(crate) async fn post_events(
    State(gateway): State<Arc<Gateway>>,
    Path(event_type): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if event_type != FLOWS_TOPIC {
        let found = crate::rule::shown(&event_type);
        let detail = format!("no event type is called {found:?}; there are: {FLOWS_TOPIC}");
        return Problem::new(Kind::UnknownEventType, detail).into_response();
    }
    respond(gateway, "/v1/events/{type}", query, headers, body).await
}

async fn respond(
    gateway: Arc<Gateway>,
    route: &'static str,
    query: Option<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let _in_flight = gateway.shared.metrics.request();
    let mut span = trace::request(&gateway.shared.spans, &headers, route);
    let context = span.context();
    let (started, trace_id) = (Instant::now(), format!("{:032x}", context.trace_id()));
    let handled = handle(&gateway, query.as_deref(), &headers, body, context);
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
