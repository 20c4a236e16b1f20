//! Reads given partitions, and what members and readers have in common.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Cluster;
use super::native::admin::EARLIEST;
use super::native::consumer::Consumer;
use super::native::{MessageError, Messages};
use super::verdict::{self, Reading};
use crate::{Error, OnBatch, Reader, TopicPartition};

/// What every consumer is set to. The fetch buffer is bounded; the fetch thread looks for room in it after 2 ms, where the default
/// of a second makes a fast reader that has filled it sleep.
pub(super) const CONSUMER: [(&str, &str); 11] = [
    ("isolation.level", "read_committed"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    // Would also move librdkafka's position one past the end, and a later resume would then skip a record.
    ("enable.partition.eof", "false"),
    ("allow.auto.create.topics", "false"),
    ("fetch.queue.backoff.ms", "2"),
    ("fetch.wait.max.ms", "50"),
    ("queued.min.messages", "200000"),
    ("queued.max.messages.kbytes", "32768"),
    ("topic.metadata.refresh.interval.ms", "10000"),
];

/// A consumer with its batch buffer and the offsets it was told to begin at.
pub(super) struct Reads {
    pub(super) consumer: Consumer,
    pub(super) messages: Messages,
    /// Partitions that are read, with where that began.
    pub(super) started: BTreeMap<TopicPartition, i64>,
    cluster: Cluster,
}

impl Reads {
    pub(super) fn new(cluster: &Cluster, own: &[(&str, &str)]) -> Result<Self, Error> {
        let conf = cluster.conf(&[&CONSUMER, own].concat())?;
        let consumer = Consumer::new(conf).map_err(|reason| cluster.unusable(&reason))?;
        Ok(Self { consumer, messages: Messages::new(), started: BTreeMap::new(), cluster: cluster.clone() })
    }

    /// Waits for messages, hands them over and gives them back.
    pub(super) fn poll(&mut self, timeout: Duration, on_batch: OnBatch<'_>) -> Result<(), Error> {
        self.consumer.consume(timeout, &mut self.messages);
        let failed = self.messages.errors().find_map(|error| self.failure(&error));
        if failed.is_none() {
            self.messages.hand_over(on_batch);
        }
        self.messages.clear();
        failed.map_or(Ok(()), Err)
    }

    /// The error to report for one that came in place of a message, if it ends the reading.
    fn failure(&self, error: &MessageError) -> Option<Error> {
        let at = error.partition.as_ref().map_or_else(|| "kafka".to_owned(), ToString::to_string);
        match verdict::reading(error) {
            Reading::GoesOn => {
                tracing::warn!("reading {at}: {}", error.fault.text);
                None
            }
            Reading::OffsetGone => Some(self.offset_gone(error)),
            Reading::Ends(kind) => {
                let fatal = self.consumer.fatal();
                let text = &fatal.as_ref().unwrap_or(&error.fault).text;
                Some(kind.error(format!("reading {at} from kafka at {}: {text}", self.cluster.bootstrap)))
            }
        }
    }

    fn offset_gone(&self, error: &MessageError) -> Error {
        let Some(partition) = error.partition.clone() else {
            return Error::Invalid(error.fault.text.clone());
        };
        let wanted = match error.offset {
            offset @ 0.. => offset,
            _ => self.started.get(&partition).copied().unwrap_or(error.offset),
        };
        let only = std::slice::from_ref(&partition);
        let start = self.cluster.admin().ok().and_then(|admin| admin.offsets(only, EARLIEST, false).ok());
        let start = start.and_then(|starts| starts.first().copied()).unwrap_or(-1);
        Error::OffsetGone { partition, wanted, start }
    }

    /// Begins to read these partitions too; the ones being read go on where they are.
    pub(super) fn start(&mut self, from: &[(TopicPartition, i64)]) -> Result<(), Error> {
        let mut all = BTreeMap::new();
        for partition in self.started.keys() {
            all.insert(partition.clone(), self.position(partition)?);
        }
        all.extend(from.iter().cloned());
        let assigned = self.consumer.assign(all.iter().map(|(partition, offset)| (partition, *offset)));
        assigned.map_err(|fault| self.cluster.error("beginning to read", &fault))?;
        self.started = all;
        Ok(())
    }

    /// librdkafka counts control markers as they pass through the queue; before the first record or marker it is the start.
    pub(super) fn position(&self, partition: &TopicPartition) -> Result<i64, Error> {
        let Some(start) = self.started.get(partition) else {
            return Err(Error::Invalid(format!("{partition} is not being read")));
        };
        let position = self.consumer.position(partition);
        let position = position.map_err(|fault| self.cluster.error(&format!("position of {partition}"), &fault))?;
        Ok(position.unwrap_or(*start).max(*start))
    }
}

/// A reader without a group.
pub(super) struct KafkaReader {
    reads: Reads,
}

impl KafkaReader {
    pub(super) fn open(cluster: &Cluster, from: &[(TopicPartition, i64)]) -> Result<Self, Error> {
        // The group's name is asked for by librdkafka and never used: nothing is committed, nobody joins.
        let mut reads = Reads::new(cluster, &[("client.id", "tidemark-reader"), ("group.id", "tidemark-reader")])?;
        reads.start(from)?;
        Ok(Self { reads })
    }
}

impl Reader for KafkaReader {
    fn poll(&mut self, timeout: Duration, on_batch: OnBatch<'_>) -> Result<(), Error> {
        self.reads.poll(timeout, on_batch)
    }

    fn position(&self, partition: &TopicPartition) -> Result<i64, Error> {
        self.reads.position(partition)
    }
}
