use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use axum::http::StatusCode;
use serde_json::json;
use tidemark_gateway::GatewayConfig;
use tidemark_gateway::answers::ANSWERS_KEPT_MS;

use crate::support::*;

const KEY: &[(&str, &str)] = &[("content-type", JSON), ("idempotency-key", "k-1")];

#[tokio::test]
async fn a_repeat_gets_the_first_answer_also_after_a_restart() {
    let bench = Bench::new();
    let body = json!([flow(), flow_with("bytes_tx", json!(-1)), flow()]).to_string();
    let path = "/v1/flows?partial=true";
    let first = bench.send(path, KEY, body.clone()).await;
    assert_eq!(first.ids().len(), 2);
    bench.now.fetch_add(3_600_000, SeqCst);
    let again = bench.send(path, KEY, body.clone()).await;
    assert_eq!((again.status, &again.body), (StatusCode::ACCEPTED, &first.body));
    assert_eq!(again.headers["idempotency-replayed"], "true");
    let bench = bench.restart();
    let restarted = bench.send(path, KEY, body.clone()).await;
    assert_eq!(restarted.body, first.body);
    assert_eq!(bench.stored().len(), 2);
    bench.now.store(NOW + ANSWERS_KEPT_MS, SeqCst);
    assert_ne!(bench.send(path, KEY, body).await.ids(), first.ids());
    assert_eq!(bench.stored().len(), 4);
}

#[tokio::test]
async fn a_key_stands_for_one_request() {
    let bench = Bench::new();
    assert_eq!(bench.send("/v1/flows", KEY, "{}").await.status, 422);
    assert_eq!(bench.send("/v1/flows", KEY, flow().to_string()).await.status, 202);
    let other = flow_with("bytes_tx", json!(8)).to_string();
    let reused = bench.send("/v1/flows", KEY, other).await;
    assert_eq!((reused.status.as_u16(), reused.code()), (422, "key_reused"));
    let partial = bench.send("/v1/flows?partial=true", KEY, flow().to_string()).await;
    assert_eq!((partial.status.as_u16(), partial.code()), (422, "key_reused"));
    assert_eq!(bench.stored().len(), 1);
}

#[tokio::test]
async fn another_gateway_replays_the_answer() {
    let bench = Bench::new();
    let config = GatewayConfig { id: "gateway-2".to_owned(), ..GatewayConfig::default() };
    let other = start(&bench.log, &bench.registry, &bench.now, config);
    ready(&other);
    let first = bench.send("/v1/flows", KEY, flow().to_string()).await;
    let mut text = String::new();
    until("the other gateway has read the answer", || {
        text.clear();
        other.metrics().render(&mut text);
        text.contains("tidemark_gateway_idempotency_keys 1\n")
    });
    let again = send(&other, "/v1/flows", KEY, flow().to_string()).await;
    assert_eq!((again.body, bench.stored().len()), (first.body, 1));
    other.stop();
}

#[tokio::test]
async fn keys_are_bounded() {
    let bench = Bench::new();
    let config = GatewayConfig { id: "small".to_owned(), keys_max: 1, ..GatewayConfig::default() };
    let small = start(&bench.log, &bench.registry, &bench.now, config);
    ready(&small);
    assert_eq!(send(&small, "/v1/flows", KEY, flow().to_string()).await.status, 202);
    let second = [("content-type", JSON), ("idempotency-key", "k-2")];
    let full = send(&small, "/v1/flows", &second, flow().to_string()).await;
    assert_eq!((full.status.as_u16(), full.code()), (503, "overloaded"));
    assert_eq!(send(&small, "/v1/flows", &[("content-type", JSON)], flow().to_string()).await.status, 202);
}

#[tokio::test]
async fn concurrent_repeats_take_effect_once() {
    let bench = Bench::new();
    let sends: Vec<_> = (0..20)
        .map(|_| {
            let gateway = Arc::clone(&bench.gateway);
            tokio::spawn(async move { send(&gateway, "/v1/flows", KEY, flow().to_string()).await })
        })
        .collect();
    let mut ids = std::collections::HashSet::new();
    for send in sends {
        let answer = send.await.unwrap();
        match answer.status.as_u16() {
            202 => drop(ids.insert(answer.ids())),
            409 => assert_eq!(answer.headers["retry-after"], "1"),
            other => panic!("{other} {}", answer.body),
        }
    }
    assert_eq!((ids.len(), bench.stored().len()), (1, 1));
}
