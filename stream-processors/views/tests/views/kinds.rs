//! What holds for columns of every kind.

use tidemark_views::{Column, Kind, Row, RowQuery, Value, ViewSpec};

use crate::sample::*;
use crate::suite::{Store, refused};

/// Values of a kind, in order.
fn ladder(kind: Kind) -> Vec<Value> {
    match kind {
        Kind::Text => ["", "\0", "a", "a\0b", "b", "ß→𝄞"].map(|text| Value::Text(text.into())).into(),
        Kind::Long => [i64::MIN, -1, 0, 255, 256, i64::MAX].map(Value::Long).into(),
        Kind::Integer => [i128::MIN, -129, -1, 0, 128, i128::MAX].map(Value::Integer).into(),
        Kind::Double => [f64::NEG_INFINITY, -1.5, -0.0, 0.0, 1e-300, f64::INFINITY, f64::NAN].map(Value::Double).into(),
        Kind::Boolean => [false, true].map(Value::Boolean).into(),
        Kind::Time => [i64::MIN, -1, 0, 1_795_230_000_123, i64::MAX].map(Value::Time).into(),
        Kind::Json => ["", "[]", r#"[{"ip":"1.2.3.4","n":7}]"#].map(|text| Value::Json(text.into())).into(),
    }
}

fn wide_key(at: usize) -> Vec<Value> {
    let value = |column: &Column| ladder(column.kind).into_iter().cycle().nth(at).unwrap();
    wide("any").clustering.iter().map(value).collect()
}

fn wide_row(at: usize, values: Vec<Value>, offset: i64) -> Row {
    row(wide_key(at), values, 0, offset)
}

pub(crate) async fn every_kind_and_its_null_come_back(store: Store<'_>) {
    let spec = wide("wide");
    store.create(&spec).await.unwrap();
    store.create(&spec).await.unwrap();
    let mut rows = vec![];
    for at in 0..7 {
        let value = |column: &Column| ladder(column.kind).into_iter().cycle().nth(at).unwrap();
        let mut values: Vec<_> = spec.values.iter().map(value).collect();
        rows.push(wide_row(at, values.clone(), 1));
        values[at] = Value::Null;
        rows.push(wide_row(at + 10, values, 1));
    }
    rows.push(wide_row(20, vec![Value::Null; 7], 1));
    store.put_rows(&spec, &rows).await.unwrap();
    rows.sort_by(|a, b| a.clustering.cmp(&b.clustering));
    assert_eq!(store.rows(&spec, &all(partition())).await.unwrap(), rows);
}

pub(crate) async fn a_null_and_a_value_replace_each_other_by_revision(store: Store<'_>) {
    let spec = wide("nulls");
    store.create(&spec).await.unwrap();
    let full: Vec<_> = spec.values.iter().map(|column| ladder(column.kind)[1].clone()).collect();
    let null = vec![Value::Null; 7];
    for (at, order) in [[1, 2, 3], [1, 3, 2], [3, 2, 1], [2, 3, 1]].into_iter().enumerate() {
        for (key, odd, even) in [(2 * at, &full, &null), (2 * at + 1, &null, &full)] {
            for offset in order {
                let values = if offset % 2 == 1 { odd.clone() } else { even.clone() };
                store.put_rows(&spec, &[wide_row(key, values, offset)]).await.unwrap();
            }
            let query = RowQuery { prefix: wide_key(key), ..all(partition()) };
            let read = store.rows(&spec, &query).await.unwrap();
            assert_eq!((read.len(), &read[0].values), (1, odd), "written in the order {order:?}");
        }
    }
}

pub(crate) async fn rows_are_ordered_by_every_kind_of_clustering_column(store: Store<'_>) {
    for kind in Kind::ALL.into_iter().filter(|kind| kind.can_cluster()) {
        let spec = ViewSpec {
            clustering: columns(&[("k", kind), ("then", Kind::Boolean)]),
            values: vec![],
            ..view(&format!("by_{}", format!("{kind:?}").to_lowercase()))
        };
        store.create(&spec).await.unwrap();
        let both = |value: &Value| [false, true].map(|then| vec![value.clone(), Value::Boolean(then)]);
        let keys: Vec<_> = ladder(kind).iter().flat_map(both).collect();
        let mut rows: Vec<_> = keys.iter().map(|key| row(key.clone(), vec![], 0, 1)).collect();
        Dice(7).shuffle(&mut rows);
        store.put_rows(&spec, &rows).await.unwrap();
        let read = async |query: RowQuery| {
            let rows = store.rows(&spec, &query).await.unwrap();
            rows.into_iter().map(|row| row.clustering).collect::<Vec<_>>()
        };
        assert_eq!(read(all(partition())).await, keys, "{kind:?}");
        let after = RowQuery { after: Some(keys[1].clone()), ..all(partition()) };
        assert_eq!(read(after).await, keys[2..], "{kind:?}");
        let prefix = RowQuery { prefix: keys[2][..1].to_vec(), ..all(partition()) };
        assert_eq!(read(prefix).await, keys[2..4], "{kind:?}");
    }
}

pub(crate) async fn keys_of_other_kinds_and_nulls_in_keys_are_refused(store: Store<'_>) {
    for kind in [Kind::Double, Kind::Json] {
        let spec = ViewSpec { clustering: columns(&[("k", kind)]), ..view("unordered") };
        refused(store.create(&spec).await, "rows are ordered by text, long, integer, boolean or time");
    }
    let spec = wide("no_null_keys");
    store.create(&spec).await.unwrap();
    let mut null = wide_row(0, vec![Value::Null; 7], 1);
    null.clustering[3] = Value::Null;
    refused(store.put_rows(&spec, std::slice::from_ref(&null)).await, "\"c3\" is null");
    refused(
        store.rows(&spec, &RowQuery { prefix: null.clustering.clone(), ..all(partition()) }).await,
        "\"c3\" is null",
    );
    refused(store.rows(&spec, &RowQuery { after: Some(null.clustering), ..all(partition()) }).await, "\"c3\" is null");
    let mut other = wide_row(0, vec![Value::Null; 7], 1);
    other.values[5] = Value::Long(1);
    refused(store.put_rows(&spec, &[other]).await, "do not fit");
}
