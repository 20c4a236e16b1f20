//! The simulated log: the embedded log's own logic on a disk in memory that loses what was not synced, with faults.
//!
//! Deterministic: the same seed and the same calls give the same answers. Time is moved by hand and by the calls themselves;
//! nothing waits and no thread runs. A poll that has nothing to hand over moves time on by its timeout.
//!
//! What a real cluster does to its clients, it does by the dice of [`Faults`]: calls that fail, answers that are lost,
//! commits that take effect after their writer has been given up ([`Faults::open`], [`Faults::delayed`]), members fenced for
//! no reason of theirs, slow calls, small polls, syncs that fail. Commits end with control markers that take offsets, and an
//! open commit holds read_committed readers back, as Kafka's do. [`SimulatedLog::crash`] loses what no sync has made durable
//! and every member, reader and producer.

mod dice;
mod handles;
mod shared;
mod time;

use std::sync::Arc;

pub use dice::{Dice, Faults, Injected};
pub use time::Time;

use self::handles::{SimulatedMember, SimulatedProducer, SimulatedReader};
use self::shared::Shared;
use crate::{At, Error, GroupOffset, Log, Member, MemberConfig, Producer, Reader, TopicPartition, TopicSpec};

/// A log in memory that fails as real ones do.
pub struct SimulatedLog {
    shared: Arc<Shared>,
}

impl SimulatedLog {
    /// An empty log without faults.
    ///
    /// # Errors
    /// None are known: the disk is empty.
    pub fn new(time: Arc<Time>, seed: u64) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self { shared: Arc::new(Shared::new(time, seed)?) }))
    }

    /// Throws the dice anew from `seed` on, with these faults.
    pub fn set(&self, seed: u64, faults: Faults) {
        self.shared.set(seed, faults);
    }

    /// How often each fault has struck.
    pub fn injected(&self) -> Injected {
        self.shared.injected()
    }

    /// A sync has failed: nothing can be written before [`SimulatedLog::crash`].
    pub fn is_broken(&self) -> bool {
        self.shared.is_broken()
    }

    /// Power off and on: what was not synced is lost but a prefix of it, open commits are aborted, and every member, reader
    /// and producer fails from here on.
    ///
    /// # Errors
    /// The disk cannot be read any more: a defect.
    pub fn crash(&self) -> Result<(), Error> {
        self.shared.crash()
    }

    /// Ends every open commit and delivers every delayed one. True when there was any.
    ///
    /// # Errors
    /// The log is broken.
    pub fn settle(&self) -> Result<bool, Error> {
        self.shared.settle_all()
    }

    /// Applies retention and compaction now.
    ///
    /// # Errors
    /// The log is broken.
    pub fn maintain(&self) -> Result<(), Error> {
        self.shared.log().maintain()
    }
}

impl Log for SimulatedLog {
    fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), Error> {
        self.shared.enter()?.create_topics(topics)
    }

    fn delete_topics(&self, names: &[String]) -> Result<(), Error> {
        self.shared.enter()?.delete_topics(names)
    }

    fn delete_groups(&self, groups: &[String]) -> Result<(), Error> {
        self.shared.enter()?.delete_groups(groups)
    }

    fn partitions(&self, topic: &str) -> Result<Option<u32>, Error> {
        self.shared.enter()?.partitions(topic)
    }

    fn offsets(&self, partitions: &[TopicPartition], at: At) -> Result<Vec<i64>, Error> {
        self.shared.enter()?.offsets(partitions, at)
    }

    fn committed(&self, group: &str, partitions: &[TopicPartition]) -> Result<Vec<Option<GroupOffset>>, Error> {
        let log = self.shared.enter()?;
        self.shared.settle_group(group, partitions)?;
        log.committed(group, partitions)
    }

    fn init_group(&self, group: &str, offsets: &[GroupOffset]) -> Result<(), Error> {
        self.shared.enter()?.init_group(group, offsets)
    }

    fn member(&self, config: &MemberConfig) -> Result<Box<dyn Member>, Error> {
        Ok(Box::new(SimulatedMember::join(&self.shared, config)?))
    }

    fn reader(&self, from: &[(TopicPartition, i64)]) -> Result<Box<dyn Reader>, Error> {
        Ok(Box::new(SimulatedReader::new(&self.shared, from)?))
    }

    fn producer(&self, id: &str) -> Result<Box<dyn Producer>, Error> {
        Ok(Box::new(SimulatedProducer::new(&self.shared, id)?))
    }
}
