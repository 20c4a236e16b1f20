//! `GET /v1/top`: the largest groups by any key fields.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;
use tidemark_views::Value;
use utoipa::ToSchema;

use crate::Api;
use crate::answer::{self, Made, Outcome, Question};
use crate::columns::{KEYS, Sums};
use crate::facts::{Completeness, Facts};
use crate::flows::{Window, filter};
use crate::params::Params;
use crate::problem::Problem;
use crate::range::Range;
use crate::scan::{Filter, Scan, Step};
use crate::values::text;

const LIMIT_DEFAULT: usize = 10;
const LIMIT_MAX: usize = 1_000;

/// Rows read for one answer; more are refused, since a part of them would give another ranking.
const ROWS_MAX: usize = 2_000_000;

/// Groups held at a time.
const GROUPS_MAX: usize = 200_000;

/// The parameters of `/v1/top`.
pub(crate) const PARAMETERS: &[&str] = &["hour", "from", "to", "by", "src_app", "dest_app", "vpc_id", "limit"];

/// The largest groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TopAnswer {
    /// The hours asked for.
    pub window: Window,
    /// How complete they are.
    pub completeness: Completeness,
    /// The fields grouped by.
    pub by: Vec<String>,
    /// By bytes both ways, descending; equal ones by key.
    pub top: Vec<Group>,
    /// How many groups there are in all.
    pub groups: usize,
    /// Sums over all groups, the ones not listed included.
    pub total: Sums,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Group {
    /// Its value of each field grouped by.
    pub key: BTreeMap<String, String>,
    /// Its sums.
    #[serde(flatten)]
    pub sums: Sums,
}

#[derive(Debug)]
struct Query {
    range: Range,
    filter: Filter,
    /// Positions in [`KEYS`].
    by: Vec<usize>,
    limit: usize,
}

/// The groups with the most bytes, by any of src_app, dest_app and vpc_id.
#[utoipa::path(
    get, path = "/v1/top", tag = "query", operation_id = "top",
    params(
        ("hour" = Option<i64>, Query, description = "Hours since the Unix epoch; the current hour if no time is given"),
        ("from" = Option<String>, Query, description = "Hours that start at or after it: RFC 3339 or milliseconds"),
        ("to" = Option<String>, Query, description = "Hours that start before it; 31 days at most"),
        ("by" = Option<String>, Query, description = "Fields to group by, with commas between them; `src_app` by default"),
        ("src_app" = Option<String>, Query, description = "Exactly this source application"),
        ("dest_app" = Option<String>, Query, description = "Exactly this destination"),
        ("vpc_id" = Option<String>, Query, description = "Exactly this network"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Groups listed; 10 by default"),
    ),
    responses(
        (status = 200, description = "Groups and how complete they are", body = TopAnswer),
        (status = 304, description = "The caller's copy is still right"),
        (status = 400, description = "A parameter cannot be used", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Too many rows or groups", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The view store is not available", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn top(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let params = Params::parse(raw.as_deref(), PARAMETERS)?;
    let query = Arc::new(Query {
        range: params.hours(api.now())?,
        filter: filter(&params)?,
        by: by(params.get("by").unwrap_or("src_app"))?,
        limit: params.limit(LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT),
    });
    let question = Question {
        range: query.range,
        id: answer::question_id(&("top", &query)),
        link: String::new(),
        media_type: "application/json",
        file: None,
    };
    answer::answer(&api, &api.flows, &headers, question, |facts| make(api.clone(), query.clone(), facts)).await
}

fn by(text: &str) -> Result<Vec<usize>, Problem> {
    let mut fields = vec![];
    for name in text.split(',') {
        match KEYS.iter().position(|k| *k == name) {
            Some(i) if !fields.contains(&i) => fields.push(i),
            _ => {
                let fix = format!("one or more of {}, each once, with commas between them", KEYS.join(", "));
                return Err(Problem::parameter("by", format!("`by` is `{text}`"), fix));
            }
        }
    }
    Ok(fields)
}

async fn make(api: Arc<Api>, query: Arc<Query>, facts: Arc<Facts>) -> Result<Outcome, Problem> {
    // Closed only when the process ends; a grouping that goes on without its turn does no harm then.
    let _turn = api.groupings.acquire().await.ok();
    let filter = query.filter.clone();
    let mut scan = Scan::new(api.flows.source.clone(), filter, &facts.ledgers, None, usize::MAX, ROWS_MAX);
    let (groups, total) = group(&api, &query.by, &mut scan).await?;
    let answer = TopAnswer {
        window: Window::of(query.range),
        completeness: facts.hourly(query.range),
        by: names(&query.by).collect(),
        groups: groups.len(),
        top: largest(groups, &query),
        total,
    };
    let body = Bytes::from(serde_json::to_vec(&answer).unwrap_or_default());
    Ok(Outcome::of(Made { body, next: None }, scan.torn()))
}

fn names(by: &[usize]) -> impl Iterator<Item = String> {
    by.iter().filter_map(|i| KEYS.get(*i)).map(|name| (*name).to_owned())
}

async fn group(api: &Api, by: &[usize], scan: &mut Scan) -> Result<(HashMap<Vec<Value>, Sums>, Sums), Problem> {
    let (mut groups, mut total) = (HashMap::<Vec<Value>, Sums>::new(), Sums::default());
    loop {
        match scan.step().await? {
            Step::End => return Ok((groups, total)),
            Step::Paused(_) => return Err(too_big(format!("there are more than {ROWS_MAX} rows"))),
            Step::Row(row) => {
                let sums = api.columns.sums(&row);
                total.add(sums);
                let key = by.iter().filter_map(|i| row.clustering.get(*i)).cloned().collect();
                groups.entry(key).or_default().add(sums);
            }
        }
        if groups.len() > GROUPS_MAX {
            return Err(too_big(format!("there are more than {GROUPS_MAX} groups")));
        }
    }
}

fn too_big(detail: String) -> Problem {
    Problem::too_big(detail, "ask for fewer hours, filter by a field, or group by fewer fields")
}

fn largest(groups: HashMap<Vec<Value>, Sums>, query: &Query) -> Vec<Group> {
    let mut all: Vec<_> = groups.into_iter().collect();
    all.sort_unstable_by(|(a, x), (b, y)| (Reverse(x.bytes()), a).cmp(&(Reverse(y.bytes()), b)));
    all.truncate(query.limit);
    let named = |key: Vec<Value>| names(&query.by).zip(key.iter().map(text)).collect();
    all.into_iter().map(|(key, sums)| Group { key: named(key), sums }).collect()
}
