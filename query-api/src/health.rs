//! `GET /v1/health`: ready, or why not.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::Api;
use crate::params::Params;
use crate::problem::{Problem, Reason};

/// A condition for being ready; asked on each request, must not block.
#[derive(Clone)]
pub struct Check {
    /// What is checked, in a word: `log`, `jobs`.
    pub name: String,
    /// `Err` says why not, for people.
    pub check: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

impl Check {
    /// A named condition.
    pub fn new(name: &str, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self { name: name.to_owned(), check: Arc::new(check) }
    }
}

/// Everything is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Health {
    /// Always `ready`.
    status: &'static str,
    /// The names of the checks that passed.
    checks: Vec<String>,
    /// What is wrong and keeps this process from nothing else: a job that has stopped, with the reason.
    warnings: Vec<Reason>,
}

/// Whether every part of this process can do its work.
#[utoipa::path(
    get, path = "/v1/health", tag = "operations", operation_id = "health",
    responses(
        (status = 200, description = "Ready", body = Health),
        (status = 503, description = "Not ready, with the reasons", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn health(State(api): State<Arc<Api>>, RawQuery(raw): RawQuery) -> Result<Json<Health>, Problem> {
    Params::parse::<&str>(raw.as_deref(), &[])?;
    let mut results = vec![("views".to_owned(), views(&api).await)];
    results.extend(api.parts.checks.iter().map(|c| (c.name.clone(), (c.check)())));
    let (mut checks, mut reasons) = (vec![], vec![]);
    for (check, result) in results {
        match result {
            Ok(()) => checks.push(check),
            Err(reason) => reasons.push(Reason { check, reason }),
        }
    }
    if !reasons.is_empty() {
        return Err(Problem::not_ready(reasons));
    }
    let warn = |c: &Check| (c.check)().err().map(|reason| Reason { check: c.name.clone(), reason });
    Ok(Json(Health { status: "ready", checks, warnings: api.parts.warnings.iter().filter_map(warn).collect() }))
}

async fn views(api: &Api) -> Result<(), String> {
    api.flows.source.views.progress(&api.flows.source.view).await.map(|_| ()).map_err(|e| e.to_string())
}
