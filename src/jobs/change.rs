//! A job is promoted, rolled back or retired: what is asked for, and whether readers lose nothing by it.

use super::http::{Context, LOOK, PATIENCE, Problem, blocking};
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State as Extract};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tidemark_jobs::decide::views::Reader;
use tidemark_jobs::decide::{self, Standing};
use tidemark_jobs::directory::Error;
use tidemark_jobs::platform::{self, State};
use tidemark_schemas::jobs::JobEntry;

/// No process reads by a catalogue of views that is older.
const CATALOG_AGE: Duration = Duration::from_secs(1);
/// What to change.
#[derive(Debug, Default, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    /// The version that is promoted, the newest unless it is said; or the one that is retired.
    #[serde(default)]
    version: Option<i32>,
    /// All versions are retired, and the job with them.
    #[serde(default)]
    all: bool,
    /// Promoted even if it is not at work or has much still to read.
    #[serde(default)]
    force: bool,
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_request", "the request cannot be used", detail)
}

/// The body as it is, whatever its content type says: what is asked for is never taken for something else.
fn read_change(change: &str, body: &[u8]) -> Result<Change, Problem> {
    let fix = match change {
        "retire" => r#"send {"version": N}, or {"all": true} for the whole job"#,
        "rollback" => "send {}: it goes back to the version that was current before",
        _ => r#"send {"version": N}, or {} for the newest"#,
    };
    let text = body.trim_ascii();
    let asked = match text.first() {
        None => Change::default(),
        Some(b'{') => serde_json::from_slice(text).map_err(|error| bad(format!("{error}; {fix}")))?,
        Some(_) => return Err(bad(format!("the body is no JSON object; {fix}"))),
    };
    let Change { version, all, force } = asked;
    let sound = match change {
        "retire" => version.is_some() != all && !force,
        "rollback" => version.is_none() && !all && !force,
        _ => !all,
    };
    if sound { Ok(asked) } else { Err(bad(fix)) }
}

