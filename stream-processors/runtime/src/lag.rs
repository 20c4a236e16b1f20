//! How far the groups of a job are behind.

use crate::{Metrics, Plan};
use tidemark_log::{At, Error, Log, TopicPartition};

/// Asks for the lag of every stage and sets the gauges; what cannot be had keeps its last value.
pub(crate) fn ask(plan: &Plan, log: &dyn Log, metrics: &Metrics) {
    let stages: [(&'static str, &[String]); 3] = [
        ("partial", &plan.spec.sources),
        ("merge", std::slice::from_ref(&plan.partials)),
        ("view-writer", std::slice::from_ref(&plan.view)),
    ];
    for (stage, topics) in stages {
        match of_group(log, &plan.group(stage), topics) {
            Ok(lags) => metrics.lag(stage, lags),
            Err(error) => tracing::debug!(stage, %error, "the lag cannot be had"),
        }
    }
}

fn of_group(log: &dyn Log, group: &str, topics: &[String]) -> Result<Vec<(TopicPartition, i64)>, Error> {
    let mut partitions = Vec::new();
    for topic in topics {
        let count = log.partitions(topic)?.unwrap_or(0);
        partitions.extend((0..count).map(|partition| TopicPartition::new(topic.as_str(), partition)));
    }
    let ends = log.offsets(&partitions, At::StableEnd)?;
    let committed = log.committed(group, &partitions)?;
    let lag = |((partition, end), committed): ((TopicPartition, i64), Option<tidemark_log::GroupOffset>)| {
        (partition, (end - committed.map_or(0, |at| at.offset)).max(0))
    };
    Ok(partitions.into_iter().zip(ends).zip(committed).map(lag).collect())
}
