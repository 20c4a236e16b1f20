//! `POST /v1/flows` and `POST /v1/events/{type}`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::oneshot;
use utoipa::ToSchema;
use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3Default;

use crate::answers::{Begin, Claim, Given};
use crate::batch::{Basis, Batch, Decided, first_id};
use crate::body::{self, Format, Room, overloaded};
use crate::flow::{Received, TENANT};
use crate::problem::{Kind, Problem, RecordError};
use crate::publisher::Job;
use crate::trace::Trace;
use crate::{FLOWS_TOPIC, Gateway};

/// Longest Idempotency-Key, bytes.
const KEY_MAX: usize = 255;
/// Bodies larger than this are read on a thread of their own: a millisecond or so of work.
const INLINE_MAX: usize = 64 << 10;
/// How much longer than the publisher a handler waits, so that a definite answer comes first.
const ANSWER_SLACK: Duration = Duration::from_secs(5);

/// The answer to accepted records.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Accepted {
    /// Records that are durable in the log now.
    #[schema(example = 1)]
    accepted: usize,
    /// Their event ids, in the order of the records.
    #[schema(example = json!(["0198c5a2-7b1e-7c3d-9e4f-5a6b7c8d9e0f"]))]
    event_ids: Vec<Uuid>,
    /// With `partial=true`: errors of the records that were not accepted, at most 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<RecordError>,
    /// All errors, the ones not listed included.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors_total: Option<usize>,
}

/// The gateway's routes. Testable without a socket.
pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/v1/flows", post(post_flows).fallback(method_not_allowed))
        .route("/v1/events/{type}", post(post_events).fallback(method_not_allowed))
        // Bodies have their own limit, which also holds after decompression.
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(gateway)
}

async fn method_not_allowed() -> Response {
    let mut response = Problem::new(Kind::MethodNotAllowed, "events are written with POST").into_response();
    response.headers_mut().insert(axum::http::header::ALLOW, HeaderValue::from_static("POST"));
    response
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
    respond(gateway, query, headers, body).await
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
    respond(gateway, query, headers, body).await
}

async fn respond(gateway: Arc<Gateway>, query: Option<String>, headers: HeaderMap, body: Body) -> Response {
    let _in_flight = gateway.shared.metrics.request();
    let trace = Trace::of(&headers);
    let span = tracing::info_span!("receive", otel.kind = "server", trace_id = trace.id());
    let handled = handle(&gateway, query.as_deref(), &headers, body, trace);
    let answer = tracing::Instrument::instrument(handled, span).await;
    answer.unwrap_or_else(|problem| {
        gateway.shared.metrics.request_failed();
        problem.into_response()
    })
}

/// What a request asks for, body aside.
struct Ask {
    partial: bool,
    format: Format,
    gzipped: bool,
    key: Option<String>,
}

impl Ask {
    fn of(query: Option<&str>, headers: &HeaderMap) -> Result<Self, Problem> {
        Ok(Self {
            partial: partial(query)?,
            format: body::format(headers)?,
            gzipped: body::gzipped(headers)?,
            key: idempotency_key(headers)?,
        })
    }

    /// Hash of everything that the answer depends on but the time.
    fn request_hash(&self, body: &[u8]) -> u128 {
        let mut hash = Xxh3Default::new();
        hash.update(FLOWS_TOPIC.as_bytes());
        hash.update(&[0, self.format as u8, u8::from(self.partial)]);
        hash.update(body);
        hash.digest128()
    }
}

fn partial(query: Option<&str>) -> Result<bool, Problem> {
    match query.unwrap_or_default() {
        "" | "partial=false" => Ok(false),
        "partial=true" => Ok(true),
        other => {
            let detail = format!("the query is {:?}; the only parameter is partial=true or partial=false", crate::rule::shown(other));
            Err(Problem::new(Kind::MalformedRequest, detail))
        }
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=KEY_MAX).contains(&key.len()) && values.next().is_none() => Ok(Some(key.to_owned())),
        _ => {
            let detail = format!("send one Idempotency-Key of 1 to {KEY_MAX} visible ASCII characters, for example a UUID");
            Err(Problem::new(Kind::MalformedRequest, detail))
        }
    }
}

async fn handle(
    gateway: &Gateway,
    query: Option<&str>,
    headers: &HeaderMap,
    body: Body,
    trace: Trace,
) -> Result<Response, Problem> {
    let ask = Ask::of(query, headers)?;
    let schema = admit(gateway)?;
    let mut room = Room::of(&gateway.bodies);
    let mut body = body::receive(headers, body, &mut room).await?;
    if ask.gzipped {
        body = off_executor(gateway, move || body::gunzip(&body)).await??;
        room.grow(body.len())?;
    }
    let shared = &gateway.shared;
    shared.metrics.body(body.len());

    let received_at = (shared.clock)();
    let first = Given { request: ask.request_hash(&body), received_at, first_id: first_id(received_at) };
    let (given, claim) = begin(gateway, ask.key.as_deref(), first)?;
    let max_future_ms = i64::try_from(shared.config.max_future.as_millis()).unwrap_or(i64::MAX);
    let received = Received { at: given.received_at, max_future_ms };
    let basis = Basis { received, first_id: given.first_id, schema };
    let replay = ask.key.is_some() && claim.is_none();

    let (decided, read) = decide(gateway, ask.format, body, basis).await?;
    if replay {
        shared.metrics.replayed();
        read?;
        return Ok(accepted(decided, true).1);
    }
    shared.metrics.decided(&decided);
    read?;
    refuse(&decided, ask.partial)?;
    let (batch, response) = accepted(decided, false);
    publish(gateway, batch, claim, trace).await?;
    Ok(response)
}

