//! The broker: starts, answers, is killed and paused, restarts with its data.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tidemark_harness::{Kafka, kafka, kafka_tool, unique};

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";

fn end_offset(bootstrap: &str, topic: &str) -> Result<i64, rdkafka::error::KafkaError> {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", bootstrap).create()?;
    consumer.fetch_watermarks(topic, 0, Duration::from_secs(2)).map(|(_, high)| high)
}

/// Asks until it is `expected`, for at most 20 s: a broker answers a commit before it writes the transaction's marker, and
/// metadata before it has loaded its partitions.
fn end_offset_until(bootstrap: &str, topic: &str, expected: i64) -> Result<i64, rdkafka::error::KafkaError> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let end = end_offset(bootstrap, topic);
        if end == Ok(expected) || Instant::now() > deadline {
            return end;
        }
    }
}

#[test]
fn keeps_its_data_over_kill_and_pause() {
    let mut own = Kafka::start(&[("num.partitions", "3")]).unwrap();
    own.tool(TOPICS, &["--create", "--topic", "t", "--partitions", "1"]).unwrap();
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", own.bootstrap())
        .set("transactional.id", "harness")
        .create()
        .unwrap();
    producer.init_transactions(Duration::from_secs(30)).unwrap();
    producer.begin_transaction().unwrap();
    producer.send(BaseRecord::to("t").key("k").payload("v")).map_err(|(e, _)| e).unwrap();
    producer.commit_transaction(Duration::from_secs(30)).unwrap();
    drop(producer);
    // The record and the transaction's end marker.
    assert_eq!(end_offset_until(own.bootstrap(), "t", 2), Ok(2));

    let before = own.pid().unwrap();
    own.kill();
    assert!(own.pid().is_none());
    assert!(std::net::TcpStream::connect(own.bootstrap()).is_err(), "still listening after kill");
    own.restart().unwrap();
    assert_ne!(own.pid().unwrap(), before);
    // A coordinator that was killed before it noted the marker writes it again.
    let end = end_offset_until(own.bootstrap(), "t", 2).unwrap();
    assert!((2..=3).contains(&end), "{end}");
    let offsets = own.tool(OFFSETS, &["--topic", "t"]).unwrap();
    assert!(["t:0:2", "t:0:3"].contains(&offsets.trim()), "{offsets}");

    own.pause();
    assert!(end_offset(own.bootstrap(), "t").is_err(), "a paused broker answered");
    own.resume();
    assert!(end_offset_until(own.bootstrap(), "t", 2).is_ok());
}

#[test]
fn is_shared_and_has_kafkas_own_tools() {
    assert_eq!(kafka(), kafka());
    let topic = unique("tools");
    kafka_tool(&kafka(), TOPICS, &["--create", "--topic", &topic, "--partitions", "2"]).unwrap();
    let list = kafka_tool(&kafka(), TOPICS, &["--list"]).unwrap();
    assert!(list.lines().any(|l| l == topic), "{list}");
    let failed = kafka_tool(&kafka(), TOPICS, &["--describe", "--topic", "absent"]).unwrap_err().to_string();
    assert!(failed.contains("absent"), "{failed}");
}
