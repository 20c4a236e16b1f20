//! Jobs from files on a running platform: figures against an independent computation, bad files, versions, restarts.

use crate::process::{Tidemark, eventually, get, post};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::{At, Log, TopicPartition};
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::engine::DeadLetter;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn example(name: &str) -> String {
    format!("{ROOT}/examples/access-log/{name}")
}

/// Runs `tidemark job …` against a platform: whether it succeeded, and what it said.
fn job(platform: &Tidemark, args: &[&str]) -> (bool, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_tidemark"))
        .arg("job")
        .args(args)
        .env("TIDEMARK_URL", &platform.url)
        .output()
        .unwrap();
    (ran.status.success(), String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr))
}

fn applied(platform: &Tidemark, file: &str) -> String {
    let (done, told) = job(platform, &["apply", file]);
    assert!(done, "{told}");
    told
}

/// Cuts a file off at its tests.
const NO_TESTS: (&str, &str) = ("tests:", "");

/// A file that is an example with something replaced.
fn changed(dir: &Path, name: &str, replaced: &[(&str, &str)]) -> String {
    let mut text = std::fs::read_to_string(example(name)).unwrap();
    if replaced.contains(&NO_TESTS) {
        text = text.split("tests:").next().unwrap().to_owned();
    }
    for (from, to) in replaced.iter().filter(|pair| **pair != NO_TESTS) {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::copy(example("logs.access.avsc"), dir.join("logs.access.avsc")).unwrap();
    path.to_str().unwrap().to_owned()
}

fn python(script: &str, input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("python3").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{script}");
    output.stdout
}

/// A log in combined format: the file that `TIDEMARK_ACCESS_LOG` names, or one made up from a seed.
fn access_log() -> Vec<u8> {
    if let Ok(path) = std::env::var("TIDEMARK_ACCESS_LOG") {
        return std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    let mut random = fastrand::Rng::with_seed(7);
    let mut at = 1_431_857_100_i64; // 17 May 2015, 10:05 UTC
    let mut log = String::new();
    for _ in 0..4_000 {
        at += random.i64(0..120);
        // Some lines are written later than they happened.
        let happened = at - if random.u8(..) < 20 { random.i64(0..500) } else { 0 };
        let client = format!("10.0.{}.{}", random.u8(0..4), random.u8(0..60));
        let path = format!("/page/{}?q={}", random.u32(0..40).pow(2) / 40, random.u8(0..2));
        let status = *[200, 200, 200, 200, 206, 301, 304, 404, 404, 500].get(random.usize(0..10)).unwrap();
        let bytes = if status == 304 { "-".to_owned() } else { random.u32(0..300_000).to_string() };
        let time = time::OffsetDateTime::from_unix_timestamp(happened).unwrap();
        let month = ["May", "Jun"][usize::from(u8::from(time.month()) - 5)];
        let stamp = format!(
            "{:02}/{month}/{}:{:02}:{:02}:{:02} +0000",
            time.day(),
            time.year(),
            time.hour(),
            time.minute(),
            time.second()
        );
        log += &format!(
            "{client} - - [{stamp}] \"GET {path} HTTP/1.1\" {status} {bytes} \"-\" \"Mozilla/5.0 (\\\"quoted\\\")\"\n"
        );
    }
    log.into_bytes()
}

/// Publishes a log's lines as events.
fn publish(platform: &Tidemark, log: &[u8]) -> usize {
    let events = python(&example("to_ndjson.py"), log);
    let url = format!("{}/v1/events/logs.access", platform.url);
    let lines: Vec<&[u8]> = events.split_inclusive(|byte| *byte == b'\n').collect();
    for chunk in lines.chunks(2_000) {
        let answer = post(&url, "application/x-ndjson", &chunk.concat()).unwrap();
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
    lines.len()
}

/// All rows of a view's windows from 2015 on, page by page, and how many records they hold.
pub fn rows(platform: &Tidemark, view: &str, more: &str) -> Vec<Value> {
    let windows = get(&format!("{}/v1/views/{view}/windows?limit=744{more}", platform.url)).unwrap();
    assert_eq!(windows.status, 200, "{}", windows.body);
    let windows = windows.json();
    let mut starts: Vec<&str> =
        windows["windows"].as_array().unwrap().iter().map(|window| window["start"].as_str().unwrap()).collect();
    starts.sort_unstable();
    let mut rows = Vec::new();
    for start in starts {
        let mut next = String::new();
        loop {
            let url = format!("{}/v1/views/{view}?window={start}&limit=500{more}{next}", platform.url);
            let page = get(&url).unwrap();
            assert_eq!(page.status, 200, "{}", page.body);
            let page = page.json();
            rows.extend(page["rows"].as_array().unwrap().iter().cloned());
            match page["next"].as_str() {
                Some(cursor) => next = format!("&cursor={cursor}"),
                None => break,
            }
        }
    }
    rows
}

fn records(rows: &[Value]) -> i64 {
    rows.iter().map(|row| row["records"].as_i64().unwrap()).sum()
}

fn wait_for(platform: &Tidemark, view: &str, count: usize) -> Vec<Value> {
    let mut seen = Vec::new();
    eventually(&format!("{count} records in {view}"), || {
        seen = rows(platform, view, "");
        let found = records(&seen);
        if found == count as i64 { Ok(()) } else { Err(format!("{found} records")) }
    });
    seen
}

/// Hourly requests, bytes, distinct clients and top paths, the share of errors, and visits: with YAML only, from nothing, and the
/// same figures as plain Python loops over the log; after a kill −9 in the middle.
#[test]
fn an_access_log_is_analysed_with_yaml_only() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let log = access_log();
    let independent: Value = serde_json::from_slice(&python(&format!("{ROOT}/tests/e2e/access.py"), &log)).unwrap();
    let platform = Tidemark::start(&data, &["up"]);
    let told = applied(&platform, &example("access.hourly.yaml"));
    assert!(told.contains("topic logs.access is made") && told.contains("version 1 is new, and current"), "{told}");
    let half = log.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1_500).unwrap().0 + 1;
    let (first, second) = log.split_at(half);
    let mut count = publish(&platform, first);
    platform.kill();

    let platform = Tidemark::start(&data, &["up"]);
    applied(&platform, &example("access.sessions.yaml"));
    applied(&platform, &example("access.errors.yaml"));
    count += publish(&platform, second);
    let hourly = wait_for(&platform, "access.hourly", count);
    assert_hourly(&hourly, independent["hourly"].as_array().unwrap());
    let errors = wait_for(&platform, "access.errors", count);
    assert_errors(&errors, independent["errors"].as_array().unwrap());
    let visits = wait_for(&platform, "access.sessions", count);
    assert_visits(&visits, independent["visits"].as_array().unwrap());
    platform.stop();
}

/// The same on real Kafka, CQL store and registry: applied at one process, run by two, one of which is killed with −9.
#[test]
fn jobs_run_wherever_there_is_a_process_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let servers = crate::servers::Servers::start();
    let gateway = servers.run(&data, &["serve", "gateway"]);
    let first = servers.run(&data, &["serve", "jobs"]);
    let second = servers.run(&data, &["serve", "jobs"]);
    let api = servers.run(&data, &["serve", "query-api"]);
    let (done, told) = job(&first, &["apply", &example("access.hourly.yaml"), &example("access.sessions.yaml")]);
    assert!(done && told.contains("topic logs.access is made"), "{told}");
    eventually("the other process runs it too", || {
        let jobs = get(&format!("{}/v1/jobs", second.url)).unwrap().body;
        // The two that come with the platform run as well.
        if jobs.matches("\"running\"").count() == 4 { Ok(()) } else { Err(jobs) }
    });
    let log = access_log();
    let independent: Value = serde_json::from_slice(&python(&format!("{ROOT}/tests/e2e/access.py"), &log)).unwrap();
    let half = log.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(2_000).unwrap().0 + 1;
    let (head, tail) = log.split_at(half);
    let mut count = publish(&gateway, head);
    first.kill();
    count += publish(&gateway, tail);
    let hourly = wait_for(&api, "access.hourly", count);
    assert_hourly(&hourly, independent["hourly"].as_array().unwrap());
    let visits = wait_for(&api, "access.sessions", count);
    assert_visits(&visits, independent["visits"].as_array().unwrap());
    for platform in [gateway, second, api] {
        platform.stop();
    }
}

