//! Reads the tables' topics, all partitions from their start, and goes on at their ends.

use super::Tables;
use crate::Error;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tidemark_core::join::{self, Change, KeyedTable};
use tidemark_log::{At, Batch, Clock, Log, Reader, TopicPartition};
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire;

/// How long a poll waits: bounds how soon somebody who waits is noticed.
const POLL: Duration = Duration::from_millis(10);
/// How often the ends are asked for while nobody waits.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long reading may stand still before an end: the open transaction of a publisher, most likely.
const STALL: Duration = Duration::from_secs(30);

/// A table and how far it is read.
struct Following {
    table: Arc<dyn KeyedTable>,
    decoder: wire::Decoder,
    scratch: Vec<u8>,
    reader: Option<Box<dyn Reader>>,
    /// Next offset of each partition.
    at: BTreeMap<TopicPartition, i64>,
    /// Records that are not in the table.
    unusable: u64,
}

/// The ends that are read to, and when they were asked for.
struct Round {
    asked_at: i64,
    ends: Vec<Vec<(TopicPartition, i64)>>,
    progress: Duration,
}

/// Reads the tables of a job. Time is passed in as what has gone by since any moment before, for it never goes back.
pub struct Follower {
    tables: Arc<Tables>,
    log: Arc<dyn Log>,
    clock: Clock,
    following: Vec<Following>,
    round: Option<Round>,
    looked: Option<Duration>,
}

impl Follower {
    /// Nothing is read yet.
    pub fn new(tables: Arc<Tables>, log: Arc<dyn Log>, registry: &Arc<dyn Registry>, clock: Clock) -> Self {
        let following = tables.tables.iter().map(|table| Following {
            table: Arc::clone(table),
            decoder: wire::Decoder::new(Arc::clone(registry), [table.schema().clone()]),
            scratch: Vec::new(),
            reader: None,
            at: BTreeMap::new(),
            unusable: 0,
        });
        let following = following.collect();
        Self { tables, log, clock, following, round: None, looked: None }
    }

    /// Reads on for a moment. After an error it goes on from what is in the tables; who waits for them is told of it.
    ///
    /// # Errors
    /// The log or the registry does not answer, or a table is too large.
    pub fn step(&mut self, elapsed: Duration) -> Result<(), Error> {
        let stepped = self.try_step(elapsed);
        if let Err(error) = &stepped {
            self.tables.fail(error.clone());
            self.round = None;
            self.following.iter_mut().for_each(|following| following.reader = None);
        }
        stepped
    }

