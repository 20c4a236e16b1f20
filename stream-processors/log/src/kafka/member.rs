//! A group member: a consumer and its transactional producer.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::native::Fault;
use super::native::consumer::Rebalance;
use super::reader::Reads;
use super::transaction::Transactions;
use super::{Cluster, check_metadata};
use crate::{Error, Event, GroupOffset, Member, MemberConfig, OnBatch, Produce, TopicPartition};

/// A member hears of a rebalance, and so takes over from one that has left, at its next heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long leaving may take: after that the session's end does it.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A member of a consumer group.
pub(super) struct KafkaMember {
    reads: Reads,
    transactions: Transactions,
    cluster: Cluster,
    group: String,
    /// Owned, so that offsets may be committed: also while they are to be given up, until they are.
    owned: BTreeSet<TopicPartition>,
    paused: BTreeSet<TopicPartition>,
    /// How long a member may be silent, and since when it is.
    session: Duration,
    heard: Instant,
    /// Reported and not yet answered.
    unanswered: Option<Event>,
    /// After an error nothing works any more.
    broken: Option<Error>,
}

impl KafkaMember {
    pub(super) fn join(cluster: &Cluster, config: &MemberConfig) -> Result<Self, Error> {
        let session = config.session_timeout;
        // Shorter than the session: a stalled member's transaction is over before its partitions have a new owner. The
        // producer comes first: it fences its predecessor, and ends a transaction that would hold up the stable offset fetch.
        let transactions = Transactions::open(cluster, &config.id, session * 4 / 5)?;
        let heartbeat = (session / 4).min(HEARTBEAT);
        let (session_ms, heartbeat_ms) = (session.as_millis().to_string(), heartbeat.as_millis().to_string());
        let reads = Reads::new(
            cluster,
            &[
                ("client.id", &config.id),
                ("group.id", &config.group),
                ("group.instance.id", &config.id),
                ("group.protocol", "classic"),
                ("partition.assignment.strategy", "range,roundrobin"),
                ("session.timeout.ms", &session_ms),
                ("heartbeat.interval.ms", &heartbeat_ms),
                // Heartbeats come from a thread of librdkafka: this is what takes out a member that hangs.
                ("max.poll.interval.ms", &session_ms),
            ],
        )?;
        let joined = reads.consumer.subscribe(&config.topics);
        joined.map_err(|fault| cluster.error(&format!("joining group {}", config.group), &fault))?;
        Ok(Self {
            reads,
            transactions,
            cluster: cluster.clone(),
            group: config.group.clone(),
            owned: BTreeSet::new(),
            paused: BTreeSet::new(),
            session,
            heard: Instant::now(),
            unanswered: None,
            broken: None,
        })
    }

    fn usable(&self) -> Result<(), Error> {
        self.broken.clone().map_or(Ok(()), Err)
    }

