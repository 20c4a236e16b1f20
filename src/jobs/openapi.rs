//! What jobs add to the description of the API.

use super::change::Change;
use super::http::{Apply, Before};
use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(
    info(title = "Tidemark jobs"),
    paths(list, apply, describe, change, recompute, recompute_write, records),
    components(schemas(Apply, Before, Change))
)]
struct Doc;

/// The jobs that were applied, their versions and what these do.
#[utoipa::path(
    get, path = "/v1/jobs", tag = "jobs", operation_id = "jobs",
    responses((status = 200, description = "By name: current and previous version; of each version its `state` in this process (`starting`, `running`, `retrying`, `failed` and tried again, `stopped` for good) and `why`, and how many of its records were `dead_lettered`; versions that were retired and are still being removed", body = Value))
)]
#[allow(dead_code, reason = "carries the description")]
fn list() {}

/// Checks a job file, runs its tests, and starts it; a new version runs beside the old one.
#[utoipa::path(
    post, path = "/v1/jobs", tag = "jobs", operation_id = "job_apply", request_body = Apply,
    responses(
        (status = 200, description = "A version or settings of a job that was there; `did` says what, `notes` what is worth knowing of the schemas, `trouble` why it is not at work", body = Value),
        (status = 201, description = "A new job; likewise", body = Value),
        (status = 400, description = "The request cannot be read", body = Value, content_type = "application/problem+json"),
        (status = 409, description = "It contradicts what is there; nothing was changed", body = Value, content_type = "application/problem+json"),
        (status = 422, description = "The file is wrong, its tests fail, or a schema that came with it cannot be the topic's next one; nothing was changed", body = Value, content_type = "application/problem+json"),
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

/// Promotes a version, goes back to the one before, or retires one. `retire` needs `version` or `"all": true`; `rollback` takes
/// nothing.
#[utoipa::path(
    post, path = "/v1/jobs/{job}/{change}", tag = "jobs", operation_id = "job_change", request_body = Change,
    params(
        ("job" = String, Path, description = "Name of the job"),
        ("change" = String, Path, description = "`promote`, `rollback` or `retire`"),
    ),
    responses(
        (status = 200, description = "What was done, and seen by every reader; else `trouble` says why not yet", body = Value),
        (status = 400, description = "The body cannot be used; nothing was changed", body = Value, content_type = "application/problem+json"),
        (status = 404, description = "There is no such job, version or change", body = Value, content_type = "application/problem+json"),
        (status = 409, description = "It contradicts what is there, or the version is not ready to be served and `force` is not given; nothing was changed", body = Value, content_type = "application/problem+json"),
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

/// What is on a topic: its last records, or those that were appended in a time, in the order in which they were appended.
#[utoipa::path(
    get, path = "/v1/topics/{topic}/records", tag = "topics", operation_id = "topic_records",
    params(
        ("topic" = String, Path, description = "Name of the topic"),
        ("last" = Option<u32>, Query, description = "So many, the last ones; 1 to 1,000,000, 100 unless given"),
        ("from" = Option<String>, Query, description = "Appended at or after it: RFC 3339 or milliseconds; up to 1,000,000 records"),
        ("to" = Option<String>, Query, description = "Appended before it"),
        ("raw" = Option<bool>, Query, description = "Keys and values as they are, base64, and the schemas that they name"),
    ),
    responses(
        (status = 200, description = "A line for each record: `partition`, `offset`, `appended_at`, `key`, `value`, or `unreadable` and why; then one with `end`, or with `error`. What does not go into 64 MiB is told in `end.cut`",
          body = String, content_type = "application/x-ndjson"),
        (status = 400, description = "The request cannot be used", body = Value, content_type = "application/problem+json"),
        (status = 404, description = "There is no such topic", body = Value, content_type = "application/problem+json"),
        (status = 503, description = "The log is not available, or others read already", body = Value, content_type = "application/problem+json"),
    )
)]
#[allow(dead_code, reason = "carries the description")]
fn records() {}

/// Recomputes windows and writes those that differ and are sealed, each as a new epoch: readers see the one or the other.
#[utoipa::path(
    post, path = "/v1/jobs/{job}/recompute/write", tag = "jobs", operation_id = "job_recompute_write",
    request_body(content = Value, description = "`window`, or `from` and `to`: RFC 3339 or milliseconds; `version`; `include_late`"),
    params(("job" = String, Path, description = "Name of the job")),
    responses(
        (status = 200, description = "Lines of progress, then one report: what was written, and what was not and why", body = String, content_type = "application/x-ndjson"),
        (status = 400, description = "The request cannot be used", body = Value, content_type = "application/problem+json"),
        (status = 404, description = "There is no such job or version", body = Value, content_type = "application/problem+json"),
    )
)]
#[allow(dead_code, reason = "carries the description")]
fn recompute_write() {}

/// The paths under `/v1/jobs`.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Doc::openapi()
}
