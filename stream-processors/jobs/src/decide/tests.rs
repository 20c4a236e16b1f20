//! What may be done to a job, case by case.

use super::*;
use std::sync::Arc;

/// The source of every job here.
struct Source;

impl tidemark_spec::Topics for Source {
    fn schema(&self, topic: &str) -> Result<Option<String>, String> {
        let schema = include_str!("../../../../examples/access-log/logs.access.avsc");
        Ok((topic == "logs.access").then(|| schema.to_owned()))
    }
    fn names(&self) -> Vec<String> {
        vec!["logs.access".to_owned()]
    }
}

fn file(job: &str, version: i32) -> String {
    format!(
        "job: {job}\nversion: {version}\ndescription: of a test\nsource:\n  topics: logs.access\n  time: at\n  grace: 10m\n\
         key: [path]\nwindow: {{tumbling: 1h}}\nlate: amend for 1d\naggregate:\n  requests: count()\n"
    )
}

fn compiled(text: &str) -> Arc<SpecJob> {
    Arc::new(tidemark_spec::compile("job.yaml", text, &Source).unwrap())
}

/// Applies a file to what is known; `now` tells when.
fn try_apply(
    known: Option<&JobEntry>,
    others: &[JobEntry],
    text: &str,
    now: i64,
) -> Result<(JobEntry, Applied), Refusal> {
    let old = |version: &JobVersion| Some(compiled(&version.spec).spec().clone());
    apply(known, others, &compiled(text), old, now)
}

/// A job with the given versions, the first of them current.
fn job(versions: &[i32]) -> JobEntry {
    let mut known: Option<JobEntry> = None;
    for version in versions {
        known = Some(try_apply(known.as_ref(), &[], &file("a.b", *version), i64::from(*version)).unwrap().0);
    }
    known.unwrap()
}

fn numbers(entry: &JobEntry) -> (Vec<i32>, Vec<i32>, Option<i32>, Option<i32>) {
    let versions = entry.versions.iter().map(|version| version.version).collect();
    let retiring = entry.retiring.iter().map(|gone| gone.version).collect();
    (versions, retiring, entry.current, entry.previous)
}

/// A refusal for what is there, whose text has all these parts.
fn conflict<T: std::fmt::Debug>(decided: Result<T, Refusal>, parts: &[&str]) {
    match decided {
        Err(Refusal::Conflict(why)) => assert!(parts.iter().all(|part| why.contains(part)), "{why}"),
        other => panic!("{other:?}"),
    }
}

