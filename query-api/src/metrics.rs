//! `GET /metrics`: Prometheus text.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tidemark_views::Error;

use crate::Api;
use crate::instant;
use crate::progress::{self, ProgressAnswer};

/// Upper bounds of the latency buckets, seconds.
const BUCKETS_S: [f64; 8] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, f64::INFINITY];

/// Route, method, status: bounded by the routes there are, since paths that match none are one route.
type Series = (String, &'static str, u16);

/// What the API counts of itself.
#[derive(Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<Series, Latency>>,
    cache_hits: AtomicU64,
    cache_misses: AtomicU64,
}

#[derive(Default, Clone, Copy)]
struct Latency {
    buckets: [u64; BUCKETS_S.len()],
    sum_s: f64,
}

impl Metrics {
    pub(crate) fn cache_hit(&self) {
        self.cache_hits.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn cache_miss(&self) {
        self.cache_misses.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn request(&self, route: &str, method: &'static str, status: u16, took: Duration) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let latency = requests.entry((route.to_owned(), method, status)).or_default();
        let seconds = took.as_secs_f64();
        latency.sum_s += seconds;
        if let Some((count, _)) = latency.buckets.iter_mut().zip(BUCKETS_S).find(|(_, bound)| seconds <= *bound) {
            *count += 1;
        }
    }

    fn render(&self, out: &mut String) {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        family(out, "tidemark_http_requests_total", "counter", "Requests answered.");
        for ((route, method, status), latency) in &requests {
            let total: u64 = latency.buckets.iter().sum();
            let _ = writeln!(out, "tidemark_http_requests_total{{{}}} {total}", labels(route, method, *status));
        }
        family(out, "tidemark_http_request_duration_seconds", "histogram", "Time to the head of the answer.");
        for ((route, method, status), latency) in &requests {
            latency.render(out, &labels(route, method, *status));
        }
        family(out, "tidemark_http_cache_hits_total", "counter", "Answers served from memory.");
        let _ = writeln!(out, "tidemark_http_cache_hits_total {}", self.cache_hits.load(Ordering::Relaxed));
        family(out, "tidemark_http_cache_misses_total", "counter", "Answers read from the view.");
        let _ = writeln!(out, "tidemark_http_cache_misses_total {}", self.cache_misses.load(Ordering::Relaxed));
    }
}

impl Latency {
    fn render(&self, out: &mut String, labels: &str) {
        const NAME: &str = "tidemark_http_request_duration_seconds";
        let mut total = 0;
        for (count, bound) in self.buckets.iter().zip(BUCKETS_S) {
            total += count;
            let bound = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
            let _ = writeln!(out, "{NAME}_bucket{{{labels},le=\"{bound}\"}} {total}");
        }
        let _ = writeln!(out, "{NAME}_sum{{{labels}}} {}", self.sum_s);
        let _ = writeln!(out, "{NAME}_count{{{labels}}} {total}");
    }
}

/// Routes are our own patterns and methods standard words: nothing in them needs an escape.
fn labels(route: &str, method: &str, status: u16) -> String {
    format!("route=\"{route}\",method=\"{method}\",status=\"{status}\"")
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// Metrics of this process and of the view, as Prometheus text.
#[utoipa::path(
    get, path = "/metrics", tag = "operations", operation_id = "metrics",
    responses((status = 200, description = "Prometheus text format 0.0.4", body = String, content_type = "text/plain"))
)]
pub(crate) async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let mut out = String::with_capacity(16 << 10);
    api.metrics.render(&mut out);
    family(&mut out, "tidemark_http_live_streams", "gauge", "Live streams open.");
    let _ = writeln!(out, "tidemark_http_live_streams {}", api.live.open());
    match views(&api).await {
        Ok(all) => {
            up(&mut out, 1);
            put_views(&all, &mut out);
        }
        // The process' own metrics are needed most when the store is away; `tidemark_view_up` tells.
        Err(_) => up(&mut out, 0),
    }
    api.parts.metrics.iter().for_each(|render| render(&mut out));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], out).into_response()
}

fn up(out: &mut String, up: u8) {
    family(out, "tidemark_view_up", "gauge", "1 if the view store answers.");
    let _ = writeln!(out, "tidemark_view_up {up}");
}

/// How far every version of every view has come, by the names of their tables.
async fn views(api: &Api) -> Result<Vec<(String, ProgressAnswer)>, Error> {
    let entries = api.catalog.entries().await?;
    let versions = entries.iter().flat_map(|entry| &entry.versions);
    let others = versions.filter(|v| v.table.name != api.config.view.name).map(|version| api.served(version));
    let mut all = vec![];
    for served in std::iter::once(api.flows.clone()).chain(others) {
        let facts = served.facts(0, instant::MAX_MS).await?;
        all.push((served.source.view.name.clone(), progress::summary(&facts, &served, api.now())));
    }
    Ok(all)
}

/// What the views themselves say of the pipeline.
fn put_views(all: &[(String, ProgressAnswer)], out: &mut String) {
    family(
        out,
        "tidemark_view_records",
        "gauge",
        "Records by stage, since the job version began; served: in rows now.",
    );
    for (view, summary) in all {
        let d = summary.dropped;
        let stages = [
            ("received", summary.received),
            ("accepted", summary.accepted),
            ("folded", summary.folded),
            ("served", summary.served),
            ("late_folded", summary.late_folded),
            ("held", d.held),
            ("filtered", d.filtered),
            ("dead_lettered", d.dead_lettered),
            ("duplicates", d.duplicates),
            ("sealed_out", d.sealed_out),
        ];
        for (stage, count) in stages {
            let _ = writeln!(out, "tidemark_view_records{{view=\"{view}\",stage=\"{stage}\"}} {count}");
        }
    }
    let delays: Vec<_> = all.iter().filter_map(|(view, s)| Some((view, s.watermark_delay_ms?))).collect();
    if !delays.is_empty() {
        family(out, "tidemark_view_watermark_delay_seconds", "gauge", "From the view's watermark to now.");
    }
    for (view, delay_ms) in delays {
        let _ = writeln!(out, "tidemark_view_watermark_delay_seconds{{view=\"{view}\"}} {}", delay_ms as f64 / 1_000.0);
    }
}
