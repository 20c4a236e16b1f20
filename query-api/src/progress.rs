//! `GET /v1/progress`: the way of the records in numbers, and what keeps the oldest open hour open.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use serde::Serialize;
use tidemark_schemas::engine::{Progress, SourceProgress};
use utoipa::ToSchema;

use crate::Api;
use crate::facts::{Counts, Facts};
use crate::holding::{self, Holding};
use crate::instant;
use crate::params::Params;
use crate::problem::Problem;
use crate::served::Served;

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
    /// Milliseconds that a window stays open after its end, by event time.
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
    /// Why the oldest open window is still open; null if none is.
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
    /// Came after their window was sealed.
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
    Params::parse::<&str>(raw.as_deref(), &[])?;
    let facts = api.flows.facts(0, instant::MAX_MS).await?;
    Ok(Json(summary(&facts, &api.flows, api.now())))
}

/// The numbers of all windows' facts.
pub(crate) fn summary(facts: &Facts, served: &Served, now: i64) -> ProgressAnswer {
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
        grace_ms: served.grace_ms,
        received,
        accepted,
        folded: accepted - dropped.duplicates - dropped.filtered - dropped.held - dropped.sealed_out,
        served: counts.records,
        late_folded: total(|s| s.late),
        dropped,
        sources: sources.iter().map(source_counts).collect(),
        merge_partitions: facts.progress.iter().map(merge_progress).collect(),
        holding: holding::holding(facts, served, now),
    }
}

/// The counts of every source partition are in every merge partition's progress; they are taken from the first.
pub(crate) fn sources(progress: &[Progress]) -> &[SourceProgress] {
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
