//! A member of a group with its producer, and a producer alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Inner;
use super::commit::By;
use super::group::{News, Seat};
use super::open::Course;
use super::reader::{Fetcher, cursors};
use super::state::{State, TopicNumber, deleted_topic};
use super::topic::check_id;
use crate::{Error, Event, GroupOffset, Member, MemberConfig, OnBatch, Produce, Producer, TopicPartition};

/// A member of a group.
pub(crate) struct EmbeddedMember {
    inner: Arc<Inner>,
    config: MemberConfig,
    epoch: u64,
    seat: Seat,
    /// What it was told that it owns.
    owned: Vec<TopicPartition>,
    left: bool,
    /// The topics that it reads, with their numbers once they are there.
    topics: Vec<(String, Option<TopicNumber>)>,
    fetcher: Fetcher,
}

impl EmbeddedMember {
    pub(crate) fn new(inner: Arc<Inner>, config: &MemberConfig) -> Result<Self, Error> {
        check_id("group", &config.group)?;
        check_id("member", &config.id)?;
        let mut state = inner.lock();
        let epoch = next_epoch(&mut state, &config.id);
        let seat = inner.join(&mut state, config);
        drop(state);
        let topics = config.topics.iter().map(|name| (name.clone(), None)).collect();
        let (config, owned, fetcher) = (config.clone(), Vec::new(), Fetcher::default());
        let mut member = Self { inner, config, epoch, seat, owned, left: false, topics, fetcher };
        let inner = Arc::clone(&member.inner);
        member.check_topics(&inner.lock())?;
        Ok(member)
    }

    /// Refuses to go on once a topic was deleted, whether or not there is one of its name again.
    fn check_topics(&mut self, state: &State) -> Result<(), Error> {
        for (name, number) in &mut self.topics {
            *number = number.or_else(|| state.topics.number(name));
        }
        check_topics(&self.topics, state)
    }

    /// What changed, if anything did.
    fn news(&mut self, state: &mut State) -> Result<Option<Event>, Error> {
        let now = self.inner.elapsed_ms();
        match self.inner.with_group(state, &self.config.group, |group, counts| {
            group.expire(now, counts);
            group.news(self.seat, now)
        }) {
            News::None => Ok(None),
            News::Assigned(partitions) => {
                self.fetcher = Fetcher::default();
                self.owned.clone_from(&partitions);
                Ok(Some(Event::Assigned(partitions)))
            }
            News::Revoking(partitions) => Ok(Some(Event::Revoking(partitions))),
            News::Gone if !self.owned.is_empty() => Ok(Some(Event::Lost(self.owned.clone()))),
            News::Gone => {
                self.rejoin(state)?;
                self.news(state)
            }
        }
    }

    /// Back into the group, unless a newer member took the id.
    fn rejoin(&mut self, state: &mut State) -> Result<(), Error> {
        let id = &self.config.id;
        check_epoch(state, id, self.epoch)?;
        if self.left {
            return Err(Error::Invalid(format!("member {id} has left its group: make a new one")));
        }
        self.seat = self.inner.join(state, &self.config);
        Ok(())
    }

    fn touch(&self, state: &mut State) {
        let now = self.inner.elapsed_ms();
        self.inner.with_group(state, &self.config.group, |group, _| group.touch(self.seat, now));
    }

    /// Marks the member as waiting in a poll; returns when it must look up again because another one is due to be put out.
    fn park(&self, state: &mut State) -> Option<Instant> {
        let deadline_ms = self.inner.with_group(state, &self.config.group, |group, _| {
            group.park(self.seat);
            group.next_deadline_ms()
        });
        deadline_ms.and_then(|ms| self.inner.opened.checked_add(Duration::from_millis(ms)))
    }

    fn refuse_foreign(&self, partitions: &[TopicPartition]) -> Result<(), Error> {
        match partitions.iter().find(|p| !self.owned.contains(p)) {
            Some(foreign) => Err(Error::Invalid(format!("{foreign} is not assigned to member {}", self.config.id))),
            None => Ok(()),
        }
    }
}

impl Member for EmbeddedMember {
    fn poll(&mut self, timeout: Duration, on_batch: OnBatch<'_>) -> Result<Event, Error> {
        let until = self.inner.poll_until(timeout);
        let inner = self.inner.clone();
        let mut state = inner.lock();
        self.touch(&mut state);
        loop {
            self.check_topics(&state)?;
            if let Some(event) = self.news(&mut state)? {
                return Ok(event);
            }
            let readable = self.fetcher.look(&state)?;
            let over = until.is_some_and(|until| Instant::now() >= until);
            if readable || over {
                self.touch(&mut state);
                drop(state);
                // The fold runs in here: the member is timed from before it to after it.
                self.fetcher.fetch(&inner, on_batch)?;
                self.touch(&mut inner.lock());
                return Ok(Event::Polled);
            }
            let deadline = self.park(&mut state);
            state = inner.wait(state, [until, deadline].into_iter().flatten().min());
            self.touch(&mut state);
        }
    }

