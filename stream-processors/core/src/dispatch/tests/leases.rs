//! How leases are taken up, prolonged and lost.

use super::*;

/// A task `a` that worker `w` has under token 1 since time 0.
fn leased() -> World {
    let mut world = world();
    world.submit(&["a"]);
    world.ask("r", "w", 1);
    world
}

/// Goes to `now` with a heartbeat every 10 s that names the lease.
fn keep(world: &mut World, token: i64, step: &str, now: i64) -> Vec<String> {
    let mut said = Vec::new();
    while world.now + 10_000 < now {
        said.extend(world.at(world.now + 10_000));
        said.extend(world.beat("w", &[("a", token, step)]));
    }
    said.extend(world.at(now));
    said.retain(|word| word != "w alive");
    said
}

#[test]
fn a_lease_that_is_not_taken_up_was_never_delivered() {
    let mut world = leased();
    assert_eq!(world.queue.due(), Some(10_000));
    world.at(9_999);
    world.beat("w", &[]);
    assert_eq!(world.at(10_000), ["a back: Undelivered"]);
    assert_eq!(world.queue.task("a").unwrap().lost, 0, "that is not the task's fault");
}

#[test]
fn a_heartbeat_takes_the_lease_up() {
    let mut world = leased();
    world.at(9_000);
    assert_eq!(world.beat("w", &[("a", 1, "")]), ["w alive"]);
    assert!(world.queue.task("a").unwrap().accepted);
    assert_eq!(world.deadline("a"), 60_000, "which prolongs nothing");
    assert_eq!(keep(&mut world, 1, "", 59_999), Vec::<String>::new());
    assert_eq!(world.at(60_000), ["a back: Overdue"]);
}

#[test]
fn a_new_step_moves_the_deadline_and_the_same_step_does_not() {
    let mut world = leased();
    world.at(5_000);
    assert_eq!(world.beat("w", &[("a", 1, "D1")]), ["a at D1 until 65000", "w alive"]);
    world.at(6_000);
    assert_eq!(world.beat("w", &[("a", 1, "D1")]), ["w alive"]);
    assert_eq!(world.deadline("a"), 65_000);
    assert_eq!(world.beat("w", &[("a", 1, "D2")]), ["a at D2 until 66000", "w alive"]);
    assert_eq!(world.queue.task("a").unwrap().step, "D2");
}

#[test]
fn a_lease_that_is_named_twice_is_at_the_first_step_named() {
    let mut world = leased();
    world.beat("w", &[("a", 1, "D1")]);
    world.queue.take_changed();
    assert_eq!(world.beat("w", &[("a", 1, "D1"), ("a", 1, "D2"), ("a", 1, "D1")]), ["w alive"]);
    assert!(world.queue.take_changed().is_empty());
}

#[test]
fn a_lease_lasts_a_multiple_of_the_expected_run_time() {
    let mut world = world();
    let expected = |step: &str, expected_ms| Expected { kind: "pdf".to_owned(), step: step.to_owned(), expected_ms };
    let other = Expected { kind: "html".to_owned(), step: "D1".to_owned(), expected_ms: 900_000 };
    world.tell(Command::Expect(vec![expected("", 25_000), expected("D1", 30_000), expected("D2", 1), other]));
    world.submit(&["a"]);
    world.ask("r", "w", 1);
    assert_eq!(world.deadline("a"), 75_000);
    assert_eq!(world.beat("w", &[("a", 1, "D1")]), ["a at D1 until 90000", "w alive"]);
    assert_eq!(world.beat("w", &[("a", 1, "D2")])[0], "a at D2 until 60000", "but no less than the floor");
    world.tell(Command::Expect(vec![expected("D3", i64::MAX), expected("D4", -1)]));
    assert_eq!(world.beat("w", &[("a", 1, "D1")])[0], "a at D1 until 60000", "what was expected is replaced");
    assert_eq!(world.beat("w", &[("a", 1, "D3")])[0], format!("a at D3 until {}", i64::MAX));
    assert_eq!(world.beat("w", &[("a", 1, "D4")])[0], "a at D4 until 60000");
}

#[test]
fn expected_run_times_are_bounded() {
    let mut world = world();
    let expected = |step: usize| Expected { kind: "pdf".to_owned(), step: step.to_string(), expected_ms: 1 };
    world.tell(Command::Expect((0..2 * TIMES_MAX).map(expected).collect()));
    let Some(Entry::Queue(entry)) = world.queue.entry(&EntryKey::Queue) else { panic!("no entry of the queue") };
    assert_eq!(entry.times.len(), TIMES_MAX);
}

