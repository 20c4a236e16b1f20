#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::system_clock;
use tidemark_schemas::catalog;
use tidemark_schemas::registry::{Error as ClientError, HttpRegistry, Registry as _, check};
use tower::ServiceExt;

use super::*;

/// The folder lives as long as the log in it.
struct App(Router, #[allow(dead_code)] tempfile::TempDir);

fn app() -> App {
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(dir.path(), system_clock()).unwrap();
    App(router(Arc::new(EmbeddedRegistry::open(log).unwrap())), dir)
}

impl App {
    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).header("content-type", MEDIA_TYPE);
        let answer = self.0.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        if status != 413 {
            assert_eq!(answer.headers()["content-type"], MEDIA_TYPE, "{method} {path}");
        }
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", path, "").await
    }

    async fn post(&self, path: &str, schema: &str) -> (u16, Value) {
        self.ask("POST", path, &json!({"schema": schema}).to_string()).await
    }
}

fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#)
}

const A: &str = r#"{"name":"a","type":"long"}"#;

#[tokio::test]
async fn the_way_of_a_schema() {
    let app = app();
    let (a, none) = (record(A), record(""));
    assert_eq!(app.get("/subjects").await, (200, json!([])));
    assert_eq!(app.post("/subjects/s%2F1-value/versions", &a).await, (200, json!({"id": 1})));
    assert_eq!(app.post("/subjects/s%2F1-value/versions", &none).await, (200, json!({"id": 2})));
    assert_eq!(app.post("/subjects/s%2F1-value/versions?normalize=true", &a).await, (200, json!({"id": 1})));
    assert_eq!(app.get("/subjects").await, (200, json!(["s/1-value"])));
    assert_eq!(app.get("/subjects/s%2F1-value/versions").await, (200, json!([1, 2])));
    let first = json!({"subject": "s/1-value", "version": 1, "id": 1, "schema": a});
    let second = json!({"subject": "s/1-value", "version": 2, "id": 2, "schema": none});
    assert_eq!(app.get("/subjects/s%2F1-value/versions/1").await, (200, first.clone()));
    assert_eq!(app.get("/subjects/s%2F1-value/versions/latest").await, (200, second));
    assert_eq!(app.post("/subjects/s%2F1-value", &a).await, (200, first));
    assert_eq!(app.get("/schemas/ids/1").await, (200, json!({"schema": a})));
    assert_eq!(app.get("/schemas/ids/1/schema").await.1["name"], "R");
    assert_eq!(app.get("/subjects/s%2F1-value/versions/1/schema").await.1["fields"][0]["name"], "a");
    assert_eq!(app.get("/schemas/ids/1/versions").await, (200, json!([{"subject": "s/1-value", "version": 1}])));
    assert_eq!(app.get("/schemas/types").await, (200, json!(["AVRO"])));
    assert_eq!(app.get("/").await, (200, json!({})));
}

#[tokio::test]
async fn every_error_has_confluents_code() {
    let app = app();
    app.post("/subjects/s/versions", &record(A)).await;
    let int = record(&A.replace("long", "int"));
    for (method, path, schema, status, code) in [
        ("GET", "/subjects/x/versions", "", 404, 40401),
        ("GET", "/subjects/x/versions/1", "", 404, 40401),
        ("GET", "/subjects/s/versions/9", "", 404, 40402),
        ("GET", "/subjects/s/versions/nine", "", 422, 42202),
        ("GET", "/schemas/ids/9", "", 404, 40403),
        ("GET", "/schemas/ids/-1", "", 404, 40403),
        ("GET", "/schemas/ids/9/versions", "", 404, 40403),
        ("POST", "/subjects/x", &int, 404, 40401),
        ("POST", "/subjects/s", &int, 404, 40403),
        ("POST", "/subjects/s/versions", "{\"type\":\"nope\"}", 422, 42201),
        ("POST", "/subjects/s/versions", &int, 409, 409),
        ("POST", "/compatibility/subjects/s/versions/9", &int, 404, 40402),
        ("POST", "/compatibility/subjects/x/versions/latest", &int, 404, 40401),
        ("GET", "/config/s", "", 404, 40408),
        ("GET", "/nothing", "", 404, 404),
        ("DELETE", "/subjects/s/versions", "", 405, 405),
    ] {
        let (got, body) = app.ask(method, path, &json!({"schema": schema}).to_string()).await;
        assert_eq!((got, &body["error_code"]), (status, &json!(code)), "{method} {path}: {body}");
        assert!(body["message"].as_str().is_some_and(|m| !m.is_empty()), "{method} {path}");
    }
    let (_, body) = app.post("/subjects/s/versions", &int).await;
    assert!(body["message"].as_str().unwrap().contains("field a: reader type int cannot read long"), "{body}");
}

