//! The list: filters, pages, search.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::world::{Api, World, report};

fn names(list: &Value) -> Vec<String> {
    let all = list["documents"].as_array().unwrap();
    all.iter().map(|document| document["name"].as_str().unwrap().to_owned()).collect()
}

async fn search(api: &Api, query: &str) -> Vec<String> {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("q", query).finish();
    let answer = api.get(&format!("/v1/documents?{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{query}: {}", String::from_utf8_lossy(&answer.body));
    let mut found = names(&answer.json());
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_are_found_by_what_is_in_them() {
    let world = World::new().await;
    let api = world.api().await;
    api.done("Report_2024.pdf.txt", "The quick brown fox").await;
    api.done("notes.txt", "A lazy dog sleeps; the fox does not").await;
    api.put("waiting.txt", "not done, so not searched: fox").await;
    api.listed("?state=DONE", |list| names(list).len() == 2).await;
    assert_eq!(search(&api, "fox").await, ["Report_2024.pdf.txt", "notes.txt"]);
    assert_eq!(search(&api, "FOX lazy").await, ["notes.txt"]);
    assert_eq!(search(&api, "\"quick brown\"").await, ["Report_2024.pdf.txt"]);
    assert_eq!(search(&api, "fox -lazy").await, ["Report_2024.pdf.txt"]);
    assert_eq!(search(&api, "quick OR lazy").await.len(), 2);
    assert_eq!(search(&api, "waiting").await, ["waiting.txt"], "names are searched too");
    assert_eq!(search(&api, "elephant").await, Vec::<String>::new());
    assert_eq!(search(&api, "fox state:DONE").await.len(), 2);
    for broken in ["\"open", "nofield:x", "AND", "text:[a TO"] {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("q", broken).finish();
        let answer = api.get(&format!("/v1/documents?{query}")).await;
        assert_eq!((answer.status, answer.json()["field"].as_str()), (StatusCode::BAD_REQUEST, Some("q")), "{broken}");
        assert!(answer.json()["rule"].is_string() && answer.json()["fix"].is_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_and_counts() {
    let world = World::new().await;
    let api = world.api().await;
    api.done("alpha beta.txt", "x").await;
    api.put("alphabet.txt", "waits").await;
    api.put("gamma.html", "<html><p>waits too").await;
    let failed = api.lease("w").await;
    api.post(&report(&failed, "fail"), json!({"worker": "w", "token": failed["token"], "error": "broken"})).await;
    let all = api.listed("", |list| list["counts"]["ERROR"] == 1).await;
    assert_eq!(all["counts"], json!({"UPLOADED": 1, "PROCESSING": 0, "DONE": 1, "ERROR": 1}));
    assert_eq!(names(&all), ["gamma.html", "alphabet.txt", "alpha beta.txt"], "the newest first");
    let list = async |query: &str| api.get(&format!("/v1/documents?{query}")).await.json();
    assert_eq!(names(&list("state=ERROR").await), ["alphabet.txt"]);
    assert_eq!(list("state=ERROR").await["counts"]["DONE"], 1, "counts are of all states");
    assert_eq!(names(&list("type=text/html").await), ["gamma.html"]);
    assert_eq!(names(&list("name=alph").await), ["alphabet.txt", "alpha beta.txt"]);
    assert_eq!(names(&list("name=beta%20alp").await), ["alpha beta.txt"]);
    assert_eq!(names(&list("name=...").await), Vec::<String>::new());
    assert_eq!(names(&list("owner=ann&state=UPLOADED").await), ["gamma.html"]);
    assert_eq!(names(&list("owner=An").await), Vec::<String>::new());
    assert_eq!(names(&list("sort=changed").await)[0], "alphabet.txt", "it changed last");
    for (query, field) in [
        ("state=done", "state"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("cursor=abc", "cursor"),
        ("sort=name", "sort"),
        ("q=", "q"),
        ("sate=DONE", "sate"),
    ] {
        let answer = api.get(&format!("/v1/documents?{query}")).await;
        assert_eq!((answer.status, answer.json()["field"].as_str()), (StatusCode::BAD_REQUEST, Some(field)), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_have_no_gaps_and_no_repeats_while_rows_change() {
    let world = World::new().await;
    let api = Arc::new(world.api().await);
    let mut expected = BTreeSet::new();
    for i in 0..60 {
        expected.insert(api.put(&format!("{i}"), &format!("contents {i}")).await);
    }
    api.listed("", |list| list["counts"]["UPLOADED"] == 60).await;
    let (stop, changing) = (Arc::new(AtomicBool::new(false)), api.clone());
    let stopped = stop.clone();
    let changes = tokio::spawn(async move {
        let mut changed = 0;
        while !stopped.load(Ordering::SeqCst) {
            let task = changing.lease("w").await;
            let body = json!({"worker": "w", "token": task["token"], "reason": "again"});
            assert_eq!(changing.post(&report(&task, "refuse"), body).await.status, StatusCode::OK);
            // New ones come to the front, which is behind the reader.
            changing.put("new", &format!("new {changed}")).await;
            changed += 1;
        }
        changed
    });
    for limit in [1, 7, 60] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = api.get(&format!("/v1/documents?limit={limit}{cursor}")).await.json();
            let rows = page["documents"].as_array().unwrap();
            assert!(rows.len() <= limit);
            seen.extend(rows.iter().map(|row| row["file_id"].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let unique: BTreeSet<_> = seen.iter().cloned().collect();
        assert_eq!(unique.len(), seen.len(), "repeats with pages of {limit}");
        assert!(expected.is_subset(&unique), "gaps with pages of {limit}");
    }
    stop.store(true, Ordering::SeqCst);
    assert!(changes.await.unwrap() > 0);
    // A cursor belongs to its question.
    let first = api.get("/v1/documents?limit=1").await.json();
    let next = first["next"].as_str().unwrap();
    let other = api.get(&format!("/v1/documents?limit=1&owner=ann&cursor={next}")).await;
    assert_eq!((other.status, other.json()["field"].as_str()), (StatusCode::BAD_REQUEST, Some("cursor")));
}
