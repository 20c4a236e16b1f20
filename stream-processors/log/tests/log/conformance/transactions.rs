//! Commits: whole or not at all, and only by whom it behoves.

use std::time::Duration;

use tidemark_log::{At, Error};

use crate::support::*;

/// A topic with ten records, an output topic, and a group whose one member owns the first.
fn owner(fixture: &dyn Fixture) -> (String, String, String, Consumer) {
    let (input, output, group) = (topic(fixture, "in", 1), topic(fixture, "out", 1), fixture.name("group"));
    let values: Vec<_> = (0..10).map(|n| n.to_string()).collect();
    let records: Vec<_> = values.iter().map(|v| (input.as_str(), 0, v.as_str())).collect();
    write(fixture.log().as_ref(), &fixture.name("writer"), &records);
    let mut member = Consumer::join(fixture, &group, &[&input], &fixture.name("member"));
    drive(fixture, "the member reads its input", &mut [&mut member], |m| m[0].count() == 10);
    (input, output, group, member)
}

pub(crate) fn a_commit_spans_topics_and_offsets(fixture: &dyn Fixture) {
    let (input, output, group, mut member) = owner(fixture);
    let other = topic(fixture, "other", 2);
    let offsets = [tidemark_log::GroupOffset { partition: at(&input, 0), offset: 7, metadata: "w=1 ü".to_owned() }];
    member
        .member
        .commit(
            &mut |sink| {
                sink.send(plain(&output, 0, b"a"))?;
                sink.send(plain(&other, 1, b"b"))?;
                sink.send(plain(&output, 0, b"c"))
            },
            &offsets,
        )
        .unwrap();
    assert_eq!(values(fixture, &output, 0), ["a", "c"]);
    assert_eq!((values(fixture, &other, 0).len(), values(fixture, &other, 1)), (0, vec!["b".to_owned()]));
    assert_eq!(committed(fixture, &group, &at(&input, 0)), Some((7, "w=1 ü".to_owned())));
    assert_eq!(committed(fixture, &group, &at(&other, 0)), None);
}

pub(crate) fn a_failed_commit_leaves_nothing(fixture: &dyn Fixture) {
    let (input, output, group, mut member) = owner(fixture);
    let offsets = [tidemark_log::GroupOffset { partition: at(&input, 0), offset: 7, metadata: String::new() }];
    let failed = member.member.commit(
        &mut |sink| {
            sink.send(plain(&output, 0, b"half"))?;
            Err(Error::Retriable("the fold failed".to_owned()))
        },
        &offsets,
    );
    assert!(matches!(failed, Err(Error::Retriable(_))), "{failed:?}");
    drop(member);
    let mut next = Consumer::join(fixture, &group, &[&input], &fixture.name("member"));
    drive(fixture, "a successor owns the partition", &mut [&mut next], |m| !m[0].owned.is_empty());
    assert_eq!(committed(fixture, &group, &at(&input, 0)), None);
    next.commit((&output, "whole"), &at(&input, 0), 1, "").unwrap();
    assert_eq!(values(fixture, &output, 0), ["whole"]);
}

pub(crate) fn an_open_commit_is_not_seen(fixture: &dyn Fixture) {
    let (topic, log) = (topic(fixture, "open", 1), fixture.log());
    write(log.as_ref(), &fixture.name("writer"), &[(&topic, 0, "before")]);
    let stable = || log.offsets(&[at(&topic, 0)], At::StableEnd).unwrap()[0];
    let mut reader = log.reader(&[(at(&topic, 0), stable())]).unwrap();
    let (before, mut seen) = (stable(), Read::new());
    let mut producer = log.producer(&fixture.name("open")).unwrap();
    producer
        .commit(&mut |sink| {
            (0..1000).try_for_each(|_| sink.send(plain(&topic, 0, b"open")))?;
            for _ in 0..5 {
                poll_into(reader.as_mut(), &mut seen).unwrap();
            }
            assert!(seen.is_empty(), "records of an open commit were read");
            assert_eq!(stable(), before);
            Ok(())
        })
        .unwrap();
    eventually(fixture, "the committed records are read", || {
        poll_into(reader.as_mut(), &mut seen).unwrap();
        seen.values().map(Vec::len).sum::<usize>() == 1000
    });
}

