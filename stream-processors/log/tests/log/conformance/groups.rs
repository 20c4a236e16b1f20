//! Consumer groups: who owns what, and who may commit.

use tidemark_log::{Error, Event, GroupOffset, TopicPartition};

use crate::support::*;

/// A topic of four partitions with one record in each.
fn filled(fixture: &dyn Fixture) -> String {
    let topic = topic(fixture, "shared", 4);
    let records: Vec<_> = (0..4).map(|p| (topic.as_str(), p, "first")).collect();
    write(fixture.log().as_ref(), &fixture.name("filler"), &records);
    topic
}

fn places(topic: &str, partitions: std::ops::Range<u32>) -> Vec<TopicPartition> {
    partitions.map(|p| at(topic, p)).collect()
}

fn together(consumers: &[&mut Consumer]) -> Vec<TopicPartition> {
    let mut all: Vec<_> = consumers.iter().flat_map(|c| c.owned.clone()).collect();
    all.sort();
    all
}

fn sizes(consumers: &[&mut Consumer]) -> Vec<usize> {
    consumers.iter().map(|c| c.owned.len()).collect()
}

pub(crate) fn a_group_resumes_where_it_committed(fixture: &dyn Fixture) {
    let (topic, group, output) = (topic(fixture, "resumed", 1), fixture.name("group"), topic(fixture, "out", 1));
    let log = fixture.log();
    write(
        log.as_ref(),
        &fixture.name("writer"),
        &[(&topic, 0, "a"), (&topic, 0, "b"), (&topic, 0, "c"), (&topic, 0, "d")],
    );
    let id = fixture.name("member");
    let mut first = Consumer::join(fixture, &group, &[&topic], &id);
    drive(fixture, "all is read", &mut [&mut first], |m| m[0].count() == 4);
    first.commit((&output, "1"), &at(&topic, 0), 1, "one").unwrap();
    first.commit((&output, "2"), &at(&topic, 0), 2, "two").unwrap();
    drop(first);
    assert_eq!(committed(fixture, &group, &at(&topic, 0)), Some((2, "two".to_owned())));
    let mut second = Consumer::join(fixture, &group, &[&topic], &id);
    drive(fixture, "the rest is read", &mut [&mut second], |m| m[0].count() == 2);
    assert_eq!(strings(second.read.get(&at(&topic, 0))), ["c", "d"]);
}

pub(crate) fn members_share_every_partition(fixture: &dyn Fixture) {
    let (topic, group) = (filled(fixture), fixture.name("group"));
    let mut a = Consumer::join(fixture, &group, &[&topic], &fixture.name("a"));
    drive(fixture, "one member owns all", &mut [&mut a], |m| together(m) == places(&topic, 0..4));
    let mut b = Consumer::join(fixture, &group, &[&topic], &fixture.name("b"));
    drive(fixture, "two members own half each", &mut [&mut a, &mut b], |m| {
        together(m) == places(&topic, 0..4) && sizes(m) == [2, 2]
    });
    let mut c = Consumer::join(fixture, &group, &[&topic], &fixture.name("c"));
    drive(fixture, "three members own all", &mut [&mut a, &mut b, &mut c], |m| {
        together(m) == places(&topic, 0..4) && sizes(m).iter().all(|n| *n > 0)
    });
}

pub(crate) fn a_commit_while_revoking_counts(fixture: &dyn Fixture) {
    let (topic, group, output) = (filled(fixture), fixture.name("group"), topic(fixture, "out", 1));
    let mut a = Consumer::join(fixture, &group, &[&topic], &fixture.name("a"));
    drive(fixture, "all is read", &mut [&mut a], |m| m[0].count() == 4);
    let mut b = Consumer::join(fixture, &group, &[&topic], &fixture.name("b"));
    let mut revoked = Vec::new();
    eventually(fixture, "the first member is told to let go", || {
        b.step();
        match a.poll().unwrap() {
            Event::Revoking(partitions) => revoked = partitions,
            other => assert_eq!(other, Event::Polled),
        }
        !revoked.is_empty()
    });
    revoked.sort();
    assert_eq!(revoked, places(&topic, 0..4));
    assert!(b.owned.is_empty(), "nobody owns what another has not let go of");
    let one = |partition| GroupOffset { partition, offset: 1, metadata: "at revoke".to_owned() };
    let offsets: Vec<_> = revoked.into_iter().map(one).collect();
    a.member.commit(&mut |sink| sink.send(plain(&output, 0, b"last")), &offsets).unwrap();
    a.member.release().unwrap();
    a.owned.clear();
    drive(fixture, "both own half", &mut [&mut a, &mut b], |m| sizes(m) == [2, 2]);
    for place in &b.owned {
        assert_eq!(committed(fixture, &group, place), Some((1, "at revoke".to_owned())));
    }
    assert_eq!((b.count(), values(fixture, &output, 0)), (0, vec!["last".to_owned()]));
}

