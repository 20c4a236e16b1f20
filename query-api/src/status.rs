//! `GET /v1/status`: what the parts of this process are doing, for the dashboard and for people on call.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::Api;
use crate::params::Params;
use crate::problem::Problem;

/// Tells what a part is doing; asked on each request, must not block.
#[derive(Clone)]
pub struct Status {
    /// The part, in a word: `gateway`, `jobs`.
    pub name: String,
    /// Its own figures.
    pub tell: Arc<dyn Fn() -> serde_json::Value + Send + Sync>,
}

impl Status {
    /// Of a part.
    pub fn new(name: &str, tell: impl Fn() -> serde_json::Value + Send + Sync + 'static) -> Self {
        Self { name: name.to_owned(), tell: Arc::new(tell) }
    }
}

/// The parts of this process by name.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatusAnswer {
    /// `gateway`: depth and age of its spool. `jobs`: what each stage thread is doing, restores under way, lag by stage.
    #[schema(value_type = Object)]
    pub parts: BTreeMap<String, serde_json::Value>,
}

impl StatusAnswer {
    /// What they say now.
    pub fn of(parts: &[Status]) -> Self {
        Self { parts: parts.iter().map(|part| (part.name.clone(), (part.tell)())).collect() }
    }
}

/// What the parts of this process are doing.
#[utoipa::path(
    get, path = "/v1/status", tag = "operations", operation_id = "status",
    responses((status = 200, description = "By part; a process that only serves the API has none", body = StatusAnswer))
)]
pub(crate) async fn status(
    State(api): State<Arc<Api>>,
    RawQuery(raw): RawQuery,
) -> Result<Json<StatusAnswer>, Problem> {
    Params::parse::<&str>(raw.as_deref(), &[])?;
    Ok(Json(StatusAnswer::of(&api.parts.status)))
}
