//! Workers that come, drain, are silent, and are given tasks unasked.

use super::*;

#[test]
fn a_silent_worker_is_gone_with_its_requests_and_leases() {
    let mut world = world();
    world.submit(&["z", "a"]);
    world.ask("r1", "w", 2);
    world.ask("r2", "w", 2);
    world.wait("r3", "w", 2, 50_000);
    world.at(100);
    world.beat("w", &[("z", 1, ""), ("a", 2, "")]);
    assert!(world.at(15_099).is_empty());
    assert_eq!(world.at(15_100), ["r3: none", "z back: Silent", "a back: Silent", "w gone"]);
    assert_eq!((world.queue.pending(), world.queue.leased()), (2, 0));
    assert!(world.queue.worker("w").is_none());
    assert_eq!(world.at(60_000), Vec::<String>::new(), "its request is dropped, not answered");
}

#[test]
fn heartbeats_and_requests_keep_a_worker() {
    let mut world = world();
    world.ask("r1", "w", 1);
    world.at(14_000);
    world.beat("w", &[]);
    world.at(28_000);
    world.ask("r2", "w", 1);
    assert!(world.at(42_999).is_empty());
    assert_eq!(world.at(43_000), ["w gone"]);
}

#[test]
fn a_worker_that_was_gone_is_taken_in_again_without_its_leases() {
    let mut world = world();
    world.submit(&["a"]);
    world.ask("r1", "w", 1);
    world.at(20_000);
    assert_eq!(world.beat("w", &[("a", 1, "D1")]), ["w alive, not a 1"]);
    assert_eq!(world.queue.worker("w").unwrap().leases, 0);
}

#[test]
fn a_drained_worker_keeps_its_leases_and_gets_no_more() {
    let mut world = world();
    world.push("w", 2);
    world.submit(&["a"]);
    world.push("w", 0);
    assert!(world.submit(&["b"]).is_empty());
    assert_eq!(world.queue.leased(), 1);
    assert_eq!(world.complete("x", "a", 1), ["a completed"]);
    assert_eq!(world.push("w", 1), ["w alive", "unasked: b to w under 2"]);
}

#[test]
fn less_capacity_takes_no_lease_away() {
    let mut world = world();
    world.push("w", 3);
    world.submit(&["a", "b", "c", "d"]);
    world.push("w", 1);
    assert_eq!(world.queue.worker("w").unwrap().leases, 3);
    world.complete("x", "a", 1);
    world.complete("x", "b", 2);
    assert_eq!(world.queue.leased(), 1, "it has no room yet");
    assert_eq!(world.complete("x", "c", 3), ["c completed", "unasked: d to w under 4"]);
}

#[test]
fn the_least_loaded_is_given_the_task() {
    let mut world = world();
    world.push("small", 2);
    world.push("big", 3);
    // By leases over capacity: 0/3 and 0/2 by name, then 0/2, 1/3, 1/2, 2/3.
    let given = world.submit(&["1", "2", "3", "4", "5", "6"]);
    let to = ["big", "small", "big", "small", "big"];
    let expected: Vec<String> =
        (1..).zip(to).map(|(token, worker)| format!("unasked: {token} to {worker} under {token}")).collect();
    assert_eq!(given, expected);
    assert_eq!(world.queue.pending(), 1, "both are full");
}

#[test]
fn of_two_with_equal_load_the_one_that_waits_longer_is_given_the_task() {
    let mut world = world();
    world.push("a", 1);
    world.push("b", 1);
    world.at(1);
    world.submit(&["1"]);
    world.at(2);
    world.submit(&["2"]);
    world.at(3);
    world.complete("x", "2", 2);
    world.complete("x", "1", 1);
    assert_eq!(world.submit(&["3"]), ["unasked: 3 to a under 3"]);
    world.complete("x", "3", 3);
    assert_eq!(world.submit(&["4"]), ["unasked: 4 to b under 4"]);
}

#[test]
fn who_asks_comes_before_who_is_given_tasks_unasked() {
    let mut world = world();
    world.push("p", 1);
    world.wait("r1", "w", 1, 1000);
    assert_eq!(world.submit(&["a", "b"]), ["r1: a to w under 1", "unasked: b to p under 2"]);
}

#[test]
fn capacity_is_bounded() {
    let mut world = world();
    world.push("w", i32::MAX);
    assert_eq!(world.queue.worker("w").unwrap().capacity, CAPACITY_MAX);
    world.push("w", i32::MIN);
    assert_eq!(world.queue.worker("w").unwrap().capacity, 0);
}

#[test]
fn one_worker_too_many_is_not_taken_in() {
    let mut world = world();
    for worker in 0..WORKERS_MAX {
        world.push(&worker.to_string(), 0);
    }
    assert_eq!(world.push("over", 1), ["over alive"]);
    assert_eq!(world.queue.workers().count(), WORKERS_MAX);
    world.submit(&["a"]);
    assert_eq!(world.wait("r", "over", 1, 1000), ["r: none"]);
    assert_eq!(world.queue.pending(), 1);
}

#[test]
fn workers_are_listed_with_what_they_hold() {
    let mut world = world();
    world.submit(&["a"]);
    world.push("p", 0);
    world.at(4);
    world.ask("r1", "w", 1);
    world.wait("r2", "w", 1, 1000);
    let listed: Vec<_> =
        world.queue.workers().map(|w| (w.worker, w.capacity, w.leases, w.requests, w.last_heartbeat)).collect();
    assert_eq!(listed, [("p", 0, 0, 0, 0), ("w", 1, 1, 1, 4)]);
}
