//! `GET /v1/documents`: all documents, filtered, searched, page by page.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use serde::Serialize;
use tokio::sync::Semaphore;
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
/// that changed last. The index is committed every quarter of a second, and about
/// so much behind.
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
    let found = in_turn(&documents.searches, move || index.list(&asked)).await?.map_err(failed)?;
    let next = found.next.map(|place| cursor::encode(&place, question));
    Ok(Json(ListAnswer { documents: found.documents, next, counts: found.counts }))
}

/// Searches when it is its turn. One that nobody waits for any more keeps its turn until it ends.
async fn in_turn<T: Send + 'static>(
    searches: &Arc<Semaphore>,
    search: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let turn = Arc::clone(searches).acquire_owned().await;
    let searched = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        search()
    });
    searched.await.map_err(|error| Problem::new(Kind::Internal, format!("the search failed: {error}")))
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_search_keeps_its_turn_when_its_caller_goes_away() {
        let searches = Arc::new(Semaphore::new(1));
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let own = Arc::clone(&searches);
        let caller = tokio::spawn(async move {
            let search = move || {
                begun.send(()).unwrap();
                ended.recv().unwrap();
            };
            in_turn(&own, search).await.unwrap();
        });
        has_begun.await.unwrap();
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        assert_eq!(searches.available_permits(), 0, "it still searches");
        end.send(()).unwrap();
        in_turn(&searches, || ()).await.unwrap();
    }
}