pub(super) async fn change(
    Extract(context): Extract<Context>,
    Path((job, change)): Path<(String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    if !["promote", "rollback", "retire"].contains(&change.as_str()) {
        let detail = format!("a job is not changed by `{change}`; there is promote, rollback and retire");
        return Err(Problem::new(StatusCode::NOT_FOUND, "no_such_change", "no such change", detail));
    }
    let body = body.map_err(|error| {
        Problem::new(error.status(), "bad_request", "the request cannot be read", error.body_text())
    })?;
    let asked = read_change(&change, &body)?;
    blocking(move || change_blocking(&context, &job, &change, asked)).await
}

fn change_blocking(context: &Context, job: &str, change: &str, asked: Change) -> Result<Json<Value>, Problem> {
    let Change { version, all, force } = asked;
    let before =
        context.jobs.list().into_iter().find(|(entry, _)| entry.job == job).and_then(|(entry, _)| entry.current);
    let entry = match change {
        "promote" => {
            if !force {
                may_promote(context, job, version)?;
            }
            context.jobs.change(job, |known, now| decide::promote(known, version, now))?
        }
        "rollback" => context.jobs.change(job, decide::rollback)?,
        _ => context.jobs.retire(job, version.filter(|_| !all))?,
    };
    let (current, previous) = (entry.current.unwrap_or_default(), entry.previous);
    let back = previous.map(|previous| format!("; `rollback` goes to version {previous}")).unwrap_or_default();
    let mut did = vec![match (change, version) {
        ("retire", Some(version)) => format!("version {version} of {job} is retired"),
        ("retire", None) => format!("{job} is retired"),
        _ if before == entry.current => format!("{job} is served from version {current}, as before{back}"),
        _ => format!("{job} is served from version {current}{back}"),
    }];
    if change != "retire" {
        did.extend(who_stays(context, &entry)?);
    }
    let began = Instant::now();
    while !context.jobs.is_published(&entry) && began.elapsed() < PATIENCE {
        std::thread::sleep(LOOK);
    }
    let trouble = (!context.jobs.is_published(&entry)).then(|| {
        let seconds = PATIENCE.as_secs();
        format!(
            "it is written, but the catalogue of views does not have it after {seconds} s; it is tried again, and readers see \
             what was before until then"
        )
    });
    if trouble.is_none() && change != "retire" && before != entry.current {
        // Whoever asks after this answer gets the other version, wherever it is that he asks.
        std::thread::sleep(CATALOG_AGE);
    }
    let answer =
        json!({"job": job, "current": entry.current, "previous": entry.previous, "did": did, "trouble": trouble});
    Ok(Json(answer))
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

/// Refuses to promote what readers would lose by.
fn may_promote(context: &Context, job: &str, version: Option<i32>) -> Result<(), Problem> {
    let jobs = context.jobs.list();
    // One that is not there is told by the change itself.
    let Some((entry, states)) = jobs.iter().find(|(entry, _)| entry.job == job) else { return Ok(()) };
    let version = decide::promoted(entry, version).map_err(Error::Refused)?;
    if entry.current == Some(version) {
        return Ok(());
    }
    let here = |wanted: Option<i32>| {
        let at = entry.versions.iter().position(|there| Some(there.version) == wanted)?;
        states.get(at)
    };
    let lag = |here: Option<&platform::Here>| {
        let plan = platform::plan(here?.1.as_ref()?).ok()?;
        plan.lag(context.log.as_ref()).ok()
    };
    let wanted = here(Some(version));
    let trouble = match wanted {
        Some((State::Failed(why) | State::Stopped(why), ..)) => Some(why.clone()),
        Some((State::Running, _, metrics)) => metrics.ready().err(),
        Some((State::Starting, ..)) | None => Some("it is starting".to_owned()),
    };
    let standing = Standing { trouble, lag: lag(wanted), lag_of_current: lag(here(entry.current)) };
    Ok(decide::may_serve(job, version, &standing).map_err(Error::Refused)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn read(change: &str, body: &str) -> Option<(Option<i32>, bool, bool)> {
        let asked = read_change(change, body.as_bytes()).ok()?;
        Some((asked.version, asked.all, asked.force))
    }

    /// Nothing but a clear word retires a whole job.
    #[test]
    fn what_is_retired_is_said() {
        assert_eq!(read("retire", r#"{"version":3}"#), Some((Some(3), false, false)));
        assert_eq!(read("retire", r#" {"all": true} "#), Some((None, true, false)));
        let refused = [
            "",
            " ",
            "{}",
            "null",
            "[]",
            "[3]",
            "[null,true]",
            "3",
            "true",
            r#"{"version":null}"#,
            r#"{"all":false}"#,
            r#"{"version":3,"all":true}"#,
            r#"{"version":"3"}"#,
            r#"{"versoin":3}"#,
            r#"{"version":3} {"all":true}"#,
            "version=3",
            r#"{"version":3,"force":true}"#,
            r#"{"version":4294967296}"#,
            "\u{feff}{}",
            r#"{"version":1,"version":2}"#,
        ];
        for body in refused {
            assert_eq!(read("retire", body), None, "{body}");
        }
    }

    #[test]
    fn promote_and_rollback_take_what_they_know() {
        assert_eq!(read("promote", ""), Some((None, false, false)));
        assert_eq!(read("promote", r#"{"version":2,"force":true}"#), Some((Some(2), false, true)));
        assert_eq!(read("promote", r#"{"version":null}"#), Some((None, false, false)));
        assert_eq!((read("promote", r#"{"all":true}"#), read("promote", "[2]")), (None, None));
        assert_eq!(
            (read("rollback", ""), read("rollback", "{}")),
            (Some((None, false, false)), Some((None, false, false)))
        );
        for body in [r#"{"version":1}"#, r#"{"all":true}"#, r#"{"force":true}"#, "x"] {
            assert_eq!(read("rollback", body), None, "{body}");
        }
    }
}
