//! One request, from its headers to its answer.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use tidemark_log::{TraceContext, failpoint};
use tidemark_spool::Error as SpoolError;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Gateway;
use crate::answers::{Begin, Claim, Given};
use crate::ask::Ask;
use crate::batch::{Basis, Batch, Decided, first_id, keyed_id};
use crate::body::{self, Format, Room, overloaded};
use crate::entry;
use crate::flow::{Received, TENANT};
use crate::problem::{Kind, Problem, RecordError};
use crate::trace;

/// Bodies larger than this are read on a thread of their own: a millisecond or so of work.
const INLINE_MAX: usize = 64 << 10;

/// The answer to accepted records.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Accepted {
    /// Records that are durable now.
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

/// Decides about a request, publishes what it accepts, and waits until that is durable.
pub(crate) async fn handle(
    gateway: &Gateway,
    query: Option<&str>,
    headers: &HeaderMap,
    body: Body,
    trace: TraceContext,
) -> Result<Response, Problem> {
    let ask = Ask::of(query, headers)?;
    let schema = admit(gateway)?;
    let mut room = Room::of(&gateway.bodies);
    let body = read(gateway, &ask, headers, body, &mut room).await?;
    let (given, claim) = begin(gateway, &ask, &body)?;
    let replay = ask.key.is_some() && claim.is_none();
    let basis = basis(gateway, given, schema);
    let (decided, read) = decide(gateway, ask.format, body, basis).await?;
    if replay {
        gateway.shared.metrics.replayed();
        return read.map(|()| accepted(decided, true).1);
    }
    gateway.shared.metrics.decided(&decided);
    read?;
    refuse(&decided, ask.partial)?;
    let (batch, response) = accepted(decided, false);
    publish(gateway, batch, claim, trace).await?;
    Ok(response)
}

async fn read(
    gateway: &Gateway,
    ask: &Ask,
    headers: &HeaderMap,
    body: Body,
    room: &mut Room<'_>,
) -> Result<Bytes, Problem> {
    let mut body = body::receive(headers, body, room).await?;
    if ask.gzipped {
        body = off_executor(gateway, move || body::gunzip(&body)).await??;
        room.grow(body.len())?;
    }
    gateway.shared.metrics.body(body.len());
    Ok(body)
}

fn basis(gateway: &Gateway, given: Given, schema: u32) -> Basis {
    let max_future = gateway.shared.config.max_future.as_millis();
    let max_future_ms = i64::try_from(max_future).unwrap_or(i64::MAX);
    let received = Received { at: given.received_at, max_future_ms };
    Basis { received, first_id: given.first_id, schema }
}

/// The schema id for the records, if the gateway is ready.
fn admit(gateway: &Gateway) -> Result<u32, Problem> {
    let not_ready = |reasons: &[String]| {
        let detail = format!("{}; nothing was accepted, try again later", reasons.join("; "));
        Problem::new(Kind::NotReady, detail)
    };
    gateway.ready().map_err(|reasons| not_ready(&reasons))?;
    let schemas = gateway.shared.schemas();
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
fn begin(gateway: &Gateway, ask: &Ask, body: &[u8]) -> Result<(Given, Option<Claim>), Problem> {
    let received_at = (gateway.shared.clock)();
    let Some(key) = &ask.key else {
        return Ok((Given { request: 0, received_at, first_id: first_id(received_at) }, None));
    };
    let request = ask.request_hash(body);
    let first = Given { request, received_at, first_id: keyed_id(TENANT, key, request) };
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
pub(crate) fn refuse(decided: &Decided, partial: bool) -> Result<(), Problem> {
    let (records, refused) = (decided.records, decided.records_refused);
    if records == 0 {
        return Err(Problem::new(Kind::NoRecords, "there is nothing to accept; send at least one record"));
    }
    if refused == 0 || (partial && refused < records) {
        return Ok(());
    }
    let kind = if decided.malformed && !partial { Kind::MalformedBody } else { Kind::InvalidRecords };
    let hint =
        if partial || records == 1 { "" } else { "; correct them, or send partial=true to have the others accepted" };
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

/// Waits until the events are durable in the spool. The waiting is a task of its own: a caller that goes away leaves a request
/// that is still under way, and a repeat of it finds the key taken or answered.
async fn publish(gateway: &Gateway, batch: Batch, claim: Option<Claim>, request: TraceContext) -> Result<(), Problem> {
    let shared = Arc::clone(&gateway.shared);
    let (records, has_key) = (batch.len(), claim.is_some());
    let mut span = trace::publish(&shared.spans, request, &shared.producer_id(), records);
    let keyed = claim.as_ref().map(|claim| (claim.key.as_str(), claim.given));
    let mut entry = Vec::new();
    entry::put(&span.context().header(), keyed, &batch, &mut entry);
    let appended = shared.spool.append(entry, u32::try_from(records).unwrap_or(u32::MAX));
    let stored = tokio::spawn(async move {
        let stored = match appended {
            Ok(answer) => answer.await.unwrap_or(Err(SpoolError::Closed)),
            Err(error) => Err(error),
        };
        match stored {
            Ok(_) => {
                failpoint::hit("spool-synced", "");
                span.succeed();
                if let Some(claim) = claim {
                    claim.done();
                }
                shared.metrics.accepted(records);
                Ok(())
            }
            Err(error) => {
                span.fail(&error);
                Err(error)
            }
        }
    });
    let stored = stored.await.unwrap_or(Err(SpoolError::Closed));
    stored.map_err(|error| not_stored(gateway, &error, has_key))
}

fn not_stored(gateway: &Gateway, error: &SpoolError, keyed: bool) -> Problem {
    match error {
        SpoolError::Full { .. } | SpoolError::Old { .. } => spool_full(gateway, error),
        SpoolError::Disk(_) if error.no_space() => spool_full(gateway, error),
        SpoolError::Busy => overloaded("requests"),
        SpoolError::Unknown(_) => unknown(error, keyed),
        SpoolError::Disk(_) | SpoolError::Closed | SpoolError::Thread(_) | SpoolError::TooLarge { .. } => {
            let detail = format!("{error}; nothing was accepted, send the request again");
            Problem::new(Kind::NotStored, detail)
        }
    }
}

fn spool_full(gateway: &Gateway, error: &SpoolError) -> Problem {
    let behind = gateway.shared.behind().map_or_else(String::new, |why| format!("; publishing is behind: {why}"));
    let detail = format!(
        "{error}{behind}; nothing was accepted, send the request again after Retry-After seconds; if that lasts, look after \
         the log, or give the spool more room (spool.max_bytes, spool.max_age_ms, its disk)"
    );
    Problem::new(Kind::SpoolFull, detail)
}

fn unknown(error: &SpoolError, keyed: bool) -> Problem {
    let advice = if keyed {
        "send the same request with the same Idempotency-Key again: its events have the same ids"
    } else {
        "sending it again may store the events twice; with an Idempotency-Key they would have the same ids"
    };
    Problem::new(Kind::OutcomeUnknown, format!("{error}; {advice}"))
}
