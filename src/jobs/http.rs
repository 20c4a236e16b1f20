//! `/v1/jobs`: the jobs of this platform, looked at and changed.

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemark_core::Job;
use tidemark_jobs::decide::views::Reader;
use tidemark_jobs::decide::{self, Applied, Refusal};
use tidemark_jobs::directory::Error;
use tidemark_jobs::platform::{self, ApplyError, Jobs};
use tidemark_log::{Cleanup, Log, TopicSpec};
use tidemark_runtime::Metrics;
use tidemark_schemas::jobs::{JobEntry, JobVersion};
use tidemark_schemas::registry::Registry;
use tidemark_spec::SpecJob;
use tidemark_spec::instant::{duration, rfc3339};

/// How long an answer waits for a job to be at work.
const PATIENCE: Duration = Duration::from_secs(20);
/// Partitions of a source topic that is made for a job.
const PARTITIONS: u32 = 4;
/// Its records are kept for so long.
const RETENTION_MS: i64 = 7 * 86_400_000;

/// What the routes work on.
#[derive(Clone)]
pub struct Context {
    /// The jobs.
    pub jobs: Arc<Jobs>,
    /// Has the topics.
    pub log: Arc<dyn Log>,
    /// Has their schemas.
    pub registry: Arc<dyn Registry>,
}

/// The routes.
pub fn router(context: Context) -> Router {
    Router::new()
        .route("/v1/jobs", get(list).post(apply))
        .route("/v1/jobs/{job}", get(describe))
        .route("/v1/jobs/{job}/{change}", post(change))
        .with_state(context)
}

/// A refusal as a problem document, RFC 9457.
pub(super) struct Problem {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind, title, detail: detail.into() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({
            "type": format!("urn:tidemark:problem:{}", self.kind),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        (self.status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
    }
}

impl From<Error<Refusal>> for Problem {
    fn from(error: Error<Refusal>) -> Self {
        match error {
            Error::Refused(Refusal::Unknown(why)) => {
                Self::new(StatusCode::NOT_FOUND, "no_such_job", "no such job", why)
            }
            Error::Refused(Refusal::Conflict(why)) => {
                Self::new(StatusCode::CONFLICT, "job_conflict", "it contradicts what is there", why)
            }
            Error::Log(_) | Error::Registry(_) => Self::unavailable(error.to_string()),
        }
    }
}

impl Problem {
    pub(super) fn unavailable(why: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "not available at the moment", why)
    }
}

/// A blocking call, off the executor.
pub(super) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let called = tokio::task::spawn_blocking(call).await;
    called.unwrap_or_else(|error| Err(Problem::unavailable(error.to_string())))
}

/// A file to apply.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Apply {
    /// Its name, for messages.
    #[serde(default)]
    file: Option<String>,
    /// Its text.
    spec: String,
    /// Schemas of topics that may be missing.
    #[serde(default)]
    schemas: BTreeMap<String, String>,
}

async fn apply(
    State(context): State<Context>,
    body: Result<Json<Apply>, axum::extract::rejection::JsonRejection>,
) -> Result<Response, Problem> {
    let Json(apply) = body.map_err(|error| {
        let detail = format!("{}; send {{\"spec\": \"the job file's text\"}}", error.body_text());
        Problem::new(StatusCode::BAD_REQUEST, "bad_request", "the request cannot be read", detail)
    })?;
    blocking(move || apply_blocking(&context, &apply)).await.map(IntoResponse::into_response)
}

fn apply_blocking(context: &Context, apply: &Apply) -> Result<(StatusCode, Json<Value>), Problem> {
    let file = apply.file.as_deref().unwrap_or("job.yaml");
    let mut did = make_topics(context, apply)?;
    let (entry, applied, version) = context.jobs.apply(file, &apply.spec).map_err(|error| match error {
        ApplyError::Change(error) => error.into(),
        ApplyError::Problems(problems) => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "job_file",
            "the job file is wrong; nothing was changed",
            problems.to_string(),
        ),
        ApplyError::Tests(_) => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "job_tests",
            "the job's own tests fail; nothing was changed",
            error.to_string(),
        ),
    })?;
    let name = &entry.job;
    did.push(match applied {
        Applied::Created => format!("job {name} version {version} is new, and current"),
        Applied::Version => {
            format!("job {name} version {version} runs beside version {}", entry.current.unwrap_or_default())
        }
        Applied::Settings => format!("job {name} version {version} has new settings"),
        Applied::Unchanged => format!("job {name} version {version} is unchanged"),
    });
    did.extend(wait(context, &entry));
    let status = if applied == Applied::Created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(json!({"job": name, "version": version, "current": entry.current, "did": did}))))
}

