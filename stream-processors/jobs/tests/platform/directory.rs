//! The directory of jobs, changed by several processes at the same time.

use crate::registry::MemoryRegistry;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};
use tidemark_jobs::decide;
use tidemark_jobs::directory::{Directory, Error};
use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::{
    At, Error as LogError, GroupOffset, Log, Member, MemberConfig, Produce, Producer, Reader, TopicPartition,
    TopicSpec, system_clock,
};
use tidemark_schemas::jobs::{JobEntry, JobRetiring};
use tidemark_schemas::registry::Registry;

const PROCESSES: i32 = 4;
const CHANGES: i32 = 12;

/// The entry with one more note on it.
fn noted(known: Option<&JobEntry>, version: i32) -> JobEntry {
    let (job, topics, groups, table) = ("a.b".to_owned(), vec![], vec![], String::new());
    let note = JobRetiring { version, retired_at: 0, topics, groups, table, replica: None, until: 0 };
    let empty = JobEntry { job, changed_at: 0, current: None, previous: None, versions: vec![], retiring: vec![] };
    let mut entry = known.cloned().unwrap_or(empty);
    if entry.retiring.iter().all(|there| there.version != version) {
        entry.retiring.push(note);
    }
    entry
}

/// A log that writes a commit of the directory and says that it has failed.
struct Forgetful {
    log: Arc<EmbeddedLog>,
    lies: Arc<AtomicBool>,
}

struct Lying(Box<dyn Producer>, Arc<AtomicBool>);

impl Producer for Lying {
    fn commit(&mut self, produce: Produce<'_>) -> Result<(), LogError> {
        self.0.commit(produce)?;
        if self.1.swap(false, Ordering::SeqCst) {
            Err(LogError::Indefinite("cut off by the test".into()))
        } else {
            Ok(())
        }
    }
}

impl Log for Forgetful {
    fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        self.log.create_topics(topics)
    }
    fn delete_topics(&self, names: &[String]) -> Result<(), LogError> {
        self.log.delete_topics(names)
    }
    fn delete_groups(&self, groups: &[String]) -> Result<(), LogError> {
        self.log.delete_groups(groups)
    }
    fn partitions(&self, topic: &str) -> Result<Option<u32>, LogError> {
        self.log.partitions(topic)
    }
    fn offsets(&self, partitions: &[TopicPartition], at: At) -> Result<Vec<i64>, LogError> {
        self.log.offsets(partitions, at)
    }
    fn committed(&self, group: &str, partitions: &[TopicPartition]) -> Result<Vec<Option<GroupOffset>>, LogError> {
        self.log.committed(group, partitions)
    }
    fn init_group(&self, group: &str, offsets: &[GroupOffset]) -> Result<(), LogError> {
        self.log.init_group(group, offsets)
    }
    fn member(&self, config: &MemberConfig) -> Result<Box<dyn Member>, LogError> {
        self.log.member(config)
    }
    fn reader(&self, from: &[(TopicPartition, i64)]) -> Result<Box<dyn Reader>, LogError> {
        self.log.reader(from)
    }
    fn producer(&self, id: &str) -> Result<Box<dyn Producer>, LogError> {
        Ok(Box::new(Lying(self.log.producer(id)?, Arc::clone(&self.lies))))
    }
}

/// A change that depends on what is there, as a rollback, is made once even if its commit was written and reported as failed.
#[test]
fn what_was_written_is_not_decided_again() {
    let dir = tempfile::tempdir().unwrap();
    let lies = Arc::new(AtomicBool::new(false));
    let log = EmbeddedLog::open(dir.path(), system_clock()).unwrap();
    let log: Arc<dyn Log> = Arc::new(Forgetful { log, lies: Arc::clone(&lies) });
    let directory = Directory::open(log, Arc::new(MemoryRegistry::default())).unwrap();
    let (current, previous, now) = (Some(2), Some(1), AtomicI64::new(1));
    let first = JobEntry { current, previous, ..noted(None, 9) };
    directory.change::<(), String>(|_| Ok((first.clone(), ()))).unwrap();
    lies.store(true, Ordering::SeqCst);
    let rolled_back = directory.change::<(), _>(|entries| {
        decide::rollback(&entries["a.b"].1, now.fetch_add(1, Ordering::SeqCst)).map(|entry| (entry, ()))
    });
    let (entry, ()) = rolled_back.unwrap();
    assert_eq!((entry.current, entry.previous), (Some(1), Some(2)));
    assert_eq!(directory.entries().unwrap()["a.b"].1, entry);
    assert!(!lies.load(Ordering::SeqCst), "the commit was reported as failed");
}

/// Each is decided on all that were made before it: none is lost, and none is made twice.
#[test]
fn changes_at_the_same_time_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = EmbeddedLog::open(dir.path(), system_clock()).unwrap();
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::default());
    let directory = || Directory::open(Arc::clone(&log), Arc::clone(&registry)).unwrap();
    let together = Barrier::new(PROCESSES as usize);
    std::thread::scope(|scope| {
        for process in 0..PROCESSES {
            let (own, together) = (directory(), &together);
            scope.spawn(move || {
                together.wait();
                for n in 0..CHANGES {
                    let deadline = Instant::now() + Duration::from_secs(60);
                    let version = process * CHANGES + n + 1;
                    // Where the others are always quicker, it is up to whoever asked to try again.
                    while let Err(error) = own.change::<(), String>(|entries| {
                        Ok((noted(entries.get("a.b").map(|(_, entry)| entry), version), ()))
                    }) {
                        assert!(matches!(error, Error::Log(_)) && Instant::now() < deadline, "{error}");
                    }
                }
            });
        }
    });
    let entry = directory().entries().unwrap().remove("a.b").unwrap().1;
    let mut versions: Vec<i32> = entry.retiring.iter().map(|note| note.version).collect();
    versions.sort_unstable();
    assert_eq!(versions, (1..=PROCESSES * CHANGES).collect::<Vec<_>>());
}