/// Two members; the first falls silent until the second owns everything.
fn silenced(fixture: &dyn Fixture, topic: &str, group: &str) -> (Consumer, Consumer) {
    let mut a = Consumer::join(fixture, group, &[topic], &fixture.name("a"));
    drive(fixture, "all is read", &mut [&mut a], |m| m[0].count() == 4);
    let mut b = Consumer::join(fixture, group, &[topic], &fixture.name("b"));
    drive(fixture, "the silent one's partitions are taken over", &mut [&mut b], |m| m[0].owned.len() == 4);
    (a, b)
}

pub(crate) fn a_zombie_commits_nothing(fixture: &dyn Fixture) {
    let (topic, group, output) = (filled(fixture), fixture.name("group"), topic(fixture, "out", 1));
    let (mut zombie, mut owner) = silenced(fixture, &topic, &group);
    let refused = zombie.commit((&output, "zombie"), &at(&topic, 0), 1, "zombie");
    assert!(matches!(refused, Err(Error::Fenced(_))), "{refused:?}");
    assert_eq!(committed(fixture, &group, &at(&topic, 0)), None);
    owner.commit((&output, "owner"), &at(&topic, 0), 1, "owner").unwrap();
    assert_eq!(values(fixture, &output, 0), ["owner"]);
    assert_eq!(committed(fixture, &group, &at(&topic, 0)), Some((1, "owner".to_owned())));
}

pub(crate) fn a_silent_member_loses_and_comes_back(fixture: &dyn Fixture) {
    let (topic, group) = (filled(fixture), fixture.name("group"));
    let (mut silent, mut other) = silenced(fixture, &topic, &group);
    drive(fixture, "the silent one is back", &mut [&mut silent, &mut other], |m| {
        together(m) == places(&topic, 0..4) && sizes(m) == [2, 2]
    });
    let lost = silent.events.iter().filter(|e| matches!(e, Event::Lost(lost) if lost.len() == 4)).count();
    assert_eq!(lost, 1, "{:?}", silent.events);
}

pub(crate) fn a_newer_member_fences_the_older(fixture: &dyn Fixture) {
    let (topic, group, output) = (filled(fixture), fixture.name("group"), topic(fixture, "out", 1));
    let id = fixture.name("same");
    let mut older = Consumer::join(fixture, &group, &[&topic], &id);
    drive(fixture, "all is read", &mut [&mut older], |m| m[0].count() == 4);
    let mut newer = Consumer::join(fixture, &group, &[&topic], &id);
    let refused = older.commit((&output, "older"), &at(&topic, 0), 1, "");
    assert!(matches!(refused, Err(Error::Fenced(_))), "{refused:?}");
    drop(older);
    drive(fixture, "the newer one owns all", &mut [&mut newer], |m| m[0].owned.len() == 4);
    newer.commit((&output, "newer"), &at(&topic, 0), 1, "").unwrap();
    assert_eq!(values(fixture, &output, 0), ["newer"]);
}

pub(crate) fn leaving_hands_over(fixture: &dyn Fixture) {
    let (topic, group) = (filled(fixture), fixture.name("group"));
    let mut a = Consumer::join(fixture, &group, &[&topic], &fixture.name("a"));
    let mut b = Consumer::join(fixture, &group, &[&topic], &fixture.name("b"));
    drive(fixture, "both own half", &mut [&mut a, &mut b], |m| sizes(m) == [2, 2]);
    a.member.leave().unwrap();
    drive(fixture, "the other owns all", &mut [&mut b], |m| m[0].owned.len() == 4);
    let group_offset = GroupOffset { partition: at(&topic, 0), offset: 1, metadata: String::new() };
    assert!(a.member.commit(&mut |_| Ok(()), &[group_offset]).is_err(), "one that left commits nothing");
    assert_eq!(committed(fixture, &group, &at(&topic, 0)), None);
}

