//! `/v1/jobs`: the jobs of this platform, looked at and changed.

use super::{change, made, shown};
use axum::extract::{Path, State as Extract};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemark_core::Job;
use tidemark_jobs::decide::{Applied, Refusal};
use tidemark_jobs::directory::Error;
use tidemark_jobs::hosted::Hosted;
use tidemark_jobs::platform::{self, ApplyError, Jobs, Sent, State};
use tidemark_jobs::sources;
use tidemark_log::Log;
use tidemark_runtime::Metrics;
use tidemark_schemas::jobs::JobEntry;
use tidemark_schemas::registry::Registry;
use tidemark_views::ViewStore;

/// How long an answer waits for a job to be at work, or for a switch to be in the catalogue of views.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// How long it waits for stages that join their groups, once the view is listed.
const JOINING: Duration = Duration::from_secs(5);
/// How often it looks.
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// What the routes work on.
#[derive(Clone)]
pub struct Context {
    /// The jobs.
    pub jobs: Arc<Jobs>,
    /// Those that are built in.
    pub built_in: Vec<BuiltIn>,
    /// Has the topics.
    pub log: Arc<dyn Log>,
    /// Has their schemas.
    pub registry: Arc<dyn Registry>,
    /// Has the views.
    pub views: Arc<dyn ViewStore>,
}

/// A job of the platform itself.
#[derive(Clone)]
pub struct BuiltIn {
    /// The job.
    pub job: Arc<dyn Hosted>,
    /// How it does.
    pub metrics: Arc<Metrics>,
}

/// The routes.
pub fn router(context: Context) -> Router {
    Router::new()
        .route("/v1/jobs", get(list).post(apply))
        .route("/v1/jobs/{job}", get(describe))
        .route("/v1/jobs/{job}/{change}", post(change::change))
        .with_state(context)
}

/// A refusal as a problem document, RFC 9457.
pub(crate) struct Problem {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
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

impl From<ApplyError> for Problem {
    fn from(error: ApplyError) -> Self {
        let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
        match error {
            ApplyError::Change(error) => error.into(),
            ApplyError::Problems(problems) => {
                let title = "the job file is wrong; nothing was changed";
                Self::new(unprocessable, "job_file", title, problems.to_string())
            }
            ApplyError::Schema(why) => {
                Self::new(unprocessable, "schema", "a schema is wrong; nothing was changed", why)
            }
            ApplyError::Unavailable(why) => Self::unavailable(why),
            ApplyError::Tests(_) => {
                let title = "the job's own tests fail; nothing was changed";
                Self::new(unprocessable, "job_tests", title, error.to_string())
            }
        }
    }
}

impl Problem {
    pub(crate) fn unavailable(why: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "not available at the moment", why)
    }
}

/// A blocking call, off the executor.
pub(crate) async fn blocking<T: Send + 'static>(
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
    /// Only say what would be done, or what is wrong; nothing is changed.
    #[serde(default)]
    check: bool,
    /// With `check`: files that are applied before it, in their order; it may read their views.
    #[serde(default)]
    before: Vec<Before>,
}

/// A file that is applied before another.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Before {
    /// Its text.
    spec: String,
    /// Schemas of topics that may be missing.
    #[serde(default)]
    schemas: BTreeMap<String, String>,
}

async fn apply(
    Extract(context): Extract<Context>,
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
    let sent = Sent { name: file, text: &apply.spec, schemas: &apply.schemas };
    if apply.check {
        let before = apply.before.iter().map(|file| Sent { name: "", text: &file.spec, schemas: &file.schemas });
        let (entry, applied, version) = context.jobs.check(sent, &before.collect::<Vec<_>>())?;
        let answer = json!({"job": entry.job, "version": version, "applied": word(applied), "did": []});
        return Ok((StatusCode::OK, Json(answer)));
    }
    // Everything that can be refused is refused before anything is made.
    context.jobs.check(sent, &[])?;
    let proposals = sources::proposals(&context.jobs.registered(), &apply.spec, &apply.schemas)?;
    let (mut did, notes) = made::make(context, &proposals)?;
    let (entry, applied, version) = context.jobs.apply(file, &apply.spec)?;
    let name = &entry.job;
    did.push(match applied {
        Applied::Created => format!("job {name} version {version} is new, and current"),
        Applied::Version => {
            format!("job {name} version {version} runs beside version {}", entry.current.unwrap_or_default())
        }
        Applied::Settings => format!("job {name} version {version} has new settings"),
        Applied::Unchanged => format!("job {name} version {version} is unchanged"),
    });
    let trouble = wait(context, &entry, version, &mut did);
    let status = if applied == Applied::Created { StatusCode::CREATED } else { StatusCode::OK };
    let (applied, current) = (word(applied), entry.current);
    let answer = json!({
        "job": name, "version": version, "applied": applied, "current": current,
        "did": did, "notes": notes, "trouble": trouble,
    });
    Ok((status, Json(answer)))
}

