//! What a keyed process needs around it: topics, schemas, first offsets.

use crate::Error;
use std::sync::Arc;
use std::time::Duration;
use tidemark_log::{At, Cleanup, GroupOffset, Log, TopicPartition, TopicSpec, committed_within};
use tidemark_schemas::catalog::{self, Schema};
use tidemark_schemas::registry::Registry;

/// How long dead letters are kept.
const DEAD_LETTERS_KEPT_MS: i64 = 7 * 86_400_000;

/// How long a start waits for the open transaction of a process that died.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a keyed process is called, reads and writes.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its name: part of the names of its group and topics.
    pub name: String,
    /// Grows when its state or its outputs mean something else: a version begins with its input anew.
    pub version: u32,
    /// Its input. Keys belong to partitions, so that their number never changes; the owner of a partition writes ticks to it.
    pub input: TopicSpec,
    /// Schemas of the input's records, in the order of [`Input::schema`](tidemark_core::process::Input::schema). `Ticked` goes
    /// without saying.
    pub inputs: Vec<Schema>,
    /// Its outputs, in the order of [`Emitted::output`](tidemark_core::process::Emitted::output).
    pub outputs: Vec<Output>,
    /// Schemas of the entries of its state, in the order of [`Process::entry`](tidemark_core::process::Process::entry).
    pub entries: Vec<Schema>,
}

/// A topic that a process writes records of one schema to. Several outputs may share a topic, each with its own schema.
#[derive(Debug, Clone)]
pub struct Output {
    /// The topic; one that is compacted may be given tombstones.
    pub topic: TopicSpec,
    /// Of its records.
    pub schema: Schema,
}

/// Names of everything that belongs to a version of a process, and the ids of the schemas it writes.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The process.
    pub spec: Spec,
    /// Entries of its state by key, compacted: `tidemark.<name>.v<N>.changelog`, with the input's partitions.
    pub changelog: String,
    /// Records of the input that it did not take: `tidemark.<name>.v<N>.dead-letter`, with the input's partitions.
    pub dead_letter: String,
    /// Its consumer group: `tidemark.<name>.v<N>.process`.
    pub group: String,
    /// Schema ids.
    pub(super) ids: Ids,
}

/// Schema ids of what a process writes; outputs and entries in the order of the spec.
#[derive(Debug, Clone, Default)]
pub(super) struct Ids {
    pub(super) ticked: u32,
    pub(super) dead_letter: u32,
    pub(super) outputs: Vec<u32>,
    pub(super) entries: Vec<u32>,
}

impl Plan {
    /// Names alone: nothing is asked of anybody.
    pub fn new(spec: Spec) -> Self {
        let internal = |role: &str| format!("tidemark.{}.v{}.{role}", spec.name, spec.version);
        let (changelog, dead_letter) = (internal("changelog"), internal("dead-letter"));
        let group = internal("process");
        Self { spec, changelog, dead_letter, group, ids: Ids::default() }
    }

    /// What the input's records are read by: the spec's schemas, and `Ticked` as the last.
    pub fn readers(&self) -> Arc<[Schema]> {
        self.spec.inputs.iter().cloned().chain([catalog::TICKED]).collect()
    }

    /// Every topic of it: input, outputs, changelog, dead letters.
    pub fn topics(&self) -> Vec<TopicSpec> {
        let Spec { input, outputs, .. } = &self.spec;
        let internal = |name: &str, cleanup, retention_ms| TopicSpec {
            name: name.to_owned(),
            partitions: input.partitions,
            cleanup,
            retention_ms,
        };
        let mut topics = vec![input.clone()];
        for output in outputs {
            if topics.iter().all(|topic| topic.name != output.topic.name) {
                topics.push(output.topic.clone());
            }
        }
        topics.push(internal(&self.changelog, Cleanup::Compact, None));
        topics.push(internal(&self.dead_letter, Cleanup::Delete, Some(DEAD_LETTERS_KEPT_MS)));
        topics
    }

