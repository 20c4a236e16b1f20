//! What is deleted is gone, and nothing of it comes back.

use std::time::Duration;

use tidemark_log::{At, Cleanup, Error, Event, GroupOffset, TopicSpec};

use crate::support::*;

pub(crate) fn a_deleted_topic_comes_back_empty(fixture: &dyn Fixture) {
    let (log, name, kept) = (fixture.log(), topic(fixture, "deleted", 2), topic(fixture, "kept", 1));
    let (writer, group) = (fixture.name("writer"), fixture.name("group"));
    write(log.as_ref(), &writer, &[(&name, 0, "a"), (&name, 1, "b"), (&name, 1, "c"), (&kept, 0, "kept")]);
    let at_one = |topic: &str| GroupOffset { partition: at(topic, 0), offset: 1, metadata: String::new() };
    log.init_group(&group, &[at_one(&name), at_one(&kept)]).unwrap();
    let names = [name.clone(), fixture.name("missing")];
    log.delete_topics(&names).unwrap();
    assert_eq!(log.partitions(&name).unwrap(), None);
    assert!(matches!(log.offsets(&[at(&name, 0)], At::End), Err(Error::Invalid(_))));
    log.delete_topics(&names).unwrap();
    let spec = TopicSpec { name: name.clone(), partitions: 1, cleanup: Cleanup::Compact, retention_ms: None };
    log.create_topics(&[spec]).unwrap();
    assert_eq!(log.partitions(&name).unwrap(), Some(1), "fewer than it had, kept otherwise: it is another one");
    for which in [At::Start, At::End, At::StableEnd, At::Time(0)] {
        assert_eq!(log.offsets(&[at(&name, 0)], which).unwrap(), [0], "{which:?}");
    }
    eventually(fixture, "what was committed for it is gone", || committed(fixture, &group, &at(&name, 0)).is_none());
    let record = tidemark_log::Outgoing { key: Some(b"k"), ..plain(&name, 0, b"new") };
    log.producer(&writer).unwrap().commit(&mut |sink| sink.send(record)).unwrap();
    let read = read_to_end(fixture, &[(at(&name, 0), 0)]).remove(&at(&name, 0)).unwrap();
    assert_eq!(read.iter().map(|r| (r.offset, r.value.as_deref())).collect::<Vec<_>>(), [(0, Some(&b"new"[..]))]);
    assert_eq!(values(fixture, &kept, 0), ["kept"]);
    assert_eq!(committed(fixture, &group, &at(&kept, 0)), Some((1, String::new())));
}

/// Of logs of one process; librdkafka tells nobody.
pub(crate) fn readers_and_members_of_a_deleted_topic_are_told(fixture: &dyn Fixture) {
    let (log, topic, group) = (fixture.log(), topic(fixture, "deleted", 2), fixture.name("group"));
    write(log.as_ref(), &fixture.name("writer"), &[(&topic, 0, "a"), (&topic, 1, "b")]);
    let mut reader = log.reader(&[(at(&topic, 0), 0)]).unwrap();
    let mut read = Read::new();
    eventually(fixture, "all is read", || {
        poll_into(reader.as_mut(), &mut read).unwrap();
        !read.is_empty()
    });
    let mut member = Consumer::join(fixture, &group, &[&topic], &fixture.name("member"));
    drive(fixture, "all is read", &mut [&mut member], |m| m[0].count() == 2);
    log.delete_topics(std::slice::from_ref(&topic)).unwrap();
    let told = |error: Error| assert!(error.to_string().contains(&topic), "{error}");
    let mut error = None;
    eventually(fixture, "the reader is told", || {
        error = reader.poll(Duration::from_millis(50), &mut |_| panic!("there is nothing to read")).err();
        error.is_some()
    });
    told(error.unwrap());
    let mut error = None;
    eventually(fixture, "the member is told", || {
        match member.poll() {
            Err(failed) => error = Some(failed),
            Ok(Event::Revoking(_) | Event::Lost(_)) => member.member.release().unwrap(),
            Ok(_) => {}
        }
        error.is_some()
    });
    told(error.unwrap());
    let offset = GroupOffset { partition: at(&topic, 0), offset: 1, metadata: String::new() };
    assert!(member.member.commit(&mut |_| Ok(()), &[offset]).is_err(), "a commit for what is gone");
    let mut producer = log.producer(&fixture.name("late")).unwrap();
    assert!(producer.commit(&mut |sink| sink.send(plain(&topic, 0, b"late"))).is_err());
}

pub(crate) fn a_group_is_deleted_once_its_members_have_left(fixture: &dyn Fixture) {
    let (log, topic, output) = (fixture.log(), topic(fixture, "read", 1), topic(fixture, "out", 1));
    let (group, other, id) = (fixture.name("group"), fixture.name("other"), fixture.name("member"));
    write(log.as_ref(), &fixture.name("writer"), &[(&topic, 0, "a"), (&topic, 0, "b")]);
    log.init_group(&other, &[GroupOffset { partition: at(&topic, 0), offset: 1, metadata: "kept".to_owned() }])
        .unwrap();
    let mut member = Consumer::join(fixture, &group, &[&topic], &id);
    drive(fixture, "all is read", &mut [&mut member], |m| m[0].count() == 2);
    member.commit((&output, "x"), &at(&topic, 0), 2, "").unwrap();
    let delete = || log.delete_groups(&[group.clone(), fixture.name("missing")]);
    match delete() {
        Err(Error::Retriable(why)) => assert!(why.contains(&group) && why.contains("member"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(committed(fixture, &group, &at(&topic, 0)).map(|(offset, _)| offset), Some(2));
    member.member.leave().unwrap();
    drop(member);
    eventually(fixture, "it is deleted", || match delete() {
        Ok(()) => true,
        Err(Error::Retriable(_)) => false,
        Err(other) => panic!("{other:?}"),
    });
    assert_eq!(committed(fixture, &group, &at(&topic, 0)), None);
    delete().unwrap();
    assert_eq!(committed(fixture, &other, &at(&topic, 0)), Some((1, "kept".to_owned())));
    let mut again = Consumer::join(fixture, &group, &[&topic], &id);
    drive(fixture, "one that joins begins anew", &mut [&mut again], |m| m[0].count() == 2);
    again.commit((&output, "y"), &at(&topic, 0), 1, "").unwrap();
    assert_eq!(committed(fixture, &group, &at(&topic, 0)), Some((1, String::new())));
}
