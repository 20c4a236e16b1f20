//! What a job needs around it: topics, schemas, first offsets.

use crate::Error;
use std::time::Duration;
use tidemark_core::partial::Position;
use tidemark_core::{JobSpec, LatePolicy, Windowing};
use tidemark_log::{At, Cleanup, GroupOffset, Log, TopicPartition, TopicSpec, committed_within};
use tidemark_schemas::catalog::{self, Schema};
use tidemark_schemas::registry::Registry;

/// Epoch of a job version whose partials have never been rebuilt.
pub const FIRST_EPOCH: i32 = 1;

/// The stages, as their groups are called.
const STAGES: [&str; 3] = ["partial", "merge", "view-writer"];

/// How long a start waits for the open transaction of a process that died.
const PATIENCE: Duration = Duration::from_secs(60);

/// Names of everything that belongs to a job version, and the ids of the schemas it writes.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The job.
    pub spec: JobSpec,
    /// Topic between the two folds.
    pub partials: String,
    /// Changelog of the merge fold.
    pub changelog: String,
    /// Ids seen, if the job counts repeats once.
    pub seen: String,
    /// Upserts of rows, ledger and progress.
    pub view: String,
    /// Late records.
    pub late: String,
    /// Records that cannot be read.
    pub dead_letter: String,
    /// Schema ids.
    pub ids: Ids,
}

/// Schema ids of what a job writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "one id for each schema of the same name")]
pub struct Ids {
    pub partial: u32,
    pub marker: u32,
    pub repair: u32,
    pub row_state: u32,
    pub row: u32,
    pub ledger: u32,
    pub progress: u32,
    pub seen_ids: u32,
    pub late_record: u32,
    pub sealed_out: u32,
    pub dead_letter: u32,
}

impl Plan {
    /// Names alone: nothing is asked of anybody.
    ///
    /// # Errors
    /// The spec breaks a rule.
    pub fn new(spec: JobSpec) -> Result<Self, Error> {
        spec.validate()?;
        Ok(Self::of(spec))
    }

    /// The names of a version of which nothing else is known, such as one whose file cannot be read any more: they follow from
    /// its job's name and its number. Nothing can be run by it.
    pub fn named(job: &str, version: u32) -> Self {
        Self::of(JobSpec {
            name: job.to_owned(),
            version,
            sources: Vec::new(),
            time: String::new(),
            dedupe: None,
            key: Vec::new(),
            aggregates: Vec::new(),
            expressions: Vec::new(),
            window: Windowing::Tumbling { size_ms: 1 },
            grace_ms: 0,
            late: LatePolicy::Amend,
            amend_for_ms: 0,
            idle_after_ms: 1,
            max_future_ms: 0,
            merge_partitions: 1,
            retention_ms: 0,
        })
    }

    fn of(spec: JobSpec) -> Self {
        Self {
            partials: spec.internal("partials"),
            changelog: spec.internal("changelog"),
            seen: spec.internal("seen"),
            view: spec.view_topic(),
            late: spec.internal("late"),
            dead_letter: spec.internal("dead-letter"),
            ids: Ids::default(),
            spec,
        }
    }

    /// Every topic that it may have: those of [`Plan::topics`], and that of ids seen even if it counts repeats.
    pub fn topic_names(&self) -> Vec<String> {
        let Self { partials, changelog, seen, view, late, dead_letter, .. } = self;
        [partials, changelog, seen, view, late, dead_letter].map(Clone::clone).into()
    }

    /// The consumer groups of its stages.
    pub fn groups(&self) -> Vec<String> {
        STAGES.map(|stage| self.group(stage)).into()
    }

    /// The job's own topics.
    pub fn topics(&self) -> Vec<TopicSpec> {
        let topic = |name: &str, cleanup, retention_ms| TopicSpec {
            name: name.to_owned(),
            partitions: self.spec.merge_partitions,
            cleanup,
            retention_ms,
        };
        let retention = Some(self.spec.retention_ms);
        // Ids are needed for as long as a partition may be behind, and a repeat may come after its record.
        let seen = self.spec.dedupe.as_ref().map(|dedupe| self.spec.retention_ms.saturating_add(dedupe.for_ms));
        let seen = seen.map(|kept| topic(&self.seen, Cleanup::Delete, Some(kept)));
        let topics = vec![
            topic(&self.partials, Cleanup::Delete, retention),
            topic(&self.changelog, Cleanup::Compact, None),
            topic(&self.view, Cleanup::CompactAndDelete, retention),
            topic(&self.late, Cleanup::Delete, retention),
            topic(&self.dead_letter, Cleanup::Delete, retention),
        ];
        topics.into_iter().chain(seen).collect()
    }

    /// Whether the topics that are there have the job's number of partitions. They are made once and never grow: partitions that
    /// have been added cannot be taken away again.
    ///
    /// # Errors
    /// One has another; or the log does not answer.
    pub fn check_topics(&self, log: &dyn Log) -> Result<(), Error> {
        for TopicSpec { name: topic, partitions: declared, .. } in self.topics() {
            if let Some(found) = log.partitions(&topic)?.filter(|found| *found != declared) {
                return Err(Error::MergePartitions { topic, found, declared });
            }
        }
        Ok(())
    }

