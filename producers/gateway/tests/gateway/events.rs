use std::collections::HashSet;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use apache_avro::types::Value as Avro;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::*;
use crate::typed::*;

#[tokio::test]
async fn a_schema_of_ones_own_is_published_and_reads_back_as_it_was_sent() {
    let bench = Bench::with_access().await;
    let full = json!({
        "tenant": "default", "event_id": "0198C5A2-7B1E-7C3D-9E4F-5A6B7C8D9E0F", "at": NOW, "method": "DELETE", "path": "/ä",
        "status": 404, "took_us": 7, "price": "-12.5", "ratio": 0.1, "headers": {"a": "b"},
        "parts": [{"name": "p", "bytes": 1}, {"name": "q"}], "client": {"country": "NO", "is_bot": false}
    });
    let body = format!("{full}\n{}\n\n{}\n", event(), event_with("client", json!({"country": "SE", "is_bot": true})));
    let answer = bench.send(PATH, &[("content-type", NDJSON)], body).await;
    assert_eq!((answer.status, answer.ids().len()), (StatusCode::ACCEPTED, 3), "{}", answer.body);
    let events = bench.events(TOPIC);
    let find = |id: &str| events.iter().find(|event| event.key == id).unwrap();
    let one = find("0198c5a2-7b1e-7c3d-9e4f-5a6b7c8d9e0f");
    assert_eq!(one.field("at"), Avro::TimestampMillis(NOW));
    assert_eq!(one.field("method"), Avro::Enum(2, "DELETE".into()));
    assert_eq!(one.field("path"), Avro::String("/ä".into()));
    assert_eq!(one.field("took_us"), Avro::Union(1, Box::new(Avro::Long(7))));
    let price = Avro::Decimal(vec![0xfb, 0x1e].into()); // -1250
    assert_eq!(one.field("price"), Avro::Union(1, Box::new(price)));
    assert_eq!(one.field("ratio"), Avro::Double(0.1));
    assert_eq!(one.field("headers"), Avro::Map([("a".into(), Avro::String("b".into()))].into()));
    let Avro::Array(parts) = one.field("parts") else { panic!() };
    assert_eq!(
        parts[1],
        Avro::Record(vec![("name".into(), Avro::String("q".into())), ("bytes".into(), Avro::Long(0))])
    );
    // What is left out: null, defaults, the tenant, an id.
    let two = find(&answer.ids()[1]);
    assert_eq!(two.field("event_id"), Avro::Uuid(answer.ids()[1].parse().unwrap()));
    assert_eq!((two.field("tenant"), two.field("status")), (Avro::String("default".into()), Avro::Int(200)));
    assert_eq!((two.field("took_us"), two.field("ratio")), (Avro::Union(0, Box::new(Avro::Null)), Avro::Double(0.5)));
    assert_eq!((two.field("price"), two.field("parts")), (Avro::Union(0, Box::new(Avro::Null)), Avro::Array(vec![])));
    let restarted = bench.restart();
    assert_eq!(restarted.events(TOPIC), events);
}

#[tokio::test]
async fn events_carry_cloudevents_and_their_id_and_spread_over_partitions() {
    let bench = Bench::with_access().await;
    let body: Vec<Value> = (0..40).map(|at| event_with("status", json!(at))).collect();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    let headers = [("content-type", JSON), ("traceparent", parent)];
    let answer = bench.send(PATH, &headers, json!(body).to_string()).await;
    let events = bench.events(TOPIC);
    assert_eq!(events.iter().map(|event| event.partition).collect::<HashSet<_>>().len(), 4);
    let mut keys: Vec<_> = events.iter().map(|event| event.key.clone()).collect();
    keys.sort();
    assert_eq!(keys, answer.ids(), "ids count up in the order of the records");
    let headers = |at: usize| events[0].headers[at].clone().unwrap();
    assert_eq!([headers(0), headers(1), headers(2), headers(3)], ["1.0", &events[0].key, "tidemark/gateway", TOPIC]);
    assert!(headers(4).starts_with(&parent[..36]) && events[0].headers[5].is_none(), "{:?}", events[0].headers);
    let text = bench.metrics();
    assert!(text.contains("tidemark_gateway_records_accepted_total 40"), "{text}");
}

