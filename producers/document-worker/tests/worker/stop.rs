//! Workers that are asked to stop.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::service::Service;
use crate::support::{Started, is_running, pid_in, sh, until};

fn waits() -> tidemark_document_worker::Step {
    sh("D1", "echo $$ >$TIDEMARK_NAME.pid; while [ ! -e $TIDEMARK_NAME ]; do sleep 0.02; done; echo 1")
}

/// It waits for a task for half a minute otherwise.
#[test]
fn an_idle_worker_stops_at_once_and_says_so() {
    let service = Service::start();
    let mut worker = Started::new(&service, &[waits()], |settings| settings.capacity = 3);
    until("it asks", || service.told().asked.len() == 3);
    let began = Instant::now();
    worker.stop.ask();
    worker.join();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(service.told().heartbeats.last().unwrap()["capacity"], 0);
}

#[test]
fn what_is_in_hand_is_finished_and_no_more_is_taken() {
    let service = Service::start();
    let go = tempfile::tempdir().unwrap();
    let flag = go.path().join("go");
    let name = flag.display().to_string();
    let mut worker = Started::new(&service, &[waits()], |_| {});
    service.add(&name, b"abc");
    service.add("/", b"next");
    pid_in(&go.path().join("go.pid"));
    worker.stop.ask();
    until("it says that it takes no more", || {
        service.told().heartbeats.last().is_some_and(|beat| beat["capacity"] == 0 && beat["tasks"] != json!([]))
    });
    std::fs::write(&flag, "").unwrap();
    worker.join();
    assert_eq!(service.report(&name).0, "complete");
    let told = service.told();
    assert_eq!((told.reports.len(), told.queue.len()), (1, 1));
}

#[test]
fn what_takes_too_long_is_killed_and_given_back() {
    let service = Service::start();
    let go = tempfile::tempdir().unwrap();
    let name = go.path().join("never").display().to_string();
    let mut worker = Started::new(&service, &[waits()], |settings| settings.stop_within = Duration::from_millis(700));
    service.add(&name, b"abc");
    let pid = pid_in(&go.path().join("never.pid"));
    let began = Instant::now();
    worker.stop.ask();
    worker.join();
    assert!((700..10_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert!(!is_running(pid));
    let (verb, body) = service.report(&name);
    assert_eq!((verb.as_str(), &body["reason"]), ("refuse", &json!("the worker stops")));
}

#[test]
fn a_second_signal_stops_at_once() {
    let service = Service::start();
    let go = tempfile::tempdir().unwrap();
    let name = go.path().join("never").display().to_string();
    let mut worker = Started::new(&service, &[waits()], |_| {});
    service.add(&name, b"abc");
    let pid = pid_in(&go.path().join("never.pid"));
    let began = Instant::now();
    worker.stop.ask();
    worker.stop.ask();
    worker.join();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(!is_running(pid));
    assert_eq!(service.report(&name).0, "refuse");
}

/// The result is lost to this worker, not to the pipeline: the lease ends, and another worker does it again.
#[test]
fn a_service_that_is_away_does_not_keep_a_worker_from_stopping() {
    let mut service = Service::start();
    service.add("/", b"abc");
    let mut worker = Started::new(&service, &[sh("D1", "sleep 0.3; echo 1")], |settings| {
        settings.stop_within = Duration::from_millis(700);
    });
    until("it works", || !worker.status().in_hand.is_empty() && worker.status().in_hand[0].step == "D1");
    service.kill();
    let began = Instant::now();
    worker.stop.ask();
    worker.join();
    assert!((700..10_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert!(service.told().reports.is_empty());
}

/// At once: what waits for a store that is away would not be done in time.
#[test]
fn what_waits_for_contents_is_given_back_when_the_worker_stops() {
    let service = Service::start();
    service.told().away = Some("/contents".into());
    service.add("/", b"abc");
    let mut worker = Started::new(&service, &[waits()], |settings| settings.stop_within = Duration::from_secs(300));
    until("they are asked for", || service.tries("/contents") >= 4);
    worker.stop.ask();
    let (verb, body) = service.report("/");
    assert_eq!((verb.as_str(), &body["reason"]), ("refuse", &json!("the worker stops")));
    worker.join();
}
