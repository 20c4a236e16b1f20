//! What the topics of a process hold, on whichever log.

use std::collections::BTreeMap;
use std::time::Duration;

use tidemark_log::{At, GroupOffset, TopicPartition};
use tidemark_runtime::Operator;
use tidemark_runtime::keyed::{KeyedStage, Parts, Plan};
use tidemark_schemas::catalog::Schema;

use crate::accounts::{Accounts, State, Tap};

/// A record as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) offset: i64,
    pub(crate) appended_at: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
}

/// Reads them, read_committed.
pub(crate) struct Topics<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) parts: &'a Parts,
    /// How long a poll waits: not at all where waiting makes time go by.
    pub(crate) wait: Duration,
}

fn fail(error: tidemark_log::Error) -> String {
    error.to_string()
}

impl Topics<'_> {
    pub(crate) fn input(&self) -> &str {
        &self.plan.spec.input.name
    }

    /// Number of partitions of the input.
    pub(crate) fn partitions(&self) -> u32 {
        self.plan.spec.input.partitions
    }

    /// An output: its topic and schema.
    pub(crate) fn output(&self, output: usize) -> (&str, &Schema) {
        let output = &self.plan.spec.outputs[output];
        (&output.topic.name, &output.schema)
    }

    pub(crate) fn id(&self, subject: &str, schema: &Schema) -> u32 {
        let found = self.parts.registry.id_of(subject, &schema.avsc).unwrap();
        found.unwrap_or_else(|| panic!("{subject} has no such schema"))
    }

    fn places(&self) -> Vec<TopicPartition> {
        (0..self.partitions()).map(|partition| TopicPartition::new(self.input(), partition)).collect()
    }

    pub(crate) fn committed(&self) -> Result<Vec<Option<GroupOffset>>, String> {
        self.parts.log.committed(&self.plan.group, &self.places()).map_err(fail)
    }

    /// A partition of the input with records that the group has not committed, if there is one.
    pub(crate) fn behind(&self) -> Result<Option<String>, String> {
        let ends = self.parts.log.offsets(&self.places(), At::End).map_err(fail)?;
        for ((place, committed), end) in self.places().into_iter().zip(self.committed()?).zip(ends) {
            let Some(committed) = committed else { return Ok(Some(format!("{place} has no offset"))) };
            let at = committed.offset;
            if at > end {
                return Err(format!("{place}: {at} is committed, the end is {end}"));
            }
            if at < end && !self.records(&place, at, end)?.is_empty() {
                return Ok(Some(format!("{place} is committed up to {at} of {end}")));
            }
        }
        Ok(None)
    }

    /// All of a partition.
    pub(crate) fn all(&self, topic: &str, partition: u32) -> Result<Vec<Seen>, String> {
        let place = [TopicPartition::new(topic, partition)];
        let at = |at| self.parts.log.offsets(&place, at).map_err(fail);
        self.records(&place[0], at(At::Start)?[0], at(At::End)?[0])
    }

    fn records(&self, place: &TopicPartition, from: i64, end: i64) -> Result<Vec<Seen>, String> {
        if from >= end {
            return Ok(Vec::new());
        }
        let mut reader = self.parts.log.reader(&[(place.clone(), from)]).map_err(fail)?;
        let mut seen = Vec::new();
        for _ in 0..100_000 {
            if reader.position(place).map_err(fail)? >= end {
                return Ok(seen);
            }
            let mut take = |batch: tidemark_log::Batch<'_>| {
                seen.extend(batch.records.iter().map(|record| Seen {
                    offset: record.offset,
                    appended_at: record.timestamp,
                    key: record.key.map(<[u8]>::to_vec),
                    value: record.value.map(<[u8]>::to_vec),
                }));
            };
            reader.poll(self.wait, &mut take).map_err(fail)?;
        }
        Err(format!("{place} cannot be read from {from} to its end {end}"))
    }

    /// What a stage finds that restores everything and reads nothing: the states by partition.
    pub(crate) fn restored(&self) -> Result<BTreeMap<u32, State>, String> {
        let tap = Tap::default();
        let shown = std::sync::Arc::clone(&tap);
        let process = move |partition| Accounts::new(partition, &tap);
        let mut stage = KeyedStage::new(self.plan.clone().into(), process, self.parts);
        stage.assign(&self.places(), 0).map_err(|e| e.to_string())?;
        for _ in 0..10_000 {
            if stage.restore().map_err(|e| e.to_string())?.is_some() {
                return Ok(shown.lock().unwrap().clone());
            }
        }
        Err("the restore does not end".to_owned())
    }
}
