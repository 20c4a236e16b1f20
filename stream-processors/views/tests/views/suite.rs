//! What holds for every store.

use tidemark_views::{
    Error, Kind, LEDGER_RETENTIONS, Revision, Row, RowPartition, RowQuery, Value, ViewSpec, ViewStore,
};

use crate::sample::*;

pub(crate) type Store<'a> = &'a dyn ViewStore;

pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, Error>, reason: &str) {
    match result {
        Err(Error::Invalid { reason: said, .. }) if said.contains(reason) => {}
        other => panic!("expected a refusal that says {reason:?}, got {other:?}"),
    }
}

pub(crate) async fn a_view_is_made_twice_but_not_with_other_columns(store: Store<'_>) {
    let spec = view("twice");
    store.create(&spec).await.unwrap();
    store.create(&spec).await.unwrap();
    store.create(&ViewSpec { retention_ms: HOUR, ..spec.clone() }).await.unwrap();
    let others = [
        ViewSpec { values: columns(&[("bytes", Kind::Integer)]), ..spec.clone() },
        ViewSpec {
            values: columns(&[("bytes", Kind::Long), ("records", Kind::Long), ("select", Kind::Text)]),
            ..spec.clone()
        },
        ViewSpec { clustering: spec.clustering.iter().rev().cloned().collect(), ..spec.clone() },
        ViewSpec {
            clustering: [&spec.clustering[..], &spec.values[..1]].concat(),
            values: spec.values[1..].to_vec(),
            ..spec
        },
    ];
    for other in &others {
        refused(store.create(other).await, "other columns");
    }
}

pub(crate) async fn values_of_all_kinds_come_back(store: Store<'_>) {
    let spec = view("kinds");
    store.create(&spec).await.unwrap();
    let texts = ["", "\0", "a\0b", "ß→𝄞", "line\nline", "'; DROP TABLE x; --"];
    let longs = [i64::MIN, -1, 0, i64::MAX];
    let integers = [i128::MIN, i128::from(i64::MIN) - 1, -129, -128, -1, 0, 127, 128, 255, 1 << 64, i128::MAX];
    let mut rows = vec![];
    for (at, integer) in integers.into_iter().enumerate() {
        let (text, long) = (texts[at % texts.len()], longs[at % longs.len()]);
        rows.push(row(key(text, long, integer), values(integer, long, text), 1023, (1 << 40) - 1));
    }
    store.put_rows(&spec, &rows).await.unwrap();
    rows.sort_by(|a, b| a.clustering.cmp(&b.clustering));
    assert_eq!(store.rows(&spec, &all(partition())).await.unwrap(), rows);
}

pub(crate) async fn rows_come_in_the_order_of_their_clustering_key(store: Store<'_>) {
    let spec = view("ordered");
    store.create(&spec).await.unwrap();
    let mut keys = vec![];
    for app in
        ["", "\0", "\0\0", "\0\u{1}", "\u{1}", "A", "a", "a\0", "a\0b", "a\u{1}", "ab", "b", "é", "\u{ffff}", "𝄞"]
    {
        keys.extend([-1, 0, 1].map(|from| key(app, from, i128::from(from))));
        keys.extend([-300, 255, 256].map(|id| key(app, 7, id)));
    }
    let mut written = keys.clone();
    Dice(42).shuffle(&mut written);
    let rows: Vec<_> = written.into_iter().map(|key| row(key, values(1, 1, ""), 0, 1)).collect();
    store.put_rows(&spec, &rows).await.unwrap();
    keys.sort();
    let read: Vec<_> =
        store.rows(&spec, &all(partition())).await.unwrap().into_iter().map(|row| row.clustering).collect();
    assert_eq!(read, keys);
}

/// What a query answers by the contract, from all keys in order.
fn expected(keys: &[Vec<Value>], query: &RowQuery) -> Vec<Vec<Value>> {
    let fits =
        |key: &&Vec<Value>| key.starts_with(&query.prefix) && query.after.as_ref().is_none_or(|after| *key > after);
    keys.iter().filter(fits).take(query.limit).cloned().collect()
}

