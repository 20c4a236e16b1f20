//! Uploads: one task for the same contents, whoever and however often.

use crate::world::{Command, World, file};
use tidemark_jobs::documents::Settings;

#[test]
fn a_document_goes_its_way() {
    let mut world = World::new(Settings::default());
    let upload = world.upload(1, "ann");
    let seen = world.give(Command::Upload(upload.clone()));
    assert_eq!(
        (seen.answers[0].outcome.as_str(), seen.answers[0].task_id.as_ref()),
        ("CREATED", Some(&upload.request_id))
    );
    assert!(seen.mails.is_empty());
    assert_eq!((seen.rows[0].state.as_str(), seen.rows[0].revision, seen.rows.len()), ("UPLOADED", 1, 1));

    world.wait(2_000);
    let lease = world.lease("w1");
    assert_eq!((lease.outcome.as_str(), lease.key.as_ref(), lease.attempt), ("ASSIGNED", Some(&file(1)), Some(1)));
    let payload: serde_json::Value = serde_json::from_str(lease.payload.as_ref().unwrap()).unwrap();
    let said = serde_json::json!({"file_id": file(1), "name": "ann.txt", "type": "text/plain", "bytes": 10});
    assert_eq!(payload, said);
    assert_eq!(lease.deadline, Some(world.now + 60_000));

    let seen = world.heartbeat("w1", &[(&lease, "D1")]);
    assert_eq!((seen.answers[0].outcome.as_str(), seen.answers[0].revoked.len()), ("ALIVE", 0));
    assert_eq!(seen.rows[0].step.as_deref(), Some("D1"));
    assert!(seen.lines.is_empty(), "a step is no change of the task");
    let worker = seen.workers[0].1.as_ref().unwrap();
    assert_eq!((seen.workers[0].0.as_str(), worker.leases, worker.memory_bytes), ("default/documents/w1", 1, 7));

    world.wait(1_250);
    let seen = {
        let report = world.report("w1", &lease, "COMPLETED");
        world.give(Command::Report(report))
    };
    assert_eq!(seen.answers[0].outcome, "ACCEPTED");
    let row = &seen.rows[0];
    assert_eq!(
        (row.state.as_str(), row.result.as_ref(), row.result_bytes, row.step.as_ref()),
        ("DONE", Some(&file(0xab)), 3, None)
    );
    let done = &seen.lines[0];
    assert_eq!((done.worked_ms, done.token, done.attempt), (Some(1_250), lease.token, Some(1)));
    let run = &seen.runs[0];
    assert_eq!((run.step.as_str(), run.place, run.token, run.worker.as_str()), ("D1", 0, lease.token.unwrap(), "w1"));
    assert_eq!((run.at, run.started_at, run.wall_us), (world.now, 5, 1_000));
    assert_eq!(
        world.seen.log(&file(1)),
        [("UPLOADED", "uploaded by ann as ann.txt"), ("ASSIGNED", "given to worker w1"), ("DONE", "done in 1.2 s")]
    );
    assert_eq!(world.seen.lines[1].queued_ms, Some(2_000));
    assert!(world.seen.mails.is_empty());
    assert_eq!(world.lease("w1").outcome, "NO_TASK");
}

#[test]
fn racing_uploads_give_one_task_and_a_duplicate_for_each_other() {
    let mut world = World::new(Settings::default());
    let outcomes: Vec<String> = ["ann", "bob", "cat"].into_iter().map(|owner| world.uploaded(1, owner)).collect();
    assert_eq!(outcomes, ["CREATED", "DUPLICATE", "DUPLICATE"]);
    let mails: Vec<_> = world.seen.mails.iter().map(|mail| (mail.to.as_str(), mail.template.as_str())).collect();
    assert_eq!(mails, [("bob@example.org", "duplicate"), ("cat@example.org", "duplicate")]);
    assert_ne!(world.seen.mails[0].mail_id, world.seen.mails[1].mail_id);
    let data: serde_json::Value = serde_json::from_str(&world.seen.mails[0].data).unwrap();
    assert_eq!((&data["name"], &data["first_owner"]), (&"bob.txt".into(), &"ann".into()));
    let row = world.row(&file(1));
    assert_eq!((row.duplicates, row.owner.as_str()), (2, "ann"));
    let bob = "uploaded again by bob as bob.txt: ann.txt has the same contents, and is UPLOADED";
    assert_eq!(world.seen.log(&file(1))[1], ("DUPLICATE", bob));
    assert_eq!(world.lease("w").outcome, "ASSIGNED");
    assert_eq!(world.lease("w").outcome, "NO_TASK", "one task");
}

