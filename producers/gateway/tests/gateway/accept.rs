use std::io::Write;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::*;

const FIXTURE: &str = include_str!("flows.ndjson");

#[tokio::test]
async fn an_object_is_durable_when_it_is_answered() {
    let bench = Bench::new();
    let answer = bench.post(JSON, flow().to_string()).await;
    assert_eq!((answer.status, &answer.body["accepted"]), (StatusCode::ACCEPTED, &json!(1)));
    let stored = bench.stored();
    assert_eq!(stored.len(), 1);
    let one = &stored[0];
    assert_eq!((&*one.src_app, &*one.dest_app, &*one.vpc_id), ("web", "db", "vpc-1"));
    assert_eq!((one.observed_at, one.bytes_tx, one.bytes_rx), (NOW, 7, 9));
    assert_eq!(vec![one.event_id.clone()], answer.ids());
    let bench = bench.restart();
    assert_eq!(bench.stored(), stored);
}

#[tokio::test]
async fn every_line_of_ndjson_is_stored_as_it_was_sent() {
    let bench = Bench::new();
    let answer = bench.post("Application/X-NDJSON; charset=UTF-8", FIXTURE).await;
    let sent: Vec<Value> = FIXTURE.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids = answer.ids();
    let stored = bench.stored();
    assert_eq!((stored.len(), ids.len()), (sent.len(), sent.len()));
    assert!(ids.is_sorted(), "ids count up in the order of the records");
    for (record, stored) in sent.iter().zip(&stored) {
        assert_eq!(record["src_app"], *stored.src_app);
        assert_eq!(record["dest_app"], *stored.dest_app);
        assert_eq!(record["vpc_id"], *stored.vpc_id);
        assert_eq!(record["bytes_tx"], stored.bytes_tx);
        assert_eq!(record["bytes_rx"], stored.bytes_rx);
        let time = chrono::DateTime::parse_from_rfc3339(record["observed_at"].as_str().unwrap()).unwrap();
        assert_eq!(stored.observed_at, time.timestamp_millis());
    }
    let parts: std::collections::HashSet<_> = stored.iter().map(|flow| flow.partition).collect();
    assert!(parts.len() > 1, "keys spread over partitions");
}

#[tokio::test]
async fn line_ends_and_blank_lines_do_not_matter() {
    let bench = Bench::new();
    let body = format!("\r\n{0}\r\n\n  \t\n{0}\n{0}", flow());
    assert_eq!(bench.post(NDJSON, body).await.ids().len(), 3);
}

#[tokio::test]
async fn an_array_is_taken_in_order_on_both_routes() {
    let bench = Bench::new();
    let body = json!([flow_with("src_app", "a".into()), flow_with("src_app", "b".into())]).to_string();
    for path in ["/v1/flows", "/v1/events/flows.observed"] {
        let ids = bench.send(path, &[("content-type", JSON)], body.clone()).await.ids();
        let stored = bench.stored();
        let apps: Vec<_> = ids.iter().map(|id| &*stored.iter().find(|s| s.event_id == *id).unwrap().src_app).collect();
        assert_eq!(apps, ["a", "b"]);
    }
}

#[tokio::test]
async fn a_gzipped_body_is_unpacked() {
    let bench = Bench::new();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(FIXTURE.as_bytes()).unwrap();
    let headers = [("content-type", NDJSON), ("content-encoding", "gzip")];
    let answer = bench.send("/v1/flows", &headers, gzip.finish().unwrap()).await;
    assert_eq!(answer.ids().len(), FIXTURE.lines().count());
}

#[tokio::test]
async fn event_time_comes_from_either_field() {
    let bench = Bench::new();
    let hour_ms = 3_600_000;
    let timed = |field: &str, value: Value| {
        let mut flow = flow_with("observed_at", Value::Null);
        flow[field] = value;
        flow
    };
    for (record, time) in [
        (timed("hour", HOUR.into()), NOW),
        (timed("hour", (HOUR - 5).into()), (HOUR - 4) * hour_ms - 1),
        (timed("hour", json!(0)), hour_ms - 1),
        (timed("observed_at", "2026-01-31T13:00:00.1239+01:00".into()), NOW),
        (timed("observed_at", json!(0)), 0),
        (timed("observed_at", json!(1e3)), 1000),
        (timed("observed_at", json!(NOW + 600_000)), NOW + 600_000),
    ] {
        let id = &bench.post(JSON, record.to_string()).await.ids()[0];
        let stored = bench.stored();
        assert_eq!(stored.iter().find(|s| s.event_id == *id).unwrap().observed_at, time, "{record}");
    }
}

#[tokio::test]
async fn a_given_event_id_is_kept_and_numbers_may_be_written_as_floats() {
    let bench = Bench::new();
    let mut record = flow_with("event_id", "0198C5A2-7B1E-7C3D-9E4F-5A6B7C8D9E0F".into()).to_string();
    record = record.replace("\"bytes_tx\":7", "\"bytes_tx\":9007199254740991.0");
    assert_eq!(bench.post(JSON, record).await.ids(), ["0198c5a2-7b1e-7c3d-9e4f-5a6b7c8d9e0f"]);
    assert_eq!(bench.stored()[0].bytes_tx, (1 << 53) - 1);
}

