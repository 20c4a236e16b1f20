//! The simulated log in the suite, without faults, and what each of its faults does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidemark_log::simulated::{Faults, SimulatedLog, Time};
use tidemark_log::{At, Cleanup, Error, GroupOffset, Log, TopicSpec};

use crate::support::*;

conformance_suite!(Simulated::new());
conformance_suite!(@of Simulated::new(), deletions, readers_and_members_of_a_deleted_topic_are_told);

struct Simulated {
    log: Arc<SimulatedLog>,
    time: Arc<Time>,
    names: AtomicU64,
}

impl Simulated {
    fn new() -> Self {
        let time = Time::new(1_700_000_000_000);
        let log = SimulatedLog::new(Arc::clone(&time), 1).unwrap();
        Self { log, time, names: AtomicU64::new(0) }
    }

    fn only(&self, faults: Faults) {
        self.log.set(1, faults);
    }

    fn calm(&self) {
        self.only(Faults::default());
    }
}

impl Fixture for Simulated {
    fn log(&self) -> Arc<dyn Log> {
        self.log.clone()
    }
    fn name(&self, what: &str) -> String {
        format!("{what}-{}", self.names.fetch_add(1, Ordering::Relaxed))
    }
    fn session_timeout(&self) -> Duration {
        Duration::from_secs(6)
    }
    fn patience(&self) -> Duration {
        Duration::from_secs(30)
    }
    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.time.elapsed_ms())
    }
}

/// A member that owns the one partition of an input topic, and where it writes to.
struct Scene {
    sim: Simulated,
    input: String,
    output: String,
    group: String,
    member: Consumer,
}

fn scene() -> Scene {
    let sim = Simulated::new();
    let (input, output, group) = (topic(&sim, "in", 1), topic(&sim, "out", 1), sim.name("group"));
    write(sim.log.as_ref(), "writer", &[(&input, 0, "a"), (&input, 0, "b")]);
    let mut member = Consumer::join(&sim, &group, &[&input], "m");
    drive(&sim, "all is read", &mut [&mut member], |m| m[0].count() == 2);
    Scene { sim, input, output, group, member }
}

impl Scene {
    fn commit_with(&mut self, faults: Faults) -> Error {
        self.sim.only(faults);
        let failed = self.member.commit((&self.output, "x"), &at(&self.input, 0), 2, "");
        self.sim.calm();
        failed.unwrap_err()
    }

    /// What is there once all is settled: values, and the group's offset.
    fn outcome(&self) -> (Vec<String>, Option<i64>) {
        self.sim.log.settle().unwrap();
        let offset = committed(&self.sim, &self.group, &at(&self.input, 0)).map(|(offset, _)| offset);
        (values(&self.sim, &self.output, 0), offset)
    }
}

fn whole() -> (Vec<String>, Option<i64>) {
    (vec!["x".to_owned()], Some(2))
}

#[test]
fn what_was_acknowledged_outlives_a_crash() {
    // A crash may keep what was not synced, so that one seed alone proves nothing.
    for seed in 0..20 {
        let mut scene = scene();
        scene.sim.log.set(seed, Faults::default());
        scene.member.commit((&scene.output, "x"), &at(&scene.input, 0), 2, "").unwrap();
        scene.sim.log.crash().unwrap();
        assert!(matches!(scene.member.poll(), Err(Error::Retriable(_))), "its log is gone");
        assert_eq!(scene.outcome(), whole());
        assert_eq!(values(&scene.sim, &scene.input, 0), ["a", "b"]);
    }
}

#[test]
fn a_sync_that_fails_leaves_the_commit_in_doubt_and_the_log_broken() {
    let mut outcomes = Vec::new();
    for seed in 0..20 {
        let mut scene = scene();
        assert!(matches!(scene.commit_with(Faults { sync_fails: 1_000, ..Faults::default() }), Error::Indefinite(_)));
        assert!(scene.sim.log.is_broken());
        let another = scene.sim.log.producer("p").unwrap().commit(&mut |sink| sink.send(plain(&scene.output, 0, b"y")));
        assert!(matches!(another, Err(Error::Retriable(_))), "{another:?}");
        scene.sim.log.set(seed, Faults::default());
        scene.sim.log.crash().unwrap();
        outcomes.push(scene.outcome());
    }
    assert!(outcomes.contains(&whole()), "it was written");
    assert!(outcomes.contains(&(Vec::new(), None)), "it was lost");
    assert!(outcomes.iter().all(|o| *o == whole() || *o == (Vec::new(), None)), "never in part: {outcomes:?}");
}