    /// Makes the topics, registers the schemas and gives the group its first offsets: the start of each partition. May be
    /// called again at any time; what is there stays.
    ///
    /// # Errors
    /// The log or registry refuses or does not answer; the input or the changelog has another number of partitions; the group's
    /// offsets are gone while the changelog holds something.
    pub fn create(&mut self, log: &dyn Log, registry: &dyn Registry) -> Result<(), Error> {
        self.check_partitions(log)?;
        log.create_topics(&self.topics())?;
        self.ids = self.register(registry)?;
        self.init_group(log)
    }

    /// Keys belong to partitions, and so does their state: neither moves.
    fn check_partitions(&self, log: &dyn Log) -> Result<(), Error> {
        let declared = self.spec.input.partitions;
        for topic in [&self.spec.input.name, &self.changelog] {
            if let Some(found) = log.partitions(topic)?.filter(|found| *found != declared) {
                return Err(Error::KeyedPartitions { topic: topic.clone(), found, declared });
            }
        }
        Ok(())
    }

    /// A topic with one type of record has the subject `<topic>-value`, one with several `<topic>-<record name>`
    /// (TopicRecordNameStrategy).
    fn register(&self, registry: &dyn Registry) -> Result<Ids, Error> {
        let Spec { input, inputs, outputs, entries, .. } = &self.spec;
        let several =
            |topic: &str, schema: &Schema| registry.register(&format!("{topic}-{}", schema.name), &schema.avsc);
        let only = |topic: &str, schema: &Schema| registry.register(&format!("{topic}-value"), &schema.avsc);
        let of = |topic: &str, schema: &Schema, types: usize| match types {
            1 => only(topic, schema),
            _ => several(topic, schema),
        };
        inputs.iter().try_for_each(|schema| several(&input.name, schema).map(drop))?;
        let types = |topic: &str| outputs.iter().filter(|other| other.topic.name == topic).count();
        let output = |Output { topic, schema }: &Output| of(&topic.name, schema, types(&topic.name));
        Ok(Ids {
            ticked: several(&input.name, &catalog::TICKED)?,
            dead_letter: only(&self.dead_letter, &catalog::DEAD_LETTER)?,
            outputs: outputs.iter().map(output).collect::<Result<_, _>>()?,
            entries: entries
                .iter()
                .map(|schema| of(&self.changelog, schema, entries.len()))
                .collect::<Result<_, _>>()?,
        })
    }

    fn init_group(&self, log: &dyn Log) -> Result<(), Error> {
        let partitions = self.partitions(&self.spec.input.name);
        let known = match log.committed(&self.group, &partitions) {
            // Not waited for: what moves offsets is the open transaction of a process that died, perhaps of this one's
            // predecessor, and the stage's own producer ends it at once.
            Err(tidemark_log::Error::Unstable(_)) => return Ok(()),
            known => known?,
        };
        if known.iter().any(Option::is_some) {
            return Ok(());
        }
        self.require_fresh(log, &partitions)?;
        let starts = log.offsets(&partitions, At::Start)?;
        let first = |(partition, offset)| GroupOffset { partition, offset, metadata: String::new() };
        let offsets: Vec<GroupOffset> = partitions.into_iter().zip(starts).map(first).collect();
        Ok(log.init_group(&self.group, &offsets)?)
    }

    /// Refuses a group without offsets whose process has run: they have been deleted, and to begin again would apply records a
    /// second time.
    fn require_fresh(&self, log: &dyn Log, partitions: &[TopicPartition]) -> Result<(), Error> {
        let written = log.offsets(&self.partitions(&self.changelog), At::End)?.into_iter().any(|end| end > 0);
        // Asked again: another process may have made the group and begun since.
        if written && committed_within(log, &self.group, partitions, PATIENCE)?.iter().all(Option::is_none) {
            return Err(self.offsets_deleted());
        }
        Ok(())
    }

    pub(super) fn offsets_deleted(&self) -> Error {
        Error::KeyedOffsetsDeleted {
            group: self.group.clone(),
            topic: self.changelog.clone(),
            input: self.spec.input.name.clone(),
            next_version: self.spec.version.saturating_add(1),
        }
    }

    /// The partitions of the input, or of a topic that has as many.
    fn partitions(&self, topic: &str) -> Vec<TopicPartition> {
        (0..self.spec.input.partitions).map(|partition| TopicPartition::new(topic, partition)).collect()
    }
}
