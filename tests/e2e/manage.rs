//! What people do to jobs on a running platform, and what they are told: nothing is done that was not asked for, and nothing
//! that went wrong looks as if it had not.

use crate::process::{Tidemark, get, post};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};

const TOPIC: &str = "shop.orders";

fn schema(more: &str) -> String {
    format!(
        r#"{{"type": "record", "name": "Order", "namespace": "shop", "fields": [
  {{"name": "at", "type": {{"type": "long", "logicalType": "timestamp-millis"}}}},
  {{"name": "order_id", "type": "string"}},
  {{"name": "channel", "type": "string"}},
  {{"name": "cents", "type": "long"}}{more}
]}}"#
    )
}

fn file(version: i32) -> String {
    format!(
        "job: orders.hourly\nversion: {version}\nsource: {{topics: {TOPIC}, time: at}}\nkey: [channel]\nwindow: {{tumbling: 1h}}\n\
         late: amend for 7d\naggregate:\n  orders: count()\n  cents: sum({version} * cents)\n  a: sum(cents / (cents - 7))\n"
    )
}

/// Runs `tidemark …` there: whether it succeeded, and what it said.
fn tidemark(platform: &Tidemark, dir: &Path, args: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemark"));
    let ran = command.args(args).env("TIDEMARK_URL", &platform.url).current_dir(dir).output().unwrap();
    (ran.status.success(), String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr))
}

fn job(platform: &Tidemark, dir: &Path, args: &[&str]) -> (bool, String) {
    tidemark(platform, dir, &[&["job"], args].concat())
}

fn says((_, told): &(bool, String), parts: &[&str]) {
    assert!(parts.iter().all(|part| told.contains(part)), "{parts:?}: {told}");
}

fn done(ran: (bool, String), parts: &[&str]) -> String {
    assert!(ran.0, "{}", ran.1);
    says(&ran, parts);
    ran.1
}

fn refused(ran: (bool, String), parts: &[&str]) {
    assert!(!ran.0, "{}", ran.1);
    says(&ran, parts);
}

fn write(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join(name), text).unwrap();
}

fn known(platform: &Tidemark) -> Value {
    get(&format!("{}/v1/jobs", platform.url)).unwrap().json()["jobs"].clone()
}

