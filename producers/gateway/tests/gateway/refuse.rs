use std::io::Write;

use axum::body::Body;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::*;

#[tokio::test]
async fn each_broken_rule_is_named_with_its_field() {
    let bench = Bench::new();
    let both = {
        let mut flow = flow();
        flow["hour"] = HOUR.into();
        flow
    };
    let hour = |hour: Value| {
        let mut flow = flow_with("observed_at", Value::Null);
        flow["hour"] = hour;
        flow
    };
    for (record, field, rule) in [
        (flow_with("src_app", "".into()), "src_app", "empty"),
        (flow_with("dest_app", "x".repeat(257).into()), "dest_app", "too_long"),
        (flow_with("vpc_id", "ø".repeat(129).into()), "vpc_id", "too_long"),
        (flow_with("vpc_id", Value::Null), "vpc_id", "missing"),
        (flow_with("src_app", json!(5)), "src_app", "type"),
        (flow_with("src_app", json!(["a"])), "src_app", "type"),
        (flow_with("bytes_tx", json!(1.5)), "bytes_tx", "integer"),
        (flow_with("bytes_tx", json!(-1)), "bytes_tx", "range"),
        (flow_with("bytes_rx", json!(1_u64 << 53)), "bytes_rx", "range"),
        (flow_with("bytes_rx", json!(1e300)), "bytes_rx", "range"),
        (flow_with("bytes_rx", json!(u64::MAX)), "bytes_rx", "range"),
        (flow_with("bytes_rx", "7".into()), "bytes_rx", "type"),
        (flow_with("bytes_rx", json!(true)), "bytes_rx", "type"),
        (flow_with("bytes_rx", Value::Null), "bytes_rx", "missing"),
        (flow_with("observed_at", Value::Null), "observed_at", "one_time"),
        (both, "hour", "one_time"),
        (flow_with("observed_at", "2026-01-31T12:00:00".into()), "observed_at", "time_format"),
        (flow_with("observed_at", "yesterday".into()), "observed_at", "time_format"),
        (flow_with("observed_at", json!(false)), "observed_at", "type"),
        (flow_with("observed_at", json!(-1)), "observed_at", "before_epoch"),
        (flow_with("observed_at", "1969-12-31T23:59:59Z".into()), "observed_at", "before_epoch"),
        (flow_with("observed_at", json!(NOW + 600_001)), "observed_at", "far_future"),
        (flow_with("observed_at", json!(i64::MAX)), "observed_at", "far_future"),
        (hour((HOUR + 1).into()), "hour", "far_future"),
        (hour(json!(i64::MAX)), "hour", "far_future"),
        (hour((-1).into()), "hour", "before_epoch"),
        (hour(json!(0.5)), "hour", "integer"),
        (flow_with("event_id", "not-a-uuid".into()), "event_id", "uuid"),
        (flow_with("event_id", "0198c5a27b1e7c3d9e4f5a6b7c8d9e0f".into()), "event_id", "uuid"),
        (flow_with("tenant", "other".into()), "tenant", "unknown_field"),
        (flow_with("src_apq", "x".into()), "src_apq", "unknown_field"),
    ] {
        let answer = bench.post(JSON, record.to_string()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{record} {}", answer.body);
        assert_eq!(answer.code(), "invalid_records");
        let error = &answer.body["errors"][0];
        assert_eq!((&error["field"], &error["rule"]), (&json!(field), &json!(rule)), "{record} {}", answer.body);
        assert!(error["message"].as_str().unwrap().contains(field) && error["fix"].is_string(), "{error}");
    }
    assert_eq!(bench.stored(), []);
}

#[tokio::test]
async fn all_that_is_wrong_is_told_at_once_and_names_that_were_meant() {
    let bench = Bench::new();
    let body =
        r#"[{"srcapp":"a","bytes_tx":1,"bytes_tx":2,"bytes_rx":-1,"hour":490000,"vpc_id":"v","dest_app":"d"}, 7]"#;
    let answer = bench.post(JSON, body).await;
    let found: Vec<_> =
        answer.body["errors"].as_array().unwrap().iter().map(|e| (e["index"].clone(), e["rule"].clone())).collect();
    let rules = ["unknown_field", "duplicate_field", "missing", "range", "object"];
    assert_eq!(found, rules.iter().zip([0, 0, 0, 0, 1]).map(|(rule, at)| (json!(at), json!(rule))).collect::<Vec<_>>());
    let fix = answer.body["errors"][0]["fix"].as_str().unwrap();
    assert!(fix.contains("did you mean src_app?") && fix.contains("observed_at"), "{fix}");
}

#[tokio::test]
async fn errors_are_capped_and_counted() {
    let bench = Bench::new();
    let answer = bench.post(NDJSON, "{}\n".repeat(500)).await;
    assert_eq!(answer.body["errors"].as_array().unwrap().len(), 100);
    assert_eq!(answer.body["errors_total"], 3000);
}

#[tokio::test]
async fn bodies_that_cannot_be_read_say_where() {
    let bench = Bench::new();
    for (kind, body, part) in [
        (JSON, &b"{\"src_app\": \"a\",\n \"dest"[..], "line 2 column"),
        (JSON, b"", "line 1 column 0"),
        (JSON, b"[{}", "EOF"),
        (JSON, b"{} {}", "trailing"),
        (JSON, b"{\"a\": \"\xff\"}", "byte 7"),
        (JSON, b"[{\"a\": NaN}]", "line 1"),
        (AVRO, b"", "header"),
        (AVRO, b"Obj\x01", "header"),
        (AVRO, b"{}{}", "Obj"),
    ] {
        let answer = bench.post(kind, body).await;
        let shown = String::from_utf8_lossy(body);
        assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "malformed_body"), "{shown}");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains(part), "{shown}: {detail}");
    }
    let line = bench.post(NDJSON, format!("{}\n{{\"src_app\": \"\\ud800\"}}\n", flow())).await;
    assert_eq!((line.status, &line.body["errors"][0]["line"]), (StatusCode::BAD_REQUEST, &json!(2)));
    assert_eq!(bench.stored(), []);
}

