//! What all paths have in common, and those that are about the service itself.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use serde_json::Value as Json;
use tidemark_query_api::{Check, ENDPOINTS, Parts, Render};
use tidemark_schemas::engine::Ledger;
use tidemark_views::ViewStore;
use tower::ServiceExt;

use crate::support::*;
use crate::views_support::*;

#[tokio::test]
async fn paths_served_are_the_paths_described() {
    let f = Fixture::new().await;
    let document = f.get("/v1/openapi.json").await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let described: BTreeSet<_> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(described, ENDPOINTS.into());
    for path in ENDPOINTS {
        let operations: Vec<_> = document["paths"][path].as_object().unwrap().keys().collect();
        assert_eq!(operations, ["get"], "{path}");
        let post = Request::post(path).body(Body::empty()).unwrap();
        let refused = send(f.app(), post).await;
        assert_eq!(refused.problem(405)["type"], "urn:tidemark:problem:method_not_allowed");
        assert_eq!(refused.header("allow"), "GET,HEAD", "{path} is served with GET");
    }
}

/// A parameter that is described is taken, and one that is taken is described. The key columns of a view come after those.
#[tokio::test]
async fn parameters_taken_are_the_parameters_described() {
    let f = Fixture::new().await;
    f.views.put_catalog(&entry("any", 1, &[version(1, HOURS)])).await.unwrap();
    let document = f.get("/v1/openapi.json").await.json();
    for path in ENDPOINTS.iter().filter(|p| **p != "/metrics") {
        let parameters = document["paths"][path]["get"]["parameters"].as_array().cloned().unwrap_or_default();
        let described = parameters.iter().filter(|p| p["in"] == "query").map(|p| p["name"].as_str().unwrap());
        let own = if *path == "/v1/views/{view}" { vec!["hour", "ip", "port", "key.ip", "key.port"] } else { vec![] };
        let names: Vec<_> = described.chain(own).collect();
        let uri = path.replace("{view}", "any");
        let fix = f.get(&format!("{uri}?qqqqqqqqqqqqqq=1")).await.problem(400)["fix"].as_str().unwrap().to_owned();
        let expected = match names.as_slice() {
            [] => "this path takes no parameters".to_owned(),
            names => format!("this path takes {}", names.join(", ")),
        };
        assert_eq!(fix, expected, "{path}");
    }
}