    fn try_step(&mut self, elapsed: Duration) -> Result<(), Error> {
        for following in self.following.iter_mut().filter(|following| following.table.is_missed()) {
            tracing::info!(topic = following.table.topic(), "a late record needs old rows: the table is read again");
            self.tables.begun();
            self.round = None;
            following.begin();
        }
        let due = self.looked.is_none_or(|at| elapsed.saturating_sub(at) >= LOOK_EVERY);
        let is_cut_off = self.following.iter().any(|following| following.reader.is_none());
        if self.round.is_none() && (due || is_cut_off || self.tables.is_wanted()) {
            self.round = Some(self.ask(elapsed, due)?);
        }
        let mut moved = false;
        for following in &mut self.following {
            moved |= following.read()?;
        }
        let Some(round) = &mut self.round else { return Ok(()) };
        let mut short = self.following.iter().zip(&round.ends).flat_map(|(following, ends)| {
            let at = |partition| following.at.get(partition).copied().unwrap_or(0);
            ends.iter().filter(move |(partition, end)| at(partition) < *end)
        });
        match short.next() {
            None => {
                self.tables.reached(round.asked_at);
                self.round = None;
            }
            Some(_) if moved => round.progress = elapsed,
            Some((partition, end)) if elapsed.saturating_sub(round.progress) > STALL => {
                let s = STALL.as_secs();
                let what = format!(
                    "{partition} has not been read to offset {end} for {s} s: a publisher's transaction is open"
                );
                return Err(Error::Table { topic: partition.topic.to_string(), reason: what });
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// The time first, then the ends: what is appended before it is below them.
    fn ask(&mut self, elapsed: Duration, thoroughly: bool) -> Result<Round, Error> {
        let asked_at = (self.clock)();
        let (log, tables) = (self.log.as_ref(), &self.tables);
        if thoroughly {
            self.looked = Some(elapsed);
        }
        let ends = self.following.iter_mut().map(|following| following.ends(log, thoroughly, || tables.begun()));
        Ok(Round { asked_at, ends: ends.collect::<Result<_, _>>()?, progress: elapsed })
    }
}

impl Following {
    /// Throws everything away.
    fn begin(&mut self) {
        self.table.clear();
        self.reader = None;
        self.at.clear();
    }

    /// The ends of all partitions, also of those that were added since; a reader reads all of them then.
    fn ends(&mut self, log: &dyn Log, thoroughly: bool, begun: impl Fn()) -> Result<Vec<(TopicPartition, i64)>, Error> {
        let topic = self.table.topic();
        let count = log.partitions(topic)?.ok_or_else(|| Error::NoSource(topic.to_owned()))?;
        let partitions: Vec<TopicPartition> =
            (0..count).map(|partition| TopicPartition::new(topic, partition)).collect();
        let is_read = self.reader.is_some() && self.at.len() == partitions.len();
        if thoroughly || !is_read {
            let starts = log.offsets(&partitions, At::Start)?;
            let gone = |(partition, start)| self.at.get(partition).is_some_and(|at| at < start);
            // What was not read and is gone by retention leaves a table that another process would not have.
            if partitions.iter().zip(&starts).any(gone) {
                tracing::warn!(
                    topic,
                    "records of the table are gone that were not read: it is read again from its start"
                );
                begun();
                self.begin();
            }
            for (partition, start) in partitions.iter().zip(starts) {
                self.at.entry(partition.clone()).or_insert(start);
            }
        }
        if !is_read || self.reader.is_none() {
            let from: Vec<(TopicPartition, i64)> =
                self.at.iter().map(|(partition, at)| (partition.clone(), *at)).collect();
            self.reader = Some(log.reader(&from)?);
        }
        let ends = log.offsets(&partitions, At::End)?;
        Ok(partitions.into_iter().zip(ends).collect())
    }

    /// Reads on; true when something was read.
    fn read(&mut self) -> Result<bool, Error> {
        let Self { table, decoder, scratch, reader: Some(reader), at, unusable } = self else { return Ok(false) };
        let mut failed = None;
        reader.poll(POLL, &mut |batch| {
            if failed.is_none() {
                failed = take(table.as_ref(), decoder, scratch, at, unusable, &batch).err();
            }
        })?;
        failed.map_or(Ok(()), Err)?;
        let mut moved = false;
        for (partition, next) in at {
            let position = reader.position(partition)?;
            moved |= position > *next;
            *next = position.max(*next);
        }
        Ok(moved)
    }
}

/// Takes a batch in. What cannot be used is passed over and said, now and whenever it is read again.
fn take(
    table: &dyn KeyedTable,
    decoder: &mut wire::Decoder,
    scratch: &mut Vec<u8>,
    at: &mut BTreeMap<TopicPartition, i64>,
    unusable: &mut u64,
    batch: &Batch<'_>,
) -> Result<(), Error> {
    let partition = TopicPartition::new(batch.topic, batch.partition);
    for record in batch.records {
        let datum = record.value.map(|value| decoder.datum(value, scratch)).transpose();
        let applied = match datum {
            Err(reason @ wire::Error::Registry(_)) => {
                let topic = batch.topic.to_owned();
                return Err(Error::Unreadable { topic, partition: batch.partition, offset: record.offset, reason });
            }
            Err(reason) => Err(join::Error::Unusable(reason.to_string())),
            Ok(datum) => {
                let (appended_at, offset, key) = (record.timestamp, record.offset, record.key);
                let datum = datum.map(|(_, datum)| datum);
                table.apply(Change { appended_at, partition: batch.partition, offset, key, datum })
            }
        };
        match applied {
            Ok(()) => {}
            Err(join::Error::Full(full)) => return Err(Error::TableFull { topic: batch.topic.to_owned(), full }),
            Err(join::Error::Unusable(why)) => {
                *unusable += 1;
                if unusable.is_power_of_two() {
                    let (offset, unusable) = (record.offset, *unusable);
                    tracing::warn!(%partition, offset, why, unusable, "a record of a table cannot be used and is passed over");
                }
            }
        }
        at.insert(partition.clone(), record.offset + 1);
    }
    Ok(())
}
