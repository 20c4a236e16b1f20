//! A stage against a member and an operator that do as they are told and write down what is asked of them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, in its helpers too")]

use super::*;
use crate::trace::CommitTrace;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::AtomicI64;
use tidemark_log::span::NoSpans;
use tidemark_log::{At, Batch, GroupOffset, Headers, OnBatch, Produce, Producer, Reader, Record, Sink, TopicSpec};
use tidemark_schemas::{registry, wire};

/// What a poll brings.
#[derive(Clone)]
enum Brings {
    Assigned,
    Records,
    Revoking,
    Lost,
    Nothing,
}

use Brings::{Assigned, Lost, Nothing, Records, Revoking};

/// What the test gave and what it saw.
#[derive(Default)]
struct Script {
    polls: Mutex<VecDeque<Brings>>,
    restores: Mutex<VecDeque<Result<bool, Error>>>,
    prepares: Mutex<VecDeque<Result<Prepared, Error>>>,
    commits: Mutex<VecDeque<tidemark_log::Error>>,
    unreadable: AtomicBool,
    full: AtomicBool,
    refuses: AtomicBool,
    seen: Mutex<Vec<&'static str>>,
    now: AtomicI64,
}

impl Script {
    fn note(&self, what: &'static str) {
        self.seen.lock().unwrap().push(what);
    }

    /// What was seen since the last time this was asked, without the polls.
    fn seen(&self) -> Vec<&'static str> {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        seen.into_iter().filter(|what| *what != "poll").collect()
    }

    fn polls(&self, brings: &[Brings]) {
        self.polls.lock().unwrap().extend(brings.iter().cloned());
    }

    fn prepares(&self, results: Vec<Result<Prepared, Error>>) {
        self.prepares.lock().unwrap().extend(results);
    }
}

fn owned() -> Vec<TopicPartition> {
    vec![TopicPartition::new("t", 0)]
}

fn down() -> Error {
    Error::Views(tidemark_views::Error::Unavailable("down".to_owned()))
}

struct FakeMember(Arc<Script>);

impl Member for FakeMember {
    fn poll(&mut self, _timeout: Duration, on_batch: OnBatch<'_>) -> Result<Event, tidemark_log::Error> {
        self.0.note("poll");
        let brings = self.0.polls.lock().unwrap().pop_front();
        Ok(match brings.unwrap_or(Nothing) {
            Assigned => Event::Assigned(owned()),
            Revoking => Event::Revoking(owned()),
            Lost => Event::Lost(owned()),
            Nothing => Event::Polled,
            Records => {
                let record = Record { offset: 0, timestamp: 0, key: None, value: None, headers: Headers::default() };
                on_batch(Batch { topic: "t", partition: 0, records: &[record] });
                Event::Polled
            }
        })
    }
    fn start(&mut self, _from: &[(TopicPartition, i64)]) -> Result<(), tidemark_log::Error> {
        self.0.note("start");
        Ok(())
    }
    fn release(&mut self) -> Result<(), tidemark_log::Error> {
        self.0.note("release");
        Ok(())
    }
    fn pause(&mut self, _partitions: &[TopicPartition], paused: bool) -> Result<(), tidemark_log::Error> {
        self.0.note(if paused { "pause" } else { "resume" });
        Ok(())
    }
    fn position(&self, _partition: &TopicPartition) -> Result<i64, tidemark_log::Error> {
        Ok(0)
    }
    fn end(&self, _partition: &TopicPartition) -> Result<Option<i64>, tidemark_log::Error> {
        Ok(None)
    }
    fn commit(&mut self, _produce: Produce<'_>, _offsets: &[GroupOffset]) -> Result<(), tidemark_log::Error> {
        self.0.note("commit");
        self.0.commits.lock().unwrap().pop_front().map_or(Ok(()), Err)
    }
    fn leave(&mut self) -> Result<(), tidemark_log::Error> {
        self.0.note("leave");
        Ok(())
    }
}

/// Gives members; nothing else is asked of it.
struct FakeLog(Arc<Script>);

fn unasked<T>() -> Result<T, tidemark_log::Error> {
    Err(tidemark_log::Error::Invalid("not asked for in these tests".to_owned()))
}

