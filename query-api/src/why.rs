//! `GET /v1/views/{view}/why`: what holds a window open, or when and by what it closed.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use serde::Serialize;
use tidemark_core::watermark::effective;
use tidemark_schemas::engine::{Ledger, SourceProgress};
use utoipa::ToSchema;

use crate::Api;
use crate::catalog::{Found, Name};
use crate::facts::{self, Counts, Facts, Source};
use crate::holding::{self, Span, Why};
use crate::instant::rfc3339;
use crate::params::Params;
use crate::problem::Problem;
use crate::progress::sources;
use crate::range;
use crate::state::State as WindowState;
use crate::summary::{closed_at, recomputed_at};
use crate::view::ViewWindow;

/// Everything known of one window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct WhyAnswer {
    /// Name of the view.
    pub view: String,
    /// Version of it.
    pub version: u32,
    /// The window.
    pub window: ViewWindow,
    /// How complete it is.
    pub state: WindowState,
    /// Why, in words.
    pub why: String,
    /// The watermark at which it closes: its end and the grace, RFC 3339.
    pub closes_at: String,
    /// The watermark at which it is sealed, RFC 3339.
    pub seals_at: String,
    /// It is not sealed before this append time either, `amend_for` after its first record was folded, RFC 3339; null while it
    /// has no record.
    pub amendable_until: Option<String>,
    /// Lowest watermark of all merge partitions, RFC 3339; null while one has none.
    pub watermark: Option<String>,
    /// Processing time up to which everything read is in, RFC 3339.
    pub as_of: Option<String>,
    /// What holds it open; null once it is closed.
    pub held_by: Option<HeldBy>,
    /// Source partitions that have not come as far as `closes_at`, the furthest behind first.
    pub behind: Vec<Behind>,
    /// When it became final, processing time, RFC 3339; null while it is open or without records.
    pub closed_at: Option<String>,
    /// The merge partition that closed it last.
    pub closed_by: Option<i32>,
    /// Late or straggling records have been folded in after it was complete.
    pub amended: bool,
    /// No record can change it any more; a recomputation can.
    pub sealed: bool,
    /// Distinct keys.
    pub rows: i64,
    /// Records in the rows.
    pub records: i64,
    /// Records that came late: the three below together.
    pub late: i64,
    /// Late, and in the rows.
    pub late_folded: i64,
    /// Late, and not in the rows.
    pub late_held: i64,
    /// Came after sealing; not in the rows.
    pub sealed_out: i64,
    /// When its first record was folded, RFC 3339.
    pub opened_at: Option<String>,
    /// When its last change was, RFC 3339.
    pub updated_at: Option<String>,
    /// When it was recomputed from its records and written anew, RFC 3339; null while it is as it was streamed.
    pub recomputed_at: Option<String>,
    /// Source offsets that it was made of.
    pub sources: Vec<Source>,
    /// What each merge partition that has records of it knows.
    pub merge_partitions: Vec<MergeWindow>,
}

/// What holds a window open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct HeldBy {
    /// In words.
    pub reason: String,
    /// The source topic, if it is one.
    pub topic: Option<String>,
    /// The partition of it.
    pub partition: Option<i32>,
    /// Every record of the partition below it has been folded.
    pub next_offset: Option<i64>,
    /// The watermark that the partition counts with, RFC 3339.
    pub watermark: Option<String>,
}

/// A source partition that has not come far enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Behind {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Every record below it has been folded.
    pub next_offset: i64,
    /// The watermark that it counts with, RFC 3339; null before its first record.
    pub watermark: Option<String>,
    /// When it was last found read to its end, RFC 3339; null while records come.
    pub idle_at: Option<String>,
    /// Milliseconds of event time that it is short of; null before its first record.
    pub behind_ms: Option<i64>,
}

/// What a merge partition knows of a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MergeWindow {
    /// Merge partition.
    pub merge_partition: i32,
    /// Distinct keys.
    pub rows: i64,
    /// Records in the rows.
    pub records: i64,
    /// When it became final here, RFC 3339.
    pub closed_at: Option<String>,
    /// Late or straggling records have been folded in after that.
    pub amended: bool,
    /// No record can change it any more here.
    pub sealed: bool,
    /// 1 as it was streamed; one more with each recomputation that was written here.
    pub epoch: i32,
}

