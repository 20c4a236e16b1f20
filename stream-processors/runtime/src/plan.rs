//! What a job needs around it: topics, schemas, first offsets.

use crate::Error;
use tidemark_core::JobSpec;
use tidemark_log::{At, Cleanup, GroupOffset, Log, TopicPartition, TopicSpec};
use tidemark_schemas::catalog::{self, Schema};
use tidemark_schemas::registry::Registry;

/// Epoch of a job version whose partials have never been rebuilt.
pub const FIRST_EPOCH: i32 = 1;

/// Names of everything that belongs to a job version, and the ids of the schemas it writes.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The job.
    pub spec: JobSpec,
    /// Topic between the two folds.
    pub partials: String,
    /// Changelog of the merge fold.
    pub changelog: String,
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
    pub row_state: u32,
    pub row: u32,
    pub ledger: u32,
    pub progress: u32,
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
        Ok(Self {
            partials: spec.internal("partials"),
            changelog: spec.internal("changelog"),
            view: spec.view_topic(),
            late: spec.internal("late"),
            dead_letter: spec.internal("dead-letter"),
            ids: Ids::default(),
            spec,
        })
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
        vec![
            topic(&self.partials, Cleanup::Delete, retention),
            topic(&self.changelog, Cleanup::Compact, None),
            topic(&self.view, Cleanup::CompactAndDelete, retention),
            topic(&self.late, Cleanup::Delete, retention),
            topic(&self.dead_letter, Cleanup::Delete, retention),
        ]
    }

    /// Makes the topics, registers the schemas and gives every stage's group its first offsets: the start of each
    /// partition. May be called again at any time; what is there stays.
    ///
    /// # Errors
    /// The log or registry refuses or does not answer; a source topic is missing.
    pub fn create(&mut self, log: &dyn Log, registry: &dyn Registry, row: Schema) -> Result<(), Error> {
        log.create_topics(&self.topics())?;
        self.ids = self.register(registry, row)?;
        self.init_group(log, "partial", &self.spec.sources, |spec| {
            tidemark_core::partial::metadata(spec.fingerprint(), None)
        })?;
        self.init_group(log, "merge", std::slice::from_ref(&self.partials), |_| String::new())?;
        self.init_group(log, "view-writer", std::slice::from_ref(&self.view), |_| String::new())
    }

    /// A topic with one type of record has the subject `<topic>-value`, one with several `<topic>-<record name>`
    /// (TopicRecordNameStrategy).
    fn register(&self, registry: &dyn Registry, row: Schema) -> Result<Ids, Error> {
        let several = |topic: &str, schema: Schema| registry.register(&format!("{topic}-{}", schema.name), schema.avsc);
        Ok(Ids {
            partial: several(&self.partials, catalog::PARTIAL)?,
            marker: several(&self.partials, catalog::MARKER)?,
            row_state: several(&self.changelog, catalog::ROW_STATE)?,
            row: several(&self.view, row)?,
            ledger: {
                several(&self.changelog, catalog::LEDGER)?;
                several(&self.view, catalog::LEDGER)?
            },
            progress: {
                several(&self.changelog, catalog::PROGRESS)?;
                several(&self.view, catalog::PROGRESS)?
            },
            late_record: several(&self.late, catalog::LATE_RECORD)?,
            sealed_out: several(&self.late, catalog::SEALED_OUT)?,
            dead_letter: registry.register(&format!("{}-value", self.dead_letter), catalog::DEAD_LETTER.avsc)?,
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
        let known = log.committed(&group, &partitions)?;
        // Partitions added later are begun by whoever they are assigned to; the group may have members by then.
        if known.iter().any(Option::is_some) {
            return Ok(());
        }
        let starts = log.offsets(&partitions, At::Start)?;
        let first = |(partition, offset)| GroupOffset { partition, offset, metadata: metadata(&self.spec) };
        let offsets: Vec<GroupOffset> = partitions.into_iter().zip(starts).map(first).collect();
        Ok(log.init_group(&group, &offsets)?)
    }

    /// The consumer group of a stage.
    pub fn group(&self, role: &str) -> String {
        self.spec.internal(role)
    }
}
