//! Pages over merge partitions, hours and filters: complete, in order, without repeats.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::Value as Json;

use crate::support::*;

type Item = (i64, Key);

fn items(page: &Json) -> Vec<Item> {
    let text = |row: &Json, name: &str| row[name].as_str().unwrap().to_owned();
    let item = |row: &Json| {
        (row["hour"].as_i64().unwrap(), (text(row, "src_app"), text(row, "dest_app"), text(row, "vpc_id")))
    };
    page["flows"].as_array().unwrap().iter().map(item).collect()
}

async fn json_pages(f: &Fixture, query: &str, limit: usize) -> Vec<Item> {
    let (mut all, mut cursor) = (vec![], String::new());
    for _ in 0..1_000 {
        let page = f.get(&format!("/v1/flows?{query}&limit={limit}{cursor}")).await.json();
        let rows = items(&page);
        assert!(rows.len() <= limit);
        all.extend(rows);
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
    panic!("the pages do not end");
}

async fn csv_pages(f: &Fixture, query: &str, limit: usize) -> Vec<Item> {
    let (mut all, mut uri) = (vec![], format!("/v1/flows?{query}&limit={limit}&format=csv"));
    loop {
        let page = f.get(&uri).await;
        for record in csv::Reader::from_reader(page.text.as_bytes()).records() {
            let r = record.unwrap();
            all.push((r[0].parse().unwrap(), key(&r[1], &r[2], &r[3])));
        }
        match page.header("link").strip_prefix('<').and_then(|l| l.strip_suffix(">; rel=\"next\"")) {
            Some(next) => uri = next.to_owned(),
            None => return all,
        }
    }
}

fn keys() -> impl Strategy<Value = BTreeSet<Key>> {
    let word = || prop::sample::select(vec!["a", "aa", "b", "é", "z", " ", "a,\"b"]);
    prop::collection::btree_set((word(), word(), word()).prop_map(|(a, b, c)| key(a, b, c)), 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn pages_are_complete_and_without_repeats(hours in prop::collection::vec(keys(), 1..4), limit in 1usize..9, src in "[ab]", dest in any::<bool>()) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let f = Fixture::new().await;
            let first = NOW_HOUR - 5;
            let mut all: Vec<Item> = vec![];
            for (hour, keys) in (first..).zip(&hours) {
                let keys: Vec<_> = keys.iter().cloned().collect();
                f.hour(hour, &keys).await;
                all.extend(keys.into_iter().map(|k| (hour, k)));
            }
            f.watermark(Some(0), 1).await;
            let range = format!("from={}&to={}", first * HOUR_MS, NOW_HOUR * HOUR_MS);
            assert_eq!(json_pages(&f, &range, limit).await, all);
            assert_eq!(csv_pages(&f, &range, limit).await, all);

            let wanted: Vec<_> = all.iter().filter(|(_, k)| if dest { k.1 == src } else { k.0 == src }).cloned().collect();
            let name = if dest { "dest_app" } else { "src_app" };
            assert_eq!(json_pages(&f, &format!("{range}&{name}={src}"), limit).await, wanted);
        });
    }
}

#[tokio::test]
async fn the_pages_of_the_current_hour_stay_in_it_when_the_hour_passes() {
    let f = Fixture::new().await;
    f.hour(NOW_HOUR, &[key("a", "d", "v"), key("b", "d", "v"), key("c", "d", "v")]).await;
    f.hour(NOW_HOUR + 1, &[key("x", "d", "v")]).await;
    f.watermark(Some(0), 1).await;
    let first = f.get("/v1/flows?limit=2").await.json();
    f.now.fetch_add(HOUR_MS, std::sync::atomic::Ordering::SeqCst);
    let second = f.get(&format!("/v1/flows?limit=2&cursor={}", first["next"].as_str().unwrap())).await.json();
    assert_eq!(second["window"]["hour"], NOW_HOUR);
    assert_eq!(items(&second), [(NOW_HOUR, key("c", "d", "v"))]);
    assert!(second["next"].is_null());
}

#[tokio::test]
async fn a_last_page_that_is_full_has_no_next() {
    let f = Fixture::new().await;
    f.hour(NOW_HOUR, &[key("a", "d", "v"), key("b", "d", "v")]).await;
    f.watermark(Some(0), 1).await;
    assert!(f.get("/v1/flows?limit=2").await.json()["next"].is_null());
}

/// More rows than are read at a time, more bytes than are held, and a filter that reads most of them in vain.
#[tokio::test]
async fn a_large_hour_is_complete() {
    let f = Fixture::new().await;
    let keys: Vec<_> = (0..90_000)
        .map(|i| {
            key(&format!("{}-application-{i:06}", i % 10), &format!("destination-{}", i % 7), "a-network-of-some-name")
        })
        .collect();
    f.hour(NOW_HOUR, &keys).await;
    f.watermark(Some(closes(NOW_HOUR)), 1).await;
    let mut sorted = keys.clone();
    sorted.sort();

    let csv = f.get(&format!("/v1/flows?hour={NOW_HOUR}&format=csv")).await;
    assert!(csv.text.len() > 4 << 20, "long enough to be streamed");
    let mut lines = csv.text.lines();
    assert_eq!(lines.next(), Some("hour,src_app,dest_app,vpc_id,bytes_rx,bytes_tx,records"));
    assert!(lines.eq(sorted.iter().map(|k| format!("{NOW_HOUR},{},{},{},10,1,1", k.0, k.1, k.2))));

    let wanted = sorted.iter().filter(|k| k.1 == "destination-3").count();
    let found = json_pages(&f, &format!("hour={NOW_HOUR}&dest_app=destination-3"), 10_000).await;
    assert_eq!(found.len(), wanted);
    let total = &f.get(&format!("/v1/top?hour={NOW_HOUR}&by=dest_app")).await.json()["total"];
    assert_eq!(total["records"], 90_000);
}

/// A filter that finds little in more rows than one page may read: short pages lead to everything there is.
#[tokio::test]
async fn a_page_that_finds_little_says_where_to_go_on() {
    let f = Fixture::new().await;
    let mut wanted = vec![];
    for hour in NOW_HOUR - 2..=NOW_HOUR {
        // Behind where the budget ends in their merge partition, and before where it ends in the others.
        let dest = |i| if hour == NOW_HOUR && i % 10 == 3 && i > 79_900 { "needle" } else { "d" };
        let mut keys: Vec<_> = (0..80_000).map(|i| key(&format!("{}{i:06}", i % 10), dest(i), "v")).collect();
        f.hour(hour, &keys).await;
        keys.sort();
        wanted.extend(keys.into_iter().filter(|k| k.1 == "needle").map(|k| (hour, k)));
    }
    f.watermark(Some(0), 1).await;
    let query = format!("from={}&dest_app=needle", (NOW_HOUR - 2) * HOUR_MS);
    let first = f.get(&format!("/v1/flows?{query}&limit=10000")).await.json();
    assert!(items(&first).len() < wanted.len() && first["next"].is_string(), "not all within the first 200,000 rows");
    assert_eq!(json_pages(&f, &query, 10_000).await, wanted);
}