fn word(applied: Applied) -> &'static str {
    match applied {
        Applied::Created => "new",
        Applied::Version => "a new version",
        Applied::Settings => "new settings",
        Applied::Unchanged => "unchanged",
    }
}

/// Waits until the version is at work here and its view is listed, and says what came of it; gives the reason when it is not at
/// work, and will not be by waiting.
fn wait(context: &Context, entry: &JobEntry, version: u32, did: &mut Vec<String>) -> Option<String> {
    let (job, began) = (&entry.job, Instant::now());
    let mut why = "it is starting".to_owned();
    while began.elapsed() < PATIENCE {
        let jobs = context.jobs.list();
        let here = jobs.iter().find(|(known, _)| known.job == *job && known.changed_at >= entry.changed_at);
        let here = here.and_then(|(known, states)| {
            let at = known.versions.iter().position(|there| u32::try_from(there.version) == Ok(version))?;
            states.get(at)
        });
        let at_work = match here {
            Some((State::Failed(why), ..)) => return Some(format!("{why}; it is tried again")),
            Some((State::Stopped(why), ..)) => return Some(why.clone()),
            Some((State::Running, _, metrics)) if metrics.threads().is_empty() => Err("it is starting".to_owned()),
            Some((State::Running, _, metrics)) => metrics.ready(),
            Some((State::Starting, ..)) | None => Err("it is starting".to_owned()),
        };
        let listed = context.jobs.is_published(entry);
        match at_work {
            Ok(()) if listed => {
                did.push(format!("view {job} is served"));
                return None;
            }
            Err(why) if listed && began.elapsed() > JOINING => {
                did.push(format!("view {job} is served; version {version} is not at work yet: {why}"));
                return None;
            }
            Ok(()) => "the catalogue of views does not have it yet".clone_into(&mut why),
            Err(reason) => why = reason,
        }
        std::thread::sleep(LOOK);
    }
    Some(format!("its view is not served after {} s: {why}; see GET /v1/jobs/{job}", PATIENCE.as_secs()))
}

async fn list(Extract(context): Extract<Context>) -> Json<Value> {
    let jobs = shown::known(&context);
    let letters = shown::dead_letters(context.views.as_ref(), &jobs).await;
    let tell = |(entry, states): &(JobEntry, Vec<platform::Here>)| {
        shown::told(entry, states, |version| shown::summary(&entry.job, &version, &letters))
    };
    let jobs: Vec<Value> = jobs.iter().map(tell).collect();
    Json(json!({ "jobs": jobs }))
}

async fn describe(Extract(context): Extract<Context>, Path(job): Path<String>) -> Result<Json<Value>, Problem> {
    if let Some(own) = context.built_in.iter().find(|own| own.job.head().spec().name == job) {
        return Ok(Json(shown::built_in(&context, own).await));
    }
    let jobs = shown::known(&context);
    let Some(at) = jobs.iter().position(|(entry, _)| entry.job == job) else {
        let own = context.built_in.iter().map(|own| own.job.head().spec().name.as_str());
        let names = jobs.iter().map(|(entry, _)| entry.job.as_str()).chain(own);
        let detail = format!("there is no job {job}; {}", tidemark_spec::near::advice(&job, names));
        return Err(Problem::new(StatusCode::NOT_FOUND, "no_such_job", "no such job", detail));
    };
    let letters = shown::dead_letters(context.views.as_ref(), jobs.get(at..=at).unwrap_or_default()).await;
    blocking(move || {
        let told = jobs.get(at).map(|(entry, states)| {
            shown::told(entry, states, |version| shown::detail(&context, &job, &version, &letters))
        });
        Ok(Json(told.unwrap_or_default()))
    })
    .await
}
