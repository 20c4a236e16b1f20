//! The error states A to F of the document pipeline's seed, each with real processes that are killed at that point.

use super::world::*;
use crate::process::{Tidemark, eventually, get, post};
use serde_json::json;
use std::io::Write;

/// Works at once.
const QUICK: &[(&str, &str)] = &[("D1", "cat >/dev/null; echo '{\"text\":\"quick\"}'")];
/// Works for long enough to be killed meanwhile, and leaves a sign that it has begun.
const SLOW: &[(&str, &str)] = &[("D1", "cat >/dev/null; sleep 30; echo '{}'")];

/// Waits until a worker is at a step of the document.
fn wait_for_step(url: &str, id: &str) {
    eventually("a step is worked on", || {
        let found = document(url, id)?;
        if found["state"] == "PROCESSING" && found["step"] == "D1" { Ok(()) } else { Err(found.to_string()) }
    });
}

/// A: nobody can upload while the platform is down; what was there before is there after it, and uploads go on.
#[test]
fn a_the_page_is_away() {
    let world = World::new(1, "");
    let platform = world.up();
    let first = upload(&platform.url, "a.txt", b"before the crash");
    let id = first["file_id"].as_str().unwrap().to_owned();
    wait_for_state(&platform.url, &id, "DONE");
    let url = platform.url.clone();
    platform.kill();
    assert!(try_upload(&url, "b.txt", b"while it is away", &[]).is_err(), "nobody is there to take it");

    let platform = world.up();
    assert_eq!(document(&platform.url, &id).unwrap()["state"], "DONE");
    let page = get(&format!("{}/documents", platform.url)).unwrap();
    assert!(page.status == 200 && page.body.contains("<html"), "{}", page.status);
    let second = upload(&platform.url, "b.txt", b"while it is away");
    assert_eq!(second["outcome"], "created");
    wait_for_state(&platform.url, second["file_id"].as_str().unwrap(), "DONE");
    platform.stop();
}

/// B: the process that takes uploads dies between storing the contents and saying so. The same upload again is taken as new, once.
#[test]
fn b_the_upload_was_stored_and_not_told() {
    let world = World::new(0, "");
    let args = ["up", "--config", &world.config()];
    let trap = [("TIDEMARK_FAILPOINT", "contents-stored:1")];
    let mut platform = Tidemark::spawn_with(&world.path("data"), &args, &trap);
    platform.wait_ready();
    let headers = [("idempotency-key", "upload-1")];
    assert!(
        try_upload(&platform.url, "a.txt", b"stored, not told", &headers).is_err(),
        "it died before it could answer"
    );
    eventually("the process is gone", || if platform.has_ended() { Ok(()) } else { Err("it lives".into()) });
    let id = file_id(b"stored, not told");
    let stored = world.path("store").join("contents").join(&id[..2]).join(&id);
    assert_eq!(std::fs::read(&stored).unwrap(), b"stored, not told", "{}", stored.display());

    let platform = world.up();
    assert!(document(&platform.url, &id).is_err(), "nobody was told of it");
    let answer = try_upload(&platform.url, "a.txt", b"stored, not told", &headers).unwrap();
    assert_eq!(
        (answer.status, answer.json()["documents"][0]["outcome"].as_str()),
        (201, Some("created")),
        "{}",
        answer.body
    );
    let again = try_upload(&platform.url, "a.txt", b"stored, not told", &headers).unwrap();
    assert_eq!(again.json()["documents"][0]["outcome"], "created", "the same upload is no duplicate");
    let worker = world.worker(&platform.url, "w", 1, QUICK);
    wait_for_state(&platform.url, &id, "DONE");
    assert!(world.mails().is_empty());
    worker.stop();
    platform.stop();
}

