//! Commands are written together, and a log that fails is told of and used again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;

use super::world::{World, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_one_commit() {
    let world = World::new().await;
    let api = Arc::new(world.api().await);
    api.raw("first", "makes the producer").await;
    let before = world.switches.commits.load(Ordering::SeqCst);
    world.switches.hold(true);
    let heart = |i: usize| {
        let api = api.clone();
        let body = json!({"worker": format!("w{i}")});
        tokio::spawn(async move { api.post("/v1/queues/documents/heartbeat", body).await.status })
    };
    let mut hearts = vec![heart(0)];
    eventually("a commit waits", async || world.switches.waits.load(Ordering::SeqCst)).await;
    hearts.extend((1..50).map(heart));
    let awaited = || {
        let mut metrics = String::new();
        api.documents.render(&mut metrics);
        metrics.contains("tidemark_documents_answers_awaited 50\n")
    };
    eventually("all wait", async || awaited()).await;
    world.switches.hold(false);
    for heart in hearts {
        assert_eq!(heart.await.unwrap(), StatusCode::OK);
    }
    let commits = world.switches.commits.load(Ordering::SeqCst) - before;
    assert!((2..=4).contains(&commits), "50 commands in {commits} commits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_failed_is_replaced_and_its_callers_are_told() {
    let world = World::new().await;
    let api = world.api().await;
    api.raw("first", "makes the producer").await;
    assert_eq!(world.switches.producers.load(Ordering::SeqCst), 1);
    world.switches.fail.store(1, Ordering::SeqCst);
    let failed = api.raw("a", "contents").await;
    assert_eq!(
        (failed.status, failed.json()["type"].as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, Some("urn:tidemark:problem:log_unavailable"))
    );
    assert_eq!(failed.headers["retry-after"], "1");
    assert_eq!(api.raw("a", "contents").await.status, StatusCode::CREATED);
    assert_eq!(world.switches.producers.load(Ordering::SeqCst), 2, "a new one after the failure");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_told_in_time_and_nobody_is_left_waiting() {
    let world = World::new().await;
    let mut config = world.config();
    config.answer_within = Duration::from_millis(300);
    let api = world.start(config).await;
    world.said.silent.store(true, Ordering::SeqCst);
    let answer = api.raw("a", "contents").await;
    assert_eq!((answer.status, answer.headers["retry-after"].to_str().unwrap()), (StatusCode::GATEWAY_TIMEOUT, "1"));
    assert_eq!(world.said.uploads.lock().unwrap().len(), 1);
    let mut metrics = String::new();
    api.documents.render(&mut metrics);
    assert!(metrics.contains("tidemark_documents_answers_awaited 0\n"), "{metrics}");
}

/// The topics are made later than the API is started.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_topics_it_waits() {
    let world = World::new().await;
    let names = ["documents.commands", "documents.answers", "view.documents.v1", "documents.workers"];
    let dir = tempfile::tempdir().unwrap();
    let log: Arc<dyn tidemark_log::Log> =
        tidemark_log::embedded::EmbeddedLog::open(dir.path(), tidemark_log::system_clock()).unwrap();
    let (config, clock) = (world.config(), tidemark_log::system_clock());
    let documents =
        tidemark_documents::Documents::start(log.clone(), world.registry.clone(), world.views.clone(), config, clock)
            .unwrap();
    assert!(documents.ready().unwrap_err().contains("documents.answers"));
    let app = tidemark_documents::router(&documents);
    let api = super::world::Api { documents, app };
    assert_eq!(api.raw("a", "contents").await.status, StatusCode::SERVICE_UNAVAILABLE);
    let spec = |name: &str| tidemark_log::TopicSpec {
        name: name.to_owned(),
        partitions: 1,
        cleanup: tidemark_log::Cleanup::Delete,
        retention_ms: None,
    };
    log.create_topics(&names.map(spec)).unwrap();
    eventually("ready", async || api.documents.ready().is_ok()).await;
}
