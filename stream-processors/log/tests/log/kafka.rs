//! Kafka in the suite, and what only it can be asked: Kafka's own tools, control markers, brokers that hang.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tidemark_harness::{kafka_tool, unique};
use tidemark_log::kafka::{KafkaConfig, KafkaLog};
use tidemark_log::{At, Cleanup, Error, Event, Log, MemberConfig, Outgoing, Sink, TopicSpec};

use crate::support::*;

conformance_suite!(Cluster::new());

/// One broker and one log for all tests; topics, groups and ids are each test's own.
struct Cluster(Arc<KafkaLog>);

impl Cluster {
    fn new() -> Self {
        static LOG: OnceLock<Arc<KafkaLog>> = OnceLock::new();
        Self(LOG.get_or_init(|| KafkaLog::connect(KafkaConfig::new(tidemark_harness::kafka())).unwrap()).clone())
    }
}

impl Fixture for Cluster {
    fn log(&self) -> Arc<dyn Log> {
        self.0.clone()
    }

    fn name(&self, what: &str) -> String {
        unique(what)
    }

    fn session_timeout(&self) -> Duration {
        Duration::from_secs(6)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(90)
    }
}

pub(crate) fn member_config(group: &str, topic: &str, id: &str) -> MemberConfig {
    let (group, topics, id) = (group.to_owned(), vec![topic.to_owned()], id.to_owned());
    MemberConfig { group, topics, id, session_timeout: Duration::from_secs(6) }
}

/// A session that nobody waits for: what does not take half of it has not waited for its end, on a slow machine either.
const LONG_SESSION: Duration = Duration::from_secs(80);

/// Writes records and fails, so that they are aborted.
fn abort(log: &dyn Log, topic: &str, records: usize) {
    let mut producer = log.producer(&unique("aborter")).unwrap();
    let failed = producer.commit(&mut |sink| {
        (0..records).try_for_each(|_| sink.send(plain(topic, 0, b"aborted")))?;
        // Until they are on the broker: an abort would purge what has not been sent.
        let until = Instant::now() + Duration::from_secs(30);
        while log.offsets(&[at(topic, 0)], At::End)?[0] < records as i64 && Instant::now() < until {}
        Err(Error::Retriable("on purpose".to_owned()))
    });
    assert!(matches!(failed, Err(Error::Retriable(text)) if text == "on purpose"));
}

#[test]
fn kafkas_own_tools_read_back_what_was_committed() {
    let fixture = Cluster::new();
    let (topic, group) = (topic(&fixture, "tooled", 1), fixture.name("group"));
    write(fixture.log().as_ref(), &fixture.name("w"), &[(&topic, 0, "a"), (&topic, 0, "b")]);
    let mut member = Consumer::join(&fixture, &group, &[&topic], &fixture.name("m"));
    drive(&fixture, "all is read", &mut [&mut member], |m| m[0].count() == 2);
    member.commit((&topic, "c"), &at(&topic, 0), 2, "w=7").unwrap();
    let class = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
    let printed = kafka_tool(&tidemark_harness::kafka(), class, &["--describe", "--group", &group]).unwrap();
    let row = printed.lines().find(|line| line.contains(&topic)).unwrap_or_else(|| panic!("{printed}"));
    // GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG …: two records and a marker, then one and a marker.
    let columns: Vec<_> = row.split_whitespace().collect();
    assert_eq!(columns[..6], [group.as_str(), &topic, "0", "2", "5", "3"], "{printed}");
}

#[test]
fn topics_are_made_as_declared() {
    let fixture = Cluster::new();
    let name = fixture.name("declared");
    let spec = TopicSpec {
        name: name.clone(),
        partitions: 3,
        cleanup: Cleanup::CompactAndDelete,
        retention_ms: Some(86_400_000),
    };
    fixture.log().create_topics(&[spec]).unwrap();
    let class = "org.apache.kafka.tools.TopicCommand";
    let printed = kafka_tool(&tidemark_harness::kafka(), class, &["--describe", "--topic", &name]).unwrap();
    for part in [
        "PartitionCount: 3",
        "cleanup.policy=compact,delete",
        "retention.ms=86400000",
        "message.timestamp.type=LogAppendTime",
    ] {
        assert!(printed.contains(part), "{part} in {printed}");
    }
}

#[test]
fn a_position_passes_aborted_records_at_the_end() {
    let fixture = Cluster::new();
    let (topic, log) = (topic(&fixture, "aborted", 1), fixture.log());
    abort(log.as_ref(), &topic, 20);
    let mut end = 0;
    eventually(&fixture, "the abort marker is written", || {
        end = log.offsets(&[at(&topic, 0)], At::End).unwrap()[0];
        end == 21 && log.offsets(&[at(&topic, 0)], At::StableEnd).unwrap()[0] == end
    });
    let mut reader = log.reader(&[(at(&topic, 0), 0)]).unwrap();
    eventually(&fixture, "the reader passes the abort marker", || {
        reader.poll(Duration::from_millis(50), &mut |_| panic!("an aborted record was read")).unwrap();
        reader.position(&at(&topic, 0)).unwrap() == end
    });
    let mut member = Consumer::join(&fixture, &fixture.name("group"), &[&topic], &fixture.name("member"));
    drive(&fixture, "the member passes it", &mut [&mut member], |m| {
        m[0].member.position(&at(&topic, 0)).is_ok_and(|position| position == end)
    });
    assert_eq!(member.count(), 0);
}

