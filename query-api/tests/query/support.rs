//! A view with known contents, and a client for the router over it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value as Json;
use tempfile::TempDir;
use tidemark_query_api::{Api, Parts, QueryConfig, router};
use tidemark_schemas::engine::{Ledger, Progress, SourceProgress, SourceRange, TopicPartitions};
use tidemark_views::local::LocalViews;
use tidemark_views::{Column, Kind, Revision, Row, RowPartition, Value, ViewSpec, ViewStore};
use tower::ServiceExt;

pub const HOUR_MS: i64 = 3_600_000;
pub const GRACE_MS: i64 = 600_000;
pub const IDLE_AFTER_MS: i64 = 30_000;
/// The current hour of the tests, 2026-11-21T03:00:00Z.
pub const NOW_HOUR: i64 = 498_675;
pub const M: i32 = 3;

pub fn spec() -> ViewSpec {
    let column = |(name, kind): (&str, Kind)| Column { name: name.into(), kind };
    ViewSpec {
        name: "flows_hourly_v1".into(),
        clustering: ["src_app", "dest_app", "vpc_id"].map(|name| column((name, Kind::Text))).into(),
        values: [("bytes_tx", Kind::Integer), ("bytes_rx", Kind::Integer), ("records", Kind::Long)].map(column).into(),
        retention_ms: 7 * 24 * HOUR_MS,
    }
}

pub type Key = (String, String, String);

pub fn key(src: &str, dest: &str, vpc: &str) -> Key {
    (src.into(), dest.into(), vpc.into())
}

pub struct Fixture {
    pub views: Arc<LocalViews>,
    pub spec: ViewSpec,
    pub now: Arc<AtomicI64>,
    pub api: Arc<Api>,
    _dir: TempDir,
}

impl Fixture {
    pub async fn new() -> Self {
        Self::with(Parts::default()).await
    }

    pub async fn with(parts: Parts) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now = Arc::new(AtomicI64::new(NOW_HOUR * HOUR_MS + 25 * 60_000));
        let clock = {
            let now = now.clone();
            Arc::new(move || now.load(Ordering::SeqCst))
        };
        let views = LocalViews::open(dir.path(), clock.clone()).unwrap();
        let spec = spec();
        views.create(&spec).await.unwrap();
        let config = QueryConfig::new(spec.clone(), GRACE_MS, IDLE_AFTER_MS);
        let api = Api::new(views.clone(), config, clock, parts).unwrap();
        Self { views, spec, now, api, _dir: dir }
    }

    pub fn app(&self) -> Router {
        router(self.api.clone())
    }

    pub async fn row(&self, hour: i64, m: i32, key: &Key, rx: i128, tx: i128, records: i64, revision: i64) {
        self.views.put_rows(&self.spec, &[row(hour, m, key, rx, tx, records, revision)]).await.unwrap();
    }

    pub async fn ledger(&self, ledger: Ledger) {
        self.views.put_ledger(&self.spec, &[ledger]).await.unwrap();
    }

    /// All merge partitions at this watermark.
    pub async fn watermark(&self, watermark: Option<i64>, revision: i64) {
        for m in 0..M {
            self.views.put_progress(&self.spec, &progress(m, watermark, revision)).await.unwrap();
        }
    }

    /// One row per key, each in the merge partition its first byte says, and the ledgers.
    pub async fn hour(&self, hour: i64, keys: &[Key]) {
        let place = |key: &Key| i32::from(key.0.as_bytes()[0]) % M;
        let rows: Vec<_> = keys.iter().map(|k| row(hour, place(k), k, 10, 1, 1, 5)).collect();
        self.views.put_rows(&self.spec, &rows).await.unwrap();
        for m in 0..M {
            let rows = keys.iter().filter(|k| place(k) == m).count() as i64;
            if rows > 0 {
                self.ledger(Ledger { rows, records: rows, ..ledger(hour, m, 5) }).await;
            }
        }
    }

    pub async fn get(&self, uri: &str) -> Answer {
        self.ask(uri, &[]).await
    }

    pub async fn ask(&self, uri: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        send(self.app(), request.body(Body::empty()).unwrap()).await
    }
}

pub async fn send(app: Router, request: Request<Body>) -> Answer {
    let response = app.oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Answer { status, headers, text: String::from_utf8(body.into()).unwrap() }
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Json {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        serde_json::from_str(&self.text).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    /// Checks that it is a problem document of that status and gives it.
    pub fn problem(&self, status: u16) -> Json {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem: Json = serde_json::from_str(&self.text).unwrap();
        assert_eq!(problem["status"], status);
        problem
    }
}

pub fn row(hour: i64, m: i32, key: &Key, rx: i128, tx: i128, records: i64, revision: i64) -> Row {
    Row {
        partition: RowPartition { tenant: "default".into(), window_start: hour * HOUR_MS, merge_partition: m },
        clustering: [&key.0, &key.1, &key.2].map(|text| Value::Text(text.clone())).into(),
        values: vec![Value::Integer(tx), Value::Integer(rx), Value::Long(records)],
        revision: Revision { epoch: 0, offset: revision },
        written_at: hour * HOUR_MS,
    }
}

pub fn ledger(hour: i64, m: i32, revision: i64) -> Ledger {
    Ledger {
        window_start: hour * HOUR_MS,
        window_end: (hour + 1) * HOUR_MS,
        merge_partition: m,
        rows: 1,
        records: 1,
        late: 0,
        held: 0,
        sealed_out: 0,
        amended: false,
        sealed: false,
        opened_at: hour * HOUR_MS,
        closed_at: None,
        updated_at: hour * HOUR_MS,
        sources: vec![source_range(0, 0, 0)],
        epoch: 0,
        revision,
    }
}

pub fn source_range(partition: i32, first_offset: i64, last_offset: i64) -> SourceRange {
    SourceRange { topic: "flows.observed".into(), partition, first_offset, last_offset }
}

pub fn progress(m: i32, watermark: Option<i64>, revision: i64) -> Progress {
    Progress {
        fingerprint: 7,
        merge_partition: m,
        merge_partitions: M,
        watermark,
        as_of: NOW_HOUR * HOUR_MS + 1_000 * i64::from(m),
        oldest_append: None,
        sources: vec![SourceProgress {
            topic: "flows.observed".into(),
            partition: 0,
            next_offset: 100,
            watermark,
            idle_at: None,
            records: 100,
            late: 4,
            held: 3,
            filtered: 2,
            dead_lettered: 1,
            duplicates: 5,
        }],
        partition_counts: vec![TopicPartitions { topic: "flows.observed".into(), partitions: 1 }],
        epoch: 0,
        revision,
    }
}

/// The watermark at which an hour closes.
pub fn closes(hour: i64) -> i64 {
    (hour + 1) * HOUR_MS + GRACE_MS
}