#[test]
fn the_same_upload_again_gets_the_same_answer_for_a_day() {
    let mut world = World::new(Settings::default());
    let first = world.upload(1, "ann");
    world.give(Command::Upload(first.clone()));
    let second = world.upload(1, "bob");
    world.give(Command::Upload(second.clone()));
    for (upload, outcome) in [(&first, "CREATED"), (&second, "DUPLICATE")] {
        let again = tidemark_schemas::documents::DocumentUploaded { request_id: world.request(), ..upload.clone() };
        let seen = world.give(Command::Upload(again));
        assert_eq!(
            (seen.answers[0].outcome.as_str(), seen.answers[0].task_id.as_ref()),
            (outcome, Some(&first.request_id))
        );
        assert!(seen.lines.is_empty() && seen.mails.is_empty() && seen.rows.is_empty());
    }
    let mut other = world.upload(2, "ann");
    other.upload_id.clone_from(&first.upload_id);
    let answer = world.give(Command::Upload(other)).answers.remove(0);
    assert_eq!(answer.outcome, "REJECTED");
    assert!(answer.message.unwrap().contains(&file(1)));
    let entries = world.entries.len();
    world.wait(24 * 3_600_000);
    assert!(world.entries.len() <= entries - 2, "both uploads are forgotten");
    let late = tidemark_schemas::documents::DocumentUploaded { request_id: world.request(), ..first };
    assert_eq!(world.give(Command::Upload(late)).answers[0].outcome, "DUPLICATE");
}

#[test]
fn the_same_contents_after_an_error_are_tried_again() {
    let mut world = World::new(Settings::default());
    world.uploaded(1, "ann");
    let task = world.row(&file(1)).task_id.clone();
    let lease = world.lease("w1");
    world.reported("w1", &lease, "FAILED");
    assert_eq!(world.row(&file(1)).state, "ERROR");
    assert_eq!(world.uploaded(1, "bob"), "RETRIED");
    let row = world.row(&file(1)).clone();
    assert_eq!((row.state.as_str(), row.owner.as_str(), row.mail.as_str()), ("UPLOADED", "bob", "bob@example.org"));
    assert_eq!((row.name.as_str(), &row.task_id, row.error, row.duplicates), ("bob.txt", &task, None, 0));
    assert_eq!(world.seen.mails.len(), 1, "only that of the error");
    let lease = world.lease("w1");
    assert_eq!((lease.task_id.as_ref(), lease.attempt), (Some(&task), Some(2)));
    world.reported("w1", &lease, "COMPLETED");
    let events: Vec<_> = world.seen.log(&file(1)).into_iter().map(|(event, _)| event).collect();
    assert_eq!(events, ["UPLOADED", "ASSIGNED", "ERROR", "RETRIED", "ASSIGNED", "DONE"]);
    assert_eq!(world.seen.log(&file(1))[4].1, "given to worker w1 (attempt 2)");
    assert_eq!(world.uploaded(1, "cat"), "DUPLICATE", "it is done by now");
}

#[test]
fn people_cancel_and_try_again() {
    let mut world = World::new(Settings::default());
    assert_eq!(world.act(&file(1), "CANCEL").outcome, "NOT_FOUND");
    world.uploaded(1, "ann");
    let refused = world.act(&file(1), "RETRY");
    assert_eq!(refused.outcome, "REJECTED");
    assert!(refused.message.unwrap().contains("UPLOADED"));
    assert_eq!(world.act(&file(1), "CANCEL").outcome, "ACCEPTED");
    let row = world.row(&file(1));
    assert_eq!((row.state.as_str(), row.error.as_deref()), ("ERROR", Some("cancelled by eve")));
    assert_eq!(world.lease("w1").outcome, "NO_TASK");
    assert_eq!(world.act(&file(1), "CANCEL").outcome, "REJECTED");
    assert_eq!(world.act(&file(1), "RETRY").outcome, "ACCEPTED");
    let lease = world.lease("w1");
    world.heartbeat("w1", &[(&lease, "D1")]);
    assert_eq!(world.act(&file(1), "CANCEL").outcome, "ACCEPTED");
    let seen = world.heartbeat("w1", &[(&lease, "D1")]);
    assert_eq!(seen.answers[0].revoked.len(), 1, "the worker is told");
    assert_eq!(world.reported("w1", &lease, "COMPLETED").outcome, "REJECTED");
    assert_eq!(world.row(&file(1)).state, "ERROR");
    assert!(world.seen.mails.is_empty(), "who cancels knows it");
    let events: Vec<_> = world.seen.log(&file(1)).into_iter().map(|(event, _)| event).collect();
    assert_eq!(events, ["UPLOADED", "CANCELLED", "RETRIED", "ASSIGNED", "CANCELLED", "REFUSED"]);
}