#[test]
fn a_paused_partition_at_its_end_loses_nothing() {
    let fixture = Cluster::new();
    let (topic, log, id) = (topic(&fixture, "paused", 1), fixture.log(), fixture.name("w"));
    write(log.as_ref(), &id, &[(&topic, 0, "0")]);
    let mut member = Consumer::join(&fixture, &fixture.name("group"), &[&topic], &fixture.name("m"));
    for round in 1..4 {
        drive(&fixture, "all is read", &mut [&mut member], |m| m[0].count() == round);
        let end = log.offsets(&[at(&topic, 0)], At::End).unwrap()[0];
        drive(&fixture, "the end is passed", &mut [&mut member], |m| {
            m[0].member.position(&at(&topic, 0)).unwrap() == end
        });
        member.member.pause(&[at(&topic, 0)], true).unwrap();
        write(log.as_ref(), &id, &[(&topic, 0, &round.to_string())]);
        member.step();
        member.member.pause(&[at(&topic, 0)], false).unwrap();
    }
    drive(&fixture, "all is read", &mut [&mut member], |m| m[0].count() == 4);
    assert_eq!(strings(member.read.get(&at(&topic, 0))), ["0", "1", "2", "3"]);
}

#[test]
fn an_offset_that_is_gone_ends_the_reading() {
    let fixture = Cluster::new();
    let (topic, log) = (topic(&fixture, "deleted", 1), fixture.log());
    write(log.as_ref(), &fixture.name("w"), &[(&topic, 0, "a"), (&topic, 0, "b"), (&topic, 0, "c")]);
    let file = tempfile::NamedTempFile::new().unwrap();
    let wish = format!(r#"{{"partitions":[{{"topic":"{topic}","partition":0,"offset":2}}],"version":1}}"#);
    std::fs::write(file.path(), wish).unwrap();
    let class = "org.apache.kafka.tools.DeleteRecordsCommand";
    let args = ["--offset-json-file", file.path().to_str().unwrap()];
    kafka_tool(&tidemark_harness::kafka(), class, &args).unwrap();
    assert_eq!(log.offsets(&[at(&topic, 0)], At::Start).unwrap(), [2]);
    let gone = |error: Error| match error {
        Error::OffsetGone { partition, wanted, start } => assert_eq!((partition, wanted, start), (at(&topic, 0), 1, 2)),
        other => panic!("{other:?}"),
    };
    let mut reader = log.reader(&[(at(&topic, 0), 1)]).unwrap();
    let mut error = None;
    eventually(&fixture, "the reader is told", || {
        error = reader.poll(Duration::from_millis(50), &mut |_| panic!("read on")).err();
        error.is_some()
    });
    gone(error.unwrap());
    let mut member = log.member(&member_config(&fixture.name("group"), &topic, &fixture.name("m"))).unwrap();
    let mut error = None;
    eventually(&fixture, "the member is told", || {
        match member.poll(Duration::from_millis(50), &mut |_| panic!("read on")) {
            Ok(Event::Assigned(_)) => member.start(&[(at(&topic, 0), 1)]).unwrap(),
            Ok(_) => {}
            Err(e) => error = Some(e),
        }
        error.is_some()
    });
    gone(error.unwrap());
}

#[test]
fn a_member_that_died_is_back_before_its_session_ends() {
    let fixture = Cluster::new();
    let (topic, group, id) = (topic(&fixture, "back", 1), fixture.name("group"), fixture.name("m"));
    let mut first = Consumer::join_for(&fixture, &group, &[&topic], &id, LONG_SESSION);
    drive(&fixture, "it owns", &mut [&mut first], |m| m[0].owned.len() == 1);
    let started = Instant::now();
    drop(first);
    assert!(started.elapsed() < LONG_SESSION / 4, "a drop that blocks: {:?}", started.elapsed());
    let mut second = Consumer::join_for(&fixture, &group, &[&topic], &id, LONG_SESSION);
    drive(&fixture, "it owns again", &mut [&mut second], |m| m[0].owned.len() == 1);
    assert!(started.elapsed() < LONG_SESSION / 2, "{:?}", started.elapsed());
}

#[test]
fn leaving_is_heard_of_before_the_session_ends() {
    let fixture = Cluster::new();
    let (topic, group) = (topic(&fixture, "left", 1), fixture.name("group"));
    let mut a = Consumer::join_for(&fixture, &group, &[&topic], &fixture.name("a"), LONG_SESSION);
    drive(&fixture, "it owns", &mut [&mut a], |m| m[0].owned.len() == 1);
    let started = Instant::now();
    a.member.leave().unwrap();
    let mut b = Consumer::join_for(&fixture, &group, &[&topic], &fixture.name("b"), LONG_SESSION);
    drive(&fixture, "the next owns", &mut [&mut b], |m| m[0].owned.len() == 1);
    assert!(started.elapsed() < LONG_SESSION / 2, "{:?}", started.elapsed());
}

#[test]
fn a_commit_larger_than_the_send_queue_waits_for_room() {
    const RECORDS: i64 = 600_000;
    let fixture = Cluster::new();
    let (topic, log) = (topic(&fixture, "large", 2), fixture.log());
    let mut producer = log.producer(&fixture.name("p")).unwrap();
    let mut send =
        |sink: &mut dyn Sink| (0..RECORDS).try_for_each(|n| sink.send(plain(&topic, (n % 2) as u32, b"small")));
    producer.commit(&mut send).unwrap();
    let ends = settled_ends(log.as_ref(), &[at(&topic, 0), at(&topic, 1)]);
    assert_eq!(ends, [RECORDS / 2 + 1, RECORDS / 2 + 1]);
}

#[test]
fn a_record_that_cannot_be_written_fails_the_commit_whole() {
    let fixture = Cluster::new();
    let (topic, log) = (topic(&fixture, "strict", 1), fixture.log());
    let large = vec![0; 2 * 1024 * 1024];
    let nowhere = fixture.name("nowhere");
    for bad in [plain(&topic, 0, &large), plain(&topic, 7, b"v"), plain(&nowhere, 0, b"v")] {
        let mut producer = log.producer(&fixture.name("p")).unwrap();
        let failed = producer.commit(&mut |sink| {
            sink.send(plain(&topic, 0, b"before"))?;
            sink.send(bad)
        });
        let error = failed.unwrap_err();
        assert!(matches!(error, Error::Invalid(_) | Error::Retriable(_)), "{error:?}");
        assert!(producer.commit(&mut |_| Ok(())).is_err(), "a producer is of no use after an error");
    }
    assert_eq!(values(&fixture, &topic, 0), Vec::<String>::new());
}

#[test]
fn a_commit_takes_milliseconds() {
    let fixture = Cluster::new();
    let (topic, group) = (topic(&fixture, "quick", 1), fixture.name("group"));
    let mut member = Consumer::join(&fixture, &group, &[&topic], &fixture.name("m"));
    drive(&fixture, "it owns", &mut [&mut member], |m| m[0].owned.len() == 1);
    let mut times: Vec<_> = (0..41)
        .map(|n| {
            let before = Instant::now();
            member.commit((&topic, "x"), &at(&topic, 0), n, "").unwrap();
            before.elapsed()
        })
        .collect();
    times.sort();
    // About 10 ms on a quiet machine. A flush that polls in steps of 100 ms, or requests held back for more bytes, show in every
    // commit; a machine that does much else, in most.
    assert!(times[4] < Duration::from_millis(80), "nine in ten take longer than {:?}", times[4]);
    println!("commit p50 {:?}, p90 {:?}", times[20], times[36]);
}

#[test]
fn a_broker_that_cannot_be_reached_is_named() {
    let address = format!("127.0.0.1:{}", tidemark_harness::free_port().unwrap());
    let Err(error) = KafkaLog::connect(KafkaConfig::new(&address)) else { panic!("connected to nothing") };
    let text = error.to_string();
    assert!(matches!(error, Error::Retriable(_)), "{text}");
    assert!(text.contains(&address) && text.contains("advertised.listeners"), "{text}");
}

#[test]
fn a_property_that_does_not_exist_is_named() {
    let mut config = KafkaConfig::new("127.0.0.1:1");
    config.properties.insert("no.such.property".to_owned(), "1".to_owned());
    let Err(error) = KafkaLog::connect(config) else { panic!("took it") };
    assert!(error.to_string().contains("no.such.property"), "{error}");
}

#[test]
fn the_last_of_equal_headers_is_found_from_any_thread() {
    let fixture = Cluster::new();
    let (topic, log) = (topic(&fixture, "headers", 1), fixture.log());
    let mut producer = log.producer(&fixture.name("p")).unwrap();
    let headers: [(&str, &[u8]); 2] = [("h", b"first"), ("h", b"last")];
    let record = Outgoing { topic: &topic, partition: 0, value: Some(b"v"), headers: &headers, ..Outgoing::default() };
    producer.commit(&mut |sink| (0..200).try_for_each(|_| sink.send(record))).unwrap();
    let mut reader = log.reader(&[(at(&topic, 0), 0)]).unwrap();
    let mut seen = 0;
    eventually(&fixture, "all arrive", || {
        reader
            .poll(Duration::from_millis(50), &mut |batch| {
                let all = || assert!(batch.records.iter().all(|r| r.headers.get("h") == Some(b"last")));
                std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(all))));
                seen += batch.records.len();
            })
            .unwrap();
        seen == 200
    });
}
