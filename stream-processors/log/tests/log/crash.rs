//! kill −9: what was acknowledged is there afterwards, nothing is torn, and nothing that was read is taken back.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::{At, Cleanup, Event, GroupOffset, Log, MemberConfig, Sink, TopicPartition, TopicSpec, system_clock};

use crate::support::{at, plain};

const TEST: &str = "crash::kill_nine_loses_nothing_acknowledged_and_tears_nothing";
/// Names the log's directory to the child; the same test is parent and child.
const CHILD: &str = "TIDEMARK_LOG_CRASH_CHILD";
const ROUNDS: u64 = 8;
const TOPICS: [&str; 2] = ["left", "right"];
/// Records that each commit writes to each topic.
const EACH: i64 = 3;

#[test]
fn kill_nine_loses_nothing_acknowledged_and_tears_nothing() {
    if let Ok(dir) = std::env::var(CHILD) {
        append_for_ever(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut done = 0;
    for round in 0..ROUNDS {
        let acknowledged = kill_after(dir.path(), Duration::from_millis(20 + round * 53 % 230));
        let found = verify(dir.path());
        assert!(
            found >= acknowledged && found >= done,
            "{acknowledged} and {done} were acknowledged, {found} are there"
        );
        assert!(acknowledged > 0, "a round that did nothing proves nothing");
        done = found;
    }
}

/// Runs the child until it has acknowledged something and `after` has passed, kills it, and returns how many commits it had
/// acknowledged or read by then.
fn kill_after(dir: &Path, after: Duration) -> i64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut last, mut first) = (0, None);
    for line in lines.map_while(Result::ok) {
        // The test harness prints lines of its own.
        let Some(count) = line.strip_prefix("commits ").and_then(|n| n.parse().ok()) else {
            continue;
        };
        last = count;
        if first.get_or_insert_with(Instant::now).elapsed() >= after {
            // Lines that are in the pipe already still count, so read on until it ends.
            let _ = child.kill();
        }
    }
    child.wait().unwrap();
    last
}

/// The child: each commit writes its number to both topics and moves the group.
fn append_for_ever(dir: &Path) -> ! {
    let log = open(dir);
    let topic =
        |name: &str| TopicSpec { name: name.into(), partitions: 1, cleanup: Cleanup::Delete, retention_ms: None };
    log.create_topics(&TOPICS.map(topic)).unwrap();
    let member = MemberConfig {
        group: "g".into(),
        topics: vec!["left".into()],
        id: "child".into(),
        session_timeout: Duration::from_secs(60),
    };
    let mut member = log.member(&member).unwrap();
    assert!(matches!(member.poll(Duration::from_secs(10), &mut |_| ()).unwrap(), Event::Assigned(_)));
    let mut n = log.offsets(&[at("left", 0)], At::StableEnd).unwrap()[0] / EACH;
    let watched = log.clone();
    std::thread::spawn(move || print_what_is_read(&watched));
    loop {
        let value = n.to_string();
        let mut send = |sink: &mut dyn Sink| {
            let places = TOPICS.iter().cycle().take(2 * EACH as usize);
            places.into_iter().try_for_each(|topic| sink.send(plain(topic, 0, value.as_bytes())))
        };
        n += 1;
        let offset = GroupOffset { partition: at("left", 0), offset: n * EACH, metadata: n.to_string() };
        member.commit(&mut send, &[offset]).unwrap();
        println!("\ncommits {n}");
    }
}

/// A reader beside the writer: what it has seen counts as given away.
fn print_what_is_read(log: &Arc<EmbeddedLog>) {
    let place = at("right", 0);
    let from = log.offsets(std::slice::from_ref(&place), At::StableEnd).unwrap()[0];
    let mut reader = log.reader(&[(place.clone(), from)]).unwrap();
    loop {
        reader.poll(Duration::from_secs(1), &mut |_| ()).unwrap();
        println!("\ncommits {}", reader.position(&place).unwrap() / EACH);
    }
}

/// Both topics hold the same numbers without gap, as does the group; returns how many.
fn verify(dir: &Path) -> i64 {
    let log = open(dir);
    let places: [TopicPartition; 2] = TOPICS.map(|t| at(t, 0));
    let ends = log.offsets(&places, At::End).unwrap();
    let commits = ends[0] / EACH;
    assert_eq!(ends, [commits * EACH; 2], "a commit was torn");
    let mut next = [0; 2];
    let mut reader = log.reader(&places.clone().map(|p| (p, 0))).unwrap();
    while next != [commits * EACH; 2] {
        reader
            .poll(Duration::from_secs(10), &mut |batch| {
                let next = &mut next[usize::from(batch.topic == "right")];
                for record in batch.records {
                    assert_eq!((record.offset, record.value), (*next, Some((*next / EACH).to_string().as_bytes())));
                    *next += 1;
                }
            })
            .unwrap();
    }
    let group = log.committed("g", &places[..1]).unwrap().remove(0);
    let group = group.map_or((0, "0".to_owned()), |g| (g.offset, g.metadata));
    assert_eq!(group, (commits * EACH, commits.to_string()), "the group's offset and its records came apart");
    commits
}

fn open(dir: &Path) -> Arc<EmbeddedLog> {
    EmbeddedLog::open(dir, system_clock()).unwrap()
}