#[tokio::test]
async fn bodies_are_checked() {
    let app = app();
    for (body, status, code) in [
        ("", 400, 400),
        ("{}", 400, 400),
        (r#"{"schema": "\"long\"", "schemaType": "PROTOBUF"}"#, 422, 42201),
        (r#"{"schema": "\"long\"", "references": [{"name": "x"}]}"#, 422, 42201),
        (r#"{"schema": "\"long\"", "references": [], "schemaType": "AVRO"}"#, 200, 0),
    ] {
        let (got, answer) = app.ask("POST", "/subjects/s/versions", body).await;
        assert_eq!((got, answer["error_code"].as_u64().unwrap_or(0)), (status, code), "{body}: {answer}");
    }
    let huge = format!("{{\"schema\":\"{}\"}}", "x".repeat(MAX_BODY_BYTES));
    assert_eq!(app.ask("POST", "/subjects/s/versions", &huge).await.0, 413);
    let deep = "[".repeat(10_000);
    assert_eq!(app.post("/subjects/s/versions", &deep).await.0, 422);
}

#[tokio::test]
async fn compatibility_is_tested_and_set() {
    let app = app();
    let (a, int) = (record(A), record(&A.replace("long", "int")));
    app.post("/subjects/s/versions", &a).await;
    let path = "/compatibility/subjects/s/versions/latest";
    assert_eq!(app.post(path, &a).await, (200, json!({"is_compatible": true})));
    assert_eq!(app.post(path, &int).await, (200, json!({"is_compatible": false})));
    let message = "field a: reader type int cannot read long (against version 1)";
    let verbose = json!({"is_compatible": false, "messages": [message]});
    assert_eq!(app.post(&format!("{path}?verbose=true"), &int).await, (200, verbose));
    assert_eq!(app.get("/config").await, (200, json!({"compatibilityLevel": "BACKWARD"})));
    let put = |path, level: &str| (path, json!({"compatibility": level}).to_string());
    for (path, body) in [put("/config/s", "NONE"), put("/config", "FULL")] {
        assert_eq!(app.ask("PUT", path, &body).await, (200, serde_json::from_str(&body).unwrap()));
    }
    assert_eq!(app.get("/config").await, (200, json!({"compatibilityLevel": "FULL"})));
    assert_eq!(app.get("/config/s").await, (200, json!({"compatibilityLevel": "NONE"})));
    assert_eq!(app.get("/config/t?defaultToGlobal=true").await, (200, json!({"compatibilityLevel": "FULL"})));
    assert_eq!(app.post("/subjects/s/versions", &int).await, (200, json!({"id": 2})));
    let (status, body) = app.ask("PUT", "/config", &put("", "SIDEWAYS").1).await;
    assert_eq!((status, &body["error_code"]), (422, &json!(42203)));
}

/// The client of the same platform, over a socket.
#[tokio::test(flavor = "multi_thread")]
async fn our_own_client_works_against_it() {
    let App(router, _dir) = app();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let client = move || {
        let registry = HttpRegistry::new(&url);
        assert_eq!(registry.schema(1), Ok(None));
        for (id, schema) in (1..).zip(catalog::ALL) {
            assert_eq!(registry.register(&format!("topic/{}", schema.name), &schema.avsc), Ok(id));
        }
        let fresh = HttpRegistry::new(&url);
        assert_eq!(fresh.schema(2).unwrap().as_deref(), Some(&*catalog::ALL[1].avsc));
        let report = check::check(catalog::ALL, &check::registered(&fresh).unwrap()).unwrap();
        assert_eq!((report.compared.len(), report.is_breaking()), (catalog::ALL.len(), false), "{report}");
        let refused = fresh.register(&format!("topic/{}", catalog::ALL[0].name), &catalog::MARKER.avsc);
        assert!(matches!(refused, Err(ClientError::Incompatible { .. })), "{refused:?}");
        assert!(matches!(fresh.register("s", "nope"), Err(ClientError::Invalid(_))));
    };
    tokio::task::spawn_blocking(client).await.unwrap();
}

/// What happens to a handler whose client hangs up.
#[tokio::test]
async fn work_whose_caller_is_gone_keeps_its_place_and_its_turn() {
    let (places, turns) = (Arc::new(Semaphore::new(2)), Arc::new(Semaphore::new(1)));
    let place = Arc::clone(&places).try_acquire_owned().unwrap();
    let post = Post { bytes: Bytes::new(), place, turns: Arc::clone(&turns) };
    let (begin, begun) = tokio::sync::oneshot::channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let caller = tokio::spawn(async move {
        let done = post.work(move |_| {
            begin.send(()).unwrap();
            ended.recv().unwrap();
            Ok(())
        });
        done.await.is_ok()
    });
    begun.await.unwrap();
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    assert_eq!((places.available_permits(), turns.available_permits()), (1, 0));
    end.send(()).unwrap();
    let all = async {
        while (places.available_permits(), turns.available_permits()) != (2, 1) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), all).await.unwrap();
}

#[tokio::test]
async fn more_schemas_than_there_are_places_are_told_to_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(dir.path(), system_clock()).unwrap();
    let served = Served::new(Arc::new(EmbeddedRegistry::open(log).unwrap()));
    let held = Arc::clone(&served.places).acquire_many_owned(u32::try_from(POSTS_MAX).unwrap()).await.unwrap();
    let ask = || Post::from_request(Request::new(Body::from("{}")), &served);
    assert_eq!(ask().await.err().unwrap().status(), 503);
    drop(held);
    assert!(ask().await.is_ok());
}