#[test]
fn a_heartbeat_is_told_which_leases_are_none() {
    let mut world = leased();
    world.submit(&["b"]);
    let said = world.beat("v", &[("a", 1, "D1"), ("b", 0, "D1"), ("nowhere", 1, "D1")]);
    assert_eq!(said, ["v alive, not a 1, not b 0, not nowhere 1"]);
    assert_eq!(world.beat("w", &[("a", 2, "D1")]), ["w alive, not a 2"]);
    assert!(!world.queue.task("a").unwrap().accepted, "and they change nothing");
}

#[test]
fn three_lost_leases_are_too_many() {
    let mut world = leased();
    for token in 1..=3 {
        world.beat("w", &[("a", token, "D1")]);
        let lost = world.at(world.now + 15_000);
        if token == 3 {
            assert_eq!(lost, ["a failed: Lost(Silent)", "w gone"]);
        } else {
            assert_eq!(lost, ["a back: Silent", "w gone"]);
            world.ask(&format!("r{token}"), "w", 1);
        }
    }
    assert_eq!(world.queue.task("a").unwrap().state, TaskState::Finished);
    assert_eq!((world.queue.pending(), world.queue.leased()), (0, 0));
}

#[test]
fn deadlines_that_pass_count_as_lost_too() {
    let mut world = leased();
    for token in 1..=3 {
        world.beat("w", &[("a", token, "D1")]);
        let lost = keep(&mut world, token, "D1", token * 60_000);
        let expected = if token == 3 { "a failed: Lost(Overdue)" } else { "a back: Overdue" };
        assert_eq!(lost, [expected]);
        world.ask(&format!("r{token}"), "w", 1);
    }
}

#[test]
fn a_lease_that_was_not_taken_up_is_lost_with_a_worker_that_was_not_heard_since() {
    let mut world = leased();
    assert_eq!(world.at(10_000), ["a back: Silent"]);
    assert_eq!(world.queue.task("a").unwrap().lost, 1, "it may have taken the worker with it");
}

#[test]
fn a_lease_that_was_not_taken_up_is_undelivered_whatever_ends_it() {
    let mut world = World { queue: Queue::new(Settings { accept_ms: 90_000, ..Settings::default() }), now: 0 };
    world.submit(&["a"]);
    world.ask("r2", "w", 1);
    for _ in 0..6 {
        world.at(world.now + 10_000);
        world.beat("w", &[]);
    }
    assert_eq!(world.queue.task("a").unwrap().state, TaskState::Pending, "its deadline was at 75 s");
    assert_eq!(world.queue.task("a").unwrap().lost, 0);
}

#[test]
fn ten_undelivered_leases_are_too_many() {
    let mut world = leased();
    for token in 1..=10 {
        world.at(world.now + 9_000);
        world.beat("w", &[]);
        let said = world.at(world.now + 1_000);
        let expected = if token == 10 { "a failed: Lost(Undelivered)" } else { "a back: Undelivered" };
        assert_eq!(said, [expected]);
        world.ask(&format!("r{token}"), "w", 1);
    }
}

#[test]
fn ten_refusals_are_too_many() {
    let mut world = leased();
    for token in 1..=10 {
        let said = world.refuse("x", "a", token);
        let expected = if token == 10 { "a failed: Lost(Refused)" } else { "a back: Refused" };
        assert_eq!(said, [expected]);
        world.ask(&format!("r{token}"), "w", 1);
    }
    assert_eq!(world.refuse("x", "a", 10), ["x: repeated"]);
    assert!(world.fail("x", "a", 10)[0].starts_with("x: lease 10 is none any more: the task has ended (refused)"));
}

#[test]
fn each_way_to_lose_a_lease_is_counted_apart() {
    let mut world = leased();
    for token in 1..=9 {
        world.refuse("x", "a", token);
        world.ask(&format!("r{token}"), "w", 1);
    }
    world.beat("w", &[("a", 10, "")]);
    assert_eq!(world.at(15_000), ["a back: Silent", "w gone"]);
    world.ask("again", "w", 1);
    world.at(24_000);
    world.beat("w", &[]);
    assert_eq!(world.at(25_000), ["a back: Undelivered"]);
}

/// A log that was away for a while: nobody could be heard, so nobody is lost for it, and what is not heard after it is.
#[test]
fn time_in_which_nobody_could_be_heard_does_not_count() {
    let mut world = leased();
    world.submit(&["b"]);
    world.beat("w", &[("a", 1, "D1")]);
    world.ask("r2", "v", 1);
    let said = world.jump(100_000);
    assert!(
        said.contains(&"b back: Undelivered".to_owned()),
        "b was never taken up, which is nobody's fault: {said:?}"
    );
    assert_eq!((world.queue.task("a").unwrap().lost, world.queue.task("b").unwrap().lost), (0, 0));
    assert_eq!(world.queue.workers().count(), 2);
    let said = world.at(115_000);
    assert!(said.contains(&"a back: Silent".to_owned()) && said.contains(&"w gone".to_owned()), "{said:?}");
}
