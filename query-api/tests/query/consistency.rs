//! Rows are never older than their completeness says, and an answer that mixes revisions is neither tagged nor kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures::future::BoxFuture;
use tidemark_query_api::{Api, Parts, QueryConfig, router};
use tidemark_schemas::engine::{Ledger, Progress};
use tidemark_views::{CatalogEntry, Error, Row, RowQuery, ViewSpec, ViewStore};

use crate::support::*;

/// A store in which a writer is at work: between any two reads of the ledger it writes the row, and `ledger_behind` reads later
/// the ledger.
struct Moving {
    f: Fixture,
    revision: AtomicI64,
    /// Reads of rows that still find a row newer than the ledger.
    torn_reads: AtomicI64,
}

impl ViewStore for Moving {
    fn create<'a>(&'a self, view: &'a ViewSpec) -> BoxFuture<'a, Result<(), Error>> {
        self.f.views.create(view)
    }
    fn put_rows<'a>(&'a self, view: &'a ViewSpec, rows: &'a [Row]) -> BoxFuture<'a, Result<(), Error>> {
        self.f.views.put_rows(view, rows)
    }
    fn put_ledger<'a>(&'a self, view: &'a ViewSpec, entries: &'a [Ledger]) -> BoxFuture<'a, Result<(), Error>> {
        self.f.views.put_ledger(view, entries)
    }
    fn put_progress<'a>(&'a self, view: &'a ViewSpec, progress: &'a Progress) -> BoxFuture<'a, Result<(), Error>> {
        self.f.views.put_progress(view, progress)
    }
    fn rows<'a>(&'a self, view: &'a ViewSpec, query: &'a RowQuery) -> BoxFuture<'a, Result<Vec<Row>, Error>> {
        Box::pin(async move {
            if self.torn_reads.fetch_sub(1, Ordering::SeqCst) > 0 {
                let revision = self.revision.fetch_add(1, Ordering::SeqCst) + 1;
                self.f.row(NOW_HOUR, 0, &key("a", "d", "v"), revision.into(), 0, revision, revision).await;
            }
            self.f.views.rows(view, query).await
        })
    }
    fn ledger<'a>(&'a self, view: &'a ViewSpec, from: i64, to: i64) -> BoxFuture<'a, Result<Vec<Ledger>, Error>> {
        Box::pin(async move {
            let revision = self.revision.load(Ordering::SeqCst);
            self.f.ledger(Ledger { records: revision, ..ledger(NOW_HOUR, 0, revision) }).await;
            self.f.views.ledger(view, from, to).await
        })
    }
    fn drop_view<'a>(&'a self, view: &'a ViewSpec) -> BoxFuture<'a, Result<(), Error>> {
        self.f.views.drop_view(view)
    }
    fn put_catalog<'a>(&'a self, entry: &'a CatalogEntry) -> BoxFuture<'a, Result<(), Error>> {
        self.f.views.put_catalog(entry)
    }
    fn catalog(&self) -> BoxFuture<'_, Result<Vec<CatalogEntry>, Error>> {
        self.f.views.catalog()
    }
    fn progress<'a>(&'a self, view: &'a ViewSpec) -> BoxFuture<'a, Result<Vec<Progress>, Error>> {
        self.f.views.progress(view)
    }
}

async fn ask(torn_reads: i64) -> (Answer, Arc<Moving>) {
    let f = Fixture::new().await;
    f.row(NOW_HOUR, 0, &key("a", "d", "v"), 1, 0, 1, 1).await;
    f.watermark(Some(closes(NOW_HOUR)), 1).await;
    let store = Arc::new(Moving { f, revision: AtomicI64::new(1), torn_reads: AtomicI64::new(torn_reads) });
    let api =
        Api::new(store.clone(), QueryConfig::new(spec(), GRACE_MS, IDLE_AFTER_MS), Arc::new(|| 0), Parts::default())
            .unwrap();
    let request = axum::http::Request::builder().uri(format!("/v1/flows?hour={NOW_HOUR}"));
    (send(router(api), request.body(axum::body::Body::empty()).unwrap()).await, store)
}

#[tokio::test]
async fn rows_newer_than_the_ledger_are_read_again() {
    for torn in [0, 1, 2] {
        let (answer, _) = ask(torn).await;
        let json = answer.json();
        assert_eq!(
            json["completeness"]["records"], json["flows"][0]["records"],
            "one revision after {torn} torn reads"
        );
        assert!(answer.headers.contains_key("etag"));
    }
}