impl Log for FakeLog {
    fn create_topics(&self, _topics: &[TopicSpec]) -> Result<(), tidemark_log::Error> {
        unasked()
    }
    fn delete_topics(&self, _names: &[String]) -> Result<(), tidemark_log::Error> {
        unasked()
    }
    fn delete_groups(&self, _groups: &[String]) -> Result<(), tidemark_log::Error> {
        unasked()
    }
    fn partitions(&self, _topic: &str) -> Result<Option<u32>, tidemark_log::Error> {
        unasked()
    }
    fn offsets(&self, _partitions: &[TopicPartition], _at: At) -> Result<Vec<i64>, tidemark_log::Error> {
        unasked()
    }
    fn committed(
        &self,
        _group: &str,
        _partitions: &[TopicPartition],
    ) -> Result<Vec<Option<GroupOffset>>, tidemark_log::Error> {
        unasked()
    }
    fn init_group(&self, _group: &str, _offsets: &[GroupOffset]) -> Result<(), tidemark_log::Error> {
        unasked()
    }
    fn member(&self, _config: &MemberConfig) -> Result<Box<dyn Member>, tidemark_log::Error> {
        Ok(Box::new(FakeMember(Arc::clone(&self.0))))
    }
    fn reader(&self, _from: &[(TopicPartition, i64)]) -> Result<Box<dyn Reader>, tidemark_log::Error> {
        unasked()
    }
    fn producer(&self, _id: &str) -> Result<Box<dyn Producer>, tidemark_log::Error> {
        unasked()
    }
}

/// Has something to commit once it has folded.
struct FakeOperator {
    script: Arc<Script>,
    folded: bool,
    trace: CommitTrace,
}

impl Operator for FakeOperator {
    fn stage(&self) -> &'static str {
        "fake"
    }
    fn assign(&mut self, _owned: &[TopicPartition], _now: i64) -> Result<(), Error> {
        self.script.note("assign");
        self.folded = false;
        Ok(())
    }
    fn restore(&mut self) -> Result<Option<Vec<(TopicPartition, i64)>>, Error> {
        let loaded = self.script.restores.lock().unwrap().pop_front().unwrap_or(Ok(true))?;
        Ok(loaded.then(|| vec![(TopicPartition::new("t", 0), 0)]))
    }
    fn fold(&mut self, _batch: Batch<'_>, _now: i64) {
        self.script.note("fold");
        self.folded = true;
    }
    fn backlog(&self) -> Backlog {
        if self.script.refuses.load(Ordering::Relaxed) { Backlog::Full } else { Backlog::None }
    }
    fn trace(&mut self) -> &mut CommitTrace {
        &mut self.trace
    }
    fn check(&mut self) -> Result<(), Error> {
        if !self.script.unreadable.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let reason = wire::Error::Registry(registry::Error::Unavailable("down".to_owned()));
        Err(Error::Unreadable { topic: "t".to_owned(), partition: 0, offset: 0, reason })
    }
    fn tick(&mut self, _member: &mut dyn Member, _now: i64) -> Result<(), Error> {
        Ok(())
    }
    fn due(&self) -> Due {
        match (self.script.full.load(Ordering::Relaxed), self.folded) {
            (true, _) => Due::Now,
            (false, true) => Due::AtInterval,
            (false, false) => Due::Never,
        }
    }
    fn prepare(&mut self, _now: i64) -> Result<Prepared, Error> {
        self.script.note("prepare");
        self.folded = false;
        self.script.prepares.lock().unwrap().pop_front().unwrap_or(Ok(Prepared::Done))
    }
    fn produce(&mut self, _now: i64, _sink: &mut dyn Sink) -> Result<(), tidemark_log::Error> {
        Ok(())
    }
    fn offsets(&self, _member: &dyn Member) -> Result<Vec<GroupOffset>, Error> {
        Ok(Vec::new())
    }
    fn committed(&mut self, _now: i64) {}
    fn discard(&mut self) {
        self.script.note("discard");
        self.folded = false;
    }
}

const INTERVAL_MS: i64 = 100;

