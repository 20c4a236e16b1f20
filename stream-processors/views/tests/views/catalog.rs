//! What holds for the catalogue and for the end of a view.

use tidemark_views::{CatalogEntry, Revision, Row, Windowing};

use crate::sample::*;
use crate::suite::{Store, refused};

pub(crate) async fn entries_are_listed_by_name_and_the_highest_revision_stays(store: Store<'_>) {
    assert_eq!(store.catalog().await.unwrap(), []);
    // As text the ninth revision is the greater one: a store that goes by value would keep it.
    let newest = [catalog_entry("a.hourly", 10, &[2, 1]), catalog_entry("b-daily", 1 << 50, &[1])];
    let older = [catalog_entry("a.hourly", 9, &[1]), catalog_entry("b-daily", 0, &[7])];
    for entry in [&newest[1], &older[0], &newest[0], &older[0], &older[1], &newest[0]] {
        store.put_catalog(entry).await.unwrap();
    }
    assert_eq!(store.catalog().await.unwrap(), newest);
    store.put_catalog(&catalog_entry("a.hourly", 11, &[])).await.unwrap();
    assert_eq!(store.catalog().await.unwrap(), newest[1..], "a view without a version is not listed");
    store.put_catalog(&newest[0]).await.unwrap();
    assert_eq!(store.catalog().await.unwrap(), newest[1..], "and an older revision does not bring it back");
}

pub(crate) async fn an_entry_that_contradicts_itself_is_refused(store: Store<'_>) {
    let good = catalog_entry("good", 1, &[1, 2]);
    let mut clustered = good.clone();
    clustered.versions[1].table.name = "Upper".into();
    let mut windowless = good.clone();
    windowless.versions[0].window = Windowing::Session { gap_ms: 1, bucket_ms: 0 };
    let long = "x".repeat(129);
    let bad = [
        (CatalogEntry { view: "a b".into(), ..good.clone() }, "letters, digits"),
        (CatalogEntry { view: String::new(), ..good.clone() }, "letters, digits"),
        (CatalogEntry { view: long, ..good.clone() }, "letters, digits"),
        (CatalogEntry { revision: -1, ..good.clone() }, "`revision`"),
        (CatalogEntry { revision: (1 << 50) + 1, ..good.clone() }, "`revision`"),
        (CatalogEntry { current: Some(3), ..good.clone() }, "`current`"),
        (CatalogEntry { previous: Some(3), ..good.clone() }, "`previous`"),
        (catalog_entry("twice", 1, &[1, 1]), "one number"),
        (windowless, "`window`"),
        (clustered, "a view's name"),
    ];
    for (bad, reason) in bad {
        refused(store.put_catalog(&bad).await, reason);
    }
    assert_eq!(store.catalog().await.unwrap(), []);
}

pub(crate) async fn a_dropped_view_is_gone_and_no_other_is(store: Store<'_>) {
    let (spec, other) = (view("ended"), view("ended_not"));
    store.drop_view(&spec).await.unwrap();
    let written = row(key("a", 0, 0), values(1, 1, ""), 0, 9);
    for spec in [&spec, &other] {
        store.create(spec).await.unwrap();
        store.put_rows(spec, std::slice::from_ref(&written)).await.unwrap();
        store.put_ledger(spec, &[ledger(0, 0, 0, 9), ledger(HOUR, 1, 0, 8)]).await.unwrap();
        store.put_progress(spec, &progress(0, 0, 9)).await.unwrap();
    }
    for _ in 0..2 {
        store.drop_view(&spec).await.unwrap();
        refused(store.rows(&spec, &all(partition())).await, "create");
        assert_eq!(store.ledger(&spec, i64::MIN, i64::MAX).await.unwrap(), []);
        assert_eq!(store.progress(&spec).await.unwrap(), []);
    }
    assert_eq!(store.rows(&other, &all(partition())).await.unwrap(), std::slice::from_ref(&written));
    assert_eq!(store.ledger(&other, i64::MIN, i64::MAX).await.unwrap().len(), 2);
    assert_eq!(store.progress(&other).await.unwrap().len(), 1);

    // Made again it is a new one: empty, and its revisions, lower and equal ones too, are as good as any.
    store.create(&spec).await.unwrap();
    assert_eq!(store.rows(&spec, &all(partition())).await.unwrap(), []);
    assert_eq!(store.ledger(&spec, i64::MIN, i64::MAX).await.unwrap(), []);
    for offset in [1, 9] {
        let again = Row { revision: Revision { epoch: 0, offset }, ..written.clone() };
        let (entry, reached) = (ledger(0, 0, 0, offset), progress(0, 0, offset));
        store.put_rows(&spec, std::slice::from_ref(&again)).await.unwrap();
        store.put_ledger(&spec, std::slice::from_ref(&entry)).await.unwrap();
        store.put_progress(&spec, &reached).await.unwrap();
        assert_eq!(store.rows(&spec, &all(partition())).await.unwrap(), [again]);
        assert_eq!(store.ledger(&spec, i64::MIN, i64::MAX).await.unwrap(), [entry]);
        assert_eq!(store.progress(&spec).await.unwrap(), [reached]);
    }
}
