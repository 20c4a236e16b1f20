//! The embedded log: one process, no servers, durable on local disk.
//!
//! A commit is one atomic write, synced before it is acknowledged and before anybody reads it; writers that come together
//! share a sync. Groups live in memory, since all members are of this process; their committed offsets are on disk.
//!
//! Invariants:
//! - a partition has one owner at most, and only its owner moves its group's offset: both are judged under the one lock
//!   under which offsets are given;
//! - what a reader has seen is durable;
//! - a partition's offsets and append times never go back; retention moves its start, compaction leaves gaps.
//!
//! Limits: a record of 1 MiB, 10,000 partitions for a topic, 4,000 bytes of metadata for an offset.

mod assign;
mod batch;
mod commit;
mod compact;
mod delete;
mod group;
mod layout;
mod lookup;
mod maintain;
mod member;
mod memory;
mod open;
mod reader;
mod state;
mod storage;
mod topic;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use batch::header;
pub(crate) use member::{EmbeddedMember, EmbeddedProducer};
pub(crate) use memory::Memory;
pub(crate) use open::Course;
pub(crate) use reader::EmbeddedReader;

use self::commit::{accept, check_offsets, stored_offset};
use self::group::{Counts, Group, Seat};
use self::maintain::Maintenance;
use self::state::{Accepted, State};
use self::storage::Storage;
use crate::{At, Clock, Error, GroupOffset, Log, Member, MemberConfig, Producer, Reader, TopicPartition, TopicSpec};

/// A log on local disk.
pub struct EmbeddedLog {
    inner: Arc<Inner>,
    maintenance: Option<Maintenance>,
}

/// What the log, its members, readers and producers share.
pub(crate) struct Inner {
    storage: Storage,
    clock: Clock,
    state: Mutex<State>,
    /// Something became durable, or a group changed.
    changed: Condvar,
    /// Sessions are timed from here with the monotonic clock: a step of the wall clock must put nobody out.
    opened: Instant,
    /// One at a time cleans up.
    cleaning: Mutex<()>,
    /// Bytes deleted whose space the storage was not asked to give back yet.
    unreclaimed: AtomicUsize,
    simulation: Option<Simulation>,
}

/// What is otherwise in a simulation: time is moved by hand, nothing waits, no thread runs, and each commit ends with a
/// control marker that takes an offset of each of its partitions, as Kafka's do.
pub(crate) struct Simulation {
    /// Milliseconds that never go back.
    pub(crate) elapsed_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl EmbeddedLog {
    /// Opens the log in `dir`, making it if it is not there; `clock` stamps the records and ages them.
    ///
    /// The directory belongs to one process at a time: another one is refused with an error that names the owner. It stays
    /// taken until the log and all its members, readers and producers are dropped. A thread of the log's own applies
    /// retention and compaction every 30 s.
    pub fn open(dir: &Path, clock: Clock) -> Result<Arc<Self>, Error> {
        let inner = Inner::load(Storage::open(dir)?, clock, None)?;
        let maintenance = Some(Maintenance::start(&inner)?);
        Ok(Arc::new(Self { inner, maintenance }))
    }

    /// Opens the log on a disk in memory.
    pub(crate) fn simulated(disk: &Arc<Memory>, clock: Clock, simulation: Simulation) -> Result<Arc<Self>, Error> {
        let inner = Inner::load(Storage::in_memory(Arc::clone(disk)), clock, Some(simulation))?;
        Ok(Arc::new(Self { inner, maintenance: None }))
    }

    /// Applies retention and compaction now, to every topic; returns when done. Appends and reads go on meanwhile.
    pub fn maintain(&self) -> Result<(), Error> {
        let never = AtomicBool::new(false);
        self.inner.maintain(self.maintenance.as_ref().map_or(&never, Maintenance::stopping))
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }
}

impl Inner {
    fn load(storage: Storage, clock: Clock, simulation: Option<Simulation>) -> Result<Arc<Self>, Error> {
        let state = Mutex::new(state::load(&storage)?);
        let (changed, opened) = (Condvar::new(), Instant::now());
        let (cleaning, unreclaimed) = (Mutex::new(()), AtomicUsize::new(0));
        Ok(Arc::new(Self { storage, clock, state, changed, opened, cleaning, unreclaimed, simulation }))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock panics by design; if it does, going on beats taking every thread down with it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change, until the given time at most.
    pub(crate) fn wait<'i>(&self, state: MutexGuard<'i, State>, until: Option<Instant>) -> MutexGuard<'i, State> {
        let Some(until) = until else {
            return self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        let rest = until.saturating_duration_since(Instant::now());
        self.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Milliseconds since the log was opened.
    pub(crate) fn elapsed_ms(&self) -> u64 {
        match &self.simulation {
            None => u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX),
            Some(simulation) => (simulation.elapsed_ms)(),
        }
    }

    /// When a poll that may wait for `timeout` is over; `None` is never.
    pub(crate) fn poll_until(&self, timeout: Duration) -> Option<Instant> {
        let timeout = if self.simulation.is_some() { Duration::ZERO } else { timeout };
        Instant::now().checked_add(timeout)
    }