#[tokio::test]
async fn headers_and_paths_that_do_not_fit_are_named() {
    let bench = Bench::new();
    let body = flow().to_string();
    let long = "k".repeat(256);
    for (path, headers, status, part) in [
        ("/v1/flows", vec![], 415, "application/json"),
        ("/v1/flows", vec![("content-type", "text/plain")], 415, "application/x-ndjson"),
        ("/v1/flows", vec![("content-type", "application/json; charset=latin1")], 415, "latin1"),
        ("/v1/flows", vec![("content-type", JSON), ("content-encoding", "br")], 415, "gzip"),
        ("/v1/flows", vec![("content-type", JSON), ("content-encoding", "gzip")], 400, "gzip"),
        ("/v1/flows", vec![("content-type", JSON), ("content-length", "99999999999")], 413, "16777216"),
        ("/v1/flows", vec![("content-type", JSON), ("idempotency-key", &long)], 400, "255"),
        ("/v1/flows", vec![("content-type", JSON), ("idempotency-key", "")], 400, "255"),
        ("/v1/flows?partial=1", vec![("content-type", JSON)], 400, "partial=true"),
        ("/v1/events/flows.obsrved", vec![("content-type", JSON)], 404, "flows.observed"),
    ] {
        let answer = bench.send(path, &headers, body.clone()).await;
        assert_eq!(answer.status.as_u16(), status, "{path} {headers:?} {}", answer.body);
        assert!(answer.body["detail"].as_str().unwrap().contains(part), "{}", answer.body);
    }
    assert_eq!(bench.stored(), []);
}

#[tokio::test]
async fn limits_are_named() {
    let bench = Bench::new();
    let deep = format!("{}1{}", "[".repeat(17), "]".repeat(17));
    let deepest = format!("{}{}", "[".repeat(16), "]".repeat(16));
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![b' '; 17 << 20]).unwrap();
    let bomb = bomb.finish().unwrap();
    for (kind, body, encoding, status, code) in [
        (JSON, Body::from(deep.clone()), None, 422, "too_deep"),
        (NDJSON, Body::from(deep), None, 422, "too_deep"),
        (JSON, Body::from(deepest), None, 422, "invalid_records"),
        (JSON, Body::from("["), None, 400, "malformed_body"),
        (JSON, Body::from("[".repeat(1 << 20)), None, 422, "too_deep"),
        (JSON, Body::from(format!("[{}0]", "0,".repeat(100_000))), None, 422, "too_many_records"),
        (NDJSON, Body::from("0\n".repeat(100_001)), None, 422, "too_many_records"),
        (JSON, Body::from("[]"), None, 422, "no_records"),
        (NDJSON, Body::from("\n\n"), None, 422, "no_records"),
        (JSON, Body::from_stream(spaces(17)), None, 413, "body_too_large"),
        (JSON, Body::from(bomb), Some("gzip"), 413, "body_too_large"),
    ] {
        let mut headers = vec![("content-type", kind)];
        headers.extend(encoding.map(|encoding| ("content-encoding", encoding)));
        let answer = bench.send("/v1/flows", &headers, body).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{}", answer.body);
    }
}

/// A body without content-length.
fn spaces(mib: usize) -> impl futures::Stream<Item = Result<bytes::Bytes, std::io::Error>> {
    futures::stream::iter((0..mib).map(|_| Ok(bytes::Bytes::from(vec![b' '; 1 << 20]))))
}

#[tokio::test]
async fn other_methods_are_refused_with_allow() {
    use tower::ServiceExt;
    let bench = Bench::new();
    let app = tidemark_gateway::router(std::sync::Arc::clone(&bench.gateway))
        .method_not_allowed_fallback(tidemark_gateway::method_not_allowed);
    let request = axum::http::Request::put("/v1/flows").body(Body::empty()).unwrap();
    let response = app.oneshot(request).await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["allow"]), (405, &"POST".parse().unwrap()));
}
