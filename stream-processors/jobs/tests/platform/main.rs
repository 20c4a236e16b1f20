//! Applied jobs of a process: versions come, go and leave nothing behind.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, in its helpers too")]

mod apply;
mod directory;
mod in_rust;
mod readers;
#[path = "../support/registry.rs"]
mod registry;
mod views;
mod world;

use std::sync::atomic::Ordering;
use std::time::Duration;
use tidemark_jobs::decide;
use tidemark_jobs::platform::ApplyError;
use tidemark_log::{Log, MemberConfig};
use tidemark_runtime::Plan;
use world::{Disk, JOB, Process, file};

#[test]
fn a_retired_version_leaves_nothing_and_the_other_goes_on() {
    let disk = Disk::new();
    let process = Process::start(&disk);
    process.publish(300);
    [1, 2].iter().for_each(|version| process.apply(*version));
    [1, 2].iter().for_each(|version| process.check_counts(*version));
    process.jobs.change(JOB, |known, now| decide::promote(known, Some(2), now)).unwrap();
    process.jobs.change(JOB, |known, now| decide::retire(known, Some(1), now)).unwrap();
    process.until_removed();
    process.check_gone(1);
    assert!(disk.state(2).exists());
    process.publish(100);
    process.check_counts(2);
    process.stop();
    let process = Process::start(&disk);
    process.publish(100);
    process.until("version 2 is there", || process.jobs.list().iter().any(|(entry, _)| entry.versions.len() == 1));
    process.check_counts(2);
    process.check_gone(1);
    process.stop();
}

/// In turn: at the claim, the groups, the first and the fourth topic, and at the note that all is done, which comes after the
/// tables.
#[test]
fn a_removal_that_was_cut_off_goes_on_after_a_restart() {
    for calls in [0, 1, 2, 5, 8] {
        let disk = Disk::new();
        let process = Process::that_fails_after(&disk, calls);
        process.publish(50);
        [1, 2].iter().for_each(|version| process.apply(*version));
        [1, 2].iter().for_each(|version| process.check_counts(*version));
        process.jobs.change(JOB, |known, now| decide::retire(known, Some(2), now)).unwrap();
        process.until("it is cut off", || process.is_cut_off());
        let refused = process.jobs.apply("job.yaml", &file(2)).unwrap_err();
        assert!(
            matches!(&refused, ApplyError::Change(_)) && refused.to_string().contains("still being removed"),
            "{refused}"
        );
        assert_eq!(process.entry().retiring.len(), 1, "what is to be removed is on the directory");
        process.stop();
        let process = Process::start(&disk);
        process.until_removed();
        process.check_gone(2);
        process.publish(50);
        process.check_counts(1);
        process.stop();
    }
}

#[test]
fn a_version_is_not_removed_while_another_process_is_at_work_on_it() {
    let disk = Disk::new();
    let process = Process::start(&disk);
    process.publish(50);
    process.apply(1);
    process.check_counts(1);
    // One that is slow to learn of the change; it reads nothing.
    let plan = Plan::named(JOB, 1);
    let (group, id, session_timeout) = (plan.group("view-writer"), "slow".to_owned(), Duration::from_secs(60));
    let mut slow = process.log.member(&MemberConfig { group, topics: vec![], id, session_timeout }).unwrap();
    process.jobs.change(JOB, |known, now| decide::retire(known, None, now)).unwrap();
    process.until("it is claimed", || process.entry().retiring.iter().any(|gone| gone.replica.is_some()));
    process.until("it is tried several times", || process.log.groups_asked.load(Ordering::SeqCst) >= 3);
    assert_eq!(process.entry().retiring.len(), 1);
    assert!(process.jobs.list().is_empty());
    assert_eq!(process.jobs.retiring(), [process.entry()], "it is shown for as long as something is left");
    assert!(
        plan.topics().iter().any(|topic| process.log.partitions(&topic.name).unwrap().is_some()),
        "its topics stay"
    );
    slow.leave().unwrap();
    process.until_removed();
    process.check_gone(1);
    process.stop();
}

/// Who finds a view listed can read it.
#[test]
fn a_table_stays_for_as_long_as_it_is_listed() {
    let disk = Disk::new();
    let process = Process::start(&disk);
    process.publish(50);
    process.apply(1);
    process.check_counts(1);
    process.views.refuses.store(true, Ordering::Relaxed);
    process.jobs.change(JOB, |known, now| decide::retire(known, None, now)).unwrap();
    process.until("it has stopped", || process.jobs.list().is_empty() && process.jobs.metrics().is_empty());
    let refused = process.views.refused.load(Ordering::SeqCst);
    process.until("it is still listed", || process.views.refused.load(Ordering::SeqCst) >= refused + 5);
    let left = process.entry().retiring;
    assert!(left.len() == 1 && left[0].replica.is_none(), "nobody has begun: {left:?}");
    process.views.refuses.store(false, Ordering::Relaxed);
    process.until_removed();
    process.check_gone(1);
    process.stop();
}

#[test]
fn a_number_can_be_used_again_and_counts_everything_once() {
    let disk = Disk::new();
    let process = Process::start(&disk);
    process.publish(300);
    process.apply(1);
    process.check_counts(1);
    process.publish(70);
    process.check_counts(1);
    process.jobs.change(JOB, |known, now| decide::retire(known, None, now)).unwrap();
    process.until_removed();
    process.check_gone(1);
    assert!(process.jobs.list().is_empty() && process.jobs.retiring().is_empty());
    process.apply(1);
    process.check_counts(1);
    process.publish(30);
    process.check_counts(1);
    process.stop();
    let process = Process::start(&disk);
    process.until("version 1 is there", || process.jobs.list().iter().any(|(entry, _)| entry.versions.len() == 1));
    process.publish(30);
    process.check_counts(1);
    process.stop();
}
