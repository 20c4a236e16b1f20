//! `GET /v1/flows`: the sums of an hour or a range of hours, as JSON pages or CSV.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Api;
use crate::answer::{self, Made, Outcome, Question};
use crate::columns::{Columns, Flow, KEYS};
use crate::cursor::Position;
use crate::facts::{Completeness, Facts};
use crate::instant::{self, HOUR_MS};
use crate::params::{Params, Range};
use crate::problem::Problem;
use crate::scan::{Filter, Scan, Step};

const LIMIT_DEFAULT: usize = 1_000;
const LIMIT_MAX: usize = 10_000;

/// Rows read for one page; with a filter that few rows pass, a page ends here and says where to go on.
const SCAN_ROWS_MAX: usize = 200_000;

/// A longer CSV is sent as it is read, and not kept.
const CSV_BUFFER_BYTES: usize = 4 << 20;

/// Bytes of CSV read ahead of a slow reader.
const CSV_CHUNK_BYTES: usize = 64 << 10;

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
            end: instant::rfc3339(range.to),
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Format {
    Json,
    Csv,
}

/// A question put to `/v1/flows`.
#[derive(Debug)]
struct Query {
    range: Range,
    filter: Filter,
    limit: Option<usize>,
    at: Option<Position>,
    format: Format,
    /// Seeds the checksum of its cursors.
    seed: u64,
}

impl Query {
    fn parse(params: &Params, headers: &HeaderMap, now: i64) -> Result<Self, Problem> {
        let filter = filter(params)?;
        let seed = seed(params, &filter);
        let at = params.get("cursor").map(|text| Position::decode(text, seed)).transpose()?;
        let range = match (&at, ["hour", "from"].iter().all(|name| params.get(name).is_none())) {
            // The pages of "the current hour" are of the hour that was current when the first one was read.
            (Some(at), true) => Range::hour(at.start),
            _ => params.range(now)?,
        };
        let format = format(params, headers)?;
        Ok(Self { range, filter, limit: params.limit(LIMIT_MAX)?, at, format, seed })
    }

    fn question(&self, raw: Option<&str>) -> Question {
        let (media_type, file) = match self.format {
            Format::Json => ("application/json", None),
            Format::Csv => ("text/csv; charset=utf-8; header=present", Some(self.file())),
        };
        Question { range: self.range, id: answer::question_id(self), link: link(raw), media_type, file }
    }

    fn file(&self) -> String {
        let name = |ms| instant::rfc3339(ms).chars().take(13).filter(|c| *c != '-').collect::<String>();
        if self.range.single {
            format!("flows-{}Z.csv", name(self.range.from))
        } else {
            format!("flows-{}Z-{}Z.csv", name(self.range.from), name(self.range.to))
        }
    }
}

/// The filter by key fields.
pub(crate) fn filter(params: &Params) -> Result<Filter, Problem> {
    KEYS.iter().map(|name| params.key(name)).collect::<Result<_, _>>().map(Filter)
}

fn seed(params: &Params, filter: &Filter) -> u64 {
    let times = ["hour", "from", "to"].map(|name| params.get(name));
    xxhash_rust::xxh3::xxh3_64(format!("{times:?} {filter:?}").as_bytes())
}

fn format(params: &Params, headers: &HeaderMap) -> Result<Format, Problem> {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    match params.get("format") {
        Some("json") => Ok(Format::Json),
        Some("csv") => Ok(Format::Csv),
        Some(other) => Err(Problem::parameter("format", format!("`format` is `{other}`"), "`json` or `csv`")),
        None if accept.split(',').any(|t| t.trim().starts_with("text/csv")) => Ok(Format::Csv),
        None => Ok(Format::Json),
    }
}

/// Path and query up to where the cursor goes.
fn link(raw: Option<&str>) -> String {
    let kept = raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
    let mut link = "/v1/flows?".to_owned();
    kept.for_each(|pair| link.extend([pair, "&"]));
    link
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
    let query = Arc::new(Query::parse(&params, &headers, api.now())?);
    let question = query.question(raw.as_deref());
    answer::answer(&api, &headers, question, |facts| make(api.clone(), query.clone(), facts)).await
}

