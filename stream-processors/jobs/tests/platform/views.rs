//! Local views whose catalogue, or one table, takes nothing for a while.

use futures::future::BoxFuture;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tidemark_schemas::engine::{Ledger, Progress};
use tidemark_views::local::LocalViews;
use tidemark_views::{CatalogEntry, Error, Row, RowQuery, ViewSpec, ViewStore};

type Answer<'a, T> = BoxFuture<'a, Result<T, Error>>;

pub(crate) struct Unlisting {
    pub(crate) views: Arc<LocalViews>,
    pub(crate) refuses: AtomicBool,
    /// How often it has.
    pub(crate) refused: AtomicU64,
    /// The table that cannot be made.
    pub(crate) untabled: Mutex<Option<String>>,
}

impl ViewStore for Unlisting {
    fn create<'a>(&'a self, view: &'a ViewSpec) -> Answer<'a, ()> {
        if self.untabled.lock().unwrap().as_ref() == Some(&view.name) {
            let (view, reason) = (view.name.clone(), "refused by the test".to_owned());
            return Box::pin(async { Err(Error::Invalid { view, reason }) });
        }
        self.views.create(view)
    }
    fn put_rows<'a>(&'a self, view: &'a ViewSpec, rows: &'a [Row]) -> Answer<'a, ()> {
        self.views.put_rows(view, rows)
    }
    fn put_ledger<'a>(&'a self, view: &'a ViewSpec, entries: &'a [Ledger]) -> Answer<'a, ()> {
        self.views.put_ledger(view, entries)
    }
    fn put_progress<'a>(&'a self, view: &'a ViewSpec, progress: &'a Progress) -> Answer<'a, ()> {
        self.views.put_progress(view, progress)
    }
    fn rows<'a>(&'a self, view: &'a ViewSpec, query: &'a RowQuery) -> Answer<'a, Vec<Row>> {
        self.views.rows(view, query)
    }
    fn ledger<'a>(&'a self, view: &'a ViewSpec, from: i64, to: i64) -> Answer<'a, Vec<Ledger>> {
        self.views.ledger(view, from, to)
    }
    fn progress<'a>(&'a self, view: &'a ViewSpec) -> Answer<'a, Vec<Progress>> {
        self.views.progress(view)
    }
    fn drop_view<'a>(&'a self, view: &'a ViewSpec) -> Answer<'a, ()> {
        self.views.drop_view(view)
    }
    fn put_catalog<'a>(&'a self, entry: &'a CatalogEntry) -> Answer<'a, ()> {
        if self.refuses.load(Ordering::Relaxed) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Box::pin(async { Err(Error::Unavailable("refused by the test".to_owned())) });
        }
        self.views.put_catalog(entry)
    }
    fn catalog(&self) -> Answer<'_, Vec<CatalogEntry>> {
        self.views.catalog()
    }
}
