//! The tables on disk: opening, views, and reads.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use tidemark_schemas::avro::{self, Avro, Reader};
use tidemark_schemas::engine::{Ledger, Progress};

use super::{key, record};
use crate::check::{self, invalid};
use crate::{Clock, Column, Error, Row, RowPartition, RowQuery, ViewSpec};

/// A view that has been created.
#[derive(Clone)]
pub(super) struct View {
    pub(super) spec: ViewSpec,
    pub(super) rows: Keyspace,
}

pub(super) struct Store {
    pub(super) db: Database,
    clock: Clock,
    pub(super) views: RwLock<HashMap<String, View>>,
    /// View name → spec.
    pub(super) specs: Keyspace,
    /// View name → catalogue entry.
    pub(super) catalog: Keyspace,
    /// View, partition key → the latest `written_at` in it: what the sweep goes by.
    pub(super) partitions: Keyspace,
    /// View, window start, merge partition → entry.
    pub(super) ledger: Keyspace,
    /// View, merge partition → entry.
    pub(super) progress: Keyspace,
    /// Held from reading the stored revisions until the batch is in; counts batches.
    writes: Mutex<u64>,
    /// Of these, how many are known to be on disk.
    synced: Mutex<u64>,
    closing: AtomicBool,
}

impl Store {
    pub(super) fn open(dir: &Path, clock: Clock) -> Result<Self, Error> {
        let db = Database::builder(dir).open().map_err(|e| cannot_open(dir, e))?;
        let table = |name| db.keyspace(name, KeyspaceCreateOptions::default).map_err(failed);
        let (specs, partitions) = (table("views")?, table("partitions")?);
        let (ledger, progress, catalog) = (table("ledger")?, table("progress")?, table("catalog")?);
        let views = RwLock::new(load_views(&db, &specs)?);
        let (writes, synced, closing) = (Mutex::new(0), Mutex::new(0), AtomicBool::new(false));
        Ok(Self { db, clock, views, specs, catalog, partitions, ledger, progress, writes, synced, closing })
    }

    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    pub(super) fn closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Whether what was first written at `written_at` is past its retention now.
    pub(super) fn expired(&self, view: &ViewSpec, written_at: i64) -> bool {
        written_at.saturating_add(view.retention_ms) <= (self.clock)()
    }

    pub(super) fn create(&self, view: &ViewSpec) -> Result<(), Error> {
        check::spec(view)?;
        let mut views = self.views.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = views.get(&view.name) {
            same_columns(view, &there.spec)?;
        }
        let rows = open_rows(&self.db, &view.name)?;
        self.specs.insert(view.name.as_str(), record::put_spec(view)).map_err(failed)?;
        self.db.persist(PersistMode::SyncAll).map_err(failed)?;
        views.insert(view.name.clone(), View { spec: view.clone(), rows });
        Ok(())
    }

    /// The view as created; refuses when that never happened or had other columns.
    pub(super) fn view(&self, view: &ViewSpec) -> Result<View, Error> {
        let views = self.views.read().unwrap_or_else(PoisonError::into_inner);
        let there = views.get(&view.name).ok_or_else(|| invalid(view, "there is no such view; create it first"))?;
        same_columns(view, &there.spec)?;
        Ok(there.clone())
    }

