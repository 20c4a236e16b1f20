//! The jobs that were applied: a compacted topic with one record for each job, its whole state.
//!
//! Promise: a change is decided on everything that was written before it. Whoever writes makes a producer under the one id, which
//! fences the one before; reads the topic to its end; decides; commits. Somebody who came in between has fenced that commit, and
//! it is decided anew.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemark_log::{At, Batch, Cleanup, Log, Outgoing, Reader, TopicPartition, TopicSpec};
use tidemark_schemas::avro::{Avro, Reader as Datum};
use tidemark_schemas::catalog;
use tidemark_schemas::jobs::JobEntry;
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire;

/// The topic.
pub const TOPIC: &str = "tidemark.jobs";
const PRODUCER: &str = "tidemark-jobs";
const POLL: Duration = Duration::from_millis(50);
/// How long reading the topic may take before the log counts as stuck.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How often a change is decided anew when others write at the same time.
const TRIES: usize = 5;

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum Error<R> {
    /// The decision was no.
    #[error("{0}")]
    Refused(R),
    /// The log failed; another try may help.
    #[error("the topic {TOPIC} cannot be written or read: {0}")]
    Log(#[from] tidemark_log::Error),
    /// The registry failed; another try may help.
    #[error("the schema of {TOPIC} cannot be registered: {0}")]
    Registry(#[from] tidemark_schemas::registry::Error),
}

/// Entries by job, with the revision of each: its offset + 1.
pub type Entries = BTreeMap<String, (i64, JobEntry)>;

/// The topic, to be read and written.
#[derive(Clone)]
pub struct Directory {
    log: Arc<dyn Log>,
    registry: Arc<dyn Registry>,
}

impl Directory {
    /// Makes the topic where it is missing.
    ///
    /// # Errors
    /// The log refuses or does not answer.
    pub fn open(log: Arc<dyn Log>, registry: Arc<dyn Registry>) -> Result<Self, tidemark_log::Error> {
        let spec = TopicSpec { name: TOPIC.to_owned(), partitions: 1, cleanup: Cleanup::Compact, retention_ms: None };
        log.create_topics(&[spec])?;
        Ok(Self { log, registry })
    }

    /// Follows the topic from its start.
    ///
    /// # Errors
    /// The log does not answer.
    pub fn follow(&self) -> Result<Following, tidemark_log::Error> {
        let partition = TopicPartition::new(TOPIC, 0);
        let start = self.log.offsets(std::slice::from_ref(&partition), At::Start)?.first().copied().unwrap_or(0);
        let reader = self.log.reader(&[(partition.clone(), start)])?;
        let decoder = wire::Decoder::new(Arc::clone(&self.registry), [catalog::JOB_ENTRY]);
        Ok(Following { partition, reader, decoder, entries: Entries::new() })
    }

    /// Everything that was written.
    ///
    /// # Errors
    /// The log does not answer.
    pub fn entries(&self) -> Result<Entries, tidemark_log::Error> {
        let mut following = self.follow()?;
        let end = self.log.offsets(std::slice::from_ref(&following.partition), At::End)?.first().copied().unwrap_or(0);
        let began = Instant::now();
        while following.reader.position(&following.partition)? < end {
            if began.elapsed() > TIMEOUT {
                return Err(tidemark_log::Error::Retriable(format!("{TOPIC} was not read to its end in {TIMEOUT:?}")));
            }
            following.step(POLL)?;
        }
        Ok(following.entries)
    }

    /// Changes a job by a decision on all that is known; gives its entry and what the decision said.
    ///
    /// # Errors
    /// The decision's own, the log's, the registry's.
    pub fn change<T, R>(
        &self,
        mut decide: impl FnMut(&Entries) -> Result<(JobEntry, T), R>,
    ) -> Result<(JobEntry, T), Error<R>> {
        let schema = self.registry.register(&format!("{TOPIC}-value"), &catalog::JOB_ENTRY.avsc)?;
        let (mut last, mut sent) = (None, None);
        for _ in 0..TRIES {
            let mut producer = self.log.producer(PRODUCER)?;
            let entries = self.entries()?;
            // A commit that failed may have been written all the same: what was decided is done then, and not decided again.
            if let Some((entry, said)) = sent.take_if(|(entry, _): &mut (JobEntry, T)| is_there(&entries, entry)) {
                return Ok((entry, said));
            }
            let (entry, said) = decide(&entries).map_err(Error::Refused)?;
            if is_there(&entries, &entry) {
                return Ok((entry, said));
            }
            let mut value = Vec::new();
            wire::put(schema, &entry, &mut value);
            let (key, value) = (Some(entry.job.as_bytes()), Some(value.as_slice()));
            let record = Outgoing { topic: TOPIC, partition: 0, key, value, headers: &[] };
            match producer.commit(&mut |sink| sink.send(record)) {
                Ok(()) => return Ok((entry, said)),
                Err(error) => (last, sent) = (Some(error), Some((entry, said))),
            }
        }
        Err(last.unwrap_or_else(|| tidemark_log::Error::Retriable("others change jobs all the time".to_owned())).into())
    }
}

fn is_there(entries: &Entries, entry: &JobEntry) -> bool {
    entries.get(&entry.job).is_some_and(|(_, known)| known == entry)
}

/// A reader of the topic and what it has read.
pub struct Following {
    partition: TopicPartition,
    reader: Box<dyn Reader>,
    decoder: wire::Decoder,
    entries: Entries,
}

impl Following {
    /// Reads on for up to `timeout`; true when something changed.
    ///
    /// # Errors
    /// The log does not answer.
    pub fn step(&mut self, timeout: Duration) -> Result<bool, tidemark_log::Error> {
        let (entries, decoder, mut changed) = (&mut self.entries, &mut self.decoder, false);
        self.reader.poll(timeout, &mut |batch| changed |= take(entries, decoder, &batch))?;
        Ok(changed)
    }

    /// What it has read.
    pub fn entries(&self) -> &Entries {
        &self.entries
    }
}

fn take(entries: &mut Entries, decoder: &mut wire::Decoder, batch: &Batch<'_>) -> bool {
    let mut scratch = Vec::new();
    for record in batch.records {
        let read = record.value.map(|value| -> Result<JobEntry, wire::Error> {
            let (_, datum) = decoder.datum(value, &mut scratch)?;
            Ok(JobEntry::get(&mut Datum::new(datum))?)
        });
        match read {
            Some(Ok(entry)) => {
                entries.insert(entry.job.clone(), (record.offset + 1, entry));
            }
            Some(Err(error)) => tracing::error!(offset = record.offset, %error, "a record of {TOPIC} is passed over"),
            None => {}
        }
    }
    !batch.records.is_empty()
}
