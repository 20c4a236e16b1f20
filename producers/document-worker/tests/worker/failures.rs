//! Steps that fail in every way: exactly the stated attempts, and the worker goes on.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidemark_document_worker::{Limits, Step};

use crate::service::Service;
use crate::support::{Started, sh, until};
use crate::tasks::in_short;

/// Does what the document's name says.
fn obedient(limits: Limits) -> Step {
    let script = "cat >/dev/null; case $TIDEMARK_NAME in
        segfault) kill -SEGV $$;;
        hang) sleep 1000;;
        memory) head -c 1000000000 /dev/zero | tail -c 1000000000;;
        output) cat /dev/zero;;
        garbage) echo done;;
        fails) echo why >&2; exit 7;;
        refused) echo 'no document' >&2; exit 65;;
        flaky) [ $TIDEMARK_ATTEMPT -ge 3 ] || exit 1; echo $TIDEMARK_ATTEMPT;;
        leaves) sleep 1000 & echo 1;;
        *) echo 1;;
        esac";
    Step { limits, ..sh("D2", script) }
}

fn limits() -> Limits {
    Limits { memory_bytes: 200 << 20, wall: Duration::from_millis(700), output_bytes: 1 << 20, ..Limits::default() }
}

fn attempts(body: &Value) -> Vec<String> {
    body["attempts"].as_array().unwrap().iter().map(in_short).collect()
}

/// One worker of one thread meets all of them, and each time does the next task.
#[test]
fn every_failure_is_an_error_of_its_document_and_the_worker_lives_on() {
    let cases = [
        ("segfault", "CRASHED", "segmentation fault (signal 11) (4 attempts)"),
        ("fails", "FAILED", "exit code 7: why (4 attempts)"),
        (
            "garbage",
            "GARBAGE",
            "its output is not one JSON value in UTF-8: expected value at line 1 column 1 (4 attempts)",
        ),
        ("output", "KILLED", "over its output limit of 1048576 bytes (4 attempts)"),
        ("hang", "KILLED", "over its time limit of 0.7 s (4 attempts)"),
    ];
    let service = Service::start();
    for (name, ..) in cases {
        service.add(name, name.as_bytes());
        service.add(&format!("after {name}"), format!("after {name}").as_bytes());
    }
    let worker = Started::new(&service, &[sh("D1", "wc -c"), obedient(limits()), sh("D3", "cat")], |_| {});
    for (name, outcome, error) in cases {
        let (verb, body) = service.report(name);
        assert_eq!((verb.as_str(), &body["step"], &body["error"]), ("fail", &json!("D2"), &json!(error)), "{name}");
        let mut wanted = vec!["D1 1 OK".to_owned()];
        wanted.extend((1..=4).map(|attempt| format!("D2 {attempt} {outcome}")));
        assert_eq!(attempts(&body), wanted, "{name}");
        assert_eq!(service.report(&format!("after {name}")).0, "complete");
    }
    until("all are counted", || worker.status().done + worker.status().failed == 10);
    let status = worker.status();
    assert_eq!((status.done, status.failed, status.infrastructure_failures, status.revoked), (5, 5, 0, 0));
}

/// Apart from the others: with little time by the clock a bomb would sometimes be killed for that.
#[test]
fn running_out_of_memory_is_an_error_too() {
    let service = Service::start();
    service.add("memory", b"memory");
    service.add("next", b"next");
    let limits = Limits { wall: Duration::from_secs(60), ..limits() };
    let _worker = Started::new(&service, &[obedient(limits)], |_| {});
    let (verb, body) = service.report("memory");
    assert_eq!((verb.as_str(), attempts(&body).len()), ("fail", 4));
    assert!(body["error"].as_str().unwrap().starts_with("over its memory limit of 209715200 bytes: "), "{body}");
    assert_eq!(service.report("next").0, "complete");
}

#[test]
fn a_document_at_fault_is_tried_once_and_a_flaky_step_until_it_works() {
    let service = Service::start();
    for name in ["refused", "flaky", "leaves"] {
        service.add(name, name.as_bytes());
    }
    let _worker = Started::new(&service, &[obedient(Limits::default())], |_| {});
    let (verb, body) = service.report("refused");
    assert_eq!((verb.as_str(), &body["error"]), ("fail", &json!("no document")));
    assert_eq!(attempts(&body), ["D2 1 FAILED"]);
    let (verb, body) = service.report("flaky");
    assert_eq!((verb.as_str(), &body["result"]["steps"]["D2"]), ("complete", &json!(3)));
    assert_eq!(attempts(&body), ["D2 1 FAILED", "D2 2 FAILED", "D2 3 OK"]);
    assert_eq!(service.report("leaves").0, "complete");
}

#[test]
fn retries_are_those_of_the_step() {
    let service = Service::start();
    service.add("fails", b"fails");
    let _worker = Started::new(&service, &[Step { retries: 0, ..obedient(Limits::default()) }], |_| {});
    let (_, body) = service.report("fails");
    assert_eq!((attempts(&body), &body["error"]), (vec!["D2 1 FAILED".to_owned()], &json!("exit code 7: why")));
}

