//! Where the retention of the topic, or of the view, ends the proof.

use crate::world::{DAY, HOUR, TOPIC, World, access, job, only};
use tidemark_jobs::recompute::Request;
use tidemark_jobs::recompute::report::Verdict;
use tidemark_log::{At, Log, TopicPartition};

fn start_of(world: &World, partition: u32) -> i64 {
    world.log.offsets(&[TopicPartition::new(TOPIC, partition)], At::Start).unwrap()[0]
}

#[test]
fn deleted_offsets_end_the_proof_of_their_windows_alone() {
    let (world, job) = (World::new(Some(HOUR)), job("{tumbling: 1h}", "amend for 7d"));
    world.publish(0, &[access(10, "a", "/"), access(20, "b", "/")]);
    world.publish(1, &[access(70, "a", "/")]);
    world.pass(2 * HOUR);
    world.publish(0, &[access(130, "a", "/"), access(190, "a", "/")]);
    world.publish(1, &[access(131, "a", "/")]);
    world.run(&job);
    assert_eq!(world.recompute(&job, Request::default()).verdict(), Verdict::Equal);
    world.log.maintain().unwrap();
    let kept = start_of(&world, 0);
    assert!(kept >= 2, "the retention has deleted the first records");
    let report = world.recompute(&job, Request::default());
    assert_eq!((report.verdict(), report.verdict().exit()), (Verdict::NotProvable, 2), "{report:#?}");
    let verdicts: Vec<Verdict> = report.windows.iter().map(|window| window.verdict).collect();
    assert_eq!(verdicts, [Verdict::NotProvable, Verdict::NotProvable, Verdict::Equal, Verdict::Equal]);
    let first = &report.windows[0];
    assert_eq!((first.gone[0].first, first.gone[0].start), (0, kept));
    let note = &first.notes[0];
    for said in
        ["logs.access-0 is needed from offset 0 on", &format!("starts at {kept}"), "appended before 2026-01-01T14:0"]
    {
        assert!(note.contains(said), "{said}: {note}");
    }
    let later = world.recompute(&job, only(DAY + 2 * HOUR));
    assert_eq!(later.verdict(), Verdict::Equal, "{later:#?}");
}

/// A record that raised the watermark is deleted: what was held cannot be told any more, and nothing is claimed.
#[test]
fn what_was_late_cannot_be_told_without_what_came_before() {
    let (world, job) = (World::new(Some(HOUR)), job("{tumbling: 1h}", "hold"));
    world.publish(0, &[access(310, "z", "/")]);
    world.pass(2 * HOUR);
    world.publish(0, &[access(10, "a", "/held")]);
    world.publish(1, &[access(20, "a", "/"), access(310, "z", "/")]);
    world.run(&job);
    assert_eq!(world.recompute(&job, only(DAY)).verdict(), Verdict::Equal);
    world.log.maintain().unwrap();
    assert!(start_of(&world, 0) >= 1);
    let report = world.recompute(&job, only(DAY));
    assert_eq!(report.verdict(), Verdict::NotProvable, "{report:#?}");
    assert!(report.windows[0].notes[0].contains("which of its records were late"), "{report:#?}");
}

#[test]
fn rows_past_their_retention_prove_nothing() {
    let (world, job) = (World::new(None), job("{tumbling: 1h}", "amend for 1h"));
    world.publish(0, &[access(10, "a", "/")]);
    world.publish(1, &[access(10, "a", "/")]);
    world.run(&job);
    world.pass(8 * 24 * HOUR);
    let report = world.recompute(&job, Request::default());
    assert_eq!(report.verdict(), Verdict::NotProvable);
    assert!(
        report.windows[0].notes[0].contains("rows of the view are kept 7d: the first went at 2026-01-08T12:"),
        "{report:#?}"
    );
}