fn assert_hourly(rows: &[Value], wanted: &[Value]) {
    assert_eq!(rows.len(), wanted.len());
    let mut off = 0.0;
    for (row, wanted) in rows.iter().zip(wanted) {
        for column in ["window_start", "class", "requests", "bytes"] {
            assert_eq!(row[column], wanted[column], "{column} of {row}");
        }
        let (clients, exact) = (row["clients"].as_f64().unwrap(), wanted["clients"].as_f64().unwrap());
        // 0.8 % is the standard error: five of them are never seen in a few hundred rows.
        assert!((clients - exact).abs() <= (5.0 * 0.008_125 * exact).max(1.0), "{clients} for {exact} clients");
        off += (clients - exact) / exact;
        let top = row["top_paths"].as_array().unwrap();
        let counts: Vec<&Value> = top.iter().map(|path| &path["count"]).collect();
        assert_eq!(counts, wanted["top_counts"].as_array().unwrap().iter().collect::<Vec<_>>(), "{row}");
        for path in top {
            // Of a long value its start is shown, and a hash.
            let start = path["value"].as_str().unwrap().split("…#").next().unwrap();
            let mut counts = wanted["paths"]
                .as_object()
                .unwrap()
                .iter()
                .filter(|(path, _)| **path == *start || (start.len() > 200 && path.starts_with(start)));
            assert!(counts.any(|(_, count)| *count == path["count"]), "{path}");
        }
    }
    let mean = off / rows.len() as f64;
    assert!(mean.abs() < 0.008_125, "distinct clients are off by {mean} on average");
}