#[tokio::test]
async fn each_broken_rule_is_named_with_its_path_and_what_to_do() {
    let bench = Bench::with_access().await;
    let part = |value: Value| event_with("parts", json!([{"name": "a"}, value]));
    for (record, path, rule, fix) in [
        (event_with("path", Value::Null), "path", "missing", "text"),
        (event_with("path", json!(7)), "path", "type", "text"),
        (event_with("pth", json!("x")), "pth", "unknown_field", "did you mean path?"),
        (event_with("method", json!("GTE")), "method", "symbol", "did you mean GET?"),
        (event_with("method", json!(1)), "method", "type", "GET, POST, DELETE"),
        (event_with("status", json!(1.5)), "status", "integer", "an integer"),
        (event_with("status", json!(1_i64 << 31)), "status", "range", "2147483647"),
        (event_with("status", json!("200")), "status", "type", "an integer"),
        (event_with("took_us", json!(u64::MAX)), "took_us", "range", "64 bits"),
        (event_with("took_us", json!("x")), "took_us", "type", "null or an integer"),
        (event_with("price", json!(0.001)), "price", "scale", "nothing is rounded"),
        (event_with("price", json!("12345678901.00")), "price", "range", "12 digits"),
        (event_with("price", json!("1,5")), "price", "type", "a number"),
        (event_with("ratio", json!("1")), "ratio", "type", "a number"),
        (event_with("at", json!("yesterday")), "at", "time_format", "RFC 3339"),
        (event_with("at", json!("2026-01-31T12:00:00")), "at", "time_format", "offset"),
        (event_with("at", json!(0.5)), "at", "integer", "milliseconds"),
        (event_with("headers", json!({"a": 1})), "headers[\"a\"]", "type", "text"),
        (event_with("headers", json!([])), "headers", "type", "object"),
        (part(json!({"name": "b", "bytes": "1"})), "parts[1].bytes", "type", "64 bits"),
        (part(json!({"bytes": 1})), "parts[1].name", "missing", "text"),
        (part(json!({"name": "b", "byts": 1})), "parts[1].byts", "unknown_field", "did you mean bytes?"),
        (part(json!(7)), "parts[1]", "type", "object"),
        (event_with("client", json!({"country": "NO"})), "client.is_bot", "missing", "true or false"),
        (event_with("client", json!(7)), "client", "type", "null or an object"),
        (event_with("tenant", json!("other")), "tenant", "tenant", "default"),
        (event_with("event_id", json!("7")), "event_id", "uuid", "36 characters"),
    ] {
        let answer = bench.publish(&record).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (422, "invalid_records"), "{record} {}", answer.body);
        let error = &answer.body["errors"][0];
        assert_eq!((&error["field"], &error["rule"]), (&json!(path), &json!(rule)), "{record} {error}");
        assert!(error["message"].as_str().unwrap().contains(path.rsplit('.').next().unwrap()), "{error}");
        assert!(error["fix"].as_str().unwrap().contains(fix), "{record}: {error}");
        assert_eq!(answer.body["errors_total"], 1, "{}", answer.body);
    }
    let null = r#"{"at": 1, "method": "GET", "path": null}"#;
    assert_eq!(bench.publish(null).await.body["errors"][0]["rule"], "type");
    let twice = r#"{"at": 1, "at": 2, "method": "GET", "path": "/", "headers": {"a": "", "a": ""}}"#;
    let found: Vec<_> =
        bench.publish(twice).await.body["errors"].as_array().unwrap().iter().map(|e| e["field"].clone()).collect();
    assert_eq!(found, ["at", "headers.a"]);
    assert_eq!(bench.events(TOPIC), []);
    assert!(bench.metrics().contains("tidemark_gateway_rules_broken_total{rule=\"symbol\"} 1"));
}

