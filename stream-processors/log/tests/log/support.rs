//! What the suite needs of a log under test, and a consumer that does what the engine does, as plainly as can be.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemark_log::{
    At, Cleanup, Error, Event, GroupOffset, Log, Member, MemberConfig, Outgoing, Reader, Record, Sink, TopicPartition,
    TopicSpec,
};

/// A log under test.
pub(crate) trait Fixture {
    /// The log; the same one each time.
    fn log(&self) -> Arc<dyn Log>;
    /// A name for a topic, group or member that no other test uses.
    fn name(&self, what: &str) -> String;
    /// The shortest session timeout that the log takes.
    fn session_timeout(&self) -> Duration;
    /// How long a condition may take to come true before the test fails.
    fn patience(&self) -> Duration;
    /// Time since some moment, as the log under test takes it.
    fn elapsed(&self) -> Duration {
        static BEGAN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        BEGAN.elapsed()
    }
}

/// A record kept after its batch is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
}

impl From<&Record<'_>> for Kept {
    fn from(r: &Record<'_>) -> Self {
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        Self { offset: r.offset, timestamp: r.timestamp, key: owned(r.key), value: owned(r.value) }
    }
}

pub(crate) type Read = BTreeMap<TopicPartition, Vec<Kept>>;

/// Makes a topic of its own for the test.
pub(crate) fn topic(fixture: &dyn Fixture, what: &str, partitions: u32) -> String {
    let name = fixture.name(what);
    let spec = TopicSpec { name: name.clone(), partitions, cleanup: Cleanup::Delete, retention_ms: None };
    fixture.log().create_topics(&[spec]).unwrap();
    name
}

pub(crate) fn at(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

/// A record with a value only.
pub(crate) fn plain<'a>(topic: &'a str, partition: u32, value: &'a [u8]) -> Outgoing<'a> {
    Outgoing { topic, partition, value: Some(value), ..Outgoing::default() }
}

/// Commits one value to each of the given places, in one commit.
pub(crate) fn write(log: &dyn Log, id: &str, values: &[(&str, u32, &str)]) {
    let mut producer = log.producer(id).unwrap();
    let mut send = |sink: &mut dyn Sink| {
        values.iter().try_for_each(|(topic, partition, value)| sink.send(plain(topic, *partition, value.as_bytes())))
    };
    producer.commit(&mut send).unwrap();
    let places: Vec<_> = values.iter().map(|(topic, partition, _)| at(topic, *partition)).collect();
    settled_ends(log, &places);
}

/// The ends, once readers see all that is below them: a commit is durable on return, and seen soon after.
pub(crate) fn settled_ends(log: &dyn Log, places: &[TopicPartition]) -> Vec<i64> {
    let ends = log.offsets(places, At::End).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let stable = log.offsets(places, At::StableEnd).unwrap();
        if stable.iter().zip(&ends).all(|(stable, end)| stable >= end) {
            return stable;
        }
        assert!(Instant::now() < until, "stable ends stay at {stable:?}, below {ends:?}");
    }
}

/// Asks again until `done`; fails after the fixture's patience.
pub(crate) fn eventually(fixture: &dyn Fixture, what: &str, done: impl FnMut() -> bool) {
    eventually_within(fixture.patience(), what, done);
}

pub(crate) fn eventually_within(patience: Duration, what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + patience;
    while !done() {
        assert!(Instant::now() < until, "not within {patience:?}: {what}");
    }
}

/// Reads each partition from the given offset up to its end as of now, by position.
pub(crate) fn read_to_end(fixture: &dyn Fixture, from: &[(TopicPartition, i64)]) -> Read {
    let log = fixture.log();
    let places: Vec<_> = from.iter().map(|(p, _)| p.clone()).collect();
    let ends = settled_ends(log.as_ref(), &places);
    let mut reader = log.reader(from).unwrap();
    let mut read = Read::new();
    let there = |reader: &dyn Reader| places.iter().zip(&ends).all(|(p, end)| reader.position(p).unwrap() >= *end);
    eventually(fixture, "a reader reaches the stable end", || {
        there(reader.as_ref()) || {
            poll_into(reader.as_mut(), &mut read).unwrap();
            there(reader.as_ref())
        }
    });
    read
}