pub(crate) fn readers_see_commits_whole(fixture: &dyn Fixture) {
    const COMMITS: usize = 60;
    const EACH: usize = 7;
    let (topic, log, id) = (topic(fixture, "whole", 1), fixture.log(), fixture.name("writer"));
    let mut reader = log.reader(&[(at(&topic, 0), 0)]).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut producer = log.producer(&id).unwrap();
            for n in 0..COMMITS {
                let value = n.to_string();
                producer
                    .commit(&mut |sink| (0..EACH).try_for_each(|_| sink.send(plain(&topic, 0, value.as_bytes()))))
                    .unwrap();
            }
        });
        let mut seen = 0;
        eventually(fixture, "every commit is read", || {
            // What was stable before the poll must be there whole: a commit is never cut by the stable end.
            let end = log.offsets(&[at(&topic, 0)], At::StableEnd).unwrap()[0];
            let stable = read_to_end(fixture, &[(at(&topic, 0), 0)]);
            let records = stable.get(&at(&topic, 0)).map_or(&[][..], Vec::as_slice);
            let below = records.iter().filter(|r| r.offset < end).count();
            assert_eq!(below % EACH, 0, "a commit was seen in part");
            let poll = Duration::from_millis(10);
            reader.poll(poll, &mut |batch| seen += batch.records.len()).unwrap();
            seen == COMMITS * EACH
        });
    });
}

pub(crate) fn a_newer_producer_fences_the_older(fixture: &dyn Fixture) {
    let (topic, log, id) = (topic(fixture, "fenced", 1), fixture.log(), fixture.name("writer"));
    let mut older = log.producer(&id).unwrap();
    older.commit(&mut |sink| sink.send(plain(&topic, 0, b"older"))).unwrap();
    let mut newer = log.producer(&id).unwrap();
    let refused = older.commit(&mut |sink| sink.send(plain(&topic, 0, b"zombie")));
    assert!(matches!(refused, Err(Error::Fenced(_))), "{refused:?}");
    newer.commit(&mut |sink| sink.send(plain(&topic, 0, b"newer"))).unwrap();
    assert_eq!(values(fixture, &topic, 0), ["older", "newer"]);
}

pub(crate) fn metadata_that_is_too_long_fails_the_commit(fixture: &dyn Fixture) {
    let (input, output, group, mut member) = owner(fixture);
    member.commit((&output, "fits"), &at(&input, 0), 1, &"m".repeat(4_000)).unwrap();
    assert!(member.commit((&output, "too long"), &at(&input, 0), 2, &"m".repeat(5_000)).is_err());
    drop(member);
    assert_eq!(committed(fixture, &group, &at(&input, 0)), Some((1, "m".repeat(4_000))));
    assert_eq!(values(fixture, &output, 0), ["fits"]);
}

pub(crate) fn writers_at_once_lose_nothing(fixture: &dyn Fixture) {
    const WRITERS: usize = 6;
    const COMMITS: usize = 20;
    let (topic, log) = (topic(fixture, "crowd", 1), fixture.log());
    let ids: Vec<_> = (0..WRITERS).map(|n| fixture.name(&format!("writer-{n}"))).collect();
    std::thread::scope(|scope| {
        for (writer, id) in ids.iter().enumerate() {
            let (log, topic) = (&log, &topic);
            scope.spawn(move || {
                let mut producer = log.producer(id).unwrap();
                for n in 0..COMMITS {
                    let value = format!("{writer}:{n}");
                    producer.commit(&mut |sink| sink.send(plain(topic, 0, value.as_bytes()))).unwrap();
                }
            });
        }
    });
    let values = values(fixture, &topic, 0);
    assert_eq!(values.len(), WRITERS * COMMITS);
    for writer in 0..WRITERS {
        let own: Vec<_> = values.iter().filter(|v| v.starts_with(&format!("{writer}:"))).cloned().collect();
        assert_eq!(own, (0..COMMITS).map(|n| format!("{writer}:{n}")).collect::<Vec<_>>());
    }
}
