//! `GET /v1/progress`: the way of the records in numbers, and what keeps the oldest open hour open.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use serde::Serialize;
use tidemark_core::watermark::effective;
use tidemark_schemas::engine::{Progress, SourceProgress};
use utoipa::ToSchema;

use crate::Api;
use crate::facts::{Counts, Facts};
use crate::instant::{self, HOUR_MS};
use crate::params::Params;
use crate::problem::Problem;
use crate::state::{self, State as WindowState};

/// How far the view has come, and what became of the records. The four stages follow each other; what is lost between two of
/// them is under `dropped`, by reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProgressAnswer {
    /// Processing time up to which everything read is in, RFC 3339; null before the first record.
    pub as_of: Option<String>,
    /// Lowest watermark of all merge partitions, RFC 3339; null while one has none.
    pub watermark: Option<String>,
    /// Milliseconds from the watermark to now; null without a watermark.
    pub watermark_delay_ms: Option<i64>,
    /// Milliseconds that an hour stays open after its end, by event time.
    pub grace_ms: i64,
    /// Records read from the source topics since the job version began.
    pub received: i64,
    /// Of these, well-formed: not dead-lettered.
    pub accepted: i64,
    /// Of these, in the sums: not filtered, held, sealed out or repeated.
    pub folded: i64,
    /// Records in the rows that can be read now; less than folded once rows have passed their retention.
    pub served: i64,
    /// Records that came late and are in the sums.
    pub late_folded: i64,
    /// What did not get into the sums.
    pub dropped: Dropped,
    /// By topic and partition.
    pub sources: Vec<SourceCounts>,
    /// By merge partition.
    pub merge_partitions: Vec<MergeProgress>,
    /// Why the oldest open hour is still open; null if none is.
    pub holding: Option<Holding>,
}

/// Records that are not in the sums, by reason. All of them are kept on the late and dead-letter topics but the filtered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct Dropped {
    /// Could not be read or may not be counted.
    pub dead_lettered: i64,
    /// Repeats of a record, by a job that counts them once.
    pub duplicates: i64,
    /// Taken out by the job's `where`.
    pub filtered: i64,
    /// Late, under policy `hold`.
    pub held: i64,
    /// Came after their hour was sealed.
    pub sealed_out: i64,
}

/// One source partition, as merge partition 0 knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SourceCounts {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Every record below it is folded.
    pub next_offset: i64,
    /// Highest event time accepted, RFC 3339.
    pub watermark: Option<String>,
    /// When it was last found read to its end, RFC 3339; null while records come.
    pub idle_at: Option<String>,
    /// Records read.
    pub records: i64,
    /// Late and folded.
    pub late: i64,
    /// Late and not folded.
    pub held: i64,
    /// Taken out by the job's `where`.
    pub filtered: i64,
    /// Dead-lettered.
    pub dead_lettered: i64,
    /// Repeats, counted once.
    pub duplicates: i64,
}

/// How far a merge partition has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MergeProgress {
    /// Merge partition.
    pub merge_partition: i32,
    /// Its watermark, RFC 3339.
    pub watermark: Option<String>,
    /// Processing time of the last marker folded, RFC 3339.
    pub as_of: String,
}

/// What keeps an hour open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Holding {
    /// Hours since the Unix epoch.
    pub hour: i64,
    /// Its start, RFC 3339.
    pub start: String,
    /// The watermark at which it closes: its end and the grace, RFC 3339.
    pub closes_at: String,
    /// In words.
    pub reason: String,
    /// The source topic that holds it, if one does.
    pub topic: Option<String>,
    /// The partition of it.
    pub partition: Option<i32>,
    /// The watermark that partition counts with, RFC 3339.
    pub watermark: Option<String>,
}

