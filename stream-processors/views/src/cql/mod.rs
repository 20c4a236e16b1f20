//! Views in ScyllaDB or Cassandra: CQL that both speak, nothing of one vendor.
//!
//! - Three tables for each view: its rows, partitioned by (tenant, window start, merge partition), its ledger and its progress;
//!   `catalog` for all views. The store makes them itself. A view ends with its tables: rows that were deleted from a table of all
//!   views would leave tombstones, which, since timestamps are revisions, would hide a later view of the same name.
//! - Every write binds every column and carries its revision as `USING TIMESTAMP`: the highest revision wins in whatever
//!   order writes arrive, and a repeat changes nothing. Equal revisions have equal contents, so that the tie, which CQL
//!   breaks by value, decides nothing.
//! - The time to live is what is left of the retention, counted from [`Row::written_at`], rounded up to a second.
//! - `LOCAL_QUORUM` both ways: what was acknowledged is read. A statement is tried again on other nodes, each once at most,
//!   within 8 seconds in all; then it is [`Error::Unavailable`] and the caller's turn.
//!
//! The default compaction is kept: time-window compaction goes by write timestamps, and ours are revisions.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use tidemark_schemas::engine::{Ledger, Progress};

use crate::{CatalogEntry, Error, Row, RowQuery, ViewSpec, ViewStore, check};

mod bind;
mod catalog;
mod entries;
mod rows;
mod session;
mod tables;

use session::Session;

/// Where the CQL store is and how it keeps views.
#[derive(Debug, Clone)]
pub struct CqlConfig {
    /// `host:port` of some nodes; the others are found through them.
    pub contact_points: Vec<String>,
    /// Keyspace: a lower-case letter, then lower-case letters, digits and `_`. Made if it is missing.
    pub keyspace: String,
    /// Copies in each data centre, when the keyspace is made: 3 in production, 1 for a single node.
    pub replication_factor: u32,
    /// Sent when the store asks for them.
    pub credentials: Option<Credentials>,
}

impl CqlConfig {
    /// Keyspace `tidemark`, no credentials.
    pub fn new(contact_points: Vec<String>, replication_factor: u32) -> Self {
        Self { contact_points, keyspace: "tidemark".into(), replication_factor, credentials: None }
    }
}

/// Who the store is asked as.
#[derive(Clone)]
pub struct Credentials {
    /// Role name.
    pub user: String,
    /// Its password; never printed.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// The CQL view store.
pub struct CqlViews {
    session: Session,
    keyspace: String,
}

impl CqlViews {
    /// Connects, and makes the keyspace and the tables that all views share. [`Error::Unavailable`] within 10 seconds when
    /// no contact point answers.
    pub async fn connect(config: CqlConfig) -> Result<Arc<Self>, Error> {
        if !check::is_lower_name(&config.keyspace) {
            let reason = "a keyspace's name is a-z, 0-9 and _, begins with a letter and has at most 48 bytes".into();
            return Err(Error::Invalid { view: config.keyspace, reason });
        }
        let session = Session::connect(&config).await?;
        let store = Self { session, keyspace: config.keyspace };
        store.create_shared(config.replication_factor).await?;
        Ok(Arc::new(store))
    }

    /// A table's name in statements.
    fn table(&self, name: &str) -> String {
        format!("{}.{}", bind::quoted(&self.keyspace), bind::quoted(name))
    }

    /// The name of a view's ledger in statements.
    fn ledger_table(&self, view: &ViewSpec) -> String {
        self.table(&format!("{}{}", view.name, tables::LEDGER.0))
    }

    /// The name of a view's progress in statements.
    fn progress_table(&self, view: &ViewSpec) -> String {
        self.table(&format!("{}{}", view.name, tables::PROGRESS.0))
    }
}

impl ViewStore for CqlViews {
    fn create<'a>(&'a self, view: &'a ViewSpec) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.create_view(view))
    }

    fn put_rows<'a>(&'a self, view: &'a ViewSpec, rows: &'a [Row]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.write_rows(view, rows))
    }

    fn put_ledger<'a>(&'a self, view: &'a ViewSpec, entries: &'a [Ledger]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.write_ledger(view, entries))
    }

    fn put_progress<'a>(&'a self, view: &'a ViewSpec, progress: &'a Progress) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.write_progress(view, progress))
    }

    fn rows<'a>(&'a self, view: &'a ViewSpec, query: &'a RowQuery) -> BoxFuture<'a, Result<Vec<Row>, Error>> {
        Box::pin(self.read_rows(view, query))
    }

    fn ledger<'a>(&'a self, view: &'a ViewSpec, from: i64, to: i64) -> BoxFuture<'a, Result<Vec<Ledger>, Error>> {
        Box::pin(self.read_ledger(view, from, to))
    }

    fn progress<'a>(&'a self, view: &'a ViewSpec) -> BoxFuture<'a, Result<Vec<Progress>, Error>> {
        Box::pin(self.read_progress(view))
    }

    fn drop_view<'a>(&'a self, view: &'a ViewSpec) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.remove_view(view))
    }

    fn put_catalog<'a>(&'a self, entry: &'a CatalogEntry) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.write_catalog(entry))
    }

    fn catalog(&self) -> BoxFuture<'_, Result<Vec<CatalogEntry>, Error>> {
        Box::pin(self.read_catalog())
    }
}
