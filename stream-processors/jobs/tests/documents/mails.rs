//! Mails: each exactly once, to whom it concerns.

use crate::world::{Command, World, file};
use serde_json::json;
use tidemark_jobs::documents::Settings;
use tidemark_schemas::notifications::MailRequested;

fn do_one(world: &mut World, n: u64, owner: &str) {
    world.uploaded(n, owner);
    let lease = world.lease("w");
    world.reported("w", &lease, "COMPLETED");
}

fn ids(mails: &[MailRequested]) -> Vec<&str> {
    mails.iter().map(|mail| mail.mail_id.as_str()).collect()
}

#[test]
fn every_thousandth_is_told_exactly_once() {
    let mut world = World::new(Settings::default());
    for n in 0..2_005 {
        // Uploads of others in between, restarts, and a retry that is done a second time as a document of its own right.
        if n % 331 == 0 {
            world.restart(Settings::default());
        }
        do_one(&mut world, n, if n == 999 { "ann" } else { "bob" });
        world.seen.lines.clear();
        world.seen.rows.clear();
    }
    let told = ["progress-default-documents-1000", "progress-default-documents-2000"];
    assert_eq!(ids(&world.seen.mails), told);
    assert_eq!(
        world.seen.mails.iter().map(|mail| mail.to.as_str()).collect::<Vec<_>>(),
        ["ann@example.org", "bob@example.org"]
    );
    let data: serde_json::Value = serde_json::from_str(&world.seen.mails[0].data).unwrap();
    assert_eq!(data["done"], 1_000);
}

#[test]
fn those_who_were_named_are_told() {
    let progress_to = vec!["a@example.org".to_owned(), "b@example.org".to_owned()];
    let mut world = World::new(Settings { progress_every: 2, progress_to, ..Settings::default() });
    (0..3).for_each(|n| do_one(&mut world, n, "ann"));
    assert_eq!(ids(&world.seen.mails), ["progress-default-documents-2", "progress-default-documents-2-2"]);
    assert_eq!(world.seen.mails[1].to, "b@example.org");
}

#[test]
fn without_an_address_there_is_no_mail() {
    let mut world = World::new(Settings { progress_every: 1, ..Settings::default() });
    for _ in 0..2 {
        let mut upload = world.upload(1, "ann");
        upload.mail.clear();
        world.give(Command::Upload(upload));
    }
    let lease = world.lease("w");
    world.reported("w", &lease, "FAILED");
    world.act(&file(1), "RETRY");
    let lease = world.lease("w");
    world.reported("w", &lease, "COMPLETED");
    assert_eq!(world.row(&file(1)).state, "DONE");
    assert!(world.seen.mails.is_empty());
}

/// Templates are refused data that lacks what they name: these names never go.
#[test]
fn mails_have_what_templates_name() {
    let mut world = World::new(Settings { progress_every: 1, ..Settings::default() });
    world.uploaded(1, "ann");
    world.wait(1_000);
    world.uploaded(1, "bob");
    let lease = world.lease("w");
    world.reported("w", &lease, "FAILED");
    do_one(&mut world, 2, "cat");
    let common = json!({"type": "text/plain", "bytes": 10, "queue": "documents"});
    let started = "2027-01-15T08:00:00Z";
    let expected = [
        json!({"file_id": file(1), "name": "bob.txt", "owner": "bob", "at": "2027-01-15T08:00:01Z", "state": "UPLOADED",
            "first_name": "ann.txt", "first_owner": "ann", "first_uploaded_at": started}),
        json!({"file_id": file(1), "name": "ann.txt", "owner": "ann", "at": started, "state": "ERROR",
            "step": "(none begun)", "error": "no reason was given", "attempts": 1}),
        json!({"file_id": file(2), "name": "cat.txt", "owner": "cat", "at": "2027-01-15T08:00:01Z", "state": "DONE",
            "done": 1, "pending": 0, "leased": 0}),
    ];
    assert_eq!(world.seen.mails.len(), expected.len());
    for (mail, mut expected) in world.seen.mails.iter().zip(expected) {
        expected.as_object_mut().unwrap().extend(common.as_object().unwrap().clone());
        assert_eq!(serde_json::from_str::<serde_json::Value>(&mail.data).unwrap(), expected, "{}", mail.template);
        assert_eq!(mail.at, world.now);
    }
}
