//! Fills a view in a temporary folder with two days of made-up flows and serves the dashboard over it on a loopback port:
//! `cargo run -p tidemark-query-api --example demo [PORT]`; port 0, the default, takes a free one. The open hour grows while
//! it runs. With `empty` as the second argument there are no records. The page of all views has three more, of made-up jobs.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod jobs;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidemark_query_api::{Api, Parts, QueryConfig, router};
use tidemark_schemas::engine::{Ledger, Progress, SourceProgress, SourceRange, TopicPartitions};
use tidemark_views::local::LocalViews;
use tidemark_views::{Column, Kind, Revision, Row, RowPartition, Value, ViewSpec, ViewStore};

const HOUR_MS: i64 = 3_600_000;
const GRACE_MS: i64 = 600_000;
const MERGE_PARTITIONS: i32 = 4;
const HOURS: i64 = 50;
const SOURCES: [&str; 9] =
    ["checkout", "web", "mobile-gateway", "search", "recommendations", "billing", "batch-etl", "monitoring", "auth"];
const DESTINATIONS: [&str; 8] = [
    "orders-db",
    "cache",
    "s3.eu-central-1.amazonaws.com",
    "payments",
    "users-db",
    "kafka",
    "10.42.7.19",
    "cdn-origin",
];
const NETWORKS: [&str; 3] = ["vpc-prod-eu", "vpc-prod-us", "vpc-staging"];

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// The same number for the same arguments.
fn dice(seed: &[i64]) -> u64 {
    seed.iter()
        .fold(0x9e37_79b9_7f4a_7c15, |h: u64, n| (h ^ *n as u64).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(31))
}

fn spec() -> ViewSpec {
    let column = |(name, kind): (&str, Kind)| Column { name: name.into(), kind };
    ViewSpec {
        name: "flows_hourly_v1".into(),
        clustering: ["src_app", "dest_app", "vpc_id"].map(|name| column((name, Kind::Text))).into(),
        values: [("bytes_rx", Kind::Integer), ("bytes_tx", Kind::Integer), ("records", Kind::Long)].map(column).into(),
        retention_ms: 7 * 24 * HOUR_MS,
    }
}

/// The rows of an hour, `part` of 1,000 of them filled, for one merge partition.
fn rows(hour: i64, merge_partition: i32, part: i64, revision: i64) -> Vec<Row> {
    let day = (((hour % 24) as f64 - 14.0) / 24.0 * std::f64::consts::TAU).cos();
    let load = (1.6 + day) * part as f64 / 1_000.0;
    let mut rows = vec![];
    for (s, src) in SOURCES.iter().enumerate() {
        for (d, dest) in DESTINATIONS.iter().enumerate() {
            for (n, vpc) in NETWORKS.iter().enumerate() {
                let roll = dice(&[s as i64, d as i64, n as i64]);
                if roll.is_multiple_of(3) || (roll / 3 % MERGE_PARTITIONS as u64) as i32 != merge_partition {
                    continue;
                }
                let size = (1 << (roll / 64 % 12)) as f64 * (0.8 + (dice(&[hour, roll as i64]) % 400) as f64 / 1_000.0);
                let records = (load * size * 3.0) as i64 + 1;
                rows.push(Row {
                    partition: RowPartition { tenant: "default".into(), window_start: hour * HOUR_MS, merge_partition },
                    clustering: [src, dest, vpc].map(|text| Value::Text((*text).to_string())).into(),
                    values: vec![
                        Value::Integer(i128::from(records) * 41_337),
                        Value::Integer(i128::from(records) * 9_121),
                        Value::Long(records),
                    ],
                    revision: Revision { epoch: 0, offset: revision },
                    written_at: hour * HOUR_MS,
                });
            }
        }
    }
    rows
}

fn ledger(hour: i64, age: i64, merge_partition: i32, rows: &[Row], revision: i64) -> Ledger {
    let records = rows.iter().map(|r| if let Some(Value::Long(n)) = r.values.get(2) { *n } else { 0 }).sum();
    let amended = age > 1 && dice(&[hour]).is_multiple_of(5);
    Ledger {
        window_start: hour * HOUR_MS,
        window_end: (hour + 1) * HOUR_MS,
        merge_partition,
        rows: rows.len() as i64,
        records,
        late: if amended { 17 } else { 0 },
        held: 0,
        sealed_out: 0,
        amended,
        sealed: age > 40,
        opened_at: hour * HOUR_MS + 1_200,
        closed_at: (age > 1).then_some((hour + 1) * HOUR_MS + GRACE_MS + 900),
        updated_at: now(),
        sources: (0..3)
            .map(|partition| SourceRange {
                topic: "flows.observed".into(),
                partition,
                first_offset: (HOURS - age) * 9_000,
                last_offset: (HOURS - age) * 9_000 + 8_999,
            })
            .collect(),
        epoch: 0,
        revision,
    }
}

fn progress(merge_partition: i32, records: i64, revision: i64) -> Progress {
    let source = |partition: i32| SourceProgress {
        topic: "flows.observed".into(),
        partition,
        next_offset: records / 3,
        watermark: Some(now() - 1_500 - 4_000 * i64::from(partition)),
        idle_at: None,
        records: records / 3 + 12,
        late: 120,
        held: 0,
        filtered: 0,
        dead_lettered: if partition == 1 { 36 } else { 0 },
        duplicates: 0,
    };
    let sources: Vec<_> = (0..3).map(source).collect();
    Progress {
        fingerprint: 1,
        merge_partition,
        merge_partitions: MERGE_PARTITIONS,
        watermark: sources.iter().map(|s| s.watermark).min().flatten(),
        as_of: now(),
        oldest_append: None,
        sources,
        partition_counts: vec![TopicPartitions { topic: "flows.observed".into(), partitions: 3 }],
        epoch: 0,
        revision,
    }
}

async fn write(views: &LocalViews, spec: &ViewSpec, hour: i64, part: i64, revision: i64) -> i64 {
    let mut records = 0;
    for m in 0..MERGE_PARTITIONS {
        let rows = rows(hour, m, part, revision);
        let ledger = ledger(hour, now() / HOUR_MS - hour, m, &rows, revision);
        records += ledger.records;
        views.put_rows(spec, &rows).await.unwrap();
        views.put_ledger(spec, &[ledger]).await.unwrap();
    }
    records
}

/// Two days, then the open hour again and again.
async fn fill(views: Arc<LocalViews>, spec: ViewSpec) {
    let mut closed = 0;
    for hour in now() / HOUR_MS - HOURS..now() / HOUR_MS {
        closed += write(&views, &spec, hour, 1_000, 1).await;
    }
    for revision in 2.. {
        let part = now() % HOUR_MS * 1_000 / HOUR_MS + 1;
        let open = write(&views, &spec, now() / HOUR_MS, part, revision).await;
        for m in 0..MERGE_PARTITIONS {
            views.put_progress(&spec, &progress(m, closed + open, revision)).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let port: u16 = args.next().map_or(0, |port| port.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let views = LocalViews::open(dir.path(), Arc::new(now)).unwrap();
    let spec = spec();
    views.create(&spec).await.unwrap();
    views.put_catalog(&jobs::flows(&spec)).await.unwrap();
    if args.next().as_deref() != Some("empty") {
        tokio::spawn(fill(views.clone(), spec.clone()));
        tokio::spawn(jobs::fill(views.clone()));
    }
    let api = Api::new(views, QueryConfig::new(spec, GRACE_MS, 30_000), Arc::new(now), Parts::default()).unwrap();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    axum::serve(listener, router(api)).await.unwrap();
}
