//! What workers and people say of tasks.

use super::*;

fn leased() -> World {
    let mut world = world();
    world.submit(&["a"]);
    world.ask("r", "w", 1);
    world
}

#[test]
fn a_report_need_not_be_preceded_by_a_heartbeat() {
    assert_eq!(leased().complete("x", "a", 1), ["a completed"]);
    assert_eq!(leased().fail("x", "a", 1), ["a failed: Reported"]);
    assert_eq!(leased().refuse("x", "a", 1), ["a back: Refused"]);
}

#[test]
fn a_report_names_the_lease_and_the_request_that_it_answers() {
    let mut world = leased();
    world.now = 3;
    let mut out = Vec::new();
    world.queue.apply(Command::Fail(report("x", "a", 1)), 3, &mut out);
    let lease = Lease { worker: "w".to_owned(), token: 1, attempt: 1, leased_at: 0, deadline: 60_000 };
    let (task, request) = ("a".to_owned(), Some("x".to_owned()));
    assert_eq!(out, [Effect::Failed { task, lease: Some(lease), why: Failure::Reported, request }]);
}

#[test]
fn a_report_under_a_stale_token_changes_nothing() {
    let mut world = leased();
    world.refuse("x", "a", 1);
    let back = "x: lease 1 is none any more: the task is back in the queue; drop the work";
    let before = world.queue.clone();
    for said in [world.complete("x", "a", 1), world.fail("x", "a", 1), world.refuse("x", "a", 1)] {
        assert_eq!(said, [back]);
    }
    assert_eq!(world.queue, before);
    world.ask("r2", "v", 1);
    let before = world.queue.clone();
    let leased = "x: lease 1 is none any more: the task is leased under token 2; drop the work";
    for said in [world.complete("x", "a", 1), world.fail("x", "a", 1), world.refuse("x", "a", 1)] {
        assert_eq!(said, [leased]);
    }
    assert_eq!(world.queue, before);
    assert_eq!(world.complete("y", "a", 2), ["a completed"]);
}

#[test]
fn tokens_that_never_were_are_rejected() {
    let mut world = world();
    world.submit(&["a"]);
    for token in [i64::MIN, -1, 0, 1, i64::MAX] {
        assert!(world.complete("x", "a", token)[0].starts_with("x: lease"), "token {token}");
        assert!(world.complete("x", "nowhere", token)[0].ends_with("drop the work"), "token {token}");
    }
    assert_eq!(world.queue.pending(), 1);
    world.cancel("a");
    assert!(world.complete("x", "a", 0)[0].starts_with("x: lease 0 is none"));
}

#[test]
fn the_report_that_ended_the_task_is_answered_again() {
    let mut world = leased();
    world.complete("x", "a", 1);
    let before = world.queue.clone();
    assert_eq!(world.complete("y", "a", 1), ["y: repeated"]);
    assert_eq!(world.fail("z", "a", 1), ["z: lease 1 is none any more: the task has ended (completed); drop the work"]);
    assert_eq!(world.refuse("z", "a", 1).len(), 1);
    assert_eq!(world.queue, before);
    let mut world = leased();
    world.fail("x", "a", 1);
    assert_eq!(world.fail("y", "a", 1), ["y: repeated"]);
    assert_ne!(world.complete("y", "a", 1), ["y: repeated"]);
}

#[test]
fn a_report_that_comes_after_the_last_lease_was_lost_is_rejected() {
    let mut world = World { queue: Queue::new(Settings { lost_max: 1, ..Settings::default() }), now: 0 };
    world.submit(&["a"]);
    world.ask("r", "w", 1);
    world.beat("w", &[("a", 1, "D1")]);
    assert_eq!(world.at(15_000), ["a failed: Lost(Silent)", "w gone"]);
    assert_eq!(world.fail("x", "a", 1), ["x: lease 1 is none any more: the task has ended (lost); drop the work"]);
}

#[test]
fn a_report_makes_room() {
    let mut world = leased();
    world.submit(&["b"]);
    world.wait("r2", "w", 1, 1000);
    assert_eq!(world.refuse("x", "a", 1), ["a back: Refused", "r2: b to w under 2"]);
    world.wait("r3", "w", 1, 1000);
    assert_eq!(world.fail("x", "b", 2), ["b failed: Reported", "r3: a to w under 3"]);
}

#[test]
fn a_cancelled_task_is_over() {
    let mut world = world();
    world.submit(&["a", "b"]);
    world.ask("r", "w", 2);
    assert_eq!(world.cancel("b"), ["b cancelled"]);
    assert_eq!(world.cancel("a"), ["a cancelled while leased"]);
    assert_eq!(world.ask("r2", "w", 2), ["r2: none"]);
    assert_eq!(
        world.complete("x", "a", 1),
        ["x: lease 1 is none any more: the task has ended (cancelled); drop the work"]
    );
    assert_eq!(world.beat("w", &[("a", 1, "D1")]), ["w alive, not a 1"]);
    assert!(world.cancel("a").is_empty(), "once");
    assert!(world.cancel("nowhere").is_empty());
}

#[test]
fn a_cancel_makes_room() {
    let mut world = leased();
    world.submit(&["b"]);
    world.wait("r2", "w", 1, 1000);
    assert_eq!(world.cancel("a"), ["a cancelled while leased", "r2: b to w under 2"]);
}
