//! Views of made-up jobs: requests by the hour, logins by five minutes that overlap, sessions.

use std::sync::Arc;
use std::time::Duration;

use tidemark_schemas::engine::{Ledger, Progress, SourceProgress, SourceRange, TopicPartitions};
use tidemark_views::local::LocalViews;
use tidemark_views::{
    CatalogEntry, Column, ColumnNote, Kind, Revision, Row, RowPartition, Value, ViewSpec, ViewStore, ViewVersion,
    Windowing,
};

use crate::{HOUR_MS, dice, now};

const MINUTE_MS: i64 = 60_000;
const M: i32 = 2;
const PATHS: [&str; 6] = ["/", "/cart", "/checkout", "/search?q=…", "/api/v2/orders", "/img/logo.svg"];

fn columns(kinds: &[(&str, Kind)]) -> Vec<Column> {
    kinds.iter().map(|(name, kind)| Column { name: (*name).into(), kind: *kind }).collect()
}

fn version(name: &str, number: u32, window: Windowing, key: &[(&str, Kind)], values: &[(&str, Kind)]) -> ViewVersion {
    ViewVersion {
        version: number,
        table: ViewSpec {
            name: format!("{name}_v{number}"),
            clustering: columns(key),
            values: columns(values),
            retention_ms: 7 * 24 * HOUR_MS,
        },
        window,
        grace_ms: 2 * MINUTE_MS,
        amend_for_ms: 24 * HOUR_MS,
        idle_after_ms: 30_000,
        sources: vec![format!("{name}.events")],
        freshness_ms: Some(MINUTE_MS),
        description: String::new(),
        columns: vec![],
        key: key.iter().map(|(name, _)| (*name).to_owned()).collect(),
        spec: String::new(),
    }
}

fn entry(view: &str, versions: Vec<ViewVersion>) -> CatalogEntry {
    let current = versions.first().map(|v| v.version);
    CatalogEntry { view: view.into(), revision: 1, current, previous: None, versions }
}

/// The flows as any other view.
pub(crate) fn flows(table: &ViewSpec) -> CatalogEntry {
    let size_ms = HOUR_MS;
    let v = version("flows", 1, Windowing::Tumbling { size_ms }, &[], &[]);
    let key = table.clustering.iter().map(|c| c.name.clone()).collect();
    let (sources, description) = (vec!["flows.observed".into()], "bytes by source, destination and network".into());
    entry(
        "flows.hourly",
        vec![ViewVersion { table: table.clone(), key, sources, description, grace_ms: crate::GRACE_MS, ..v }],
    )
}

fn access(number: u32) -> ViewVersion {
    let values = [
        ("requests", Kind::Long),
        ("bytes", Kind::Integer),
        ("p99_ms", Kind::Double),
        ("visitors", Kind::Long),
        ("top_paths", Kind::Json),
        ("records", Kind::Long),
    ];
    let note =
        |name: &str, description: &str, error| ColumnNote { name: name.into(), description: description.into(), error };
    ViewVersion {
        description: "requests by client address, from the access logs of all gateways".into(),
        columns: vec![
            note("p99_ms", "99th percentile of the duration", Some(0.01)),
            note("visitors", "distinct users", Some(0.016)),
        ],
        ..version(
            "access",
            number,
            Windowing::Tumbling { size_ms: HOUR_MS },
            &[("ip", Kind::Text), ("status", Kind::Long)],
            &values,
        )
    }
}

fn logins() -> ViewVersion {
    let values = [("failed", Kind::Long), ("last_at", Kind::Time), ("locked", Kind::Boolean), ("records", Kind::Long)];
    ViewVersion {
        description: "failed logins by country and user, to find who is being tried".into(),
        ..version(
            "logins",
            1,
            Windowing::Hopping { size_ms: 15 * MINUTE_MS, hop_ms: 5 * MINUTE_MS },
            &[("country", Kind::Text), ("user", Kind::Text)],
            &values,
        )
    }
}

fn sessions() -> ViewVersion {
    let values = [("session_end", Kind::Time), ("pages", Kind::Long), ("records", Kind::Long)];
    version(
        "visits",
        1,
        Windowing::Session { gap_ms: 30 * MINUTE_MS, bucket_ms: HOUR_MS },
        &[("user", Kind::Text), ("session_start", Kind::Time)],
        &values,
    )
}

