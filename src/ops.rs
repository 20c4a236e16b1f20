//! Health and metrics of a process that does not serve the query API.

use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use std::sync::Arc;
use tidemark_query_api::{Check, Render, Status, StatusAnswer};

/// What a process is asked.
#[derive(Clone, Default)]
pub struct Ops {
    /// Asked by `/v1/health`.
    pub checks: Vec<Check>,
    /// Asked by `/v1/health` too: what is told and keeps nobody away.
    pub warnings: Vec<Check>,
    /// Asked by `/metrics`.
    pub metrics: Vec<Render>,
    /// Asked by `/v1/status`.
    pub status: Vec<Status>,
}

impl Ops {
    /// Adds a named check.
    pub fn check(&mut self, name: &str, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        self.checks.push(Check::new(name, check));
    }

    /// Adds a named condition that is told when it does not hold; the process is ready all the same.
    pub fn warn(&mut self, name: &str, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        self.warnings.push(Check::new(name, check));
    }
}

/// Serves `/v1/health`, `/v1/status` and `/metrics`.
pub fn router(ops: Ops) -> Router {
    let (checks, warnings) = (Arc::new(ops.checks), Arc::new(ops.warnings));
    let (renders, status) = (Arc::new(ops.metrics), Arc::new(ops.status));
    Router::new()
        .route("/v1/health", get(move || health(Arc::clone(&checks), Arc::clone(&warnings))))
        .route("/v1/status", get(move || std::future::ready(Json(StatusAnswer::of(&status)))))
        .route("/metrics", get(move || metrics(Arc::clone(&renders))))
}

async fn health(checks: Arc<Vec<Check>>, warnings: Arc<Vec<Check>>) -> impl IntoResponse {
    let told = |checks: &[Check]| -> Vec<String> {
        checks.iter().filter_map(|check| (check.check)().err().map(|why| format!("{}: {why}", check.name))).collect()
    };
    let (reasons, warnings) = (told(&checks), told(&warnings));
    match reasons.is_empty() {
        true => (StatusCode::OK, Json(serde_json::json!({ "status": "ready", "warnings": warnings }))),
        false => {
            (StatusCode::SERVICE_UNAVAILABLE, Json(serde_json::json!({ "status": "not ready", "reasons": reasons })))
        }
    }
}

async fn metrics(renders: Arc<Vec<Render>>) -> impl IntoResponse {
    let mut text = String::new();
    for render in renders.iter() {
        render(&mut text);
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}
