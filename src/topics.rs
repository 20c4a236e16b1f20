//! Topics as they are declared, and `tidemark topics …`.

use crate::config::Config;
use crate::open;
use tidemark_core::Job;
use tidemark_jobs::flows;
use tidemark_log::{Cleanup, Log, TopicSpec};
use tidemark_runtime::{Plan, keyed};

pub mod fetch;
pub mod records;
pub mod records_http;
pub mod remote;

/// The source topics of all jobs. Telemetry is kept for the retention. One that has been grown keeps its partitions: the jobs
/// take all there are.
///
/// # Errors
/// The log does not answer.
pub fn sources(config: &Config, log: &dyn Log) -> Result<Vec<TopicSpec>, tidemark_log::Error> {
    let there = log.partitions(flows::TOPIC)?.unwrap_or(0);
    let flows = flows_topic(config);
    Ok(vec![TopicSpec { partitions: flows.partitions.max(there), ..flows }])
}

/// The topic of flows as it is declared.
pub fn flows_topic(config: &Config) -> TopicSpec {
    TopicSpec {
        name: flows::TOPIC.into(),
        partitions: config.flows.partitions,
        cleanup: Cleanup::Delete,
        retention_ms: Some(config.flows.retention_ms),
    }
}

/// Every topic of the platform.
///
/// # Errors
/// The configuration makes a job that breaks a rule, or the log does not answer.
pub fn all(config: &Config, log: &dyn Log) -> anyhow::Result<Vec<TopicSpec>> {
    let job = flows::hourly(&config.flows.job())?;
    let mut topics = sources(config, log)?;
    topics.extend([tidemark_gateway::answers_topic(), tidemark_gateway::positions_topic()]);
    let plan = Plan::new(job.spec().clone())?;
    plan.check_topics(log)?;
    topics.extend(plan.topics());
    topics.extend(keyed::Plan::new(tidemark_jobs::documents::plan::spec()).topics());
    for topic in tidemark_notifier::plan::topics() {
        if topics.iter().all(|known| known.name != topic.name) {
            topics.push(topic);
        }
    }
    Ok(topics)
}

/// Makes every topic on Kafka as it is declared and prints them.
///
/// # Errors
/// The cluster refuses or does not answer.
pub fn apply(config: &Config) -> anyhow::Result<()> {
    let log = open::kafka_only(config)?;
    let topics = all(config, log.as_ref())?;
    log.create_topics(&topics)?;
    println!("{:<44} {:>10}  {:<16} retention", "topic", "partitions", "cleanup");
    for topic in topics {
        let cleanup = match topic.cleanup {
            Cleanup::Delete => "delete",
            Cleanup::Compact => "compact",
            Cleanup::CompactAndDelete => "compact,delete",
        };
        let retention = topic.retention_ms.map_or("unlimited".into(), |ms| format!("{} h", ms / 3_600_000));
        println!("{:<44} {:>10}  {:<16} {retention}", topic.name, topic.partitions, cleanup);
    }
    Ok(())
}
