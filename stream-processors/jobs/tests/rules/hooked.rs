//! The embedded log with a group whose offsets a test moves, and a hook before what a stage asks of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::{
    At, Error, Event, GroupOffset, Log, Member, MemberConfig, OnBatch, Produce, Producer, Reader, TopicPartition,
    TopicSpec,
};

/// What a stage asks the log for before it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    Committed,
    End,
}

type Hook = Box<dyn FnMut(Ask) -> Option<Error> + Send>;

/// The embedded log, with a group whose offsets the test keeps, and a hook before each question.
pub(crate) struct Hooked {
    pub(crate) log: Arc<EmbeddedLog>,
    pub(crate) committed: Mutex<BTreeMap<(String, u32), GroupOffset>>,
    hook: Mutex<Option<Hook>>,
}

impl Hooked {
    pub(crate) fn new(log: Arc<EmbeddedLog>) -> Self {
        Self { log, committed: Mutex::default(), hook: Mutex::new(None) }
    }

    pub(crate) fn before(&self, hook: impl FnMut(Ask) -> Option<Error> + Send + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
    }

    fn ask(&self, ask: Ask) -> Result<(), Error> {
        // Taken out while it runs: it may ask the log itself.
        let taken = self.hook.lock().unwrap().take();
        let Some(mut hook) = taken else { return Ok(()) };
        let answer = hook(ask);
        self.hook.lock().unwrap().get_or_insert(hook);
        answer.map_or(Ok(()), Err)
    }
}

impl Log for Hooked {
    fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), Error> {
        self.log.create_topics(topics)
    }
    fn delete_topics(&self, names: &[String]) -> Result<(), Error> {
        self.log.delete_topics(names)
    }
    fn delete_groups(&self, groups: &[String]) -> Result<(), Error> {
        self.log.delete_groups(groups)
    }
    fn partitions(&self, topic: &str) -> Result<Option<u32>, Error> {
        self.log.partitions(topic)
    }
    fn offsets(&self, partitions: &[TopicPartition], at: At) -> Result<Vec<i64>, Error> {
        if at == At::End && partitions.iter().any(|partition| partition.topic.ends_with("changelog")) {
            self.ask(Ask::End)?;
        }
        self.log.offsets(partitions, at)
    }
    fn committed(&self, group: &str, partitions: &[TopicPartition]) -> Result<Vec<Option<GroupOffset>>, Error> {
        self.ask(Ask::Committed)?;
        let committed = self.committed.lock().unwrap();
        Ok(partitions.iter().map(|at| committed.get(&(group.to_owned(), at.partition)).cloned()).collect())
    }
    fn init_group(&self, _: &str, _: &[GroupOffset]) -> Result<(), Error> {
        Ok(())
    }
    fn member(&self, config: &MemberConfig) -> Result<Box<dyn Member>, Error> {
        self.log.member(config)
    }
    fn reader(&self, from: &[(TopicPartition, i64)]) -> Result<Box<dyn Reader>, Error> {
        self.log.reader(from)
    }
    fn producer(&self, id: &str) -> Result<Box<dyn Producer>, Error> {
        self.log.producer(id)
    }
}

/// A member that is asked for nothing that matters here.
pub(crate) struct Nobody;

impl Member for Nobody {
    fn poll(&mut self, _: Duration, _: OnBatch<'_>) -> Result<Event, Error> {
        Ok(Event::Polled)
    }
    fn start(&mut self, _: &[(TopicPartition, i64)]) -> Result<(), Error> {
        Ok(())
    }
    fn release(&mut self) -> Result<(), Error> {
        Ok(())
    }
    fn pause(&mut self, _: &[TopicPartition], _: bool) -> Result<(), Error> {
        Ok(())
    }
    fn position(&self, _: &TopicPartition) -> Result<i64, Error> {
        Ok(0)
    }
    fn end(&self, _: &TopicPartition) -> Result<Option<i64>, Error> {
        Ok(None)
    }
    fn commit(&mut self, _: Produce<'_>, _: &[GroupOffset]) -> Result<(), Error> {
        Ok(())
    }
    fn leave(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