/// Waits until the job is at work here and its view is listed, and says what came of it.
fn wait(context: &Context, entry: &JobEntry) -> Vec<String> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if context.jobs.is_published(entry) {
            return vec![format!("view {} is served", entry.job)];
        }
        let failed =
            context.jobs.list().into_iter().filter(|(known, _)| known.job == entry.job).flat_map(|(_, states)| states);
        let failed: Vec<String> = failed
            .filter_map(|(state, ..)| match state {
                platform::State::Failed(why) => Some(format!("it cannot be started yet, and is tried again: {why}")),
                platform::State::Starting | platform::State::Running => None,
            })
            .collect();
        if !failed.is_empty() {
            return failed;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    vec![format!("view {} is not served yet: see GET /v1/jobs/{}", entry.job, entry.job)]
}

/// Makes the topics that are missing and whose schemas came with the file.
fn make_topics(context: &Context, apply: &Apply) -> Result<Vec<String>, Problem> {
    let unavailable = |error: &dyn std::fmt::Display| Problem::unavailable(error.to_string());
    let mut did = Vec::new();
    let root = tidemark_spec::yaml::parse(&apply.spec).ok().and_then(|root| tidemark_spec::file::read(&root).ok());
    let sources = root.iter().flat_map(|file| &file.topics).map(|topic| (topic.value.as_str(), Some(RETENTION_MS)));
    // A table is all that was ever said of its rows.
    let tables = root.iter().flat_map(|file| &file.joins).map(|join| (join.table.value.as_str(), None));
    for (topic, retention_ms) in sources.chain(tables) {
        let Some(schema) = apply.schemas.get(topic) else { continue };
        let subject = format!("{topic}-value");
        if context.registry.latest_of(&subject).map_err(|e| unavailable(&e))?.is_none() {
            tidemark_spec::source::Source::new(schema).map_err(|why| {
                Problem::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "schema",
                    "the schema is wrong",
                    format!("{topic}.avsc: {why}"),
                )
            })?;
            context.registry.register(&subject, schema).map_err(|e| unavailable(&e))?;
            did.push(format!("schema of {topic} is registered as {subject}"));
        }
        if context.log.partitions(topic).map_err(|e| unavailable(&e))?.is_none() {
            let name = topic.to_owned();
            let spec = TopicSpec { name, partitions: PARTITIONS, cleanup: Cleanup::Delete, retention_ms };
            context.log.create_topics(&[spec]).map_err(|e| unavailable(&e))?;
            let kept = retention_ms.map_or("for ever".to_owned(), duration);
            did.push(format!("topic {topic} is made: {PARTITIONS} partitions, kept {kept}"));
        }
    }
    Ok(did)
}

/// Which version is meant.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    #[serde(default)]
    version: Option<i32>,
}

async fn change(
    State(context): State<Context>,
    Path((job, change)): Path<(String, String)>,
    body: Option<Json<Change>>,
) -> Result<Json<Value>, Problem> {
    let version = body.unwrap_or_default().0.version;
    blocking(move || {
        let entry = match change.as_str() {
            "promote" => context.jobs.change(&job, |known, now| decide::promote(known, version, now))?,
            "rollback" => context.jobs.change(&job, decide::rollback)?,
            "retire" => context.jobs.retire(&job, version)?,
            other => {
                let detail = format!("a job is not changed by `{other}`; there is promote, rollback and retire");
                return Err(Problem::new(StatusCode::NOT_FOUND, "no_such_change", "no such change", detail));
            }
        };
        let mut did = vec![match (change.as_str(), version) {
            ("retire", Some(version)) => format!("version {version} of {job} is retired"),
            ("retire", None) => format!("{job} is retired"),
            _ => format!("{job} is served from version {}", entry.current.unwrap_or_default()),
        }];
        if change != "retire" {
            did.extend(who_stays(&context, &entry)?);
        }
        let began = Instant::now();
        while !context.jobs.is_published(&entry) && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Json(json!({"job": job, "current": entry.current, "previous": entry.previous, "did": did})))
    })
    .await
}

/// Readers of versions that are not current: they go on with what they read.
fn who_stays(context: &Context, entry: &JobEntry) -> Result<Vec<String>, Problem> {
    let readers = context.jobs.readers(&entry.job).map_err(|error| Problem::unavailable(error.to_string()))?;
    let current = entry.current.map(i64::from);
    let others = readers.into_iter().filter(|reader| Some(i64::from(reader.reads)) != current);
    let told = others.map(|Reader { job, version, reads }| {
        format!("{job} version {version} goes on reading version {reads}: a new version of it reads the current one")
    });
    Ok(told.collect())
}

type Version<'v> = (&'v JobVersion, &'v platform::State, Option<&'v Arc<SpecJob>>, &'v Arc<Metrics>);

async fn list(State(context): State<Context>) -> Json<Value> {
    let jobs: Vec<Value> =
        context.jobs.list().iter().map(|(entry, states)| told(entry, states, |version| summary(&version))).collect();
    Json(json!({ "jobs": jobs }))
}