pub(crate) async fn prefix_after_and_limit_page_through_a_partition(store: Store<'_>) {
    let spec = view("paged");
    store.create(&spec).await.unwrap();
    let mut keys = vec![];
    for app in ["", "a", "a\0", "ab", "b"] {
        keys.extend((0..3).flat_map(|from| (-1..2).map(move |id| key(app, from, id))));
    }
    let rows: Vec<_> = keys.iter().map(|key| row(key.clone(), values(1, 1, ""), 0, 1)).collect();
    store.put_rows(&spec, &rows).await.unwrap();
    let prefixes =
        [vec![], key("a", 1, 0)[..1].to_vec(), key("a", 1, 0)[..2].to_vec(), key("a", 1, 0), key("none", 0, 0)];
    let afters = [
        None,
        Some(key("", 2, 1)),
        Some(key("a", 1, -1)),
        Some(key("a", 1, 0)),
        Some(key("a", 2, 9)),
        Some(key("z", 0, 0)),
    ];
    for prefix in &prefixes {
        for after in &afters {
            for limit in [1, 4, 100] {
                let query = RowQuery { partition: partition(), prefix: prefix.clone(), after: after.clone(), limit };
                let read: Vec<_> =
                    store.rows(&spec, &query).await.unwrap().into_iter().map(|row| row.clustering).collect();
                assert_eq!(read, expected(&keys, &query), "{query:?}");
            }
        }
    }
    assert_eq!(page_through(store, &spec, 7).await, keys);
}

async fn page_through(store: Store<'_>, spec: &ViewSpec, limit: usize) -> Vec<Vec<Value>> {
    let (mut keys, mut query) = (vec![], RowQuery { limit, ..all(partition()) });
    loop {
        let page = store.rows(spec, &query).await.unwrap();
        keys.extend(page.iter().map(|row| row.clustering.clone()));
        match page.last() {
            Some(last) if page.len() == limit => query.after = Some(last.clustering.clone()),
            _ => return keys,
        }
    }
}

pub(crate) async fn a_view_without_clustering_columns_has_one_row_for_each_partition(store: Store<'_>) {
    let spec = ViewSpec { clustering: vec![], ..view("total") };
    store.create(&spec).await.unwrap();
    let rows = [row(vec![], values(1, 1, "old"), 0, 1), row(vec![], values(2, 2, "new"), 0, 2)];
    store.put_rows(&spec, &rows).await.unwrap();
    assert_eq!(store.rows(&spec, &all(partition())).await.unwrap(), rows[1..]);
    let after = RowQuery { after: Some(vec![]), ..all(partition()) };
    assert_eq!(store.rows(&spec, &after).await.unwrap(), []);
}

pub(crate) async fn the_highest_revision_stays_in_whatever_order(store: Store<'_>) {
    let spec = view("revisions");
    store.create(&spec).await.unwrap();
    for seed in 1..=20u64 {
        let mut dice = Dice(seed);
        let at = RowPartition { window_start: seed as i64 * HOUR, ..partition() };
        let mut rows = vec![];
        for (epoch, offset) in [(0, 1), (0, 9), (0, 1 << 39), (1, 1), (1, 2), (2, 0), (2, 7)] {
            for app in ["a", "b", "c"].into_iter().take(3 - usize::from(epoch == 2)) {
                // Values that would win a tie by value are those of the low revisions.
                let low = i64::from(3 - epoch) * 1000 - offset.min(500);
                let row = row(key(app, 0, 0), values(low.into(), low, &format!("{epoch}/{offset}")), epoch, offset);
                rows.push(Row { partition: at.clone(), written_at: 60_000 * (now() / 60_000), ..row });
            }
        }
        let repeats: Vec<_> = (0..5).map(|_| rows[dice.roll(rows.len())].clone()).collect();
        rows.extend(repeats);
        dice.shuffle(&mut rows);
        let mut left = &rows[..];
        while !left.is_empty() {
            let (now, later) = left.split_at((dice.roll(9) + 1).min(left.len()));
            store.put_rows(&spec, now).await.unwrap();
            left = later;
        }
        let read = store.rows(&spec, &all(at)).await.unwrap();
        let found: Vec<_> =
            read.iter().map(|row| (row.revision.epoch, row.revision.offset, row.values[2].clone())).collect();
        let text = |text: &str| Value::Text(text.into());
        assert_eq!(found, [(2, 7, text("2/7")), (2, 7, text("2/7")), (1, 2, text("1/2"))], "seed {seed}");
    }
}