/// C: the task is PROCESSING, and the worker that asked never heard of it.
#[test]
fn c_the_answer_never_reached_the_worker() {
    let world = World::new(0, "");
    let platform = world.up();
    let id = file_id(b"never delivered");
    upload(&platform.url, "a.txt", b"never delivered");
    // A worker that asks, and is gone when the answer comes.
    let ask = json!({"worker": "deaf", "capacity": 1}).to_string();
    let mut stream = std::net::TcpStream::connect(platform.url.trim_start_matches("http://")).unwrap();
    write!(
        stream,
        "POST /v1/queues/documents/lease HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{ask}",
        ask.len()
    )
    .unwrap();
    wait_for_events(&platform.url, &id, &["UPLOADED", "ASSIGNED"]);
    drop(stream);
    wait_for_events(&platform.url, &id, &["UPLOADED", "ASSIGNED", "REQUEUED"]);
    let worker = world.worker(&platform.url, "w", 1, QUICK);
    let done = wait_for_state(&platform.url, &id, "DONE");
    assert!(done["worker"].as_str().unwrap().starts_with("w-"), "{done}");
    wait_for_events(&platform.url, &id, &["UPLOADED", "ASSIGNED", "REQUEUED", "ASSIGNED", "DONE"]);
    worker.stop();
    platform.stop();
}

/// D: results have come and been stored, and the process dies before it can say so. They are there once.
#[test]
fn d_the_results_were_stored_and_not_told() {
    let world = World::new(0, "");
    let args = ["up", "--config", &world.config()];
    let trap = [("TIDEMARK_FAILPOINT", "results-stored:1")];
    let mut platform = Tidemark::spawn_with(&world.path("data"), &args, &trap);
    platform.wait_ready();
    let url = platform.url.clone();
    let worker = world.worker(&url, "w", 1, QUICK);
    upload(&url, "a.txt", b"worked on once");
    eventually("the process is gone", || if platform.has_ended() { Ok(()) } else { Err("it lives".into()) });

    // The worker holds its results until somebody takes them, at the same address.
    let again = Tidemark::start_at(&world.path("data"), &args, url.trim_start_matches("http://"));
    let id = file_id(b"worked on once");
    let done = wait_for_state(&url, &id, "DONE");
    let results = get(&format!("{url}/v1/documents/{id}/results")).unwrap();
    assert_eq!(results.json()["steps"]["D1"]["text"], "quick", "{} {done}", results.body);
    let dones = events(&url, &id).iter().filter(|event| *event == "DONE").count();
    assert_eq!(dones, 1);
    worker.stop();
    again.stop();
}

/// E: a duplicate has been told, and the process dies before its mail is out. It goes out after that, once.
#[test]
fn e_the_mail_was_decided_and_not_sent() {
    let world = World::new(0, "");
    let args = ["up", "--config", &world.config()];
    let trap = [("TIDEMARK_FAILPOINT", "mail-under-way:1")];
    let mut platform = Tidemark::spawn_with(&world.path("data"), &args, &trap);
    platform.wait_ready();
    upload(&platform.url, "a.txt", b"twice");
    // It may die before it can answer.
    let _ = try_upload(&platform.url, "b.txt", b"twice", &[]);
    eventually("the process is gone", || if platform.has_ended() { Ok(()) } else { Err("it lives".into()) });

    let platform = world.up();
    world.wait_for_mails(&[("Already", 1)]);
    let id = header_of(&world.mails()[0], "Message-ID");
    assert!(id.starts_with("<duplicate-"), "{id}");
    platform.stop();
    // Another start sends nothing again.
    let platform = world.up();
    upload(&platform.url, "c.txt", b"twice");
    world.wait_for_mails(&[("Already", 2)]);
    // A maildir shows no repeat, since a mail has one file: the process itself says how many it sent.
    eventually("one mail was sent", || {
        let metrics = get(&format!("{}/metrics", platform.url)).map_err(|error| error.to_string())?.body;
        let sent = metrics.lines().find(|line| line.starts_with("tidemark_mails_sent_total")).unwrap_or_default();
        if sent.ends_with(" 1") { Ok(()) } else { Err(sent.to_owned()) }
    });
    platform.stop();
}