#[tokio::test]
async fn records_carry_cloudevents_and_the_callers_trace() {
    let bench = Bench::new();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-00");
    let answer = bench.send("/v1/flows", &[("content-type", JSON), ("traceparent", &parent)], flow().to_string()).await;
    let headers: Vec<_> = bench.stored().remove(0).headers.into_iter().map(|(_, value)| value).collect();
    let id = &answer.ids()[0];
    assert_eq!(headers[..5], ["1.0", id, "tidemark/gateway", "flows.observed", "2026-01-31T12:00:00.123Z"]);
    assert!(headers[5].starts_with(&format!("00-{trace}-")) && headers[5].ends_with("-00"), "{}", headers[5]);
    assert!(!headers[5].contains("00f067aa0ba902b7"), "a span of its own");
}

#[tokio::test]
async fn partial_takes_the_good_ones_and_lists_the_others() {
    let bench = Bench::new();
    let body = format!("{}\n{}\n{{oops\n{}\n", flow(), flow_with("bytes_tx", json!(-1)), flow());
    let refused = bench.post(NDJSON, body.clone()).await;
    assert_eq!((refused.status, bench.stored().len()), (StatusCode::BAD_REQUEST, 0));
    let answer = bench.send("/v1/flows?partial=true", &[("content-type", NDJSON)], body).await;
    assert_eq!((answer.status, &answer.body["accepted"], answer.ids().len()), (StatusCode::ACCEPTED, &json!(2), 2));
    assert_eq!((&answer.body["errors"][0]["index"], &answer.body["errors"][0]["line"]), (&json!(1), &json!(2)));
    assert_eq!((&answer.body["errors"][1]["rule"], &answer.body["errors_total"]), (&json!("malformed"), &json!(2)));
    assert_eq!(bench.stored().len(), 2);
    let none = bench.send("/v1/flows?partial=true", &[("content-type", NDJSON)], "{oops").await;
    assert_eq!(none.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn many_requests_at_once_are_all_there_when_the_gateway_has_stopped() {
    let bench = Bench::new();
    let sends: Vec<_> = (0..50)
        .map(|at| {
            let gateway = std::sync::Arc::clone(&bench.gateway);
            let body = flow_with("bytes_tx", at.into()).to_string();
            tokio::spawn(async move { send(&gateway, "/v1/flows", &[("content-type", JSON)], body).await })
        })
        .collect();
    let mut accepted = Vec::new();
    for send in sends {
        accepted.extend(send.await.unwrap().ids());
    }
    bench.gateway.stop();
    accepted.sort();
    let stored: Vec<_> = bench.stored().into_iter().map(|flow| flow.event_id).collect();
    assert_eq!(stored, accepted);
    let late = bench.post(JSON, flow().to_string()).await;
    assert_eq!((late.status, late.code()), (StatusCode::SERVICE_UNAVAILABLE, "not_ready"));
}

#[tokio::test]
async fn counts_are_rendered_for_prometheus() {
    let bench = Bench::new();
    bench.post(JSON, flow().to_string()).await;
    bench.post(JSON, flow_with("bytes_tx", json!(1.5)).to_string()).await;
    bench.stored();
    let text = bench.metrics();
    for line in [
        "tidemark_gateway_requests_total 2",
        "tidemark_gateway_requests_failed_total 1",
        "tidemark_gateway_records_received_total 2",
        "tidemark_gateway_records_accepted_total 1",
        "tidemark_gateway_records_refused_total 1",
        "tidemark_gateway_rules_broken_total{rule=\"integer\"} 1",
        "tidemark_gateway_commit_duration_seconds_count 1",
        "tidemark_gateway_commit_duration_seconds_bucket{le=\"+Inf\"} 1",
        "tidemark_gateway_requests_in_flight 0",
        "tidemark_gateway_records_published_total 1",
        "tidemark_spool_records 0",
        "tidemark_spool_entries_total 1",
        "tidemark_spool_append_duration_seconds_count 1",
        "tidemark_spool_sync_duration_seconds_bucket{le=\"+Inf\"} 1",
        "tidemark_spool_damaged_entries_total{kind=\"damaged\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} not in\n{text}");
    }
}

#[test]
fn the_description_is_openapi_3_1_of_the_served_paths() {
    let api = serde_json::to_value(tidemark_gateway::openapi()).unwrap();
    assert_eq!(api["openapi"], "3.1.0");
    let paths: Vec<_> = api["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths, ["/v1/events/{type}", "/v1/flows", "/v1/topics", "/v1/topics/{topic}"]);
    let post = &api["paths"]["/v1/flows"]["post"];
    for status in ["202", "400", "408", "409", "413", "415", "422", "503", "507"] {
        assert!(post["responses"][status].is_object(), "{status}: {post}");
    }
    for kind in [JSON, NDJSON, AVRO] {
        assert!(post["requestBody"]["content"][kind].is_object(), "{kind}");
    }
    assert!(api["components"]["schemas"]["FlowRecord"]["example"].is_object());
}
