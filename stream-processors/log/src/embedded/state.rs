//! What the log knows in memory, all of it under one lock that is held for microseconds.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::group::Group;
use super::layout::{Clean, Mark, StoredOffset};
use super::open::Open;
use super::storage::Storage;
use crate::{At, Error, TopicPartition, TopicSpec};

/// Number of a topic: not given to another one while the log is open, and not before everything of it is removed.
pub(crate) type TopicNumber = u32;

/// Topic, partition, last offset, stored form.
pub(crate) type StoredBatch = (TopicNumber, u32, i64, Vec<u8>);

/// Offset and metadata by topic and partition.
pub(crate) type GroupOffsets = HashMap<(TopicNumber, u32), (i64, String)>;

/// Everything under the lock.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) topics: Topics,
    /// Deleted topics that still hold something.
    pub(crate) deleted: BTreeSet<TopicNumber>,
    pub(crate) groups: HashMap<String, Group>,
    /// By group, topic and partition: what was accepted, durable once the queue has passed it.
    pub(crate) offsets: HashMap<String, GroupOffsets>,
    /// By producer or member id: how many there have been.
    pub(crate) epochs: HashMap<String, u64>,
    pub(crate) queue: Queue,
    /// Commits of a simulation whose end is not decided yet.
    pub(crate) open: Vec<Open>,
}

/// Commits on their way to the disk.
#[derive(Default)]
pub(crate) struct Queue {
    /// Accepted and not yet taken by a leader. Each writer has one at most, so their number is bounded.
    pub(crate) pending: Vec<Accepted>,
    /// Commits accepted so far.
    pub(crate) accepted: u64,
    /// Commits durable so far.
    pub(crate) durable: u64,
    /// Somebody is writing.
    pub(crate) led: bool,
    /// Why nothing can be written any more, until the log is opened again.
    pub(crate) failed: Option<String>,
}

/// A commit that has its offsets.
#[derive(Default)]
pub(crate) struct Accepted {
    pub(crate) batches: Vec<StoredBatch>,
    pub(crate) offsets: Vec<StoredOffset>,
}

/// The topics, by number and by name.
#[derive(Default)]
pub(crate) struct Topics {
    list: BTreeMap<TopicNumber, Topic>,
    numbers: HashMap<Arc<str>, TopicNumber>,
    /// Number of the next topic that is made.
    next: TopicNumber,
}

pub(crate) struct Topic {
    pub(crate) name: Arc<str>,
    pub(crate) spec: TopicSpec,
    pub(crate) partitions: Vec<Partition>,
}

/// One partition: `start ≤ durable ≤ next`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Partition {
    /// First offset kept.
    pub(crate) start: i64,
    /// One past the last durable record: what readers see, as Kafka's high watermark.
    pub(crate) durable: i64,
    /// Next offset to give.
    pub(crate) next: i64,
    /// Of the last batch; append times never go back within a partition.
    pub(crate) append_time: i64,
    /// Of the first batch, as far as is known; `i64::MIN` when it is not.
    pub(crate) oldest: i64,
    pub(crate) clean: Clean,
}

impl From<Mark> for Partition {
    fn from(mark: Mark) -> Self {
        let Mark { start, end, append_time, clean } = mark;
        Self { start, durable: end, next: end, append_time, oldest: i64::MIN, clean }
    }
}

impl Partition {
    /// What is kept on disk of it.
    pub(crate) fn mark(&self) -> Mark {
        Mark { start: self.start, end: self.durable, append_time: self.append_time, clean: self.clean }
    }

    /// The offset asked for, but for a time.
    pub(crate) fn offset(&self, at: At) -> Option<i64> {
        match at {
            At::Start => Some(self.start),
            At::End => Some(self.next),
            At::StableEnd => Some(self.durable),
            At::Time(_) => None,
        }
    }
}

