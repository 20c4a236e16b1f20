//! Tasks from the queue to the report.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidemark_document_worker::{Limits, Step, Token};

use crate::service::Service;
use crate::support::{Started, sh, until};

/// Three steps that build on each other.
fn three() -> [Step; 3] {
    [
        sh("D1", "printf '{\"bytes\":%s}' $(wc -c)"),
        sh("D2", "printf '{\"got\":%s,\"name\":\"%s\"}' \"$(cat)\" \"$TIDEMARK_NAME\""),
        sh("D3", "printf '[%s,\"%s\"]' \"$(cat)\" \"$(cat \"$TIDEMARK_CONTENTS\")\""),
    ]
}

#[test]
fn each_document_goes_through_all_steps_once() {
    let service = Service::start();
    let names: Vec<String> = (0..20).map(|number| format!("n{number}")).collect();
    for name in &names {
        service.add(name, format!("contents of {name}").as_bytes());
    }
    let worker = Started::new(&service, &three(), |settings| settings.capacity = 3);
    for name in &names {
        let (verb, body) = service.report(name);
        assert_eq!(verb, "complete");
        let contents = format!("contents of {name}");
        let d1 = json!({"bytes": contents.len()});
        let d2 = json!({"got": d1, "name": name});
        assert_eq!(body["result"]["steps"], json!({"D1": d1, "D2": d2, "D3": [d2, contents]}));
        assert_eq!((&body["result"]["pipeline"], &body["worker"]), (&json!("test"), &json!("worker-1")));
        assert_eq!(body["result"]["file_id"].as_str().unwrap().len(), 64);
        let attempts: Vec<_> = body["attempts"].as_array().unwrap().iter().map(in_short).collect();
        assert_eq!(attempts, ["D1 1 OK", "D2 1 OK", "D3 1 OK"]);
        assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["attempts", "result", "token", "worker"]);
    }
    until("all are counted", || worker.status().done == 20);
    assert_eq!(service.told().reports.len(), 20, "one report each");
    let tokens: BTreeMap<i64, ()> =
        service.told().reports.iter().map(|(.., body)| (body["token"].as_i64().unwrap(), ())).collect();
    assert_eq!(tokens.len(), 20);
}

pub(crate) fn in_short(attempt: &Value) -> String {
    let keys = ["attempt", "cpu_us", "memory_bytes", "message", "outcome", "started_at", "step", "wall_us"];
    assert_eq!(attempt.as_object().unwrap().keys().collect::<Vec<_>>(), keys);
    assert!(attempt["started_at"].as_i64().unwrap() > 1_700_000_000_000);
    format!("{} {} {}", attempt["step"].as_str().unwrap(), attempt["attempt"], attempt["outcome"].as_str().unwrap())
}