    /// Makes the topics, registers the schemas and gives every stage's group its first offsets: the start of each
    /// partition. May be called again at any time; what is there stays.
    ///
    /// # Errors
    /// The log or registry refuses or does not answer; a source topic is missing; the version has other merge partitions.
    pub fn create(&mut self, log: &dyn Log, registry: &dyn Registry, row: &Schema) -> Result<(), Error> {
        self.check_topics(log)?;
        log.create_topics(&self.topics())?;
        self.ids = self.register(registry, row)?;
        self.init_group(log, "partial", &self.spec.sources, |spec| {
            tidemark_core::partial::metadata(spec.fingerprint(), &Position::default())
        })?;
        self.init_group(log, "merge", std::slice::from_ref(&self.partials), |_| String::new())?;
        self.init_group(log, "view-writer", std::slice::from_ref(&self.view), |_| String::new())
    }

    /// A topic with one type of record has the subject `<topic>-value`, one with several `<topic>-<record name>`
    /// (TopicRecordNameStrategy).
    fn register(&self, registry: &dyn Registry, row: &Schema) -> Result<Ids, Error> {
        let several =
            |topic: &str, schema: &Schema| registry.register(&format!("{topic}-{}", schema.name), &schema.avsc);
        Ok(Ids {
            partial: several(&self.partials, &catalog::PARTIAL)?,
            marker: several(&self.partials, &catalog::MARKER)?,
            repair: several(&self.partials, &catalog::REPAIR)?,
            row_state: several(&self.changelog, &catalog::ROW_STATE)?,
            row: several(&self.view, row)?,
            ledger: {
                several(&self.changelog, &catalog::LEDGER)?;
                several(&self.view, &catalog::LEDGER)?
            },
            progress: {
                several(&self.changelog, &catalog::PROGRESS)?;
                several(&self.view, &catalog::PROGRESS)?
            },
            seen_ids: match self.spec.dedupe {
                Some(_) => registry.register(&format!("{}-value", self.seen), &catalog::SEEN_IDS.avsc)?,
                None => 0,
            },
            late_record: several(&self.late, &catalog::LATE_RECORD)?,
            sealed_out: several(&self.late, &catalog::SEALED_OUT)?,
            dead_letter: registry.register(&format!("{}-value", self.dead_letter), &catalog::DEAD_LETTER.avsc)?,
        })
    }

    fn init_group(
        &self,
        log: &dyn Log,
        role: &str,
        topics: &[String],
        metadata: impl Fn(&JobSpec) -> String,
    ) -> Result<(), Error> {
        let mut partitions = Vec::new();
        for topic in topics {
            let count = log.partitions(topic)?.ok_or_else(|| Error::NoSource(topic.clone()))?;
            partitions.extend((0..count).map(|partition| TopicPartition::new(topic.as_str(), partition)));
        }
        let group = self.group(role);
        let known = match log.committed(&group, &partitions) {
            // Not waited for: what moves offsets is the open transaction of a process that died, perhaps of this one's
            // predecessor, and the stage's own producer ends it at once.
            Err(tidemark_log::Error::Unstable(_)) => return Ok(()),
            known => known?,
        };
        // Partitions added later are begun by whoever they are assigned to; the group may have members by then.
        if known.iter().any(Option::is_some) {
            return Ok(());
        }
        if role != "view-writer" {
            self.require_fresh(log, &group, &partitions)?;
        }
        let starts = log.offsets(&partitions, At::Start)?;
        let first = |(partition, offset)| GroupOffset { partition, offset, metadata: metadata(&self.spec) };
        let offsets: Vec<GroupOffset> = partitions.into_iter().zip(starts).map(first).collect();
        Ok(log.init_group(&group, &offsets)?)
    }

    /// Refuses a group without offsets whose job has run: they have been deleted, and to begin again would count twice. The view
    /// writer may begin again at any time.
    fn require_fresh(&self, log: &dyn Log, group: &str, partitions: &[TopicPartition]) -> Result<(), Error> {
        for topic in [&self.partials, &self.changelog] {
            let own: Vec<_> = (0..self.spec.merge_partitions)
                .map(|partition| TopicPartition::new(topic.as_str(), partition))
                .collect();
            let written = log.offsets(&own, At::End)?.into_iter().any(|end| end > 0);
            // Asked again: another process may have made the group and begun since.
            let known = if written { committed_within(log, group, partitions, PATIENCE)? } else { Vec::new() };
            if written && known.iter().all(Option::is_none) {
                let (group, topic) = (group.to_owned(), topic.clone());
                return Err(Error::OffsetsDeleted { group, topic, next_version: self.spec.version.saturating_add(1) });
            }
        }
        Ok(())
    }

    /// Where letters about a source partition go: always to one partition, so that they keep their order.
    pub(crate) fn letter_partition(&self, source_partition: u32) -> u32 {
        source_partition % self.spec.merge_partitions
    }

    /// The consumer group of a stage.
    pub fn group(&self, role: &str) -> String {
        self.spec.internal(role)
    }
}
