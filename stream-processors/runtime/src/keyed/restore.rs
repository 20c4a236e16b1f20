//! Takes partitions over: the stable offset, then the changelog up to its end as of after that, then a look whether the two
//! belong together.
//!
//! The order is what makes it right: once the *stable* offset is there, no transaction of a predecessor is open; the end is asked
//! for after that and includes control markers; the read is over by position, not by record.

use super::KeyedStage;
use super::written::time_of;
use crate::Error;
use crate::metrics::Restoring;
use crate::replay::{Replay, Target};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidemark_core::process::{Process, Reject};
use tidemark_log::{At, Batch, GroupOffset, TopicPartition};
use tidemark_schemas::wire;

/// How long the transaction of a predecessor may stay open. Brokers end one after its timeout, which is shorter.
const UNSTABLE_MAX: Duration = Duration::from_secs(120);
/// Entries that are handed to processes between two polls.
const ENTRIES_STEP: usize = 5_000;
/// How often a restore that takes long says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(3);

/// How far it is.
pub(super) enum Takeover {
    /// The stable offsets are to be fetched: asked since.
    Fetching(Instant),
    /// The changelog is being read.
    Reading(Reading),
    /// The last value of each entry is being handed to its process.
    Handing(Reading),
    /// Nothing is under way.
    Done,
}

/// What has been read.
pub(super) struct Reading {
    replay: Replay,
    /// Where each partition's reading began.
    from: BTreeMap<u32, i64>,
    /// The last value of each entry, by partition and key. In order, so that a restore is the same each time.
    entries: BTreeMap<(u32, Vec<u8>), Vec<u8>>,
    /// Records that were read.
    records: u64,
    began: Instant,
    told: Instant,
}

impl Takeover {
    pub(super) fn begin() -> Self {
        Self::Fetching(Instant::now())
    }
}

impl<P: Process> KeyedStage<P> {
    /// Goes on for a moment; true once the partitions can be read.
    pub(super) fn take_over(&mut self) -> Result<bool, Error> {
        match std::mem::replace(&mut self.takeover, Takeover::Done) {
            Takeover::Fetching(since) => self.takeover = self.fetch(since)?,
            Takeover::Reading(reading) => self.takeover = self.read(reading)?,
            Takeover::Handing(reading) => self.takeover = self.hand(reading)?,
            Takeover::Done => {}
        }
        Ok(matches!(self.takeover, Takeover::Done))
    }

    /// First the stable fetch, then the ends of the changelog: the other way round, a commit of the predecessor that is still
    /// open would come after the end and before the offset, and its entries would be missing for ever.
    fn fetch(&mut self, since: Instant) -> Result<Takeover, Error> {
        let committed = match self.fetch_committed() {
            Err(Error::Log(tidemark_log::Error::Unstable(_))) if since.elapsed() <= UNSTABLE_MAX => {
                return Ok(Takeover::Fetching(since));
            }
            committed => committed?,
        };
        self.check_partitions()?;
        let (starts, ends) = (self.changelog_at(At::Start)?, self.changelog_at(At::End)?);
        let firsts = self.log.offsets(&self.partitions(), At::Start)?;
        for (((owned, committed), end), first) in self.owned.iter_mut().zip(committed).zip(&ends).zip(firsts) {
            let Some(committed) = committed else {
                // Nothing was ever committed: to begin at the first record is right only where nothing was ever written.
                if *end > 0 {
                    return Err(self.plan.offsets_deleted());
                }
                owned.begin_at(first, 0);
                continue;
            };
            owned.begin_at(committed.offset, time_of(&committed.metadata).unwrap_or(0));
            owned.metadata = committed.metadata;
        }
        let from = self.owned.iter().zip(&starts).map(|(owned, start)| (owned.partition.partition, *start)).collect();
        let bounds = self.changelog().into_iter().zip(starts.iter().zip(&ends));
        let targets = bounds.map(|(partition, (&at, &end))| Target { partition, at, end }).collect();
        let replay = Replay::begin(self.log.as_ref(), targets)?;
        let (entries, now) = (BTreeMap::new(), Instant::now());
        Ok(Takeover::Reading(Reading { replay, from, entries, records: 0, began: now, told: now }))
    }

    fn fetch_committed(&self) -> Result<Vec<Option<GroupOffset>>, Error> {
        Ok(self.log.committed(&self.plan.group, &self.partitions())?)
    }

    fn partitions(&self) -> Vec<TopicPartition> {
        self.owned.iter().map(|owned| owned.partition.clone()).collect()
    }

    fn changelog(&self) -> Vec<TopicPartition> {
        let of = |partition| TopicPartition::new(self.plan.changelog.as_str(), partition);
        self.owned.iter().map(|owned| of(owned.partition.partition)).collect()
    }

    fn changelog_at(&self, at: At) -> Result<Vec<i64>, Error> {
        Ok(self.log.offsets(&self.changelog(), at)?)
    }

    /// Somebody may have added partitions to the input: they have no state, and keys have moved to them.
    fn check_partitions(&self) -> Result<(), Error> {
        let (topic, declared) = (&self.plan.spec.input.name, self.plan.spec.input.partitions);
        if self.owned.iter().all(|owned| owned.partition.partition < declared) {
            return Ok(());
        }
        let found = self.log.partitions(topic)?.unwrap_or(0);
        Err(Error::KeyedPartitions { topic: topic.clone(), found, declared })
    }

