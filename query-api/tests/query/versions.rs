//! A name and its versions: what is promoted, what readers in the middle of their pages see, and what is gone.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};
use tidemark_views::{ViewStore, ViewVersion};

use crate::support::*;
use crate::views_support::*;

const START: i64 = NOW_HOUR * HOUR_MS;

/// Version 1 current, with rows 0 to 9; version 2 with rows 100 to 109.
async fn two() -> (Fixture, ViewVersion, ViewVersion) {
    let (one, two) = (version(1, HOURS), version(2, HOURS));
    let f = access(&one).await;
    f.views.create(&two.table).await.unwrap();
    f.views.put_catalog(&entry("access", 2, &[one.clone(), two.clone()])).await.unwrap();
    for (v, from) in [(&one, 0), (&two, 100)] {
        let addresses: Vec<_> = (from..from + 10).map(|port| ("a", port)).collect();
        f.fill(v, START, &addresses).await;
        f.reached(v, START, 1).await;
    }
    (f, one, two)
}

fn ports(page: &Json) -> Vec<i64> {
    page["rows"].as_array().unwrap().iter().map(|row| row["port"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn the_bare_name_means_the_current_version() {
    let (f, one, two) = two().await;
    assert_eq!(f.get("/v1/views/access").await.json()["version"], 1);
    assert_eq!(ports(&f.get("/v1/views/access?version=2").await.json())[0], 100);
    f.views.put_catalog(&entry("access", 3, &[two, one])).await.unwrap();
    let promoted = f.until("/v1/views/access", |a| a.json()["version"] == 2).await.json();
    assert_eq!(ports(&promoted), (100..110).collect::<Vec<_>>());
    assert_eq!(ports(&f.get("/v1/views/access?version=1").await.json()), (0..10).collect::<Vec<_>>());
    let windows = f.get("/v1/views/access/windows?version=1").await.json();
    assert_eq!((&windows["version"], &windows["windows"][0]["rows"]), (&json!(1), &json!(10)));
}

#[tokio::test]
async fn pages_go_on_with_the_version_that_they_began_with() {
    let (f, one, two) = two().await;
    let first = f.get("/v1/views/access?limit=4").await.json();
    f.views.put_catalog(&entry("access", 3, &[two.clone(), one])).await.unwrap();
    f.until("/v1/views/access", |a| a.json()["version"] == 2).await;
    let (mut seen, mut next) = (ports(&first), first["next"].clone());
    while let Some(cursor) = next.as_str().map(str::to_owned) {
        let page = f.get(&format!("/v1/views/access?limit=4&cursor={cursor}")).await.json();
        assert_eq!(page["version"], 1);
        seen.extend(ports(&page));
        next = page["next"].clone();
    }
    assert_eq!(seen, (0..10).collect::<Vec<_>>());

    let cursor = first["next"].as_str().unwrap();
    f.views.put_catalog(&entry("access", 4, &[two])).await.unwrap();
    let gone = f.until(&format!("/v1/views/access?limit=4&cursor={cursor}"), |a| a.status != 200).await.problem(410);
    assert_eq!(gone["type"], "urn:tidemark:problem:version_gone");
    assert_eq!(gone["detail"], "version 1 of `access` has been removed");
    assert!(gone["fix"].as_str().unwrap().contains("leave `cursor`"));
}

#[tokio::test]
async fn windows_too_are_of_one_version_to_the_last_page() {
    let (f, one, two) = two().await;
    f.fill(&one, START - HOUR_MS, &[("a", 1)]).await;
    let first = f.get("/v1/views/access/windows?limit=1").await.json();
    let uri = format!("/v1/views/access/windows?limit=1&cursor={}", first["next"].as_str().unwrap());
    f.views.put_catalog(&entry("access", 3, &[two.clone(), one])).await.unwrap();
    f.until("/v1/views/access", |a| a.json()["version"] == 2).await;
    let second = f.get(&uri).await.json();
    assert_eq!((&second["version"], &second["windows"][0]["rows"]), (&json!(1), &json!(1)));
    f.views.put_catalog(&entry("access", 4, &[two])).await.unwrap();
    f.until(&uri, |a| a.status != 200).await.problem(410);
}

/// The catalogue is up to a second old, the table is dropped at once: an empty page would look like the last one.
#[tokio::test]
async fn a_version_dropped_a_moment_ago_is_gone_and_not_empty() {
    let (f, one, two) = two().await;
    let cursor = f.get("/v1/views/access?limit=4").await.json()["next"].as_str().unwrap().to_owned();
    f.views.put_catalog(&entry("access", 3, &[two])).await.unwrap();
    f.views.drop_view(&one.table).await.unwrap();
    f.get(&format!("/v1/views/access?limit=4&cursor={cursor}")).await.problem(410);
}

/// With its whole job.
#[tokio::test]
async fn a_cursor_of_a_view_that_is_gone_says_so() {
    let (f, ..) = two().await;
    let uri = "/v1/views/access?limit=4";
    let cursor = f.get(uri).await.json()["next"].as_str().unwrap().to_owned();
    f.views.put_catalog(&entry("access", 9, &[])).await.unwrap();
    let gone = f.until(&format!("{uri}&cursor={cursor}"), |a| a.status != 200).await.problem(410);
    assert_eq!(gone["type"], "urn:tidemark:problem:version_gone");
    assert_eq!(f.get(uri).await.problem(404)["type"], "urn:tidemark:problem:no_view");
}

#[tokio::test]
async fn a_cursor_belongs_to_its_question() {
    let (f, ..) = two().await;
    f.views.put_catalog(&entry("other", 1, &[version(1, HOURS)])).await.unwrap();
    f.until("/v1/views/other", |a| a.status == 200).await;
    let cursor = f.get("/v1/views/access?limit=4&ip=a").await.json()["next"].as_str().unwrap().to_owned();
    assert_eq!(ports(&f.get(&format!("/v1/views/access?ip=a&cursor={cursor}&limit=2")).await.json()), [4, 5]);
    for other in [
        "access?ip=b&limit=4",
        "access?limit=4",
        "access?ip=a&version=2",
        "other?ip=a&limit=4",
        "access/windows?limit=4",
    ] {
        let problem = f.get(&format!("/v1/views/{other}&cursor={cursor}")).await.problem(400);
        assert_eq!(problem["parameter"], "cursor", "{other}");
    }
}

#[tokio::test]
async fn the_pages_of_the_newest_window_stay_in_it() {
    let (f, one, _) = two().await;
    let first = f.get("/v1/views/access?limit=9").await.json();
    f.fill(&one, START + HOUR_MS, &[("b", 7)]).await;
    let next = first["next"].as_str().unwrap();
    let second = f.get(&format!("/v1/views/access?limit=9&cursor={next}")).await.json();
    assert_eq!((ports(&second), &second["window"]), (vec![9], &first["window"]));
    assert_eq!(ports(&f.get("/v1/views/access").await.json()), [7]);
}

/// Pages and CSV over windows, merge partitions and filters: complete, in order, without repeats.
#[tokio::test]
async fn pages_are_complete_and_without_repeats() {
    let v = version(1, HOURS);
    let f = access(&v).await;
    let mut all = BTreeSet::new();
    for hour in 0..3 {
        let ips = ["", "a", "aa", "é"];
        let addresses: Vec<_> = (0..40).map(|at| (ips[at % 4], (at as i64 * 7 + hour) % 50 - 20)).collect();
        let places: Vec<_> = addresses.iter().map(|(ip, port)| (*ip, port.rem_euclid(50))).collect();
        f.fill(&v, START - hour * HOUR_MS, &places).await;
        all.extend(places.iter().map(|(ip, port)| (START - hour * HOUR_MS, (*ip).to_owned(), *port)));
    }
    let range = format!("from={}", START - 2 * HOUR_MS);
    for (filter, limit) in [("", 7), ("", 120), ("&ip=a", 3), ("&ip=", 1), ("&port=7", 1)] {
        let (mut seen, mut cursor) = (vec![], String::new());
        loop {
            let page = f.get(&format!("/v1/views/access?{range}{filter}&limit={limit}{cursor}")).await.json();
            seen.extend(page["rows"].as_array().unwrap().iter().map(|r| {
                let start = tidemark_query_api::instant::parse(r["window_start"].as_str().unwrap()).unwrap();
                (start, r["ip"].as_str().unwrap().to_owned(), r["port"].as_i64().unwrap())
            }));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let wanted = |(_, ip, port): &&(i64, String, i64)| match filter {
            "" => true,
            "&port=7" => *port == 7,
            other => *ip == other["&ip=".len()..],
        };
        let expected: Vec<_> = all.iter().filter(wanted).cloned().collect();
        assert_eq!(seen, expected, "{filter} by {limit}");
        let csv = f.get(&format!("/v1/views/access?{range}{filter}&format=csv")).await.text;
        assert_eq!(csv.lines().count(), expected.len() + 1);
    }
}
