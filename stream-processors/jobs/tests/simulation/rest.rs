//! A run comes to rest, and what its topics hold then.

use std::collections::BTreeMap;
use std::time::Duration;

use tidemark_log::simulated::Faults;
use tidemark_log::{At, Log, TopicPartition};

use crate::world::{ROLES, Role, World};

/// Steps without an error after which a thread has taken over what is its own.
const SETTLED_STEPS: u32 = 8;
/// Within which everything comes to rest that ever does: whichever is more.
const REST_MS: u64 = 60_000;
const ROUNDS: u32 = 600;

impl World<'_> {
    /// Ends all faults, lets everybody run until nothing is left to do, then stops stage after stage.
    pub(crate) fn rest(&mut self) -> Result<(), String> {
        if self.log.is_broken() {
            self.crash_log()?;
        }
        self.log.set(0, Faults::default());
        self.views.mend();
        self.log.settle().map_err(|e| e.to_string())?;
        for process in 0..self.processes.len() {
            self.start(process);
            self.processes[process].frozen_until_ms = 0;
            self.processes[process].disk.fail_after(None);
        }
        for role in ROLES {
            self.until_read(role)?;
            self.finish(role)?;
        }
        self.keep_time();
        match self.log.settle().map_err(|e| e.to_string())? {
            true => Err("a commit was still open at rest".to_owned()),
            false => Ok(()),
        }
    }

    /// Everybody steps until the group of the role has nothing left to read.
    fn until_read(&mut self, role: Role) -> Result<(), String> {
        // Where memory is short, each partial waits for a checkpoint: that takes rounds when they are long, and time when not.
        let until = self.time.elapsed_ms() + REST_MS;
        for round in 0.. {
            if round >= ROUNDS && self.time.elapsed_ms() > until {
                break;
            }
            for at in 0..self.threads.len() {
                self.step(at)?;
            }
            (0..self.processes.len()).try_for_each(|process| self.follow(process))?;
            // Time goes by even when every thread waits to try again.
            self.time.pass(10);
            if round % 4 == 3 && self.settled(role) && self.behind(role)?.is_none() {
                return Ok(());
            }
        }
        let behind = self.behind(role)?.unwrap_or_default();
        let status: Vec<_> = self.processes.iter().map(|process| process.metrics.status().to_string()).collect();
        let origins: Vec<_> = self.processes.iter().map(|process| process.metrics.origins()).collect();
        Err(format!("{} did not come to rest: {behind}\n{}\n{origins:?}", role.name(), status.join("\n")))
    }

    /// Whether every thread of the role has been at work for a while: time enough to own something and to say so.
    fn settled(&self, role: Role) -> bool {
        self.threads.iter().filter(|thread| thread.role == role).all(|thread| thread.steps >= SETTLED_STEPS)
    }

    /// Every thread of the role commits and leaves.
    fn finish(&mut self, role: Role) -> Result<(), String> {
        for thread in self.threads.iter_mut().filter(|thread| thread.role == role) {
            thread.finished = true;
            if let Some(stage) = thread.stage.take() {
                stage.finish().map_err(|e| format!("{} cannot finish: {e}", thread.config.member.id))?;
            }
        }
        match self.behind(role)? {
            Some(what) => Err(format!("{} stopped and left something unread: {what}", role.name())),
            None => Ok(()),
        }
    }

    /// A partition of the role's topics with records that its group has not committed, if there is one.
    pub(crate) fn behind(&self, role: Role) -> Result<Option<String>, String> {
        let topics = match role {
            Role::Partial => self.config.topics(),
            Role::Merge => vec![self.plan.partials.as_str()],
            Role::Writer => vec![self.plan.view.as_str()],
        };
        let fail = |e: tidemark_log::Error| e.to_string();
        let mut places = Vec::new();
        for topic in topics {
            let count = self.log.partitions(topic).map_err(fail)?.unwrap_or(0);
            places.extend((0..count).map(|partition| TopicPartition::new(topic, partition)));
        }
        let committed = self.log.committed(&self.plan.group(role.name()), &places).map_err(fail)?;
        let ends = self.log.offsets(&places, At::End).map_err(fail)?;
        let starts = self.log.offsets(&places, At::Start).map_err(fail)?;
        for (((place, committed), end), start) in places.into_iter().zip(committed).zip(ends).zip(starts) {
            let Some(committed) = committed else { return Ok(Some(format!("{place} has no offset"))) };
            let at = committed.offset;
            if at > end {
                return Err(format!("{place}: {at} is committed, the end is {end}"));
            }
            if at < end && !self.records(&place, at.max(start), end)?.is_empty() {
                return Ok(Some(format!("{place} is committed up to {at} of {end}")));
            }
        }
        Ok(None)
    }

    /// What a read_committed reader sees of a partition from an offset on.
    pub(crate) fn records(&self, place: &TopicPartition, from: i64, end: i64) -> Result<Vec<Seen>, String> {
        let fail = |e: tidemark_log::Error| e.to_string();
        let mut reader = self.log.reader(&[(place.clone(), from)]).map_err(fail)?;
        let mut seen = Vec::new();
        for _ in 0..100_000 {
            if reader.position(place).map_err(fail)? >= end {
                return Ok(seen);
            }
            let mut take = |batch: tidemark_log::Batch<'_>| {
                seen.extend(batch.records.iter().map(|record| Seen {
                    offset: record.offset,
                    appended_at: record.timestamp,
                    serial: record.headers.get("serial").and_then(|n| Some(u64::from_be_bytes(n.try_into().ok()?))),
                    key: record.key.map(<[u8]>::to_vec),
                    value: record.value.map(<[u8]>::to_vec),
                }));
            };
            reader.poll(Duration::ZERO, &mut take).map_err(fail)?;
        }
        Err(format!("{place} cannot be read from {from} to its end {end}"))
    }

    /// All of a topic.
    pub(crate) fn topic(&self, topic: &str) -> Result<BTreeMap<u32, Vec<Seen>>, String> {
        let fail = |e: tidemark_log::Error| e.to_string();
        let count = self.log.partitions(topic).map_err(fail)?.unwrap_or(0);
        let mut all = BTreeMap::new();
        for partition in 0..count {
            let place = [TopicPartition::new(topic, partition)];
            let start = self.log.offsets(&place, At::Start).map_err(fail)?[0];
            let end = self.log.offsets(&place, At::End).map_err(fail)?[0];
            all.insert(partition, self.records(&place[0], start, end)?);
        }
        Ok(all)
    }
}

/// A record as a reader sees it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) offset: i64,
    pub(crate) appended_at: i64,
    /// Which one of those that publishers sent.
    pub(crate) serial: Option<u64>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
}