pub(crate) async fn more_rows_than_a_page_come_back(store: Store<'_>) {
    let spec = view("many");
    store.create(&spec).await.unwrap();
    let rows: Vec<_> = (0..6_000).map(|at| row(key("app", at, 0), values(at.into(), at, "note"), 0, 1)).collect();
    store.put_rows(&spec, &rows).await.unwrap();
    assert_eq!(store.rows(&spec, &all(partition())).await.unwrap(), rows);
    let query = RowQuery { limit: 5_500, ..all(partition()) };
    assert_eq!(store.rows(&spec, &query).await.unwrap(), rows[..5_500]);
}

pub(crate) async fn ledger_entries_come_by_window_and_merge_partition(store: Store<'_>) {
    let (spec, other) = (view("hours"), view("hours2"));
    store.create(&spec).await.unwrap();
    store.create(&other).await.unwrap();
    let mut entries = vec![];
    for start in [-HOUR, 0, HOUR, 2 * HOUR] {
        entries.extend((0..3).map(|merge_partition| ledger(start, merge_partition, 1, 10)));
    }
    let older = [ledger(0, 0, 1, 9), ledger(0, 1, 0, 900)];
    let mut written = [&entries[..], &older[..]].concat();
    Dice(7).shuffle(&mut written);
    store.put_ledger(&spec, &written).await.unwrap();
    store.put_ledger(&spec, &older).await.unwrap();
    store.put_ledger(&other, &[ledger(0, 0, 5, 5)]).await.unwrap();
    assert_eq!(store.ledger(&spec, i64::MIN, i64::MAX).await.unwrap(), entries);
    assert_eq!(store.ledger(&spec, 0, 2 * HOUR).await.unwrap(), entries[3..9]);
    assert_eq!(store.ledger(&spec, 1, HOUR).await.unwrap(), []);
    assert_eq!(store.ledger(&spec, HOUR, 0).await.unwrap(), []);
    let newer = ledger(0, 0, 2, 1);
    store.put_ledger(&spec, std::slice::from_ref(&newer)).await.unwrap();
    assert_eq!(store.ledger(&spec, 0, 1).await.unwrap()[0], newer);
}

pub(crate) async fn progress_keeps_the_newest_of_each_merge_partition(store: Store<'_>) {
    let (spec, other) = (view("progressing"), view("progress_b"));
    store.create(&spec).await.unwrap();
    store.create(&other).await.unwrap();
    let newest = [progress(0, 0, 7), progress(1, 1, 1), progress(2, 0, 1)];
    for entry in [&newest[1], &progress(0, 0, 3), &newest[0], &progress(0, 0, 1), &progress(1, 0, 99), &newest[2]] {
        store.put_progress(&spec, entry).await.unwrap();
    }
    assert_eq!(store.progress(&spec).await.unwrap(), newest);
    assert_eq!(store.progress(&other).await.unwrap(), []);
}

pub(crate) async fn tenants_windows_merge_partitions_and_views_are_apart(store: Store<'_>) {
    let specs = [view("apart"), view("apart_v2")];
    let mut partitions = vec![];
    for tenant in ["", "a", "a\0", "b"] {
        for window_start in [0, HOUR] {
            partitions.extend((0..2).map(|merge_partition| RowPartition {
                tenant: tenant.into(),
                window_start,
                merge_partition,
            }));
        }
    }
    for (v, spec) in specs.iter().enumerate() {
        store.create(spec).await.unwrap();
        let rows = partitions.iter().enumerate().map(|(p, partition)| Row {
            partition: partition.clone(),
            ..row(key("same", 0, 0), values((v * 100 + p) as i128, 0, ""), 0, 1)
        });
        store.put_rows(spec, &rows.collect::<Vec<_>>()).await.unwrap();
    }
    for (v, spec) in specs.iter().enumerate() {
        for (p, partition) in partitions.iter().enumerate() {
            let read = store.rows(spec, &all(partition.clone())).await.unwrap();
            assert_eq!(read.len(), 1, "{partition:?}");
            assert_eq!((&read[0].partition, &read[0].values[0]), (partition, &Value::Integer((v * 100 + p) as i128)));
        }
    }
    let nowhere = RowPartition { tenant: "c".into(), ..partition() };
    assert_eq!(store.rows(&specs[0], &all(nowhere)).await.unwrap(), []);
}

