//! Retry, cancel, and what is shown of one document.

use axum::http::StatusCode;
use serde_json::json;

use super::world::{World, eventually, report};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_failed_is_tried_again_and_what_waits_is_cancelled() {
    let world = World::new().await;
    let api = world.api().await;
    let file_id = api.put("a", "one").await;
    let (one, act) = (format!("/v1/documents/{file_id}"), |what: &str| format!("/v1/documents/{file_id}/{what}"));
    eventually("it is in the view", async || api.get(&one).await.status == StatusCode::OK).await;
    let early = api.post(&act("retry"), json!({"by": "ann"})).await;
    assert_eq!((early.status, early.json()["detail"].as_str()), (StatusCode::CONFLICT, Some("it is UPLOADED")));
    let cancelled = api.post(&act("cancel"), json!({"by": "ann"})).await;
    let document = cancelled.json()["document"].clone();
    assert_eq!(
        (cancelled.status, &document["state"], &document["error"]),
        (StatusCode::OK, &json!("ERROR"), &json!("cancelled by ann"))
    );
    eventually("it is in ERROR", async || api.get(&one).await.json()["state"] == "ERROR").await;
    let retried = api.send(axum::http::Request::post(act("retry")).body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!((retried.status, &retried.json()["document"]["state"]), (StatusCode::ACCEPTED, &json!("UPLOADED")));
    // The same contents after an ERROR are tried again.
    let task = api.lease("w").await;
    api.post(&report(&task, "fail"), json!({"worker": "w", "token": task["token"], "error": "broken"})).await;
    let again = api.raw("b", "one").await;
    assert_eq!((again.status, &again.json()["documents"][0]["outcome"]), (StatusCode::OK, &json!("retried")));
    assert_eq!(again.json()["documents"][0]["state"], "UPLOADED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_is_shown_with_its_steps_and_its_log() {
    let world = World::new().await;
    let api = world.api().await;
    let file_id = api.done("a.txt", "some text").await;
    let one = format!("/v1/documents/{file_id}");
    eventually("it is DONE, with its step", async || {
        let shown = api.get(&one).await.json();
        shown["state"] == "DONE" && shown["steps"].as_array().unwrap().len() == 1
    })
    .await;
    let shown = api.get(&one).await.json();
    assert_eq!(
        (&shown["name"], &shown["type"], &shown["steps"][0]["step"]),
        (&json!("a.txt"), &json!("text/plain"), &json!("D1"))
    );
    let log = api.get(&format!("{one}/log")).await.json();
    let events: Vec<_> =
        log["log"].as_array().unwrap().iter().map(|line| line["event"].as_str().unwrap().to_owned()).collect();
    assert_eq!(events, ["CREATED", "ASSIGNED", "DONE"]);
    let duplicate = api.raw("b.txt", "a.txt some text").await;
    assert_eq!((duplicate.status, &duplicate.json()["documents"][0]["state"]), (StatusCode::OK, &json!("DONE")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_told() {
    let world = World::new().await;
    let api = world.api().await;
    let nobody = "0".repeat(64);
    for path in ["", "/log", "/results", "/contents"] {
        assert_eq!(api.get(&format!("/v1/documents/{nobody}{path}")).await.status, StatusCode::NOT_FOUND);
        let answer = api.get(&format!("/v1/documents/..%2F..%2Fetc{path}")).await;
        assert_eq!((answer.status, answer.json()["field"].as_str()), (StatusCode::BAD_REQUEST, Some("file_id")));
        assert_eq!(api.get(&format!("/v1/documents/{}{path}", "A".repeat(64))).await.status, StatusCode::BAD_REQUEST);
    }
    for what in ["retry", "cancel"] {
        assert_eq!(api.post(&format!("/v1/documents/{nobody}/{what}"), json!({})).await.status, StatusCode::NOT_FOUND);
    }
}
