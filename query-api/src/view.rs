//! `GET /v1/views/{view}`: the rows of any view, as JSON pages or CSV.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Serialize, Serializer};
use tidemark_views::{Row, ViewVersion, Windowing};
use utoipa::ToSchema;

use crate::Api;
use crate::answer::{self, Outcome};
use crate::catalog::{Found, Name};
use crate::cursor::Position;
use crate::facts::{Completeness, Facts};
use crate::instant;
use crate::pages::{self, Format, Query, Write};
use crate::params::Params;
use crate::problem::Problem;
use crate::range::{HOURS, Range};
use crate::scan::Filter;
use crate::values::{self, RowJson};

/// The parameters that every view has; its key columns come after them.
const PARAMETERS: [&str; 7] = ["window", "from", "to", "version", "limit", "cursor", "format"];

/// What may differ from page to page.
const PAGING: &[&str] = &["cursor", "limit", "format"];

/// Before the name of a key column that is also the name of a parameter.
const KEY: &str = "key.";

/// Bytes of text in all filters together: a store takes keys of 30,000.
const FILTER_BYTES_MAX: usize = 20_000;

/// The windows that an answer is about, half-open `[start, end)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ViewWindow {
    /// RFC 3339.
    pub start: String,
    /// RFC 3339, not in it.
    pub end: String,
}

/// A page of rows.
#[derive(Debug, Serialize, ToSchema)]
pub struct ViewAnswer {
    /// Name of the view.
    pub view: String,
    /// Version of it.
    pub version: u32,
    /// The windows asked for.
    pub window: ViewWindow,
    /// How complete they are.
    pub completeness: Completeness,
    /// By window, then by the key columns in order.
    #[schema(value_type = Vec<Object>)]
    pub rows: Vec<ViewRow>,
    /// The `cursor` of the next page; null on the last one. A page before the last may have fewer rows than `limit`, or none.
    pub next: Option<String>,
}

/// A row: an object of `window_start`, `window_end`, the key columns and the value columns. A session has no window but its own,
/// which its columns `session_start` and `session_end` say.
#[derive(Debug)]
pub struct ViewRow {
    version: Arc<ViewVersion>,
    row: Row,
}

impl Serialize for ViewRow {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (table, row) = (&self.version.table, &self.row);
        RowJson { key: &table.clustering, values: &table.values, row, window: window_of(&self.version, row) }
            .serialize(to)
    }
}

/// Start and end of a row's window; `None` of a session.
fn window_of(version: &ViewVersion, row: &Row) -> Option<[i64; 2]> {
    let start = row.partition.window_start;
    match version.window {
        Windowing::Tumbling { size_ms } | Windowing::Hopping { size_ms, .. } => {
            Some([start, start.saturating_add(size_ms)])
        }
        Windowing::Session { .. } => None,
    }
}

