//! Leases: lost, given back, reported too late, and the order in which tasks are given out.

use crate::world::{Command, World, file, run};
use tidemark_core::process::Process;
use tidemark_jobs::documents::Settings;
use tidemark_schemas::dispatch::{LeaseRequested, RunTime, RunTimesLearned};

#[test]
fn three_lost_leases_are_an_error_that_says_so() {
    let mut world = World::new(Settings::default());
    world.uploaded(1, "ann");
    for worker in ["w1", "w2", "w3"] {
        let lease = world.lease(worker);
        assert_eq!(lease.outcome, "ASSIGNED");
        world.heartbeat(worker, &[(&lease, "D2")]);
        world.wait(20_000);
    }
    let row = world.row(&file(1));
    let error = "given up after 3 lost leases, the last because worker w3 has fallen silent: the document may be what stops its \
                 workers";
    assert_eq!((row.state.as_str(), row.error.as_deref(), row.infrastructure_failures), ("ERROR", Some(error), 3));
    assert_eq!(row.step.as_deref(), Some("D2"), "where it was lost");
    assert_eq!(world.seen.log(&file(1))[2], ("REQUEUED", "back to the queue: worker w1 has fallen silent"));
    assert_eq!(world.seen.log(&file(1)).last().unwrap(), &("ERROR", error));
    let mail = &world.seen.mails[0];
    assert_eq!((world.seen.mails.len(), mail.template.as_str(), mail.to.as_str()), (1, "error", "ann@example.org"));
    assert_eq!(mail.mail_id, format!("error-{}-{}", file(1), row.seq));
    assert_eq!(world.lease("w4").outcome, "NO_TASK", "it does not circulate");
    let gone = world.seen.workers.iter().filter(|(_, worker)| worker.is_none()).count();
    assert_eq!(gone, 3, "each worker is forgotten");
}

#[test]
fn a_worker_that_wakes_up_late_is_refused() {
    let mut world = World::new(Settings::default());
    world.uploaded(1, "ann");
    let old = world.lease("w1");
    world.heartbeat("w1", &[(&old, "D1")]);
    world.wait(16_000);
    assert_eq!(world.row(&file(1)).state, "UPLOADED");
    let new = world.lease("w2");
    assert!(new.token > old.token);
    let before = world.row(&file(1)).clone();
    let answer = world.reported("w1", &old, "COMPLETED");
    assert_eq!((answer.outcome.as_str(), answer.key.as_ref()), ("REJECTED", Some(&file(1))));
    assert!(answer.message.is_some());
    let after = world.row(&file(1)).clone();
    assert_eq!(
        tidemark_schemas::documents::Document { seq: before.seq + 1, revision: after.revision, ..before },
        after,
        "nothing but its log has changed"
    );
    let (old_token, new_token) = (old.token.unwrap(), new.token.unwrap());
    let message = format!("refused: a report of worker w1 under an old lease (token {old_token}, now {new_token})");
    assert_eq!(world.seen.log(&file(1)).last().unwrap(), &("REFUSED", message.as_str()));
    assert!(world.seen.runs.is_empty(), "its runs do not count");
    assert_eq!(world.reported("w2", &new, "COMPLETED").outcome, "ACCEPTED");
    assert_eq!(world.row(&file(1)).state, "DONE");
    assert_eq!(world.reported("w1", &old, "FAILED").outcome, "REJECTED");
    assert_eq!(world.row(&file(1)).state, "DONE");
}

#[test]
fn a_report_that_is_sent_again_counts_once() {
    let mut world = World::new(Settings { progress_every: 1, ..Settings::default() });
    world.uploaded(1, "ann");
    let lease = world.lease("w1");
    assert_eq!(world.reported("w1", &lease, "COMPLETED").outcome, "ACCEPTED");
    let (lines, mails, runs) = (world.seen.lines.len(), world.seen.mails.len(), world.seen.runs.len());
    assert_eq!(world.reported("w1", &lease, "COMPLETED").outcome, "ACCEPTED");
    assert_eq!((world.seen.lines.len(), world.seen.mails.len(), world.seen.runs.len()), (lines, mails, runs));
    assert_eq!(mails, 1);
}

