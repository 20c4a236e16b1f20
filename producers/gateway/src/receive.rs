//! One request, from its headers to its answer.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use tidemark_log::{TraceContext, failpoint};
use tidemark_spool::Error as SpoolError;
use tokio::sync::Semaphore;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::answers::{Begin, Claim, Given};
use crate::ask::Ask;
use crate::batch::{Basis, Batch, Decided};
use crate::body::{self, Format, Room, overloaded};
use crate::entry;
use crate::flow::{Received, TENANT};
use crate::form::Form;
use crate::ids::{first_id, keyed_id};
use crate::problem::{Kind, Problem, RecordError};
use crate::trace;
use crate::{FLOWS_TOPIC, Gateway};

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
    topic: &str,
    query: Option<&str>,
    headers: &HeaderMap,
    body: Body,
    trace: TraceContext,
) -> Result<Response, Problem> {
    let ask = Ask::of(query, headers)?;
    let flows = admit(gateway)?;
    // Before the body is read: for a topic that is not there nothing of it needs to be kept.
    let form = if topic == FLOWS_TOPIC { None } else { Some(gateway.shared.directory.find(topic).await?) };
    let schema = form.as_ref().map_or(flows, |form| form.schema_id);
    let (body, room) = read(gateway, &ask, headers, body).await?;
    let (given, claim) = begin(gateway, &ask, topic, &body)?;
    let replay = ask.key.is_some() && claim.is_none();
    let basis = Basis { accepted_before: replay && !ask.partial && form.is_some(), ..basis(gateway, given, schema) };
    let named = form.as_ref().map(|form| Arc::clone(&form.topic));
    let ((decided, read), room) = decide(gateway, ask.format, body, basis, form, room).await?;
    if replay {
        gateway.shared.metrics.replayed();
        read?;
        return accepted(decided, true, room).map(|(_, response)| response);
    }
    gateway.shared.metrics.decided(&decided);
    read?;
    refuse(&decided, ask.partial)?;
    let (batch, response) = accepted(decided, false, room)?;
    publish(gateway, named, batch, claim, trace).await?;
    Ok(response)
}

async fn read(gateway: &Gateway, ask: &Ask, headers: &HeaderMap, body: Body) -> Result<(Bytes, Room), Problem> {
    let mut room = Room::of(&gateway.bodies);
    let mut body = body::receive(headers, body, &mut room).await?;
    if ask.gzipped {
        let unpacked = off_executor(&gateway.workers, room, move |room| {
            let unpacked = body::gunzip(&body)?;
            room.grow(unpacked.len())?;
            Ok(unpacked)
        });
        let (unpacked, held) = unpacked.await?;
        (body, room) = (unpacked?, held);
    }
    gateway.shared.metrics.body(body.len());
    Ok((body, room))
}

fn basis(gateway: &Gateway, given: Given, schema: u32) -> Basis {
    let max_future = gateway.shared.config.max_future.as_millis();
    let max_future_ms = i64::try_from(max_future).unwrap_or(i64::MAX);
    let received = Received { at: given.received_at, max_future_ms };
    Basis { received, first_id: given.first_id, schema, accepted_before: false }
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

/// What reading a body comes to: all of it, or the fault that ended it.
type Reading = (Decided, Result<(), Problem>);

async fn decide(
    gateway: &Gateway,
    format: Format,
    body: Bytes,
    basis: Basis,
    form: Option<Arc<Form>>,
    mut room: Room,
) -> Result<(Reading, Room), Problem> {
    if body.len() <= INLINE_MAX && format != Format::Avro {
        return Ok((body::decide(format, &body, basis, form.as_deref(), &mut room), room));
    }
    off_executor(&gateway.workers, room, move |room| body::decide(format, &body, basis, form.as_deref(), room)).await
}

/// Does work that takes long on another thread, as many at a time as there are `turns`: that bounds its memory too. Work that
/// was begun goes on when the caller goes away, so the turn and the room are its own until it ends.
async fn off_executor<T: Send + 'static>(
    turns: &Arc<Semaphore>,
    mut room: Room,
    work: impl FnOnce(&mut Room) -> T + Send + 'static,
) -> Result<(T, Room), Problem> {
    // Only fails when the semaphore is closed, which it never is.
    let turn = Arc::clone(turns).acquire_owned().await.ok();
    let done = tokio::task::spawn_blocking(move || {
        let done = work(&mut room);
        drop(turn);
        (done, room)
    });
    done.await.map_err(|error| {
        tracing::error!(%error, "reading a body failed");
        Problem::new(Kind::NotStored, "the gateway failed while reading the body; nothing was accepted, report this")
    })
}

