//! Records, offsets and topics.

use std::time::Duration;

use tidemark_log::{At, Cleanup, Error, Outgoing, TopicSpec};

use crate::support::*;

pub(crate) fn order_within_each_partition(fixture: &dyn Fixture) {
    let (topic, id) = (topic(fixture, "ordered", 3), fixture.name("writer"));
    let mut producer = fixture.log().producer(&id).unwrap();
    for round in 0..20_u32 {
        let send = |n: u32| (n % 3, format!("{}", round * 30 + n));
        producer
            .commit(&mut |sink| {
                (0..30)
                    .map(send)
                    .try_for_each(|(partition, value)| sink.send(plain(&topic, partition, value.as_bytes())))
            })
            .unwrap();
    }
    let read = read_to_end(fixture, &[(at(&topic, 0), 0), (at(&topic, 1), 0), (at(&topic, 2), 0)]);
    for partition in 0..3 {
        let records = &read[&at(&topic, partition)];
        assert!(records.is_sorted_by(|a, b| a.offset < b.offset && a.timestamp <= b.timestamp));
        let expected: Vec<_> = (0..600).filter(|n| n % 3 == partition).map(|n| n.to_string()).collect();
        assert_eq!(strings(Some(records)), expected);
    }
}

pub(crate) fn headers_keys_and_values_round_trip(fixture: &dyn Fixture) {
    let (topic, id) = (topic(fixture, "parts", 1), fixture.name("writer"));
    type Shape = (Option<&'static [u8]>, Option<&'static [u8]>);
    let shapes: [Shape; 5] = [
        (None, Some(b"v")),
        (Some(b"k"), None),
        (Some(b""), Some(b"")),
        (None, None),
        (Some(b"\0\xff"), Some(b"\xff\0")),
    ];
    let headers: [(&str, &[u8]); 4] = [("twice", b"1"), ("empty", b""), ("twice", b"2"), ("bytes", b"\0\xff")];
    let mut producer = fixture.log().producer(&id).unwrap();
    producer
        .commit(&mut |sink| {
            shapes.iter().try_for_each(|&(key, value)| {
                let headers = if key.is_some() { &headers[..] } else { &[] };
                sink.send(Outgoing { topic: &topic, partition: 0, key, value, headers })
            })
        })
        .unwrap();
    let mut reader = fixture.log().reader(&[(at(&topic, 0), 0)]).unwrap();
    let mut seen = 0;
    eventually(fixture, "all records arrive", || {
        reader
            .poll(Duration::from_millis(50), &mut |batch| {
                for record in batch.records {
                    assert_eq!((record.key, record.value), shapes[seen]);
                    let with = record.key.is_some();
                    let get = |name| record.headers.get(name).map(<[u8]>::to_vec);
                    let expect = |value: &[u8]| with.then(|| value.to_vec());
                    assert_eq!((get("twice"), get("empty")), (expect(b"2"), expect(b"")));
                    assert_eq!((get("bytes"), get("absent")), (expect(b"\0\xff"), None));
                    seen += 1;
                }
            })
            .unwrap();
        seen == shapes.len()
    });
}

pub(crate) fn a_large_value_round_trips(fixture: &dyn Fixture) {
    let (topic, id) = (topic(fixture, "large", 1), fixture.name("writer"));
    // Bytes that do not compress, so that no limit is passed by luck.
    let mut word = 1_u64;
    let mut next = || {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (word >> 56) as u8
    };
    let large: Vec<u8> = (0..900 * 1024).map(|_| next()).collect();
    let mut producer = fixture.log().producer(&id).unwrap();
    producer.commit(&mut |sink| (0..3).try_for_each(|_| sink.send(plain(&topic, 0, &large)))).unwrap();
    let read = read_to_end(fixture, &[(at(&topic, 0), 0)]);
    let read: Vec<_> = read[&at(&topic, 0)].iter().map(|r| r.value.as_deref() == Some(&large)).collect();
    assert_eq!(read, [true, true, true]);
}

pub(crate) fn offsets_of_an_empty_and_a_filled_partition(fixture: &dyn Fixture) {
    let (topic, log) = (topic(fixture, "ends", 2), fixture.log());
    let places = [at(&topic, 1), at(&topic, 0)];
    for which in [At::Start, At::End, At::StableEnd, At::Time(0)] {
        assert_eq!(log.offsets(&places, which).unwrap(), [0, 0], "{which:?}");
    }
    write(log.as_ref(), &fixture.name("writer"), &[(&topic, 1, "a"), (&topic, 1, "b")]);
    assert_eq!(log.offsets(&places, At::Start).unwrap(), [0, 0]);
    let ends = log.offsets(&places, At::End).unwrap();
    assert!(ends[0] >= 2 && ends[1] == 0, "in the order asked: {ends:?}");
    eventually(fixture, "the stable end meets the end", || log.offsets(&places, At::StableEnd).unwrap() == ends);
    assert!(matches!(log.offsets(&[at(&fixture.name("none"), 0)], At::End), Err(Error::Invalid(_))));
}