pub(crate) async fn what_does_not_fit_is_refused_whole(store: Store<'_>) {
    let spec = view("refusing");
    refused(store.put_rows(&spec, &[row(key("a", 0, 0), values(1, 1, ""), 0, 1)]).await, "create");
    refused(store.rows(&spec, &all(partition())).await, "create");
    for name in ["", "Upper", "1st", "a-b", "a b", "a_ledger", "a_progress", "catalog", "a\"", &"x".repeat(40)] {
        refused(store.create(&view(name)).await, "a view's name");
    }
    for name in ["", "tenant", "revision", "a\"b", "é", "records", "RECORDS"] {
        let other = ViewSpec { clustering: columns(&[(name, Kind::Text)]), ..spec.clone() };
        refused(store.create(&other).await, "column");
    }
    refused(store.create(&ViewSpec { retention_ms: 999, ..spec.clone() }).await, "retention");
    store.create(&spec).await.unwrap();
    let good = || row(key("a", 0, 0), values(1, 1, ""), 0, 1);
    let bad = [
        (row(key("a", 0, 0)[..2].to_vec(), values(1, 1, ""), 0, 1), "do not fit"),
        (row(values(1, 1, ""), values(1, 1, ""), 0, 1), "do not fit"),
        (row(key("a", 0, 0), key("a", 0, 0), 0, 1), "do not fit"),
        (row(key("a", 0, 0), values(1, 1, ""), 1024, 1), "out of range"),
        (row(key("a", 0, 0), values(1, 1, ""), 0, 1 << 40), "out of range"),
        (row(key("a", 0, 0), values(1, 1, ""), 0, -1), "out of range"),
        (row(key(&"a".repeat(30_000), 0, 0), values(1, 1, ""), 0, 1), "bytes of text"),
    ];
    for (bad, reason) in bad {
        refused(store.put_rows(&spec, &[good(), bad]).await, reason);
    }
    assert_eq!(store.rows(&spec, &all(partition())).await.unwrap(), [], "a refused call writes nothing");
    for limit in [0, 100_001] {
        refused(store.rows(&spec, &RowQuery { limit, ..all(partition()) }).await, "limit");
    }
    let queries = [(vec![Value::Long(1)], None), (vec![], Some(key("a", 0, 0)[..1].to_vec()))];
    for (prefix, after) in queries {
        refused(store.rows(&spec, &RowQuery { prefix, after, ..all(partition()) }).await, "do not fit");
    }
    // The largest that does fit, in the worst encoding.
    let large = row(key(&"\0".repeat(29_000), 0, 0), values(1, 1, &"x".repeat(200_000)), 0, 1);
    store.put_rows(&spec, &[large.clone(), good()]).await.unwrap();
    assert_eq!(store.rows(&spec, &all(partition())).await.unwrap()[0], large);
    let revision = Revision { epoch: 0, offset: 1 };
    assert_eq!(store.rows(&spec, &all(partition())).await.unwrap()[1].revision, revision);
}

pub(crate) async fn what_is_past_its_retention_is_not_written(store: Store<'_>) {
    let spec = view("expired");
    store.create(&spec).await.unwrap();
    let old = now() - WEEK - 1;
    let mut rows = vec![row(key("a", 0, 0), values(1, 1, ""), 0, 1), row(key("b", 0, 0), values(1, 1, ""), 0, 1)];
    rows[0].written_at = old;
    store.put_rows(&spec, &rows).await.unwrap();
    assert_eq!(store.rows(&spec, &all(partition())).await.unwrap(), rows[1..]);
    let mut entries = vec![ledger(0, 0, 0, 1), ledger(HOUR, 0, 0, 1)];
    entries[0].opened_at = old - (LEDGER_RETENTIONS - 1) * WEEK;
    store.put_ledger(&spec, &entries).await.unwrap();
    assert_eq!(store.ledger(&spec, 0, WEEK).await.unwrap(), entries[1..]);
}
