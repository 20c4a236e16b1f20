//! A log whose producers can be told to fail, to stall, and to say how much they commit.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use tidemark_log::{
    At, Error, GroupOffset, Log, Member, MemberConfig, Produce, Producer, Reader, TopicPartition, TopicSpec,
};

/// What is asked of it, and what it has seen.
#[derive(Default)]
pub(crate) struct Switches {
    /// So many of the next commits fail.
    pub(crate) fail: AtomicU32,
    /// Producers that were made.
    pub(crate) producers: AtomicU32,
    /// Commits that went through.
    pub(crate) commits: AtomicU64,
    /// While it is set no commit ends.
    held: Mutex<bool>,
    released: Condvar,
    /// A commit waits.
    pub(crate) waits: AtomicBool,
}

impl Switches {
    pub(crate) fn hold(&self, hold: bool) {
        *self.held.lock().unwrap() = hold;
        self.released.notify_all();
    }

    fn pass(&self) {
        let mut held = self.held.lock().unwrap();
        while *held {
            self.waits.store(true, Ordering::SeqCst);
            held = self.released.wait(held).unwrap();
        }
    }
}

pub(crate) struct FaultyLog {
    pub(crate) inner: Arc<dyn Log>,
    pub(crate) switches: Arc<Switches>,
}

struct FaultyProducer {
    inner: Box<dyn Producer>,
    switches: Arc<Switches>,
}

impl Producer for FaultyProducer {
    fn commit(&mut self, produce: Produce<'_>) -> Result<(), Error> {
        self.switches.pass();
        let one_less = |left: u32| left.checked_sub(1);
        if self.switches.fail.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() {
            return Err(Error::Indefinite("told to fail".into()));
        }
        self.switches.commits.fetch_add(1, Ordering::SeqCst);
        self.inner.commit(produce)
    }
}

impl Log for FaultyLog {
    fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), Error> {
        self.inner.create_topics(topics)
    }
    fn delete_topics(&self, names: &[String]) -> Result<(), Error> {
        self.inner.delete_topics(names)
    }
    fn delete_groups(&self, groups: &[String]) -> Result<(), Error> {
        self.inner.delete_groups(groups)
    }
    fn partitions(&self, topic: &str) -> Result<Option<u32>, Error> {
        self.inner.partitions(topic)
    }
    fn offsets(&self, partitions: &[TopicPartition], at: At) -> Result<Vec<i64>, Error> {
        self.inner.offsets(partitions, at)
    }
    fn committed(&self, group: &str, partitions: &[TopicPartition]) -> Result<Vec<Option<GroupOffset>>, Error> {
        self.inner.committed(group, partitions)
    }
    fn init_group(&self, group: &str, offsets: &[GroupOffset]) -> Result<(), Error> {
        self.inner.init_group(group, offsets)
    }
    fn member(&self, config: &MemberConfig) -> Result<Box<dyn Member>, Error> {
        self.inner.member(config)
    }
    fn reader(&self, from: &[(TopicPartition, i64)]) -> Result<Box<dyn Reader>, Error> {
        self.inner.reader(from)
    }
    fn producer(&self, id: &str) -> Result<Box<dyn Producer>, Error> {
        self.switches.producers.fetch_add(1, Ordering::SeqCst);
        let switches = Arc::clone(&self.switches);
        Ok(Box::new(FaultyProducer { inner: self.inner.producer(id)?, switches }))
    }
}