/// Takes the request's key, or finds the answer that was given to it.
fn begin(gateway: &Gateway, ask: &Ask, topic: &str, body: &[u8]) -> Result<(Given, Option<Claim>), Problem> {
    let received_at = (gateway.shared.clock)();
    let Some(key) = &ask.key else {
        return Ok((Given { request: 0, received_at, first_id: first_id(received_at) }, None));
    };
    let request = ask.request_hash(topic, body);
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
        Begin::Full(free_at) => Err(keys_full(gateway.shared.config.keys_max, free_at.saturating_sub(received_at))),
    }
}

fn keys_full(keys_max: usize, wait_ms: i64) -> Problem {
    let detail = format!(
        "{keys_max} Idempotency-Keys of the last 24 hours are remembered, which is the limit (spool.keys_max); nothing was \
         accepted, send requests without a key, or try again after Retry-After seconds, when the oldest is forgotten"
    );
    let seconds = u32::try_from(wait_ms / 1_000 + 1).unwrap_or(1);
    Problem { retry_after: Some(seconds), ..Problem::new(Kind::Overloaded, detail) }
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

/// The body of an answer: in memory, and in its room, until the client has taken it.
struct Held {
    json: Vec<u8>,
    _room: Room,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.json
    }
}

/// The batch, and the answer for when it is durable. Of `room` what the answer takes is kept; the spool counts the batch itself.
fn accepted(decided: Decided, replayed: bool, mut room: Room) -> Result<(Batch, Response), Problem> {
    let Decided { batch, errors, errors_total, .. } = decided;
    let answer = Accepted {
        accepted: batch.len(),
        event_ids: batch.ids().collect(),
        errors,
        errors_total: (errors_total > 0).then_some(errors_total),
    };
    let mut json = Vec::with_capacity(256 + batch.len() * 39);
    serde_json::to_writer(&mut json, &answer).map_err(|error| {
        Problem::new(
            Kind::NotStored,
            format!("the answer cannot be written: {error}; nothing was accepted, report this"),
        )
    })?;
    room.shrink(json.capacity());
    let body = Body::from(Bytes::from_owner(Held { json, _room: room }));
    let mut response = (StatusCode::ACCEPTED, [(header::CONTENT_TYPE, "application/json")], body).into_response();
    if replayed {
        let name = HeaderName::from_static("idempotency-replayed");
        response.headers_mut().insert(name, HeaderValue::from_static("true"));
    }
    Ok((batch, response))
}

/// Waits until the events are durable in the spool. The waiting is a task of its own: a caller that goes away leaves a request
/// that is still under way, and a repeat of it finds the key taken or answered.
async fn publish(
    gateway: &Gateway,
    topic: Option<Arc<str>>,
    batch: Batch,
    claim: Option<Claim>,
    request: TraceContext,
) -> Result<(), Problem> {
    let shared = Arc::clone(&gateway.shared);
    let (records, has_key) = (batch.len(), claim.is_some());
    let mut span =
        trace::publish(&shared.spans, request, &shared.producer_id(), topic.as_deref().unwrap_or(FLOWS_TOPIC), records);
    let keyed = claim.as_ref().map(|claim| (claim.key.as_str(), claim.given));
    let mut entry = Vec::new();
    entry::put(&span.context().header(), keyed, topic.as_deref(), &batch, &mut entry);
    drop(batch);
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
        SpoolError::TooLarge { .. } => {
            Problem::new(Kind::BodyTooLarge, format!("{error}; nothing was accepted, send fewer records at a time"))
        }
        SpoolError::Disk(_) | SpoolError::Closed | SpoolError::Thread(_) => {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// What happens to a handler whose client hangs up.
    #[tokio::test]
    async fn work_whose_caller_is_gone_keeps_its_turn_and_its_room() {
        let (turns, kib) = (Arc::new(Semaphore::new(1)), Arc::new(Semaphore::new(100)));
        let mut room = Room::of(&kib);
        room.grow(10 << 10).unwrap();
        let (begin, begun) = tokio::sync::oneshot::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let work = move |_: &mut Room| {
            begin.send(()).unwrap();
            ended.recv().unwrap();
        };
        let caller = {
            let turns = Arc::clone(&turns);
            tokio::spawn(async move { off_executor(&turns, room, work).await.map(|_| ()) })
        };
        begun.await.unwrap();
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        assert_eq!((turns.available_permits(), kib.available_permits()), (0, 90));
        end.send(()).unwrap();
        let all = async {
            while (turns.available_permits(), kib.available_permits()) != (1, 100) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), all).await.unwrap();
    }

    #[test]
    fn an_answer_has_its_room_until_it_is_taken() {
        let kib = Arc::new(Semaphore::new(100));
        let mut room = Room::of(&kib);
        room.grow(50 << 10).unwrap();
        let decided = Decided { batch: Batch::of(&[b"v".as_slice(); 100]), ..Decided::default() };
        let (_, response) = accepted(decided, false, room).unwrap();
        assert_eq!(kib.available_permits(), 95, "4,156 bytes are kept");
        drop(response);
        assert_eq!(kib.available_permits(), 100);
    }
}
