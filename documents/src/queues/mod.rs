//! What workers say: lease, heartbeat, complete, fail, refuse. And how a queue stands.

mod forms;
pub(crate) mod report;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use ring::digest::{SHA256, digest};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tidemark_schemas::dispatch::{Heartbeat, HeldLease, LeaseRequested};
use uuid::Uuid;

pub(crate) use forms::QueueAnswer;
use forms::{HeartbeatAnswer, HeartbeatBody, Held, LeaseAnswer, LeaseBody, Revoked, Task};

use crate::commands::Type;
use crate::problem::{Kind, Problem};
use crate::upload::idempotency_key;
use crate::{Documents, check};

/// The longest that a lease request may wait.
const WAIT_MAX_S: u64 = 60;
/// A body without results.
const BODY_MAX: usize = 1 << 20;
/// A body that is longer on its way is given up.
const BODY_WITHIN: Duration = Duration::from_secs(30);
/// Leases in a heartbeat.
const HELD_MAX: usize = 1_024;

/// Leases a task.
///
/// With `Prefer: wait=SECONDS` the request waits for one. Sent again with the same `Idempotency-Key` it gets the same task, as long
/// as the lease is the worker's.
#[utoipa::path(
    post, path = "/v1/queues/{queue}/lease", tag = "queues", operation_id = "lease",
    params(crate::openapi::QueuePath, crate::openapi::LeaseHeaders), request_body = LeaseBody,
    responses((status = 200, description = "A task, or `null` and a message", body = LeaseAnswer), crate::openapi::Failures)
)]
pub(crate) async fn lease(
    State(documents): State<Arc<Documents>>,
    Path(queue): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<LeaseAnswer>, Problem> {
    let LeaseBody { worker, capacity } = read(&queue, body, BODY_MAX).await?;
    check::text("worker", &worker, check::WHO_BYTES_MAX)?;
    check::capacity(capacity, 1)?;
    let wait = Duration::from_secs(prefer_wait(&headers)?);
    let request_id = match idempotency_key(&headers)? {
        Some(key) => keyed_id(&documents.config.tenant, &queue, &worker, &key),
        None => Uuid::now_v7().to_string(),
    };
    let wait_ms = i64::try_from(wait.as_millis()).unwrap_or(0);
    let request = LeaseRequested {
        tenant: documents.config.tenant.clone(),
        queue: queue.clone(),
        request_id: request_id.clone(),
        worker,
        capacity,
        wait_until: (documents.clock)().saturating_add(wait_ms),
    };
    let within = documents.config.answer_within + wait;
    let answer = documents.ask(&request_id, &queue, Type::Lease, &request, within).await?;
    documents.metrics.asked(answer.outcome == "ASSIGNED");
    if answer.outcome != "ASSIGNED" {
        return Ok(Json(LeaseAnswer { task: None, message: Some("no task available") }));
    }
    let document = RawValue::from_string(answer.payload.unwrap_or_else(|| "null".to_owned()));
    let task = Task {
        task_id: answer.task_id.unwrap_or_default(),
        token: answer.token.unwrap_or_default(),
        attempt: answer.attempt.unwrap_or_default(),
        deadline: answer.deadline.unwrap_or_default(),
        document: document
            .map_err(|error| Problem::new(Kind::Internal, format!("the task's payload is no JSON: {error}")))?,
    };
    Ok(Json(LeaseAnswer { task: Some(task), message: None }))
}

/// Says that a worker lives, and which leases it holds.
#[utoipa::path(
    post, path = "/v1/queues/{queue}/heartbeat", tag = "queues", operation_id = "heartbeat",
    params(crate::openapi::QueuePath), request_body = HeartbeatBody,
    responses((status = 200, description = "Leases that are none any more", body = HeartbeatAnswer), crate::openapi::Failures)
)]
pub(crate) async fn heartbeat(
    State(documents): State<Arc<Documents>>,
    Path(queue): Path<String>,
    body: Body,
) -> Result<Json<HeartbeatAnswer>, Problem> {
    let body: HeartbeatBody = read(&queue, body, BODY_MAX).await?;
    check::text("worker", &body.worker, check::WHO_BYTES_MAX)?;
    check::capacity(body.capacity, 0)?;
    if body.tasks.len() > HELD_MAX {
        return Err(Problem::field(
            "tasks",
            format!("there are {} leases", body.tasks.len()),
            format!("{HELD_MAX} at most"),
        ));
    }
    for held in &body.tasks {
        check::text("tasks.task_id", &held.task_id, check::WHO_BYTES_MAX)?;
        if !held.step.is_empty() {
            check::text("tasks.step", &held.step, check::STEP_BYTES_MAX)?;
        }
    }
    let held = body.tasks.into_iter().map(|Held { task_id, token, step }| HeldLease { task_id, token, step });
    let request = Heartbeat {
        tenant: documents.config.tenant.clone(),
        queue: queue.clone(),
        request_id: Uuid::now_v7().to_string(),
        worker: body.worker,
        capacity: body.capacity,
        push: false,
        memory_bytes: body.memory_bytes.max(0),
        cpu_percent: body.cpu_percent.max(0),
        held: held.collect(),
    };
    let within = documents.config.answer_within;
    let answer = documents.ask(&request.request_id, &queue, Type::Heartbeat, &request, within).await?;
    let revoked = answer.revoked.into_iter().map(|lease| Revoked { task_id: lease.task_id, token: lease.token });
    Ok(Json(HeartbeatAnswer { revoked: revoked.collect() }))
}

