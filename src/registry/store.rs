//! The registry over a compacted topic of the log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tidemark_log::{At, Cleanup, Log, Outgoing, Producer, TopicPartition, TopicSpec};
use tidemark_schemas::registry::{self, Event, Latest, Refusal, Registry, Subjects};

/// The compacted topic that the registry lives on. Its records have the form of Confluent's `_schemas`, but not its name: on a
/// cluster that has such a registry too, the two keep apart.
pub const TOPIC: &str = "tidemark.schemas";
/// The producer's id: whoever opens the registry anew fences the one before.
const PRODUCER: &str = "tidemark-schema-registry";
/// How long reading the topic may take before the log counts as stuck.
const RESTORE_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// Why a request failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The registry's rules say no; another try does not help.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The log failed; another try may help.
    #[error("the registry's topic {TOPIC} cannot be written or read: {0}")]
    Log(#[from] tidemark_log::Error),
}

/// A schema registry in this process. Reads are answered from memory; writes block until they are durable in the log.
pub struct EmbeddedRegistry {
    log: Arc<dyn Log>,
    /// Behind an `Arc`, so that who asks much of them holds up nobody.
    subjects: RwLock<Arc<Subjects>>,
    /// Held over decide, commit and apply, so that writes happen one after the other. `None` after a failed commit: it may
    /// have happened or not, so the next write reads the topic again before it decides.
    producer: Mutex<Option<Box<dyn Producer>>>,
}

impl EmbeddedRegistry {
    /// Makes the topic where it is missing and reads it to its end. Blocks.
    pub fn open(log: Arc<dyn Log>) -> Result<Self, Error> {
        let spec = TopicSpec { name: TOPIC.to_owned(), partitions: 1, cleanup: Cleanup::Compact, retention_ms: None };
        log.create_topics(&[spec])?;
        // The producer first: once it fences its predecessor, nobody adds to what is read next.
        let producer = log.producer(PRODUCER)?;
        let subjects = RwLock::new(Arc::new(restore(log.as_ref())?));
        Ok(Self { log, subjects, producer: Mutex::new(Some(producer)) })
    }

    /// Answers from memory, as it was when asked.
    pub fn read<T>(&self, answer: impl FnOnce(&Subjects) -> T) -> T {
        let now = Arc::clone(&self.subjects.read().unwrap_or_else(PoisonError::into_inner));
        answer(&now)
    }

    /// Registers `schema` under `subject` and gives its id; the same schema again gives the same id. Blocks.
    pub fn register_schema(&self, subject: &str, schema: &str) -> Result<u32, Error> {
        // A producer that lost its connection while nothing was registered is made anew, and what others wrote is read.
        match self.register_once(subject, schema) {
            Err(Error::Log(tidemark_log::Error::Retriable(_))) => self.register_once(subject, schema),
            done => done,
        }
    }

    fn register_once(&self, subject: &str, schema: &str) -> Result<u32, Error> {
        // Without the lock first: nearly every call is for a schema that is there.
        if let Err(id) = self.read(|s| s.register(subject, schema))? {
            return Ok(id);
        }
        let mut producer = self.writer()?;
        match self.read(|s| s.register(subject, schema))? {
            Err(id) => Ok(id),
            Ok(event) => {
                self.append(&mut producer, event)?;
                Ok(self.read(|s| s.lookup(subject, schema).map(|v| v.id))?)
            }
        }
    }

    /// Sets the compatibility rule of a subject, or with `None` the one for all others, by Confluent's name. Blocks.
    pub fn set_level(&self, subject: Option<&str>, level: &str) -> Result<(), Error> {
        let mut producer = self.writer()?;
        let event = self.read(|s| s.set_level(subject, level))?;
        self.append(&mut producer, event)
    }

    /// The producer, made anew after a failure.
    fn writer(&self) -> Result<MutexGuard<'_, Option<Box<dyn Producer>>>, Error> {
        let mut producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        if producer.is_none() {
            let new = self.log.producer(PRODUCER)?;
            let restored = restore(self.log.as_ref())?;
            *self.subjects.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(restored);
            *producer = Some(new);
        }
        Ok(producer)
    }

    /// Makes an event durable, then visible.
    fn append(&self, slot: &mut Option<Box<dyn Producer>>, event: Event) -> Result<(), Error> {
        // Taken out and put back on success only: a producer whose commit failed is of no further use.
        let mut producer = match slot.take() {
            Some(producer) => producer,
            None => self.log.producer(PRODUCER)?,
        };
        let (key, value) = event.encode();
        let record = Outgoing { topic: TOPIC, partition: 0, key: Some(&key), value: Some(&value), headers: &[] };
        producer.commit(&mut |sink| sink.send(record))?;
        Arc::make_mut(&mut *self.subjects.write().unwrap_or_else(PoisonError::into_inner)).apply(event);
        *slot = Some(producer);
        Ok(())
    }
}

impl Registry for EmbeddedRegistry {
    fn register(&self, subject: &str, schema: &str) -> Result<u32, registry::Error> {
        self.register_schema(subject, schema).map_err(|e| match e {
            Error::Refused(Refusal::Incompatible(subject, reasons)) => {
                registry::Error::Incompatible { subject, reason: reasons.join("; ") }
            }
            Error::Refused(refusal) => registry::Error::Invalid(refusal.to_string()),
            Error::Log(e) => registry::Error::Unavailable(e.to_string()),
        })
    }

    fn schema(&self, id: u32) -> Result<Option<Arc<str>>, registry::Error> {
        Ok(self.read(|s| s.schema(id)))
    }

    fn latest_of(&self, subject: &str) -> Result<Option<Latest>, registry::Error> {
        let latest = self.read(|s| s.version(subject, "latest").ok().cloned());
        Ok(latest.map(|v| Latest { id: v.id, version: v.version, schema: v.schema }))
    }

    fn id_of(&self, subject: &str, schema: &str) -> Result<Option<u32>, registry::Error> {
        Ok(self.read(|s| s.lookup(subject, schema).ok().map(|v| v.id)))
    }

    fn subject_names(&self) -> Result<Vec<String>, registry::Error> {
        Ok(self.read(|s| s.subjects().into_iter().map(str::to_owned).collect()))
    }
}

/// Reads the topic from start to end.
fn restore(log: &dyn Log) -> Result<Subjects, tidemark_log::Error> {
    let partition = TopicPartition::new(TOPIC, 0);
    let of = std::slice::from_ref(&partition);
    let offset = |at| Ok(log.offsets(of, at)?.first().copied().unwrap_or(0));
    let (start, end) = (offset(At::Start)?, offset(At::End)?);
    let mut reader = log.reader(&[(partition.clone(), start)])?;
    let mut subjects = Subjects::default();
    let began = Instant::now();
    while reader.position(&partition)? < end {
        if began.elapsed() > RESTORE_TIMEOUT {
            let position = reader.position(&partition)?;
            return Err(tidemark_log::Error::Retriable(format!(
                "read up to offset {position} of {end} in {RESTORE_TIMEOUT:?}"
            )));
        }
        reader.poll(POLL, &mut |batch| {
            let events = batch.records.iter().filter_map(|r| Event::decode(r.key?, r.value?));
            events.for_each(|event| subjects.apply(event));
        })?;
    }
    Ok(subjects)
}

#[cfg(test)]
mod tests;