    fn start(&mut self, from: &[(TopicPartition, i64)]) -> Result<(), Error> {
        let places: Vec<_> = from.iter().map(|(place, _)| place.clone()).collect();
        self.refuse_foreign(&places)?;
        let inner = self.inner.clone();
        let mut state = inner.lock();
        let started = cursors(&state, from)?;
        self.fetcher.cursors.retain(|c| !places.contains(&c.place));
        self.fetcher.cursors.extend(started);
        self.touch(&mut state);
        Ok(())
    }

    fn release(&mut self) -> Result<(), Error> {
        self.owned.clear();
        self.fetcher = Fetcher::default();
        let inner = self.inner.clone();
        let mut state = inner.lock();
        let now = inner.elapsed_ms();
        inner.with_group(&mut state, &self.config.group, |group, counts| group.release(self.seat, now, counts));
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition], paused: bool) -> Result<(), Error> {
        self.refuse_foreign(partitions)?;
        let named = self.fetcher.cursors.iter_mut().filter(|c| partitions.contains(&c.place));
        named.for_each(|c| c.paused = paused);
        Ok(())
    }

    fn position(&self, partition: &TopicPartition) -> Result<i64, Error> {
        self.fetcher.find(partition).map(|c| c.position)
    }

    fn end(&self, partition: &TopicPartition) -> Result<Option<i64>, Error> {
        let topic = self.fetcher.find(partition)?.topic;
        Ok(self.inner.lock().topics.partition(topic, partition.partition).map(|p| p.durable))
    }

    fn commit(&mut self, produce: Produce<'_>, offsets: &[GroupOffset]) -> Result<(), Error> {
        self.commit_by(Course::Now, produce, offsets)
    }

    fn leave(&mut self) -> Result<(), Error> {
        self.left = true;
        self.owned.clear();
        self.fetcher = Fetcher::default();
        let mut state = self.inner.lock();
        self.inner.with_group(&mut state, &self.config.group, |group, counts| group.leave(self.seat, counts));
        Ok(())
    }
}

impl EmbeddedMember {
    pub(crate) fn commit_by(
        &mut self,
        course: Course,
        produce: Produce<'_>,
        offsets: &[GroupOffset],
    ) -> Result<(), Error> {
        let Self { inner, config, epoch, seat, topics, .. } = &*self;
        let by = By { id: &config.id, group: &config.group, offsets };
        inner.commit(course, by, produce, |state| {
            check_topics(topics, state)?;
            check_epoch(state, &config.id, *epoch)?;
            // As Kafka's, a simulated group knows of a commit only through the offsets in it.
            if inner.simulation.is_some() && offsets.is_empty() {
                return Ok(());
            }
            let now = inner.elapsed_ms();
            let refusal = inner.with_group(state, &config.group, |group, counts| {
                group.expire(now, counts);
                group.refusal(*seat, offsets.iter().map(|o| &o.partition))
            });
            match refusal {
                Some(why) => Err(Error::Fenced(format!("member {} of group {}: {why}", config.id, config.group))),
                None => Ok(()),
            }
        })?;
        self.touch(&mut self.inner.lock());
        Ok(())
    }

    /// Goes away without a word, as a process does that is killed: the group finds out when the session expires.
    pub(crate) fn abandon(&mut self) {
        self.left = true;
    }

    /// Hands over at most so many records of a partition in a poll, or without bound.
    pub(crate) fn read_at_most(&mut self, records: Option<usize>) {
        self.fetcher.records_max = records;
    }
}

impl Drop for EmbeddedMember {
    fn drop(&mut self) {
        // Within one process nobody need wait for the session to expire.
        if !self.left {
            let _ = self.leave();
        }
    }
}

/// A producer without a group.
pub(crate) struct EmbeddedProducer {
    inner: Arc<Inner>,
    id: String,
    epoch: u64,
}

impl EmbeddedProducer {
    pub(crate) fn new(inner: Arc<Inner>, id: &str) -> Result<Self, Error> {
        check_id("producer", id)?;
        let epoch = next_epoch(&mut inner.lock(), id);
        Ok(Self { inner, id: id.to_owned(), epoch })
    }
}

impl Producer for EmbeddedProducer {
    fn commit(&mut self, produce: Produce<'_>) -> Result<(), Error> {
        self.commit_by(Course::Now, produce)
    }
}

impl EmbeddedProducer {
    pub(crate) fn commit_by(&mut self, course: Course, produce: Produce<'_>) -> Result<(), Error> {
        let Self { inner, id, epoch } = self;
        let by = By { id, group: "", offsets: &[] };
        inner.commit(course, by, produce, |state| check_epoch(state, id, *epoch))
    }
}

fn check_topics(topics: &[(String, Option<TopicNumber>)], state: &State) -> Result<(), Error> {
    let gone = topics.iter().find(|(_, number)| number.is_some_and(|number| state.topics.at(number).is_none()));
    gone.map_or(Ok(()), |(name, _)| Err(deleted_topic(name)))
}

fn next_epoch(state: &mut State, id: &str) -> u64 {
    let epoch = state.epochs.entry(id.to_owned()).or_default();
    *epoch += 1;
    *epoch
}

fn check_epoch(state: &State, id: &str, epoch: u64) -> Result<(), Error> {
    match state.epochs.get(id) {
        Some(&newest) if newest > epoch => Err(Error::Fenced(format!("a newer one took the id {id}"))),
        _ => Ok(()),
    }
}
