//! In which order tasks are given out.

use super::*;

#[test]
fn first_in_is_first_out() {
    let mut world = world();
    world.submit(&["z", "a", "m"]);
    assert_eq!(world.ask("r1", "w", 3), ["r1: z to w under 1"]);
    assert_eq!(world.ask("r2", "w", 3), ["r2: a to w under 2"]);
    assert_eq!(world.ask("r3", "w", 3), ["r3: m to w under 3"]);
    assert_eq!(world.ask("r4", "w", 4), ["r4: none"]);
}

#[test]
fn a_task_that_comes_back_goes_to_the_end() {
    let mut world = world();
    world.submit(&["a", "b", "c"]);
    world.ask("r1", "w", 1);
    world.at(5);
    assert_eq!(world.refuse("x", "a", 1), ["a back: Refused"]);
    assert_eq!(world.queue.task("a").unwrap().queued_at, 5);
    assert_eq!(world.ask("r2", "w", 3), ["r2: b to w under 2"]);
    assert_eq!(world.ask("r3", "w", 3), ["r3: c to w under 3"]);
    assert_eq!(world.ask("r4", "w", 3), ["r4: a to w under 4"]);
}

#[test]
fn a_task_that_is_pending_or_leased_is_submitted_for_nothing() {
    let mut world = world();
    world.submit(&["a", "b"]);
    world.ask("r1", "w", 1);
    let before = world.queue.clone();
    world.at(7);
    assert!(world.submit(&["a", "b"]).is_empty());
    assert_eq!(world.queue, before);
}

#[test]
fn a_finished_task_begins_anew_at_the_end() {
    let mut world = world();
    world.submit(&["a", "b"]);
    world.ask("r1", "w", 1);
    world.refuse("x", "a", 1);
    world.ask("r2", "w", 1);
    world.complete("x", "b", 2);
    world.ask("r3", "w", 1);
    world.beat("w", &[("a", 3, "D1")]);
    world.fail("x", "a", 3);
    world.submit(&["c", "a"]);
    let Some(Entry::Task(entry)) = world.queue.entry(&EntryKey::Task("a".to_owned())) else { panic!("no entry of a") };
    assert_eq!((entry.attempt, entry.token, entry.place), (2, 3, 5), "attempts and token go on");
    assert_eq!((entry.lost, entry.refused, entry.undelivered, entry.step.as_str()), (0, 0, 0, ""));
    assert_eq!(world.ask("r4", "w", 2), ["r4: c to w under 4"]);
    assert_eq!(world.ask("r5", "w", 2), ["r5: a to w under 5"]);
    assert_eq!(world.queue.task("a").unwrap().attempt, 3);
}

#[test]
fn a_finished_task_is_forgotten_after_a_while_but_tokens_grow_on() {
    let mut world = world();
    world.submit(&["a"]);
    world.ask("r1", "w", 1);
    world.complete("x", "a", 1);
    world.at(599_999);
    assert_eq!(world.complete("y", "a", 1), ["y: repeated"]);
    world.at(600_000);
    assert_eq!(world.queue.task("a"), None);
    assert_eq!(
        world.complete("z", "a", 1),
        ["z: lease 1 is none: the task is not known, or it ended long ago; drop the work"]
    );
    world.submit(&["a"]);
    assert_eq!(world.ask("r2", "w", 1), ["r2: a to w under 2"]);
    assert_eq!(world.queue.task("a").unwrap().attempt, 1);
}

#[test]
fn the_oldest_finished_tasks_are_forgotten_when_there_are_too_many() {
    let mut world = world();
    for task in 0..=FINISHED_MAX {
        let task = format!("{task:06}");
        world.submit(&[task.as_str()]);
        world.cancel(&task);
    }
    assert_eq!(world.queue.task("000000"), None);
    assert_eq!(world.queue.task("000001").unwrap().state, TaskState::Finished);
}
