//! What jobs add to the description of the API.

use super::http::{Apply, Change};
use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(
    info(title = "Tidemark jobs"),
    paths(list, apply, describe, change, recompute),
    components(schemas(Apply, Change))
)]
struct Doc;

/// The jobs that were applied, their versions and what these do.
#[utoipa::path(
    get, path = "/v1/jobs", tag = "jobs", operation_id = "jobs",
    responses((status = 200, description = "By name: current and previous version; of each version its state, and why", body = Value))
)]
#[allow(dead_code, reason = "carries the description")]
fn list() {}

/// Checks a job file, runs its tests, and starts it; a new version runs beside the old one.
#[utoipa::path(
    post, path = "/v1/jobs", tag = "jobs", operation_id = "job_apply", request_body = Apply,
    responses(
        (status = 200, description = "A version or settings of a job that was there; `did` says what", body = Value),
        (status = 201, description = "A new job", body = Value),
        (status = 409, description = "It contradicts what is there; nothing was changed", body = Value, content_type = "application/problem+json"),
        (status = 422, description = "The file is wrong or its tests fail; nothing was changed", body = Value, content_type = "application/problem+json"),
        (status = 503, description = "Log or registry are not available", body = Value, content_type = "application/problem+json"),
    )
)]
#[allow(dead_code, reason = "carries the description")]
fn apply() {}

/// Stages, topics, partitions, groups, state and lag of a job.
#[utoipa::path(
    get, path = "/v1/jobs/{job}", tag = "jobs", operation_id = "job",
    params(("job" = String, Path, description = "Name of the job")),
    responses(
        (status = 200, description = "The job by version", body = Value),
        (status = 404, description = "There is no such job", body = Value, content_type = "application/problem+json"),
    )
)]
#[allow(dead_code, reason = "carries the description")]
fn describe() {}

/// Promotes a version, goes back to the one before, or retires one.
#[utoipa::path(
    post, path = "/v1/jobs/{job}/{change}", tag = "jobs", operation_id = "job_change", request_body = Change,
    params(
        ("job" = String, Path, description = "Name of the job"),
        ("change" = String, Path, description = "`promote`, `rollback` or `retire`"),
    ),
    responses(
        (status = 200, description = "What was done", body = Value),
        (status = 404, description = "There is no such job, version or change", body = Value, content_type = "application/problem+json"),
        (status = 409, description = "It contradicts what is there; nothing was changed", body = Value, content_type = "application/problem+json"),
    )
)]
#[allow(dead_code, reason = "carries the description")]
fn change() {}

/// Reads the offsets of windows again, folds them and compares row by row with the view.
#[utoipa::path(
    post, path = "/v1/jobs/{job}/recompute", tag = "jobs", operation_id = "job_recompute",
    request_body(content = Value, description = "`window`, or `from` and `to`: RFC 3339 or milliseconds; `version`; `include_late`"),
    params(("job" = String, Path, description = "Name of the job")),
    responses(
        (status = 200, description = "Lines of progress, then one report", body = String, content_type = "application/x-ndjson"),
        (status = 400, description = "The request cannot be used", body = Value, content_type = "application/problem+json"),
        (status = 404, description = "There is no such job or version", body = Value, content_type = "application/problem+json"),
    )
)]
#[allow(dead_code, reason = "carries the description")]
fn recompute() {}

/// The paths under `/v1/jobs`.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Doc::openapi()
}
