//! Workers: lease with and without waiting, heartbeat, reports.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};

use super::world::{Api, World, eventually, files, report, sha256};

async fn lease_waiting(api: &Api, seconds: &str, key: Option<&str>) -> super::world::Answer {
    let request = Request::post("/v1/queues/documents/lease").header("prefer", format!("wait={seconds}"));
    let request = key.into_iter().fold(request, |request, key| request.header("idempotency-key", key));
    api.send(request.body(Body::from(json!({"worker": "w", "capacity": 2}).to_string())).unwrap()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_goes_out_and_comes_back_done() {
    let world = World::new().await;
    let api = world.api().await;
    let empty = api.post("/v1/queues/documents/lease", json!({"worker": "w"})).await;
    assert_eq!(empty.json(), json!({"task": null, "message": "no task available"}));
    let file_id = api.put("a.txt", "hello").await;
    let task = api.lease("w").await;
    assert_eq!(task["document"], json!({"file_id": file_id, "name": "a.txt", "type": "text/plain", "bytes": 5}));
    assert_eq!(task["attempt"], 1);
    let stale = json!({"worker": "w", "token": task["token"].as_i64().unwrap() + 1, "result": {}});
    let refused = api.post(&report(&task, "complete"), stale).await;
    assert_eq!(
        (refused.status, refused.json()["type"].as_str()),
        (StatusCode::CONFLICT, Some("urn:tidemark:problem:lease_lost"))
    );
    // Numbers beyond 64 bits and the order of keys stay as they were sent.
    let result = r#"{"steps": {"z": 123456789012345678901234567890, "a": 1.10}}"#;
    let body = format!(r#"{{"worker":"w","token":{},"attempts":[],"result":{result}}}"#, task["token"]);
    let request = Request::post(report(&task, "complete")).body(Body::from(body)).unwrap();
    assert_eq!(api.send(request).await.json(), json!({"outcome": "accepted"}));
    let reports = world.said.reports.lock().unwrap().clone();
    let last = reports.last().unwrap();
    assert_eq!((last.result.clone().unwrap(), last.result_bytes), (sha256(result.as_bytes()), result.len() as i64));
    assert!(files(&world.objects().join("results")).contains(&sha256(result.as_bytes())));
    let path = format!("/v1/documents/{file_id}/results");
    eventually("results", async || api.get(&path).await.status == StatusCode::OK).await;
    assert_eq!(api.get(&path).await.body, result.as_bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_waits_for_a_task() {
    let world = World::new().await;
    let api = Arc::new(world.api().await);
    let waiter = {
        let api = api.clone();
        tokio::spawn(async move { lease_waiting(&api, "20", None).await.json() })
    };
    let awaited = || {
        let mut metrics = String::new();
        api.documents.render(&mut metrics);
        metrics.contains("tidemark_documents_answers_awaited 1\n")
    };
    eventually("it waits", async || awaited()).await;
    let began = Instant::now();
    let file_id = api.put("a", "the task").await;
    assert_eq!(waiter.await.unwrap()["task"]["document"]["file_id"], file_id.as_str());
    assert!(began.elapsed() < Duration::from_secs(10), "woken, not timed out");
    let began = Instant::now();
    assert_eq!(lease_waiting(&api, "1", None).await.json()["task"], Value::Null);
    assert!(began.elapsed() >= Duration::from_millis(900), "it waits as long as it is asked to");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_lease_request_gets_the_same_task() {
    let world = World::new().await;
    let api = world.api().await;
    api.put("a", "one").await;
    api.put("b", "two").await;
    let first = lease_waiting(&api, "0", Some("k1")).await.json();
    let again = lease_waiting(&api, "0", Some("k1")).await.json();
    let other = lease_waiting(&api, "0", Some("k2")).await.json();
    assert_eq!(first["task"], again["task"]);
    assert_ne!(first["task"]["task_id"], other["task"]["task_id"]);
    assert!(!first["task"]["task_id"].is_null() && !other["task"]["task_id"].is_null());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_are_known_by_their_heartbeats() {
    let world = World::new().await;
    let api = world.api().await;
    api.put("a", "one").await;
    let task = api.lease("w").await;
    let body = json!({"worker": "w", "capacity": 3, "memory_bytes": 7, "cpu_percent": 50, "tasks": [
        {"task_id": task["task_id"], "token": task["token"], "step": "D1"}, {"task_id": "other", "token": 1}]});
    let beat = api.post("/v1/queues/documents/heartbeat", body).await;
    assert_eq!(beat.json(), json!({"revoked": [{"task_id": "other", "token": 1}]}));
    let queue = async || api.get("/v1/queues/documents").await.json();
    eventually("the worker is shown", async || queue().await["workers"].as_array().unwrap().len() == 1).await;
    eventually("the lease is counted", async || queue().await["leased"] == 1).await;
    let shown = queue().await;
    assert_eq!((&shown["queue"], &shown["pending"]), (&json!("documents"), &json!(0)));
    let worker = &shown["workers"][0];
    assert_eq!((&worker["worker"], &worker["capacity"], &worker["leases"]), (&json!("w"), &json!(3), &json!(1)));
    assert_eq!((&worker["memory_bytes"], &worker["cpu_percent"]), (&json!(7), &json!(50)));
    assert_eq!(api.get("/v1/queues/other").await.json()["workers"], json!([]));
    api.post("/v1/queues/documents/heartbeat", json!({"worker": "w", "capacity": 0})).await;
    eventually("it is gone", async || queue().await["workers"] == json!([])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_and_refusals_are_told_with_their_reasons() {
    let world = World::new().await;
    let api = world.api().await;
    let file_id = api.put("a", "one").await;
    let task = api.lease("w").await;
    let refused = json!({"worker": "w", "token": task["token"], "reason": "disk full"});
    assert_eq!(api.post(&report(&task, "refuse"), refused).await.status, StatusCode::OK);
    let task = api.lease("w").await;
    assert_eq!(task["attempt"], 2);
    let failed = json!({"worker": "w", "token": task["token"], "step": "D2", "error": "x".repeat(9_000)});
    assert_eq!(api.post(&report(&task, "fail"), failed).await.status, StatusCode::OK);
    let reports = world.said.reports.lock().unwrap().clone();
    let outcomes: Vec<_> = reports.iter().map(|r| (r.outcome.as_str(), r.message.as_ref().unwrap().len())).collect();
    assert_eq!(outcomes, [("REFUSED", 9), ("FAILED", 8_192)]);
    let one = async || api.get(&format!("/v1/documents/{file_id}")).await.json();
    eventually("it is in ERROR", async || one().await["state"] == "ERROR").await;
    assert_eq!(one().await["step"], "D2");
    let gone = api.get(&format!("/v1/documents/{file_id}/results")).await;
    assert_eq!(
        (gone.status, gone.json()["type"].as_str()),
        (StatusCode::NOT_FOUND, Some("urn:tidemark:problem:no_results"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_reach_nobody() {
    let world = World::new().await;
    let api = world.api().await;
    let run = json!({"step": "D1", "attempt": 1, "outcome": "FINE", "message": null, "started_at": 1, "wall_us": 2, "cpu_us": 3, "memory_bytes": 4});
    let cases = [
        ("/v1/queues/documents/lease", json!({"worker": ""}), "worker"),
        ("/v1/queues/documents/lease", json!({"worker": "w\n"}), "worker"),
        ("/v1/queues/documents/lease", json!({"worker": "w", "capacity": 0}), "capacity"),
        ("/v1/queues/documents/lease", json!({"worker": "w", "capacity": 1025}), "capacity"),
        ("/v1/queues/documents/lease", json!({"worker": "w", "capcity": 1}), "body"),
        ("/v1/queues/a%2Fb/lease", json!({"worker": "w"}), "queue"),
        ("/v1/queues/documents/heartbeat", json!({"worker": "w", "capacity": -1}), "capacity"),
        (
            "/v1/queues/documents/heartbeat",
            json!({"worker": "w", "tasks": [{"task_id": "", "token": 1}]}),
            "tasks.task_id",
        ),
        ("/v1/queues/documents/tasks/t/complete", json!({"worker": "w", "token": 1}), "result"),
        (
            "/v1/queues/documents/tasks/t/complete",
            json!({"worker": "w", "token": 1, "result": {}, "attempts": [run]}),
            "attempts.outcome",
        ),
        ("/v1/queues/documents/tasks/t/fail", json!({"worker": "w", "token": 1}), "error"),
        ("/v1/queues/documents/tasks/t/fail", json!([]), "body"),
    ];
    for (path, body, field) in cases {
        let answer = api.post(path, body.clone()).await;
        assert_eq!(
            (answer.status, answer.json()["field"].as_str()),
            (StatusCode::BAD_REQUEST, Some(field)),
            "{path} {body}"
        );
    }
    assert_eq!(lease_waiting(&api, "61", None).await.json()["field"], "Prefer");
    let missing = api.post("/v1/queues/documents/tasks/t/refuse", json!({"worker": "w", "token": 1})).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert_eq!(world.said.reports.lock().unwrap().len(), 1);
}

/// Room for results that nobody uses to the end does not keep others waiting for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_without_room_are_sent_again() {
    let world = World::new().await;
    let api = world.api().await;
    let never = || Body::from_stream(futures::stream::pending::<Result<axum::body::Bytes, std::io::Error>>());
    let request = || Request::post("/v1/queues/documents/tasks/t/complete").body(never()).unwrap();
    // One more than there is room for; whichever has none is answered first.
    let all = (0..5).map(|_| Box::pin(api.send(request())));
    let (first, _, _) = futures::future::select_all(all).await;
    assert_eq!(first.status, StatusCode::SERVICE_UNAVAILABLE, "{}", String::from_utf8_lossy(&first.body));
    assert_eq!(first.headers["retry-after"], "1");
}