#[test]
fn a_failure_names_step_error_and_attempts() {
    let mut world = World::new(Settings::default());
    world.uploaded(1, "ann");
    let lease = world.lease("w1");
    let mut report = world.report("w1", &lease, "FAILED");
    (report.step, report.message) = (Some("D2".into()), Some("no text in it".into()));
    report.attempts.extend((1..=4).map(|attempt| run("D2", attempt, "FAILED")));
    report.attempts.insert(1, run("D2", 1, "INFRASTRUCTURE"));
    let seen = world.give(Command::Report(report));
    assert_eq!(world.seen.log(&file(1)).last().unwrap(), &("ERROR", "D2 failed: no text in it (4 attempts)"));
    let row = world.row(&file(1));
    assert_eq!((row.error.as_deref(), row.step.as_deref()), (Some("no text in it"), Some("D2")));
    assert_eq!(row.infrastructure_failures, 0);
    assert_eq!(seen.runs.iter().map(|run| run.place).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    let mut ids: Vec<_> = seen.runs.iter().map(|run| run.event_id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 6);
    let data: serde_json::Value = serde_json::from_str(&seen.mails[0].data).unwrap();
    assert_eq!((&data["step"], &data["error"]), (&"D2".into(), &"no text in it".into()));
}

#[test]
fn a_lease_that_is_given_back_goes_to_the_end_of_the_queue() {
    let mut world = World::new(Settings::default());
    world.uploaded(1, "ann");
    world.uploaded(2, "ann");
    let lease = world.lease("w1");
    assert_eq!(lease.key, Some(file(1)));
    let mut report = world.report("w1", &lease, "REFUSED");
    (report.message, report.attempts) = (Some("the disk is full".into()), vec![run("D1", 1, "INFRASTRUCTURE")]);
    world.wait(10);
    let seen = world.give(Command::Report(report));
    assert_eq!(seen.runs[0].outcome, "INFRASTRUCTURE");
    let back = "back to the queue: worker w1 gave it back: the disk is full";
    assert_eq!(world.seen.log(&file(1)).last().unwrap(), &("REQUEUED", back));
    let row = world.row(&file(1));
    assert_eq!((row.state.as_str(), row.infrastructure_failures, row.queued_at), ("UPLOADED", 1, world.now));
    assert_eq!(world.lease("w1").key, Some(file(2)));
    assert_eq!(world.lease("w1").key, Some(file(1)));
}

#[test]
fn a_lease_that_nobody_takes_up_goes_back() {
    let mut world = World::new(Settings::default());
    world.uploaded(1, "ann");
    world.lease("w1");
    world.wait(9_000);
    world.heartbeat("w1", &[]);
    world.wait(1_000);
    assert_eq!(
        world.seen.log(&file(1)).last().unwrap(),
        &("REQUEUED", "back to the queue: worker w1 never took it up")
    );
    assert_eq!(world.row(&file(1)).infrastructure_failures, 1);
}

#[test]
fn who_waits_is_served_first_in_first_out() {
    let mut world = World::new(Settings::default());
    assert!(world.lease_waiting("w1", 30_000).is_none());
    assert!(world.lease_waiting("w2", 30_000).is_none());
    let upload = world.upload(1, "ann");
    let seen = world.give(Command::Upload(upload));
    let outcomes: Vec<_> = seen.answers.iter().map(|answer| answer.outcome.as_str()).collect();
    assert_eq!(outcomes, ["ASSIGNED", "CREATED"]);
    assert_eq!(
        (seen.rows.len(), seen.rows[0].state.as_str(), seen.rows[0].worker.as_deref()),
        (1, "PROCESSING", Some("w1"))
    );
    let lease = seen.answers[0].clone();
    // Both workers go on living until the other one's wait is over.
    for _ in 0..3 {
        world.heartbeat("w1", &[(&lease, "D1")]);
        world.wait(9_000);
        world.heartbeat("w2", &[]);
    }
    let seen = world.wait(3_000);
    assert_eq!(seen.answers.iter().map(|answer| answer.outcome.as_str()).collect::<Vec<_>>(), ["NO_TASK"]);
}

#[test]
fn run_times_that_were_learned_make_deadlines() {
    let mut world = World::new(Settings::default());
    let time = RunTime { kind: "text/plain".into(), step: "D2".into(), expected_ms: 100_000 };
    let learned = RunTimesLearned { tenant: "default".into(), queue: "documents".into(), times: vec![time] };
    assert!(world.give(Command::Learn(learned)).answers.is_empty());
    world.uploaded(1, "ann");
    let lease = world.lease("w1");
    for _ in 0..29 {
        world.heartbeat("w1", &[(&lease, "D2")]);
        world.wait(10_000);
    }
    assert_eq!(world.row(&file(1)).state, "PROCESSING", "three times a hundred seconds are not over");
    world.heartbeat("w1", &[(&lease, "D2")]);
    world.wait(10_000);
    assert_eq!(world.row(&file(1)).state, "UPLOADED");
    let late = "back to the queue: worker w1 was not done by its deadline at D2";
    assert_eq!(world.seen.log(&file(1)).last().unwrap(), &("REQUEUED", late));
}

#[test]
fn queues_and_tenants_are_apart() {
    let mut world = World::new(Settings::default());
    world.uploaded(1, "ann");
    for (tenant, queue) in [("acme", "others"), ("other", "documents")] {
        let mut upload = world.upload(1, "ann");
        (upload.tenant, upload.queue) = (tenant.into(), queue.into());
        let seen = world.give(Command::Upload(upload));
        assert_eq!(seen.answers[0].outcome, "CREATED");
        assert_eq!((seen.rows[0].tenant.as_str(), seen.rows[0].queue.as_str()), (tenant, queue));
    }
    assert_eq!(world.lease("w1").outcome, "ASSIGNED");
    assert_eq!(world.lease("w1").outcome, "NO_TASK");
    let mut ids: Vec<_> = world.seen.lines.iter().map(|line| line.event_id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4, "a line of each is another");
}

#[test]
fn a_queue_that_only_was_asked_is_not_kept() {
    let mut world = World::new(Settings::default());
    assert_eq!(world.lease("w1").outcome, "NO_TASK");
    world.lease_waiting("w1", 30_000);
    world.heartbeat("w1", &[]);
    assert!(!world.entries.is_empty());
    let seen = world.wait(60_000);
    assert_eq!(seen.workers.len(), 1, "the worker is gone");
    assert!(world.entries.is_empty() && world.process.due().is_none());
    world.uploaded(1, "ann");
    world.wait(48 * 3_600_000);
    assert_eq!(world.lease("w1").outcome, "ASSIGNED", "one with a document is");
}

#[test]
fn the_same_request_again_gets_the_same_task() {
    let mut world = World::new(Settings::default());
    world.uploaded(1, "ann");
    world.uploaded(2, "ann");
    let first = world.lease("w1");
    let again = LeaseRequested {
        tenant: "default".into(),
        queue: "documents".into(),
        request_id: first.request_id.clone(),
        worker: "w1".into(),
        capacity: 4,
        wait_until: 0,
    };
    let seen = world.give(Command::Lease(again));
    assert_eq!(seen.answers, [first]);
    assert!(seen.lines.is_empty() && seen.rows.is_empty(), "nothing has changed");
}

#[test]
fn time_and_a_record_that_change_a_document_at_one_offset_give_two_revisions() {
    let mut world = World::new(Settings::default());
    world.uploaded(1, "ann");
    world.lease("w1");
    // It was never taken up, and goes back in the moment in which another worker asks.
    world.now += 10_000;
    assert_eq!(world.lease("w2").attempt, Some(2));
    let revisions: Vec<_> = world.seen.rows.iter().map(|row| (row.state.as_str(), row.revision)).collect();
    assert_eq!(revisions, [("UPLOADED", 1), ("PROCESSING", 2), ("UPLOADED", 3), ("PROCESSING", 4)]);
}
