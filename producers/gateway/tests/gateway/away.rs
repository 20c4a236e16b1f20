//! Topics of users while the log fails, or the topic is gone.

use std::collections::HashSet;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use apache_avro::types::Value as Avro;
use axum::http::StatusCode;
use serde_json::json;

use crate::faults::{Fault, bench};
use crate::support::*;
use crate::typed::*;

const JUST_JSON: &[(&str, &str)] = &[("content-type", JSON)];

fn keys(bench: &Bench) -> HashSet<String> {
    bench.events(TOPIC).into_iter().map(|event| event.key).collect()
}

#[tokio::test]
async fn events_are_published_once_whatever_a_commit_ends_with_and_whichever_topic_they_are_of() {
    let (bench, faults) = bench();
    bench.put_topic(TOPIC, json!({"schema": ACCESS})).await;
    let mut expected = HashSet::new();
    for fault in [Fault::Refused, Fault::AnswerLost, Fault::RequestLost, Fault::Fenced] {
        faults.next(fault);
        let both = json!([event(), event_with("status", json!(7))]);
        expected.extend(bench.publish(both).await.ids());
        bench.post(JSON, flow().to_string()).await;
    }
    let events = bench.events(TOPIC);
    assert_eq!((events.len(), bench.stored().len()), (8, 4));
    assert_eq!(keys(&bench), expected);
}

/// The log is cut off for a while, the process is started anew meanwhile: what was accepted is published once, with the schema by
/// which it was accepted.
#[tokio::test]
async fn a_gateway_that_is_cut_off_takes_events_of_the_topics_that_it_knows() {
    let (bench, faults) = bench();
    bench.put_topic(TOPIC, json!({"schema": ACCESS})).await;
    let mut expected: HashSet<String> = bench.publish(event()).await.ids().into_iter().collect();
    faults.cut(true);
    bench.registry.down.store(true, SeqCst);
    expected.extend(bench.publish(event()).await.ids());
    let unknown = bench.send("/v1/events/other", JUST_JSON, "{}").await;
    assert_eq!((unknown.status.as_u16(), unknown.code()), (503, "not_ready"), "{}", unknown.body);
    assert!(unknown.body["detail"].as_str().unwrap().contains("cut off"), "{}", unknown.body);
    let bench = bench.reopen(|_| {});
    ready(&bench.gateway);
    expected.extend(bench.publish(json!([event(), event()])).await.ids());
    bench.post(JSON, flow().to_string()).await;
    assert!(waiting(&bench.gateway) >= 4, "{}", waiting(&bench.gateway));
    bench.registry.down.store(false, SeqCst);
    faults.cut(false);
    let events = bench.events(TOPIC);
    assert_eq!((events.len(), keys(&bench)), (4, expected));
    assert!(events.iter().all(|event| event.field("path") == Avro::String("/a".into())));
    assert_eq!(bench.stored().len(), 1);
}

/// Its events are set aside after a while, and nobody else's wait for longer.
#[tokio::test]
async fn a_topic_that_is_gone_holds_nobody_up_for_ever() {
    let (bench, faults) = bench();
    bench.put_topic(TOPIC, json!({"schema": ACCESS})).await;
    faults.cut(true);
    bench.post(JSON, flow().to_string()).await;
    let lost = bench.publish(json!([event(), event(), event(), event(), event()])).await.ids();
    bench.post(JSON, json!([flow(), flow()]).to_string()).await;
    *faults.gone.lock().unwrap() = Some(TOPIC);
    faults.cut(false);
    let began = Instant::now();
    until("the reason", || bench.gateway.note().is_some_and(|note| note.contains("not there any more")));
    assert_eq!(bench.stored().len(), 3);
    assert!(began.elapsed() > Duration::from_secs(8), "the topic might have come back");
    let file = std::fs::read_to_string(bench.dir.as_ref().unwrap().path().join("spool/refused.ndjson")).unwrap();
    let lines: Vec<serde_json::Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| line["event_id"].as_str().unwrap()).collect::<Vec<_>>(), lost);
    assert!(lines.iter().all(|line| line["topic"] == TOPIC && line["why"] == "its topic is gone"), "{file}");
    assert!(bench.metrics().contains("tidemark_gateway_records_set_aside_total 5\n"), "{}", bench.metrics());
    let answer = bench.publish(event()).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::NOT_FOUND, "unknown_event_type"), "{}", answer.body);
    *faults.gone.lock().unwrap() = None;
    while bench.publish(event()).await.status != StatusCode::ACCEPTED {
        assert!(began.elapsed() < Duration::from_secs(60), "the topic is there again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(bench.events(TOPIC).len(), 1);
}