fn unknown<T: std::fmt::Debug>(decided: Result<T, Refusal>, parts: &[&str]) {
    match decided {
        Err(Refusal::Unknown(why)) => assert!(parts.iter().all(|part| why.contains(part)), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_version_is_current_and_the_next_runs_beside_it() {
    let (entry, applied) = try_apply(None, &[], &file("a.b", 3), 7).unwrap();
    assert_eq!((numbers(&entry), applied), ((vec![3], vec![], Some(3), None), Applied::Created));
    assert_eq!((entry.changed_at, entry.versions[0].created_at, entry.versions[0].applied_at), (7, 7, 7));
    let (entry, applied) = try_apply(Some(&entry), &[], &file("a.b", 4), 8).unwrap();
    assert_eq!((numbers(&entry), applied), ((vec![3, 4], vec![], Some(3), None), Applied::Version));
}

#[test]
fn the_same_file_changes_nothing_and_settings_may_change() {
    let known = job(&[1]);
    assert_eq!(try_apply(Some(&known), &[], &file("a.b", 1), 9).unwrap(), (known.clone(), Applied::Unchanged));
    let said = file("a.b", 1).replace("of a test", "in other words");
    let (entry, applied) = try_apply(Some(&known), &[], &said, 9).unwrap();
    assert_eq!((numbers(&entry), applied), (numbers(&known), Applied::Settings));
    let there = &entry.versions[0];
    assert_eq!((there.spec.as_str(), there.applied_at), (said.as_str(), 9));
    assert_eq!((there.created_at, &there.sources), (1, &known.versions[0].sources), "it is still the one it was");
}

#[test]
fn another_meaning_under_the_same_number_is_refused_with_what_differs() {
    let known = job(&[1, 2]);
    let changed = |from: &str, to: &str| try_apply(Some(&known), &[], &file("a.b", 1).replace(from, to), 9);
    conflict(
        changed("key: [path]", "key: [client]"),
        &["the key was tenant, path and is tenant, client", "`version: 3`"],
    );
    conflict(changed("tumbling: 1h", "tumbling: 2h"), &["the window was tumbling 1h and is tumbling 2h"]);
    conflict(changed("grace: 10m", "grace: 5m"), &["grace was 10m and is 5m"]);
    conflict(changed("amend for 1d", "amend for 2d"), &["late was amend for 1d and is amend for 2d"]);
    conflict(changed("requests: count()", "bytes: sum(bytes)"), &["is gone", "is new"]);
}

#[test]
fn a_lower_number_is_refused() {
    conflict(try_apply(Some(&job(&[2])), &[], &file("a.b", 1), 9), &["has version 2 already", "`version: 3`"]);
}

#[test]
fn two_names_with_one_table_are_refused() {
    let others = [job(&[1])];
    conflict(try_apply(None, &others, &file("A_b", 1), 9), &["the table of a.b", "another name"]);
    assert!(try_apply(None, &others, &file("a.c", 1), 9).is_ok());
    let gone = [retire(&others[0], None, 9).unwrap()];
    conflict(try_apply(None, &gone, &file("a_b", 1), 9), &["the table of a.b"]);
}

#[test]
fn versions_and_jobs_are_bounded() {
    let mut known = job(&(1..=8).collect::<Vec<_>>());
    conflict(try_apply(Some(&known), &[], &file("a.b", 9), 9), &["8 versions", "0 of them being removed", "retire"]);
    known = retire(&known, Some(2), 9).unwrap();
    conflict(try_apply(Some(&known), &[], &file("a.b", 9), 9), &["8 versions", "1 of them being removed"]);
    known = removed(&known, 2, "r", 9).unwrap();
    assert!(try_apply(Some(&known), &[], &file("a.b", 9), 9).is_ok());
    let others = vec![job(&[1]); JOBS_MAX];
    conflict(try_apply(None, &others, &file("z", 1), 9), &["1000 jobs"]);
}

#[test]
fn promotion_and_the_way_back() {
    let known = job(&[1, 2, 3]);
    let newest = promote(&known, None, 9).unwrap();
    assert_eq!((numbers(&newest), newest.changed_at), ((vec![1, 2, 3], vec![], Some(3), Some(1)), 9));
    assert_eq!(promote(&newest, Some(3), 10).unwrap(), newest, "it is current already");
    unknown(promote(&known, Some(4), 9), &["no version 4", "1, 2, 3"]);
    let back = rollback(&newest, 10).unwrap();
    assert_eq!(numbers(&back), (vec![1, 2, 3], vec![], Some(1), Some(3)));
    assert_eq!(numbers(&rollback(&back, 11).unwrap()), numbers(&newest), "and forth");
    conflict(rollback(&known, 9), &["nothing to go back to"]);
}

#[test]
fn the_current_version_is_not_retired_while_there_are_others() {
    let known = job(&[1, 2]);
    conflict(retire(&known, Some(1), 9), &["version 1 of a.b is the current one", "promote another first"]);
    unknown(retire(&known, Some(7), 9), &["no version 7", "1, 2"]);
    let left = retire(&known, Some(2), 9).unwrap();
    assert_eq!(numbers(&left), (vec![1], vec![2], Some(1), None));
    unknown(retire(&left, Some(2), 10), &["it has 1", "is being removed"]);
    let promoted = promote(&known, Some(2), 9).unwrap();
    assert_eq!(
        numbers(&retire(&promoted, Some(1), 9).unwrap()),
        (vec![2], vec![1], Some(2), None),
        "nothing to go back to"
    );
    assert_eq!(numbers(&retire(&left, Some(1), 9).unwrap()), (vec![], vec![2, 1], None, None), "the last one may");
    assert_eq!(numbers(&retire(&known, None, 9).unwrap()), (vec![], vec![1, 2], None, None));
}

#[test]
fn what_a_version_leaves_is_named() {
    let retired = retire(&job(&[1, 2]), Some(2), 9).unwrap();
    let left = &retired.retiring[0];
    let plan = Plan::new(compiled(&file("a.b", 2)).spec().clone()).unwrap();
    let made: Vec<String> = plan.topics().into_iter().map(|topic| topic.name).collect();
    assert!(made.iter().all(|topic| left.topics.contains(topic)) && left.topics.contains(&plan.seen), "{left:?}");
    assert_eq!(left.topics.len(), 6);
    assert_eq!(left.groups, ["partial", "merge", "view-writer"].map(|stage| plan.group(stage)));
    assert_eq!((left.table.as_str(), left.retired_at), ("a_b_v2", 9));
    assert_eq!(compiled(&file("a.b", 2)).columns().view.name, left.table);
    assert!(!left.topics.contains(&"logs.access".to_owned()), "the source is not the job's own");
}

#[test]
fn a_number_that_is_being_retired_waits() {
    let retired = retire(&job(&[1, 2]), Some(2), 9).unwrap();
    conflict(try_apply(Some(&retired), &[], &file("a.b", 2), 10), &["still being removed", "`version: 3`"]);
    let (beside, applied) = try_apply(Some(&retired), &[], &file("a.b", 3), 10).unwrap();
    assert_eq!((numbers(&beside), applied), ((vec![1, 3], vec![2], Some(1), None), Applied::Version));
    let none = retire(&job(&[1]), None, 9).unwrap();
    conflict(try_apply(Some(&none), &[], &file("a.b", 1), 10), &["version 1 of a.b was retired", "`version: 2`"]);
    let (anew, applied) = try_apply(Some(&none), &[], &file("a.b", 2), 10).unwrap();
    assert_eq!((numbers(&anew), applied), ((vec![2], vec![1], Some(2), None), Applied::Created));
    let gone = removed(&claim(&none, 1, "r", 10).unwrap(), 1, "r", 11).unwrap();
    assert_eq!(numbers(&gone), (vec![], vec![], None, None));
    let (again, applied) = try_apply(Some(&gone), &[], &file("a.b", 1), 12).unwrap();
    assert_eq!((numbers(&again), applied), ((vec![1], vec![], Some(1), None), Applied::Created));
    assert_eq!(again.versions[0].created_at, 12, "it is not the one that was retired");
}

#[test]
fn one_process_at_a_time_removes_a_version() {
    let retired = retire(&job(&[1, 2]), Some(2), 9).unwrap();
    let claimed = claim(&retired, 2, "one", 100).unwrap();
    assert_eq!(claimed.changed_at, retired.changed_at, "nobody has changed the job");
    let at = |entry: &JobEntry| (entry.retiring[0].replica.clone(), entry.retiring[0].until);
    assert_eq!(at(&claimed), (Some("one".to_owned()), 100 + LEASE_MS));
    conflict(claim(&claimed, 2, "two", 99 + LEASE_MS), &["by replica one"]);
    conflict(removed(&claimed, 2, "two", 99 + LEASE_MS), &["by replica one"]);
    let renewed = claim(&claimed, 2, "one", 200).unwrap();
    assert_eq!(at(&renewed).1, 200 + LEASE_MS);
    let taken = claim(&renewed, 2, "two", 200 + LEASE_MS).unwrap();
    assert_eq!(at(&taken).0.as_deref(), Some("two"));
    conflict(removed(&taken, 2, "one", 201 + LEASE_MS), &["by replica two"]);
    let gone = removed(&taken, 2, "two", 201 + LEASE_MS).unwrap();
    unknown(claim(&gone, 2, "one", 300 + LEASE_MS), &["is removed"]);
}
