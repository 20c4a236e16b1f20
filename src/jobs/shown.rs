//! What `/v1/jobs` says of jobs.

use super::http::{BuiltIn, Context};
use futures::StreamExt;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidemark_core::Job;
use tidemark_jobs::platform::{self, State};
use tidemark_runtime::metrics::Thread;
use tidemark_runtime::{Metrics, Plan};
use tidemark_schemas::jobs::{JobEntry, JobVersion};
use tidemark_spec::SpecJob;
use tidemark_spec::instant::{duration, rfc3339};
use tidemark_views::{ViewSpec, ViewStore};

/// So many views are asked for their dead letters at a time.
const ASKED_AT_ONCE: usize = 16;

/// A version, and what it does in this process.
type Version<'v> = (&'v JobVersion, &'v State, Option<&'v Arc<SpecJob>>, &'v Arc<Metrics>);

/// Dead letters since each version began, by job and version; none of those whose view cannot be read now.
pub(super) type DeadLetters = BTreeMap<(String, i32), i64>;

/// Every job that is here, be it only what is left of it.
pub(super) fn known(context: &Context) -> Vec<(JobEntry, Vec<platform::Here>)> {
    let mut jobs = context.jobs.list();
    jobs.extend(context.jobs.retiring().into_iter().map(|entry| (entry, vec![])));
    jobs
}

/// Asks the views.
pub(super) async fn dead_letters(views: &dyn ViewStore, jobs: &[(JobEntry, Vec<platform::Here>)]) -> DeadLetters {
    let mut versions: Vec<((String, i32), Arc<SpecJob>)> = Vec::new();
    for (entry, states) in jobs {
        for (version, (_, job, _)) in entry.versions.iter().zip(states) {
            versions.extend(job.clone().map(|job| ((entry.job.clone(), version.version), job)));
        }
    }
    let asked = futures::stream::iter(versions)
        .map(|(id, job)| async move { Some((id, dead_lettered(views, &job.columns().view).await?)) });
    asked.buffered(ASKED_AT_ONCE).filter_map(std::future::ready).collect().await
}

/// Dead letters of a view's version.
async fn dead_lettered(views: &dyn ViewStore, view: &ViewSpec) -> Option<i64> {
    let progress = views.progress(view).await.ok()?;
    // Each merge partition has the counts of every source partition, some later than others.
    let mut counts: BTreeMap<(&str, i32), i64> = BTreeMap::new();
    for source in progress.iter().flat_map(|progress| &progress.sources) {
        let count = counts.entry((&source.topic, source.partition)).or_default();
        *count = source.dead_lettered.max(*count);
    }
    Some(counts.values().sum())
}

/// A job, each of its versions by `tell`.
pub(super) fn told(entry: &JobEntry, states: &[platform::Here], tell: impl Fn(Version<'_>) -> Value) -> Value {
    let versions = entry.versions.iter().zip(states);
    let versions: Vec<Value> =
        versions.map(|(version, (state, job, metrics))| tell((version, state, job.as_ref(), metrics))).collect();
    let retiring = entry.retiring.iter().map(|gone| {
        json!({"version": gone.version, "retired_at": rfc3339(gone.retired_at), "by": gone.replica, "topics": gone.topics})
    });
    json!({
        "job": entry.job,
        "current": entry.current,
        "previous": entry.previous,
        "changed_at": rfc3339(entry.changed_at),
        "versions": versions,
        "retiring": retiring.collect::<Vec<_>>(),
    })
}

/// The state in a word, and why.
fn state(state: &State, metrics: &Metrics) -> (&'static str, Option<String>) {
    match state {
        State::Starting => ("starting", None),
        State::Failed(why) => ("failed", Some(format!("{why}; it is tried again"))),
        State::Stopped(why) => ("stopped", Some(why.clone())),
        State::Running => match metrics.ready() {
            Ok(()) => ("running", None),
            Err(why) => {
                let retries = metrics.threads().iter().any(|(_, thread)| matches!(thread, Thread::Retrying(_)));
                (if retries { "retrying" } else { "starting" }, Some(why))
            }
        },
    }
}

/// A version in short.
pub(super) fn summary(job: &str, (version, here, compiled, metrics): &Version<'_>, letters: &DeadLetters) -> Value {
    let (state, why) = state(here, metrics);
    json!({
        "version": version.version,
        "state": state,
        "why": why,
        "applied_at": rfc3339(version.applied_at),
        "description": compiled.map(|job| job.file().description.clone()),
        "sources": compiled.map(|job| job.spec().sources.clone()),
        "views": compiled.map(|job| job.views().map(|view| json!({"view": view.name, "version": view.version})).collect::<Vec<_>>()),
        "dead_lettered": letters.get(&(job.to_owned(), version.version)),
    })
}

/// A version with its stages.
pub(super) fn detail(context: &Context, job: &str, version: &Version<'_>, letters: &DeadLetters) -> Value {
    let mut told = summary(job, version, letters);
    let (row, _, Some(compiled), metrics) = version else { return told };
    Made::of(compiled, metrics).add_to(context, &mut told);
    if let Some(told) = told.as_object_mut() {
        told.insert("spec".into(), row.spec.clone().into());
    }
    told
}

/// A job of the platform itself.
pub(super) async fn built_in(context: &Context, own: &BuiltIn) -> Value {
    let head = own.job.head();
    let dead_lettered = dead_lettered(context.views.as_ref(), &head.columns().view).await;
    let (state, why) = state(&State::Running, &own.metrics);
    let mut version = json!({
        "version": head.spec().version,
        "state": state,
        "why": why,
        "description": format!("{} Comes with the platform; it is set in its configuration.", head.file().description),
        "sources": head.spec().sources,
        "dead_lettered": dead_lettered,
    });
    let (asked, own) = (context.clone(), own.clone());
    let told = tokio::task::spawn_blocking(move || {
        let head = own.job.head();
        Made::of(head, &own.metrics).add_to(&asked, &mut version);
        let (name, current) = (&head.spec().name, head.spec().version);
        json!({"job": name, "built_in": true, "current": current, "previous": null, "versions": [version], "retiring": []})
    });
    told.await.unwrap_or_default()
}

/// What the stages of a version are made of.
struct Made<'o> {
    job: &'o SpecJob,
    tables: BTreeSet<String>,
    metrics: &'o Metrics,
}

