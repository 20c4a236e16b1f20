//! `POST /v1/jobs/{job}/recompute`: a view's figures computed again from their source offsets, and compared; with `/write`
//! behind it, what differs is written. That is a route of its own since it takes the role that applies jobs.
//!
//! The answer is NDJSON, a line for each step: `{"progress": …}` some times a second, and in the end one `{"report": …}` or
//! `{"error": "…"}`. Whoever hangs up ends the work.

use crate::jobs::http::{Problem, blocking};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemark_core::Job;
use tidemark_jobs::hosted::{Ground, Hosted};
use tidemark_jobs::platform::Jobs;
use tidemark_jobs::recompute::{Progress, Request};
use tidemark_log::{Clock, Log};
use tidemark_schemas::registry::Registry;
use tidemark_spec::instant;
use tidemark_views::ViewStore;
use tokio::sync::{Semaphore, mpsc};

/// So many run at once: each reads the log as fast as it can.
const RUNS_MAX: usize = 2;
/// Lines that wait for a slow reader; progress beyond that is left out.
const LINES_MAX: usize = 16;
/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(250);

/// What the route works on.
#[derive(Clone)]
pub struct Context {
    /// The jobs that were applied.
    pub jobs: Arc<Jobs>,
    /// Those that are built in.
    pub built_in: Vec<Arc<dyn Hosted>>,
    /// Has the source topics.
    pub log: Arc<dyn Log>,
    /// Has their schemas.
    pub registry: Arc<dyn Registry>,
    /// Has the views.
    pub views: Arc<dyn ViewStore>,
    /// Time.
    pub clock: Clock,
}

/// The routes.
pub fn router(context: Context) -> Router {
    let runs = Arc::new(Semaphore::new(RUNS_MAX));
    Router::new()
        .route("/v1/jobs/{job}/recompute", post(compare))
        .route("/v1/jobs/{job}/recompute/write", post(write))
        .with_state((context, runs))
}

/// What is asked.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    /// Windows that start at or after it: RFC 3339, or milliseconds.
    #[serde(default)]
    from: Option<Value>,
    /// Windows that start before it.
    #[serde(default)]
    to: Option<Value>,
    /// The window that starts then.
    #[serde(default)]
    window: Option<Value>,
    /// A version; else the current one.
    #[serde(default)]
    version: Option<i32>,
    /// Late records too that the streamed figure leaves out.
    #[serde(default)]
    include_late: bool,
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_request", "the request cannot be used", detail)
}

impl Ask {
    fn request(&self, write: bool) -> Result<Request, Problem> {
        let time = |name: &str, value: &Option<Value>| match value {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let ms = value.as_i64().or_else(|| instant::parse(value.as_str()?));
                ms.map(Some).ok_or_else(|| {
                    bad(format!("`{name}` is {value}; write RFC 3339, as 2026-01-01T00:00:00Z, or milliseconds"))
                })
            }
        };
        let (from, to, window) = (time("from", &self.from)?, time("to", &self.to)?, time("window", &self.window)?);
        let include_late = self.include_late;
        match (window, from, to) {
            (Some(start), None, None) => {
                Ok(Request { from: Some(start), to: Some(start.saturating_add(1)), include_late, write })
            }
            (Some(_), _, _) => Err(bad("`window` is one window; leave `from` and `to` out")),
            (None, Some(from), Some(to)) if from >= to => Err(bad("`from` is not before `to`")),
            (None, from, to) => Ok(Request { from, to, include_late, write }),
        }
    }
}