    /// Lets `act` look at or change a group, and wakes everybody when its generation or membership moved.
    pub(crate) fn with_group<T>(
        &self,
        state: &mut State,
        name: &str,
        act: impl FnOnce(&mut Group, Counts<'_>) -> T,
    ) -> T {
        let State { groups, topics, .. } = state;
        let group = groups.entry(name.to_owned()).or_default();
        let before = group.version();
        let result = act(group, &|topic| topics.count(topic));
        if group.version() != before {
            self.changed.notify_all();
        }
        result
    }

    fn join(&self, state: &mut State, config: &MemberConfig) -> Seat {
        let now = self.elapsed_ms();
        self.with_group(state, &config.group, |group, counts| {
            group.expire(now, counts);
            group.join(config, now, counts)
        })
    }

    fn regroup(&self, state: &mut State, topics: &[&str]) {
        let groups: Vec<String> = state.groups.keys().cloned().collect();
        for name in groups {
            self.with_group(state, &name, |group, counts| group.topics_changed(topics, counts));
        }
    }
}

impl Log for EmbeddedLog {
    fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), Error> {
        let mut state = self.inner.lock();
        let mut write = self.inner.storage.write();
        let (mut grown, mut added) = (Vec::new(), state.topics.next());
        for (index, spec) in topics.iter().enumerate() {
            topic::check(spec)?;
            if topics.iter().skip(index + 1).any(|other| other.name == spec.name) {
                return Err(Error::Invalid(format!("topic {} is asked for twice", spec.name)));
            }
            let existing = state.topics.get(&spec.name).map(|t| &t.spec);
            existing.map_or(Ok(()), |existing| topic::check_change(existing, spec))?;
            let number = state.topics.number(&spec.name).unwrap_or_else(|| {
                added += 1;
                added - 1
            });
            if existing != Some(spec) {
                write.put_topic(number, spec);
            }
            if spec.partitions > existing.map_or(0, |e| e.partitions) {
                grown.push(spec.name.as_str());
            }
        }
        let written = write.apply().and_then(|()| self.inner.storage.sync());
        written.map_err(Error::Retriable)?;
        topics.iter().for_each(|spec| state.topics.put(spec.clone()));
        self.inner.regroup(&mut state, &grown);
        Ok(())
    }

    fn delete_topics(&self, names: &[String]) -> Result<(), Error> {
        self.inner.delete_topics(names)
    }

    fn delete_groups(&self, groups: &[String]) -> Result<(), Error> {
        self.inner.delete_groups(groups)
    }

    fn partitions(&self, topic: &str) -> Result<Option<u32>, Error> {
        Ok(self.inner.lock().topics.get(topic).map(|t| t.spec.partitions))
    }

    fn offsets(&self, partitions: &[TopicPartition], at: At) -> Result<Vec<i64>, Error> {
        partitions.iter().map(|partition| self.inner.offset(partition, at)).collect()
    }

    fn committed(&self, group: &str, partitions: &[TopicPartition]) -> Result<Vec<Option<GroupOffset>>, Error> {
        let state = self.inner.lock();
        let of_group = state.offsets.get(group);
        let one = |place: &TopicPartition| {
            let number = state.topics.number(&place.topic)?;
            let (offset, metadata) = of_group?.get(&(number, place.partition))?;
            Some(GroupOffset { partition: place.clone(), offset: *offset, metadata: metadata.clone() })
        };
        let found = partitions.iter().map(one).collect();
        // What is there may be on its way to the disk still.
        let ticket = state.queue.accepted;
        self.inner.wait_durable(state, ticket).map(drop)?;
        Ok(found)
    }

    fn init_group(&self, group: &str, offsets: &[GroupOffset]) -> Result<(), Error> {
        topic::check_id("group", group)?;
        check_offsets(offsets)?;
        let mut state = self.inner.lock();
        self.inner.check_failed(&state)?;
        let mut accepted = Accepted::default();
        for offset in offsets {
            let stored = stored_offset(&state, group, offset)?;
            let known = state.offsets.get(group).is_some_and(|g| g.contains_key(&(stored.1, stored.2)));
            if !known {
                accepted.offsets.push(stored);
            }
        }
        let ticket = accept(&mut state, accepted);
        self.inner.wait_durable(state, ticket).map(drop)
    }

    fn member(&self, config: &MemberConfig) -> Result<Box<dyn Member>, Error> {
        Ok(Box::new(EmbeddedMember::new(self.inner.clone(), config)?))
    }

    fn reader(&self, from: &[(TopicPartition, i64)]) -> Result<Box<dyn Reader>, Error> {
        Ok(Box::new(EmbeddedReader::new(self.inner.clone(), from)?))
    }

    fn producer(&self, id: &str) -> Result<Box<dyn Producer>, Error> {
        Ok(Box::new(EmbeddedProducer::new(self.inner.clone(), id)?))
    }
}