async fn make(api: Arc<Api>, query: Arc<Query>, facts: Arc<Facts>) -> Result<Outcome, Problem> {
    match (query.format, query.limit) {
        (Format::Csv, None) => whole_csv(api, &query, &facts).await,
        (Format::Csv, Some(limit)) => {
            let page = page(&api, &query, &facts, limit).await?;
            let made = Made { body: csv(page.flows.into_iter(), true), next: page.next };
            Ok(Outcome::of(made, page.torn))
        }
        (Format::Json, limit) => {
            let page = page(&api, &query, &facts, limit.unwrap_or(LIMIT_DEFAULT)).await?;
            let answer = FlowsAnswer {
                window: Window::of(query.range),
                completeness: facts.completeness(query.range),
                flows: page.flows,
                next: page.next.clone(),
            };
            let body = Bytes::from(serde_json::to_vec(&answer).unwrap_or_default());
            Ok(Outcome::of(Made { body, next: page.next }, page.torn))
        }
    }
}

struct Page {
    flows: Vec<Flow>,
    next: Option<String>,
    torn: bool,
}

async fn page(api: &Api, query: &Query, facts: &Facts, limit: usize) -> Result<Page, Problem> {
    let mut scan = scan(api, query, facts, limit, SCAN_ROWS_MAX);
    let mut flows: Vec<Flow> = vec![];
    let next = loop {
        match scan.step().await? {
            Step::End => break None,
            Step::Paused(position) => break Some(position),
            Step::Row(_) if flows.len() == limit => break flows.last().map(position),
            Step::Row(row) => flows.push(api.columns.flow(row)),
        }
    };
    Ok(Page { flows, next: next.map(|at| at.encode(query.seed)), torn: scan.torn() })
}

fn scan(api: &Api, query: &Query, facts: &Facts, page: usize, budget: usize) -> Scan {
    Scan::new(api.source.clone(), query.filter.clone(), &facts.ledgers, query.at.as_ref(), page, budget)
}

fn position(flow: &Flow) -> Position {
    let after = vec![flow.src_app.clone(), flow.dest_app.clone(), flow.vpc_id.clone()];
    Position { start: flow.hour * HOUR_MS, after }
}

/// The whole CSV in one answer: held and kept if it is short, else sent as it is read.
async fn whole_csv(api: Arc<Api>, query: &Query, facts: &Facts) -> Result<Outcome, Problem> {
    let mut scan = scan(&api, query, facts, usize::MAX, usize::MAX);
    let columns = api.columns;
    let (start, done) = chunk(&mut scan, &columns, true, CSV_BUFFER_BYTES).await?;
    if done {
        return Ok(Outcome::of(Made { body: start, next: None }, scan.torn()));
    }
    let rest = stream::try_unfold((scan, false), move |(mut scan, done)| async move {
        if done {
            return Ok(None);
        }
        let (bytes, done) = chunk(&mut scan, &columns, false, CSV_CHUNK_BYTES).await?;
        Ok::<_, tidemark_views::Error>(Some((bytes, (scan, done))))
    });
    let start = stream::once(async { Ok(start) });
    Ok(Outcome::Stream(Body::from_stream(futures::StreamExt::chain(start, rest))))
}

/// The next rows as CSV, about `bytes` of it; and whether they were the last.
async fn chunk(
    scan: &mut Scan,
    columns: &Columns,
    header: bool,
    bytes: usize,
) -> Result<(Bytes, bool), tidemark_views::Error> {
    let mut writer = csv_writer(header);
    loop {
        match scan.step().await? {
            Step::Row(row) => put_csv(&mut writer, &columns.flow(row)),
            Step::Paused(_) | Step::End => return Ok((csv_bytes(writer), true)),
        }
        if writer.get_ref().len() >= bytes {
            return Ok((csv_bytes(writer), false));
        }
    }
}

fn csv(flows: impl Iterator<Item = Flow>, header: bool) -> Bytes {
    let mut writer = csv_writer(header);
    flows.for_each(|flow| put_csv(&mut writer, &flow));
    csv_bytes(writer)
}

fn csv_writer(header: bool) -> csv::Writer<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(vec![]);
    if header {
        let _ = writer.write_record(["hour", "src_app", "dest_app", "vpc_id", "bytes_rx", "bytes_tx", "records"]);
    }
    writer
}

/// Writing to memory does not fail.
fn put_csv(writer: &mut csv::Writer<Vec<u8>>, flow: &Flow) {
    let numbers =
        [i128::from(flow.hour), flow.bytes_rx, flow.bytes_tx, i128::from(flow.records)].map(|n| n.to_string());
    let [hour, rx, tx, records] = &numbers;
    let _ = writer.write_record([hour, &flow.src_app, &flow.dest_app, &flow.vpc_id, rx, tx, records]);
}

fn csv_bytes(writer: csv::Writer<Vec<u8>>) -> Bytes {
    writer.into_inner().map(Bytes::from).unwrap_or_default()
}
