//! Rows as pages or as one CSV, of the flows and of every other view alike.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use futures::stream;
use tidemark_views::Row;

use crate::answer::{Made, Outcome, Question};
use crate::cursor::Position;
use crate::facts::Facts;
use crate::instant;
use crate::params::Params;
use crate::problem::Problem;
use crate::range::Range;
use crate::scan::{Filter, Scan, Step};
use crate::served::Served;

const LIMIT_DEFAULT: usize = 1_000;
const LIMIT_MAX: usize = 10_000;

/// Rows read for one page; with a filter that few rows pass, a page ends here and says where to go on.
const SCAN_ROWS_MAX: usize = 200_000;

/// A longer CSV is sent as it is read, and not kept.
const CSV_BUFFER_BYTES: usize = 4 << 20;

/// Bytes of CSV read ahead of a slow reader.
const CSV_CHUNK_BYTES: usize = 64 << 10;

/// What rows are written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    Json,
    Csv,
}

impl Format {
    /// By the parameter `format`, else by the Accept header.
    pub(crate) fn of(params: &Params, headers: &HeaderMap) -> Result<Self, Problem> {
        let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
        match params.get("format") {
            Some("json") => Ok(Self::Json),
            Some("csv") => Ok(Self::Csv),
            Some(other) => Err(Problem::parameter("format", format!("`format` is `{other}`"), "`json` or `csv`")),
            None if accept.split(',').any(|t| t.trim().starts_with("text/csv")) => Ok(Self::Csv),
            None => Ok(Self::Json),
        }
    }
}

/// Which rows of which windows are wanted, and how.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) range: Range,
    pub(crate) filter: Filter,
    pub(crate) limit: Option<usize>,
    pub(crate) at: Option<Position>,
    pub(crate) format: Format,
    /// Seeds the checksum of its cursors.
    pub(crate) seed: u64,
}

impl Query {
    /// A page size within the bounds.
    pub(crate) fn limit(params: &Params) -> Result<Option<usize>, Problem> {
        params.limit(LIMIT_MAX)
    }

    /// The question; `id` tells it from all others, `name` begins the file's.
    pub(crate) fn question(&self, id: u128, path: &str, raw: Option<&str>, name: &str) -> Question {
        let (media_type, file) = match self.format {
            Format::Json => ("application/json", None),
            Format::Csv => ("text/csv; charset=utf-8; header=present", Some(self.file(name))),
        };
        Question { range: self.range, id, link: link(path, raw), media_type, file }
    }

    fn file(&self, name: &str) -> String {
        // Hours are named by the hour, shorter windows by all that tells them apart.
        let digits = if self.range.cut.step_ms() % instant::HOUR_MS == 0 { 13 } else { 23 };
        let plain = |c: &char| !"-:Z".contains(*c);
        let at = |ms| instant::rfc3339(ms).chars().take(digits).filter(plain).collect::<String>();
        if self.range.single {
            format!("{name}-{}Z.csv", at(self.range.from))
        } else {
            format!("{name}-{}Z-{}Z.csv", at(self.range.from), at(self.range.to))
        }
    }
}

/// Path and query up to where the cursor goes.
fn link(path: &str, raw: Option<&str>) -> String {
    let kept = raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
    let mut link = format!("{path}?");
    kept.for_each(|pair| link.extend([pair, "&"]));
    link
}

/// How the rows of a view are written.
pub(crate) trait Write: Clone + Send + Sync + 'static {
    /// The names of the CSV's columns.
    fn header(&self) -> Vec<String>;
    /// A row of the CSV.
    fn record(&self, row: &Row) -> Vec<String>;
    /// A page as JSON.
    fn json(&self, query: &Query, facts: &Facts, rows: Vec<Row>, next: Option<String>) -> Vec<u8>;
}

