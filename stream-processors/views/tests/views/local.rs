//! What is particular to the embedded store.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tempfile::TempDir;
use tidemark_views::local::LocalViews;
use tidemark_views::{Error, LEDGER_RETENTIONS, Row, RowPartition, ViewStore};
use tokio::runtime::Handle;

use crate::sample::*;

pub(crate) struct Fixture {
    pub(crate) store: Arc<LocalViews>,
    _dir: TempDir,
}

pub(crate) async fn open() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    Fixture { store: at(dir.path()), _dir: dir }
}

fn at(dir: &Path) -> Arc<LocalViews> {
    LocalViews::open(dir, Arc::new(now)).unwrap()
}

fn unavailable<T>(result: Result<T, Error>, why: &str) {
    match result {
        Err(Error::Unavailable(said)) if said.contains(why) => {}
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("expected it to be unavailable: {why}"),
    }
}

#[tokio::test]
async fn rows_go_when_their_retention_is_over() {
    let (dir, time) = (tempfile::tempdir().unwrap(), Arc::new(AtomicI64::new(now())));
    let (begin, clock) = (now(), Arc::clone(&time));
    let store = LocalViews::open(dir.path(), Arc::new(move || clock.load(Ordering::Relaxed))).unwrap();
    let spec = view("short");
    store.create(&spec).await.unwrap();
    // 2,500 rows of an old window, and one of a young partition of the same tenant.
    let young = RowPartition { merge_partition: 4, ..partition() };
    let mut rows: Vec<_> = (0..2_501).map(|at| row(key("a", at, 0), values(1, 1, ""), 0, 1)).collect();
    rows.iter_mut().for_each(|row| row.written_at = begin);
    let last = rows.last_mut().unwrap();
    (last.partition, last.written_at) = (young.clone(), begin + 1);
    store.put_rows(&spec, &rows).await.unwrap();
    let mut entries = [ledger(0, 3, 0, 1), ledger(0, 4, 0, 1)];
    entries[0].opened_at = begin - (LEDGER_RETENTIONS - 1) * WEEK;
    entries[1].opened_at = begin + 1;
    store.put_ledger(&spec, &entries).await.unwrap();
    store.put_progress(&spec, &progress(3, 0, 1)).await.unwrap();

    // A higher revision does not make it live longer.
    time.store(begin + WEEK - 1, Ordering::Relaxed);
    let renewed = Row { revision: tidemark_views::Revision { epoch: 1, offset: 1 }, ..rows[0].clone() };
    store.put_rows(&spec, &[renewed]).await.unwrap();
    assert_eq!(store.maintain().unwrap(), 0);
    assert_eq!(store.rows(&spec, &all(partition())).await.unwrap().len(), 2_500);

    time.store(begin + WEEK, Ordering::Relaxed);
    assert_eq!(store.rows(&spec, &all(partition())).await.unwrap(), [], "not returned before it is swept");
    assert_eq!(store.ledger(&spec, 0, 1).await.unwrap(), entries[1..]);
    assert_eq!(store.maintain().unwrap(), 2_501, "rows and a ledger entry");
    assert_eq!(store.maintain().unwrap(), 0);
    assert_eq!(store.rows(&spec, &all(young)).await.unwrap(), rows[2_500..]);
    time.store(begin, Ordering::Relaxed);
    assert_eq!(store.rows(&spec, &all(partition())).await.unwrap(), [], "swept for good");
    assert_eq!(store.progress(&spec).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_was_written_is_there_when_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let (spec, written) = (view("kept"), row(key("a", 0, 0), values(1, 1, ""), 0, 1));
    let (entry, progress) = (ledger(0, 0, 0, 1), progress(0, 0, 1));
    {
        let store = at(dir.path());
        store.create(&spec).await.unwrap();
        store.put_rows(&spec, std::slice::from_ref(&written)).await.unwrap();
        store.put_ledger(&spec, std::slice::from_ref(&entry)).await.unwrap();
        store.put_progress(&spec, &progress).await.unwrap();
    }
    let store = at(dir.path());
    assert_eq!(store.rows(&spec, &all(partition())).await.unwrap(), [written]);
    assert_eq!(store.ledger(&spec, 0, 1).await.unwrap(), [entry]);
    assert_eq!(store.progress(&spec).await.unwrap(), [progress]);
    let other = tidemark_views::ViewSpec { values: vec![], ..spec };
    assert!(matches!(store.create(&other).await, Err(Error::Invalid { .. })));
}

/// The storage must not give the place of what was removed to what comes after it.
#[tokio::test]
async fn a_dropped_view_does_not_come_back_when_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let (spec, next) = (view("dropped"), view("next"));
    let catalog = catalog_entry("kept", 1, &[1]);
    {
        let store = at(dir.path());
        store.create(&spec).await.unwrap();
        store.put_rows(&spec, &[row(key("a", 0, 0), values(1, 1, ""), 0, 1)]).await.unwrap();
        store.put_ledger(&spec, &[ledger(0, 0, 0, 1)]).await.unwrap();
        store.put_catalog(&catalog).await.unwrap();
        store.drop_view(&spec).await.unwrap();
    }
    for _ in 0..2 {
        let store = at(dir.path());
        assert!(matches!(store.rows(&spec, &all(partition())).await, Err(Error::Invalid { .. })));
        assert_eq!(store.ledger(&spec, 0, WEEK).await.unwrap(), []);
        assert_eq!(store.catalog().await.unwrap(), std::slice::from_ref(&catalog));
        store.create(&next).await.unwrap();
        assert_eq!(store.rows(&next, &all(partition())).await.unwrap(), []);
    }
    for _ in 0..2 {
        let store = at(dir.path());
        store.create(&spec).await.unwrap();
        assert_eq!(store.rows(&spec, &all(partition())).await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_folder_in_use_and_one_that_cannot_be_are_unavailable() {
    let dir = tempfile::tempdir().unwrap();
    let store = at(dir.path());
    unavailable(LocalViews::open(dir.path(), Arc::new(now)), "in use by another process");
    drop(store);
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    unavailable(LocalViews::open(&file.join("dir"), Arc::new(now)), "cannot open");
}

#[tokio::test]
async fn corrupt_values_are_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let spec = view("torn");
    {
        let store = at(dir.path());
        store.create(&spec).await.unwrap();
        store.put_rows(&spec, &[row(key("a", 0, 0), values(1, 1, ""), 0, 1)]).await.unwrap();
        store.put_ledger(&spec, &[ledger(0, 0, 0, 1)]).await.unwrap();
    }
    {
        let db = fjall::Database::builder(dir.path()).open().unwrap();
        for name in ["rows.torn", "ledger"] {
            let table = db.keyspace(name, Default::default).unwrap();
            let key = table.iter().next().unwrap().key().unwrap();
            table.insert(key, [0xffu8; 12]).unwrap();
        }
    }
    let store = at(dir.path());
    for result in [
        store.rows(&spec, &all(partition())).await.map(drop),
        store.ledger(&spec, 0, 1).await.map(drop),
        store.put_ledger(&spec, &[ledger(0, 0, 0, 2)]).await,
    ] {
        assert!(
            matches!(&result, Err(Error::Invalid { view, reason }) if view == "torn" && reason.contains("corrupt")),
            "{result:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn puts_at_the_same_time_lose_nothing() {
    let fixture = open().await;
    let spec = Arc::new(view("busy"));
    fixture.store.create(&spec).await.unwrap();
    let tasks = (1..=32).map(|revision| {
        let (store, spec) = (Arc::clone(&fixture.store), Arc::clone(&spec));
        tokio::spawn(async move {
            let shared = row(key("shared", 0, 0), values(revision.into(), revision, ""), 0, revision);
            let own = row(key("own", revision, 0), values(revision.into(), revision, ""), 0, revision);
            store.put_rows(&spec, &[shared, own]).await.unwrap();
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let rows = fixture.store.rows(&spec, &all(partition())).await.unwrap();
    assert_eq!(rows.len(), 33);
    assert_eq!(rows[32].revision.offset, 32, "of the shared row the highest revision");
}

/// (which row, epoch, offset) in the order they are written, and how many go into each put.
type Writes = (Vec<(i64, i32, i64)>, Vec<usize>);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_permutation_of_revisions_leaves_the_highest() {
    let (fixture, spec) = (open().await, view("permuted"));
    fixture.store.create(&spec).await.unwrap();
    let writes = prop::collection::vec((0..4i64, 0..3i32, 0..5i64), 1..40);
    let strategy = (writes, prop::collection::vec(1usize..6, 40));
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) };
    let case = std::cell::Cell::new(0);
    let test = |writes: Writes| {
        case.set(case.get() + HOUR);
        let at = RowPartition { window_start: case.get(), ..partition() };
        tokio::task::block_in_place(|| Handle::current().block_on(write_and_compare(&fixture.store, at, writes)))
    };
    TestRunner::new(config).run(&strategy, test).unwrap();
}

async fn write_and_compare(store: &LocalViews, at: RowPartition, (writes, cuts): Writes) -> Result<(), TestCaseError> {
    let spec = view("permuted");
    let revised = |&(id, epoch, offset): &(i64, i32, i64)| {
        let row = row(key("a", id, 0), values(1, 1, &format!("{epoch}/{offset}")), epoch, offset);
        Row { partition: at.clone(), written_at: 60_000 * (now() / 60_000), ..row }
    };
    let rows: Vec<_> = writes.iter().map(revised).collect();
    let mut left = &rows[..];
    for cut in cuts {
        let (now, later) = left.split_at(cut.min(left.len()));
        store.put_rows(&spec, now).await.unwrap();
        left = later;
    }
    let mut highest = BTreeMap::new();
    for row in &rows {
        let best = highest.entry(&row.clustering).or_insert(row);
        if row.revision > best.revision {
            *best = row;
        }
    }
    let read = store.rows(&spec, &all(at.clone())).await.unwrap();
    let found: Vec<_> = read.iter().map(|row| (&row.clustering, row.revision, &row.values)).collect();
    let wanted: Vec<_> = highest.values().map(|row| (&row.clustering, row.revision, &row.values)).collect();
    prop_assert_eq!(found, wanted);
    Ok(())
}