fn find(context: &Context, name: &str, version: Option<i32>) -> Result<Arc<dyn Hosted>, Problem> {
    let unknown = |detail: String| Problem::new(StatusCode::NOT_FOUND, "no_such_job", "no such job", detail);
    if let Some(job) = context.built_in.iter().find(|job| job.head().spec().name == name) {
        let own = job.head().spec().version as i32;
        return match version.filter(|version| *version != own) {
            None => Ok(Arc::clone(job)),
            Some(other) => Err(unknown(format!("{name} has no version {other}; it has {own}"))),
        };
    }
    let jobs = context.jobs.list();
    let Some((entry, states)) = jobs.iter().find(|(entry, _)| entry.job == name) else {
        let built_in = context.built_in.iter().map(|job| job.head().spec().name.as_str());
        let names = jobs.iter().map(|(entry, _)| entry.job.as_str()).chain(built_in);
        return Err(unknown(format!("there is no job {name}; {}", tidemark_spec::near::advice(name, names))));
    };
    let newest = entry.versions.iter().map(|there| there.version).max();
    let wanted = version.or(entry.current).or(newest).unwrap_or_default();
    let Some((_, (_, job, _))) = entry.versions.iter().zip(states).find(|(there, _)| there.version == wanted) else {
        let known: Vec<String> = entry.versions.iter().map(|there| there.version.to_string()).collect();
        return Err(unknown(format!("{name} has no version {wanted}; it has {}", known.join(", "))));
    };
    let starting =
        || Problem::unavailable(format!("version {wanted} of {name} does not run here yet; try again in a moment"));
    job.clone().map(|job| job as Arc<dyn Hosted>).ok_or_else(starting)
}

type Shared = (Context, Arc<Semaphore>);

async fn compare(State(shared): State<Shared>, Path(job): Path<String>, body: Bytes) -> Result<Response, Problem> {
    recompute(shared, job, body, false).await
}

async fn write(State(shared): State<Shared>, Path(job): Path<String>, body: Bytes) -> Result<Response, Problem> {
    recompute(shared, job, body, true).await
}

async fn recompute((context, runs): Shared, job: String, body: Bytes, write: bool) -> Result<Response, Problem> {
    let ask: Ask = if body.is_empty() {
        Ask::default()
    } else {
        serde_json::from_slice(&body).map_err(|error| {
            bad(format!("{error}; send {{\"window\": \"…\"}} or {{\"from\": \"…\", \"to\": \"…\"}}"))
        })?
    };
    let request = ask.request(write)?;
    let permit = runs.try_acquire_owned().map_err(|_| {
        Problem::unavailable(format!("{RUNS_MAX} recomputations run already; try again when one is done"))
    })?;
    let (of, asked) = (context.clone(), job.clone());
    let found = blocking(move || find(&of, &asked, ask.version)).await?;
    let (lines, reader) = mpsc::channel::<String>(LINES_MAX);
    let handle = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let last = run(&context, handle, found.as_ref(), request, &lines);
        // Nobody reads any more: nothing is to be told.
        let _ = lines.blocking_send(format!("{last}\n"));
        drop(permit);
    });
    let stream = futures::stream::unfold(reader, |mut reader| async move {
        let line = reader.recv().await?;
        Some((Ok::<_, Infallible>(line), reader))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(stream)).into_response())
}

/// Does it, and gives the last line.
fn run(
    context: &Context,
    handle: tokio::runtime::Handle,
    job: &dyn Hosted,
    request: Request,
    lines: &mpsc::Sender<String>,
) -> Value {
    let (log, views) = (context.log.as_ref(), context.views.as_ref());
    let (registry, now) = (Arc::clone(&context.registry), (context.clock)());
    let mut told = Instant::now();
    let mut on_progress = |progress: Progress| {
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            let _ = lines.try_send(format!("{}\n", json!({"progress": say(progress)})));
        }
        !lines.is_closed()
    };
    match job.recompute(Ground { log, registry, views, handle, now }, request, &mut on_progress) {
        Ok(report) => json!({"report": report.json(&job.head().columns().view)}),
        Err(error) => json!({"error": error.to_string()}),
    }
}

fn say(progress: Progress) -> Value {
    let Progress { windows_done, windows, records, offsets_done, offsets } = progress;
    json!({
        "windows_done": windows_done,
        "windows": windows,
        "records": records,
        "offsets_done": offsets_done,
        "offsets": offsets,
    })
}
