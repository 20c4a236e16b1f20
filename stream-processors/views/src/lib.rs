//! Materialised views: tables derived from a view topic, in ScyllaDB ([`cql`]) or on local disk ([`local`]).
//!
//! Promise: for each row, ledger entry and progress entry the highest revision ever written is what is read, whatever the
//! order and however often they are written. A view holds nothing that its topic does not: it can be dropped and rebuilt.
//!
//! One conformance suite runs against both stores.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tidemark_schemas::engine::{Ledger, Progress};

pub mod catalog;
mod check;
pub mod cql;
pub mod documents;
pub mod local;
mod value;

pub use catalog::{CatalogEntry, ColumnNote, ViewVersion, Windowing};
pub use value::{Column, Kind, Value};

/// Milliseconds since the Unix epoch. Passed in, so that tests move it by hand.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// A view: its table's name, columns and retention. Rows live under the partition key (tenant, window start, merge
/// partition), ordered by the clustering columns, ascending by bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewSpec {
    /// Table name: a lower-case letter, then lower-case letters, digits and `_`, at most 39 bytes (CQL has 48 for a name, and the
    /// view's ledger and progress are in tables of its name and a suffix); not `catalog`, and without such a suffix of its own.
    /// One per job version.
    pub name: String,
    /// Clustering columns, in order: of any kind but [`Kind::Double`] and [`Kind::Json`].
    pub clustering: Vec<Column>,
    /// The other columns. Any of them may be [`Value::Null`].
    pub values: Vec<Column>,
    /// Milliseconds a row is kept, counted from [`Row::written_at`]. A second to 20 years (CQL's bound). Ledger entries are kept
    /// [`LEDGER_RETENTIONS`] times as long, progress for ever.
    pub retention_ms: i64,
}

/// Ledger entries are small and say what a window held after its rows are gone: they are kept for so many retentions of the
/// view, counted from `opened_at`.
pub const LEDGER_RETENTIONS: i64 = 8;

impl ViewSpec {
    /// Whether a store can make it, without asking one.
    ///
    /// # Errors
    /// What of it is unfit.
    pub fn check(&self) -> Result<(), Unfit> {
        check::parts(self)
    }

    /// The `written_at` of a row that would go together with a ledger entry opened at `opened_at`.
    fn ledger_written_at(&self, opened_at: i64) -> i64 {
        opened_at.saturating_add(self.retention_ms.saturating_mul(LEDGER_RETENTIONS - 1))
    }
}

/// Orders the versions of a row. `epoch` is 0 to 1023 and `offset` 0 to 2^40−1, so that the pair fits the write timestamp
/// of a CQL store and stays below the microseconds of today, which ScyllaDB would refuse as too far in the future.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Revision {
    /// Grows when the partials are rebuilt.
    pub epoch: i32,
    /// Partials offset + 1 of the last change.
    pub offset: i64,
}

impl Revision {
    /// As a CQL write timestamp.
    pub fn timestamp(self) -> i64 {
        (i64::from(self.epoch) << 40) | self.offset
    }
}

/// A row of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Partition key.
    pub partition: RowPartition,
    /// One value for each clustering column.
    pub clustering: Vec<Value>,
    /// One value for each other column.
    pub values: Vec<Value>,
    /// Which version of the row this is. Equal revisions have equal contents: which of two that differ stays is undefined
    /// (a CQL store keeps the greater value of each column).
    pub revision: Revision,
    /// Append time of the first partial of the row's window in its merge partition, milliseconds: the ledger's `opened_at`,
    /// and so the same in all revisions. Retention counts from it; a row past its retention is not written.
    pub written_at: i64,
}

/// The partition key of a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowPartition {
    /// Whose data.
    pub tenant: String,
    /// Start of the window, milliseconds since the epoch.
    pub window_start: i64,
    /// Merge partition.
    pub merge_partition: i32,
}

/// Which rows of one partition are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowQuery {
    /// Partition key.
    pub partition: RowPartition,
    /// Equal values for the first clustering columns; empty for all rows.
    pub prefix: Vec<Value>,
    /// Only rows after this clustering key; all clustering columns are given.
    pub after: Option<Vec<Value>>,
    /// At most so many rows, 1 to 100,000.
    pub limit: usize,
}

/// What of a [`ViewSpec`] no store takes, and the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Its name.
    #[error("{0}")]
    Name(String),
    /// Its retention.
    #[error("{0}")]
    Retention(String),
    /// Its columns.
    #[error("{0}")]
    Columns(String),
}

/// Where views are kept. All methods may be called again after a failure: writes are idempotent by revision. Partition and
/// clustering keys hold at most 30,000 bytes of text together. The futures need a tokio runtime.
pub trait ViewStore: Send + Sync {
    /// Makes the view's tables if they are missing; refuses when one is there with other columns.
    fn create<'a>(&'a self, view: &'a ViewSpec) -> BoxFuture<'a, Result<(), Error>>;

    /// Writes rows; on return all are acknowledged and durable.
    fn put_rows<'a>(&'a self, view: &'a ViewSpec, rows: &'a [Row]) -> BoxFuture<'a, Result<(), Error>>;

    /// Writes ledger entries; durable on return.
    fn put_ledger<'a>(&'a self, view: &'a ViewSpec, entries: &'a [Ledger]) -> BoxFuture<'a, Result<(), Error>>;

    /// Writes how far a merge partition has come; durable on return.
    fn put_progress<'a>(&'a self, view: &'a ViewSpec, progress: &'a Progress) -> BoxFuture<'a, Result<(), Error>>;

    /// Rows of one partition in clustering order.
    fn rows<'a>(&'a self, view: &'a ViewSpec, query: &'a RowQuery) -> BoxFuture<'a, Result<Vec<Row>, Error>>;

    /// Ledger entries of the windows that start in `[from, to)`, by window start and merge partition; none of a view that is not
    /// there.
    fn ledger<'a>(&'a self, view: &'a ViewSpec, from: i64, to: i64) -> BoxFuture<'a, Result<Vec<Ledger>, Error>>;

    /// The newest entry of each merge partition, by merge partition; none of a view that is not there.
    fn progress<'a>(&'a self, view: &'a ViewSpec) -> BoxFuture<'a, Result<Vec<Progress>, Error>>;

    /// Removes a view that is not needed any more: rows, ledger and progress. One that is not there is removed already. Its
    /// writers have stopped. A view of that name is a new one from then on, whose revisions begin anew.
    fn drop_view<'a>(&'a self, view: &'a ViewSpec) -> BoxFuture<'a, Result<(), Error>>;

    /// Writes what is known of a view and its versions; durable on return. The highest [`CatalogEntry::revision`] stays.
    fn put_catalog<'a>(&'a self, entry: &'a CatalogEntry) -> BoxFuture<'a, Result<(), Error>>;

    /// The views that have a version, by name.
    fn catalog(&self) -> BoxFuture<'_, Result<Vec<CatalogEntry>, Error>>;
}

/// Why a view store refused or failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The store did not answer or could not take the write; another try may help.
    #[error("view store unavailable: {0}")]
    Unavailable(String),
    /// The table or value contradicts the view spec; another try does not help.
    #[error("view {view}: {reason}")]
    Invalid {
        /// Which view.
        view: String,
        /// What is wrong and what to do.
        reason: String,
    },
}
