//! Views, rows and entries to write.

use std::time::{SystemTime, UNIX_EPOCH};

use tidemark_schemas::engine::{Ledger, Progress, SourceProgress, SourceRange, TopicPartitions};
use tidemark_views::{
    CatalogEntry, Column, ColumnNote, Kind, Revision, Row, RowPartition, RowQuery, Value, ViewSpec, ViewVersion,
    Windowing,
};

pub(crate) const HOUR: i64 = 3_600_000;
pub(crate) const WEEK: i64 = 7 * 24 * HOUR;

pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

pub(crate) fn columns(kinds: &[(&str, Kind)]) -> Vec<Column> {
    kinds.iter().map(|(name, kind)| Column { name: (*name).into(), kind: *kind }).collect()
}

/// (app text, port long, id integer) → (bytes integer, records long, note text); the names need quoting in CQL.
pub(crate) fn view(name: &str) -> ViewSpec {
    ViewSpec {
        name: name.into(),
        clustering: columns(&[("app", Kind::Text), ("from", Kind::Long), ("Id", Kind::Integer)]),
        values: columns(&[("bytes", Kind::Integer), ("records", Kind::Long), ("select", Kind::Text)]),
        retention_ms: WEEK,
    }
}

/// Clustered by, and with a value of, every kind that can be.
pub(crate) fn wide(name: &str) -> ViewSpec {
    let named = |(at, kind)| Column { name: format!("c{at}"), kind };
    let clustering = Kind::ALL.into_iter().filter(|kind| kind.can_cluster());
    ViewSpec {
        name: name.into(),
        clustering: clustering.enumerate().map(named).collect(),
        values: Kind::ALL.into_iter().enumerate().map(|(at, kind)| named((10 + at, kind))).collect(),
        retention_ms: WEEK,
    }
}

pub(crate) fn catalog_entry(view: &str, revision: i64, versions: &[u32]) -> CatalogEntry {
    let version = |version: &u32| ViewVersion {
        version: *version,
        table: wide(&format!("v{version}")),
        window: Windowing::Hopping { size_ms: 2 * HOUR, hop_ms: HOUR },
        grace_ms: 1,
        amend_for_ms: 2,
        idle_after_ms: 3,
        sources: vec!["flows.observed".into()],
        freshness_ms: Some(60_000),
        description: "what's \"in\" it, ß".into(),
        columns: vec![ColumnNote { name: "c10".into(), description: String::new(), error: Some(0.01) }],
        key: vec!["c0".into()],
        spec: "view: x\n".into(),
    };
    CatalogEntry {
        view: view.into(),
        revision,
        current: versions.first().copied(),
        previous: versions.get(1).copied(),
        versions: versions.iter().map(version).collect(),
    }
}

pub(crate) fn partition() -> RowPartition {
    RowPartition { tenant: "default".into(), window_start: 473_364 * HOUR, merge_partition: 3 }
}

pub(crate) fn key(app: &str, from: i64, id: i128) -> Vec<Value> {
    vec![Value::Text(app.into()), Value::Long(from), Value::Integer(id)]
}

pub(crate) fn values(bytes: i128, records: i64, note: &str) -> Vec<Value> {
    vec![Value::Integer(bytes), Value::Long(records), Value::Text(note.into())]
}

pub(crate) fn row(clustering: Vec<Value>, values: Vec<Value>, epoch: i32, offset: i64) -> Row {
    Row { partition: partition(), clustering, values, revision: Revision { epoch, offset }, written_at: now() }
}

pub(crate) fn all(partition: RowPartition) -> RowQuery {
    RowQuery { partition, prefix: vec![], after: None, limit: 100_000 }
}

pub(crate) fn ledger(window_start: i64, merge_partition: i32, epoch: i32, revision: i64) -> Ledger {
    Ledger {
        window_start,
        window_end: window_start + HOUR,
        merge_partition,
        rows: 3,
        records: revision * 10,
        late: 2,
        held: 1,
        sealed_out: 0,
        amended: revision % 2 == 0,
        sealed: false,
        opened_at: now(),
        closed_at: (revision > 5).then_some(window_start + 2 * HOUR),
        updated_at: now(),
        sources: vec![SourceRange {
            topic: "flows.observed".into(),
            partition: 1,
            first_offset: 5,
            last_offset: revision,
        }],
        epoch,
        revision,
    }
}

pub(crate) fn progress(merge_partition: i32, epoch: i32, revision: i64) -> Progress {
    let source = SourceProgress {
        topic: "flows.observed".into(),
        partition: 0,
        next_offset: revision,
        watermark: Some(revision),
        idle_at: None,
        records: revision,
        late: 0,
        held: 0,
        filtered: 0,
        dead_lettered: 0,
        duplicates: 0,
    };
    Progress {
        fingerprint: i64::MIN,
        merge_partition,
        merge_partitions: 4,
        watermark: (revision > 1).then_some(revision),
        as_of: now(),
        oldest_append: None,
        sources: vec![source],
        partition_counts: vec![TopicPartitions { topic: "flows.observed".into(), partitions: 1 }],
        epoch,
        revision,
    }
}

/// A small generator of numbers, the same for the same seed (xorshift64*).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.roll(at + 1));
        }
    }
}
