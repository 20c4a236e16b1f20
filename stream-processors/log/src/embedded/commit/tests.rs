//! What a commit promises while the leader is in the middle of a write.

use super::*;
use crate::embedded::EmbeddedLog;
use crate::{At, Cleanup, Log, TopicSpec, system_clock};
use std::thread::Scope;
use std::time::{Duration, Instant};

/// A log whose leader is in the middle of a write that takes as long as the test wants.
struct Stalled {
    log: Arc<EmbeddedLog>,
    _dir: tempfile::TempDir,
}

impl Stalled {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(dir.path(), system_clock()).unwrap();
        let (name, cleanup) = ("t".to_owned(), Cleanup::Delete);
        log.create_topics(&[TopicSpec { name, partitions: 1, cleanup, retention_ms: None }]).unwrap();
        log.inner.lock().queue.led = true;
        Self { log, _dir: dir }
    }

    /// Ends the leader's turn, well or not.
    fn end(&self, outcome: Result<(), &str>) {
        let mut state = self.log.inner.lock();
        state.queue.led = false;
        state.queue.failed = outcome.err().map(str::to_owned);
        drop(state);
        self.log.inner.changed.notify_all();
    }

    fn commit(&self, id: &str) -> Result<(), Error> {
        let record = Outgoing { topic: "t", value: Some(b"v"), ..Outgoing::default() };
        self.log.producer(id).unwrap().commit(&mut |sink| sink.send(record))
    }

    /// Starts `act` and waits until `n` commits are accepted.
    fn start<'s, T: Send + 's>(
        &'s self,
        scope: &'s Scope<'s, '_>,
        n: u64,
        act: impl FnOnce() -> T + Send + 's,
    ) -> std::thread::ScopedJoinHandle<'s, T> {
        let started = scope.spawn(act);
        let until = Instant::now() + Duration::from_secs(30);
        while self.log.inner.lock().queue.accepted < n {
            assert!(Instant::now() < until, "the commit is not accepted");
            std::thread::yield_now();
        }
        started
    }

    fn ends(&self) -> (i64, i64) {
        let offset = |which| self.log.offsets(&[TopicPartition::new("t", 0)], which).unwrap();
        (offset(At::StableEnd).remove(0), offset(At::End).remove(0))
    }

    fn read(&self) -> usize {
        let mut reader = self.log.reader(&[(TopicPartition::new("t", 0), 0)]).unwrap();
        let mut read = 0;
        reader.poll(Duration::ZERO, &mut |batch| read += batch.records.len()).unwrap();
        read
    }
}

#[test]
fn nothing_is_seen_before_it_is_durable() {
    let stalled = Stalled::new();
    let offset = GroupOffset { partition: TopicPartition::new("t", 0), offset: 0, metadata: String::new() };
    std::thread::scope(|scope| {
        let a = stalled.start(scope, 1, || stalled.commit("a"));
        let b = stalled.start(scope, 2, || stalled.commit("b"));
        let init = stalled.start(scope, 3, || stalled.log.init_group("g", &[offset]));
        let committed = scope.spawn(|| stalled.log.committed("g", &[TopicPartition::new("t", 0)]));
        let seen = (stalled.ends(), stalled.read());
        let finished = [a.is_finished(), b.is_finished(), init.is_finished(), committed.is_finished()];
        // Before any assertion: the threads must end whatever comes out.
        stalled.end(Ok(()));
        assert_eq!((seen, finished), (((0, 2), 0), [false; 4]));
        for done in [a, b, init] {
            done.join().unwrap().unwrap();
        }
        assert!(committed.join().unwrap().unwrap().remove(0).is_some());
    });
    assert_eq!((stalled.ends(), stalled.read()), ((2, 2), 2));
}

#[test]
fn a_failed_write_is_indefinite_for_who_waited_and_definite_for_who_comes_after() {
    let stalled = Stalled::new();
    std::thread::scope(|scope| {
        let waiting = stalled.start(scope, 1, || stalled.commit("a"));
        stalled.end(Err("disk full"));
        match waiting.join().unwrap() {
            Err(Error::Indefinite(why)) => assert!(why.contains("disk full"), "{why}"),
            other => panic!("{other:?}"),
        }
    });
    assert!(matches!(stalled.commit("b"), Err(Error::Retriable(_))));
    assert_eq!((stalled.ends().0, stalled.read()), (0, 0));
}

#[test]
fn a_leader_that_panics_leaves_nobody_waiting() {
    let stalled = Stalled::new();
    std::thread::scope(|scope| {
        let waiting = stalled.start(scope, 1, || stalled.commit("a"));
        drop(Lead { inner: &stalled.log.inner, outcome: Err("the thread that wrote to the log panicked".to_owned()) });
        assert!(matches!(waiting.join().unwrap(), Err(Error::Indefinite(_))));
    });
}