/// Rows of a view by window and key, and how complete they are.
///
/// Every key column is a parameter too: `?ip=192.0.2.1` gives the rows of exactly that value. A key column that is named as one of
/// the parameters below has `key.` before its name.
#[utoipa::path(
    get, path = "/v1/views/{view}", tag = "views", operation_id = "view",
    params(
        ("view" = String, Path, description = "Name of the view; see /v1/views"),
        ("window" = Option<String>, Query, description = "The window that starts then: RFC 3339 or milliseconds. Where windows are hours `hour` is taken too: hours since the Unix epoch. Of sessions any instant of the bucket that they began in. The newest window with rows if no time is given"),
        ("from" = Option<String>, Query, description = "Windows that start at or after it"),
        ("to" = Option<String>, Query, description = "Windows that start before it; the end of the current window by default. A range has 744 windows at most, or as many as 31 days have, 10,000 at most"),
        ("version" = Option<u32>, Query, description = "This version; the current one by default"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 10000, description = "Rows per page; 1,000 by default, all of them in CSV"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before. Pages go on with the version that the first one was of, whatever is promoted meanwhile"),
        ("format" = Option<String>, Query, description = "`json` or `csv`; otherwise as Accept says"),
    ),
    responses(
        (status = 200, description = "Rows and how complete they are", content(
            (ViewAnswer = "application/json"), (String = "text/csv"))),
        (status = 304, description = "The caller's copy is still right"),
        (status = 400, description = "A parameter cannot be used", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such view or version", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "The version that the first page was of has been removed", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The view store is not available", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn view(
    State(api): State<Arc<Api>>,
    name: Name,
    headers: HeaderMap,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let loose = Params::loose(raw.as_deref());
    let seed = loose.seed(name.as_deref().map_or("", String::as_str), PAGING);
    let at = loose.get("cursor").map(|text| Position::decode(text, seed)).transpose()?;
    let found = match &at {
        Some(at) => api.find_again(name, at.version).await?,
        None => api.find(name, loose.version()?).await?,
    };
    let found = Arc::new(found);
    let params = Params::parse(raw.as_deref(), &known(&found))?;
    let query = Arc::new(query(&api, &found, &params, &headers, at, seed).await?);
    let id = answer::question_id(&("view", &found.version.table.name, &query));
    let question = query.question(id, &format!("/v1/views/{}", found.view), raw.as_deref(), &found.view);
    let make = |facts: Arc<Facts>| make(api.clone(), found.clone(), query.clone(), facts);
    answer::answer(&api, &found.served, &headers, question, make).await
}

/// The catalogue is up to a second old: the version may have been removed meanwhile, and then there is nothing in its windows, or
/// no table. Nobody must take that for the end of the pages.
async fn make(api: Arc<Api>, found: Arc<Found>, query: Arc<Query>, facts: Arc<Facts>) -> Result<Outcome, Problem> {
    let write = Writer { view: found.view.as_str().into(), version: found.version.clone() };
    let made = pages::make(&found.served, &query, &facts, write).await;
    let doubtful = facts.ledgers.is_empty() || made.as_ref().is_err_and(Problem::is_invalid_view);
    if doubtful && api.catalog.gone(&found).await? {
        return Err(Problem::gone(&found.view, found.version.version));
    }
    made
}

/// The names of the parameters that a view takes.
fn known(found: &Found) -> Vec<String> {
    let mut known: Vec<String> = PARAMETERS.map(str::to_owned).into();
    if found.version.window == HOURS {
        known.push("hour".to_owned());
    }
    for column in &found.version.table.clustering {
        if !known.contains(&column.name) {
            known.push(column.name.clone());
        }
    }
    known.extend(found.version.table.clustering.iter().map(|column| format!("{KEY}{}", column.name)));
    known
}

async fn query(
    api: &Api,
    found: &Found,
    params: &Params,
    headers: &HeaderMap,
    at: Option<Position>,
    seed: u64,
) -> Result<Query, Problem> {
    let (cut, now) = (found.version.window, api.now());
    let range = match (params.range(cut, now)?, &at) {
        (Some(range), _) => range,
        // The pages of "the newest window" are of the window that was newest when the first one was read.
        (None, Some(at)) => Range::one(cut, at.start),
        (None, None) => Range::one(cut, found.served.newest(now).await?),
    };
    let filter = filter(found, params)?;
    Ok(Query { range, filter, limit: Query::limit(params)?, at, format: Format::of(params, headers)?, seed })
}

/// The filter by key columns.
fn filter(found: &Found, params: &Params) -> Result<Filter, Problem> {
    let (mut values, mut bytes) = (vec![], 0);
    for column in &found.version.table.clustering {
        let prefixed = format!("{KEY}{}", column.name);
        let reserved =
            PARAMETERS.contains(&column.name.as_str()) || (column.name == "hour" && found.version.window == HOURS);
        let plain = params.get(&column.name).filter(|_| !reserved);
        let text = match (plain, params.get(&prefixed)) {
            (Some(_), Some(_)) => {
                let detail = format!("`{}` together with `{prefixed}`", column.name);
                return Err(Problem::parameter(&prefixed, detail, "give one of them"));
            }
            (plain, prefixed) => plain.or(prefixed),
        };
        bytes += text.map_or(0, str::len);
        let wrong = |wanted| {
            let detail = format!("`{}` is `{}`", column.name, text.unwrap_or_default());
            Problem::parameter(&column.name, detail, wanted)
        };
        values.push(text.map(|text| values::parse(column.kind, text)).transpose().map_err(wrong)?);
    }
    if bytes > FILTER_BYTES_MAX {
        let detail = format!("the filters have {bytes} bytes");
        return Err(Problem::parameter(
            KEY,
            detail,
            format!("at most {FILTER_BYTES_MAX} bytes in all; filter by fewer columns"),
        ));
    }
    Ok(Filter(values))
}

#[derive(Clone)]
struct Writer {
    view: Arc<str>,
    version: Arc<ViewVersion>,
}

impl Write for Writer {
    fn header(&self) -> Vec<String> {
        let (table, session) = (&self.version.table, matches!(self.version.window, Windowing::Session { .. }));
        let window: &[&str] = if session { &[] } else { &["window_start", "window_end"] };
        let columns = table.clustering.iter().chain(&table.values).map(|column| column.name.clone());
        window.iter().map(|name| (*name).to_owned()).chain(columns).collect()
    }

    fn record(&self, row: &Row) -> Vec<String> {
        let window = window_of(&self.version, row).into_iter().flatten().map(instant::rfc3339);
        window.chain(row.clustering.iter().chain(&row.values).map(values::text)).collect()
    }

    fn json(&self, query: &Query, facts: &Facts, rows: Vec<Row>, next: Option<String>) -> Vec<u8> {
        let end = if query.range.single { facts.end(query.range.from) } else { query.range.end() };
        let answer = ViewAnswer {
            view: self.view.to_string(),
            version: self.version.version,
            window: ViewWindow { start: instant::rfc3339(query.range.from), end: instant::rfc3339(end) },
            completeness: facts.windowed(query.range),
            rows: rows.into_iter().map(|row| ViewRow { version: self.version.clone(), row }).collect(),
            next,
        };
        serde_json::to_vec(&answer).unwrap_or_default()
    }
}