/// Records received, accepted, folded and served; watermarks; why the oldest open hour is open.
#[utoipa::path(
    get, path = "/v1/progress", tag = "query", operation_id = "progress",
    responses(
        (status = 200, description = "Progress", body = ProgressAnswer),
        (status = 400, description = "A parameter was given", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The view store is not available", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn progress(
    State(api): State<Arc<Api>>,
    RawQuery(raw): RawQuery,
) -> Result<Json<ProgressAnswer>, Problem> {
    Params::parse(raw.as_deref(), &[])?;
    let facts = api.facts(0, instant::MAX_MS).await?;
    Ok(Json(summary(&facts, api.config.grace_ms, api.config.idle_after_ms, api.now())))
}

/// The numbers of all windows' facts.
pub(crate) fn summary(facts: &Facts, grace_ms: i64, idle_after_ms: i64, now: i64) -> ProgressAnswer {
    let sources = sources(&facts.progress);
    let total = |count: fn(&SourceProgress) -> i64| sources.iter().map(count).fold(0, i64::saturating_add);
    let counts = Counts::of(&facts.ledgers);
    let dropped = Dropped {
        dead_lettered: total(|s| s.dead_lettered),
        duplicates: total(|s| s.duplicates),
        filtered: total(|s| s.filtered),
        held: total(|s| s.held),
        sealed_out: counts.sealed_out,
    };
    let received = total(|s| s.records);
    let accepted = received - dropped.dead_lettered;
    ProgressAnswer {
        as_of: facts.as_of().map(instant::rfc3339),
        watermark: facts.watermark.map(instant::rfc3339),
        watermark_delay_ms: facts.watermark.map(|w| now.saturating_sub(w)),
        grace_ms,
        received,
        accepted,
        folded: accepted - dropped.duplicates - dropped.filtered - dropped.held - dropped.sealed_out,
        served: counts.records,
        late_folded: total(|s| s.late),
        dropped,
        sources: sources.iter().map(source_counts).collect(),
        merge_partitions: facts.progress.iter().map(merge_progress).collect(),
        holding: holding(facts, grace_ms, idle_after_ms),
    }
}

/// The counts of every source partition are in every merge partition's progress; they are taken from the first.
fn sources(progress: &[Progress]) -> &[SourceProgress] {
    progress.first().map(|p| p.sources.as_slice()).unwrap_or_default()
}

fn source_counts(source: &SourceProgress) -> SourceCounts {
    SourceCounts {
        topic: source.topic.clone(),
        partition: source.partition,
        next_offset: source.next_offset,
        watermark: source.watermark.map(instant::rfc3339),
        idle_at: source.idle_at.map(instant::rfc3339),
        records: source.records,
        late: source.late,
        held: source.held,
        filtered: source.filtered,
        dead_lettered: source.dead_lettered,
        duplicates: source.duplicates,
    }
}

fn merge_progress(progress: &Progress) -> MergeProgress {
    MergeProgress {
        merge_partition: progress.merge_partition,
        watermark: progress.watermark.map(instant::rfc3339),
        as_of: instant::rfc3339(progress.as_of),
    }
}

/// Why the oldest open hour that has records is open.
fn holding(facts: &Facts, grace_ms: i64, idle_after_ms: i64) -> Option<Holding> {
    let start = facts.ledgers.iter().map(|l| l.window_start).find(|start| facts.state(*start) == WindowState::Open)?;
    let closes_at = start.saturating_add(HOUR_MS).saturating_add(grace_ms);
    let why = why(&facts.progress, closes_at, idle_after_ms);
    Some(Holding {
        hour: start.div_euclid(HOUR_MS),
        start: instant::rfc3339(start),
        closes_at: instant::rfc3339(closes_at),
        topic: why.source.as_ref().map(|(topic, _)| topic.clone()),
        partition: why.source.map(|(_, partition)| partition),
        watermark: why.watermark.map(instant::rfc3339),
        reason: why.reason,
    })
}

/// What keeps a window open, with the source partition if it is one.
#[derive(Debug, PartialEq, Eq)]
struct Why {
    reason: String,
    source: Option<(String, i32)>,
    watermark: Option<i64>,
}

impl Why {
    fn of(reason: String) -> Self {
        Self { reason, source: None, watermark: None }
    }

    fn source(reason: String, topic: &str, partition: i32, watermark: Option<i64>) -> Self {
        Self { reason, source: Some((topic.to_owned(), partition)), watermark }
    }
}

/// The first of the reasons that applies, from the coarsest to the finest.
fn why(progress: &[Progress], closes_at: i64, idle_after_ms: i64) -> Why {
    if progress.is_empty() {
        return Why::of("no merge partition has reported yet: is the job running?".to_owned());
    }
    if let Some(missing) = state::missing(progress).first() {
        let all = state::merge_partitions(progress);
        return Why::of(format!("merge partition {missing} of {all} has not reported yet"));
    }
    if let Some((topic, partition)) = unheard(progress) {
        let reason = format!("nothing has been heard of {topic}, partition {partition}, yet");
        return Why::source(reason, &topic, partition, None);
    }
    let slowest = sources(progress).iter().min_by_key(|s| effective(s, idle_after_ms));
    match slowest.map(|s| (s, effective(s, idle_after_ms))) {
        Some((s, None)) => {
            let reason =
                format!("{}, partition {}, has had no record and is not known to be idle", s.topic, s.partition);
            Why::source(reason, &s.topic, s.partition, None)
        }
        Some((s, Some(at))) if at < closes_at => Why::source(behind(s, at), &s.topic, s.partition, Some(at)),
        _ => lagging(progress),
    }
}

fn behind(source: &SourceProgress, at: i64) -> String {
    let (topic, partition, at) = (&source.topic, source.partition, instant::rfc3339(at));
    match source.idle_at {
        Some(_) => format!("{topic}, partition {partition}, is idle and counts as read up to {at}"),
        None => format!("{topic}, partition {partition}, is the furthest behind, at {at}"),
    }
}

/// All source partitions are far enough, as the first merge partition knows; another one has not folded that yet.
fn lagging(progress: &[Progress]) -> Why {
    let reason = progress.iter().min_by_key(|p| p.watermark).map(|p| {
        let at = p.watermark.map_or_else(|| "no watermark".to_owned(), instant::rfc3339);
        format!("merge partition {} is still catching up, at {at}", p.merge_partition)
    });
    Why::of(reason.unwrap_or_default())
}

/// A source partition that the topics have and no marker has named.
fn unheard(progress: &[Progress]) -> Option<(String, i32)> {
    let counts = progress.first().map(|p| p.partition_counts.as_slice()).unwrap_or_default();
    counts.iter().find_map(|count| {
        let known = |p: &i32| sources(progress).iter().any(|s| s.topic == count.topic && s.partition == *p);
        (0..count.partitions).find(|p| !known(p)).map(|p| (count.topic.clone(), p))
    })
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
