#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::{Error as LogError, GroupOffset, Member, MemberConfig, Produce, Reader, system_clock};

use super::*;

const LONG: &str = r#""long""#;
const INT: &str = r#""int""#;

fn open(dir: &tempfile::TempDir) -> Arc<EmbeddedLog> {
    EmbeddedLog::open(dir.path(), system_clock()).unwrap()
}

#[test]
fn what_was_registered_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    {
        let registry = EmbeddedRegistry::open(open(&dir)).unwrap();
        assert_eq!(registry.register("s", LONG), Ok(1));
        registry.set_level(Some("s"), "NONE").unwrap();
        assert_eq!(registry.register("s", INT), Ok(2));
        assert_eq!(registry.register("t", INT), Ok(2));
    }
    let registry = EmbeddedRegistry::open(open(&dir)).unwrap();
    assert_eq!(registry.schema(1).unwrap().as_deref(), Some(LONG));
    assert_eq!(registry.schema(3), Ok(None));
    assert_eq!(registry.register("s", LONG), Ok(1));
    assert!(registry.register("t", r#""string""#).is_err(), "t has the rule for all");
    assert_eq!(registry.read(|s| s.level_of("s").to_string()), "NONE");
    assert_eq!(registry.register("u", r#""bytes""#), Ok(3), "ids go on where they stopped");
}

#[test]
fn registering_at_once_gives_one_id() {
    let dir = tempfile::tempdir().unwrap();
    let registry = EmbeddedRegistry::open(open(&dir)).unwrap();
    let ids: Vec<u32> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| registry.register("s", LONG).unwrap())).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(ids, [1; 8]);
    assert_eq!(registry.read(|s| s.versions("s").unwrap().len()), 1);
}

#[test]
fn a_long_answer_holds_up_no_writer() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Arc::new(EmbeddedRegistry::open(open(&dir)).unwrap());
    let (told, hears) = std::sync::mpsc::channel();
    registry.read(|then| {
        let registry = Arc::clone(&registry);
        std::thread::spawn(move || told.send(registry.register("s", LONG)));
        assert_eq!(hears.recv_timeout(Duration::from_secs(10)).unwrap(), Ok(1));
        assert!(then.subjects().is_empty(), "what was asked first is answered as of then");
    });
    assert_eq!(registry.read(|now| now.subjects().len()), 1);
}

#[test]
fn refusals_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let registry = EmbeddedRegistry::open(open(&dir)).unwrap();
    registry.register("s", LONG).unwrap();
    let reason = "reader type int cannot read long (against version 1)".to_owned();
    assert_eq!(registry.register("s", INT), Err(registry::Error::Incompatible { subject: "s".into(), reason }));
    assert!(matches!(registry.register("s", "{"), Err(registry::Error::Invalid(_))));
}

/// A log whose commits, when told so, happen and end without an answer.
struct Unsure {
    log: Arc<EmbeddedLog>,
    unsure: Arc<AtomicBool>,
}

struct UnsureProducer(Box<dyn Producer>, Arc<AtomicBool>);

impl Producer for UnsureProducer {
    fn commit(&mut self, produce: Produce<'_>) -> Result<(), LogError> {
        self.0.commit(produce)?;
        if self.1.swap(false, SeqCst) { Err(LogError::Indefinite("timed out".into())) } else { Ok(()) }
    }
}

impl Log for Unsure {
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
    fn committed(&self, group: &str, of: &[TopicPartition]) -> Result<Vec<Option<GroupOffset>>, LogError> {
        self.log.committed(group, of)
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
        Ok(Box::new(UnsureProducer(self.log.producer(id)?, Arc::clone(&self.unsure))))
    }
}

#[test]
fn a_commit_without_an_answer_makes_no_second_version() {
    let dir = tempfile::tempdir().unwrap();
    let unsure = Arc::new(AtomicBool::new(false));
    let log = Unsure { log: open(&dir), unsure: Arc::clone(&unsure) };
    let registry = EmbeddedRegistry::open(Arc::new(log)).unwrap();
    unsure.store(true, SeqCst);
    assert!(matches!(registry.register("s", LONG), Err(registry::Error::Unavailable(_))));
    assert_eq!(registry.register("s", LONG), Ok(1));
    assert_eq!(registry.register("s", r#""double""#), Ok(2));
    assert_eq!(registry.read(|s| s.versions("s").unwrap().len()), 2);
}

#[test]
fn who_opens_it_anew_takes_it_over() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir);
    let first = EmbeddedRegistry::open(Arc::clone(&log) as Arc<dyn Log>).unwrap();
    let second = EmbeddedRegistry::open(log).unwrap();
    assert_eq!(second.register("s", LONG), Ok(1));
    assert!(matches!(first.register("s", INT), Err(registry::Error::Unavailable(_))), "fenced");
    assert!(
        matches!(first.register("s", INT), Err(registry::Error::Incompatible { .. })),
        "it has read the other's write"
    );
}