#[tokio::test]
async fn after_three_reads_newer_rows_are_sent_without_a_tag() {
    let (answer, store) = ask(1_000).await;
    let json = answer.json();
    assert!(json["flows"][0]["records"].as_i64() > json["completeness"]["records"].as_i64());
    assert!(!answer.headers.contains_key("etag"));
    assert_eq!(store.revision.load(Ordering::SeqCst), 4, "three reads");
}

/// A store whose writer adds a record and closes the hour right after the first thing that is read.
struct Closing {
    f: Fixture,
    reads: AtomicI64,
}

impl Closing {
    async fn write_after_first_read(&self) {
        if self.reads.fetch_add(1, Ordering::SeqCst) == 0 {
            self.f.row(NOW_HOUR, 0, &key("a", "d", "v"), 2, 0, 2, 2).await;
            self.f.ledger(Ledger { records: 2, ..ledger(NOW_HOUR, 0, 2) }).await;
            self.f.watermark(Some(closes(NOW_HOUR)), 2).await;
        }
    }
}

impl ViewStore for Closing {
    fn create<'a>(&'a self, view: &'a ViewSpec) -> BoxFuture<'a, Result<(), Error>> {
        self.f.views.create(view)
    }
    fn put_rows<'a>(&'a self, view: &'a ViewSpec, rows: &'a [Row]) -> BoxFuture<'a, Result<(), Error>> {
        self.f.views.put_rows(view, rows)
    }
    fn put_ledger<'a>(&'a self, view: &'a ViewSpec, entries: &'a [Ledger]) -> BoxFuture<'a, Result<(), Error>> {
        self.f.views.put_ledger(view, entries)
    }
    fn put_progress<'a>(&'a self, view: &'a ViewSpec, progress: &'a Progress) -> BoxFuture<'a, Result<(), Error>> {
        self.f.views.put_progress(view, progress)
    }
    fn rows<'a>(&'a self, view: &'a ViewSpec, query: &'a RowQuery) -> BoxFuture<'a, Result<Vec<Row>, Error>> {
        self.f.views.rows(view, query)
    }
    fn ledger<'a>(&'a self, view: &'a ViewSpec, from: i64, to: i64) -> BoxFuture<'a, Result<Vec<Ledger>, Error>> {
        Box::pin(async move {
            let read = self.f.views.ledger(view, from, to).await;
            self.write_after_first_read().await;
            read
        })
    }
    fn drop_view<'a>(&'a self, view: &'a ViewSpec) -> BoxFuture<'a, Result<(), Error>> {
        self.f.views.drop_view(view)
    }
    fn put_catalog<'a>(&'a self, entry: &'a CatalogEntry) -> BoxFuture<'a, Result<(), Error>> {
        self.f.views.put_catalog(entry)
    }
    fn catalog(&self) -> BoxFuture<'_, Result<Vec<CatalogEntry>, Error>> {
        self.f.views.catalog()
    }
    fn progress<'a>(&'a self, view: &'a ViewSpec) -> BoxFuture<'a, Result<Vec<Progress>, Error>> {
        Box::pin(async move {
            let read = self.f.views.progress(view).await;
            self.write_after_first_read().await;
            read
        })
    }
}

#[tokio::test]
async fn an_hour_is_not_called_final_with_the_counts_of_before() {
    let f = Fixture::new().await;
    f.row(NOW_HOUR, 0, &key("a", "d", "v"), 1, 0, 1, 1).await;
    f.ledger(ledger(NOW_HOUR, 0, 1)).await;
    f.watermark(Some(0), 1).await;
    let store = Arc::new(Closing { f, reads: AtomicI64::new(0) });
    let config = QueryConfig::new(spec(), GRACE_MS, IDLE_AFTER_MS);
    let api = Api::new(store, config, Arc::new(|| 0), Parts::default()).unwrap();
    let request = axum::http::Request::builder().uri(format!("/v1/flows?hour={NOW_HOUR}"));
    let answer = send(router(api), request.body(axum::body::Body::empty()).unwrap()).await.json();
    assert_eq!(answer["completeness"]["state"], "open", "the watermark was read before the record was written");
    assert_eq!(answer["completeness"]["records"], 2);
}
