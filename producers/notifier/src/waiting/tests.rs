#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, in its helpers too")]

use super::*;
use crate::templates::Rendered;

const BACKOFF: Backoff = Backoff { first_ms: 1_000, longest_ms: 300_000 };

fn mail(at: i64) -> Mail {
    Mail {
        tenant: "default".to_owned(),
        mail_id: "m".to_owned(),
        name: "m".to_owned(),
        at,
        to: "a@b.cd".parse().unwrap(),
        template: "error".to_owned(),
        text: Rendered { subject: "s".to_owned(), body: "b".to_owned() },
    }
}

fn committed(offset: i64, metadata: &str) -> GroupOffset {
    GroupOffset { partition: TopicPartition::new("t", 0), offset, metadata: metadata.to_owned() }
}

fn push(waiting: &mut Waiting, offset: i64) -> bool {
    let is_new = waiting.read(offset);
    if is_new {
        waiting.push(offset, Item::Mail(Box::new(Pending::new(mail(0)))));
    }
    is_new
}

fn said(waiting: &Waiting) -> (i64, String) {
    let said = waiting.offset();
    assert!(said.metadata.len() <= METADATA_MAX, "{said:?}");
    (said.offset, said.metadata)
}

#[test]
fn the_offset_is_that_of_the_first_unhandled_one() {
    let mut waiting = Waiting::restore(committed(10, ""));
    assert_eq!(said(&waiting), (10, String::new()));
    for offset in [10, 12, 13, 20] {
        assert!(push(&mut waiting, offset));
    }
    assert_eq!(said(&waiting), (10, String::new()));
    waiting.handled(12).unwrap();
    waiting.handled(20).unwrap();
    assert_eq!(said(&waiting), (10, "11:3".to_owned()));
    waiting.handled(10).unwrap();
    assert_eq!(said(&waiting), (13, "8:".to_owned()));
    waiting.handled(13).unwrap();
    assert_eq!(said(&waiting), (21, String::new()));
    assert!(waiting.handled(13).is_none());
}

#[test]
fn a_successor_takes_up_exactly_what_is_unhandled() {
    let mut waiting = Waiting::restore(committed(10, ""));
    (10..20).for_each(|offset| assert!(push(&mut waiting, offset)));
    for offset in [11, 13, 14, 17] {
        waiting.handled(offset).unwrap();
    }
    // Whatever is committed before anything is read, or half of it, says the same.
    let mut successor = Waiting::restore(waiting.offset());
    for stop in 10..25 {
        let mut after = Waiting::restore(successor.offset());
        let taken: Vec<i64> = (after.start()..25).filter(|offset| push(&mut after, *offset)).collect();
        assert_eq!(taken, [10, 12, 15, 16, 18, 19, 20, 21, 22, 23, 24], "stopped at {stop}");
        push(&mut successor, stop);
    }
}

#[test]
fn compaction_and_markers_leave_gaps_that_hold_nothing_up() {
    let mut waiting = Waiting::restore(committed(10, "8:3"));
    assert_eq!(said(&waiting), (10, "8:3".to_owned()));
    assert!(push(&mut waiting, 10) && !push(&mut waiting, 11) && push(&mut waiting, 13) && !push(&mut waiting, 17));
    waiting.handled(10).unwrap();
    waiting.handled(13).unwrap();
    assert_eq!(said(&waiting), (18, String::new()));
}

#[test]
fn damaged_metadata_repeats_mails_and_loses_none() {
    for metadata in ["x", "5", "5:9", "-5:1", "0:", "5:1,x", "5:-1", "99999999999999999999:"] {
        let waiting = Waiting::restore(committed(10, metadata));
        assert_eq!((waiting.start(), waiting.handled_to), (10, 10), "{metadata}");
    }
}

#[test]
fn a_deferred_mail_lets_others_go_on_up_to_the_bound() {
    let mut waiting = Waiting::restore(committed(0, ""));
    (0..200).for_each(|offset| assert!(push(&mut waiting, offset)));
    waiting.pending(0).unwrap().not_before = 5_000;
    assert_eq!(waiting.due(4_999, BACKOFF).next(), Some(1));
    assert_eq!(waiting.due(5_000, BACKOFF).next(), Some(0));
    for offset in 1..AHEAD_MAX as i64 {
        waiting.pending(offset).unwrap().not_before = 5_000;
    }
    assert_eq!(waiting.due(0, BACKOFF).next(), None, "as many as may be overtaken are deferred");
    waiting.handled(50).unwrap();
    assert_eq!(waiting.due(0, BACKOFF).next(), Some(100));
}

#[test]
fn metadata_keeps_its_bound_with_offsets_as_large_as_they_get() {
    let mut waiting = Waiting::restore(committed(0, ""));
    let far = i64::MAX / 1_000;
    (0..1_000).for_each(|n| assert!(push(&mut waiting, n * far)));
    for _ in 0..900 {
        let last = waiting.due(0, BACKOFF).last().unwrap();
        waiting.handled(last).unwrap();
        said(&waiting);
    }
    let again = Waiting::restore(waiting.offset());
    assert_eq!(said(&again), said(&waiting));
}

#[test]
fn dead_letters_keep_to_the_bound_as_well() {
    let mut waiting = Waiting::restore(committed(0, ""));
    (0..150).for_each(|offset| assert!(push(&mut waiting, offset)));
    waiting.read(150);
    waiting.push(150, Item::Dead(vec![1, 2, 3]));
    assert_eq!(waiting.dead(), None);
    (0..60).for_each(|offset| drop(waiting.handled(offset).unwrap()));
    assert_eq!(waiting.dead(), Some(150));
    assert_eq!(waiting.bytes(), 90 * 2 + 3);
}

#[test]
fn only_age_and_tries_together_give_a_mail_up() {
    let mut pending = Pending::new(mail(1_000));
    assert!(!pending.is_given_up(i64::MAX, 500), "a process that has just started tries first");
    pending.tries = TRIES_MIN;
    assert!(!pending.is_given_up(1_499, 500));
    assert!(pending.is_given_up(1_500, 500));
}
