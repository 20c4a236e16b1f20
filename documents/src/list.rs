//! `GET /v1/documents`: all documents, filtered, searched, page by page.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::document::Shown;
use crate::index::{Asked, Order, STATES};
use crate::params::Params;
use crate::problem::{Kind, Problem};
use crate::{Documents, cursor, index};

const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 500;
/// Bytes of a filter.
const FILTER_BYTES_MAX: usize = 512;
const FILTERS: [&str; 5] = ["state", "type", "owner", "name", "q"];
const KNOWN: [&str; 8] = ["state", "type", "owner", "name", "q", "sort", "limit", "cursor"];

/// A page of documents.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ListAnswer {
    documents: Vec<Shown>,
    /// `cursor` of the next page; `null` on the last.
    next: Option<String>,
    /// How many there are in each state, with all filters but that for the state.
    #[schema(example = json!({"UPLOADED": 1, "PROCESSING": 0, "DONE": 12, "ERROR": 2}))]
    counts: BTreeMap<&'static str, usize>,
}

/// Documents, the newest first.
///
/// By the first upload each document is on one page exactly, whatever becomes of it meanwhile; `sort=changed` has those in front
/// that changed last. The index is about a second behind.
#[utoipa::path(
    get, path = "/v1/documents", tag = "documents", operation_id = "documents", params(crate::openapi::ListQuery),
    responses((status = 200, description = "A page", body = ListAnswer), crate::openapi::Failures)
)]
pub(crate) async fn list(
    State(documents): State<Arc<Documents>>,
    RawQuery(query): RawQuery,
) -> Result<Json<ListAnswer>, Problem> {
    let params = Params::parse(query.as_deref(), &KNOWN)?;
    let question = params.question();
    let asked = asked(&params, question, &documents.config.tenant)?;
    let index = Arc::clone(&documents.index);
    let _turn = documents.searches.acquire().await;
    // A question that nobody waits for any more still ends by itself.
    let found = tokio::task::spawn_blocking(move || index.list(&asked)).await;
    let found = found.map_err(|error| Problem::new(Kind::Internal, format!("the search failed: {error}")))?;
    let found = found.map_err(failed)?;
    let next = found.next.map(|place| cursor::encode(&place, question));
    Ok(Json(ListAnswer { documents: found.documents, next, counts: found.counts }))
}

fn asked(params: &Params, question: u64, tenant: &str) -> Result<Asked, Problem> {
    for name in FILTERS {
        if params.get(name).is_some_and(|value| value.is_empty() || value.len() > FILTER_BYTES_MAX) {
            let rule = format!("1 to {FILTER_BYTES_MAX} bytes; left out it matches all");
            return Err(Problem::field(name, format!("`{name}` is empty or too long"), rule));
        }
    }
    let filter = |name| params.get(name).map(str::to_owned);
    if let Some(state) = params.get("state").filter(|state| !STATES.contains(state)) {
        return Err(Problem::field("state", format!("`state` is {state:?}"), format!("one of {}", STATES.join(", "))));
    }
    let order = match params.get("sort") {
        None | Some("uploaded") => Order::Uploaded,
        Some("changed") => Order::Changed,
        Some(other) => return Err(Problem::field("sort", format!("`sort` is {other:?}"), "`uploaded` or `changed`")),
    };
    Ok(Asked {
        tenant: tenant.to_owned(),
        state: filter("state"),
        media_type: filter("type"),
        owner: filter("owner"),
        name: filter("name"),
        text: filter("q"),
        order,
        after: params.get("cursor").map(|text| cursor::decode(text, question)).transpose()?,
        limit: params.count("limit", LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT),
    })
}

fn failed(error: index::SearchError) -> Problem {
    match error {
        index::SearchError::Query(why) => {
            let rule = "words, all of which are to be found; \"a phrase\"; -word; word OR word; name:word, state:DONE";
            Problem::field("q", format!("`q` cannot be read: {why}"), rule)
                .fix("put what has special characters in quotation marks")
        }
        index::SearchError::Index(error) => {
            tracing::error!(%error, "the index failed");
            Problem::new(Kind::Internal, format!("the index failed: {error}"))
                .fix("restart the service with the folder of the index removed: it is made anew")
        }
    }
}
