//! What the log does on a real broker: time of a commit, records polled a second from a backlog, and how long partitions are
//! without an owner when one leaves or dies. Starts a broker of its own
//! through the test harness unless `TIDEMARK_TEST_KAFKA` names one.
//!
//! `cargo run --release -p tidemark-log --example kafka_rates`
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a measurement fails by panicking")]

use std::time::{Duration, Instant};

use tidemark_harness::unique;
use tidemark_log::kafka::{KafkaConfig, KafkaLog};
use tidemark_log::{
    At, Cleanup, Event, GroupOffset, Log, Member, MemberConfig, Outgoing, Sink, TopicPartition, TopicSpec,
};

const BACKLOG: u32 = 1_000_000;
const PARTITIONS: u32 = 4;
const COMMITS: usize = 200;

fn main() {
    let log = KafkaLog::connect(KafkaConfig::new(tidemark_harness::kafka())).unwrap();
    let (input, output) = (topic(log.as_ref(), "input"), topic(log.as_ref(), "output"));
    fill(log.as_ref(), &input);
    read(log.as_ref(), &input);
    let mut member = join(log.as_ref(), &input);
    for pause in [0, 50] {
        for records in [1, 1_000] {
            commits(member.as_mut(), &input, &output, records, Duration::from_millis(pause));
        }
    }
    member.leave().unwrap();
    take_overs(log.as_ref(), &input);
}

/// From the end of the first owner to the committed offsets in the hands of the next.
fn take_overs(log: &dyn Log, topic: &str) {
    let cases: [(&str, bool, bool); 4] = [
        ("left, another id takes over", true, false),
        ("left, the same id is back", true, true),
        ("dead, the same id is back", false, true),
        ("dead, another id takes over", false, false),
    ];
    for (what, leaves, same) in cases {
        let mut times: Vec<Duration> = (0..3).map(|_| take_over(log, topic, leaves, same)).collect();
        times.sort();
        println!("{what}: median {:?}, longest {:?}", times[1], times[2]);
    }
}

fn take_over(log: &dyn Log, topic: &str, leaves: bool, same: bool) -> Duration {
    let (group, id) = (unique("group"), unique("member"));
    let mut owner = member(log, topic, &group, &id);
    own(owner.as_mut());
    // One that waits its turn, with nothing to own: it has joined when the owner has its partitions again.
    let mut next = (!same).then(|| member(log, topic, &group, &unique("member")));
    if let Some(next) = &mut next {
        let (mut first, mut second) = (false, false);
        while !(first && second) {
            first |= own_some(owner.as_mut());
            second |= own_some(next.as_mut());
        }
    }
    let before = Instant::now();
    if leaves {
        owner.leave().unwrap();
    }
    drop(owner);
    let mut next = next.unwrap_or_else(|| member(log, topic, &group, &id));
    let owned = own(next.as_mut());
    log.committed(&group, &owned).unwrap();
    before.elapsed()
}

fn member(log: &dyn Log, topic: &str, group: &str, id: &str) -> Box<dyn Member> {
    let (group, id, topics) = (group.to_owned(), id.to_owned(), vec![topic.to_owned()]);
    log.member(&MemberConfig { group, topics, id, session_timeout: Duration::from_secs(6) }).unwrap()
}

/// Polls until all partitions are its own.
fn own(member: &mut dyn Member) -> Vec<TopicPartition> {
    loop {
        if let Some(owned) = answered(member).filter(|owned| owned.len() == PARTITIONS as usize) {
            return owned;
        }
    }
}

/// Whether this poll brought some of the partitions.
fn own_some(member: &mut dyn Member) -> bool {
    answered(member).is_some_and(|owned| owned.len() < PARTITIONS as usize)
}

fn answered(member: &mut dyn Member) -> Option<Vec<TopicPartition>> {
    match member.poll(Duration::from_millis(50), &mut |_| ()).unwrap() {
        Event::Polled => None,
        Event::Assigned(owned) => Some(owned),
        Event::Revoking(_) | Event::Lost(_) => {
            member.release().unwrap();
            None
        }
    }
}

fn topic(log: &dyn Log, what: &str) -> String {
    let name = unique(what);
    let spec = TopicSpec { name: name.clone(), partitions: PARTITIONS, cleanup: Cleanup::Delete, retention_ms: None };
    log.create_topics(&[spec]).unwrap();
    name
}

/// A record of 60 bytes, about an Avro flow.
fn record(topic: &str, n: u32) -> Outgoing<'_> {
    Outgoing { topic, partition: n % PARTITIONS, value: Some(&[7; 60]), ..Outgoing::default() }
}

fn fill(log: &dyn Log, topic: &str) {
    let mut producer = log.producer(&unique("filler")).unwrap();
    let before = Instant::now();
    for chunk in 0..10 {
        let part = BACKLOG / 10;
        let mut send = |sink: &mut dyn Sink| (0..part).try_for_each(|n| sink.send(record(topic, chunk * part + n)));
        producer.commit(&mut send).unwrap();
    }
    println!("written: {:.2} million records/s", rate(before));
}

fn rate(since: Instant) -> f64 {
    f64::from(BACKLOG) / since.elapsed().as_secs_f64() / 1e6
}

fn read(log: &dyn Log, topic: &str) {
    let places: Vec<_> = (0..PARTITIONS).map(|p| TopicPartition::new(topic, p)).collect();
    let from: Vec<_> = places.iter().map(|place| (place.clone(), 0)).collect();
    let ends = log.offsets(&places, At::End).unwrap();
    for round in 1..4 {
        let before = Instant::now();
        let mut reader = log.reader(&from).unwrap();
        let (mut count, mut bytes, mut polls) = (0_u32, 0, 0);
        while !places.iter().zip(&ends).all(|(place, end)| reader.position(place).unwrap() >= *end) {
            reader
                .poll(Duration::from_millis(100), &mut |batch| {
                    count += u32::try_from(batch.records.len()).unwrap();
                    bytes += batch.records.iter().map(|r| r.value.map_or(0, <[u8]>::len)).sum::<usize>();
                })
                .unwrap();
            polls += 1;
        }
        assert_eq!(count, BACKLOG);
        println!("read {round}: {:.2} million records/s, start included ({bytes} bytes, {polls} polls)", rate(before));
    }
}

fn join(log: &dyn Log, topic: &str) -> Box<dyn Member> {
    let before = Instant::now();
    let mut member = member(log, topic, &unique("group"), &unique("member"));
    let owned = own(member.as_mut());
    println!("joined with {} partitions after {:?}", owned.len(), before.elapsed());
    member
}

fn commits(member: &mut dyn Member, input: &str, output: &str, records: u32, pause: Duration) {
    let mut times = Vec::new();
    for n in 0..COMMITS {
        member.poll(pause, &mut |_| ()).unwrap();
        let offset = i64::try_from(n).unwrap();
        let one = |p| GroupOffset { partition: TopicPartition::new(input, p), offset, metadata: "w".to_owned() };
        let offsets: Vec<_> = (0..PARTITIONS).map(one).collect();
        let before = Instant::now();
        member.commit(&mut |sink| (0..records).try_for_each(|n| sink.send(record(output, n))), &offsets).unwrap();
        times.push(before.elapsed());
    }
    times.sort();
    println!(
        "commit of {records} records and {PARTITIONS} offsets, {pause:?} apart: p50 {:?}, p90 {:?}, p99 {:?}",
        times[COMMITS / 2],
        times[COMMITS * 9 / 10],
        times[COMMITS * 99 / 100]
    );
}