#[tokio::test]
async fn bodies_that_cannot_be_read_and_partial_are_as_for_flows() {
    let bench = Bench::with_access().await;
    for (body, status, code) in [
        ("{\"at\": 1,", 400, "malformed_body"),
        ("[{}", 400, "malformed_body"),
        ("[]", 422, "no_records"),
        ("7", 422, "invalid_records"),
        ("{\"path\": \"\\ud800\"}", 400, "malformed_body"),
        (&"[".repeat(40), 422, "too_deep"),
    ] {
        let answer = bench.publish(body).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{body} {}", answer.body);
    }
    let lines = format!("{}\n{}\noops\n{}\n", event(), event_with("status", json!("x")), event());
    let answer = bench.send(&format!("{PATH}?partial=true"), &[("content-type", NDJSON)], lines).await;
    assert_eq!((answer.status, &answer.body["accepted"]), (StatusCode::ACCEPTED, &json!(2)), "{}", answer.body);
    let found: Vec<_> =
        answer.body["errors"].as_array().unwrap().iter().map(|e| (e["line"].clone(), e["rule"].clone())).collect();
    assert_eq!(found, [(json!(2), json!("type")), (json!(3), json!("malformed"))]);
    assert_eq!(bench.events(TOPIC).len(), 2);
}