pub(crate) fn a_paused_partition_is_not_read(fixture: &dyn Fixture) {
    let (topic, group, log) = (filled(fixture), fixture.name("group"), fixture.log());
    let mut member = Consumer::join(fixture, &group, &[&topic], &fixture.name("member"));
    drive(fixture, "all is read", &mut [&mut member], |m| m[0].count() == 4);
    member.member.pause(&[at(&topic, 1)], true).unwrap();
    write(
        log.as_ref(),
        &fixture.name("writer"),
        &[(&topic, 0, "second"), (&topic, 1, "second"), (&topic, 2, "second")],
    );
    drive(fixture, "the others are read", &mut [&mut member], |m| m[0].count() == 6);
    (0..5).for_each(|_| member.step());
    assert_eq!(strings(member.read.get(&at(&topic, 1))), ["first"]);
    member.member.pause(&[at(&topic, 1)], false).unwrap();
    drive(fixture, "it is read again", &mut [&mut member], |m| m[0].count() == 7);
    assert_eq!(strings(member.read.get(&at(&topic, 1))), ["first", "second"]);
}

/// A client that remembered the pause of an assignment that is over would never read the partition again.
pub(crate) fn a_pause_ends_with_its_assignment(fixture: &dyn Fixture) {
    let (topic, group) = (filled(fixture), fixture.name("group"));
    let mut a = Consumer::join(fixture, &group, &[&topic], &fixture.name("a"));
    drive(fixture, "all is read", &mut [&mut a], |m| m[0].count() == 4);
    a.member.pause(&places(&topic, 0..4), true).unwrap();
    let mut b = Consumer::join(fixture, &group, &[&topic], &fixture.name("b"));
    drive(fixture, "each reads its half from the start", &mut [&mut a, &mut b], |m| {
        (m[0].count(), m[1].count()) == (6, 2)
    });
}

pub(crate) fn grown_partitions_are_handed_out(fixture: &dyn Fixture) {
    let (topic, group, log) = (filled(fixture), fixture.name("group"), fixture.log());
    let mut member = Consumer::join(fixture, &group, &[&topic], &fixture.name("member"));
    drive(fixture, "all is owned", &mut [&mut member], |m| m[0].owned.len() == 4);
    let spec = tidemark_log::TopicSpec {
        name: topic.clone(),
        partitions: 6,
        cleanup: tidemark_log::Cleanup::Delete,
        retention_ms: None,
    };
    log.create_topics(&[spec]).unwrap();
    eventually(fixture, "the topic has grown", || log.partitions(&topic).unwrap() == Some(6));
    write(log.as_ref(), &fixture.name("writer"), &[(&topic, 5, "grown")]);
    drive(fixture, "the new partitions are read", &mut [&mut member], |m| {
        together(m) == places(&topic, 0..6) && m[0].read.contains_key(&at(&topic, 5))
    });
}

pub(crate) fn a_first_offset_is_set_once(fixture: &dyn Fixture) {
    let (topic, group, log) = (filled(fixture), fixture.name("group"), fixture.log());
    let init = |partitions: std::ops::Range<u32>, offset, metadata: &str| {
        let one = |partition| GroupOffset { partition, offset, metadata: metadata.to_owned() };
        log.init_group(&group, &places(&topic, partitions).into_iter().map(one).collect::<Vec<_>>()).unwrap();
    };
    init(0..2, 1, "first");
    init(0..4, 0, "second");
    let found: Vec<_> = places(&topic, 0..4).iter().map(|p| committed(fixture, &group, p).unwrap()).collect();
    let expected = [(1, "first"), (1, "first"), (0, "second"), (0, "second")];
    assert_eq!(found, expected.map(|(offset, metadata)| (offset, metadata.to_owned())));
}