impl<'o> Made<'o> {
    fn of(job: &'o SpecJob, metrics: &'o Metrics) -> Self {
        let tables = job.tables().iter().map(|table| table.topic().to_owned()).collect();
        Self { job, tables, metrics }
    }

    fn add_to(&self, context: &Context, told: &mut Value) {
        let spec = self.job.spec();
        let Ok(plan) = Plan::new(spec.clone()) else { return };
        let window = match spec.window {
            tidemark_core::Windowing::Tumbling { size_ms } => format!("tumbling {}", duration(size_ms)),
            tidemark_core::Windowing::Hopping { size_ms, hop_ms } => {
                format!("hopping {} every {}", duration(size_ms), duration(hop_ms))
            }
            tidemark_core::Windowing::Session { gap_ms } => format!("session, gap {}", duration(gap_ms)),
        };
        let late = format!("{:?} for {}", spec.late, duration(spec.amend_for_ms)).to_lowercase();
        let stages = self.stages(context, &plan);
        let views = self.job.reads_views() && !self.job.file().grace_given;
        let views = if views { ", until the windows of the view are final" } else { "" };
        if let Some(told) = told.as_object_mut() {
            told.insert("window".into(), window.into());
            told.insert("grace".into(), format!("{}{views}", duration(spec.grace_ms)).into());
            told.insert("late".into(), late.into());
            told.insert("dead_letter_topic".into(), plan.dead_letter.into());
            told.insert("stages".into(), stages);
        }
    }

    fn stages(&self, context: &Context, plan: &Plan) -> Value {
        let Self { job, tables, metrics } = self;
        let (spec, view, status) = (job.spec(), &job.columns().view, metrics.status());
        let what = if job.reads_views() { "the latest revision of each row" } else { "records" };
        let lag = |stage: &str| status.get("lag").and_then(|lag| lag.get(stage)).cloned();
        let partitions = |topic: &str| context.log.partitions(topic).ok().flatten();
        let reads = |topics: &[String]| -> Vec<Value> {
            topics.iter().map(|topic| json!({"topic": topic, "partitions": partitions(topic)})).collect()
        };
        let own = |topic: &String| reads(std::slice::from_ref(topic));
        let joins = if tables.is_empty() { "" } else { "joins each record with the tables' rows of its time; " };
        let read: Vec<String> =
            spec.sources.iter().chain(tables.iter().filter(|t| !spec.sources.contains(t))).cloned().collect();
        json!([
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
                "reads": own(&plan.view), "writes": [format!("table {}", view.name)],
            },
        ])
    }
}

fn rows(metrics: &Metrics) -> String {
    let mut text = String::new();
    metrics.render(&mut text);
    let rows = text
        .lines()
        .filter_map(|line| line.strip_prefix("tidemark_state_rows{")?.split(' ').nth(1)?.parse::<i64>().ok());
    format!("{} rows that can still change", rows.sum::<i64>())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use tidemark_schemas::jobs::JobRetiring;

    #[test]
    fn what_is_being_removed_is_told() {
        let (topics, groups) = (vec!["tidemark.a.v1.partials".to_owned()], vec![]);
        let replica = Some("r".to_owned());
        let gone =
            JobRetiring { version: 1, retired_at: 1_000, topics, groups, table: "a_v1".into(), replica, until: 0 };
        let entry = JobEntry {
            job: "a".into(),
            changed_at: 0,
            current: None,
            previous: None,
            versions: vec![],
            retiring: vec![gone],
        };
        let told = told(&entry, &[], |_| Value::Null);
        let expected = json!([{"version": 1, "retired_at": "1970-01-01T00:00:01Z", "by": "r", "topics": ["tidemark.a.v1.partials"]}]);
        assert_eq!(told.get("retiring"), Some(&expected));
        let listed = crate::jobs::manage::listed(&json!({ "jobs": [told] }));
        let words: Vec<&str> = listed.iter().flat_map(|line| line.split_whitespace()).collect();
        assert!(words.join(" ").contains("a 1 retiring since 1970-01-01T00:00:01Z"), "{listed:?}");
    }
}
