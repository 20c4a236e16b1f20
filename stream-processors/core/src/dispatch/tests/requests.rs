//! Requests of workers that pull.

use super::*;

#[test]
fn a_request_that_does_not_wait_is_told_at_once_that_there_is_no_task() {
    let mut world = world();
    assert_eq!(world.ask("r1", "w", 1), ["r1: none"]);
    assert_eq!(world.queue.worker("w").unwrap().requests, 0);
}

#[test]
fn a_submit_serves_the_request_that_waits_longest() {
    let mut world = world();
    assert!(world.wait("r1", "w2", 1, 1000).is_empty());
    assert!(world.wait("r2", "w1", 1, 1000).is_empty());
    assert_eq!(world.submit(&["a", "b"]), ["r1: a to w2 under 1", "r2: b to w1 under 2"]);
    assert!(world.at(2000).is_empty(), "both are answered");
}

#[test]
fn a_request_waits_until_its_time() {
    let mut world = world();
    world.wait("r1", "w", 1, 1000);
    assert_eq!(world.queue.due(), Some(1000));
    assert!(world.at(999).is_empty());
    assert_eq!(world.at(1000), ["r1: none"]);
    assert!(world.submit(&["a"]).is_empty(), "nobody asks");
}

#[test]
fn requests_over_the_capacity_wait_for_room() {
    let mut world = world();
    world.submit(&["a", "b", "c"]);
    world.ask("r1", "w", 2);
    world.ask("r2", "w", 2);
    assert!(world.wait("r3", "w", 2, 1000).is_empty());
    assert_eq!(world.ask("r4", "w", 2), ["r4: none"], "there is a task, but not for this worker");
    assert_eq!(world.ask("r5", "v", 0), ["r5: none"]);
    assert_eq!(world.complete("x", "a", 1), ["a completed", "r3: c to w under 3"]);
}

#[test]
fn a_worker_without_room_does_not_hold_the_others_back() {
    let mut world = world();
    world.submit(&["a"]);
    world.ask("r1", "w", 1);
    world.wait("r2", "w", 1, 1000);
    world.wait("r3", "v", 1, 1000);
    assert_eq!(world.submit(&["b"]), ["r3: b to v under 2"]);
}

#[test]
fn more_capacity_serves_the_older_request_first() {
    let mut world = world();
    world.submit(&["a", "b", "c"]);
    world.ask("r1", "w", 1);
    world.wait("r2", "w", 1, 1000);
    assert_eq!(world.ask("r3", "w", 3), ["r2: b to w under 2", "r3: c to w under 3"]);
}

#[test]
fn the_same_request_gets_the_same_lease_again() {
    let mut world = world();
    world.submit(&["a", "b"]);
    world.ask("r1", "w", 2);
    world.queue.take_changed();
    let before = world.queue.clone();
    assert_eq!(world.ask("r1", "w", 2), ["r1: a to w under 1 again"]);
    assert_eq!(world.queue, before);
    assert!(world.queue.take_changed().is_empty());
    assert_eq!(world.ask("r1", "v", 1), ["r1: b to v under 2"], "the lease is not that worker's own");
    assert_eq!(world.ask("r1", "w", 2), ["r1: a to w under 1 again"]);
}

#[test]
fn a_request_whose_lease_is_over_is_a_new_one() {
    let mut world = world();
    world.submit(&["a", "b"]);
    world.ask("r1", "w", 1);
    world.refuse("x", "a", 1);
    assert_eq!(world.ask("r1", "w", 1), ["r1: b to w under 2"]);
    world.complete("x", "b", 2);
    assert_eq!(world.ask("r1", "w", 1), ["r1: a to w under 3"]);
}

#[test]
fn a_request_that_waits_and_comes_again_keeps_its_place() {
    let mut world = world();
    world.wait("r1", "w", 1, 1000);
    world.wait("r2", "v", 1, 1000);
    world.queue.take_changed();
    assert!(world.wait("r1", "w", 1, 1000).is_empty());
    assert!(world.queue.take_changed().is_empty(), "a plain repeat changes nothing");
    world.wait("r1", "w", 1, 2000);
    assert_eq!(world.at(1000), ["r2: none"]);
    world.wait("r2", "v", 1, 3000);
    assert_eq!(world.submit(&["a"]), ["r1: a to w under 1"]);
    assert_eq!(world.ask("r2", "v", 1), ["r2: none"], "its last word is that it does not wait");
    assert!(world.submit(&["b"]).is_empty());
}

#[test]
fn a_request_of_the_same_name_by_another_worker_takes_its_place_over() {
    let mut world = world();
    world.wait("r1", "w", 1, 1000);
    world.wait("r1", "v", 1, 1000);
    assert_eq!(world.queue.worker("w").unwrap().requests, 0);
    assert_eq!(world.submit(&["a", "b"]), ["r1: a to v under 1"]);
}

#[test]
fn requests_that_wait_are_bounded() {
    let mut world = world();
    for request in 0..CAPACITY_MAX {
        assert!(world.wait(&request.to_string(), "w", 1, 1000).is_empty());
    }
    assert_eq!(world.wait("over", "w", 1, 1000), ["over: none"]);
    assert!(world.wait("other", "v", 1, 1000).is_empty());
}
