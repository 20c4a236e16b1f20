//! `GET /v1/views/{view}/windows` and `/progress`: the windows of a view, and the way of its records in numbers.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use serde::Serialize;
use tidemark_schemas::engine::Ledger;
use utoipa::ToSchema;

use crate::Api;
use crate::catalog::Name;
use crate::cursor::Position;
use crate::instant;
use crate::params::Params;
use crate::problem::Problem;
use crate::progress::{self, ProgressAnswer};
use crate::summary::WindowSummary;

const LIMIT_DEFAULT: usize = 48;
const LIMIT_MAX: usize = 744;

/// What may differ from page to page.
const PAGING: &[&str] = &["cursor", "limit"];

/// The parameters of `/v1/views/{view}/windows`.
const PARAMETERS: &[&str] = &["from", "to", "version", "limit", "cursor"];

/// A page of windows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct WindowsAnswer {
    /// Name of the view.
    pub view: String,
    /// Version of it.
    pub version: u32,
    /// Lowest watermark of all merge partitions, RFC 3339.
    pub watermark: Option<String>,
    /// Processing time up to which everything read is in, RFC 3339.
    pub as_of: Option<String>,
    /// Newest first; windows without a record are not listed.
    pub windows: Vec<WindowSummary>,
    /// The `cursor` of the next page; null on the last one.
    pub next: Option<String>,
}

/// Windows of a view, newest first, with state and counts.
#[utoipa::path(
    get, path = "/v1/views/{view}/windows", tag = "views", operation_id = "view_windows",
    params(
        ("view" = String, Path, description = "Name of the view; see /v1/views"),
        ("from" = Option<String>, Query, description = "Windows that start at or after it: RFC 3339 or milliseconds"),
        ("to" = Option<String>, Query, description = "Windows that start before it"),
        ("version" = Option<u32>, Query, description = "This version; the current one by default"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 744, description = "Windows per page; 48 by default"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, description = "Windows", body = WindowsAnswer),
        (status = 400, description = "A parameter cannot be used", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such view or version", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "The version that the first page was of has been removed", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The view store is not available", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn windows(
    State(api): State<Arc<Api>>,
    name: Name,
    RawQuery(raw): RawQuery,
) -> Result<Json<WindowsAnswer>, Problem> {
    let params = Params::parse(raw.as_deref(), PARAMETERS)?;
    let seed = params.seed(&format!("windows {}", name.as_deref().map_or("", String::as_str)), PAGING);
    let (from, to) = (params.instant("from")?.unwrap_or(0), params.instant("to")?.unwrap_or(instant::MAX_MS));
    let limit = params.limit(LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT);
    let before = params.get("cursor").map(|text| Position::decode(text, seed)).transpose()?;
    let found = match &before {
        Some(before) => api.find_again(name, before.version).await?,
        None => api.find(name, params.version()?).await?,
    };
    let facts = found.served.facts(from, before.map_or(to, |p| p.start.min(to))).await?;
    let mut windows: Vec<&[Ledger]> = facts.windows().rev().take(limit + 1).collect();
    let more = windows.len() > limit;
    windows.truncate(limit);
    let version = found.version.version;
    let last = windows.last().and_then(|window| window.first()).filter(|_| more);
    let next = last.map(|l| Position { version, start: l.window_start, after: vec![] }.encode(seed));
    Ok(Json(WindowsAnswer {
        view: found.view,
        version,
        watermark: facts.watermark.map(instant::rfc3339),
        as_of: facts.as_of().map(instant::rfc3339),
        windows: windows.into_iter().map(|window| WindowSummary::of(&facts, window)).collect(),
        next,
    }))
}

/// Records of a view received, accepted, folded and served; watermarks; why the oldest open window is open.
#[utoipa::path(
    get, path = "/v1/views/{view}/progress", tag = "views", operation_id = "view_progress",
    params(
        ("view" = String, Path, description = "Name of the view; see /v1/views"),
        ("version" = Option<u32>, Query, description = "This version; the current one by default"),
    ),
    responses(
        (status = 200, description = "Progress", body = ProgressAnswer),
        (status = 400, description = "A parameter cannot be used", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such view or version", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The view store is not available", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn progress(
    State(api): State<Arc<Api>>,
    name: Name,
    RawQuery(raw): RawQuery,
) -> Result<Json<ProgressAnswer>, Problem> {
    let params = Params::parse(raw.as_deref(), &["version"])?;
    let found = api.find(name, params.version()?).await?;
    let facts = found.served.facts(0, instant::MAX_MS).await?;
    Ok(Json(progress::summary(&facts, &found.served, api.now())))
}
