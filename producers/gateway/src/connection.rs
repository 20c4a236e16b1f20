//! What the pump needs of the log: topics, schema ids, a producer, and how far the spool is published.

use std::time::{Duration, Instant};

use tidemark_log::{At, Error, Log, Producer, TopicPartition, TopicSpec};
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::gateway::SpoolPosition;
use tidemark_schemas::wire;
use tidemark_spool::Place;
use uuid::Uuid;

use crate::plan::EventPlace;
use crate::{FLOWS_TOPIC, POSITIONS_TOPIC, Shared, answers_topic, positions_topic};

/// How often the partition count is asked for.
const PARTITIONS_EVERY: Duration = Duration::from_secs(10);
/// How long a poll of the positions waits for records.
const POLL: Duration = Duration::from_millis(100);
/// How long the positions may take: the transactions of others may have to time out first.
const POSITIONS_TIMEOUT: Duration = Duration::from_secs(90);
/// Records at the end of the positions that are read first; then so many times more.
const TAIL: i64 = 4_096;
const TAIL_GROWTH: i64 = 16;

/// A producer, and what was asked of the log.
pub(crate) struct Connection {
    pub(crate) producer: Box<dyn Producer>,
    /// Of the flows topic, and when that was asked.
    pub(crate) partitions: u32,
    asked: Instant,
}

impl Connection {
    /// Makes a producer, which ends whatever its predecessor left open; then asks for the first event that is not published,
    /// if any is, which nothing can change any more but this producer.
    pub(crate) fn open(shared: &Shared) -> Result<(Self, Option<EventPlace>), Error> {
        let log = &*shared.log;
        create_topics(shared)?;
        let partitions = log.partitions(FLOWS_TOPIC)?.ok_or_else(no_topic)?;
        let producer = log.producer(&shared.producer_id())?;
        let next = position(log, shared.spool.id())?;
        Ok((Self { producer, partitions, asked: Instant::now() }, next))
    }

    /// Asks for the partition count now and then. Without an answer the known one still holds: partitions are never taken away.
    pub(crate) fn ask_partitions(&mut self, log: &dyn Log) {
        if self.asked.elapsed() < PARTITIONS_EVERY {
            return;
        }
        self.asked = Instant::now();
        match log.partitions(FLOWS_TOPIC) {
            Ok(partitions) => self.partitions = partitions.unwrap_or(self.partitions),
            Err(error) => tracing::warn!(%error, "the partition count of {FLOWS_TOPIC} could not be asked for"),
        }
    }
}

/// A topic that has been grown keeps its partitions.
fn create_topics(shared: &Shared) -> Result<(), Error> {
    let mut topics = vec![answers_topic(), positions_topic()];
    if let Some(flows) = &shared.config.flows_topic {
        let there = shared.log.partitions(&flows.name)?.unwrap_or(0);
        topics.push(TopicSpec { partitions: flows.partitions.max(there), ..flows.clone() });
    }
    shared.log.create_topics(&topics)
}

fn no_topic() -> Error {
    Error::Retriable(format!("there is no topic {FLOWS_TOPIC}; create the topics first"))
}

/// The first event of the spool that is not published. Searched for from the end: each commit of each gateway writes a record,
/// and compaction comes late.
fn position(log: &dyn Log, spool: Uuid) -> Result<Option<EventPlace>, Error> {
    let positions = TopicPartition::new(POSITIONS_TOPIC, 0);
    let ask = |at| log.offsets(std::slice::from_ref(&positions), at).map(|found| found.first().copied().unwrap_or(0));
    let (start, end) = (ask(At::Start)?, ask(At::End)?);
    let mut tail = TAIL;
    loop {
        let from = end.saturating_sub(tail).max(start);
        let found = last_of(log, &positions, from..end, spool)?;
        if found.is_some() || from == start {
            return Ok(found);
        }
        tail = tail.saturating_mul(TAIL_GROWTH);
    }
}

fn last_of(
    log: &dyn Log,
    positions: &TopicPartition,
    range: std::ops::Range<i64>,
    spool: Uuid,
) -> Result<Option<EventPlace>, Error> {
    let mut reader = log.reader(&[(positions.clone(), range.start)])?;
    let (deadline, mut last, mut unread) = (Instant::now() + POSITIONS_TIMEOUT, None, false);
    while reader.position(positions)? < range.end {
        if Instant::now() > deadline {
            return Err(Error::Retriable(format!(
                "{POSITIONS_TOPIC} cannot be read to its end: a transaction is open"
            )));
        }
        reader.poll(POLL, &mut |batch| {
            let own = batch.records.iter().filter(|record| record.key == Some(spool.as_bytes()));
            for value in own.filter_map(|record| record.value) {
                last = parse(value);
                unread = last.is_none();
            }
        })?;
    }
    if unread {
        return Err(Error::Retriable(format!("the record of spool {spool} in {POSITIONS_TOPIC} cannot be read")));
    }
    Ok(last)
}

fn parse(value: &[u8]) -> Option<EventPlace> {
    let (_, datum) = wire::split(value).ok()?;
    let SpoolPosition { run, position, record, .. } = SpoolPosition::get(&mut Reader::new(datum)).ok()?;
    let place = Place { run: u64::try_from(run).ok()?, position: u64::try_from(position).ok()? };
    Some(EventPlace { place, record: u32::try_from(record).ok()? })
}