/// How a queue stands.
#[utoipa::path(
    get, path = "/v1/queues/{queue}", tag = "queues", operation_id = "queue", params(crate::openapi::QueuePath),
    responses((status = 200, description = "As far as the index and the topic of workers have been read", body = QueueAnswer), crate::openapi::Failures)
)]
pub(crate) async fn queue(
    State(documents): State<Arc<Documents>>,
    Path(queue): Path<String>,
) -> Result<Json<QueueAnswer>, Problem> {
    check::queue(&queue)?;
    Ok(Json(documents.queue(&queue)))
}

impl Documents {
    pub(crate) fn queue(&self, queue: &str) -> QueueAnswer {
        let counts = self.index.queue(&self.config.tenant, queue);
        let workers = self.workers.of(&self.config.tenant, queue);
        QueueAnswer { queue: queue.to_owned(), pending: counts.pending, leased: counts.leased, workers }
    }
}

/// The id of a lease request that may be sent again: a UUID of version 8 (RFC 9562), made of a hash. One worker's keys are not
/// another's.
fn keyed_id(tenant: &str, queue: &str, worker: &str, key: &str) -> String {
    let hash = digest(&SHA256, format!("{tenant}/{queue}/{worker}\n{key}").as_bytes());
    let half = hash.as_ref().first_chunk::<16>().copied().unwrap_or_default();
    uuid::Builder::from_custom_bytes(half).into_uuid().hyphenated().to_string()
}

async fn read<T: DeserializeOwned>(queue: &str, body: Body, bytes_max: usize) -> Result<T, Problem> {
    check::queue(queue)?;
    let too_long = |_| {
        let rule = format!("complete, and {bytes_max} bytes at most");
        Problem { status: 413, ..Problem::field("body", format!("the body is longer than {bytes_max} bytes"), rule) }
    };
    let late = |_| {
        let detail = format!("the body did not come within {} s", BODY_WITHIN.as_secs());
        Problem::new(Kind::TooSlow, detail).fix("send it again")
    };
    let body = tokio::time::timeout(BODY_WITHIN, axum::body::to_bytes(body, bytes_max)).await.map_err(late)?;
    let body = body.map_err(too_long)?;
    serde_json::from_slice(&body).map_err(|error| {
        let problem = Problem::field("body", format!("the body cannot be read: {error}"), "a JSON object");
        problem.fix("see /v1/openapi.json for its fields")
    })
}

/// `Prefer: wait=SECONDS` (RFC 7240); 0 without it.
fn prefer_wait(headers: &HeaderMap) -> Result<u64, Problem> {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let wait = values.flat_map(|value| value.split([',', ';'])).find_map(|p| p.trim().strip_prefix("wait="));
    let Some(wait) = wait else { return Ok(0) };
    match wait.parse() {
        Ok(seconds) if seconds <= WAIT_MAX_S => Ok(seconds),
        _ => Err(Problem::field("Prefer", format!("`wait` is {wait:?}"), format!("0 to {WAIT_MAX_S} seconds"))),
    }
}
