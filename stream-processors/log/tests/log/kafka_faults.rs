//! Kafka behind a proxy that keeps requests back, and brokers that hang: each test has a broker of its own.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tidemark_harness::proxy::{Action, Request};
use tidemark_harness::{Kafka, Proxy};
use tidemark_log::kafka::{KafkaConfig, KafkaLog, open_transactions};
use tidemark_log::{At, Cleanup, Error, Event, GroupOffset, Log, Sink, TopicSpec};

use crate::kafka::member_config;
use crate::support::{at, eventually_within, plain};

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(90);

/// A broker with one topic, `t` of one partition, whose clients come through a proxy.
fn behind_proxy() -> (Proxy, Kafka, Arc<KafkaLog>) {
    let proxy = Proxy::bind().unwrap();
    let advertised = format!("PLAINTEXT://{}", proxy.address());
    let broker = Kafka::start(&[("advertised.listeners", &advertised)]).unwrap();
    proxy.forward_to(broker.bootstrap());
    let log = KafkaLog::connect(KafkaConfig::new(proxy.address())).unwrap();
    let spec = TopicSpec { name: "t".to_owned(), partitions: 1, cleanup: Cleanup::Delete, retention_ms: None };
    log.create_topics(&[spec]).unwrap();
    (proxy, broker, log)
}

fn eventually(what: &str, done: impl FnMut() -> bool) {
    eventually_within(PATIENCE, what, done);
}

#[test]
fn a_broker_that_hangs_ends_the_commit_within_its_deadline() {
    let broker = Kafka::start(&[]).unwrap();
    let log = KafkaLog::connect(KafkaConfig::new(broker.bootstrap())).unwrap();
    let spec = TopicSpec { name: "t".to_owned(), partitions: 1, cleanup: Cleanup::Delete, retention_ms: None };
    log.create_topics(&[spec]).unwrap();
    let mut member = log.member(&member_config("g", "t", "m")).unwrap();
    let started = Instant::now();
    let failed = member.commit(
        &mut |sink| {
            sink.send(plain("t", 0, b"lost"))?;
            eventually("the record is on the broker", || log.offsets(&[at("t", 0)], At::End).unwrap() == [1]);
            broker.pause();
            sink.send(plain("t", 0, b"lost"))
        },
        &[],
    );
    assert!(matches!(failed, Err(Error::Indefinite(_))), "{failed:?}");
    assert!(started.elapsed() < Duration::from_secs(40), "{:?}", started.elapsed());
    let dropping = Instant::now();
    drop(member);
    assert!(dropping.elapsed() < Duration::from_secs(10), "a drop that blocks: {:?}", dropping.elapsed());
    broker.resume();
    let mut next = log.producer("m").unwrap();
    next.commit(&mut |sink| sink.send(plain("t", 0, b"kept"))).unwrap();
    let mut seen = Vec::new();
    let mut reader = log.reader(&[(at("t", 0), 0)]).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while seen.is_empty() && Instant::now() < until {
        reader
            .poll(Duration::from_millis(50), &mut |batch| {
                seen.extend(batch.records.iter().map(|record| record.value.unwrap().to_vec()));
            })
            .unwrap();
    }
    assert_eq!(seen, [b"kept".to_vec()]);
}

/// librdkafka sends EndTxn again, unseen, when a connection is lost. The first one, delivered late, must not end the transaction
/// after the one that it was for.
#[test]
fn a_late_end_of_a_transaction_does_not_end_the_next_one() {
    let (proxy, broker, log) = behind_proxy();
    let late: Arc<OnceLock<Request>> = Arc::default();
    let kept = Arc::clone(&late);
    proxy.intercept(move |request| match request.api_key {
        Request::END_TXN if kept.set(request.clone()).is_ok() => Action::KeepAndCut,
        _ => Action::Forward,
    });
    let mut producer = log.producer("p").unwrap();
    producer.commit(&mut |sink| sink.send(plain("t", 0, b"first"))).unwrap();
    let mut begun = false;
    let mut half = |sink: &mut dyn Sink| {
        begun = true;
        sink.send(plain("t", 0, b"half"))?;
        eventually("the record is on the broker", || {
            // The first commit has left a record and a marker.
            log.offsets(&[at("t", 0)], At::End).unwrap() == [3]
        });
        late.get().unwrap().send_to(broker.bootstrap()).unwrap();
        Err(Error::Retriable("on purpose".to_owned()))
    };
    assert!(matches!(producer.commit(&mut half), Err(Error::Retriable(_))));
    // One that has lost a connection does not go on: its successor does.
    log.producer("p").unwrap().commit(&mut half).unwrap_err();
    assert!(begun);
    let mut next = log.producer("p").unwrap();
    next.commit(&mut |sink| sink.send(plain("t", 0, b"last"))).unwrap();
    let mut seen = Vec::new();
    let mut reader = log.reader(&[(at("t", 0), 0)]).unwrap();
    eventually("the last record is read", || {
        let mut keep = |batch: tidemark_log::Batch<'_>| {
            seen.extend(batch.records.iter().map(|record| record.value.unwrap().to_vec()));
        };
        reader.poll(Duration::from_millis(50), &mut keep).unwrap();
        seen.last().is_some_and(|value| value == b"last")
    });
    assert_eq!(seen, [b"first".to_vec(), b"last".to_vec()]);
}

