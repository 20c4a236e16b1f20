//! What a worker says of a lease: complete, fail, refuse.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use tidemark_schemas::dispatch::{AttemptReport, TaskReported};
use uuid::Uuid;

use super::forms::{Attempt, ReportAnswer, ReportBody};
use super::{BODY_MAX, read};
use crate::commands::Type;
use crate::file::store_failed;
use crate::problem::{Kind, Problem};
use crate::store::Kind as Object;
use crate::{Documents, RESULTS_AT_A_TIME, check, rest};

/// A body with results: 32 MiB of them, and the attempts.
const RESULTS_MAX: usize = 33 << 20;
/// How long a report waits for that room.
const ROOM_WITHIN: Duration = Duration::from_secs(5);
/// Runs of steps in a report.
const ATTEMPTS_MAX: usize = 1_000;
/// Bytes of an error or reason; the rest is cut.
const MESSAGE_BYTES_MAX: usize = 8_192;
/// Bytes of what is said of one run; the rest is cut.
const RUN_MESSAGE_BYTES_MAX: usize = 2_048;
/// What a run may come to.
const OUTCOMES: [&str; 6] = ["OK", "FAILED", "CRASHED", "KILLED", "GARBAGE", "INFRASTRUCTURE"];

/// Says that a task is done. The results are stored first.
#[utoipa::path(
    post, path = "/v1/queues/{queue}/tasks/{task_id}/complete", tag = "queues", operation_id = "complete",
    params(crate::openapi::TaskPath), request_body = ReportBody,
    responses((status = 200, description = "Taken", body = ReportAnswer), crate::openapi::LeaseFailures)
)]
pub(crate) async fn complete(
    State(documents): State<Arc<Documents>>,
    Path((queue, task_id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ReportAnswer>, Problem> {
    // A refusal is to reach who still sends.
    let body = Body::from_stream(rest::Read::new(&headers, body));
    // A body of this size is only read when there is room for it.
    let room = tokio::time::timeout(ROOM_WITHIN, documents.results.acquire()).await.map_err(|_| {
        let detail = format!("{RESULTS_AT_A_TIME} results are on their way, which is the limit");
        Problem::new(Kind::Overloaded, detail).fix("send the request again after Retry-After seconds")
    })?;
    let mut body: ReportBody = read(&queue, body, RESULTS_MAX).await?;
    let Some(result) = body.result.take() else {
        return Err(Problem::field("result", "there are no results", "any JSON value"));
    };
    let result = Bytes::from(Box::<str>::from(result).into_boxed_bytes());
    let stored = documents.store.put(Object::Results, result).await.map_err(store_failed)?;
    drop(room);
    tidemark_log::failpoint::hit("results-stored", "documents");
    let bytes = i64::try_from(stored.bytes).unwrap_or(i64::MAX);
    report(&documents, queue, task_id, "COMPLETED", body, Some((stored.sha256, bytes))).await
}

/// Says that a task cannot be done.
#[utoipa::path(
    post, path = "/v1/queues/{queue}/tasks/{task_id}/fail", tag = "queues", operation_id = "fail",
    params(crate::openapi::TaskPath), request_body = ReportBody,
    responses((status = 200, description = "Taken", body = ReportAnswer), crate::openapi::LeaseFailures)
)]
pub(crate) async fn fail(
    State(documents): State<Arc<Documents>>,
    Path((queue, task_id)): Path<(String, String)>,
    body: Body,
) -> Result<Json<ReportAnswer>, Problem> {
    let body: ReportBody = read(&queue, body, BODY_MAX).await?;
    if body.error.is_none() {
        return Err(Problem::field("error", "there is no `error`", "what went wrong, for people"));
    }
    report(&documents, queue, task_id, "FAILED", body, None).await
}

/// Gives a task back: what went wrong is not the document's fault.
#[utoipa::path(
    post, path = "/v1/queues/{queue}/tasks/{task_id}/refuse", tag = "queues", operation_id = "refuse",
    params(crate::openapi::TaskPath), request_body = ReportBody,
    responses((status = 200, description = "Taken", body = ReportAnswer), crate::openapi::LeaseFailures)
)]
pub(crate) async fn refuse(
    State(documents): State<Arc<Documents>>,
    Path((queue, task_id)): Path<(String, String)>,
    body: Body,
) -> Result<Json<ReportAnswer>, Problem> {
    let body: ReportBody = read(&queue, body, BODY_MAX).await?;
    report(&documents, queue, task_id, "REFUSED", body, None).await
}