/// Runs `test` on a stage that has joined.
fn with_stage(test: impl FnOnce(Stage<'_>, &Arc<Script>)) {
    let script = Arc::new(Script::default());
    let (clock, metrics) = (Arc::clone(&script), Arc::new(Metrics::default()));
    let context = Context {
        log: Arc::new(FakeLog(Arc::clone(&script))),
        clock: Arc::new(move || clock.now.load(Ordering::Relaxed)),
        stop: Arc::new(AtomicBool::new(false)),
        metrics: Arc::clone(&metrics),
        spans: Arc::new(NoSpans),
    };
    let mut operator = FakeOperator { script: Arc::clone(&script), folded: false, trace: CommitTrace::default() };
    let (group, topics, id) = ("g".to_owned(), vec!["t".to_owned()], "m".to_owned());
    let member = MemberConfig { group, topics, id, session_timeout: Duration::from_secs(6) };
    let config = StageConfig { member, commit_interval_ms: INTERVAL_MS };
    let status = StageStatus::new("fake".to_owned(), metrics);
    let stage = Stage::join(&context, &mut operator, &config, &status).unwrap();
    script.seen();
    test(stage, &script);
}

/// Steps once, the commit interval later.
fn step(stage: &mut Stage<'_>, script: &Script) -> Result<(), Error> {
    script.now.fetch_add(INTERVAL_MS, Ordering::Relaxed);
    stage.step()
}

/// A stage that owns its partition and has folded records, with a store that answers as given.
fn with_folded(prepares: Vec<Result<Prepared, Error>>, test: impl FnOnce(Stage<'_>, &Arc<Script>)) {
    with_stage(|mut stage, script| {
        script.polls(&[Assigned, Records]);
        script.prepares(prepares);
        step(&mut stage, script).unwrap();
        step(&mut stage, script).unwrap();
        assert_eq!(script.seen()[..4], ["assign", "start", "fold", "prepare"]);
        test(stage, script);
    });
}

#[test]
fn a_revocation_during_a_restore_commits_nothing() {
    with_stage(|mut stage, script| {
        script.restores.lock().unwrap().extend([Ok(false), Ok(false)]);
        script.polls(&[Assigned, Records, Revoking, Records]);
        (0..4).for_each(|_| step(&mut stage, script).unwrap());
        // Records that come meanwhile were fetched for an earlier assignment.
        assert_eq!(script.seen(), ["assign", "discard", "release", "fold", "prepare", "commit"]);
    });
}

#[test]
fn a_revocation_while_the_store_is_down_commits_what_it_had_acknowledged() {
    with_folded(vec![Err(down())], |mut stage, script| {
        script.polls(&[Revoking]);
        script.now.fetch_add(-INTERVAL_MS, Ordering::Relaxed);
        step(&mut stage, script).unwrap();
        assert_eq!(script.seen(), ["commit", "discard", "release"]);
    });
}

#[test]
fn a_revocation_during_a_write_waits_for_it_a_while_and_commits_what_is_acknowledged() {
    let slow = || (0..LAST_CALLS + 10).map(|_| Ok(Prepared::More)).collect::<Vec<_>>();
    with_folded(slow(), |mut stage, script| {
        script.polls(&[Revoking]);
        step(&mut stage, script).unwrap();
        let seen = script.seen();
        let (prepares, rest) = seen.split_at(LAST_CALLS);
        assert!(prepares.iter().all(|what| *what == "prepare"), "{seen:?}");
        assert_eq!(rest, ["commit", "discard", "release"]);
    });
    with_folded(vec![Ok(Prepared::More), Ok(Prepared::More)], |mut stage, script| {
        script.polls(&[Revoking]);
        step(&mut stage, script).unwrap();
        assert_eq!(script.seen(), ["prepare", "prepare", "commit", "discard", "release"]);
    });
}

#[test]
fn partitions_that_are_lost_are_dropped_without_a_commit() {
    with_folded(vec![], |mut stage, script| {
        script.polls(&[Records, Lost]);
        stage.step().unwrap();
        step(&mut stage, script).unwrap();
        assert_eq!(script.seen(), ["fold", "discard", "release"]);
    });
}

#[test]
fn partitions_that_are_lost_during_a_write_are_dropped_without_a_commit() {
    with_folded(vec![Ok(Prepared::More)], |mut stage, script| {
        script.polls(&[Lost]);
        step(&mut stage, script).unwrap();
        assert_eq!(script.seen(), ["discard", "release"]);
    });
    with_folded(vec![Err(down())], |mut stage, script| {
        script.polls(&[Lost]);
        step(&mut stage, script).unwrap();
        assert_eq!(script.seen(), ["discard", "release"]);
    });
}

#[test]
fn a_commit_that_fails_ends_the_stage() {
    with_folded(vec![], |mut stage, script| {
        let indefinite = tidemark_log::Error::Indefinite("timed out".to_owned());
        script.commits.lock().unwrap().push_back(indefinite);
        script.polls(&[Records]);
        let error = step(&mut stage, script).unwrap_err();
        assert!(matches!(error, Error::Log(tidemark_log::Error::Indefinite(_))), "{error}");
        assert_eq!(script.seen(), ["fold", "prepare", "commit"]);
    });
}

#[test]
fn a_member_polls_between_the_slices_of_a_write_and_reads_on_until_it_is_full() {
    with_folded(vec![Ok(Prepared::More), Ok(Prepared::More), Ok(Prepared::More)], |mut stage, script| {
        script.polls(&[Records]);
        stage.step().unwrap();
        assert_eq!(script.seen(), ["fold", "prepare"]);
        script.full.store(true, Ordering::Relaxed);
        stage.step().unwrap();
        assert_eq!(script.seen(), ["prepare", "pause"]);
        script.full.store(false, Ordering::Relaxed);
        stage.step().unwrap();
        assert_eq!(script.seen(), ["prepare", "commit", "resume"]);
    });
}

/// Either reason to pause is enough, and neither end undoes the other.
#[test]
fn reading_is_paused_while_the_operator_takes_no_more() {
    with_folded(vec![Err(down()), Err(down())], |mut stage, script| {
        script.refuses.store(true, Ordering::Relaxed);
        script.now.fetch_add(STALL_RETRY_MS, Ordering::Relaxed);
        stage.step().unwrap();
        assert_eq!(script.seen(), ["prepare"]);
        script.now.fetch_add(STALL_RETRY_MS, Ordering::Relaxed);
        stage.step().unwrap();
        assert_eq!(script.seen(), ["prepare", "commit"], "no reason to resume");
        script.refuses.store(false, Ordering::Relaxed);
        stage.step().unwrap();
        assert_eq!(script.seen(), ["resume"]);
        script.refuses.store(true, Ordering::Relaxed);
        stage.step().unwrap();
        assert_eq!(script.seen(), ["pause"]);
    });
}

#[test]
fn a_store_that_is_down_is_asked_again_after_a_pause() {
    with_folded(vec![Err(down()), Err(down())], |mut stage, script| {
        assert!(stage.context.metrics.ready().unwrap_err().contains("down"));
        step(&mut stage, script).unwrap();
        assert_eq!(script.seen(), Vec::<&str>::new());
        script.now.fetch_add(STALL_RETRY_MS, Ordering::Relaxed);
        stage.step().unwrap();
        assert_eq!(script.seen(), ["prepare"]);
        script.now.fetch_add(STALL_RETRY_MS, Ordering::Relaxed);
        stage.step().unwrap();
        assert_eq!(script.seen(), ["prepare", "commit", "resume"]);
        assert_eq!(stage.context.metrics.ready(), Ok(()));
    });
}

#[test]
fn a_registry_that_is_down_costs_no_membership() {
    with_folded(vec![], |mut stage, script| {
        script.unreadable.store(true, Ordering::Relaxed);
        script.polls(&[Records, Records]);
        step(&mut stage, script).unwrap();
        assert_eq!(script.seen(), ["fold", "pause", "assign"]);
        step(&mut stage, script).unwrap();
        assert_eq!(script.seen(), Vec::<&str>::new());
        script.now.fetch_add(REWIND_PAUSE_MS, Ordering::Relaxed);
        stage.step().unwrap();
        assert_eq!(script.seen(), ["start", "resume"]);
    });
    with_folded(vec![], |mut stage, script| {
        script.unreadable.store(true, Ordering::Relaxed);
        script.polls(&[Revoking]);
        step(&mut stage, script).unwrap();
        assert_eq!(script.seen(), ["discard", "release"]);
    });
}

#[test]
fn a_stop_commits_and_leaves_whatever_is_under_way() {
    with_stage(|mut stage, script| {
        script.restores.lock().unwrap().push_back(Ok(false));
        script.polls(&[Assigned]);
        step(&mut stage, script).unwrap();
        stage.finish().unwrap();
        assert_eq!(script.seen(), ["assign", "leave"]);
    });
    with_folded(vec![], |mut stage, script| {
        script.polls(&[Records]);
        stage.step().unwrap();
        stage.finish().unwrap();
        assert_eq!(script.seen(), ["fold", "prepare", "commit", "leave"]);
    });
    with_folded(vec![Ok(Prepared::More), Ok(Prepared::More)], |stage, script| {
        stage.finish().unwrap();
        assert_eq!(script.seen(), ["pause", "prepare", "prepare", "commit", "resume", "leave"]);
    });
    with_folded(vec![Err(down())], |stage, script| {
        stage.finish().unwrap();
        assert_eq!(script.seen(), ["commit", "leave"]);
    });
    with_folded(vec![Ok(Prepared::More)], |stage, script| {
        script.polls(&[Lost]);
        stage.finish().unwrap();
        assert_eq!(script.seen(), ["pause", "discard", "release", "leave"]);
    });
}

#[test]
fn a_clock_set_back_ends_an_interval() {
    let facts = [(100, true), (99, false), (50, false), (49, true), (-1_000_000, true)];
    for (now, over) in facts {
        assert_eq!(is_over(now, 50, 50), over, "at {now}");
    }
}