#[test]
fn what_is_not_the_documents_fault_goes_back_to_the_queue() {
    let service = Service::start();
    service.add("missing program", b"abc");
    let nowhere = Step { command: vec!["/nowhere/program".into()], ..sh("D1", "") };
    let worker = Started::new(&service, &[nowhere], |_| {});
    let (verb, body) = service.report("missing program");
    assert_eq!((verb.as_str(), attempts(&body)), ("refuse", vec!["D1 1 INFRASTRUCTURE".to_owned()]));
    assert!(body["reason"].as_str().unwrap().starts_with("cannot start /nowhere/program of step D1"), "{body}");
    until("it is counted apart", || worker.status().infrastructure_failures == 1 && worker.status().failed == 0);
}

#[test]
fn contents_that_are_missing_or_damaged_go_back_to_the_queue() {
    let service = Service::start();
    service.add("missing", b"abc");
    service.add("damaged", b"abd");
    service.add("short", b"abe");
    service.add("good", b"abf");
    for (contents, now) in [(&b"abc"[..], None), (b"abd", Some(b"abx".to_vec())), (b"abe", Some(b"ab".to_vec()))] {
        let mut told = service.told();
        let key = told.contents.iter().find(|(_, is)| *is == contents).unwrap().0.clone();
        match now {
            Some(now) => drop(told.contents.insert(key, now)),
            None => drop(told.contents.remove(&key)),
        }
    }
    let _worker = Started::new(&service, &[sh("D1", "wc -c")], |_| {});
    for (name, told) in [("missing", "404"), ("damaged", "damaged (3 transfers)"), ("short", "told (3 transfers)")] {
        let (verb, body) = service.report(name);
        let reason = body["reason"].as_str().unwrap().to_owned();
        assert!(verb == "refuse" && reason.contains(told) && body["attempts"] == json!([]), "{verb} {body}");
    }
    assert_eq!(service.report("good").0, "complete");
    assert_eq!(
        service.tries("/contents"),
        1 + 3 + 3 + 1,
        "only what may have been damaged on its way is fetched again"
    );
}

/// Which attempt it is, as well: else the queue would take a step that is tried again for one that hangs.
#[test]
fn heartbeats_name_each_attempt() {
    let service = Service::start();
    service.add("a", b"abc");
    service.told().away = Some("/fail".into());
    // Longer than heartbeats are apart at least, so that none is missed.
    let fails = Step { retries: 3, ..sh("D2", "sleep 0.6; exit 1") };
    let _worker = Started::new(&service, &[fails], |settings| settings.heartbeat = Duration::from_secs(10));
    until("the last is named", || service.steps("a").last().is_some_and(|step| step == "report"));
    let steps: Vec<_> = service.steps("a").into_iter().filter(|step| !step.is_empty()).collect();
    assert_eq!(steps, ["D2", "D2#2", "D2#3", "D2#4", "report"]);
}

/// Else it would go through the whole queue and give back everything, until it is all counted as failed.
#[test]
fn a_worker_that_can_do_nothing_slows_down() {
    let service = Service::start();
    for number in 0..50 {
        service.add(&number.to_string(), number.to_string().as_bytes());
    }
    let nowhere = Step { command: vec!["/nowhere/program".into()], ..sh("D1", "") };
    let _worker = Started::new(&service, &[nowhere], |settings| settings.pause_max = Duration::from_secs(30));
    let began = Instant::now();
    until("some are given back", || service.told().reports.len() >= 5);
    let took = began.elapsed();
    assert!(
        took > Duration::from_millis(700),
        "five in {took:?}, with pauses of half of 0.1, 0.2, 0.4, 0.8 s at least"
    );
}

#[test]
fn stale_reports_are_let_go_and_results_that_are_not_taken_become_errors() {
    let service = Service::start();
    service.told().refuse.extend([("task stale".to_owned(), 409), ("task large".to_owned(), 413)]);
    for name in ["stale", "large", "next"] {
        service.add(name, name.as_bytes());
    }
    let worker = Started::new(&service, &[sh("D1", "wc -c")], |_| {});
    assert_eq!(service.report("next").0, "complete");
    let of = |task: &str| -> Vec<_> {
        let told = service.told();
        let of = told.reports.iter().filter(|(of, ..)| of == task);
        of.map(|(_, verb, body)| (verb.clone(), body["error"].clone())).collect()
    };
    assert_eq!(of("task stale"), [("complete 409".to_owned(), Value::Null)]);
    let error = "the results were not taken: the service does not take it: 413, not taken";
    assert_eq!(of("task large"), [("complete 413".to_owned(), Value::Null), ("fail".to_owned(), json!(error))]);
    until("all are counted", || worker.status().done + worker.status().failed + worker.status().revoked == 3);
    let status = worker.status();
    assert_eq!((status.done, status.failed, status.revoked), (1, 1, 1));
}