/// As `tidemark doctor transactions` does it.
#[test]
fn an_orphaned_transaction_is_found_and_ended() {
    let (proxy, broker, log) = behind_proxy();
    assert_eq!(open_transactions(broker.bootstrap()).unwrap(), []);
    // The owner dies in its transaction: nothing of it gets through any more.
    let left = log.producer("tidemark.orphan").unwrap().commit(&mut |sink| {
        sink.send(plain("t", 0, b"never seen"))?;
        eventually("the record is on the broker", || log.offsets(&[at("t", 0)], At::End).unwrap() == [1]);
        proxy.cut(true);
        Err(Error::Retriable("died".to_owned()))
    });
    assert!(matches!(left, Err(Error::Indefinite(_))), "{left:?}");
    proxy.cut(false);
    let mut next = log.producer("next").unwrap();
    next.commit(&mut |sink| sink.send(plain("t", 0, b"seen"))).unwrap();
    let found = || open_transactions(broker.bootstrap()).unwrap();
    let orphan = || found().into_iter().find(|open| open.transactional_id == "tidemark.orphan");
    let open = orphan().expect("it is listed");
    assert_eq!(open.state, "Ongoing");
    assert_eq!((&open.partitions, open.timeout), (&vec![at("t", 0)], Duration::from_secs(30)));
    assert!(!open.is_orphan(open.started_at + 30_000) && open.is_orphan(open.started_at + 30_001));
    assert_eq!(log.offsets(&[at("t", 0)], At::StableEnd).unwrap(), [0], "readers wait for its end");
    drop(log.producer(&open.transactional_id).unwrap());
    eventually("nothing is open", || found().is_empty());
    assert_eq!(orphan(), None);
    let (mut reader, mut seen) = (log.reader(&[(at("t", 0), 0)]).unwrap(), Vec::new());
    eventually("readers go on", || {
        let mut keep = |batch: tidemark_log::Batch<'_>| {
            seen.extend(batch.records.iter().map(|record| record.value.unwrap().to_vec()));
        };
        reader.poll(Duration::from_millis(50), &mut keep).unwrap();
        !seen.is_empty()
    });
    assert_eq!(seen, [b"seen".to_vec()]);
}

/// librdkafka 2.12.1 ends the process when it has given a request up and the coordinator is back then.
#[test]
fn a_question_that_was_given_up_does_no_harm_when_the_coordinator_is_back() {
    let (proxy, _broker, log) = behind_proxy();
    let answers = || log.committed("g", &[at("t", 0)]).is_ok();
    eventually("the coordinator answers", answers);
    for _ in 0..4 {
        proxy.cut(true);
        let asked = Instant::now();
        let answer = log.committed("g", &[at("t", 0)]);
        assert!(matches!(answer, Err(Error::Retriable(_))), "{answer:?}");
        assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
        proxy.cut(false);
        eventually("it answers again", answers);
    }
}

/// A dead member's transaction is waited for a moment at a time, so that the one who takes over stays in its group.
#[test]
fn offsets_that_an_open_transaction_may_move_are_told_apart_soon() {
    let (proxy, _broker, log) = behind_proxy();
    // Its EndTxn never arrives, and it is not there to send another.
    proxy.intercept(|request| match (request.api_key, request.client.as_str()) {
        (Request::END_TXN, "dead") => Action::KeepAndCut,
        _ => Action::Forward,
    });
    let dead = std::thread::spawn({
        let log = Arc::clone(&log);
        move || {
            let mut member = log.member(&member_config("g", "t", "dead")).unwrap();
            while !matches!(member.poll(Duration::from_millis(50), &mut |_| ()).unwrap(), Event::Assigned(_)) {}
            let offset = GroupOffset { partition: at("t", 0), offset: 7, metadata: String::new() };
            member.commit(&mut |sink| sink.send(plain("t", 0, b"lost")), &[offset])
        }
    });
    let (mut longest, mut unstable) = (Duration::ZERO, 0);
    eventually("the broker has ended the transaction", || {
        let asked = Instant::now();
        let answer = log.committed("g", &[at("t", 0)]);
        match answer {
            Err(Error::Unstable(_)) => {
                longest = longest.max(asked.elapsed());
                unstable += 1;
            }
            // A coordinator that is not there yet.
            Err(Error::Retriable(_)) => {}
            Ok(offsets) => assert_eq!(offsets, [None]),
            Err(error) => panic!("{error}"),
        }
        unstable > 0 && log.committed("g", &[at("t", 0)]).is_ok()
    });
    // A second each, and less than the session of who asks.
    assert!(longest < Duration::from_secs(6), "one question took {longest:?}");
    let commit = dead.join().unwrap();
    assert!(matches!(commit, Err(Error::Indefinite(_))), "{commit:?}");
}
