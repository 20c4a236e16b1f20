//! The embedded log in the suite, and what only it can be asked: time moved by hand, files damaged, CPU while idle.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::{At, Cleanup, Clock, Error, Event, GroupOffset, Log, Outgoing, TopicSpec, system_clock};

use crate::support::*;

conformance_suite!(Embedded::new());
conformance_suite!(@of Embedded::new(), deletions, readers_and_members_of_a_deleted_topic_are_told);

struct Embedded {
    log: Arc<EmbeddedLog>,
    names: AtomicU64,
    now: Arc<AtomicI64>,
    dir: TempDir,
}

impl Embedded {
    fn new() -> Self {
        Self::with(system_clock(), Arc::default())
    }

    /// Its clock stands still until moved.
    fn by_hand() -> Self {
        let now = Arc::new(AtomicI64::new(1_700_000_000_000));
        let read = now.clone();
        Self::with(Arc::new(move || read.load(Ordering::SeqCst)), now)
    }

    fn with(clock: Clock, now: Arc<AtomicI64>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(dir.path(), clock).unwrap();
        Self { log, names: AtomicU64::new(0), now, dir }
    }

    /// Closes the log and opens it again.
    fn reopened(self) -> Self {
        let Self { log, names, now, dir } = self;
        drop(log);
        let read = now.clone();
        let log = EmbeddedLog::open(dir.path(), Arc::new(move || read.load(Ordering::SeqCst))).unwrap();
        Self { log, names, now, dir }
    }

    fn later(&self, ms: i64) {
        self.now.fetch_add(ms, Ordering::SeqCst);
    }

    fn make(&self, what: &str, cleanup: Cleanup, retention_ms: Option<i64>) -> String {
        let name = self.name(what);
        self.log.create_topics(&[TopicSpec { name: name.clone(), partitions: 1, cleanup, retention_ms }]).unwrap();
        name
    }

    fn put(&self, topic: &str, records: &[(&str, Option<&str>)]) {
        let mut producer = self.log.producer("put").unwrap();
        producer
            .commit(&mut |sink| {
                records.iter().try_for_each(|(key, value)| {
                    let (key, value) = (Some(key.as_bytes()), value.map(str::as_bytes));
                    sink.send(Outgoing { topic, partition: 0, key, value, headers: &[("h", b"kept")] })
                })
            })
            .unwrap();
    }

    /// Offset, key and value of all that is left.
    fn left(&self, topic: &str) -> Vec<(i64, String, Option<String>)> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let start = self.log.offsets(&[at(topic, 0)], At::Start).unwrap()[0];
        let read = read_to_end(self, &[(at(topic, 0), start)]).remove(&at(topic, 0)).unwrap_or_default();
        read.into_iter().map(|r| (r.offset, text(r.key.unwrap()), r.value.map(text))).collect()
    }
}

impl Fixture for Embedded {
    fn log(&self) -> Arc<dyn Log> {
        self.log.clone()
    }

    fn name(&self, what: &str) -> String {
        format!("{what}-{}", self.names.fetch_add(1, Ordering::SeqCst))
    }

    /// Short would do, but a disk that stalls for seconds must not put a member out.
    fn session_timeout(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }
}

const HOUR: i64 = 3_600_000;

#[test]
fn retention_deletes_by_age_and_moves_the_start() {
    let fixture = Embedded::by_hand();
    let topic = fixture.make("aged", Cleanup::Delete, Some(2 * HOUR));
    let forever = fixture.make("forever", Cleanup::Delete, None);
    for value in ["a", "b", "c"] {
        fixture.put(&topic, &[("k", Some(value)), ("k", Some(value))]);
        fixture.put(&forever, &[("k", Some(value))]);
        fixture.later(HOUR);
    }
    let mut slow = fixture.log.reader(&[(at(&topic, 0), 0)]).unwrap();
    fixture.log.maintain().unwrap();
    let left: Vec<_> = fixture.left(&topic).into_iter().map(|(offset, ..)| offset).collect();
    assert_eq!(left, [2, 3, 4, 5], "records of exactly the retention's age stay");
    assert_eq!(fixture.log.offsets(&[at(&topic, 0)], At::Time(0)).unwrap(), [2]);
    match slow.poll(Duration::ZERO, &mut |_| panic!("read what is gone")) {
        Err(Error::OffsetGone { partition, wanted, start }) => {
            assert_eq!((partition, wanted, start), (at(&topic, 0), 0, 2))
        }
        other => panic!("{other:?}"),
    }
    drop(slow);
    fixture.later(10 * HOUR);
    fixture.log.maintain().unwrap();
    let fixture = fixture.reopened();
    let offset = |at_| fixture.log.offsets(&[at(&topic, 0)], at_).unwrap()[0];
    assert_eq!((offset(At::Start), offset(At::End)), (6, 6), "an emptied partition keeps its end");
    fixture.put(&topic, &[("k", Some("d"))]);
    assert_eq!(fixture.left(&topic), [(6, "k".to_owned(), Some("d".to_owned()))]);
    assert_eq!(fixture.left(&forever).len(), 3);
}