/// What holds a window open, or when and by what it closed; its late records, offsets and lag.
#[utoipa::path(
    get, path = "/v1/views/{view}/why", tag = "views", operation_id = "view_why",
    params(
        ("view" = String, Path, description = "Name of the view; see /v1/views"),
        ("window" = Option<String>, Query, description = "Start of the window: RFC 3339 or milliseconds; the oldest open one with records by default"),
        ("version" = Option<u32>, Query, description = "This version; the current one by default"),
    ),
    responses(
        (status = 200, description = "Everything known of the window", body = WhyAnswer),
        (status = 400, description = "A parameter cannot be used", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such view or version", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The view store is not available", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn why(
    State(api): State<Arc<Api>>,
    name: Name,
    RawQuery(raw): RawQuery,
) -> Result<Json<WhyAnswer>, Problem> {
    let params = Params::parse(raw.as_deref(), &["window", "version"])?;
    let found = api.find(name, params.version()?).await?;
    let start = match params.instant("window")? {
        Some(start) => range::window(found.version.window, start)?.from,
        None => oldest_open(&api, &found).await?,
    };
    let facts = found.served.facts(start, start.saturating_add(1)).await?;
    Ok(Json(explain(&found, &facts, start, api.now())))
}

async fn oldest_open(api: &Api, found: &Found) -> Result<i64, Problem> {
    let facts = found.served.facts(0, crate::instant::MAX_MS).await?;
    let open = facts.ledgers.iter().map(|l| l.window_start).find(|start| facts.state(*start) == WindowState::Open);
    Ok(match open {
        Some(open) => open,
        None => found.served.newest(api.now()).await?,
    })
}

fn explain(found: &Found, facts: &Facts, start: i64, now: i64) -> WhyAnswer {
    let (state, closes_at, window) = (facts.state(start), facts.closes_at(start), facts.window(start));
    let amend_for_ms = found.version.amend_for_ms;
    let ends = Ends {
        closes_at,
        seals_at: closes_at.saturating_add(amend_for_ms),
        amendable_until: window.iter().map(|l| l.opened_at.saturating_add(amend_for_ms)).max(),
    };
    let open = state == WindowState::Open;
    let span = Span { end: facts.end(start), closes_at, now };
    let held = open.then(|| holding::why(&facts.progress, span, found.served.idle_after_ms));
    let held_by = held.map(|why| held_by(facts, why));
    let closed = closed_at(window).filter(|_| !open);
    let closed_by = closed.and_then(|at| window.iter().find(|l| l.closed_at == Some(at))).map(|l| l.merge_partition);
    let count = Counts::of(window);
    WhyAnswer {
        view: found.view.clone(),
        version: found.version.version,
        window: ViewWindow { start: rfc3339(start), end: rfc3339(facts.end(start)) },
        state,
        why: words(facts, (state, ends, now), held_by.as_ref(), closed.zip(closed_by), count)
            + &recomputed(window, count),
        closes_at: rfc3339(closes_at),
        seals_at: rfc3339(ends.seals_at),
        amendable_until: ends.amendable_until.map(rfc3339),
        watermark: facts.watermark.map(rfc3339),
        as_of: facts.as_of().map(rfc3339),
        held_by,
        behind: if open && now >= closes_at { behind(facts, closes_at, found.served.idle_after_ms) } else { vec![] },
        closed_at: closed.map(rfc3339),
        closed_by,
        amended: window.iter().any(|l| l.amended),
        sealed: state == WindowState::Sealed,
        rows: count.rows,
        records: count.records,
        late: count.late(),
        late_folded: count.late_folded,
        late_held: count.late_held,
        sealed_out: count.sealed_out,
        opened_at: window.iter().map(|l| l.opened_at).min().map(rfc3339),
        updated_at: window.iter().map(|l| l.updated_at).max().map(rfc3339),
        recomputed_at: recomputed_at(window).map(rfc3339),
        sources: facts::sources(window),
        merge_partitions: window.iter().map(merge_window).collect(),
    }
}

fn held_by(facts: &Facts, why: Why) -> HeldBy {
    let found = why.source.as_ref().and_then(|(topic, partition)| {
        sources(&facts.progress).iter().find(|s| s.topic == *topic && s.partition == *partition)
    });
    HeldBy {
        next_offset: found.map(|s| s.next_offset),
        partition: why.source.as_ref().map(|(_, partition)| *partition),
        topic: why.source.map(|(topic, _)| topic),
        watermark: why.watermark.map(rfc3339),
        reason: why.reason,
    }
}

fn behind(facts: &Facts, closes_at: i64, idle_after_ms: i64) -> Vec<Behind> {
    let reached = |s: &SourceProgress| effective(s, idle_after_ms);
    let mut short: Vec<_> =
        sources(&facts.progress).iter().filter(|s| reached(s).is_none_or(|at| at < closes_at)).collect();
    short.sort_by_key(|s| reached(s));
    let one = |s: &SourceProgress| Behind {
        topic: s.topic.clone(),
        partition: s.partition,
        next_offset: s.next_offset,
        watermark: reached(s).map(rfc3339),
        idle_at: s.idle_at.map(rfc3339),
        behind_ms: reached(s).map(|at| closes_at.saturating_sub(at)),
    };
    short.into_iter().map(one).collect()
}

fn merge_window(ledger: &Ledger) -> MergeWindow {
    MergeWindow {
        merge_partition: ledger.merge_partition,
        rows: ledger.rows,
        records: ledger.records,
        closed_at: ledger.closed_at.map(rfc3339),
        amended: ledger.amended,
        sealed: ledger.sealed,
        epoch: ledger.epoch,
    }
}

/// That it is not as it was streamed, and whether it leaves out anything that came.
fn recomputed(window: &[Ledger], count: Counts) -> String {
    let Some(at) = recomputed_at(window) else { return String::new() };
    let all = if count.late() == count.late_folded { ", and no record that came is beside its rows" } else { "" };
    format!(". It was recomputed from its records at {}{all}", rfc3339(at))
}

/// Until when a window takes records.
#[derive(Debug, Clone, Copy)]
struct Ends {
    closes_at: i64,
    seals_at: i64,
    amendable_until: Option<i64>,
}

/// What a person would say.
fn words(
    facts: &Facts,
    (state, ends, now): (WindowState, Ends, i64),
    held_by: Option<&HeldBy>,
    closed: Option<(i64, i32)>,
    count: Counts,
) -> String {
    let (closes, seals) = (rfc3339(ends.closes_at), rfc3339(ends.seals_at));
    // The one of the two conditions that is still to come, or both.
    let passed = facts.watermark.is_some_and(|watermark| watermark >= ends.seals_at);
    let seals_when = match ends.amendable_until.filter(|at| *at > now).map(rfc3339) {
        Some(until) if passed => format!("at {until}, the time it can be amended after its first record came"),
        Some(until) => format!("when they pass {seals}, and not before {until}"),
        None => format!("when they pass {seals}"),
    };
    let closed = match closed {
        Some((at, merge_partition)) => {
            format!(
                "it closed at {}, when merge partition {merge_partition}, the last, had seen every source partition pass {closes}",
                rfc3339(at)
            )
        }
        None => format!("every source partition has passed {closes}"),
    };
    let mut said = match (state, held_by) {
        (WindowState::Open, held) => {
            let offset =
                held.and_then(|h| h.next_offset).map(|o| format!(", read up to offset {o}")).unwrap_or_default();
            let reason = held.map(|h| h.reason.as_str()).unwrap_or_default();
            format!("open: it closes when every source partition has passed {closes}; {reason}{offset}")
        }
        (WindowState::Final, _) => format!("final: {closed}; it is sealed {seals_when}"),
        (WindowState::Amended, _) => {
            // Lateness is a matter of each partition by itself; the window closes without those that are idle.
            let came = if count.late() > 0 { "" } else { ", on time on partitions that had been idle," };
            format!(
                "amended: {closed}, and records that came after that{came} have been folded in; it is sealed {seals_when}"
            )
        }
        (WindowState::Sealed, _) => format!("sealed: {closed}, then {seals}; no record can change it any more"),
    };
    if let Some(silence) = holding::silence(facts.as_of(), now) {
        said += &format!("; {silence}");
    }
    if facts.ledgers.is_empty() {
        said += ". No record of it has come";
    } else if count.late() > 0 {
        let Counts { late_folded, late_held, sealed_out, .. } = count;
        said += &format!(
            ". Of its late records {late_folded} were folded in, {late_held} held and {sealed_out} left out after sealing"
        );
    }
    said
}
