//! The tables of the document pipeline: documents, their task log, the runs of their steps. The view writers make rows of records
//! here, and whoever serves them makes records of rows.
//!
//! Rows are under (tenant, window 0, [`bucket`]): a document has all of its rows of a table in one partition, and a tenant's are
//! spread over [`BUCKETS`] of them. They are kept for ten years, which is CQL's bound.

use crate::{Column, Kind, Revision, Row, RowPartition, RowQuery, Value, ViewSpec};
use tidemark_schemas::documents::{Document, StepAttempted, TaskChanged};

/// Partitions of each tenant's tables.
pub const BUCKETS: i32 = 64;
/// Ten years of 365 days: some versions of CQL stores refuse or cut times to live that end after January 2038.
pub const RETENTION_MS: i64 = 10 * 365 * 86_400_000;
/// Of every row: the tables are never rebuilt as a new epoch.
const EPOCH: i32 = 1;

/// 0 to 63: the first byte of the hash that a FileID is, modulo [`BUCKETS`]. What is no FileID is in bucket 0.
pub fn bucket(file_id: &str) -> i32 {
    let first = file_id.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    i32::from(first.unwrap_or(0)) % BUCKETS
}

/// Where the rows of a document are, in each of the three tables.
pub fn partition(tenant: &str, file_id: &str) -> RowPartition {
    RowPartition { tenant: tenant.to_owned(), window_start: 0, merge_partition: bucket(file_id) }
}

/// The document; or its log, or its steps, in order, from the row after `after` on. `limit` is 1 to 100,000.
pub fn of_file(tenant: &str, file_id: &str, after: Option<Vec<Value>>, limit: usize) -> RowQuery {
    let prefix = vec![Value::Text(file_id.to_owned())];
    RowQuery { partition: partition(tenant, file_id), prefix, after, limit }
}

/// Table `documents`: a row for each document, by file_id.
pub fn documents() -> ViewSpec {
    Document::spec()
}

/// Table `documents_log`: lines of the task log by (file_id, seq).
pub fn log() -> ViewSpec {
    TaskChanged::spec()
}

/// Table `documents_steps`: runs of steps by (file_id, token, place).
pub fn steps() -> ViewSpec {
    StepAttempted::spec()
}

/// A record that is a row of one of these tables.
pub trait Tabled: Sized {
    /// The table.
    fn spec() -> ViewSpec;
    /// Its row. The same record gives the same row.
    fn row(&self) -> Row;
    /// The record of a row that [`Tabled::row`] made; `None` when the row is none of this table's.
    fn record(row: Row) -> Option<Self>;
}

/// A field and the value of its column.
trait Cell: Sized {
    fn put(&self, kind: Kind) -> Value;
    fn get(value: Value) -> Option<Self>;
}

impl Cell for String {
    fn put(&self, _kind: Kind) -> Value {
        Value::Text(self.clone())
    }
    fn get(value: Value) -> Option<Self> {
        if let Value::Text(text) = value { Some(text) } else { None }
    }
}

impl Cell for i64 {
    fn put(&self, kind: Kind) -> Value {
        if kind == Kind::Time { Value::Time(*self) } else { Value::Long(*self) }
    }
    fn get(value: Value) -> Option<Self> {
        if let Value::Long(long) | Value::Time(long) = value { Some(long) } else { None }
    }
}

impl Cell for i32 {
    fn put(&self, _kind: Kind) -> Value {
        Value::Long(i64::from(*self))
    }
    fn get(value: Value) -> Option<Self> {
        i64::get(value).and_then(|long| Self::try_from(long).ok())
    }
}

impl<T: Cell> Cell for Option<T> {
    fn put(&self, kind: Kind) -> Value {
        self.as_ref().map_or(Value::Null, |value| value.put(kind))
    }
    fn get(value: Value) -> Option<Self> {
        if value == Value::Null { Some(None) } else { T::get(value).map(Some) }
    }
}

/// What a row has beside its columns: whose it is, which version, since when it is kept.
macro_rules! tabled {
    (
        $record:ident in $table:literal by $($key:ident: $key_kind:ident),+;
        $($value:ident: $kind:ident),+;
        revision $revision:expr; $(of the revision $kept:ident;)? since $since:ident
    ) => {
        impl Tabled for $record {
            fn spec() -> ViewSpec {
                let column = |name: &str, kind| Column { name: name.to_owned(), kind };
                ViewSpec {
                    name: $table.to_owned(),
                    clustering: vec![$(column(stringify!($key), Kind::$key_kind)),+],
                    values: vec![$(column(stringify!($value), Kind::$kind)),+],
                    retention_ms: RETENTION_MS,
                }
            }

            fn row(&self) -> Row {
                let revision: fn(&Self) -> i64 = $revision;
                Row {
                    partition: partition(&self.tenant, &self.file_id),
                    clustering: vec![$(self.$key.put(Kind::$key_kind)),+],
                    values: vec![$(self.$value.put(Kind::$kind)),+],
                    revision: Revision { epoch: EPOCH, offset: revision(self) },
                    written_at: self.$since,
                }
            }

            fn record(row: Row) -> Option<Self> {
                let mut cells = row.clustering.into_iter().chain(row.values);
                // In the order of the columns: fields are read as they are written here.
                let record = Self {
                    tenant: row.partition.tenant,
                    $($key: Cell::get(cells.next()?)?,)+
                    $($value: Cell::get(cells.next()?)?,)+
                    $($kept: row.revision.offset,)?
                };
                cells.next().is_none().then_some(record)
            }
        }
    };
}

tabled! {
    Document in "documents" by file_id: Text;
    queue: Text, task_id: Text, name: Text, media_type: Text, bytes: Long, owner: Text, mail: Text, state: Text, uploaded_at: Time,
    changed_at: Time, queued_at: Time, leased_at: Time, worker: Text, token: Long, attempt: Long, step: Text, error: Text,
    result: Text, result_bytes: Long, duplicates: Long, infrastructure_failures: Long, seq: Long;
    revision |document| document.revision; of the revision revision; since uploaded_at
}

// A line and a run are written once and never change: any revision would do.
tabled! {
    TaskChanged in "documents_log" by file_id: Text, seq: Long;
    event_id: Text, task_id: Text, at: Time, event: Text, state: Text, message: Text, worker: Text, token: Long, attempt: Long,
    step: Text, media_type: Text, bytes: Long, queued_ms: Long, worked_ms: Long;
    revision |line| line.seq; since at
}

tabled! {
    StepAttempted in "documents_steps" by file_id: Text, token: Long, place: Long;
    event_id: Text, task_id: Text, worker: Text, step: Text, attempt: Long, outcome: Text, message: Text, media_type: Text,
    at: Time, started_at: Time, wall_us: Long, cpu_us: Long, memory_bytes: Long;
    revision |run| run.token; since at
}

#[cfg(test)]
#[path = "documents/tests.rs"]
mod tests;