/// The schema id for the records, if the gateway is ready.
fn admit(gateway: &Gateway) -> Result<u32, Problem> {
    let not_ready = |reasons: &[String]| {
        let detail = format!("{}; nothing was accepted, try again later", reasons.join("; "));
        Problem::new(Kind::NotReady, detail)
    };
    gateway.ready().map_err(|reasons| not_ready(&reasons))?;
    let schemas = gateway.shared.schemas.get();
    schemas.map(|schemas| schemas.flow).ok_or_else(|| not_ready(&["schemas are not registered yet".to_owned()]))
}

async fn decide(
    gateway: &Gateway,
    format: Format,
    body: Bytes,
    basis: Basis,
) -> Result<(Decided, Result<(), Problem>), Problem> {
    if body.len() <= INLINE_MAX && format != Format::Avro {
        return Ok(body::decide(format, &body, basis));
    }
    off_executor(gateway, move || body::decide(format, &body, basis)).await
}

/// Does work that takes long on another thread, as many at a time as there are processors: that bounds its memory too.
async fn off_executor<T: Send + 'static>(
    gateway: &Gateway,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    // Only fails when the semaphore is closed, which it never is.
    let _turn = gateway.workers.acquire().await.ok();
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "reading a body failed");
        Problem::new(Kind::NotStored, "the gateway failed while reading the body; nothing was accepted, report this")
    })
}

/// Takes the request's key, or finds the answer that was given to it.
fn begin(gateway: &Gateway, key: Option<&str>, first: Given) -> Result<(Given, Option<Claim>), Problem> {
    let Some(key) = key else { return Ok((first, None)) };
    match gateway.shared.answers.begin(TENANT, key, first) {
        Begin::New(claim) => Ok((first, Some(claim))),
        Begin::Replay(given) => Ok((given, None)),
        Begin::InFlight => {
            Err(Problem::new(Kind::InFlight, "wait for its answer, or send it again after Retry-After seconds"))
        }
        Begin::Other => {
            let detail = "within 24 hours a key stands for one request, with one body and one content type; \
                          send a new key with a new request";
            Err(Problem::new(Kind::KeyReused, detail))
        }
        Begin::Full => Err(overloaded("Idempotency-Keys")),
    }
}

/// Refuses a request whose records break rules, all of them or, unless it may be taken in part, one.
fn refuse(decided: &Decided, partial: bool) -> Result<(), Problem> {
    let (records, refused) = (decided.records, decided.records_refused);
    if records == 0 {
        return Err(Problem::new(Kind::NoRecords, "there is nothing to accept; send at least one record"));
    }
    if refused == 0 || (partial && refused < records) {
        return Ok(());
    }
    let kind = if decided.malformed && !partial { Kind::MalformedBody } else { Kind::InvalidRecords };
    let hint = if partial || records == 1 { "" } else { "; correct them, or send partial=true to have the others accepted" };
    let detail = format!("{refused} of {records} records cannot be accepted, so nothing was{hint}");
    Err(Problem::new(kind, detail).with_errors(decided.errors.clone(), decided.errors_total))
}

fn accepted(decided: Decided, replayed: bool) -> (Batch, Response) {
    let Decided { batch, errors, errors_total, .. } = decided;
    let answer = Accepted {
        accepted: batch.len(),
        event_ids: batch.ids().collect(),
        errors,
        errors_total: (errors_total > 0).then_some(errors_total),
    };
    let mut response = (StatusCode::ACCEPTED, Json(answer)).into_response();
    if replayed {
        let name = HeaderName::from_static("idempotency-replayed");
        response.headers_mut().insert(name, HeaderValue::from_static("true"));
    }
    (batch, response)
}

/// Waits until the events are durable.
async fn publish(gateway: &Gateway, batch: Batch, claim: Option<Claim>, trace: Trace) -> Result<(), Problem> {
    let (reply, answer) = oneshot::channel();
    let wait = gateway.shared.config.answer_timeout;
    let keyed = claim.is_some();
    let job = Job { batch, claim, trace, deadline: Instant::now() + wait, reply };
    gateway.enqueue(job).map_err(|_| overloaded("requests"))?;
    match tokio::time::timeout(wait + ANSWER_SLACK, answer).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(why))) => {
            let detail = format!("{}; nothing was accepted, send the request again", why.0);
            Err(Problem::new(Kind::NotStored, detail))
        }
        Ok(Err(_)) | Err(_) => Err(unknown(keyed)),
    }
}

fn unknown(keyed: bool) -> Problem {
    let advice = if keyed {
        "send the same request with the same Idempotency-Key again: it takes effect once"
    } else {
        "sending it again may store the events twice; with an Idempotency-Key it would be safe"
    };
    Problem::new(Kind::OutcomeUnknown, format!("the log did not say whether it took the events; {advice}"))
}
