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
    let after_a_day = bench.send(path, KEY, body).await;
    assert!(!after_a_day.headers.contains_key("idempotency-replayed"));
    assert_eq!((after_a_day.ids(), bench.stored().len()), (first.ids(), 4), "it takes effect again, with the same ids");
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
    let other = start(&bench.log, &bench.registry, &bench.now, bench.another("spool-2"));
    ready(&other);
    let first = bench.send("/v1/flows", KEY, flow().to_string()).await;
    until("the other gateway has read the answer", || {
        metrics(&other).contains("tidemark_gateway_idempotency_keys 1\n")
    });
    let again = send(&other, "/v1/flows", KEY, flow().to_string()).await;
    assert_eq!((again.body, bench.stored().len()), (first.body, 1));
    drained(&other);
    assert_eq!(bench.stored().len(), 1);
    other.stop();
}

#[tokio::test]
async fn gateways_that_know_nothing_of_each_other_give_a_request_the_same_ids_and_partitions() {
    let (bench, apart) = (Bench::new(), Bench::new());
    let body = json!([flow(), flow(), flow()]).to_string();
    let (first, again) = (bench.send("/v1/flows", KEY, body.clone()).await, apart.send("/v1/flows", KEY, body).await);
    assert_eq!(first.ids(), again.ids());
    assert!(!again.headers.contains_key("idempotency-replayed"));
    let place = |flow: Stored| (flow.event_id, flow.partition);
    let places = |bench: &Bench| bench.stored().into_iter().map(place).collect::<Vec<_>>();
    assert_eq!(places(&bench), places(&apart));
    let other = flow_with("bytes_tx", json!(8)).to_string();
    assert!(!first.ids().contains(&Bench::new().send("/v1/flows", KEY, other).await.ids()[0]), "another request");
}

#[tokio::test]
async fn a_caller_that_goes_away_and_repeats_takes_effect_once() {
    let bench = Bench::new();
    let mut ids = std::collections::HashSet::new();
    for at in 0..30_u64 {
        let gateway = Arc::clone(&bench.gateway);
        let key = format!("gone-{at}");
        let headers = [("content-type", JSON), ("idempotency-key", key.as_str())];
        let (mine, sent) = (key.clone(), flow().to_string());
        let first = tokio::spawn(async move {
            let headers = [("content-type", JSON), ("idempotency-key", mine.as_str())];
            send(&gateway, "/v1/flows", &headers, sent).await
        });
        tokio::time::sleep(std::time::Duration::from_micros(at * 60)).await;
        first.abort();
        loop {
            let repeat = bench.send("/v1/flows", &headers, flow().to_string()).await;
            match repeat.status.as_u16() {
                202 => break ids.extend(repeat.ids()),
                409 => tokio::task::yield_now().await,
                other => panic!("{other} {}", repeat.body),
            }
        }
    }
    assert_eq!((ids.len(), bench.stored().len()), (30, 30));
}

#[tokio::test]
async fn keys_are_bounded() {
    let bench = Bench::new();
    let config = GatewayConfig { keys_max: 1, ..bench.another("small") };
    let small = start(&bench.log, &bench.registry, &bench.now, config);
    ready(&small);
    assert_eq!(send(&small, "/v1/flows", KEY, flow().to_string()).await.status, 202);
    let second = [("content-type", JSON), ("idempotency-key", "k-2")];
    let full = send(&small, "/v1/flows", &second, flow().to_string()).await;
    assert_eq!((full.status.as_u16(), full.code()), (503, "overloaded"));
    assert_eq!(full.headers["retry-after"], "86401", "when the first is forgotten");
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
