//! Follows a topic without a group: all of its partitions, from positions that the caller keeps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidemark_log::{At, Error, Log, Reader, TopicPartition};
use tidemark_schemas::avro::{self, Avro};
use tidemark_schemas::catalog::Schema;
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire::{self, Decoder};

use crate::stop::Stop;

/// How long a poll waits for records.
const POLL: Duration = Duration::from_millis(100);
/// After a failure.
pub(crate) const PAUSE: Duration = Duration::from_millis(250);

/// A record as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    pub(crate) key: Vec<u8>,
    /// `None` is a tombstone.
    pub(crate) value: Option<Vec<u8>>,
}

/// A topic, and how far it has been read.
pub(crate) struct Topic {
    log: Arc<dyn Log>,
    name: Arc<str>,
    /// The next offset of each partition; set before the first poll.
    positions: BTreeMap<u32, i64>,
    reader: Option<Box<dyn Reader>>,
}

impl Topic {
    pub(crate) fn new(log: Arc<dyn Log>, name: &str) -> Self {
        Self { log, name: name.into(), positions: BTreeMap::new(), reader: None }
    }

    /// An offset of each partition.
    pub(crate) fn ask(&self, at: At) -> Result<BTreeMap<u32, i64>, Error> {
        let partitions = self.log.partitions(&self.name)?;
        let partitions = partitions.ok_or_else(|| {
            Error::Retriable(format!("there is no topic {} yet; start the process `documents` first", self.name))
        })?;
        let all: Vec<_> = (0..partitions).map(|partition| self.partition(partition)).collect();
        Ok((0..partitions).zip(self.log.offsets(&all, at)?).collect())
    }

    pub(crate) fn positions(&self) -> &BTreeMap<u32, i64> {
        &self.positions
    }

    /// Goes on from there.
    pub(crate) fn seek(&mut self, positions: BTreeMap<u32, i64>) {
        self.positions = positions;
        self.reader = None;
    }

    /// Whether everything before `ends` has been read.
    pub(crate) fn is_past(&self, ends: &BTreeMap<u32, i64>) -> bool {
        ends.iter().all(|(partition, end)| self.positions.get(partition).is_some_and(|position| position >= end))
    }

    /// The next records, none if none come in a while. After an error the next call goes on from the same place.
    pub(crate) fn poll(&mut self) -> Result<Vec<Raw>, Error> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.log.reader(&self.from())?,
        };
        let mut records = Vec::new();
        reader.poll(POLL, &mut |batch| {
            records.extend(batch.records.iter().map(|record| Raw {
                key: record.key.unwrap_or_default().to_vec(),
                value: record.value.map(<[u8]>::to_vec),
            }));
        })?;
        let partitions: Vec<u32> = self.positions.keys().copied().collect();
        let read: Result<Vec<_>, Error> =
            partitions.iter().map(|p| reader.position(&self.partition(*p)).map(|at| (*p, at))).collect();
        self.positions.extend(read?);
        self.reader = Some(reader);
        Ok(records)
    }

    fn from(&self) -> Vec<(TopicPartition, i64)> {
        self.positions.iter().map(|(partition, at)| (self.partition(*partition), *at)).collect()
    }

    fn partition(&self, partition: u32) -> TopicPartition {
        TopicPartition::new(Arc::clone(&self.name), partition)
    }
}

/// Reads the values of a topic that has one type of record.
pub(crate) struct Values {
    decoder: Decoder,
    scratch: Vec<u8>,
    topic: &'static str,
}

impl Values {
    pub(crate) fn new(registry: Arc<dyn Registry>, schema: Schema, topic: &'static str) -> Self {
        Self { decoder: Decoder::new(registry, vec![schema]), scratch: Vec::new(), topic }
    }

    /// The record; `None` when it is none, which is told, or when the service stops. A registry that is away is waited for.
    pub(crate) fn read<T: for<'a> Avro<'a>>(&mut self, value: &[u8], stop: &Stop) -> Option<T> {
        loop {
            match self.decoder.datum(value, &mut self.scratch) {
                Ok((_, datum)) => {
                    return told(self.topic, T::get(&mut avro::Reader::new(datum)).map_err(wire::Error::from));
                }
                Err(wire::Error::Registry(error)) => {
                    tracing::warn!(%error, "{} cannot be read without the schema registry; trying again", self.topic);
                    if stop.pause(PAUSE) {
                        return None;
                    }
                }
                Err(error) => return told(self.topic, Err(error)),
            }
        }
    }
}

fn told<T>(topic: &str, record: Result<T, wire::Error>) -> Option<T> {
    record.inspect_err(|error| tracing::error!(%error, "a record of {topic} was passed over")).ok()
}