impl Topics {
    pub(crate) fn number(&self, name: &str) -> Option<TopicNumber> {
        self.numbers.get(name).copied()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Topic> {
        self.at(self.number(name)?)
    }

    pub(crate) fn at(&self, number: TopicNumber) -> Option<&Topic> {
        self.list.get(&number)
    }

    /// Number of partitions, 0 when there is no such topic.
    pub(crate) fn count(&self, name: &str) -> u32 {
        self.get(name).map_or(0, |t| t.spec.partitions)
    }

    pub(crate) fn next(&self) -> TopicNumber {
        self.next
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (TopicNumber, &Topic)> {
        self.list.iter().map(|(number, topic)| (*number, topic))
    }

    pub(crate) fn partition(&self, number: TopicNumber, partition: u32) -> Option<&Partition> {
        self.at(number)?.partitions.get(partition as usize)
    }

    pub(crate) fn partition_mut(&mut self, number: TopicNumber, partition: u32) -> Option<&mut Partition> {
        self.list.get_mut(&number)?.partitions.get_mut(partition as usize)
    }

    /// The number of the topic and the partition, or that there is none.
    pub(crate) fn find(&self, wanted: &TopicPartition) -> Result<(TopicNumber, &Partition), Error> {
        let number = self.number(&wanted.topic).ok_or_else(|| no_topic(&wanted.topic))?;
        let partition = self.partition(number, wanted.partition);
        Ok((number, partition.ok_or_else(|| no_partition(wanted, self.count(&wanted.topic)))?))
    }

    /// Adds a topic, or brings the one of this name in line. New partitions are empty.
    pub(crate) fn put(&mut self, spec: TopicSpec) {
        let number = self.number(&spec.name).unwrap_or(self.next);
        self.put_as(number, spec);
    }

    fn put_as(&mut self, number: TopicNumber, spec: TopicSpec) {
        self.passed(number);
        let name = Arc::<str>::from(spec.name.as_str());
        self.numbers.insert(name.clone(), number);
        let topic = Topic { name, spec: spec.clone(), partitions: Vec::new() };
        let topic = self.list.entry(number).or_insert(topic);
        topic.partitions.resize(spec.partitions as usize, Mark::default().into());
        topic.spec = spec;
    }

    /// The number is not given any more.
    fn passed(&mut self, number: TopicNumber) {
        self.next = self.next.max(number.saturating_add(1));
    }

    /// Takes a topic out of the list.
    pub(crate) fn remove(&mut self, number: TopicNumber) {
        if let Some(topic) = self.list.remove(&number) {
            self.numbers.remove(&topic.name);
        }
    }
}

pub(crate) fn no_topic(name: &str) -> Error {
    Error::Invalid(format!("there is no topic {name}: create it first"))
}

pub(crate) fn deleted_topic(name: &str) -> Error {
    Error::Invalid(format!(
        "topic {name} was deleted, and what it held is gone: begin anew if it is made again, else read and write it no more"
    ))
}

pub(crate) fn no_partition(wanted: &TopicPartition, count: u32) -> Error {
    Error::Invalid(format!("there is no {wanted}: the topic has {count} partitions, counted from 0"))
}

/// Reads what is on disk.
pub(crate) fn load(storage: &Storage) -> Result<State, Error> {
    let mut state = State::default();
    for (number, spec) in storage.topics()? {
        state.topics.put_as(number, spec);
        load_partitions(storage, &mut state.topics, number)?;
    }
    for number in storage.deleted_topics()? {
        state.topics.passed(number);
        state.deleted.insert(number);
    }
    for (group, topic, partition, offset, metadata) in storage.offsets()? {
        // Those of a deleted topic go with what it held.
        if state.topics.at(topic).is_some() {
            state.offsets.entry(group).or_default().insert((topic, partition), (offset, metadata));
        }
    }
    Ok(state)
}

fn load_partitions(storage: &Storage, topics: &mut Topics, number: TopicNumber) -> Result<(), Error> {
    let Some(topic) = topics.list.get_mut(&number) else {
        return Ok(());
    };
    for (index, partition) in topic.partitions.iter_mut().enumerate() {
        let place = TopicPartition::new(topic.name.clone(), u32::try_from(index).unwrap_or(u32::MAX));
        *partition = storage.mark(number, place.partition)?.into();
        if let Some((last, bytes)) = storage.last_batch(number, &place)?
            && last >= partition.next
        {
            let batch = super::batch::Stored::parse(last, &bytes);
            let batch = batch.map_err(|e| storage.corrupt_batch(&place, last, e))?;
            (partition.durable, partition.next) = (last + 1, last + 1);
            partition.append_time = partition.append_time.max(batch.append_time);
        }
    }
    Ok(())
}
