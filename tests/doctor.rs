//! `tidemark doctor transactions` on a real broker: the command as it is typed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, in its helpers too")]

use serde_json::Value;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tidemark_harness::unique;
use tidemark_log::kafka::{KafkaConfig, KafkaLog};
use tidemark_log::{At, Cleanup, Error, Log, Outgoing, TopicPartition, TopicSpec};

fn doctor(kafka: &str, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemark"));
    command.args(["doctor", "transactions", "--kafka", kafka]).args(more).current_dir(std::env::temp_dir());
    command.output().unwrap()
}

/// What the command lists of one id.
fn listed(output: &Output, id: &str) -> Option<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    let json: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let all = json["transactions"].as_array().unwrap();
    all.iter().find(|transaction| transaction["transactional_id"] == id).cloned()
}

#[test]
fn an_open_transaction_is_listed_and_ended() {
    let kafka = tidemark_harness::kafka();
    let (topic, id) = (unique("doctor"), unique("tidemark.doctor"));
    let log = KafkaLog::connect(KafkaConfig::new(&kafka)).unwrap();
    let spec = TopicSpec { name: topic.clone(), partitions: 1, cleanup: Cleanup::Delete, retention_ms: None };
    log.create_topics(&[spec]).unwrap();
    let at = [TopicPartition::new(topic.as_str(), 0)];
    let mut outputs = Vec::new();
    let fenced = log.producer(&id).unwrap().commit(&mut |sink| {
        sink.send(Outgoing { topic: &topic, partition: 0, value: Some(b"v"), ..Outgoing::default() })?;
        let until = Instant::now() + Duration::from_secs(20);
        while log.offsets(&at, At::End)? == [0] && Instant::now() < until {}
        outputs.push(doctor(&kafka, &["--format", "json"]));
        outputs.push(doctor(&kafka, &["--format", "json", "--end", &id]));
        sink.send(Outgoing { topic: &topic, partition: 0, value: Some(b"v"), ..Outgoing::default() })
    });
    let open = listed(&outputs[0], &id).expect("it is listed while it is open");
    assert_eq!((&open["state"], &open["own"], &open["ended"]), (&"Ongoing".into(), &true.into(), &false.into()));
    assert_eq!(open["partitions"], serde_json::json!([format!("{topic}-0")]));
    assert_eq!(listed(&outputs[1], &id).unwrap()["ended"], true);
    assert!(matches!(fenced, Err(Error::Fenced(_) | Error::Indefinite(_) | Error::Retriable(_))), "{fenced:?}");
    let gone = doctor(&kafka, &["--end", &id]);
    let told = String::from_utf8_lossy(&gone.stderr);
    assert!(!gone.status.success() && told.contains("no open transaction"), "{told}");
    let until = Instant::now() + Duration::from_secs(60);
    while log.offsets(&at, At::StableEnd).unwrap() != log.offsets(&at, At::End).unwrap() {
        assert!(Instant::now() < until, "readers still wait");
    }
}