#[tokio::test]
async fn references_in_the_description_lead_somewhere() {
    let f = Fixture::new().await;
    let document = f.get("/v1/openapi.json").await.json();
    let text = document.to_string();
    let references: BTreeSet<_> =
        text.split("\"#/components/schemas/").skip(1).map(|s| s.split('"').next().unwrap()).collect();
    assert!(references.contains("QueryProblem") && references.contains("FlowsAnswer"));
    for name in references {
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
}

#[tokio::test]
async fn descriptions_of_other_parts_are_merged() {
    let mut other = utoipa::openapi::OpenApi::default();
    other.paths.add_path_operation(
        "/v1/flows",
        vec![utoipa::openapi::HttpMethod::Post],
        utoipa::openapi::path::Operation::new(),
    );
    let f = Fixture::with(Parts { docs: vec![other], ..Parts::default() }).await;
    let flows = &f.get("/v1/openapi.json").await.json()["paths"]["/v1/flows"];
    assert!(flows["get"].is_object() && flows["post"].is_object());
}

#[tokio::test]
async fn every_answer_has_an_id_and_is_not_sniffed() {
    let f = Fixture::new().await;
    for uri in ["/v1/flows", "/v1/nothing", "/v1/flows?x=1", "/", "/dashboard/main.js"] {
        let answer = f.get(uri).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{uri}");
        assert_eq!(answer.header("x-request-id").len(), 36, "{uri}");
    }
    assert_eq!(f.ask("/", &[("x-request-id", "mine-1")]).await.header("x-request-id"), "mine-1");
    assert_eq!(f.ask("/", &[("x-request-id", "not mine")]).await.header("x-request-id").len(), 36);
    assert_eq!(f.get("/v1/nothing").await.problem(404)["type"], "urn:tidemark:problem:not_found");
}

#[tokio::test]
async fn ready_only_if_every_check_passes() {
    let ok = Check::new("log", || Ok(()));
    let f = Fixture::with(Parts { checks: vec![ok.clone()], ..Parts::default() }).await;
    assert_eq!(
        f.get("/v1/health").await.json(),
        serde_json::json!({"status": "ready", "checks": ["views", "log"], "warnings": []})
    );
    let warning = Check::new("jobs", || Err("a.b version 2 has stopped".into()));
    let f = Fixture::with(Parts { checks: vec![ok.clone()], warnings: vec![ok.clone(), warning], ..Parts::default() })
        .await;
    let told = serde_json::json!([{"check": "jobs", "reason": "a.b version 2 has stopped"}]);
    assert_eq!(f.get("/v1/health").await.json()["warnings"], told, "and it is ready all the same");
    let bad = Check::new("jobs", || Err("restoring".into()));
    let f = Fixture::with(Parts { checks: vec![ok, bad], ..Parts::default() }).await;
    let problem = f.get("/v1/health").await.problem(503);
    assert_eq!(problem["reasons"], serde_json::json!([{"check": "jobs", "reason": "restoring"}]));
}

#[tokio::test]
async fn metrics_count_requests_by_route() {
    let extra: Render = std::sync::Arc::new(|out: &mut String| out.push_str("extra_total 5\n"));
    let f = Fixture::with(Parts { metrics: vec![extra], ..Parts::default() }).await;
    f.watermark(Some(NOW_HOUR * HOUR_MS), 1).await;
    let job = version(3, HOURS);
    f.views.create(&job.table).await.unwrap();
    f.views.put_catalog(&entry("access", 1, std::slice::from_ref(&job))).await.unwrap();
    f.reached(&job, NOW_HOUR * HOUR_MS - 500, 1).await;
    f.get("/v1/flows").await;
    f.get("/v1/flows?limit=0").await;
    f.get("/made/up/path").await;
    let answer = f.get("/metrics").await;
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    for line in [
        "tidemark_http_requests_total{route=\"/v1/flows\",method=\"GET\",status=\"200\"} 1",
        "tidemark_http_requests_total{route=\"/v1/flows\",method=\"GET\",status=\"400\"} 1",
        "tidemark_http_requests_total{route=\"none\",method=\"GET\",status=\"404\"} 1",
        "tidemark_http_request_duration_seconds_count{route=\"/v1/flows\",method=\"GET\",status=\"200\"} 1",
        "tidemark_view_up 1",
        "tidemark_view_records{view=\"flows_hourly_v1\",stage=\"received\"} 100",
        "tidemark_view_watermark_delay_seconds{view=\"flows_hourly_v1\"} 1500",
        "tidemark_view_records{view=\"access_v3\",stage=\"received\"} 200",
        "tidemark_view_watermark_delay_seconds{view=\"access_v3\"} 1500.5",
        "extra_total 5",
    ] {
        assert!(answer.text.lines().any(|l| l == line), "{line} is missing from\n{}", answer.text);
    }
}

/// Reads events until `n` have come.
async fn events(f: &Fixture, n: usize, between: impl AsyncFn()) -> Vec<Json> {
    let request = Request::get("/v1/live").body(Body::empty()).unwrap();
    let mut body = f.app().oneshot(request).await.unwrap().into_body();
    let mut seen = vec![];
    while seen.len() < n {
        let frame =
            tokio::time::timeout(std::time::Duration::from_secs(20), body.frame()).await.expect("an event within 20 s");
        let text = String::from_utf8(frame.unwrap().unwrap().into_data().unwrap().to_vec()).unwrap();
        if let Some(data) = text.strip_prefix("event: state\ndata: ") {
            seen.push(serde_json::from_str(data.trim_end()).unwrap());
            between().await;
        }
    }
    seen
}

#[tokio::test]
async fn live_events_follow_changes() {
    let f = Fixture::new().await;
    f.hour(NOW_HOUR, &[key("a", "d", "v")]).await;
    f.watermark(Some(0), 1).await;
    let seen =
        events(&f, 2, async || f.ledger(Ledger { records: 77, ..ledger(NOW_HOUR, i32::from(b'a') % M, 6) }).await)
            .await;
    assert_eq!((&seen[0]["hours"][0]["records"], &seen[0]["progress"]["received"]), (&1.into(), &100.into()));
    assert_eq!(seen[1]["hours"][0]["records"], 77);
}

#[tokio::test]
async fn live_streams_are_bounded_and_end_with_the_service() {
    let f = Fixture::new().await;
    let open = || async { f.app().oneshot(Request::get("/v1/live").body(Body::empty()).unwrap()).await.unwrap() };
    let mut streams = vec![];
    for _ in 0..100 {
        streams.push(open().await);
    }
    let refused = f.get("/v1/live").await;
    assert_eq!(refused.problem(503)["type"], "urn:tidemark:problem:too_many_streams");
    assert_eq!(refused.header("retry-after"), "1");
    f.api.close();
    for stream in streams {
        let ended = tokio::time::timeout(std::time::Duration::from_secs(20), stream.into_body().collect()).await;
        ended.expect("the stream ends").unwrap();
    }
    assert_eq!(open().await.status(), 200, "places are free again");
}

#[tokio::test]
async fn the_pages_stay_at_home() {
    let f = Fixture::new().await;
    for page in ["/", "/views"] {
        let page = f.get(page).await;
        assert!(page.header("content-security-policy").starts_with("default-src 'none'; script-src 'self';"));
        for quoted in page.text.split('"').filter(|s| s.starts_with("/dashboard/")) {
            assert_eq!(f.get(quoted).await.status, 200, "{quoted}");
        }
    }
    let parts = [
        "style.css",
        "views.css",
        "main.js",
        "chart.js",
        "table.js",
        "units.js",
        "views.js",
        "view.js",
        "rows.js",
        "series.js",
    ];
    for part in parts {
        let text = f.get(&format!("/dashboard/{part}")).await.text;
        let foreign = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!foreign.contains("http://") && !foreign.contains("https://") && !foreign.contains("//cdn"), "{part}");
    }
}