#[test]
fn lost_answers_and_lost_commits() {
    let mut there = scene();
    assert!(matches!(there.commit_with(Faults { answer_lost: 1_000, ..Faults::default() }), Error::Indefinite(_)));
    assert_eq!(there.outcome(), whole());
    let mut lost = scene();
    assert!(matches!(lost.commit_with(Faults { commit_lost: 1_000, ..Faults::default() }), Error::Indefinite(_)));
    assert_eq!(lost.outcome(), (Vec::new(), None));
}

/// Whether the records of an open commit had their offsets, and how it ended, over some seeds.
#[test]
fn an_open_commit_holds_readers_back_until_it_ends() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let mut scene = scene();
        scene.sim.log.set(seed, Faults { open: 1_000, ..Faults::default() });
        scene.member.commit((&scene.output, "x"), &at(&scene.input, 0), 2, "").unwrap_err();
        scene.sim.log.set(seed, Faults::default());
        let place = [at(&scene.output, 0)];
        let ends = |which| scene.sim.log.offsets(&place, which).unwrap()[0];
        let appended = ends(At::End) > 0;
        assert_eq!(ends(At::StableEnd), 0);
        let mut other = scene.sim.log.producer("other").unwrap();
        other.commit(&mut |sink| sink.send(plain(&scene.output, 0, b"behind"))).unwrap();
        assert_eq!(ends(At::StableEnd) > 0, !appended, "what is behind an open commit is not read");
        let newer = Consumer::join(&scene.sim, &scene.group, &[&scene.input], "m");
        assert_eq!(ends(At::StableEnd), ends(At::End), "taking its id anew has ended it");
        drop(newer);
        let (values, offset) = scene.outcome();
        assert_eq!(values.contains(&"x".to_owned()), offset == Some(2), "whole or not at all");
        assert!(values.contains(&"behind".to_owned()));
        seen.insert((appended, offset.is_some()));
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
}

#[test]
fn a_stable_fetch_waits_for_open_commits_of_the_group() {
    let mut answers = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let mut scene = scene();
        scene.commit_with(Faults { open: 1_000, ..Faults::default() });
        scene.sim.log.set(seed, Faults::default());
        let first = scene.sim.log.committed(&scene.group, &[at(&scene.input, 0)]);
        let answer = first.map(|found| found[0].as_ref().map(|at| at.offset)).map_err(|e| e.to_string());
        if let Ok(offset) = &answer {
            assert_eq!(scene.outcome().1, *offset, "nothing changes after the answer");
        }
        answers.insert(answer.map_err(|_| "refused"));
    }
    assert_eq!(answers.len(), 3, "{answers:?}");
}

#[test]
fn a_delayed_commit_is_judged_when_it_arrives() {
    let mut scene = scene();
    assert!(matches!(scene.commit_with(Faults { delayed: 1_000, ..Faults::default() }), Error::Indefinite(_)));
    assert!(values(&scene.sim, &scene.output, 0).is_empty());
    assert_eq!(scene.outcome(), whole(), "its session had not expired");

    let mut zombie = self::scene();
    zombie.commit_with(Faults { delayed: 1_000, ..Faults::default() });
    zombie.sim.time.pass(7_000);
    assert_eq!(zombie.outcome(), (Vec::new(), None), "it arrived after its session");
    assert!(zombie.sim.log.injected().refused_late == 1 && zombie.sim.log.injected().delayed == 1);
}

