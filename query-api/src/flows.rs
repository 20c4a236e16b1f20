//! `GET /v1/flows`: the sums of an hour or a range of hours, as JSON pages or CSV.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use tidemark_views::{Row, Value};
use utoipa::ToSchema;

use crate::Api;
use crate::answer;
use crate::columns::{Columns, Flow, KEYS};
use crate::cursor::Position;
use crate::facts::{Completeness, Facts};
use crate::instant::{self, HOUR_MS};
use crate::pages::{self, Format, Query, Write};
use crate::params::Params;
use crate::problem::Problem;
use crate::range::Range;
use crate::scan::Filter;

/// The parameters of `/v1/flows`.
pub(crate) const PARAMETERS: &[&str] =
    &["hour", "from", "to", "src_app", "dest_app", "vpc_id", "limit", "cursor", "format"];

/// The hours an answer is about, half-open `[start, end)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Window {
    /// RFC 3339.
    pub start: String,
    /// RFC 3339, not in it.
    pub end: String,
    /// Hours since the Unix epoch; null for a range.
    pub hour: Option<i64>,
}

impl Window {
    pub(crate) fn of(range: Range) -> Self {
        Self {
            start: instant::rfc3339(range.from),
            end: instant::rfc3339(range.end()),
            hour: range.single.then_some(range.from / HOUR_MS),
        }
    }
}

/// A page of hourly sums.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FlowsAnswer {
    /// The hours asked for.
    pub window: Window,
    /// How complete they are.
    pub completeness: Completeness,
    /// By hour, then src_app, dest_app and vpc_id by bytes.
    pub flows: Vec<Flow>,
    /// The `cursor` of the next page; null on the last one. A page before the last may have fewer rows than `limit`, or none.
    pub next: Option<String>,
}

fn query(params: &Params, headers: &HeaderMap, now: i64) -> Result<Query, Problem> {
    let filter = filter(params)?;
    let seed = seed(params, &filter);
    let at = params.get("cursor").map(|text| Position::decode(text, seed)).transpose()?;
    let range = match (&at, ["hour", "from"].iter().all(|name| params.get(name).is_none())) {
        // The pages of "the current hour" are of the hour that was current when the first one was read.
        (Some(at), true) => Range::hour(at.start),
        _ => params.hours(now)?,
    };
    Ok(Query { range, filter, limit: Query::limit(params)?, at, format: Format::of(params, headers)?, seed })
}

/// The filter by key fields.
pub(crate) fn filter(params: &Params) -> Result<Filter, Problem> {
    let value = |name| params.key(name).map(|text| text.map(Value::Text));
    KEYS.into_iter().map(value).collect::<Result<_, _>>().map(Filter)
}

fn seed(params: &Params, filter: &Filter) -> u64 {
    let times = ["hour", "from", "to"].map(|name| params.get(name));
    xxhash_rust::xxh3::xxh3_64(format!("{times:?} {filter:?}").as_bytes())
}

/// Sums of bytes and records by src_app, dest_app, vpc_id and hour.
#[utoipa::path(
    get, path = "/v1/flows", tag = "query", operation_id = "flows",
    params(
        ("hour" = Option<i64>, Query, description = "Hours since the Unix epoch; the current hour if no time is given"),
        ("from" = Option<String>, Query, description = "Hours that start at or after it: RFC 3339 or milliseconds"),
        ("to" = Option<String>, Query, description = "Hours that start before it; the end of the current hour by default; 31 days at most"),
        ("src_app" = Option<String>, Query, description = "Exactly this source application"),
        ("dest_app" = Option<String>, Query, description = "Exactly this destination"),
        ("vpc_id" = Option<String>, Query, description = "Exactly this network"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 10000, description = "Rows per page; 1,000 by default, all of them in CSV"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
        ("format" = Option<String>, Query, description = "`json` or `csv`; otherwise as Accept says"),
    ),
    responses(
        (status = 200, description = "Rows and how complete they are", content(
            (FlowsAnswer = "application/json"), (String = "text/csv"))),
        (status = 304, description = "The caller's copy is still right"),
        (status = 400, description = "A parameter cannot be used", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The view store is not available", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn flows(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let params = Params::parse(raw.as_deref(), PARAMETERS)?;
    let query = Arc::new(query(&params, &headers, api.now())?);
    let question = query.question(answer::question_id(&query), "/v1/flows", raw.as_deref(), "flows");
    let make = |facts: Arc<Facts>| {
        let (api, query) = (api.clone(), query.clone());
        async move { pages::make(&api.flows, &query, &facts, api.columns).await }
    };
    answer::answer(&api, &api.flows, &headers, question, make).await
}

impl Write for Columns {
    fn header(&self) -> Vec<String> {
        ["hour", "src_app", "dest_app", "vpc_id", "bytes_rx", "bytes_tx", "records"].map(str::to_owned).into()
    }

    fn record(&self, row: &Row) -> Vec<String> {
        let flow = self.flow(row);
        let [hour, rx, tx, records] =
            [i128::from(flow.hour), flow.bytes_rx, flow.bytes_tx, i128::from(flow.records)].map(|n| n.to_string());
        vec![hour, flow.src_app, flow.dest_app, flow.vpc_id, rx, tx, records]
    }

    fn json(&self, query: &Query, facts: &Facts, rows: Vec<Row>, next: Option<String>) -> Vec<u8> {
        let answer = FlowsAnswer {
            window: Window::of(query.range),
            completeness: facts.hourly(query.range),
            flows: rows.iter().map(|row| self.flow(row)).collect(),
            next,
        };
        serde_json::to_vec(&answer).unwrap_or_default()
    }
}
