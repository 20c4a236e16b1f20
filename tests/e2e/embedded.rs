//! One process, no servers.

use crate::flows::{self, FIRST_HOUR, HOUR_MS, assert_exact, csv_of, make, publish};
use crate::process::{Tidemark, eventually, get, post};

#[test]
fn every_hour_reads_back_exactly_and_goes_on_after_stop_and_kill() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let flows = make(6_000, 30, 1);
    let (first, rest) = flows.split_at(2_000);
    let (second, third) = rest.split_at(2_000);

    let platform = Tidemark::start(&data, &["up"]);
    publish(&platform.url, first, 500);
    assert_exact(&platform.url, first);
    platform.stop();

    let platform = Tidemark::start(&data, &["up"]);
    assert_exact(&platform.url, first);
    publish(&platform.url, second, 100);
    platform.kill(); // what was answered 202 is durable

    let platform = Tidemark::start(&data, &["up"]);
    assert_exact(&platform.url, &flows[..4_000]);
    publish(&platform.url, third, 2_000);
    assert_exact(&platform.url, &flows);
    platform.stop();
}

#[test]
fn answers_say_how_complete_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("tidemark.toml");
    std::fs::write(&config, "[flows]\nidle_after_ms = 500\n").unwrap();
    let data = dir.path().join("data");
    let platform = Tidemark::start(&data, &["up", "--config", config.to_str().unwrap()]);

    let now_hour =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64 / HOUR_MS;
    let flow = |hour: i64| serde_json::json!({"src_app": "web", "dest_app": "db", "vpc_id": "v", "hour": hour, "bytes_tx": 1, "bytes_rx": 2});
    let send = |hour: i64| {
        let answer =
            post(&format!("{}/v1/flows", platform.url), "application/json", flow(hour).to_string().as_bytes()).unwrap();
        assert_eq!(answer.status, 202, "{}", answer.body);
    };
    let state = |hour: i64| get(&format!("{}/v1/flows?hour={hour}", platform.url)).unwrap().json();
    send(now_hour);
    send(FIRST_HOUR);
    eventually("the running hour is open with its flow", || {
        let answer = state(now_hour);
        let seen =
            (&answer["completeness"]["state"], &answer["completeness"]["records"], &answer["flows"][0]["bytes_rx"]);
        if seen == (&"open".into(), &1.into(), &2.into()) { Ok(()) } else { Err(answer.to_string()) }
    });
    // Four partitions, most of them silent: the old hour closes all the same, and says where it came from.
    eventually("the old hour is closed", || {
        let answer = state(FIRST_HOUR);
        let completeness = &answer["completeness"];
        let closed = completeness["state"] == "final" || completeness["state"] == "amended";
        let proven = completeness["sources"][0]["topic"] == "flows.observed" && completeness["records"] == 1;
        if closed && proven { Ok(()) } else { Err(answer.to_string()) }
    });
    send(FIRST_HOUR);
    eventually("a later record amends it", || {
        let answer = state(FIRST_HOUR);
        let amended = answer["completeness"]["state"] == "amended" && answer["flows"][0]["records"] == 2;
        if amended { Ok(()) } else { Err(answer.to_string()) }
    });
    assert_eq!(csv_of(&platform.url, FIRST_HOUR).body.lines().nth(1), Some("438288,web,db,v,4,2,2"));
    platform.stop();
}

#[test]
fn the_demo_publishes_late_and_early_flows() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let platform = Tidemark::start(&data, &["up", "--demo"]);
    eventually("a day of hours, some records late", || {
        let hours = get(&format!("{}/v1/hours?limit=48", platform.url)).unwrap().json();
        let hours = hours["hours"].as_array().cloned().unwrap_or_default();
        let late: i64 = hours.iter().filter_map(|hour| hour["late"].as_i64()).sum();
        if hours.len() >= 24 && late > 0 { Ok(()) } else { Err(format!("{} hours, {late} late", hours.len())) }
    });
    platform.stop();
}

#[test]
fn bad_input_is_refused_with_the_rule_and_nothing_else_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Tidemark::start(&dir.path().join("data"), &["up"]);
    let good = make(3, 1, 9);
    let record = |field: &str, value: serde_json::Value| {
        let mut record: serde_json::Value = serde_json::from_slice(&flows::ndjson(&good[..1])).unwrap();
        record[field] = value;
        record.to_string()
    };
    let cases = [
        ("{\"src_app\":".to_owned(), 400, ""),
        (format!("{}1{}", "[".repeat(100), "]".repeat(100)), 422, ""),
        (record("bytes_tx", "1".into()), 422, "bytes_tx"),
        (record("bytes_tx", 1.5.into()), 422, "bytes_tx"),
        (record("bytes_rx", (-1).into()), 422, "bytes_rx"),
        (record("bytes_rx", (1i64 << 53).into()), 422, "bytes_rx"),
        (record("src_app", "".into()), 422, "src_app"),
        (record("dest_app", "x".repeat(257).into()), 422, "dest_app"),
        (record("colour", "red".into()), 422, "colour"),
        (record("observed_at", (4_102_444_800_000i64).into()), 422, "observed_at"),
    ];
    for (body, status, field) in &cases {
        let answer = post(&format!("{}/v1/flows", platform.url), "application/json", body.as_bytes()).unwrap();
        assert_eq!(answer.status, *status, "{body}: {}", answer.body);
        let problem = answer.json();
        assert!(problem["title"].is_string(), "{problem}");
        if !field.is_empty() {
            let error = &problem["errors"][0];
            assert_eq!(error["field"], *field, "{problem}");
            assert!(error["rule"].is_string() && error["fix"].is_string(), "{problem}");
        }
    }
    let answer = post(&format!("{}/v1/flows", platform.url), "text/plain", b"hello").unwrap();
    assert_eq!(answer.status, 415, "{}", answer.body);
    publish(&platform.url, &good, 3);
    assert_exact(&platform.url, &good);
    platform.stop();
}