async fn report(
    documents: &Documents,
    queue: String,
    task_id: String,
    outcome: &str,
    body: ReportBody,
    result: Option<(String, i64)>,
) -> Result<Json<ReportAnswer>, Problem> {
    check::text("worker", &body.worker, check::WHO_BYTES_MAX)?;
    check::text("task_id", &task_id, check::WHO_BYTES_MAX)?;
    body.step.iter().try_for_each(|step| check::text("step", step, check::STEP_BYTES_MAX))?;
    let attempts = attempts(body.attempts)?;
    let (result, result_bytes) = result.map_or((None, 0), |(sha256, bytes)| (Some(sha256), bytes));
    let reported = TaskReported {
        tenant: documents.config.tenant.clone(),
        queue: queue.clone(),
        request_id: Uuid::now_v7().to_string(),
        worker: body.worker,
        task_id: task_id.clone(),
        token: body.token,
        outcome: outcome.to_owned(),
        step: body.step,
        message: body.error.or(body.reason).map(|message| cut(message, MESSAGE_BYTES_MAX)),
        result,
        result_bytes,
        attempts,
    };
    let within = documents.config.answer_within;
    let answer = documents.ask(&reported.request_id, &queue, Type::Reported, &reported, within).await?;
    let why = answer.message.unwrap_or_else(|| format!("the lease {} of {task_id} is none any more", body.token));
    match answer.outcome.as_str() {
        "ACCEPTED" => Ok(Json(ReportAnswer { outcome: "accepted" })),
        "NOT_FOUND" => Err(Problem::new(Kind::NotFound, format!("there is no task {task_id} in {queue}"))),
        _ => Err(Problem::new(Kind::LeaseLost, why).fix("drop the work and ask for another task")),
    }
}

fn attempts(runs: Vec<Attempt>) -> Result<Vec<AttemptReport>, Problem> {
    if runs.len() > ATTEMPTS_MAX {
        let detail = format!("there are {} attempts", runs.len());
        return Err(Problem::field("attempts", detail, format!("{ATTEMPTS_MAX} at most")));
    }
    runs.into_iter().map(attempt).collect()
}

/// Held against the rules of the process: what breaks one it would not answer.
fn attempt(run: Attempt) -> Result<AttemptReport, Problem> {
    check::text("attempts.step", &run.step, check::STEP_BYTES_MAX)?;
    if !OUTCOMES.contains(&run.outcome.as_str()) {
        let rule = format!("one of {}", OUTCOMES.join(", "));
        return Err(Problem::field("attempts.outcome", format!("`outcome` is {:?}", run.outcome), rule));
    }
    if !(1..=100).contains(&run.attempt) || [run.wall_us, run.cpu_us, run.memory_bytes].iter().any(|n| *n < 0) {
        let detail = format!("the run of {} has a number that cannot be", run.step);
        return Err(Problem::field("attempts", detail, "`attempt` is 1 to 100, times and memory are 0 or more"));
    }
    Ok(AttemptReport {
        step: run.step,
        attempt: run.attempt,
        outcome: run.outcome,
        message: run.message.map(|message| cut(message, RUN_MESSAGE_BYTES_MAX)),
        started_at: run.started_at,
        wall_us: run.wall_us,
        cpu_us: run.cpu_us,
        memory_bytes: run.memory_bytes,
    })
}

fn cut(mut message: String, bytes_max: usize) -> String {
    message.truncate(message.floor_char_boundary(bytes_max));
    message
}
