//! `GET /v1/openapi.json`: the description of the whole API.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;

use crate::params::Params;
use crate::problem::Problem;
use crate::{Api, flows, health, hours, live, metrics, progress, status, top, view, views, why, windows};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidemark",
        description = "Exact sums of event streams by window, and how complete they are. Times are UTC. Errors are \
                       problem documents (RFC 9457). Names of query parameters are checked.",
    ),
    paths(
        flows::flows, hours::hours, progress::progress, top::top, live::live, health::health, metrics::metrics,
        status::status, views::views, view::view, windows::windows, windows::progress, why::why, document
    ),
    tags(
        (name = "query", description = "The hourly flows"),
        (name = "views", description = "Every view: what jobs have folded"),
        (name = "operations", description = "How the process is"),
    )
)]
struct Doc;

/// The description of this crate's routes, OpenAPI 3.1.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Doc::openapi()
}

/// This description.
#[utoipa::path(
    get, path = "/v1/openapi.json", tag = "operations", operation_id = "openapi",
    responses((status = 200, description = "OpenAPI 3.1", body = Object, content_type = "application/json"))
)]
pub(crate) async fn document(State(api): State<Arc<Api>>, RawQuery(raw): RawQuery) -> Result<Response, Problem> {
    Params::parse::<&str>(raw.as_deref(), &[])?;
    let doc = api.parts.docs.iter().cloned().fold(openapi(), utoipa::openapi::OpenApi::merge_from);
    let body = doc.to_json().unwrap_or_default();
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}