/// F: a worker is killed in the middle of a document. It goes to the back of the queue, and another worker does it.
#[test]
fn f_the_worker_was_killed() {
    let world = World::new(0, "");
    let platform = world.up();
    let victim = world.worker(&platform.url, "victim", 1, SLOW);
    upload(&platform.url, "first.txt", b"first");
    wait_for_step(&platform.url, &file_id(b"first"));
    victim.kill();
    upload(&platform.url, "second.txt", b"second");
    wait_for_events(&platform.url, &file_id(b"first"), &["UPLOADED", "ASSIGNED", "REQUEUED"]);
    let worker = world.worker(&platform.url, "w", 1, QUICK);
    let first = wait_for_state(&platform.url, &file_id(b"first"), "DONE");
    let second = wait_for_state(&platform.url, &file_id(b"second"), "DONE");
    let leased = |document: &serde_json::Value| document["leased_at"].as_str().unwrap().to_owned();
    assert!(leased(&second) < leased(&first), "what was requeued is behind what came meanwhile: {second} {first}");
    worker.stop();
    platform.stop();
}

/// A worker that slept past its lease is refused when it wakes up, and what it brings changes nothing.
#[test]
fn a_worker_that_wakes_up_late_is_refused() {
    let world = World::new(0, "");
    let platform = world.up();
    let steps = &[("D1", "cat >/dev/null; sleep 3; echo '{\"text\":\"late\"}'")];
    let sleeper = world.worker(&platform.url, "sleeper", 1, steps);
    upload(&platform.url, "a.txt", b"slept over");
    let id = file_id(b"slept over");
    wait_for_step(&platform.url, &id);
    sleeper.signal("STOP");
    wait_for_events(&platform.url, &id, &["UPLOADED", "ASSIGNED", "REQUEUED"]);
    let worker = world.worker(&platform.url, "w", 1, QUICK);
    wait_for_state(&platform.url, &id, "DONE");
    sleeper.signal("CONT");
    // It hears that its lease is none, or its report is refused; either way it takes the next task.
    worker.stop();
    upload(&platform.url, "b.txt", b"the next one");
    let next = wait_for_state(&platform.url, &file_id(b"the next one"), "DONE");
    assert!(next["worker"].as_str().unwrap().starts_with("sleeper-"), "{next}");
    let results = get(&format!("{}/v1/documents/{id}/results", platform.url)).unwrap().json();
    assert_eq!(results["steps"]["D1"]["text"], "quick", "{results}");
    assert_eq!(events(&platform.url, &id).iter().filter(|event| *event == "DONE").count(), 1);
    sleeper.stop();
    platform.stop();
}

/// A document that takes three workers with it is an error, and the next one goes on.
#[test]
fn a_document_that_takes_three_workers_with_it_is_an_error() {
    let world = World::new(0, "");
    let platform = world.up();
    // The step kills its worker, as no limit of a child can prevent an operator's own mistake.
    let deadly = &[("D1", "if grep -q poison; then kill -9 $PPID; sleep 5; else echo '{}'; fi")];
    upload(&platform.url, "a.txt", b"poison");
    upload(&platform.url, "b.txt", b"harmless");
    let id = file_id(b"poison");
    let mut tries = 0;
    while document(&platform.url, &id).unwrap()["state"] != "ERROR" {
        tries += 1;
        assert!(tries < 20, "{}", document(&platform.url, &id).unwrap());
        let mut worker = world.spawn_worker(&platform.url, &format!("w{tries}"), 1, deadly);
        eventually("the worker is dead or the document an error", || {
            let is_error = document(&platform.url, &id)?["state"] == "ERROR";
            if worker.has_ended() || is_error { Ok(()) } else { Err("it lives".into()) }
        });
    }
    let worker = world.worker(&platform.url, "last", 1, deadly);
    wait_for_state(&platform.url, &file_id(b"harmless"), "DONE");
    let error = document(&platform.url, &id).unwrap();
    assert!(error["error"].as_str().unwrap().contains("3 lost leases"), "{error}");
    world.wait_for_mails(&[("Not processed", 1)]);
    let retried = post(&format!("{}/v1/documents/{id}/retry", platform.url), "application/json", b"{}").unwrap();
    assert!(retried.status < 300, "{}", retried.body);
    worker.kill();
    platform.stop();
}
