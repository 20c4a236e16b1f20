//! Deletion on the embedded log: on disk, after opening it again, and cut off by kill −9.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::{At, Cleanup, GroupOffset, Log, Sink, TopicSpec, system_clock};

use crate::support::{at, eventually_within, plain};

const TEST: &str = "deletions::kill_nine_in_the_middle_of_a_deletion";
/// Names the log's directory to the child; the same test is parent and child.
const CHILD: &str = "TIDEMARK_LOG_DELETION_CHILD";
const GONE: &str = "gone";
const KEPT: &str = "kept";

fn open(dir: &Path) -> Arc<EmbeddedLog> {
    EmbeddedLog::open(dir, system_clock()).unwrap()
}

fn make(log: &EmbeddedLog, name: &str, partitions: u32) {
    let spec = TopicSpec { name: name.to_owned(), partitions, cleanup: Cleanup::Delete, retention_ms: None };
    log.create_topics(&[spec]).unwrap();
}

fn offset(topic: &str, partition: u32, offset: i64) -> GroupOffset {
    GroupOffset { partition: at(topic, partition), offset, metadata: String::new() }
}

/// Two topics with many batches each, and a group that has read both.
fn fill(log: &EmbeddedLog) {
    // The last topic goes: the one that is made next after a restart may get its number.
    [KEPT, GONE].iter().for_each(|name| make(log, name, 2));
    let mut producer = log.producer("p").unwrap();
    let mut send = |sink: &mut dyn Sink| {
        [(GONE, 0), (GONE, 1), (KEPT, 0), (KEPT, 1)].iter().try_for_each(|(topic, p)| sink.send(plain(topic, *p, b"v")))
    };
    (0..1_200).for_each(|_| producer.commit(&mut send).unwrap());
    log.init_group("g", &[offset(GONE, 1, 7), offset(KEPT, 1, 7)]).unwrap();
    log.init_group("left", &[offset(KEPT, 0, 3)]).unwrap();
}

/// The first bytes of the keys that the storage has in `meta`, and the topic numbers of the batches in `records`.
fn stored(dir: &Path) -> (BTreeSet<u8>, BTreeSet<u32>) {
    let db = fjall::Database::builder(dir.join("data")).open().unwrap();
    let keys = |space: &str| -> Vec<fjall::UserKey> {
        let keyspace = db.keyspace(space, fjall::KeyspaceCreateOptions::default).unwrap();
        keyspace.iter().map(|entry| entry.key().unwrap()).collect()
    };
    let number = |key: &fjall::UserKey| u32::from_be_bytes(key[..4].try_into().unwrap());
    (keys("meta").iter().map(|key| key[0]).collect(), keys("records").iter().map(number).collect())
}

/// What was deleted is not there, its name begins anew, and everything else is as it was.
fn check(dir: &Path) {
    let log = open(dir);
    assert_eq!(log.partitions(GONE).unwrap(), None);
    assert_eq!(log.committed("g", &[at(KEPT, 1)]).unwrap()[0].as_ref().map(|at| at.offset), Some(7));
    assert_eq!(log.offsets(&[at(KEPT, 0), at(KEPT, 1)], At::End).unwrap(), [1_200, 1_200]);
    make(&log, GONE, 2);
    assert_eq!(log.offsets(&[at(GONE, 0), at(GONE, 1)], At::End).unwrap(), [0, 0]);
    assert_eq!(log.committed("g", &[at(GONE, 1)]).unwrap(), [None]);
    log.producer("p").unwrap().commit(&mut |sink| sink.send(plain(GONE, 0, b"new"))).unwrap();
    log.maintain().unwrap();
    let mut reader = log.reader(&[(at(GONE, 0), 0)]).unwrap();
    let mut read = Vec::new();
    let mut keep = |batch: tidemark_log::Batch<'_>| {
        read.extend(batch.records.iter().map(|record| (record.offset, record.value.map(<[u8]>::to_vec))));
    };
    reader.poll(Duration::from_secs(10), &mut keep).unwrap();
    assert_eq!(read, [(0, Some(b"new".to_vec()))]);
    drop(reader);
    drop(log);
    let (meta, topics) = stored(dir);
    assert!(!meta.contains(&b'd'), "the note of the deletion is left");
    assert_eq!(topics.len(), 2, "batches of {topics:?} are left");
    // Topics that were made since outlive another opening.
    let log = open(dir);
    assert_eq!(log.offsets(&[at(GONE, 0), at(GONE, 1), at(KEPT, 0)], At::End).unwrap(), [1, 0, 1_200]);
    assert_eq!(log.committed("g", &[at(GONE, 1)]).unwrap(), [None]);
}

#[test]
fn what_was_deleted_stays_so_when_the_log_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    fill(&log);
    log.delete_topics(&[GONE.to_owned()]).unwrap();
    log.delete_groups(&["left".to_owned()]).unwrap();
    drop(log);
    let (meta, topics) = stored(dir.path());
    assert_eq!((meta.contains(&b'd'), topics.len()), (false, 1), "it is removed on return");
    assert_eq!(open(dir.path()).committed("left", &[at(KEPT, 0)]).unwrap(), [None]);
    check(dir.path());
}

/// In turn: once the deletion is noted, in the midst of the batches, and after the last of them. With the topics that have
/// batches then.
#[test]
fn kill_nine_in_the_middle_of_a_deletion() {
    if let Ok(dir) = std::env::var(CHILD) {
        let log = open(Path::new(&dir));
        fill(&log);
        log.delete_topics(&[GONE.to_owned()]).unwrap();
        unreachable!("the failpoint has ended the process");
    }
    for (point, left) in [("embedded-topic-deleted:1", 2), ("embedded-topic-step:1", 2), ("embedded-topic-step:3", 1)] {
        let dir = tempfile::tempdir().unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", TEST])
            .env(CHILD, dir.path())
            .env("TIDEMARK_FAILPOINT", point)
            .output()
            .unwrap();
        assert!(
            !child.status.success() && !String::from_utf8_lossy(&child.stderr).contains("unreachable"),
            "{child:?}"
        );
        let (meta, topics) = stored(dir.path());
        assert_eq!((meta.contains(&b'd'), topics.len()), (true, left), "{point} is in the middle of it");
        check(dir.path());
    }
}

#[test]
fn the_space_of_a_deleted_topic_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    make(&log, GONE, 1);
    let mut word = 1_u64;
    let mut next = || {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (word >> 56) as u8
    };
    let value: Vec<u8> = (0..1_000_000).map(|_| next()).collect();
    let mut producer = log.producer("p").unwrap();
    (0..100).for_each(|_| producer.commit(&mut |sink| sink.send(plain(GONE, 0, &value))).unwrap());
    // The journal is not counted: its size is bounded, and what is in it is given back as it is written on.
    let tables = || bytes(&dir.path().join("data/keyspaces"));
    eventually_within(Duration::from_secs(60), "memory goes to the disk", || tables() > 60_000_000);
    let before = tables();
    log.delete_topics(&[GONE.to_owned()]).unwrap();
    let after = tables();
    assert!(after < before / 100, "{before} bytes before, {after} after");
}

fn bytes(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { bytes(&path) } else { path.metadata().unwrap().len() }).sum()
}
