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
    let others = Others { built_in: &["flows.hourly".to_owned()], applied: others };
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
fn the_table_of_a_built_in_job_is_nobody_elses() {
    conflict(try_apply(None, &[], &file("flows.hourly", 1), 9), &["is a job of the platform itself"]);
    for name in ["flows_hourly", "flows-hourly", "Flows.Hourly"] {
        conflict(try_apply(None, &[], &file(name, 1), 9), &[name, "the table of flows.hourly", "another name"]);
    }
    assert!(try_apply(None, &[], &file("flows.hourly2", 1), 9).is_ok());
}

/// A directory may have been written when such names were taken.
#[test]
fn a_table_that_another_job_has_too_is_not_dropped() {
    let retired = |job: &str, version: i32| left_by(job, version, 9);
    let built_in = ["flows.hourly".to_owned()];
    let applied = [job(&[1, 3])];
    let owner =
        |left: JobRetiring| owner_of(Others { built_in: &built_in, applied: &applied }, &left).map(str::to_owned);
    assert_eq!(owner(retired("flows_hourly", 1)).as_deref(), Some("flows.hourly"));
    assert_eq!(owner(retired("flows_hourly", 7)).as_deref(), Some("flows.hourly"), "whichever version is configured");
    assert_eq!(owner(retired("a_b", 3)).as_deref(), Some("a.b"));
    assert_eq!(owner(retired("a.b", 2)), None, "its own other versions have others");
    assert_eq!(owner(retired("c", 1)), None);
}

#[test]
fn a_number_that_does_not_fit_is_refused() {
    let text = file("a.b", 1).replace("version: 1", "version: 2147483648");
    // Whoever compiles it may refuse it before that.
    if let Ok(job) = tidemark_spec::compile("job.yaml", &text, &Source) {
        let others = Others { built_in: &[], applied: &[] };
        conflict(apply(None, others, &job, |_| None, 9), &["2147483648", "2147483647"]);
    }
}

/// Its schema may have grown: the fingerprint of what is compiled now is another one.
#[test]
fn the_same_text_is_the_same_version_whatever_it_is_compiled_to() {
    let mut known = job(&[1]);
    known.versions[0].fingerprint += 1;
    assert_eq!(try_apply(Some(&known), &[], &file("a.b", 1), 9).unwrap(), (known, Applied::Unchanged));
}

#[test]
fn what_is_not_ready_is_not_promoted() {
    let standing = |lag, lag_of_current| Standing { trouble: None, lag, lag_of_current };
    let may = |standing: Standing| may_serve("a.b", 2, &standing);
    let trouble = Some("its table cannot be made".to_owned());
    conflict(may(Standing { trouble, ..standing(Some(0), Some(0)) }), &["its table cannot be made", "--force"]);
    conflict(may(standing(None, Some(0))), &["not known yet", "--force"]);
    conflict(may(standing(Some(1_001), Some(0))), &["1001 records still to read", "--force"]);
    conflict(may(standing(Some(1_001), None)), &["1001 records"]);
    for (lag, current) in [(0, 0), (1_000, 0), (21_000, 10_000), (5, 90)] {
        assert_eq!(may(standing(Some(lag), Some(current))), Ok(()), "{lag} {current}");
    }
    conflict(may(standing(Some(21_001), Some(10_000))), &["21001", "the current one 10000"]);
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