#[tokio::test]
async fn an_event_that_the_log_would_refuse_is_refused_at_once() {
    let bench = Bench::with_access().await;
    let answer = bench.publish(event_with("path", "x".repeat(800_000).into())).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.body["errors"][0]["rule"]),
        (422, &json!("too_long")),
        "{}",
        answer.body
    );
    assert_eq!(bench.publish(event_with("path", "x".repeat(700_000).into())).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_told_with_what_was_meant_and_how_to_make_it() {
    let bench = Bench::with_access().await;
    for (path, status, code, part) in [
        ("/v1/events/acces.events", 404, "unknown_event_type", "did you mean access.events?"),
        ("/v1/events/else", 404, "unknown_event_type", "tidemark topics create else --schema FILE.avsc"),
        ("/v1/events/flows.observd", 404, "unknown_event_type", "did you mean flows.observed?"),
        ("/v1/events/a%20b", 404, "unknown_event_type", "letters"),
        ("/v1/events/tidemark.gateway.answers", 403, "reserved_topic", "own"),
        ("/v1/events/view.flows.hourly.v1", 403, "reserved_topic", "own"),
    ] {
        let answer = bench.send(path, &[("content-type", JSON)], event().to_string()).await;
        let detail = answer.body["detail"].as_str().unwrap();
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{path} {detail}");
        assert!(detail.contains(part), "{path}: {detail}");
    }
    bench.log.create_topics(&[tidemark_log::TopicSpec { name: "bare".into(), ..spec() }]).unwrap();
    let answer = bench.send("/v1/events/bare", &[("content-type", JSON)], "{}").await;
    assert!(
        answer.status.as_u16() == 404 && answer.body["detail"].as_str().unwrap().contains("no schema"),
        "{}",
        answer.body
    );
}

fn spec() -> tidemark_log::TopicSpec {
    tidemark_log::TopicSpec {
        name: String::new(),
        partitions: 1,
        cleanup: tidemark_log::Cleanup::Delete,
        retention_ms: None,
    }
}

/// Known topics are taken without the registry, also after a start; others are for another time.
#[tokio::test]
async fn a_registry_that_is_away_stops_no_topic_that_is_known() {
    let bench = Bench::with_access().await;
    assert_eq!(bench.publish(event()).await.status, StatusCode::ACCEPTED);
    let bench = bench.restart();
    bench.registry.down.store(true, SeqCst);
    assert_eq!(bench.publish(event()).await.status, StatusCode::ACCEPTED);
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert_eq!(bench.publish(event()).await.status, StatusCode::ACCEPTED);
    let other = bench.send("/v1/events/other", &[("content-type", JSON)], "{}").await;
    assert_eq!((other.status.as_u16(), other.code()), (404, "unknown_event_type"), "the log says so");
    bench.log.create_topics(&[tidemark_log::TopicSpec { name: "bare".into(), ..spec() }]).unwrap();
    let bare = bench.send("/v1/events/bare", &[("content-type", JSON)], "{}").await;
    assert_eq!((bare.status.as_u16(), bare.code()), (503, "not_ready"), "{}", bare.body);
    assert_eq!(bare.headers["retry-after"], "5");
    bench.registry.down.store(false, SeqCst);
    assert_eq!(bench.events(TOPIC).len(), 3);
}

#[tokio::test]
async fn a_new_version_of_the_schema_holds_within_seconds_and_look_ups_are_few() {
    let bench = Bench::with_access().await;
    bench.publish(event()).await;
    let (asked, began) = (bench.registry.asked.load(SeqCst), std::time::Instant::now());
    for _ in 0..20 {
        assert_eq!(bench.publish(event()).await.status, StatusCode::ACCEPTED);
    }
    // For two seconds.
    let most = 2 + began.elapsed().as_secs();
    assert!((bench.registry.asked.load(SeqCst) - asked) as u64 <= most, "look-ups are kept");
    let newer = event_with("referer", json!("/x"));
    assert_eq!(bench.publish(&newer).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    // By another way than this gateway.
    let mut schema: Value = serde_json::from_str(ACCESS).unwrap();
    let field = json!({"name": "referer", "type": ["null", "string"], "default": null});
    schema["fields"].as_array_mut().unwrap().push(field);
    let registry: &dyn tidemark_schemas::registry::Registry = &*bench.registry;
    let id = registry.register("access.events-value", &schema.to_string()).unwrap();
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while bench.publish(&newer).await.status != StatusCode::ACCEPTED {
        assert!(std::time::Instant::now() < until, "the new version does not hold");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let events = bench.events(TOPIC);
    let new = events.iter().find(|event| event.schema_id == id).unwrap();
    assert_eq!(new.field("referer"), Avro::Union(1, Box::new(Avro::String("/x".into()))));
    assert_eq!(events.len(), 22);
}

#[tokio::test]
async fn a_key_takes_effect_once_also_over_a_new_version() {
    let bench = Bench::with_access().await;
    let own = "0198c5a2-7b1e-7c3d-9e4f-5a6b7c8d9e0f";
    let body = json!([event(), event_with("event_id", own.into()), event_with("took_us", json!(7))]).to_string();
    let headers = [("content-type", JSON), ("idempotency-key", "k1")];
    let first = bench.send(PATH, &headers, body.clone()).await;
    let again = bench.send(PATH, &headers, body.clone()).await;
    assert_eq!((again.ids(), &again.headers["idempotency-replayed"]), (first.ids(), &"true".parse().unwrap()));
    let other = bench.send("/v1/flows", &headers, body.clone()).await;
    assert_eq!((other.status.as_u16(), other.code()), (422, "key_reused"));
    // The field is gone from the schema: today the request would be refused.
    let mut schema: Value = serde_json::from_str(ACCESS).unwrap();
    schema["fields"].as_array_mut().unwrap().retain(|field| field["name"] != "took_us");
    assert_eq!(bench.put_topic(TOPIC, json!({"schema": schema})).await.status, StatusCode::OK);
    assert_eq!(bench.publish(&body).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let again = bench.send(PATH, &headers, body).await;
    assert_eq!((again.status, again.ids()), (StatusCode::ACCEPTED, first.ids()));
    assert_eq!((first.ids()[1].as_str(), bench.events(TOPIC).len()), (own, 3));
}
