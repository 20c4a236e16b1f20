//! What a job needs around it, made once and found again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tidemark_core::Job;
use tidemark_jobs::flows::{self, Settings};
use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::{Cleanup, GroupOffset, Log, Outgoing, TopicPartition, TopicSpec, system_clock};
use tidemark_runtime::{Error, Plan};
use tidemark_schemas::catalog;
use tidemark_schemas::registry::{self, Registry};

/// Gives every schema an id of its own.
#[derive(Default)]
struct Ids(AtomicU32);

impl Registry for Ids {
    fn register(&self, _subject: &str, _schema: &str) -> Result<u32, registry::Error> {
        Ok(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
    fn schema(&self, _id: u32) -> Result<Option<Arc<str>>, registry::Error> {
        Ok(None)
    }
}

fn plan() -> Plan {
    Plan::new(flows::hourly(&Settings { merge_partitions: 2, ..Settings::default() }).unwrap().spec().clone()).unwrap()
}

fn with_sources() -> (tempfile::TempDir, Arc<EmbeddedLog>) {
    let dir = tempfile::TempDir::new().unwrap();
    let log = EmbeddedLog::open(dir.path(), system_clock()).unwrap();
    let source = TopicSpec { name: flows::TOPIC.into(), partitions: 1, cleanup: Cleanup::Delete, retention_ms: None };
    log.create_topics(&[source]).unwrap();
    (dir, log)
}

fn write(log: &dyn Log, topic: &str) {
    let record = Outgoing { topic, partition: 1, key: Some(b"k"), value: Some(b"v"), ..Outgoing::default() };
    log.producer("w").unwrap().commit(&mut |sink| sink.send(record)).unwrap();
}

#[test]
fn a_job_that_has_run_starts_again() {
    let (_dir, log) = with_sources();
    plan().create(log.as_ref(), &Ids::default(), &catalog::FLOW_HOURLY).unwrap();
    write(log.as_ref(), &plan().partials);
    write(log.as_ref(), &plan().changelog);
    plan().create(log.as_ref(), &Ids::default(), &catalog::FLOW_HOURLY).unwrap();
}

#[test]
fn a_job_whose_offsets_were_deleted_does_not_start_again_from_the_beginning() {
    for group in ["partial", "merge"] {
        let (_dir, log) = with_sources();
        log.create_topics(&plan().topics()).unwrap();
        write(log.as_ref(), &plan().changelog);
        if group == "merge" {
            let partition = TopicPartition::new(flows::TOPIC, 0);
            let there = GroupOffset { partition, offset: 0, metadata: String::new() };
            log.init_group(&plan().group("partial"), &[there]).unwrap();
        }
        let error = plan().create(log.as_ref(), &Ids::default(), &catalog::FLOW_HOURLY).unwrap_err();
        assert!(
            matches!(&error, Error::OffsetsDeleted { group: named, .. } if *named == plan().group(group)),
            "{error}"
        );
        assert!(!error.is_retriable() && error.to_string().contains("flows.version = 2"), "{error}");
    }
}

/// Topics that have grown cannot be made smaller: whoever tries another number must be able to go back.
#[test]
fn another_number_of_merge_partitions_is_refused_before_anything_grows() {
    let (_dir, log) = with_sources();
    plan().create(log.as_ref(), &Ids::default(), &catalog::FLOW_HOURLY).unwrap();
    let more = flows::hourly(&Settings { merge_partitions: 4, ..Settings::default() }).unwrap();
    let mut more = Plan::new(more.spec().clone()).unwrap();
    let error = more.create(log.as_ref(), &Ids::default(), &catalog::FLOW_HOURLY).unwrap_err();
    assert!(matches!(error, Error::MergePartitions { found: 2, declared: 4, .. }), "{error}");
    assert!(!error.is_retriable() && error.to_string().contains("set merge_partitions back to 2"), "{error}");
    assert_eq!(log.partitions(&plan().partials).unwrap(), Some(2));
    plan().create(log.as_ref(), &Ids::default(), &catalog::FLOW_HOURLY).unwrap();
}