#[test]
fn the_same_seed_gives_the_same_answers() {
    let run = |seed| {
        let sim = Simulated::new();
        let (input, group) = (topic(&sim, "in", 2), sim.name("group"));
        sim.log.set(
            seed,
            Faults { retriable: 200, answer_lost: 200, commit_lost: 100, slow: 50, slow_ms: 900, ..Faults::default() },
        );
        let offset = GroupOffset { partition: at(&input, 0), offset: 0, metadata: String::new() };
        let mut told = Vec::new();
        for n in 0..60_u8 {
            let sent =
                sim.log.producer("p").and_then(|mut p| p.commit(&mut |sink| sink.send(plain(&input, n.into(), &[n]))));
            told.push(sent.map_err(|e| e.to_string()));
            told.push(sim.log.init_group(&group, std::slice::from_ref(&offset)).map_err(|e| e.to_string()));
        }
        sim.calm();
        (told, sim.time.elapsed_ms(), sim.log.injected())
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

#[test]
fn a_reader_whose_records_have_expired_is_told() {
    let sim = Simulated::new();
    let (name, cleanup, hour) = (sim.name("short"), Cleanup::Delete, 3_600_000);
    let spec = TopicSpec { name: name.clone(), partitions: 1, cleanup, retention_ms: Some(hour) };
    sim.log.create_topics(&[spec]).unwrap();
    write(sim.log.as_ref(), "writer", &[(&name, 0, "old")]);
    let mut reader = sim.log.reader(&[(at(&name, 0), 0)]).unwrap();
    sim.time.pass(2 * hour as u64);
    write(sim.log.as_ref(), "writer", &[(&name, 0, "new")]);
    sim.log.maintain().unwrap();
    let told = reader.poll(Duration::ZERO, &mut |_| panic!("what is gone is not read"));
    assert!(matches!(told, Err(Error::OffsetGone { wanted: 0, start: 2, .. })), "{told:?}");
    assert_eq!(values(&sim, &name, 0), ["new"]);
}

#[test]
fn polls_can_be_small() {
    let sim = Simulated::new();
    let topic = topic(&sim, "in", 1);
    let values: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let records: Vec<_> = values.iter().map(|value| (topic.as_str(), 0, value.as_str())).collect();
    write(sim.log.as_ref(), "writer", &records);
    sim.only(Faults { poll_records: 3, ..Faults::default() });
    let mut reader = sim.log.reader(&[(at(&topic, 0), 0)]).unwrap();
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 20 {
        reader.poll(Duration::ZERO, &mut |batch| sizes.push(batch.records.len())).unwrap();
    }
    assert!(sizes.iter().all(|size| (1..=3).contains(size)) && sizes.contains(&1) && sizes.contains(&3), "{sizes:?}");
}

#[test]
fn the_offsets_of_an_aborted_commit_are_not_given_again() {
    let mut aborted = 0;
    for seed in 0..60 {
        let sim = Simulated::new();
        let topic = topic(&sim, "t", 1);
        sim.log.set(seed, Faults { open: 1_000, ..Faults::default() });
        for id in ["a", "b", "c"] {
            sim.log.producer(id).unwrap().commit(&mut |sink| sink.send(plain(&topic, 0, id.as_bytes()))).unwrap_err();
        }
        sim.log.set(seed, Faults::default());
        sim.log.settle().unwrap();
        let end = || sim.log.offsets(&[at(&topic, 0)], At::End).unwrap()[0];
        let before = end();
        sim.log.crash().unwrap();
        assert_eq!(end(), before, "seed {seed}");
        aborted += 3 - values(&sim, &topic, 0).len();
    }
    assert!((20..160).contains(&aborted), "{aborted}");
}

/// A commit that was open when its topic, or its group, was deleted.
#[test]
fn an_open_commit_brings_nothing_back() {
    for seed in 0..20 {
        let mut scene = scene();
        scene.sim.log.set(seed, Faults { open: 1_000, ..Faults::default() });
        scene.member.commit((&scene.output, "x"), &at(&scene.input, 0), 2, "").unwrap_err();
        scene.sim.log.set(seed, Faults::default());
        scene.member.member.leave().unwrap();
        scene.sim.log.delete_topics(std::slice::from_ref(&scene.output)).unwrap();
        scene.sim.log.delete_groups(std::slice::from_ref(&scene.group)).unwrap();
        let make = || {
            let (name, cleanup) = (scene.output.clone(), Cleanup::Delete);
            scene.sim.log.create_topics(&[TopicSpec { name, partitions: 1, cleanup, retention_ms: None }]).unwrap();
        };
        // One that is made after a crash may get the number of the one before it.
        if seed % 2 == 0 {
            make();
            assert_eq!(scene.outcome(), (Vec::new(), None), "seed {seed}");
        }
        scene.sim.log.settle().unwrap();
        scene.sim.log.crash().unwrap();
        make();
        assert_eq!(scene.outcome(), (Vec::new(), None), "seed {seed}, after a crash");
        // What is on the disk under its number shows when it is opened once more.
        scene.sim.log.crash().unwrap();
        assert_eq!(scene.outcome(), (Vec::new(), None), "seed {seed}, after another");
        assert_eq!(values(&scene.sim, &scene.input, 0), ["a", "b"]);
    }
}

/// A zombie is a member until its session has ended.
#[test]
fn a_group_with_a_delayed_commit_is_not_deleted_before_its_session_ends() {
    let mut scene = scene();
    scene.commit_with(Faults { delayed: 1_000, ..Faults::default() });
    let group = std::slice::from_ref(&scene.group);
    assert!(matches!(scene.sim.log.delete_groups(group), Err(Error::Retriable(_))));
    scene.sim.time.pass(7_000);
    scene.sim.log.delete_groups(group).unwrap();
    assert_eq!(scene.outcome(), (Vec::new(), None));
}