#[test]
fn a_member_at_an_offset_that_is_gone_is_told() {
    let fixture = Embedded::by_hand();
    let topic = fixture.make("aged", Cleanup::Delete, Some(HOUR));
    fixture.put(&topic, &[("k", Some("a"))]);
    fixture.later(2 * HOUR);
    fixture.log.maintain().unwrap();
    let mut member = Consumer::join(&fixture, "g", &[&topic], "m");
    assert_eq!(member.poll().unwrap(), Event::Assigned(vec![at(&topic, 0)]));
    member.member.start(&[(at(&topic, 0), 0)]).unwrap();
    assert!(matches!(member.poll(), Err(Error::OffsetGone { wanted: 0, start: 1, .. })));
}

#[test]
fn compaction_keeps_the_last_record_of_each_key() {
    let fixture = Embedded::by_hand();
    let topic = fixture.make("state", Cleanup::Compact, None);
    fixture.put(&topic, &[("a", Some("1")), ("b", Some("1")), ("a", Some("2"))]);
    fixture.put(&topic, &[("c", Some("1")), ("b", None)]);
    fixture.put(&topic, &[("a", Some("3"))]);
    fixture.log.maintain().unwrap();
    let key = |offset, key: &str, value: Option<&str>| (offset, key.to_owned(), value.map(str::to_owned));
    let once = [key(3, "c", Some("1")), key(4, "b", None), key(5, "a", Some("3"))];
    assert_eq!(fixture.left(&topic), once, "offsets stay, tombstones too for a day");
    fixture.later(23 * HOUR);
    fixture.log.maintain().unwrap();
    assert_eq!(fixture.left(&topic), once);
    let fixture = fixture.reopened();
    fixture.later(2 * HOUR);
    fixture.log.maintain().unwrap();
    assert_eq!(fixture.left(&topic), [once[0].clone(), once[2].clone()]);
    fixture.put(&topic, &[("c", None)]);
    fixture.log.maintain().unwrap();
    assert_eq!(fixture.left(&topic), [once[2].clone(), key(6, "c", None)]);
    fixture.later(25 * HOUR);
    fixture.log.maintain().unwrap();
    let fixture = fixture.reopened();
    assert_eq!(fixture.left(&topic), [once[2].clone()]);
    assert_eq!(fixture.log.offsets(&[at(&topic, 0)], At::End).unwrap(), [7], "the end stays past what compaction took");
}

#[test]
fn a_compacted_topic_takes_no_record_without_key() {
    let fixture = Embedded::by_hand();
    let topic = fixture.make("state", Cleanup::Compact, None);
    let mut producer = fixture.log.producer("p").unwrap();
    assert!(matches!(producer.commit(&mut |sink| sink.send(plain(&topic, 0, b"v"))), Err(Error::Invalid(_))));
}

#[test]
fn compaction_and_retention_race_with_appends_and_lose_nothing() {
    const KEYS: u64 = 50;
    let fixture = Embedded::new();
    let topic = fixture.make("state", Cleanup::CompactAndDelete, Some(HOUR));
    let done = std::sync::atomic::AtomicBool::new(false);
    let mut last = std::collections::BTreeMap::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                fixture.log.maintain().unwrap();
            }
        });
        let mut producer = fixture.log.producer("p").unwrap();
        for round in 0..200_u64 {
            let key = |n: u64| format!("k{}", (round * 7 + n * n) % KEYS);
            producer
                .commit(&mut |sink| {
                    (0..20).try_for_each(|n| {
                        let (key, value) = (key(n), format!("{round}:{n}"));
                        let (k, v) = (Some(key.as_bytes()), Some(value.as_bytes()));
                        sink.send(Outgoing { topic: &topic, partition: 0, key: k, value: v, headers: &[] })?;
                        last.insert(key, value);
                        Ok(())
                    })
                })
                .unwrap();
        }
        done.store(true, Ordering::SeqCst);
    });
    fixture.log.maintain().unwrap();
    let left: std::collections::BTreeMap<_, _> =
        fixture.left(&topic).into_iter().map(|(_, key, value)| (key, value.unwrap())).collect();
    assert_eq!(left, last);
}