#[test]
fn a_file_that_is_refused_makes_nothing_and_a_changed_schema_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (at, platform) = (dir.path(), Tidemark::start(&dir.path().join("data"), &["up"]));
    write(at, "shop.orders.avsc", &schema(""));
    write(at, "wrong.yaml", &file(1).replace("sum(1 * cents)", "sum(1 * cnets)"));
    refused(job(&platform, at, &["apply", "wrong.yaml"]), &["did you mean `cents`"]);
    let failing = "tests:\n  - name: t\n    steps:\n      - push: [{at: 2026-01-01T10:00:00Z, channel: a, order_id: o, cents: 1}]\n      \
                   - expect: {window: 2026-01-01T10:00:00Z, rows: [{channel: a, orders: 2}]}\n";
    write(at, "failing.yaml", &(file(1) + failing));
    refused(job(&platform, at, &["apply", "failing.yaml"]), &["orders: expected 2, got 1"]);
    write(at, "taken.yaml", &file(1).replace("orders.hourly", "flows_hourly"));
    refused(job(&platform, at, &["apply", "taken.yaml"]), &["the table of flows.hourly"]);
    let topics = get(&format!("{}/v1/topics", platform.url)).unwrap().body;
    assert!(!topics.contains(TOPIC), "{topics}");

    write(at, "orders.yaml", &file(1));
    done(
        job(&platform, at, &["apply", "orders.yaml"]),
        &[
            "topic shop.orders is made",
            "note: shop.orders: the schema has no event_id",
            "has no tenant",
            "version 1 is new",
        ],
    );
    let told = done(job(&platform, at, &["apply", "orders.yaml"]), &["is unchanged"]);
    assert!(!told.contains("schema"), "{told}");
    write(at, "shop.orders.avsc", &schema(r#", {"name": "shop", "type": "string"}"#));
    refused(job(&platform, at, &["apply", "orders.yaml"]), &["shop.orders.avsc: it differs from version 1", "shop"]);
    write(at, "shop.orders.avsc", &schema(r#", {"name": "shop", "type": "string", "default": ""}"#));
    done(job(&platform, at, &["apply", "orders.yaml"]), &["version 2 of shop.orders-value", "is unchanged"]);
    write(at, "shop.orders.avsc", &schema(""));
    done(
        job(&platform, at, &["apply", "orders.yaml"]),
        &["note: shop.orders.avsc is an earlier version", "is unchanged"],
    );

    std::fs::create_dir(at.join("elsewhere")).unwrap();
    write(at, "elsewhere/near.yaml", &file(1).replace("shop.orders", "shop.order"));
    refused(job(&platform, at, &["test", "elsewhere/near.yaml"]), &["did you mean `shop.orders`?"]);
    write(at, "elsewhere/far.yaml", &file(1).replace("shop.orders", "quite.other"));
    refused(job(&platform, at, &["test", "elsewhere/far.yaml"]), &["as quite.other.avsc"]);
    let nobody = job(&platform, at, &["test", "elsewhere/far.yaml", "--url", "http://127.0.0.1:9"]);
    refused(nobody, &["no quite.other.avsc beside the file", "cannot reach a platform at http://127.0.0.1:9"]);
    refused(job(&platform, at, &["test", "orders.yaml"]), &["it has no tests"]);
    write(at, "none.ndjson", "{}\n");
    refused(job(&platform, at, &["try", "orders.yaml", "--input", "none.ndjson"]), &["no record was read"]);
    done(job(&platform, at, &["new", "orders.new", "--topic", TOPIC]), &[]);
    assert!(std::fs::read_to_string(at.join("orders.new.yaml")).unwrap().contains("key: [channel]"));
    platform.stop();
}

#[test]
fn a_switch_is_seen_when_it_is_told_and_nothing_is_retired_by_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let (at, platform) = (dir.path(), Tidemark::start(&dir.path().join("data"), &["up"]));
    write(at, "shop.orders.avsc", &schema(""));
    write(at, "v1.yaml", &file(1));
    write(at, "v2.yaml", &file(2));
    done(job(&platform, at, &["apply", "v1.yaml"]), &["/v1/views/orders.hourly'"]);
    let next = ["?version=2'", "tidemark job diff orders.hourly --versions 1,2", "tidemark job promote orders.hourly"];
    done(job(&platform, at, &["apply", "v2.yaml"]), &next);
    let events: String = (0..20)
        .map(|n| {
            json!({"at": "2026-01-01T10:00:00Z", "order_id": "o", "channel": "web", "cents": n}).to_string() + "\n"
        })
        .collect();
    let url = format!("{}/v1/events/{TOPIC}", platform.url);
    assert_eq!(post(&url, "application/x-ndjson", events.as_bytes()).unwrap().status, 202);
    // Of 7 cents comes a division by zero.
    crate::process::eventually("the dead letter is counted", || {
        let told = job(&platform, at, &["list"]).1;
        if told.matches(" running               1").count() == 2 { Ok(()) } else { Err(told) }
    });
    let parts = ["1 dead letters", "tidemark topics read tidemark.orders.hourly.v1.dead-letter"];
    done(job(&platform, at, &["describe", "orders.hourly"]), &parts);
    done(job(&platform, at, &["describe", "flows.hourly"]), &["flows.hourly version 1", "flows.observed", "group"]);
    refused(job(&platform, at, &["describe", "flows.hurly"]), &["did you mean `flows.hourly`"]);

    let version =
        || get(&format!("{}/v1/views/orders.hourly", platform.url)).unwrap().json()["version"].as_i64().unwrap();
    for _ in 0..3 {
        assert_eq!(version(), 1);
        done(
            job(&platform, at, &["promote", "orders.hourly"]),
            &["served from version 2; `rollback` goes to version 1"],
        );
        assert_eq!(version(), 2, "seen by whoever asks after the command has ended");
        done(
            job(&platform, at, &["rollback", "orders.hourly"]),
            &["served from version 1; `rollback` goes to version 2"],
        );
    }
    done(job(&platform, at, &["promote", "orders.hourly", "--version", "1"]), &["served from version 1, as before"]);

    let before = known(&platform);
    let url = |what: &str| format!("{}/v1/jobs/orders.hourly/{what}", platform.url);
    for (what, kind, body) in [
        ("retire", "text/plain", r#"{"version":"2"}"#),
        ("retire", "application/json", ""),
        ("retire", "application/json", "{}"),
        ("retire", "application/x-www-form-urlencoded", "version=2"),
        ("retire", "application/json", "[2]"),
        ("retire", "application/json", r#"{"version":2"#),
        ("rollback", "application/json", r#"{"version":1}"#),
        ("promote", "application/json", r#"{"all":true}"#),
    ] {
        let answer = post(&url(what), kind, body.as_bytes()).unwrap();
        assert_eq!(answer.status, 400, "{what} {body}: {}", answer.body);
        assert_eq!(answer.json()["type"], "urn:tidemark:problem:bad_request", "{what} {body}");
    }
    assert_eq!(post(&format!("{}/v1/jobs", platform.url), "application/json", b"{").unwrap().json()["status"], 400);
    let changed = |jobs: &Value| jobs[0]["changed_at"].clone();
    assert_eq!((changed(&before), &before[0]["retiring"]), (changed(&known(&platform)), &json!([])));
    // As curl sends it.
    let answer = post(&url("retire"), "application/x-www-form-urlencoded", br#"{"version":2}"#).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    done(job(&platform, at, &["retire", "orders.hourly", "--all"]), &["orders.hourly is retired"]);
    let told = job(&platform, at, &["promote", "orders.hourly"]);
    assert!(!told.0 && !told.1.contains("did you mean"), "{}", told.1);
    platform.stop();
}

/// It is told wherever people and machines look, takes nothing else away, and is over when its cause is.
#[test]
fn a_version_that_cannot_start_is_told_and_not_promoted() {
    let dir = tempfile::tempdir().unwrap();
    let (at, platform) = (dir.path(), Tidemark::start(&dir.path().join("data"), &["up"]));
    write(at, "shop.orders.avsc", &schema(""));
    write(at, "v1.yaml", &file(1));
    write(at, "v2.yaml", &file(2));
    done(job(&platform, at, &["apply", "v1.yaml"]), &["is served"]);
    // Where its directory should be there is a file.
    let obstacle = at.join("data/state/orders.hourly.v2");
    std::fs::write(&obstacle, "x").unwrap();
    let why = "its directory under";
    refused(job(&platform, at, &["apply", "v2.yaml"]), &["version 2 is applied, but is not at work", why]);
    done(job(&platform, at, &["list"]), &["failed", why]);
    refused(job(&platform, at, &["promote", "orders.hourly"]), &["is not ready", why, "--force"]);
    let health = get(&format!("{}/v1/health", platform.url)).unwrap();
    assert_eq!((health.status, health.body.contains(why)), (200, true), "{}", health.body);
    let failed = get(&format!("{}/v1/status", platform.url)).unwrap().json()["parts"]["jobs"]["failed"].clone();
    assert_eq!((&failed[0]["job"], &failed[0]["version"]), (&json!("orders.hourly"), &json!(2)));
    let metrics = get(&format!("{}/metrics", platform.url)).unwrap().body;
    assert!(metrics.contains("tidemark_job_up{job=\"orders.hourly\",version=\"2\"} 0"), "{metrics}");
    std::fs::remove_file(&obstacle).unwrap();
    crate::process::eventually("it has started and is promoted", || {
        let (promoted, told) = job(&platform, at, &["promote", "orders.hourly"]);
        if promoted { Ok(()) } else { Err(told) }
    });
    assert!(get(&format!("{}/v1/health", platform.url)).unwrap().json()["warnings"].as_array().unwrap().is_empty());
    platform.stop();
}

/// As `head` does.
#[test]
fn a_closed_pipe_ends_a_command_without_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Tidemark::start(&dir.path().join("data"), &["up"]);
    for args in [&["job", "reference"][..], &["job", "list"], &["job", "describe", "flows.hourly"], &["topics", "list"]]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemark"));
        let command = command.args(args).env("TIDEMARK_URL", &platform.url).stdout(Stdio::from(writer));
        let ran = command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&ran.stderr), "", "{args:?}");
        assert!(!ran.status.success());
    }
    platform.stop();
}