fn assert_errors(rows: &[Value], wanted: &[Value]) {
    assert_eq!(rows.len(), wanted.len());
    let mut between = 0;
    for (row, wanted) in rows.iter().zip(wanted) {
        for column in ["window_start", "requests", "errors_4xx", "errors_5xx"] {
            assert_eq!(row[column], wanted[column], "{column} of {row}");
        }
        for column in ["ratio_4xx", "ratio_5xx"] {
            let (ratio, wanted) = (row[column].as_f64().unwrap(), wanted[column].as_f64().unwrap());
            assert!((ratio - wanted).abs() < 1e-12, "{column} of {row}");
            between += usize::from(ratio > 0.0 && ratio < 1.0);
        }
    }
    assert!(between > 0, "the log has hours in which some requests failed");
}

fn assert_visits(rows: &[Value], wanted: &[Value]) {
    let mut got: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!([
                row["client"],
                row["session_start"],
                row["session_end"],
                row["requests"],
                row["bytes"].as_i64().unwrap_or(0)
            ])
        })
        .collect();
    let mut wanted = wanted.to_vec();
    let order = |row: &Value| (row[0].as_str().unwrap().to_owned(), row[1].as_str().unwrap().to_owned());
    got.sort_by_key(order);
    wanted.sort_by_key(order);
    assert_eq!(got.len(), wanted.len());
    for (got, wanted) in got.iter().zip(&wanted) {
        assert_eq!(got, wanted);
    }
}

/// A file that is wrong, or contradicts what runs, changes nothing; a record on which an expression fails goes to the job's
/// dead letters with the expression and the value.
#[test]
fn bad_files_and_bad_records_do_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let platform = Tidemark::start(&data, &["up"]);
    let failing = changed(
        dir.path(),
        "access.hourly.yaml",
        &[("string(status / 100)", "string(10000 / (status - 200))"), NO_TESTS],
    );
    applied(&platform, &failing);
    let before = get(&format!("{}/v1/jobs/access.hourly", platform.url)).unwrap().body;
    let files: PathBuf = dir.path().join("bad");
    std::fs::create_dir(&files).unwrap();
    for (replaced, said) in [
        (&[("status / 100", "stauts / 100")][..], "did you mean `status`?"),
        (&[("tumbling: 1h", "tumbling: 2h"), NO_TESTS], "write `version: 2`"),
        (&[("job: access.hourly", "job: access_hourly")], "two jobs cannot write one view"),
        (&[("job: access.hourly", "job: flows.hourly")], "is a job of the platform itself"),
        (&[("requests: 2, bytes: 10", "requests: 3, bytes: 10")], "requests: expected 3, got 2"),
    ] {
        let file = changed(&files, "access.hourly.yaml", replaced);
        let (done, told) = job(&platform, &["apply", &file]);
        assert!(!done && told.contains(said), "{said}: {told}");
    }
    let now: Value =
        serde_json::from_str(&get(&format!("{}/v1/jobs/access.hourly", platform.url)).unwrap().body).unwrap();
    let before: Value = serde_json::from_str(&before).unwrap();
    assert_eq!(now["changed_at"], before["changed_at"]);

    let event = |status: i64| json!({"at": "2026-01-01T10:00:00Z", "client": "c", "method": "GET", "path": "/", "status": status});
    for status in [200, 300] {
        let url = format!("{}/v1/events/logs.access", platform.url);
        let answer = post(&url, "application/json", event(status).to_string().as_bytes()).unwrap();
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
    let seen = wait_for(&platform, "access.hourly", 1);
    assert_eq!(seen[0]["class"], "100xx");
    let progress = get(&format!("{}/v1/views/access.hourly/progress", platform.url)).unwrap().json();
    assert_eq!(progress["dropped"]["dead_lettered"], 1, "{progress}");
    platform.stop();
    let letters = dead_letters(&data);
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].0, "expression");
    let said = &letters[0].1;
    assert!(
        said.contains("`string(10000 / (status - 200)) + \"xx\"`")
            && said.contains("10000 is divided by zero, with status = 200"),
        "{said}"
    );
}