    fn read(&mut self, mut reading: Reading) -> Result<Takeover, Error> {
        let Reading { replay, entries, records, .. } = &mut reading;
        let is_over = replay.step(|batch| {
            *records += batch.records.len() as u64;
            take_in(entries, batch)
        })?;
        self.tell(&mut reading, is_over);
        Ok(if is_over { Takeover::Handing(reading) } else { Takeover::Reading(reading) })
    }

    fn hand(&mut self, mut reading: Reading) -> Result<Takeover, Error> {
        for _ in 0..ENTRIES_STEP {
            let Some(((partition, key), value)) = reading.entries.pop_first() else {
                self.verify()?;
                self.tell_restored(&reading);
                return Ok(Takeover::Done);
            };
            self.restore_entry(partition, &key, &value)?;
        }
        Ok(Takeover::Handing(reading))
    }

    fn restore_entry(&mut self, partition: u32, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let Some(owned) = self.owned.iter_mut().find(|owned| owned.partition.partition == partition) else {
            return Ok(());
        };
        let mut scratch = Vec::new();
        let restored = match self.entries.datum(value, &mut scratch) {
            // Of the registry, which says nothing of the entry: the next try asks it again.
            Err(reason @ wire::Error::Registry(_)) => {
                let topic = self.plan.changelog.clone();
                return Err(Error::Unreadable { topic, partition, offset: owned.next_offset, reason });
            }
            Err(reason) => Err(reason.to_string()),
            Ok((schema, datum)) => {
                owned.process.restore(key, schema, datum).map_err(|reject: Reject| reject.to_string())
            }
        };
        owned.written.set(key, value);
        restored.map_err(|reason| {
            let reason = format!("entry {:?}: {reason}", String::from_utf8_lossy(key));
            Error::Changelog { topic: self.plan.changelog.clone(), partition, reason }
        })
    }

    /// Holds what the changelog gave against what was committed with the offsets.
    fn verify(&self) -> Result<(), Error> {
        let differs = |owned: &&super::owned::Owned<P>| match owned.metadata.is_empty() {
            true => owned.written.count() > 0,
            false => owned.written.metadata(owned.time) != owned.metadata,
        };
        let Some(owned) = self.owned.iter().find(differs) else { return Ok(()) };
        self.still_ours()?;
        let (found, committed) = (owned.written.metadata(owned.time), &owned.metadata);
        let reason = match committed.is_empty() {
            true => "it holds entries, and the group's offset was set by something else".to_owned(),
            false => format!("its entries are {found:?} and {committed:?} was committed (time, number, digest)"),
        };
        Err(Error::Changelog { topic: self.plan.changelog.clone(), partition: owned.partition.partition, reason })
    }

    /// Whether the offsets are where they were: if not, somebody else has the partitions by now.
    fn still_ours(&self) -> Result<(), Error> {
        let committed = self.fetch_committed()?;
        let same = self.owned.iter().zip(&committed).all(|(owned, committed)| match committed {
            Some(at) => (owned.next_offset, &owned.metadata) == (at.offset, &at.metadata),
            None => owned.metadata.is_empty(),
        });
        let moved = || tidemark_log::Error::Retriable("somebody else has committed during the restore".into());
        if same { Ok(()) } else { Err(moved().into()) }
    }

    fn tell(&self, reading: &mut Reading, is_over: bool) {
        let elapsed = reading.began.elapsed();
        let is_time = reading.told.elapsed() >= TELL_EVERY;
        for target in reading.replay.targets() {
            let partition = target.partition.partition;
            let from = reading.from.get(&partition).copied().unwrap_or(0);
            let restoring = Restoring::of(reading.entries.len(), target.at - from, target.end - from, elapsed);
            self.metrics.process_restoring(partition, restoring);
            if is_time && !is_over {
                let Restoring { rows: entries, percent, seconds_left } = restoring;
                tracing::info!(partition, entries, percent, seconds_left, "restoring the state of a process");
            }
        }
        if is_time {
            reading.told = Instant::now();
        }
    }

    fn tell_restored(&self, reading: &Reading) {
        let process = self.plan.spec.name.as_str();
        for owned in &self.owned {
            let (partition, entries) = (owned.partition.partition, owned.written.count());
            let seconds = reading.began.elapsed().as_secs_f64();
            tracing::info!(process, partition, entries, seconds, "the state of a process is restored");
            self.metrics.process(partition, entries, 0);
        }
        self.metrics.process_not_restoring(self.owned.iter().map(|owned| owned.partition.partition));
        tracing::debug!(process, records = reading.records, "read from the changelog");
    }
}

/// Keeps the last value of each entry.
fn take_in(entries: &mut BTreeMap<(u32, Vec<u8>), Vec<u8>>, batch: &Batch<'_>) -> Result<(), Error> {
    for record in batch.records {
        tidemark_log::failpoint::hit("restored-record", batch.topic);
        let Some(key) = record.key else {
            let (topic, partition) = (batch.topic.to_owned(), batch.partition);
            let reason = format!("the record at offset {} has no key", record.offset);
            return Err(Error::Changelog { topic, partition, reason });
        };
        let entry = (batch.partition, key.to_vec());
        match record.value {
            Some(value) => drop(entries.insert(entry, value.to_vec())),
            None => drop(entries.remove(&entry)),
        }
    }
    Ok(())
}
