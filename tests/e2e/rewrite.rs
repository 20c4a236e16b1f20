//! `tidemark job recompute` without `--compare`, as a data engineer runs it: late records folded into a sealed window.

use crate::process::{Tidemark, eventually, get, post};
use crate::recompute::job;
use serde_json::{Value, json};
use std::path::Path;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/access-log/");
const HOUR: &str = "2026-01-01T10:00:00Z";

/// Seals its windows seconds after their first record.
fn quick(dir: &Path) -> String {
    let text = "job: access.quick\nversion: 1\nsource: {topics: logs.access, time: at, grace: 0s, idle_after: 1s}\n\
                key: [client]\nwindow: {tumbling: 1h}\nlate: amend for 1s\naggregate: {bytes: sum(bytes)}\n";
    let file = dir.join("access.quick.yaml");
    std::fs::write(&file, text).unwrap();
    std::fs::copy(format!("{EXAMPLES}logs.access.avsc"), dir.join("logs.access.avsc")).unwrap();
    file.to_str().unwrap().to_owned()
}

/// Publishes accesses of the hour, of these clients.
fn publish(platform: &Tidemark, clients: &[&str]) {
    let record = |client: &&str| {
        let record = json!({
            "at": "2026-01-01T10:20:00Z", "client": client, "method": "GET", "path": "/", "status": 200, "bytes": 10,
        });
        format!("{record}\n")
    };
    let body: String = clients.iter().map(record).collect();
    let answer = post(&format!("{}/v1/events/logs.access", platform.url), "application/x-ndjson", body.as_bytes());
    let answer = answer.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
}

fn why(platform: &Tidemark) -> Value {
    get(&format!("{}/v1/views/access.quick/why?window={HOUR}", platform.url)).unwrap().json()
}

/// Waits until the window is sealed with so many records, and so many beside it.
fn sealed(platform: &Tidemark, records: i64, sealed_out: i64) {
    eventually("the window is sealed", || {
        let why = why(platform);
        let all = why["merge_partitions"].as_array().is_some_and(|of| of.iter().all(|m| m["sealed"] == json!(true)));
        let as_told = (why["records"].as_i64(), why["sealed_out"].as_i64()) == (Some(records), Some(sealed_out));
        if all && as_told { Ok(()) } else { Err(why.to_string()) }
    });
}

/// Clients and their bytes.
fn rows(platform: &Tidemark) -> Vec<(String, i64)> {
    let answer = get(&format!("{}/v1/views/access.quick?window={HOUR}", platform.url)).unwrap().json();
    let row = |row: &Value| {
        (row["client"].as_str().unwrap().to_owned(), row["bytes"].to_string().trim_matches('"').parse().unwrap())
    };
    answer["rows"].as_array().unwrap_or_else(|| panic!("{answer}")).iter().map(row).collect()
}

fn recompute(platform: &Tidemark, args: &[&str]) -> (i32, String, String) {
    job(&platform.url, &[&["recompute", "access.quick"], args].concat())
}

#[test]
fn late_records_are_written_into_a_sealed_window() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut platform = Tidemark::spawn_with(&data, &["up"], &[("TIDEMARK_FAILPOINT", "repair-record:1")]);
    platform.wait_ready();
    let (exit, said, told) = job(&platform.url, &["apply", &quick(dir.path())]);
    assert_eq!(exit, 0, "{said}{told}");
    publish(&platform, &["a", "b", "c"]);
    sealed(&platform, 3, 0);
    // Of a client of the window: what came first for a merge partition that had sealed nothing would open it anew.
    publish(&platform, &["a", "b"]);
    sealed(&platform, 3, 2);
    let told_why = why(&platform)["why"].as_str().unwrap().to_owned();
    assert!(told_why.contains("2 left out after sealing") && !told_why.contains("recomputed"), "{told_why}");

    let (exit, said, told) = recompute(&platform, &["--compare"]);
    assert!(exit == 0 && said.contains("version 1: equal") && said.contains("streamed  "), "{said}{told}");
    let (exit, said, told) = recompute(&platform, &[]);
    assert!(exit == 0 && said.contains("written   0 windows"), "nothing differs: {said}{told}");
    let (exit, said, _) = recompute(&platform, &["--compare", "--include-late"]);
    assert!(exit == 1 && said.contains("2 of them left out there"), "{said}");

    // It dies in the middle of the transaction.
    let (exit, _, told) = recompute(&platform, &["--include-late"]);
    assert!(exit == 2 && !told.is_empty(), "{told}");
    eventually("it is dead", || if platform.has_ended() { Ok(()) } else { Err("it lives".into()) });
    drop(platform);
    let platform = Tidemark::start(&data, &["up"]);
    sealed(&platform, 3, 2);
    assert_eq!(rows(&platform), [("a".to_owned(), 10), ("b".to_owned(), 10), ("c".to_owned(), 10)]);

    let (exit, said, told) = recompute(&platform, &["--include-late"]);
    assert_eq!(exit, 0, "{said}{told}");
    for part in ["version 1: equal", "written   1 windows: 2 rows, 0 rows taken away; 0 windows not written", "epoch 2"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(rows(&platform), [("a".to_owned(), 20), ("b".to_owned(), 20), ("c".to_owned(), 10)]);
    let after = why(&platform);
    assert_eq!((&after["records"], &after["late_folded"], &after["sealed_out"]), (&json!(5), &json!(2), &json!(0)));
    let told_why = after["why"].as_str().unwrap();
    assert!(told_why.contains("recomputed from its records at ") && after["recomputed_at"].is_string(), "{after}");
    for args in [&["--compare"][..], &["--include-late"], &["--window", HOUR]] {
        let (exit, said, told) = recompute(&platform, args);
        assert!(exit == 0 && !said.contains("epoch 3"), "{args:?}: {said}{told}");
    }
    platform.kill();
    let platform = Tidemark::start(&data, &["up"]);
    sealed(&platform, 5, 0);
    publish(&platform, &["c"]);
    sealed(&platform, 5, 1);
    let (exit, said, told) = recompute(&platform, &["--compare"]);
    assert_eq!(exit, 0, "{said}{told}");
    let (exit, said, told) = recompute(&platform, &["--compare", "--include-late"]);
    assert!(exit == 1 && said.contains("1 of them left out there"), "{said}{told}");
    platform.stop();
}