    pub(super) fn views(&self) -> Vec<View> {
        self.views.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The lock that all writes are made under. A panic under it leaves no batch half-written, so poison is ignored.
    pub(super) fn writing(&self) -> MutexGuard<'_, u64> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once the first `batch` batches are on disk. Those who wait for the lock meanwhile find theirs covered.
    pub(super) fn sync(&self, batch: u64) -> Result<(), Error> {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if *synced < batch {
            let covered = *self.writing();
            self.db.persist(PersistMode::SyncAll).map_err(failed)?;
            *synced = covered;
        }
        Ok(())
    }

    pub(super) fn rows(&self, view: &ViewSpec, query: &RowQuery) -> Result<Vec<Row>, Error> {
        check::query(view, query)?;
        let table = self.view(view)?.rows;
        let prefix = key::of_row(&query.partition, &query.prefix);
        let after = query.after.as_ref().map(|after| key::of_row(&query.partition, after));
        let Some(range) = key::range(prefix, after) else {
            return Ok(vec![]);
        };
        let skip = key::of_partition(&query.partition).len();
        let mut rows = Vec::new();
        for item in table.range(range) {
            let (key, value) = item.into_inner().map_err(failed)?;
            let clustering = key.get(skip..).unwrap_or_default();
            rows.extend(self.row(view, &query.partition, clustering, &value)?);
            if rows.len() == query.limit {
                break;
            }
        }
        Ok(rows)
    }

    /// One row as stored; `None` when it is past its retention.
    fn row(&self, view: &ViewSpec, at: &RowPartition, clustering: &[u8], value: &[u8]) -> Result<Option<Row>, Error> {
        let mut reader = Reader::new(value);
        let head = record::head(&mut reader).map_err(|e| corrupt(view, "row", e))?;
        if self.expired(view, head.written_at) {
            return Ok(None);
        }
        Ok(Some(Row {
            partition: at.clone(),
            clustering: key::clustering(&view.clustering, clustering).map_err(|e| corrupt(view, "row", e))?,
            values: record::values(&view.values, reader).map_err(|e| corrupt(view, "row", e))?,
            revision: head.revision,
            written_at: head.written_at,
        }))
    }

    pub(super) fn ledger(&self, view: &ViewSpec, from: i64, to: i64) -> Result<Vec<Ledger>, Error> {
        if from >= to {
            return Ok(vec![]);
        }
        let bound = |at: i64| {
            let mut key = key::of_text(&view.name, &[]);
            key::put_long(&mut key, at);
            key
        };
        let mut entries: Vec<Ledger> = read_all(view, "ledger entry", self.ledger.range(bound(from)..bound(to)))?;
        entries.retain(|entry| !self.expired(view, view.ledger_written_at(entry.opened_at)));
        Ok(entries)
    }

    pub(super) fn progress(&self, view: &ViewSpec) -> Result<Vec<Progress>, Error> {
        read_all(view, "progress entry", self.progress.prefix(key::of_text(&view.name, &[])))
    }
}

fn read_all<T: for<'a> Avro<'a>>(view: &ViewSpec, what: &str, items: fjall::Iter) -> Result<Vec<T>, Error> {
    let read = |item: fjall::Guard| {
        let value = item.value().map_err(failed)?;
        record::read(&value).map_err(|e: avro::Error| corrupt(view, what, e))
    };
    items.map(read).collect()
}

/// The table of a view's rows.
pub(super) fn rows_of(view: &str) -> String {
    format!("rows.{view}")
}

fn open_rows(db: &Database, view: &str) -> Result<Keyspace, Error> {
    db.keyspace(&rows_of(view), KeyspaceCreateOptions::default).map_err(failed)
}

fn load_views(db: &Database, specs: &Keyspace) -> Result<HashMap<String, View>, Error> {
    let load = |item: fjall::Guard| {
        let (name, value) = item.into_inner().map_err(failed)?;
        let name = String::from_utf8_lossy(&name).into_owned();
        let spec = record::spec(&name, &value).ok_or_else(|| Error::Invalid {
            view: name.clone(),
            reason: "its stored spec is corrupt; remove the folder and rebuild the views from their topics".into(),
        })?;
        let rows = open_rows(db, &name)?;
        Ok((name, View { spec, rows }))
    };
    specs.iter().map(load).collect()
}

fn same_columns(wanted: &ViewSpec, there: &ViewSpec) -> Result<(), Error> {
    if (&wanted.clustering, &wanted.values) == (&there.clustering, &there.values) {
        return Ok(());
    }
    let words = |columns: &[Column]| columns.iter().map(Column::to_string).collect::<Vec<_>>().join(", ");
    let reason = format!(
        "it exists with clustering columns {} and values {}; use another name (a new job version) for other columns",
        words(&there.clustering),
        words(&there.values)
    );
    Err(invalid(wanted, reason))
}

/// What a failed call of the storage becomes.
pub(super) fn failed(error: fjall::Error) -> Error {
    Error::Unavailable(format!("local view store: {error}; check the disk, then restart"))
}

fn cannot_open(dir: &Path, error: fjall::Error) -> Error {
    let dir = dir.display();
    match error {
        fjall::Error::Locked => {
            Error::Unavailable(format!("{dir} is in use by another process; stop it or choose another data directory"))
        }
        other => Error::Unavailable(format!("cannot open {dir}: {other}")),
    }
}

/// What unreadable bytes become.
pub(super) fn corrupt(view: &ViewSpec, what: &str, error: impl std::fmt::Display) -> Error {
    invalid(view, format!("a stored {what} is corrupt: {error}; remove the folder and rebuild the view from its topic"))
}