#[test]
fn everything_is_there_after_opening_again() {
    let fixture = Embedded::by_hand();
    let topic = fixture.make("kept", Cleanup::Delete, Some(HOUR));
    fixture.put(&topic, &[("a", Some("1")), ("b", None)]);
    let offset = GroupOffset { partition: at(&topic, 0), offset: 2, metadata: "m".to_owned() };
    fixture.log.init_group("g", &[offset]).unwrap();
    let before = fixture.left(&topic);
    let fixture = fixture.reopened();
    assert_eq!(fixture.left(&topic), before);
    assert_eq!(committed(&fixture, "g", &at(&topic, 0)), Some((2, "m".to_owned())));
    assert_eq!(fixture.log.partitions(&topic).unwrap(), Some(1));
    fixture.later(-HOUR);
    fixture.put(&topic, &[("c", Some("3"))]);
    let read = read_to_end(&fixture, &[(at(&topic, 0), 0)]);
    assert!(read[&at(&topic, 0)].is_sorted_by_key(|r| r.timestamp), "append times never go back");
    assert_eq!(read[&at(&topic, 0)].last().unwrap().offset, 2);
}

#[test]
fn a_directory_in_use_is_refused_with_its_owner() {
    let fixture = Embedded::new();
    let Err(error) = EmbeddedLog::open(fixture.dir.path(), system_clock()) else { panic!("opened twice") };
    let text = error.to_string();
    for part in [fixture.dir.path().to_str().unwrap(), &format!("process {}", std::process::id()), "stop that one"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_record_or_partition_that_cannot_be_is_refused_whole() {
    let fixture = Embedded::new();
    let topic = fixture.make("strict", Cleanup::Delete, None);
    let mut producer = fixture.log.producer("p").unwrap();
    let large = vec![0; 1024 * 1024 + 1];
    for bad in [plain(&topic, 0, &large), plain(&topic, 1, b"v"), plain("nowhere", 0, b"v")] {
        let refused = producer.commit(&mut |sink| {
            sink.send(plain(&topic, 0, b"before"))?;
            sink.send(bad)
        });
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
    assert_eq!(fixture.log.offsets(&[at(&topic, 0)], At::End).unwrap(), [0]);
}

/// The value at an offset of the log that is damaged below.
fn written(offset: i64) -> String {
    format!("value {offset} of a record that will be found on disk")
}

/// A closed log of 300 records, and its topic. What is on disk is in tables, not in the journal only.
fn closed() -> (TempDir, String) {
    let fixture = Embedded::by_hand();
    let topic = fixture.make("damaged", Cleanup::Delete, None);
    for n in 0..100 {
        let values = [written(3 * n), written(3 * n + 1), written(3 * n + 2)];
        fixture.put(&topic, &values.each_ref().map(|v| ("key", Some(v.as_str()))));
    }
    let Embedded { log, dir, .. } = fixture;
    drop(log);
    let (_db, records) = storage(dir.path());
    records.rotate_memtable_and_wait().unwrap();
    (dir, topic)
}

fn storage(dir: &Path) -> (fjall::Database, fjall::Keyspace) {
    let db = fjall::Database::builder(dir.join("data")).open().unwrap();
    let records = db.keyspace("records", fjall::KeyspaceCreateOptions::default).unwrap();
    (db, records)
}

/// Reads a log until its end or an error; what it gives must be what was written. Returns the records read.
fn read_damaged(log: &EmbeddedLog, topic: &str) -> Result<i64, Error> {
    let end = log.offsets(&[at(topic, 0)], At::StableEnd)?[0];
    let mut reader = log.reader(&[(at(topic, 0), 0)])?;
    let mut next = 0;
    while reader.position(&at(topic, 0))? < end {
        reader.poll(Duration::ZERO, &mut |batch| {
            for record in batch.records {
                assert_eq!((record.offset, record.value), (next, Some(written(next).as_bytes())));
                next += 1;
            }
        })?;
    }
    Ok(next)
}

#[test]
fn a_damaged_batch_is_an_error_that_names_it() {
    let (dir, topic) = closed();
    let (db, records) = storage(dir.path());
    let (key, value) = records.iter().nth(50).unwrap().into_inner().unwrap();
    let damaged: [Vec<u8>; 4] =
        [Vec::new(), vec![9; 100], value[..value.len() - 1].to_vec(), [&value[..], &[255; 9]].concat()];
    drop((db, records));
    for bytes in damaged {
        let (db, records) = storage(dir.path());
        records.insert(key.clone(), bytes).unwrap();
        drop((db, records));
        let log = EmbeddedLog::open(dir.path(), system_clock()).unwrap();
        let error = read_damaged(&log, &topic).unwrap_err().to_string();
        assert!(error.contains(&format!("{topic}-0 at offset 152")) && error.contains("restore"), "{error}");
        let mut after = log.reader(&[(at(&topic, 0), 153)]).unwrap();
        after.poll(Duration::ZERO, &mut |batch| assert_eq!(batch.records[0].offset % 3, 0)).unwrap();
    }
}

#[test]
fn flipped_bytes_on_disk_are_an_error_and_no_panic() {
    let (dir, topic) = closed();
    let mut noticed = 0;
    for file in files(dir.path()) {
        let name = file.strip_prefix(dir.path()).unwrap();
        let length = std::fs::read(&file).unwrap().iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
        for place in (0..length).step_by((length / 7).max(1)) {
            let copy = tempfile::tempdir().unwrap();
            copy_tree(dir.path(), copy.path());
            let mut bytes = std::fs::read(copy.path().join(name)).unwrap();
            bytes[place] ^= 0x55;
            std::fs::write(copy.path().join(name), bytes).unwrap();
            let read = EmbeddedLog::open(copy.path(), system_clock()).and_then(|log| read_damaged(&log, &topic));
            noticed += usize::from(read.is_err());
        }
    }
    assert!(noticed > 0, "a test that damages nothing proves nothing");
}

fn copy_tree(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(file, target).unwrap();
    }
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[test]
fn a_commit_under_way_when_its_topic_is_deleted_writes_nothing() {
    let fixture = Embedded::new();
    let (topic, other) = (fixture.make("gone", Cleanup::Delete, None), fixture.make("other", Cleanup::Delete, None));
    let mut producer = fixture.log.producer("p").unwrap();
    let failed = producer.commit(&mut |sink| {
        sink.send(plain(&other, 0, b"v"))?;
        sink.send(plain(&topic, 0, b"old"))?;
        fixture.log.delete_topics(std::slice::from_ref(&topic))?;
        let (name, cleanup) = (topic.clone(), Cleanup::Delete);
        fixture.log.create_topics(&[TopicSpec { name, partitions: 1, cleanup, retention_ms: None }])
    });
    assert!(matches!(&failed, Err(Error::Invalid(why)) if why.contains(&topic)), "{failed:?}");
    assert_eq!(fixture.log.offsets(&[at(&topic, 0), at(&other, 0)], At::End).unwrap(), [0, 0]);
}

/// It would move the group on a topic that it has never read.
#[test]
fn a_member_of_a_deleted_topic_commits_nothing_to_one_of_its_name() {
    let fixture = Embedded::new();
    let (topic, group) = (fixture.make("gone", Cleanup::Delete, None), fixture.name("group"));
    fixture.put(&topic, &[("k", Some("a"))]);
    let mut member = Consumer::join(&fixture, &group, &[&topic], "m");
    drive(&fixture, "all is read", &mut [&mut member], |m| m[0].count() == 1);
    fixture.log.delete_topics(std::slice::from_ref(&topic)).unwrap();
    let (name, cleanup) = (topic.clone(), Cleanup::Delete);
    fixture.log.create_topics(&[TopicSpec { name, partitions: 1, cleanup, retention_ms: None }]).unwrap();
    let offset = GroupOffset { partition: at(&topic, 0), offset: 1, metadata: String::new() };
    let failed = member.member.commit(&mut |_| Ok(()), &[offset]);
    assert!(matches!(&failed, Err(Error::Invalid(why)) if why.contains("deleted")), "{failed:?}");
    assert!(matches!(member.poll(), Err(Error::Invalid(_))));
    assert_eq!(committed(&fixture, &group, &at(&topic, 0)), None);
}

#[test]
fn waiting_costs_no_cpu() {
    let fixture = Embedded::new();
    let topic = topic(&fixture, "idle", 4);
    let mut member = Consumer::join(&fixture, "g", &[&topic], "m");
    drive(&fixture, "all is owned", &mut [&mut member], |m| m[0].owned.len() == 4);
    let cpu_ns = || -> u64 {
        let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        stat.split_whitespace().next().unwrap().parse().unwrap()
    };
    let (cpu, wall) = (cpu_ns(), Instant::now());
    for _ in 0..10 {
        member.member.poll(Duration::from_millis(100), &mut |_| ()).unwrap();
    }
    let share = (cpu_ns() - cpu) as f64 / wall.elapsed().as_nanos() as f64;
    assert!(share < 0.01, "{share}");
}

#[test]
fn a_waiting_reader_is_woken_by_a_commit() {
    let fixture = Embedded::new();
    let topic = topic(&fixture, "woken", 1);
    let mut reader = fixture.log.reader(&[(at(&topic, 0), 0)]).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| write(fixture.log.as_ref(), "w", &[(&topic, 0, "x")]));
        let mut read = 0;
        reader.poll(Duration::from_secs(3600), &mut |batch| read += batch.records.len()).unwrap();
        assert_eq!(read, 1);
    });
}