#[test]
fn a_waiting_worker_is_woken_at_once_and_asks_no_more_than_that() {
    let service = Service::start();
    let _worker = Started::new(&service, &three()[..1], |_| {});
    until("it asks", || service.told().asked.len() == 1);
    service.heartbeats(4);
    assert_eq!(service.told().asked.len(), 1, "it waits for an answer");
    let began = Instant::now();
    service.add("a", b"abc");
    service.report("a");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn a_service_that_does_not_wait_is_asked_ever_less_often() {
    let service = Service::start();
    service.told().never_waits = true;
    let _worker = Started::new(&service, &three()[..1], |settings| settings.pause_max = Duration::from_secs(30));
    let began = Instant::now();
    until("it asks some times", || service.told().asked.len() >= 5);
    let took = began.elapsed();
    assert!(
        took > Duration::from_millis(700),
        "five in {took:?}, with pauses of half of 0.1, 0.2, 0.4, 0.8 s at least"
    );
    service.add("a", b"abc");
    service.report("a");
}

/// The second step waits until there is a file of the document's name.
fn two() -> [Step; 2] {
    [sh("D1", "echo 1"), sh("D2", "while [ ! -e $TIDEMARK_NAME ]; do sleep 0.02; done; echo 2")]
}

#[test]
fn a_heartbeat_comes_at_once_when_a_task_begins() {
    let service = Service::start();
    let _worker = Started::new(&service, &two(), |settings| settings.heartbeat = Duration::from_secs(10));
    until("a first heartbeat comes at once", || !service.told().heartbeats.is_empty());
    assert_eq!(service.told().heartbeats[0]["tasks"], json!([]));
    let began = Instant::now();
    service.add("/never", b"abc");
    until("one more comes", || {
        service.told().heartbeats.iter().any(|beat| beat["tasks"][0]["task_id"] == "task /never")
    });
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn heartbeats_name_what_is_in_hand() {
    let service = Service::start();
    let go = tempfile::tempdir().unwrap();
    let flag = go.path().join("go").display().to_string();
    let worker = Started::new(&service, &two(), |_| {});
    service.add(&flag, b"abd");
    until("the step is named", || service.told().heartbeats.iter().any(|beat| beat["tasks"][0]["step"] == "D2"));
    let beat = service.told().heartbeats.last().unwrap().clone();
    assert_eq!((&beat["worker"], &beat["capacity"]), (&json!("worker-1"), &json!(1)));
    assert!(beat["memory_bytes"].as_u64().unwrap() > 1 << 20 && beat["cpu_percent"].is_u64(), "{beat}");
    assert_eq!(worker.status().in_hand[0].step, "D2");
    std::fs::write(&flag, "").unwrap();
    until("it is done", || worker.status().done == 1);
    let before = service.told().heartbeats.len();
    until("nothing is named afterwards", || {
        service.told().heartbeats[before..].iter().any(|beat| beat["tasks"] == json!([]))
    });
}

#[test]
fn a_task_whose_answer_was_lost_is_asked_for_again() {
    let service = Service::start();
    service.told().lose = 1;
    service.add("a", b"abc");
    service.add("b", b"abd");
    let _worker = Started::new(&service, &three()[..1], |_| {});
    assert_eq!(service.report("a").0, "complete");
    assert_eq!(service.report("b").0, "complete");
    let asked = service.told().asked.clone();
    assert_eq!(asked[0], asked[1], "the same request");
    assert_ne!(asked[1], asked[2], "a new one once it is answered");
}

#[test]
fn large_results_are_sent_from_disk() {
    let service = Service::start();
    service.add("a", &vec![b'x'; 3 << 20]);
    let large = sh("D1", "printf '\"'; cat; printf '\"'");
    let _worker = Started::new(&service, &[large.clone(), sh("D2", "wc -c")], |_| {});
    let (verb, body) = service.report("a");
    assert_eq!(verb, "complete");
    assert_eq!(body["result"]["steps"]["D1"].as_str().unwrap().len(), 3 << 20);
    assert_eq!(body["result"]["steps"]["D2"], json!((3 << 20) + 2));
}

#[test]
fn a_token_is_shown_and_read_again_when_it_is_no_longer_taken() {
    let mut service = Service::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "first\n").unwrap();
    service.told().token = Some("first".into());
    let worker = Started::new(&service, &three()[..1], |settings| settings.token = Some(Token::File(file.clone())));
    service.add("a", b"abc");
    assert_eq!(service.report("a").0, "complete");
    service.told().token = Some("second".into());
    service.add("b", b"abd");
    // What waits already is let through: only a new connection shows the token again.
    service.kill();
    service.revive();
    until("it is told", || worker.status().away.is_some_and(|away| away.contains("401")));
    std::fs::write(&file, "second\n").unwrap();
    assert_eq!(service.report("b").0, "complete");
    until("the service is there", || worker.status().away.is_none());
}

#[test]
fn an_idle_worker_is_small_and_so_are_its_steps() {
    // Of the default limits, because they are documented with the figures.
    assert_eq!(Limits::default().memory_bytes, 1 << 30);
    let service = Service::start();
    service.add("a", b"abc");
    let _worker = Started::new(&service, &[sh("D1", "echo 1")], |_| {});
    let (_, body) = service.report("a");
    let memory = body["attempts"][0]["memory_bytes"].as_u64().unwrap();
    // This test's own process stands for the worker, with all other tests in it.
    assert!((1..512 << 20).contains(&memory), "{memory}");
}
