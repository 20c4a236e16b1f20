//! A service that is away for a while, and leases that are revoked.

use serde_json::json;
use tidemark_document_worker::Step;

use crate::service::Service;
use crate::support::{Started, is_running, pid_in, sh, until};

/// Says where it is by a file of its process id beside `name`, and waits for a file `name`.
fn waits() -> Step {
    sh("D1", "echo $$ >$TIDEMARK_NAME.pid; while [ ! -e $TIDEMARK_NAME ]; do sleep 0.02; done; echo 1")
}

#[test]
fn results_wait_until_the_service_is_back() {
    let mut service = Service::start();
    let go = tempfile::tempdir().unwrap();
    let flag = go.path().join("go");
    let name = flag.display().to_string();
    let worker = Started::new(&service, &[waits()], |_| {});
    service.add(&name, b"abc");
    pid_in(&go.path().join("go.pid"));
    service.kill();
    until("the worker notices", || worker.status().away.is_some());
    std::fs::write(&flag, "").unwrap();
    // First nobody listens, then somebody who is not ready.
    service.told().away = Some("/complete".into());
    service.revive();
    until("it is reported several times", || service.tries("/complete") >= 3);
    assert_eq!(worker.status().in_hand.len(), 1, "the result is kept");
    service.told().away = None;
    let (verb, body) = service.report(&name);
    assert_eq!((verb.as_str(), &body["result"]["steps"]["D1"]), ("complete", &json!(1)));
    until("it is counted", || worker.status().done == 1 && worker.status().away.is_none());
    service.add("/", b"next");
    assert_eq!(service.report("/").0, "complete");
}

#[test]
fn a_service_that_says_it_is_not_ready_is_asked_when_it_wants() {
    let service = Service::start();
    service.told().unavailable = 3;
    service.add("/", b"abc");
    let began = std::time::Instant::now();
    let worker = Started::new(&service, &[waits()], |settings| settings.pause_max = std::time::Duration::from_secs(30));
    assert_eq!(service.report("/").0, "complete");
    assert!(began.elapsed().as_millis() >= 1_000, "Retry-After is 1 s: {:?}", began.elapsed());
    until("it is counted", || worker.status().done == 1);
}

#[test]
fn a_revoked_lease_ends_its_step_at_once_and_is_not_reported() {
    let service = Service::start();
    let go = tempfile::tempdir().unwrap();
    let name = go.path().join("never").display().to_string();
    let worker = Started::new(&service, &[waits()], |_| {});
    service.add(&name, b"abc");
    let pid = pid_in(&go.path().join("never.pid"));
    let held = worker.status().in_hand[0].clone();
    service.told().over.push((held.task_id, held.token + 1));
    service.add("/", b"next");
    service.heartbeats(3);
    assert!(is_running(pid), "another token of the same task is another lease");
    service.told().over.push((format!("task {name}"), held.token));
    until("the step is killed", || !is_running(pid));
    assert_eq!(service.report("/").0, "complete");
    until("it is counted", || worker.status().revoked == 1 && worker.status().done == 1);
    assert_eq!(service.told().reports.len(), 1);
}

#[test]
fn a_report_that_waits_is_let_go_when_its_lease_is_revoked() {
    let service = Service::start();
    service.told().refuse.insert("task /".into(), 404);
    service.add("/", b"abc");
    let worker = Started::new(&service, &[waits()], |_| {});
    until("it is reported again and again", || service.told().reports.len() > 2);
    let token = worker.status().in_hand[0].token;
    service.told().over.push(("task /".into(), token));
    until("it is let go", || worker.status().revoked == 1);
}

/// As often as it would have given them back ten times, and made them errors.
#[test]
fn a_lease_is_kept_while_contents_cannot_be_read() {
    let service = Service::start();
    {
        let mut told = service.told();
        (told.away, told.break_off) = (Some("/contents".into()), 4);
    }
    // So large that a part is sent before it breaks off.
    service.add("/", &vec![b'x'; 4 << 20]);
    let worker =
        Started::new(&service, &[waits()], |settings| settings.pause_max = std::time::Duration::from_millis(50));
    until("they are asked for again and again", || service.tries("/contents") >= 5);
    assert_eq!((worker.status().in_hand.len(), service.told().reports.len()), (1, 0), "the lease is kept");
    service.told().away = None;
    assert_eq!(service.report("/").0, "complete");
    let told = service.told();
    assert_eq!((told.break_off, told.reports.len(), told.asked.len() <= 2), (0, 1, true));
}

#[test]
fn a_lease_that_waits_for_contents_is_let_go_when_it_is_revoked() {
    let service = Service::start();
    service.told().away = Some("/contents".into());
    service.add("/", b"abc");
    let worker = Started::new(&service, &[waits()], |settings| settings.pause_max = std::time::Duration::from_secs(30));
    until("they are asked for", || service.tries("/contents") >= 1 && !worker.status().in_hand.is_empty());
    let token = worker.status().in_hand[0].token;
    service.told().over.push(("task /".into(), token));
    until("it is let go", || worker.status().revoked == 1);
    assert!(service.told().reports.is_empty());
}