/// Makes the answer of the facts.
pub(crate) async fn make(served: &Served, query: &Query, facts: &Facts, write: impl Write) -> Result<Outcome, Problem> {
    match (query.format, query.limit) {
        (Format::Csv, None) => whole_csv(served, query, facts, write).await,
        (Format::Csv, Some(limit)) => {
            let page = page(served, query, facts, limit).await?;
            let mut csv = csv_writer(Some(&write));
            page.rows.iter().for_each(|row| put_csv(&mut csv, &write, row));
            Ok(Outcome::of(Made { body: csv_bytes(csv), next: page.next }, page.torn))
        }
        (Format::Json, limit) => {
            let page = page(served, query, facts, limit.unwrap_or(LIMIT_DEFAULT)).await?;
            let body = Bytes::from(write.json(query, facts, page.rows, page.next.clone()));
            Ok(Outcome::of(Made { body, next: page.next }, page.torn))
        }
    }
}

struct Page {
    rows: Vec<Row>,
    next: Option<String>,
    torn: bool,
}

async fn page(served: &Served, query: &Query, facts: &Facts, limit: usize) -> Result<Page, Problem> {
    let mut scan = scan(served, query, facts, limit, SCAN_ROWS_MAX);
    let version = served.source.version;
    let mut rows: Vec<Row> = vec![];
    let next = loop {
        match scan.step().await? {
            Step::End => break None,
            Step::Paused(position) => break Some(position),
            Step::Row(_) if rows.len() == limit => {
                break rows.last().map(|row| Position {
                    version,
                    start: row.partition.window_start,
                    after: row.clustering.clone(),
                });
            }
            Step::Row(row) => rows.push(row),
        }
    };
    Ok(Page { rows, next: next.map(|at| at.encode(query.seed)), torn: scan.torn() })
}

fn scan(served: &Served, query: &Query, facts: &Facts, page: usize, budget: usize) -> Scan {
    Scan::new(served.source.clone(), query.filter.clone(), &facts.ledgers, query.at.as_ref(), page, budget)
}

/// The whole CSV in one answer: held and kept if it is short, else sent as it is read.
async fn whole_csv<W: Write>(served: &Served, query: &Query, facts: &Facts, write: W) -> Result<Outcome, Problem> {
    let mut scan = scan(served, query, facts, usize::MAX, usize::MAX);
    let (start, done) = chunk(&mut scan, &write, true, CSV_BUFFER_BYTES).await?;
    if done {
        return Ok(Outcome::of(Made { body: start, next: None }, scan.torn()));
    }
    let write = Arc::new(write);
    let rest = stream::try_unfold((scan, false), move |(mut scan, done)| {
        let write = write.clone();
        async move {
            if done {
                return Ok(None);
            }
            let (bytes, done) = chunk(&mut scan, &*write, false, CSV_CHUNK_BYTES).await?;
            Ok::<_, tidemark_views::Error>(Some((bytes, (scan, done))))
        }
    });
    let start = stream::once(async { Ok(start) });
    Ok(Outcome::Stream(Body::from_stream(futures::StreamExt::chain(start, rest))))
}

/// The next rows as CSV, about `bytes` of it; and whether they were the last.
async fn chunk<W: Write>(
    scan: &mut Scan,
    write: &W,
    header: bool,
    bytes: usize,
) -> Result<(Bytes, bool), tidemark_views::Error> {
    let mut writer = csv_writer(header.then_some(write));
    loop {
        match scan.step().await? {
            Step::Row(row) => put_csv(&mut writer, write, &row),
            Step::Paused(_) | Step::End => return Ok((csv_bytes(writer), true)),
        }
        if writer.get_ref().len() >= bytes {
            return Ok((csv_bytes(writer), false));
        }
    }
}

/// With the header of `header`, if one is to be written.
fn csv_writer(header: Option<&impl Write>) -> csv::Writer<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(vec![]);
    if let Some(write) = header {
        let _ = writer.write_record(write.header());
    }
    writer
}

/// Writing to memory does not fail.
fn put_csv(writer: &mut csv::Writer<Vec<u8>>, write: &impl Write, row: &Row) {
    let _ = writer.write_record(write.record(row));
}

fn csv_bytes(writer: csv::Writer<Vec<u8>>) -> Bytes {
    writer.into_inner().map(Bytes::from).unwrap_or_default()
}
