//! `GET /v1/hours`: the windows there are, newest first, with state and totals.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use serde::Serialize;
use tidemark_schemas::engine::Ledger;
use utoipa::ToSchema;

use crate::Api;
use crate::cursor::Position;
use crate::facts::Facts;
use crate::instant::{self, HOUR_MS};
use crate::params::Params;
use crate::problem::Problem;
use crate::state::State as WindowState;
use crate::summary::WindowSummary;
use crate::totals;

const LIMIT_DEFAULT: usize = 48;
const LIMIT_MAX: usize = 744;

/// Seeds the checksum of cursors: those of another path are refused.
const CURSOR_SEED: u64 = 0x0068_6f75_7273;

/// The parameters of `/v1/hours`.
pub(crate) const PARAMETERS: &[&str] = &["from", "to", "limit", "cursor"];

/// A window and what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct HourSummary {
    /// Hours since the Unix epoch.
    pub hour: i64,
    /// RFC 3339.
    pub start: String,
    /// RFC 3339, not in it.
    pub end: String,
    /// How complete it is.
    pub state: WindowState,
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
    /// Bytes received over all rows; null until they have been summed: ask again. Of a very large open hour they may lag behind
    /// its records by some seconds.
    #[schema(value_type = Option<i64>, format = "")]
    pub bytes_rx: Option<i128>,
    /// Bytes sent over all rows; null as above.
    #[schema(value_type = Option<i64>, format = "")]
    pub bytes_tx: Option<i128>,
    /// When its first record was folded, RFC 3339.
    pub opened_at: Option<String>,
    /// When its last change was, RFC 3339.
    pub updated_at: Option<String>,
    /// When it became final, RFC 3339; null while it is open.
    pub closed_at: Option<String>,
}

/// A page of windows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct HoursAnswer {
    /// Lowest watermark of all merge partitions, RFC 3339.
    pub watermark: Option<String>,
    /// Processing time up to which everything read is in, RFC 3339.
    pub as_of: Option<String>,
    /// Newest first; hours without a record are not listed.
    pub hours: Vec<HourSummary>,
    /// The `cursor` of the next page; null on the last one.
    pub next: Option<String>,
}

/// Windows, newest first, with state, counts and totals.
#[utoipa::path(
    get, path = "/v1/hours", tag = "query", operation_id = "hours",
    params(
        ("from" = Option<String>, Query, description = "Hours that start at or after it: RFC 3339 or milliseconds"),
        ("to" = Option<String>, Query, description = "Hours that start before it"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 744, description = "Hours per page; 48 by default"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, description = "Windows", body = HoursAnswer),
        (status = 400, description = "A parameter cannot be used", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The view store is not available", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn hours(State(api): State<Arc<Api>>, RawQuery(raw): RawQuery) -> Result<Json<HoursAnswer>, Problem> {
    let params = Params::parse(raw.as_deref(), PARAMETERS)?;
    let from = params.instant("from")?.unwrap_or(0);
    let to = params.instant("to")?.unwrap_or(instant::MAX_MS);
    let before = params.get("cursor").map(|text| Position::decode(text, CURSOR_SEED)).transpose()?;
    let limit = params.limit(LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT);
    let facts = api.flows.facts(from, before.map_or(to, |p| p.start.min(to))).await?;
    Ok(Json(newest(&api, &facts, limit).await?))
}

/// The newest windows of the facts.
pub(crate) async fn newest(api: &Api, facts: &Facts, limit: usize) -> Result<HoursAnswer, tidemark_views::Error> {
    let mut windows: Vec<&[Ledger]> = facts.windows().rev().take(limit + 1).collect();
    let more = windows.len() > limit;
    windows.truncate(limit);
    let totals = totals::totals(api, &windows).await?;
    let hours: Vec<_> = windows.iter().zip(totals).map(|(window, sums)| summary(facts, window, sums)).collect();
    let next = hours.last().filter(|_| more).map(|h| Position { version: 0, start: h.hour * HOUR_MS, after: vec![] });
    Ok(HoursAnswer {
        watermark: facts.watermark.map(instant::rfc3339),
        as_of: facts.as_of().map(instant::rfc3339),
        hours,
        next: next.map(|p| p.encode(CURSOR_SEED)),
    })
}

fn summary(facts: &Facts, window: &[Ledger], sums: Option<crate::Sums>) -> HourSummary {
    let hour = WindowSummary::of(facts, window);
    HourSummary {
        hour: window.first().map_or(0, |l| l.window_start).div_euclid(HOUR_MS),
        start: hour.start,
        end: hour.end,
        state: hour.state,
        rows: hour.rows,
        records: hour.records,
        late: hour.late,
        late_folded: hour.late_folded,
        late_held: hour.late_held,
        sealed_out: hour.sealed_out,
        bytes_rx: sums.map(|s| s.bytes_rx),
        bytes_tx: sums.map(|s| s.bytes_tx),
        opened_at: hour.opened_at,
        updated_at: hour.updated_at,
        closed_at: hour.closed_at,
    }
}