async fn describe(State(context): State<Context>, Path(job): Path<String>) -> Result<Json<Value>, Problem> {
    blocking(move || {
        let jobs = context.jobs.list();
        let Some((entry, states)) = jobs.iter().find(|(entry, _)| entry.job == job) else {
            let names: Vec<&str> = jobs.iter().map(|(entry, _)| entry.job.as_str()).collect();
            let detail = format!("there is no job {job}; {}", tidemark_spec::near::advice(&job, names.iter().copied()));
            return Err(Problem::new(StatusCode::NOT_FOUND, "no_such_job", "no such job", detail));
        };
        Ok(Json(told(entry, states, |version| detail(&context, &version))))
    })
    .await
}

fn told(entry: &JobEntry, states: &[platform::Here], tell: impl Fn(Version<'_>) -> Value) -> Value {
    let versions = entry.versions.iter().zip(states);
    let versions: Vec<Value> =
        versions.map(|(version, (state, job, metrics))| tell((version, state, job.as_ref(), metrics))).collect();
    json!({
        "job": entry.job,
        "current": entry.current,
        "previous": entry.previous,
        "changed_at": rfc3339(entry.changed_at),
        "versions": versions,
    })
}

fn summary((version, state, job, metrics): &Version<'_>) -> Value {
    let (state, why) = match state {
        platform::State::Starting => ("starting", None),
        platform::State::Failed(why) => ("failed", Some(why.clone())),
        platform::State::Running => match metrics.ready() {
            Ok(()) => ("running", None),
            Err(why) => ("starting", Some(why)),
        },
    };
    json!({
        "version": version.version,
        "state": state,
        "why": why,
        "applied_at": rfc3339(version.applied_at),
        "description": job.map(|job| job.file().description.clone()),
        "sources": job.map(|job| job.spec().sources.clone()),
        "views": job.map(|job| job.views().map(|view| json!({"view": view.name, "version": view.version})).collect::<Vec<_>>()),
    })
}

fn detail(context: &Context, version: &Version<'_>) -> Value {
    let mut told = summary(version);
    let (row, _, Some(job), metrics) = version else { return told };
    let spec = job.spec();
    let Ok(plan) = platform::plan(job) else { return told };
    let status = metrics.status();
    let lag = |stage: &str| status.get("lag").and_then(|lag| lag.get(stage)).cloned();
    let partitions = |topic: &str| context.log.partitions(topic).ok().flatten();
    let reads = |topics: &[String]| -> Vec<Value> {
        topics.iter().map(|topic| json!({"topic": topic, "partitions": partitions(topic)})).collect()
    };
    let own = |topic: &String| reads(std::slice::from_ref(topic));
    let tables: BTreeSet<String> = job.tables().iter().map(|table| table.topic().to_owned()).collect();
    let what = if job.reads_views() { "the latest revision of each row" } else { "records" };
    let joins = if tables.is_empty() { "" } else { "joins each record with the tables' rows of its time; " };
    let read: Vec<String> =
        spec.sources.iter().chain(tables.iter().filter(|t| !spec.sources.contains(t))).cloned().collect();
    let window = match spec.window {
        tidemark_core::Windowing::Tumbling { size_ms } => format!("tumbling {}", duration(size_ms)),
        tidemark_core::Windowing::Hopping { size_ms, hop_ms } => {
            format!("hopping {} every {}", duration(size_ms), duration(hop_ms))
        }
        tidemark_core::Windowing::Session { gap_ms } => format!("session, gap {}", duration(gap_ms)),
    };
    let stages = json!([
        {
            "stage": "partial", "group": plan.group("partial"), "lag": lag("partial"),
            "does": format!("{joins}folds {what} by {} within a partition; decides what is late", spec.key.join(", ")),
            "reads": reads(&read), "writes": [plan.partials, plan.late, plan.dead_letter],
        },
        {
            "stage": "merge", "group": plan.group("merge"), "lag": lag("merge"),
            "does": "puts the partials of a key together; closes and seals windows",
            "reads": own(&plan.partials), "writes": [plan.view, plan.changelog],
            "state": format!("{} in memory and on disk, changelog {}", rows(metrics), plan.changelog),
        },
        {
            "stage": "view-writer", "group": plan.group("view-writer"), "lag": lag("view-writer"),
            "does": "writes rows and ledger into the view store",
            "reads": own(&plan.view), "writes": [format!("table {}", job.columns().view.name)],
        },
    ]);
    if let Some(told) = told.as_object_mut() {
        told.insert("window".into(), window.into());
        let views =
            if job.reads_views() && !job.file().grace_given { ", until the windows of the view are final" } else { "" };
        told.insert("grace".into(), format!("{}{views}", duration(spec.grace_ms)).into());
        told.insert(
            "late".into(),
            format!("{:?} for {}", spec.late, duration(spec.amend_for_ms)).to_lowercase().into(),
        );
        told.insert("stages".into(), stages);
        told.insert("spec".into(), row.spec.clone().into());
    }
    told
}

fn rows(metrics: &Metrics) -> String {
    let mut text = String::new();
    metrics.render(&mut text);
    let rows = text
        .lines()
        .filter_map(|line| line.strip_prefix("tidemark_state_rows{")?.split(' ').nth(1)?.parse::<i64>().ok());
    format!("{} rows of open windows", rows.sum::<i64>())
}
