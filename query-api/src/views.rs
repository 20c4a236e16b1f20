//! `GET /v1/views`: which views there are, and how they are.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::future::try_join_all;
use serde::Serialize;
use tidemark_views::{CatalogEntry, Error, Kind, ViewVersion, Windowing};
use utoipa::ToSchema;

use crate::Api;
use crate::instant;
use crate::params::Params;
use crate::problem::Problem;
use crate::progress::sources;
use crate::summary::WindowSummary;

/// Every view.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ViewsAnswer {
    /// By name.
    pub views: Vec<ViewSummary>,
}

/// A view: its current version, or its newest one while none is current.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ViewSummary {
    /// Name.
    pub view: String,
    /// The version that is served under the bare name; null while none is.
    pub current: Option<u32>,
    /// What a rollback goes back to.
    pub previous: Option<u32>,
    /// The version that is described here.
    #[serde(flatten)]
    pub shown: VersionSummary,
    /// The other versions.
    pub others: Vec<VersionSummary>,
}

/// A version of a view, and how far it has come.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct VersionSummary {
    /// Its number.
    pub version: u32,
    /// In words; may be empty.
    pub description: String,
    /// How time is cut: `kind` is `tumbling` (with `size_ms`), `hopping` (`size_ms`, `hop_ms`) or `session` (`gap_ms`, `bucket_ms`).
    #[schema(value_type = Object)]
    pub window: Windowing,
    /// A window is open until every watermark is this many milliseconds past its end.
    pub grace_ms: i64,
    /// Milliseconds after that for which it can still change.
    pub amend_for_ms: i64,
    /// Milliseconds that rows are kept.
    pub retention_ms: i64,
    /// How far it may lag behind before an alarm, milliseconds; null without one.
    pub freshness_ms: Option<i64>,
    /// The key columns in order: rows are ordered and filtered by them.
    pub key: Vec<KeyColumn>,
    /// The value columns.
    pub values: Vec<ValueColumn>,
    /// Source topics.
    pub sources: Vec<String>,
    /// Lowest watermark of all merge partitions, RFC 3339; null while one has none.
    pub watermark: Option<String>,
    /// Milliseconds from the watermark to now; null without a watermark.
    pub watermark_delay_ms: Option<i64>,
    /// Processing time up to which everything read is in, RFC 3339.
    pub as_of: Option<String>,
    /// Records of its sources that could not be read or counted, in whatever window they belong: they are on the dead-letter topic.
    pub dead_lettered: i64,
    /// The newest window that has rows; null before the first record.
    pub newest: Option<WindowSummary>,
}

/// A key column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct KeyColumn {
    /// Name.
    pub name: String,
    /// `text`, `long`, `integer`, `boolean` or `time`.
    #[schema(value_type = String)]
    pub kind: Kind,
}

/// A value column.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ValueColumn {
    /// Name.
    pub name: String,
    /// `text`, `long`, `integer`, `double`, `boolean`, `time` or `json`.
    #[schema(value_type = String)]
    pub kind: Kind,
    /// In words; may be empty.
    pub description: String,
    /// The relative error stated for it, 0.01 for one percent; null when it is exact.
    pub error: Option<f64>,
}

/// Every view: versions, windows, columns, newest window and watermark.
#[utoipa::path(
    get, path = "/v1/views", tag = "views", operation_id = "views",
    responses(
        (status = 200, description = "Views by name", body = ViewsAnswer),
        (status = 400, description = "A parameter was given", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The view store is not available", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn views(State(api): State<Arc<Api>>, RawQuery(raw): RawQuery) -> Result<Response, Problem> {
    Params::parse::<&str>(raw.as_deref(), &[])?;
    let list = async {
        let entries = api.catalog.entries().await?;
        let views = try_join_all(entries.iter().map(|entry| summary(&api, entry))).await?;
        let answer = ViewsAnswer { views: views.into_iter().flatten().collect() };
        Ok::<Arc<str>, Error>(serde_json::to_string(&answer).unwrap_or_default().into())
    };
    let list = api.listed.get(list).await?;
    Ok(([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], list.to_string())
        .into_response())
}

/// `None` of a view without versions.
async fn summary(api: &Api, entry: &CatalogEntry) -> Result<Option<ViewSummary>, Error> {
    let mut versions = try_join_all(entry.versions.iter().map(|version| describe(api, version))).await?;
    versions.sort_by_key(|v| v.version);
    let current = versions.iter().position(|v| Some(v.version) == entry.current);
    let Some(shown) = current.or(versions.len().checked_sub(1)) else { return Ok(None) };
    let shown = versions.remove(shown);
    let (view, current, previous) = (entry.view.clone(), entry.current, entry.previous);
    Ok(Some(ViewSummary { view, current, previous, shown, others: versions }))
}

async fn describe(api: &Api, version: &ViewVersion) -> Result<VersionSummary, Error> {
    let (facts, now) = (api.served(version).recent(api.now()).await?, api.now());
    let newest = facts.windows().rev().find(|window| window.iter().any(|l| l.rows > 0));
    Ok(VersionSummary {
        version: version.version,
        description: version.description.clone(),
        window: version.window,
        grace_ms: version.grace_ms,
        amend_for_ms: version.amend_for_ms,
        retention_ms: version.table.retention_ms,
        freshness_ms: version.freshness_ms,
        key: version.table.clustering.iter().map(|c| KeyColumn { name: c.name.clone(), kind: c.kind }).collect(),
        values: values(version),
        sources: version.sources.clone(),
        watermark: facts.watermark.map(instant::rfc3339),
        watermark_delay_ms: facts.watermark.map(|w| now.saturating_sub(w)),
        as_of: facts.as_of().map(instant::rfc3339),
        dead_lettered: sources(&facts.progress).iter().map(|s| s.dead_lettered).fold(0, i64::saturating_add),
        newest: newest.map(|window| WindowSummary::of(&facts, window)),
    })
}

fn values(version: &ViewVersion) -> Vec<ValueColumn> {
    let note = |name: &str| version.note(name);
    let column = |column: &tidemark_views::Column| ValueColumn {
        name: column.name.clone(),
        kind: column.kind,
        description: note(&column.name).map(|n| n.description.clone()).unwrap_or_default(),
        error: note(&column.name).and_then(|n| n.error),
    };
    version.table.values.iter().map(column).collect()
}