/// All values of a partition, from its start.
pub(crate) fn values(fixture: &dyn Fixture, topic: &str, partition: u32) -> Vec<String> {
    let start = fixture.log().offsets(&[at(topic, partition)], At::Start).unwrap()[0];
    let read = read_to_end(fixture, &[(at(topic, partition), start)]);
    strings(read.get(&at(topic, partition)))
}

pub(crate) fn strings(records: Option<&Vec<Kept>>) -> Vec<String> {
    let text = |r: &Kept| String::from_utf8(r.value.clone().unwrap()).unwrap();
    records.into_iter().flatten().map(text).collect()
}

pub(crate) fn poll_into(reader: &mut dyn Reader, read: &mut Read) -> Result<(), Error> {
    reader.poll(Duration::from_millis(50), &mut |batch| {
        let records = read.entry(at(batch.topic, batch.partition)).or_default();
        records.extend(batch.records.iter().map(Kept::from));
    })
}

/// A member of a group that starts at the committed offsets and does as it is told.
pub(crate) struct Consumer {
    log: Arc<dyn Log>,
    group: String,
    pub(crate) member: Box<dyn Member>,
    pub(crate) owned: Vec<TopicPartition>,
    pub(crate) read: Read,
    /// Every event but `Polled`, in order.
    pub(crate) events: Vec<Event>,
}

impl Consumer {
    pub(crate) fn join(fixture: &dyn Fixture, group: &str, topics: &[&str], id: &str) -> Self {
        Self::join_for(fixture, group, topics, id, fixture.session_timeout())
    }

    pub(crate) fn join_for(
        fixture: &dyn Fixture,
        group: &str,
        topics: &[&str],
        id: &str,
        session_timeout: Duration,
    ) -> Self {
        let topics = topics.iter().map(|t| (*t).to_owned()).collect();
        let config = MemberConfig { group: group.to_owned(), topics, id: id.to_owned(), session_timeout };
        let member = fixture.log().member(&config).unwrap();
        let (owned, read, events) = (Vec::new(), Read::new(), Vec::new());
        Self { log: fixture.log(), group: group.to_owned(), member, owned, read, events }
    }

    /// Polls once and leaves the answer to the caller.
    pub(crate) fn poll(&mut self) -> Result<Event, Error> {
        let read = &mut self.read;
        let event = self.member.poll(Duration::from_millis(50), &mut |batch| {
            let records = read.entry(at(batch.topic, batch.partition)).or_default();
            records.extend(batch.records.iter().map(Kept::from));
        })?;
        if event != Event::Polled {
            self.events.push(event.clone());
        }
        Ok(event)
    }

    /// Polls once and answers.
    pub(crate) fn step(&mut self) {
        match self.poll().unwrap() {
            Event::Polled => {}
            Event::Assigned(owned) => {
                let committed = self.log.committed(&self.group, &owned).unwrap();
                let offset = |c: Option<GroupOffset>| c.map_or(0, |c| c.offset);
                let from: Vec<_> = owned.iter().cloned().zip(committed.into_iter().map(offset)).collect();
                self.member.start(&from).unwrap();
                self.owned = owned;
            }
            Event::Revoking(_) | Event::Lost(_) => {
                self.member.release().unwrap();
                self.owned.clear();
            }
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.read.values().map(Vec::len).sum()
    }

    /// Moves the group to one offset, with metadata, and writes one value with it.
    pub(crate) fn commit(
        &mut self,
        to: (&str, &str),
        partition: &TopicPartition,
        offset: i64,
        metadata: &str,
    ) -> Result<(), Error> {
        let (topic, value) = to;
        let offsets = [GroupOffset { partition: partition.clone(), offset, metadata: metadata.to_owned() }];
        self.member.commit(&mut |sink| sink.send(plain(topic, 0, value.as_bytes())), &offsets)
    }
}

/// Lets all of them step, in turn, until `done`.
pub(crate) fn drive(
    fixture: &dyn Fixture,
    what: &str,
    consumers: &mut [&mut Consumer],
    done: impl Fn(&[&mut Consumer]) -> bool,
) {
    eventually(fixture, what, || {
        consumers.iter_mut().for_each(|c| c.step());
        done(consumers)
    });
}

/// The group's offset and metadata for a partition.
pub(crate) fn committed(fixture: &dyn Fixture, group: &str, place: &TopicPartition) -> Option<(i64, String)> {
    let found = fixture.log().committed(group, std::slice::from_ref(place)).unwrap().remove(0);
    found.map(|c| {
        assert_eq!(c.partition, *place);
        (c.offset, c.metadata)
    })
}