    /// Remembers the first error.
    fn keep<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        if let (None, Err(error)) = (&self.broken, &result) {
            self.broken = Some(error.clone());
        }
        result
    }

    fn group_error(&self, fault: &Fault) -> Error {
        self.cluster.error(&format!("group {}", self.group), fault)
    }

    fn poll_once(&mut self, timeout: Duration, on_batch: OnBatch<'_>) -> Result<Event, Error> {
        let deadline = Instant::now() + timeout;
        let silent = self.heard.elapsed() > self.session;
        let mut handed_over = false;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut note = |batch: crate::Batch<'_>| {
                handed_over = true;
                on_batch(batch);
            };
            self.reads.poll(left, &mut note)?;
            if let Some(rebalance) = self.reads.consumer.rebalance()
                && let Some(event) = self.report(rebalance, silent)?
            {
                return Ok(event);
            }
            if let Some(event) = &self.unanswered {
                return Ok(event.clone());
            }
            if handed_over || left.is_zero() {
                return Ok(Event::Polled);
            }
        }
    }

    /// What the caller is told of a rebalance; `None` when there is nothing for it to do.
    fn report(&mut self, rebalance: Rebalance, silent: bool) -> Result<Option<Event>, Error> {
        match rebalance {
            Rebalance::Assign(partitions) => {
                // Answered with nothing to read yet: the member is in the group, hears of the next rebalance during a long
                // restore, and reads each partition from where `start` says.
                let answered = self.reads.consumer.assign([]);
                answered.map_err(|fault| self.group_error(&fault))?;
                self.owned = partitions.iter().cloned().collect();
                Ok(Some(Event::Assigned(partitions)))
            }
            Rebalance::Revoke(partitions) if partitions.is_empty() => self.give_up().map(|()| None),
            // A revocation that waited for longer than the group waits for its answer.
            Rebalance::Revoke(partitions) | Rebalance::Lost(partitions) if silent => {
                self.owned.clear();
                self.await_answer(Event::Lost(partitions))
            }
            Rebalance::Revoke(partitions) => self.await_answer(Event::Revoking(partitions)),
            Rebalance::Lost(partitions) => {
                self.owned.clear();
                self.await_answer(Event::Lost(partitions))
            }
        }
    }

    fn await_answer(&mut self, event: Event) -> Result<Option<Event>, Error> {
        self.unanswered = Some(event.clone());
        Ok(Some(event))
    }

    fn give_up(&mut self) -> Result<(), Error> {
        // librdkafka keeps a pause by partition, over assignments too: one that came back would never be read again.
        let paused: Vec<_> =
            self.paused.iter().filter(|partition| self.reads.started.contains_key(partition)).cloned().collect();
        self.set_paused(&paused, false)?;
        self.owned.clear();
        self.paused.clear();
        self.reads.started.clear();
        self.unanswered = None;
        self.reads.consumer.unassign().map_err(|fault| self.group_error(&fault))
    }

    fn start_owned(&mut self, from: &[(TopicPartition, i64)]) -> Result<(), Error> {
        if let Some((partition, _)) = from.iter().find(|(partition, _)| !self.owned.contains(partition)) {
            return Err(Error::Invalid(format!("{partition} is not owned by this member of group {}", self.group)));
        }
        if self.unanswered.is_some() {
            // To be given up before a record could be read.
            return Ok(());
        }
        self.reads.start(from)?;
        let paused: Vec<_> =
            self.paused.iter().filter(|partition| self.reads.started.contains_key(partition)).cloned().collect();
        self.set_paused(&paused, true)
    }

    fn set_paused(&self, partitions: &[TopicPartition], paused: bool) -> Result<(), Error> {
        if partitions.is_empty() {
            return Ok(());
        }
        self.reads.consumer.pause(partitions, paused).map_err(|fault| self.group_error(&fault))
    }

    fn transact(&mut self, produce: Produce<'_>, offsets: &[GroupOffset]) -> Result<(), Error> {
        check_metadata(offsets)?;
        if let Some(offset) = offsets.iter().find(|offset| !self.owned.contains(&offset.partition)) {
            return Err(Error::Fenced(format!(
                "{} is not owned by this member of group {}",
                offset.partition, self.group
            )));
        }
        if offsets.is_empty() {
            return self.transactions.run(produce, None);
        }
        // Fresh each time. Generation −1 would switch the broker's check off.
        let metadata = self.reads.consumer.group_metadata().filter(|metadata| metadata.generation() >= 0);
        let Some(metadata) = metadata else {
            return Err(Error::Fenced(format!("the member is in no generation of group {}", self.group)));
        };
        self.transactions.run(produce, Some((&metadata, offsets)))
    }
}

impl Member for KafkaMember {
    fn poll(&mut self, timeout: Duration, on_batch: OnBatch<'_>) -> Result<Event, Error> {
        self.usable()?;
        let result = self.poll_once(timeout, on_batch);
        self.heard = Instant::now();
        self.keep(result)
    }

    fn start(&mut self, from: &[(TopicPartition, i64)]) -> Result<(), Error> {
        self.usable()?;
        let result = self.start_owned(from);
        self.keep(result)
    }

    fn release(&mut self) -> Result<(), Error> {
        self.usable()?;
        if self.unanswered.is_none() {
            return Ok(());
        }
        let result = self.give_up();
        self.keep(result)
    }

    fn pause(&mut self, partitions: &[TopicPartition], paused: bool) -> Result<(), Error> {
        self.usable()?;
        for partition in partitions {
            match paused {
                true => self.paused.insert(partition.clone()),
                false => self.paused.remove(partition),
            };
        }
        let started: Vec<_> =
            partitions.iter().filter(|partition| self.reads.started.contains_key(partition)).cloned().collect();
        let result = self.set_paused(&started, paused);
        self.keep(result)
    }

    fn position(&self, partition: &TopicPartition) -> Result<i64, Error> {
        self.usable()?;
        self.reads.position(partition)
    }

    fn end(&self, partition: &TopicPartition) -> Result<Option<i64>, Error> {
        self.usable()?;
        Ok(self.reads.consumer.end(partition))
    }

    fn commit(&mut self, produce: Produce<'_>, offsets: &[GroupOffset]) -> Result<(), Error> {
        self.usable()?;
        let result = self.transact(produce, offsets);
        self.keep(result)
    }

    fn leave(&mut self) -> Result<(), Error> {
        self.usable()?;
        let left = self.reads.consumer.leave(LEAVE_TIMEOUT);
        self.owned.clear();
        self.reads.started.clear();
        self.broken = Some(Error::Invalid(format!("this member has left group {}", self.group)));
        if left {
            return Ok(());
        }
        Err(Error::Retriable(format!(
            "leaving group {} got no answer: kafka at {} takes the member out when its session ends",
            self.group, self.cluster.bootstrap
        )))
    }
}
