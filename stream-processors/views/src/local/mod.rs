//! Views in one process, on local disk.
//!
//! The model is that of the CQL store: rows ordered by (tenant, window start, merge partition, clustering columns), one
//! table for each view and shared ones for ledger and progress. A put is one atomic batch; it compares revisions with what
//! is there under one lock and returns once an fsync covers it. Puts that wait at the same time share an fsync.
//!
//! Every call runs on tokio's blocking threads, reads too: a page of 100,000 rows or a wait for the disk never holds up
//! the executor, and the hand-over costs some 10 µs.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::future::BoxFuture;
use tidemark_schemas::engine::{Ledger, Progress};

use crate::{CatalogEntry, Clock, Error, Row, RowQuery, ViewSpec, ViewStore};

mod catalog;
mod key;
mod put;
mod record;
mod store;
mod sweep;

use store::Store;

/// How often expired rows are removed. They are not returned in the meantime.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// The embedded view store. Dropping it stops its background thread and gives the folder free.
pub struct LocalViews {
    store: Arc<Store>,
    // Dropped to stop the sweeper, which otherwise never receives anything.
    stop: Option<mpsc::Sender<()>>,
    sweeper: Option<JoinHandle<()>>,
}

impl LocalViews {
    /// Opens the folder, making it if it is missing. [`Error::Unavailable`] when another process has it open or the disk
    /// refuses.
    pub fn open(dir: &Path, clock: Clock) -> Result<Arc<Self>, Error> {
        let store = Arc::new(Store::open(dir, clock)?);
        let (stop, stopped) = mpsc::channel();
        let swept = Arc::clone(&store);
        let sweeper = std::thread::Builder::new()
            .name("views-sweeper".into())
            .spawn(move || sweep_until(&swept, &stopped))
            .map_err(|e| Error::Unavailable(format!("cannot start the views-sweeper thread: {e}")))?;
        Ok(Arc::new(Self { store, stop: Some(stop), sweeper: Some(sweeper) }))
    }

    /// Removes what is past its retention and returns how many rows and ledger entries that was. Runs by itself each
    /// minute; blocks.
    pub fn maintain(&self) -> Result<u64, Error> {
        self.store.sweep()
    }

    async fn blocking<T, F>(&self, call: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Store) -> Result<T, Error> + Send + 'static,
    {
        let store = Arc::clone(&self.store);
        let done = tokio::task::spawn_blocking(move || call(&store)).await;
        done.unwrap_or_else(|e| Err(Error::Unavailable(format!("the local view store's task ended: {e}"))))
    }
}

fn sweep_until(store: &Store, stopped: &mpsc::Receiver<()>) {
    while stopped.recv_timeout(SWEEP_EVERY) == Err(RecvTimeoutError::Timeout) {
        if let Err(error) = store.sweep() {
            tracing::warn!(%error, "expired rows could not be removed; trying again in a minute");
        }
    }
}

impl Drop for LocalViews {
    fn drop(&mut self) {
        self.store.close();
        drop(self.stop.take());
        if let Some(sweeper) = self.sweeper.take() {
            // A panic in it has been reported on stderr; there is nothing left to do about it.
            let _ = sweeper.join();
        }
    }
}

impl ViewStore for LocalViews {
    fn create<'a>(&'a self, view: &'a ViewSpec) -> BoxFuture<'a, Result<(), Error>> {
        let view = view.clone();
        Box::pin(self.blocking(move |store| store.create(&view)))
    }

    fn put_rows<'a>(&'a self, view: &'a ViewSpec, rows: &'a [Row]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            // Encoded here: the blocking thread needs owned data, and a copy of the rows would cost as much.
            let (view, puts) = (view.clone(), put::RowPuts::encode(&self.store, view, rows)?);
            self.blocking(move |store| store.put_rows(&view, puts)).await
        })
    }

    fn put_ledger<'a>(&'a self, view: &'a ViewSpec, entries: &'a [Ledger]) -> BoxFuture<'a, Result<(), Error>> {
        let (view, entries) = (view.clone(), entries.to_vec());
        Box::pin(self.blocking(move |store| store.put_ledger(&view, &entries)))
    }

    fn put_progress<'a>(&'a self, view: &'a ViewSpec, progress: &'a Progress) -> BoxFuture<'a, Result<(), Error>> {
        let (view, progress) = (view.clone(), progress.clone());
        Box::pin(self.blocking(move |store| store.put_progress(&view, &progress)))
    }

    fn rows<'a>(&'a self, view: &'a ViewSpec, query: &'a RowQuery) -> BoxFuture<'a, Result<Vec<Row>, Error>> {
        let (view, query) = (view.clone(), query.clone());
        Box::pin(self.blocking(move |store| store.rows(&view, &query)))
    }

    fn ledger<'a>(&'a self, view: &'a ViewSpec, from: i64, to: i64) -> BoxFuture<'a, Result<Vec<Ledger>, Error>> {
        let view = view.clone();
        Box::pin(self.blocking(move |store| store.ledger(&view, from, to)))
    }

    fn progress<'a>(&'a self, view: &'a ViewSpec) -> BoxFuture<'a, Result<Vec<Progress>, Error>> {
        let view = view.clone();
        Box::pin(self.blocking(move |store| store.progress(&view)))
    }
    fn drop_view<'a>(&'a self, view: &'a ViewSpec) -> BoxFuture<'a, Result<(), Error>> {
        let view = view.clone();
        Box::pin(self.blocking(move |store| store.drop_view(&view)))
    }

    fn put_catalog<'a>(&'a self, entry: &'a CatalogEntry) -> BoxFuture<'a, Result<(), Error>> {
        let entry = entry.clone();
        Box::pin(self.blocking(move |store| store.put_catalog(&entry)))
    }

    fn catalog(&self) -> BoxFuture<'_, Result<Vec<CatalogEntry>, Error>> {
        Box::pin(self.blocking(Store::catalog))
    }
}
