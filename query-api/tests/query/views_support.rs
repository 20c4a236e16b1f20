//! Views of jobs: catalogue entries, and windows of any length with rows in them.

use tidemark_schemas::engine::{Ledger, Progress, SourceProgress, TopicPartitions};
use tidemark_views::{
    CatalogEntry, Column, ColumnNote, Kind, Revision, Row, RowPartition, Value, ViewSpec, ViewStore, ViewVersion,
    Windowing,
};

use crate::support::*;

pub const MINUTE_MS: i64 = 60_000;
pub const HOURS: Windowing = Windowing::Tumbling { size_ms: HOUR_MS };
pub const AMEND_MS: i64 = 86_400_000;

pub fn columns(kinds: &[(&str, Kind)]) -> Vec<Column> {
    kinds.iter().map(|(name, kind)| Column { name: (*name).into(), kind: *kind }).collect()
}

/// By (ip, port): requests and bytes.
pub fn version(version: u32, window: Windowing) -> ViewVersion {
    ViewVersion {
        version,
        table: ViewSpec {
            name: format!("access_v{version}"),
            clustering: columns(&[("ip", Kind::Text), ("port", Kind::Long)]),
            values: columns(&[("bytes", Kind::Integer), ("visitors", Kind::Double), ("records", Kind::Long)]),
            retention_ms: 7 * 24 * HOUR_MS,
        },
        window,
        grace_ms: GRACE_MS,
        amend_for_ms: AMEND_MS,
        idle_after_ms: IDLE_AFTER_MS,
        sources: vec!["access.logged".into()],
        freshness_ms: Some(120_000),
        description: "requests by address".into(),
        columns: vec![ColumnNote { name: "visitors".into(), description: "distinct".into(), error: Some(0.02) }],
        key: vec!["ip".into(), "port".into()],
        spec: String::new(),
    }
}

/// The first version is current, the second the one before it.
pub fn entry(view: &str, revision: i64, versions: &[ViewVersion]) -> CatalogEntry {
    let number = |at: usize| versions.get(at).map(|v: &ViewVersion| v.version);
    CatalogEntry { view: view.into(), revision, current: number(0), previous: number(1), versions: versions.to_vec() }
}

/// A fixture with one view, `access`.
pub async fn access(version: &ViewVersion) -> Fixture {
    let f = Fixture::new().await;
    f.views.create(&version.table).await.unwrap();
    f.views.put_catalog(&entry("access", 1, std::slice::from_ref(version))).await.unwrap();
    f
}

pub fn view_row(start: i64, m: i32, clustering: Vec<Value>, values: Vec<Value>, revision: i64) -> Row {
    Row {
        partition: RowPartition { tenant: "default".into(), window_start: start, merge_partition: m },
        clustering,
        values,
        revision: Revision { epoch: 0, offset: revision },
        written_at: NOW_HOUR * HOUR_MS,
    }
}

pub fn address(ip: &str, port: i64) -> Vec<Value> {
    vec![Value::Text(ip.into()), Value::Long(port)]
}

pub fn sums(bytes: i128, records: i64) -> Vec<Value> {
    vec![Value::Integer(bytes), Value::Double(0.5), Value::Long(records)]
}

/// Ledger of a window; what `change` leaves is one row and record, open, of revision 5.
pub fn window(v: &ViewVersion, start: i64, m: i32, change: impl FnOnce(&mut Ledger)) -> Ledger {
    let opened_at = NOW_HOUR * HOUR_MS;
    let mut ledger = Ledger {
        window_start: start,
        window_end: start + v.window.size_ms(),
        opened_at,
        updated_at: opened_at,
        ..ledger(0, m, 5)
    };
    change(&mut ledger);
    ledger
}

impl Fixture {
    /// One row per address, each in the merge partition that its port says, and the ledgers.
    pub async fn fill(&self, v: &ViewVersion, start: i64, addresses: &[(&str, i64)]) {
        let place = |port: i64| (port % i64::from(M)) as i32;
        let row = |(ip, port): &(&str, i64)| view_row(start, place(*port), address(ip, *port), sums(10, 1), 5);
        self.views.put_rows(&v.table, &addresses.iter().map(row).collect::<Vec<_>>()).await.unwrap();
        for m in 0..M {
            let rows = addresses.iter().filter(|(_, port)| place(*port) == m).count() as i64;
            if rows > 0 {
                let entry = window(v, start, m, |l| (l.rows, l.records) = (rows, rows));
                self.views.put_ledger(&v.table, &[entry]).await.unwrap();
            }
        }
    }

    pub async fn known(&self, v: &ViewVersion, entry: Ledger) {
        self.views.put_ledger(&v.table, &[entry]).await.unwrap();
    }

    /// All merge partitions of a version at these source watermarks: partition, watermark, idle since.
    pub async fn sources(&self, v: &ViewVersion, sources: &[(i32, Option<i64>, Option<i64>)], revision: i64) {
        let source = |(partition, watermark, idle_at): &(i32, Option<i64>, Option<i64>)| SourceProgress {
            topic: "access.logged".into(),
            partition: *partition,
            next_offset: 1_000 + i64::from(*partition),
            watermark: *watermark,
            idle_at: *idle_at,
            ..progress(0, None, 1).sources[0].clone()
        };
        let sources: Vec<_> = sources.iter().map(source).collect();
        let counted = |s: &SourceProgress| s.watermark.max(s.idle_at.map(|at| at - IDLE_AFTER_MS));
        let watermark = sources.iter().map(counted).min().flatten();
        let partition_counts =
            vec![TopicPartitions { topic: "access.logged".into(), partitions: sources.len() as i32 }];
        for m in 0..M {
            let entry = Progress {
                sources: sources.clone(),
                partition_counts: partition_counts.clone(),
                ..progress(m, watermark, revision)
            };
            self.views.put_progress(&v.table, &entry).await.unwrap();
        }
    }

    /// Both source partitions of a version at a watermark.
    pub async fn reached(&self, v: &ViewVersion, watermark: i64, revision: i64) {
        self.sources(v, &[(0, Some(watermark), None), (1, Some(watermark), None)], revision).await;
    }

    /// Asks until the answer is as wanted: the catalogue is up to a second old.
    pub async fn until(&self, uri: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        loop {
            let answer = self.get(uri).await;
            if wanted(&answer) {
                return answer;
            }
            assert!(std::time::Instant::now() < deadline, "{uri}: {}", answer.text);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}
