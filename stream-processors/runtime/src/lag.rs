//! How far the groups of a job are behind.

use crate::align::{Alignment, Standing, slowest};
use crate::writer::rows_next_offset;
use crate::{Metrics, Plan};
use std::collections::HashMap;
use tidemark_core::partial::parse_metadata;
use tidemark_log::{At, Error, GroupOffset, Log, TopicPartition};

impl Plan {
    /// Records between what the groups of its stages have committed and the ends of their topics, all together.
    ///
    /// # Errors
    /// The log does not answer.
    pub fn lag(&self, log: &dyn Log) -> Result<i64, Error> {
        let lags = stages(self).into_iter().map(|(stage, topics)| of_group(log, &self.group(stage), topics));
        let lags = lags.collect::<Result<Vec<_>, _>>()?;
        Ok(lags.iter().flatten().map(|lag| lag.records).sum())
    }
}

/// Each stage, and the topics that its group reads.
fn stages(plan: &Plan) -> [(&'static str, &[String]); 3] {
    [
        ("partial", &plan.spec.sources),
        ("merge", std::slice::from_ref(&plan.partials)),
        ("view-writer", std::slice::from_ref(&plan.view)),
    ]
}

/// What a stage's group reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reads {
    pub(crate) stage: &'static str,
    pub(crate) group: String,
    pub(crate) topics: Vec<String>,
}

/// Asks for the lag of every stage and sets the gauges; what cannot be had keeps its last value.
pub(crate) fn look(all: &[Reads], log: &dyn Log, metrics: &Metrics) {
    let mut by_stage: HashMap<&'static str, Vec<(TopicPartition, i64)>> = HashMap::new();
    for Reads { stage, group, topics } in all {
        match of_group(log, group, topics) {
            Ok(lags) => {
                let lags = lags.into_iter().map(|lag| (lag.partition, lag.records));
                by_stage.entry(stage).or_default().extend(lags);
            }
            Err(error) => return tracing::debug!(stage, %error, "the lag cannot be had"),
        }
    }
    by_stage.into_iter().for_each(|(stage, lags)| metrics.lag(stage, lags));
}

/// Asks again and again.
#[derive(Default)]
pub(crate) struct Looks {
    /// The ends of the source partitions at the look before.
    ends: HashMap<TopicPartition, i64>,
}

impl Looks {
    /// Asks for the lag of every stage and sets the gauges and the bound of the alignment; what cannot be had keeps its last
    /// value. Between two looks each stage has the time for a commit.
    pub(crate) fn look(&mut self, plan: &Plan, log: &dyn Log, metrics: &Metrics, alignment: &Alignment) {
        for (stage, topics) in stages(plan) {
            match of_group(log, &plan.group(stage), topics) {
                Ok(lags) => {
                    if stage == "partial" {
                        self.align(plan, &lags, alignment);
                    }
                    metrics.lag(stage, lags.into_iter().map(|lag| (lag.partition, lag.records)).collect());
                }
                Err(error) => {
                    if stage == "partial" {
                        alignment.learn_nothing();
                    }
                    tracing::debug!(stage, %error, "the lag cannot be had");
                }
            }
        }
    }

    fn align(&mut self, plan: &Plan, lags: &[Lag], alignment: &Alignment) {
        let fingerprint = plan.spec.fingerprint();
        let ends = &self.ends;
        alignment.learn(slowest(lags.iter().map(|lag| lag.standing(fingerprint, ends.get(&lag.partition)))));
        self.ends = lags.iter().map(|lag| (lag.partition.clone(), lag.end)).collect();
    }
}

/// How far a group is behind in one partition.
struct Lag {
    partition: TopicPartition,
    records: i64,
    end: i64,
    committed: Option<GroupOffset>,
}

impl Lag {
    fn standing(&self, fingerprint: i64, end_before: Option<&i64>) -> Standing {
        let committed = self.committed.as_ref();
        let at = committed.map_or(0, |at| at.offset);
        let position = committed.and_then(|at| parse_metadata(&at.metadata, fingerprint, at.offset).ok());
        Standing {
            behind: end_before.is_some_and(|end| at < *end),
            watermark: position.and_then(|position| position.watermark),
        }
    }
}

fn of_group(log: &dyn Log, group: &str, topics: &[String]) -> Result<Vec<Lag>, Error> {
    let mut partitions = Vec::new();
    for topic in topics {
        let count = log.partitions(topic)?.unwrap_or(0);
        partitions.extend((0..count).map(|partition| TopicPartition::new(topic.as_str(), partition)));
    }
    let ends = log.offsets(&partitions, At::StableEnd)?;
    let committed = log.committed(group, &partitions)?;
    let lag = |((partition, end), committed): ((TopicPartition, i64), Option<GroupOffset>)| {
        // Of the view writer: its rows are ahead of its offset while a watermark waits. Of other stages metadata is no number.
        let at = committed.as_ref().map_or(0, |at| at.offset.max(rows_next_offset(at).unwrap_or(0)));
        let records = (end - at).max(0);
        Lag { partition, records, end, committed }
    };
    Ok(partitions.into_iter().zip(ends).zip(committed).map(lag).collect())
}
