//! What is served is what is described; the page; the figures; what is learned.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use tidemark_documents::{ENDPOINTS, Learning, openapi};
use tidemark_schemas::dispatch::RunTime;
use tidemark_schemas::engine::Ledger;
use tidemark_views::{
    CatalogEntry, Column, Kind, Revision, Row, RowPartition, Value, ViewSpec, ViewVersion, Windowing,
};

use super::world::{World, eventually, now};

#[test]
fn routes_served_are_routes_described() {
    let served: BTreeSet<_> = ENDPOINTS
        .iter()
        .flat_map(|(path, methods)| methods.iter().map(|method| ((*path).to_owned(), (*method).to_owned())))
        .collect();
    let doc: serde_json::Value = serde_json::from_str(&openapi().to_json().unwrap()).unwrap();
    let mut described = BTreeSet::new();
    for (path, methods) in doc["paths"].as_object().unwrap() {
        described.extend(methods.as_object().unwrap().keys().map(|method| (path.clone(), method.to_uppercase())));
    }
    assert_eq!(served, described);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_is_there_with_its_methods_and_no_others() {
    let world = World::new().await;
    let api = world.api().await;
    for (path, methods) in ENDPOINTS {
        if path.ends_with("/live") {
            continue;
        }
        let path = path.replace("{file_id}", "x").replace("{queue}", "q").replace("{task_id}", "t");
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            let answer = api.send(Request::builder().method(method).uri(&path).body(Body::empty()).unwrap()).await;
            let has = answer.status != StatusCode::METHOD_NOT_ALLOWED;
            assert_eq!(has, methods.contains(&method), "{method} {path}: {}", answer.status);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_is_served_as_it_lies_there() {
    let world = World::new().await;
    let api = world.api().await;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten().filter(|entry| entry.path().is_file()) {
        let name = entry.file_name().into_string().unwrap();
        let answer = api.get(&format!("/documents/{name}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert!(answer.headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    }
    let start = api.get("/documents").await;
    assert_eq!(
        (start.status, start.headers["content-type"].to_str().unwrap()),
        (StatusCode::OK, "text/html; charset=utf-8")
    );
    assert_eq!(api.get("/documents/no-such-file.js").await.status, StatusCode::NOT_FOUND);
    assert_eq!(api.get("/documents/..%2FCargo.toml").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_say_what_happened() {
    let world = World::new().await;
    let api = world.api().await;
    api.put("a", "one").await;
    api.raw("b", "one").await;
    api.raw("c", b"\x89PNG\r\n\x1a\n".to_vec()).await;
    api.listed("", |list| list["counts"]["UPLOADED"] == 1).await;
    let mut text = String::new();
    api.documents.render(&mut text);
    for line in [
        "tidemark_documents_uploads_total{outcome=\"created\"} 1",
        "tidemark_documents_uploads_total{outcome=\"duplicate\"} 1",
        "tidemark_documents_uploads_total{outcome=\"refused\"} 1",
        "tidemark_documents_upload_bytes_total 6",
        "tidemark_queue_pending{queue=\"documents\"} 1",
        "tidemark_queue_leased{queue=\"documents\"} 0",
        "tidemark_documents_indexed 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

/// Figures as a job would have written them.
async fn figures(world: &World) {
    let column = |name: &str, kind| Column { name: name.into(), kind };
    let table = ViewSpec {
        name: "steps_test".into(),
        clustering: vec![column("step", Kind::Text)],
        values: vec![column("runs", Kind::Long)],
        retention_ms: 400 * 86_400_000,
    };
    let hour = now() / 3_600_000 * 3_600_000;
    let version = ViewVersion {
        version: 1,
        table: table.clone(),
        window: Windowing::Tumbling { size_ms: 3_600_000 },
        grace_ms: 0,
        amend_for_ms: 0,
        idle_after_ms: 0,
        sources: vec![],
        freshness_ms: None,
        description: String::new(),
        columns: vec![],
        key: vec!["step".into()],
        spec: String::new(),
    };
    world.views.create(&table).await.unwrap();
    let (mut rows, mut ledger) = (Vec::new(), Vec::new());
    // Two merge partitions within the day, one a day ago.
    for (partition, start) in [(0, hour), (3, hour - 3_600_000), (0, hour - 25 * 3_600_000)] {
        rows.push(Row {
            partition: RowPartition { tenant: "default".into(), window_start: start, merge_partition: partition },
            clustering: vec![Value::Text("D1".into())],
            values: vec![Value::Long(7)],
            revision: Revision { epoch: 1, offset: 1 },
            written_at: start,
        });
        ledger.push(Ledger {
            window_start: start,
            window_end: start + 3_600_000,
            merge_partition: partition,
            rows: 1,
            records: 7,
            late: 0,
            held: 0,
            sealed_out: 0,
            amended: false,
            sealed: false,
            opened_at: start,
            closed_at: None,
            updated_at: start,
            sources: vec![],
            epoch: 1,
            revision: 1,
        });
    }
    world.views.put_rows(&table, &rows).await.unwrap();
    world.views.put_ledger(&table, &ledger).await.unwrap();
    let view = "documents.steps_hourly".to_owned();
    let entry = CatalogEntry { view, revision: 1, current: Some(1), previous: None, versions: vec![version] };
    world.views.put_catalog(&entry).await.unwrap();
}

static EXPECTED: AtomicI64 = AtomicI64::new(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_times_are_told_when_they_differ() {
    let world = World::new().await;
    figures(&world).await;
    let mut config = world.config();
    config.learning = Some(Learning {
        every: Duration::from_millis(20),
        run_times: |table, rows| {
            assert_eq!(
                (table.name.as_str(), rows.len()),
                ("steps_test", 2),
                "the rows of the last day, of all partitions"
            );
            let expected_ms = EXPECTED.load(Ordering::SeqCst);
            vec![RunTime { kind: "text/plain".into(), step: "D1".into(), expected_ms }]
        },
        differs: |old, new| old != new,
    });
    let _api = world.start(config).await;
    let told = Arc::clone(&world.said);
    let times = || told.learned.lock().unwrap().iter().map(|l| l.times[0].expected_ms).collect::<Vec<_>>();
    eventually("told once", async || times() == [100]).await;
    EXPECTED.store(200, Ordering::SeqCst);
    eventually("told anew, and only then", async || times() == [100, 200]).await;
    assert_eq!(told.learned.lock().unwrap()[0].queue, "documents");
}