pub(crate) fn a_position_reaches_the_end(fixture: &dyn Fixture) {
    let (topic, log) = (topic(fixture, "position", 1), fixture.log());
    write(log.as_ref(), &fixture.name("writer"), &[(&topic, 0, "a"), (&topic, 0, "b"), (&topic, 0, "c")]);
    let end = log.offsets(&[at(&topic, 0)], At::End).unwrap()[0];
    let mut reader = log.reader(&[(at(&topic, 0), 1)]).unwrap();
    assert_eq!(reader.position(&at(&topic, 0)).unwrap(), 1);
    let mut read = Read::new();
    eventually(fixture, "the reader passes the end and its control markers", || {
        poll_into(reader.as_mut(), &mut read).unwrap();
        reader.position(&at(&topic, 0)).unwrap() == end
    });
    assert_eq!(strings(read.get(&at(&topic, 0))), ["b", "c"]);
    let mut member = Consumer::join(fixture, &fixture.name("group"), &[&topic], &fixture.name("member"));
    drive(fixture, "the member passes the end", &mut [&mut member], |members| {
        members[0].member.position(&at(&topic, 0)).is_ok_and(|position| position == end)
    });
    assert_eq!(member.member.end(&at(&topic, 0)).unwrap(), Some(end), "the member knows it without asking");
    assert_eq!(strings(member.read.get(&at(&topic, 0))), ["a", "b", "c"]);
}

pub(crate) fn a_time_is_looked_up(fixture: &dyn Fixture) {
    let (topic, log, id) = (topic(fixture, "time", 1), fixture.log(), fixture.name("writer"));
    let all = || read_to_end(fixture, &[(at(&topic, 0), 0)]).remove(&at(&topic, 0)).unwrap_or_default();
    eventually(fixture, "records of three times", || {
        write(log.as_ref(), &id, &[(&topic, 0, "x"), (&topic, 0, "y")]);
        let mut times: Vec<_> = all().iter().map(|r| r.timestamp).collect();
        times.dedup();
        times.len() >= 3
    });
    let records = all();
    let lookup = |time| log.offsets(&[at(&topic, 0)], At::Time(time)).unwrap()[0];
    for time in records.iter().flat_map(|r| [r.timestamp - 1, r.timestamp]) {
        let first = records.iter().find(|r| r.timestamp >= time).unwrap();
        assert_eq!(lookup(time), first.offset, "at {time}");
    }
    let end = log.offsets(&[at(&topic, 0)], At::End).unwrap()[0];
    assert_eq!(lookup(records.last().unwrap().timestamp + 3_600_000), end, "later than every record: the end");
}

pub(crate) fn a_poll_without_records_ends(fixture: &dyn Fixture) {
    let topic = topic(fixture, "quiet", 1);
    let mut reader = fixture.log().reader(&[(at(&topic, 0), 0)]).unwrap();
    let before = fixture.elapsed();
    reader.poll(Duration::from_millis(120), &mut |_| panic!("there is nothing to read")).unwrap();
    let waited = fixture.elapsed() - before;
    assert!(waited >= Duration::from_millis(100) && waited < fixture.patience(), "{waited:?}");
}

pub(crate) fn topics_are_made_grown_and_never_shrunk(fixture: &dyn Fixture) {
    let (name, log) = (fixture.name("grown"), fixture.log());
    let spec = |partitions, retention_ms| TopicSpec {
        name: name.clone(),
        partitions,
        cleanup: Cleanup::Delete,
        retention_ms: Some(retention_ms),
    };
    let day = 86_400_000;
    assert_eq!(log.partitions(&name).unwrap(), None);
    log.create_topics(&[spec(2, day)]).unwrap();
    log.create_topics(&[spec(2, day)]).unwrap();
    log.create_topics(&[spec(3, 2 * day)]).unwrap();
    eventually(fixture, "the topic has grown", || log.partitions(&name).unwrap() == Some(3));
    write(log.as_ref(), &fixture.name("writer"), &[(&name, 2, "new")]);
    assert_eq!(values(fixture, &name, 2), ["new"]);
    assert!(matches!(log.create_topics(&[spec(2, 2 * day)]), Err(Error::Invalid(_))), "fewer partitions");
    assert!(matches!(log.create_topics(&[spec(3, day)]), Err(Error::Invalid(_))), "a shorter retention loses records");
    assert!(matches!(log.create_topics(&[spec(0, day)]), Err(Error::Invalid(_))));
    assert_eq!(log.partitions(&name).unwrap(), Some(3));
}