fn access_row(at: i64, window: i64) -> (Vec<Value>, Vec<Value>) {
    let roll = |salt: i64| (dice(&[at, salt]) % 1_000) as i64;
    let now = (dice(&[at, window]) % 1_000) as i64;
    let requests = (1 + roll(1) * roll(1) / 400) * (500 + now) / 700 + 1;
    let top: Vec<_> = (0..3)
        .map(|n| format!(r#"{{"path":"{}","n":{}}}"#, PATHS[(roll(n) % 6) as usize], requests / (n + 2) + 1))
        .collect();
    let key = vec![Value::Text(format!("203.0.{}.0/24", 90 + at / 2)), Value::Long([200, 404][(at % 2) as usize])];
    let mean = if roll(9) < 80 { Value::Null } else { Value::Double(roll(4) as f64 / 3.0 + 2.0) };
    let values = vec![
        Value::Long(requests),
        Value::Integer(i128::from(requests) * 48_211),
        mean,
        Value::Long(requests / 3 + 1),
        Value::Json(format!("[{}]", top.join(","))),
        Value::Long(requests),
    ];
    (key, values)
}

fn login_row(at: i64, window: i64) -> (Vec<Value>, Vec<Value>) {
    let roll = (dice(&[at, window / 3]) % 60) as i64;
    let key = vec![
        Value::Text(["DE", "FR", "US", "BR", "??"][(at % 5) as usize].into()),
        Value::Text(format!("hmac-{:06x}", dice(&[at]) % 0xff_ffff)),
    ];
    (
        key,
        vec![
            Value::Long(roll + 1),
            Value::Time(window * 5 * MINUTE_MS + roll * 9_000),
            Value::Boolean(roll > 50),
            Value::Long(roll + 1),
        ],
    )
}

fn session_row(at: i64, window: i64) -> (Vec<Value>, Vec<Value>) {
    let roll = (dice(&[at, window]) % 55) as i64;
    let start = window * HOUR_MS + roll * MINUTE_MS;
    let key = vec![Value::Text(format!("user-{at:03}")), Value::Time(start)];
    (key, vec![Value::Time(start + (roll + 30) * MINUTE_MS), Value::Long(roll + 1), Value::Long(roll + 1)])
}

type Make = fn(i64, i64) -> (Vec<Value>, Vec<Value>);

async fn put(views: &LocalViews, v: &ViewVersion, make: Make, (window, keys): (i64, i64), revision: i64) {
    let (start, closes) = (window * v.window.step_ms(), window * v.window.step_ms() + v.window.size_ms() + v.grace_ms);
    for m in 0..M {
        let row = |at: i64| {
            let (clustering, values) = make(at, window);
            let partition = RowPartition { tenant: "default".into(), window_start: start, merge_partition: m };
            Row { partition, clustering, values, revision: Revision { epoch: 0, offset: revision }, written_at: start }
        };
        let rows: Vec<_> = (0..keys).filter(|at| at % i64::from(M) == i64::from(m)).map(row).collect();
        let records = rows.iter().map(|r| if let Some(Value::Long(n)) = r.values.last() { *n } else { 0 }).sum();
        let late = if dice(&[window, 5]).is_multiple_of(6) { 3 } else { 0 };
        let ledger = Ledger {
            window_start: start,
            window_end: start
                + v.window.size_ms()
                + if matches!(v.window, Windowing::Session { .. }) { 40 * MINUTE_MS } else { 0 },
            merge_partition: m,
            rows: rows.len() as i64,
            records,
            late,
            held: 0,
            sealed_out: 0,
            amended: late > 0 && closes < now(),
            sealed: closes + v.amend_for_ms < now(),
            opened_at: start + 900,
            closed_at: (closes < now()).then_some(closes + 700 + 400 * i64::from(m)),
            updated_at: now().min(closes),
            sources: (0..2)
                .map(|partition| SourceRange {
                    topic: v.sources[0].clone(),
                    partition,
                    first_offset: window % 9_999 * 100,
                    last_offset: window % 9_999 * 100 + records,
                })
                .collect(),
            epoch: 0,
            revision,
        };
        views.put_rows(&v.table, &rows).await.unwrap();
        views.put_ledger(&v.table, &[ledger]).await.unwrap();
    }
}

fn progress(v: &ViewVersion, merge_partition: i32, revision: i64) -> Progress {
    let source = |partition: i32| SourceProgress {
        topic: v.sources[0].clone(),
        partition,
        next_offset: 4_400_120 + revision * 31,
        watermark: Some(now() - 2_000 - 45_000 * i64::from(partition)),
        idle_at: None,
        records: 40_000 + revision * 31,
        late: 12,
        held: 0,
        filtered: 4_000,
        dead_lettered: 3,
        duplicates: 0,
    };
    Progress {
        fingerprint: 1,
        merge_partition,
        merge_partitions: M,
        watermark: Some(now() - 47_000),
        as_of: now(),
        oldest_append: None,
        sources: (0..2).map(source).collect(),
        partition_counts: vec![TopicPartitions { topic: v.sources[0].clone(), partitions: 2 }],
        epoch: 0,
        revision,
    }
}

/// Two days, then the open windows again and again. The second version of `access.hourly` comes after 20 seconds.
pub(crate) async fn fill(views: Arc<LocalViews>) {
    let all: [(&str, ViewVersion, Make, i64); 4] = [
        ("access.hourly", access(1), access_row, 60),
        ("logins.failed", logins(), login_row, 40),
        ("visits", sessions(), session_row, 80),
        ("", access(2), access_row, 60),
    ];
    for (name, v, make, keys) in &all {
        views.create(&v.table).await.unwrap();
        if !name.is_empty() {
            views.put_catalog(&entry(name, vec![v.clone()])).await.unwrap();
        }
        let current = now() / v.window.step_ms();
        for window in current - 52..=current {
            put(&views, v, *make, (window, *keys), 1).await;
        }
    }
    for revision in 2.. {
        for (_, v, make, keys) in &all {
            let current = now() / v.window.step_ms();
            for window in current - 3..=current {
                put(&views, v, *make, (window, *keys), revision).await;
            }
            for m in 0..M {
                views.put_progress(&v.table, &progress(v, m, revision)).await.unwrap();
            }
        }
        if revision == 20 {
            let both = CatalogEntry { revision: 2, ..entry("access.hourly", vec![access(1), access(2)]) };
            views.put_catalog(&both).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