fn dead_letters(data: &Path) -> Vec<(String, String)> {
    let log = EmbeddedLog::open(&data.join("log"), tidemark_log::system_clock()).unwrap();
    let topic = "tidemark.access.hourly.v1.dead-letter";
    let partitions: Vec<_> =
        (0..log.partitions(topic).unwrap().unwrap()).map(|p| TopicPartition::new(topic, p)).collect();
    let ends = log.offsets(&partitions, At::End).unwrap();
    let mut reader = log.reader(&partitions.iter().map(|p| (p.clone(), 0)).collect::<Vec<_>>()).unwrap();
    let mut letters = Vec::new();
    while partitions.iter().zip(&ends).any(|(p, end)| reader.position(p).unwrap() < *end) {
        let read = reader.poll(std::time::Duration::from_millis(50), &mut |batch| {
            for record in batch.records {
                let letter = DeadLetter::get(&mut Reader::new(&record.value.unwrap()[5..])).unwrap();
                letters.push((letter.rule.to_owned(), letter.detail.to_owned()));
            }
        });
        read.unwrap();
    }
    letters
}

/// A new version runs beside the old one; readers see one or the other, never a mixture, while it is promoted and rolled back.
#[test]
fn versions_run_side_by_side_and_switch_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let platform = Tidemark::start(&data, &["up"]);
    applied(&platform, &example("access.hourly.yaml"));
    let count = publish(&platform, &access_log());
    let first = wait_for(&platform, "access.hourly", count);
    let file = changed(
        dir.path(),
        "access.hourly.yaml",
        &[("version: 1", "version: 2"), ("sum(bytes)", "sum(coalesce(bytes, 0) * 2)"), NO_TESTS],
    );
    assert!(applied(&platform, &file).contains("version 2 runs beside version 1"));
    eventually("version 2 has read everything", || {
        let found = records(&rows(&platform, "access.hourly", "&version=2"));
        if found == count as i64 { Ok(()) } else { Err(format!("{found} records")) }
    });
    assert_eq!(rows(&platform, "access.hourly", ""), first, "the name still means version 1");

    let start = first[0]["window_start"].as_str().unwrap();
    let url = format!("{}/v1/views/access.hourly?window={start}", platform.url);
    let of = |version: i64| {
        let page = get(&format!("{url}&version={version}")).unwrap().json();
        page["rows"].clone()
    };
    let (one, two) = (of(1), of(2));
    assert_ne!(one, two);
    let read = || {
        let page = get(&url).unwrap().json();
        let wanted = if page["version"] == 1 { &one } else { &two };
        assert_eq!(page["rows"], *wanted, "rows are of the version that the answer names");
        page["version"].as_i64().unwrap()
    };
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut seen = std::collections::BTreeSet::new();
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                seen.insert(read());
            }
            seen
        });
        assert!(job(&platform, &["promote", "access.hourly"]).0);
        eventually("version 2 is current", || if read() == 2 { Ok(()) } else { Err("version 1".into()) });
        assert!(job(&platform, &["rollback", "access.hourly"]).0);
        eventually("version 1 is current", || if read() == 1 { Ok(()) } else { Err("version 2".into()) });
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(reading.join().unwrap(), [1, 2].into());
    });
    let (done, told) = job(&platform, &["retire", "access.hourly", "--version", "1"]);
    assert!(!done && told.contains("promote another first"), "{told}");
    let (done, told) = job(&platform, &["why", "access.hourly", start]);
    assert!(done && told.contains("partition") && told.contains("offsets"), "{told}");
    let (done, told) = job(&platform, &["describe", "access.hourly"]);
    assert!(
        done && told.contains("tidemark.access.hourly.v1.partials") && told.contains("lag      0 records"),
        "{told}"
    );
    platform.stop();
}
