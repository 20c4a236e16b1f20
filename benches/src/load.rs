//! Writes a workload to its source topic.

use crate::{Error, Workload};
use tidemark_jobs::flows::TOPIC;
use tidemark_log::{At, Cleanup, Log, Outgoing, TopicPartition, TopicSpec};
use tidemark_schemas::catalog;
use tidemark_schemas::registry::Registry;

/// Records of one transaction: enough that its end costs little, few enough to wait in the client's queue.
const RECORDS_PER_COMMIT: u64 = 50_000;
/// Kept so long: the default of the platform's telemetry topics.
const RETENTION_MS: i64 = 7 * 24 * 3_600_000;

/// Makes the source topic and writes record `i` to partition `i % partitions`, in order.
///
/// # Errors
/// The topic has records already, or the log or registry refuses.
pub fn load(log: &dyn Log, registry: &dyn Registry, workload: &Workload, partitions: u32) -> Result<(), Error> {
    make_topic(log, partitions)?;
    let schema = registry.register(&format!("{TOPIC}-value"), &catalog::FLOW_OBSERVED.avsc)?;
    let mut producer = log.producer("tidemark-benches-load")?;
    let (mut from, mut value) = (0, Vec::new());
    while from < workload.records() {
        let to = workload.records().min(from + RECORDS_PER_COMMIT);
        producer.commit(&mut |sink| {
            (from..to).try_for_each(|i| {
                value.clear();
                workload.put(i, schema, &mut value);
                let partition = (i % u64::from(partitions)) as u32;
                sink.send(Outgoing { topic: TOPIC, partition, value: Some(&value), ..Outgoing::default() })
            })
        })?;
        from = to;
    }
    Ok(())
}

fn make_topic(log: &dyn Log, partitions: u32) -> Result<(), Error> {
    let retention_ms = Some(RETENTION_MS);
    log.create_topics(&[TopicSpec { name: TOPIC.into(), partitions, cleanup: Cleanup::Delete, retention_ms }])?;
    let all: Vec<TopicPartition> = (0..partitions).map(|partition| TopicPartition::new(TOPIC, partition)).collect();
    let empty = log.offsets(&all, At::End)?.into_iter().all(|end| end == 0);
    if empty { Ok(()) } else { Err(Error::NotEmpty(TOPIC)) }
}
