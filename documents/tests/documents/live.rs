//! The stream of changes.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use futures::StreamExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::world::{Api, LIMIT, World};

struct Stream {
    body: axum::body::BodyDataStream,
    text: String,
}

impl Stream {
    async fn open(api: &Api) -> Self {
        let request = Request::get("/v1/documents/live").body(Body::empty()).unwrap();
        let response = api.app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The next event's name and data; `None` at the end.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.clone().split_once("\n\n") {
                self.text = rest.to_owned();
                let field =
                    |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(|v| v.trim().to_owned());
                if let (Some(name), Some(data)) = (field("event:"), field("data:")) {
                    return Some((name, serde_json::from_str(&data).unwrap()));
                }
                continue;
            }
            let piece = tokio::time::timeout(LIMIT, self.body.next()).await.expect("an event in time")?;
            self.text.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
        }
    }

    async fn until(&mut self, name: &str, is: impl Fn(&Value) -> bool) -> Value {
        loop {
            let (event, data) = self.next().await.expect("an event");
            if event == name && is(&data) {
                return data;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_and_queue_are_told_as_they_change() {
    let world = World::new().await;
    let api = world.api().await;
    let mut stream = Stream::open(&api).await;
    let first = stream.until("queue", |_| true).await;
    assert_eq!((&first["pending"], &first["workers"]), (&json!(0), &json!([])));
    let file_id = api.put("a.txt", "one").await;
    let document = stream.until("document", |_| true).await;
    assert_eq!((&document["file_id"], &document["state"]), (&json!(file_id), &json!("UPLOADED")));
    // What was told is in the list by then.
    assert_eq!(api.get("/v1/documents").await.json()["documents"][0], document);
    stream.until("queue", |queue| queue["pending"] == 1 && queue["counts"]["UPLOADED"] == 1).await;
    let task = api.lease("w").await;
    stream.until("document", |document| document["state"] == "PROCESSING").await;
    api.post("/v1/queues/documents/heartbeat", json!({"worker": "w"})).await;
    stream.until("queue", |queue| queue["leased"] == 1 && queue["workers"][0]["worker"] == "w").await;
    api.complete(&task, json!({"steps": {}})).await;
    stream.until("document", |document| document["state"] == "DONE").await;
    // A stop ends the stream, so that the server can.
    api.documents.close();
    while stream.next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_bounded() {
    let world = World::new().await;
    let api = world.api().await;
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(Stream::open(&api).await);
    }
    let refused = api.get("/v1/documents/live").await;
    assert_eq!(
        (refused.status, refused.headers["retry-after"].to_str().unwrap()),
        (StatusCode::SERVICE_UNAVAILABLE, "1")
    );
    streams.pop();
    Stream::open(&api).await;
    assert_eq!(api.get("/v1/documents/live?x=1").await.status, StatusCode::BAD_REQUEST);
}
