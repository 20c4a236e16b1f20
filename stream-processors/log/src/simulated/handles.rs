//! Members, readers and producers of a simulated log.

use std::sync::Arc;
use std::time::Duration;

use super::dice::Fate;
use super::shared::{Keep, Shared};
use crate::embedded::{Course, EmbeddedMember, EmbeddedProducer, EmbeddedReader};
use crate::{Error, Event, GroupOffset, Member, MemberConfig, OnBatch, Produce, Producer, Reader, TopicPartition};

fn lost() -> Error {
    Error::Indefinite("the answer was lost".to_owned())
}

/// A member of a group.
pub(super) struct SimulatedMember {
    shared: Arc<Shared>,
    generation: u64,
    id: String,
    /// `None` once it was given up: its last commit is still on the way.
    inner: Option<EmbeddedMember>,
}

impl SimulatedMember {
    pub(super) fn join(shared: &Arc<Shared>, config: &MemberConfig) -> Result<Self, Error> {
        let log = shared.enter()?;
        shared.settle_id(&config.id)?;
        let inner = Some(EmbeddedMember::new(Arc::clone(log.inner()), config)?);
        Ok(Self { shared: Arc::clone(shared), generation: shared.generation(), id: config.id.clone(), inner })
    }

    fn inner(&mut self) -> Result<&mut EmbeddedMember, Error> {
        self.shared.enter_as(self.generation)?;
        self.inner.as_mut().ok_or_else(lost)
    }
}

impl Member for SimulatedMember {
    fn poll(&mut self, timeout: Duration, on_batch: OnBatch<'_>) -> Result<Event, Error> {
        let records = self.shared.poll_records();
        let inner = self.inner()?;
        inner.read_at_most(records);
        let mut handed = false;
        let event = inner.poll(timeout, &mut |batch| {
            handed = true;
            on_batch(batch);
        })?;
        if event == Event::Polled && !handed {
            self.shared.waited(timeout);
        }
        Ok(event)
    }

    fn start(&mut self, from: &[(TopicPartition, i64)]) -> Result<(), Error> {
        self.inner()?.start(from)
    }

    fn release(&mut self) -> Result<(), Error> {
        self.inner()?.release()
    }

    fn pause(&mut self, partitions: &[TopicPartition], paused: bool) -> Result<(), Error> {
        self.inner()?.pause(partitions, paused)
    }

    fn position(&self, partition: &TopicPartition) -> Result<i64, Error> {
        self.inner.as_ref().ok_or_else(lost)?.position(partition)
    }

    fn end(&self, partition: &TopicPartition) -> Result<Option<i64>, Error> {
        self.inner.as_ref().ok_or_else(lost)?.end(partition)
    }

    fn commit(&mut self, produce: Produce<'_>, offsets: &[GroupOffset]) -> Result<(), Error> {
        self.inner()?;
        self.shared.settle_id_applied(&self.id)?;
        let fate = self.shared.fate();
        let Some(mut inner) = self.inner.take() else { return Err(lost()) };
        if let Fate::Delayed { ms } = fate {
            let mut kept = Keep::default();
            produce(&mut kept)?;
            self.shared.delay(ms, inner, kept.0, offsets);
            return Err(lost());
        }
        let outcome = match fate {
            Fate::Through | Fate::SyncFails => inner.commit(produce, offsets),
            Fate::AnswerLost => inner.commit(produce, offsets).and(Err(lost())),
            Fate::Open { appended } => inner.commit_by(Course::Open { appended }, produce, offsets),
            Fate::Lost | Fate::Delayed { .. } => Err(lost()),
            Fate::Fenced => {
                let _ = inner.leave();
                Err(Error::Fenced(format!("member {} was put out of its group", self.id)))
            }
        };
        self.inner = Some(inner);
        outcome
    }

    fn leave(&mut self) -> Result<(), Error> {
        self.inner()?.leave()
    }
}

impl Drop for SimulatedMember {
    fn drop(&mut self) {
        if let Some(inner) = &mut self.inner {
            inner.abandon();
        }
    }
}

/// Reads given partitions.
pub(super) struct SimulatedReader {
    shared: Arc<Shared>,
    generation: u64,
    inner: EmbeddedReader,
}

impl SimulatedReader {
    pub(super) fn new(shared: &Arc<Shared>, from: &[(TopicPartition, i64)]) -> Result<Self, Error> {
        let inner = EmbeddedReader::new(Arc::clone(shared.enter()?.inner()), from)?;
        Ok(Self { shared: Arc::clone(shared), generation: shared.generation(), inner })
    }
}

impl Reader for SimulatedReader {
    fn poll(&mut self, timeout: Duration, on_batch: OnBatch<'_>) -> Result<(), Error> {
        self.shared.enter_as(self.generation)?;
        self.inner.read_at_most(self.shared.poll_records());
        let mut handed = false;
        self.inner.poll(timeout, &mut |batch| {
            handed = true;
            on_batch(batch);
        })?;
        if !handed {
            self.shared.waited(timeout);
        }
        Ok(())
    }

    fn position(&self, partition: &TopicPartition) -> Result<i64, Error> {
        self.inner.position(partition)
    }
}

/// Writes without reading.
pub(super) struct SimulatedProducer {
    shared: Arc<Shared>,
    generation: u64,
    id: String,
    inner: EmbeddedProducer,
}

impl SimulatedProducer {
    pub(super) fn new(shared: &Arc<Shared>, id: &str) -> Result<Self, Error> {
        let log = shared.enter()?;
        shared.settle_id(id)?;
        let inner = EmbeddedProducer::new(Arc::clone(log.inner()), id)?;
        Ok(Self { shared: Arc::clone(shared), generation: shared.generation(), id: id.to_owned(), inner })
    }
}

impl Producer for SimulatedProducer {
    fn commit(&mut self, produce: Produce<'_>) -> Result<(), Error> {
        self.shared.enter_as(self.generation)?;
        self.shared.settle_id_applied(&self.id)?;
        match self.shared.fate() {
            Fate::Through | Fate::SyncFails => self.inner.commit(produce),
            Fate::AnswerLost => self.inner.commit(produce).and(Err(lost())),
            Fate::Open { appended } => self.inner.commit_by(Course::Open { appended }, produce),
            Fate::Lost | Fate::Delayed { .. } => Err(lost()),
            Fate::Fenced => Err(Error::Fenced(format!("a newer producer took the id {}", self.id))),
        }
    }
}
