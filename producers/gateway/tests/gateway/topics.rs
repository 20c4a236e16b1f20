use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use std::sync::atomic::Ordering::SeqCst;

use crate::support::*;
use crate::typed::*;

fn field(fields: &str) -> Value {
    let text = format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn a_topic_is_made_once_and_then_is_as_it_is() {
    let bench = Bench::new();
    let made = bench.put_topic(TOPIC, json!({"schema": ACCESS, "partitions": 3, "retention_ms": 86_400_000})).await;
    assert_eq!((made.status, bench.log.partitions(TOPIC).unwrap()), (StatusCode::CREATED, Some(3)));
    assert_eq!((&made.body["created"], &made.body["schema_version"]), (&json!(true), &json!(1)));
    assert!(made.body["did"][0].as_str().unwrap().contains("3 partitions, records kept for 1 days"), "{}", made.body);
    assert_eq!(made.body["notes"], json!([]));
    // As an object, with other spaces: the same schema.
    let schema: Value = serde_json::from_str(ACCESS).unwrap();
    let again = bench.put_topic(TOPIC, json!({"schema": schema})).await;
    assert_eq!((again.status, &again.body["created"]), (StatusCode::OK, &json!(false)));
    assert_eq!((&again.body["schema_id"], &again.body["schema_version"]), (&made.body["schema_id"], &json!(1)));
    assert!(again.body["did"][0].as_str().unwrap().contains("left as it is"), "{}", again.body);
    let grown = bench.put_topic(TOPIC, json!({"schema": ACCESS, "partitions": 5, "retention_ms": 86_400_000})).await;
    assert_eq!((grown.status, &grown.body["partitions"]), (StatusCode::OK, &json!(5)));
    assert_eq!(bench.log.partitions(TOPIC).unwrap(), Some(5));
    let list = ask(&bench.gateway, Request::get("/v1/topics"), &[], "").await;
    let listed: Vec<_> = list.body["topics"].as_array().unwrap().iter().map(|topic| topic["topic"].clone()).collect();
    assert_eq!(listed, [json!("access.events"), json!("flows.observed")], "none of Tidemark's own");
    assert_eq!(list.body["topics"][0]["schema"], "access.AccessEvent");
}

#[tokio::test]
async fn what_would_lose_or_break_something_is_refused() {
    let bench = Bench::with_access().await;
    let old = field(r#"{"name":"a","type":"long"},{"name":"event_id","type":"string"}"#);
    bench.put_topic("x", json!({"schema": old, "partitions": 4})).await;
    bench.registry.lax(); // the gateway asks for more than such a registry does
    let changed = |fields: &str| json!({"schema": field(fields)});
    for (body, status, code, part) in [
        (
            changed(r#"{"name":"a","type":"string"}"#),
            409,
            "topic_conflict",
            "field a: reader type string cannot read long",
        ),
        (
            changed(r#"{"name":"a","type":"long"},{"name":"b","type":"int"}"#),
            409,
            "topic_conflict",
            "field b: new field",
        ),
        (json!({"schema": old, "partitions": 3}), 409, "topic_conflict", "4 partitions"),
        (json!({"schema": old, "retention_ms": 1000}), 409, "topic_conflict", "would lose"),
        (json!({"schema": old, "compact": true}), 409, "topic_conflict", "compacting"),
        (json!({"schema": old, "retention_ms": 0}), 422, "invalid_topic", "above 0"),
    ] {
        let answer = bench.put_topic("x", body.clone()).await;
        let detail = answer.body["detail"].as_str().unwrap();
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{body} {detail}");
        assert!(detail.contains(part), "{body}: {detail}");
    }
    for (topic, body, status, code, part) in [
        ("tidemark.x", json!({"schema": old}), 403, "reserved_topic", "access.events"),
        ("view.x", json!({"schema": old}), 403, "reserved_topic", "Tidemark's"),
        ("__x", json!({"schema": old}), 403, "reserved_topic", "Kafka's"),
        ("flows.observed", json!({"schema": old}), 403, "reserved_topic", "comes with Tidemark"),
        ("a%20b", json!({"schema": old}), 422, "invalid_topic", "249 letters"),
        ("y", json!({"schema": "long"}), 422, "invalid_schema", "nothing was made"),
        ("y", json!({"schema": "\"long\""}), 422, "invalid_schema", "record"),
        ("y", json!({"schema": {"type": "array", "items": "long"}}), 422, "invalid_schema", "record"),
        ("y", changed(r#"{"name":"a b","type":"long"}"#), 422, "invalid_schema", "a b"),
        ("y", changed(r#"{"name":"a","type":"long"},{"name":"a","type":"long"}"#), 422, "invalid_schema", "a"),
        ("y", changed(r#"{"name":"a","type":"Missing"}"#), 422, "invalid_schema", "Missing"),
        ("y", changed(r#"{"name":"a","type":"long","default":"x"}"#), 422, "invalid_schema", "x"),
        ("y", json!({"schema": old, "partitions": 0}), 422, "invalid_topic", "partitions"),
        ("y", json!({"partitions": 1}), 400, "malformed_body", "schema"),
        ("y", json!({"schema": old, "partition": 1}), 400, "malformed_body", "partition"),
    ] {
        let answer = bench.put_topic(topic, body.clone()).await;
        let detail = answer.body["detail"].as_str().unwrap_or_default();
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{topic} {body} {detail}");
        assert!(detail.contains(part), "{topic} {body}: {detail}");
        assert_eq!(bench.log.partitions("y").unwrap(), None, "{body}");
    }
}

#[tokio::test]
async fn a_schema_without_id_or_tenant_is_taken_with_a_note() {
    let bench = Bench::new();
    let made = bench.put_topic("plain", json!({"schema": field(r#"{"name":"a","type":"long"}"#)})).await;
    let notes = made.body["notes"].to_string();
    assert!(made.status == StatusCode::CREATED && notes.contains("event_id") && notes.contains("tenant"), "{notes}");
    let compacted = json!({"schema": field(r#"{"name":"a","type":"long"}"#), "compact": true});
    let made = bench.put_topic("kept", compacted).await;
    assert!(made.body["did"][0].as_str().unwrap().contains("the last record of each event id kept"), "{}", made.body);
    let answer = bench.send("/v1/events/kept", &[("content-type", JSON)], r#"{"a":1}"#).await;
    assert_eq!(bench.events("kept")[0].key, answer.ids()[0]);
}

#[tokio::test]
async fn a_registry_that_is_away_is_told_and_the_request_can_be_sent_again() {
    let bench = Bench::new();
    bench.registry.down.store(true, SeqCst);
    let answer = bench.put_topic(TOPIC, json!({"schema": ACCESS})).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (503, "not_ready"), "{}", answer.body);
    assert_eq!(answer.headers["retry-after"], "5");
    let list = ask(&bench.gateway, Request::get("/v1/topics"), &[], "").await;
    assert_eq!((list.status.as_u16(), list.code()), (503, "not_ready"));
    bench.registry.down.store(false, SeqCst);
    assert_eq!(bench.put_topic(TOPIC, json!({"schema": ACCESS})).await.status, StatusCode::CREATED);
}
