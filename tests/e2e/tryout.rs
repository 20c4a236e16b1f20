//! A job tried out on what is on the topics of a running platform, and folders of jobs.

use crate::process::{Tidemark, eventually, get, post};
use crate::servers::Servers;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const HOURLY: &str = "examples/access-log/access.hourly.yaml";
const SCHEMA: &str = "logs.access=examples/access-log/logs.access.avsc";
const BY_PARTNER: &str = "examples/labeling/labeling.by_partner.yaml";

/// Runs `tidemark …` in the repository: whether it succeeded, standard output and standard error.
fn tidemark(platform: &Tidemark, args: &[&str]) -> (bool, String, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_tidemark"))
        .args(args)
        .env("TIDEMARK_URL", &platform.url)
        .current_dir(ROOT)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (ran.status.success(), text(&ran.stdout), text(&ran.stderr))
}

fn done(platform: &Tidemark, args: &[&str]) -> (String, String) {
    let (done, out, err) = tidemark(platform, args);
    assert!(done, "{args:?}: {out}{err}");
    (out, err)
}

fn refused(platform: &Tidemark, args: &[&str]) -> String {
    let (done, out, err) = tidemark(platform, args);
    assert!(!done, "{args:?}: {out}{err}");
    err
}

fn publish(platform: &Tidemark, topic: &str, events: &[Value]) {
    let body: String = events.iter().map(|event| format!("{event}\n")).collect();
    let url = format!("{}/v1/events/{topic}", platform.url);
    let answer = post(&url, "application/x-ndjson", body.as_bytes()).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
}

/// The rows of CSV by the columns wanted.
fn rows(csv: &str, wanted: &[&str]) -> BTreeSet<Vec<String>> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let headers = reader.headers().unwrap().clone();
    let at: Vec<usize> = wanted.iter().map(|name| headers.iter().position(|header| header == *name).unwrap()).collect();
    reader.records().map(|row| row.unwrap()).map(|row| at.iter().map(|at| row[*at].to_owned()).collect()).collect()
}

/// The rows of a view's window once they count so many records.
fn view(platform: &Tidemark, view: &str, window: &str, records: u64, wanted: &[&str]) -> BTreeSet<Vec<String>> {
    let url = format!("{}/v1/views/{view}?window={window}", platform.url);
    eventually(&format!("{records} records in {view}"), || {
        let answer = get(&url).unwrap();
        let rows = if answer.status == 200 { answer.json()["rows"].as_array().cloned() } else { None };
        let found: u64 = rows.iter().flatten().map(|row| row["records"].as_u64().unwrap()).sum();
        if found == records { Ok(()) } else { Err(answer.body) }
    });
    rows(&get(&format!("{url}&format=csv")).unwrap().body, wanted)
}

fn access(minute: i64, status: i64, path: &str) -> Value {
    let at = format!("2026-01-01T10:{minute:02}:00Z");
    json!({"at": at, "client": format!("c{}", minute % 7), "method": "GET", "path": path, "status": status, "bytes": minute})
}

/// What is on a topic can be seen, and a job that is tried on it gives the rows and the counts that it gives when it is applied:
/// late records by each partition's own watermark, dead letters with their places.
#[test]
fn a_job_is_tried_on_what_is_on_its_topic() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Tidemark::start(&dir.path().join("data"), &["up"]);
    done(&platform, &["topics", "create", "logs.access", "--schema", "examples/access-log/logs.access.avsc"]);
    tried(&platform, &platform, &platform);
    platform.stop();
}

/// The same on real Kafka, where offsets are taken by markers, with each part in a process of its own.
#[test]
fn a_job_is_tried_on_what_is_on_kafka() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let servers = Servers::start();
    let gateway = servers.run(&data, &["serve", "gateway"]);
    let jobs = servers.run(&data, &["serve", "jobs"]);
    let api = servers.run(&data, &["serve", "query-api"]);
    done(&gateway, &["topics", "create", "logs.access", "--schema", "examples/access-log/logs.access.avsc"]);
    tried(&gateway, &jobs, &api);
    for platform in [gateway, jobs, api] {
        platform.stop();
    }
}

fn tried(gateway: &Tidemark, jobs: &Tidemark, api: &Tidemark) {
    let (out, _) = done(gateway, &["topics", "read", "logs.access"]);
    assert_eq!(out, "", "nothing is there yet");
    for minute in 0..40 {
        publish(gateway, "logs.access", &[access(minute, if minute % 5 == 0 { 404 } else { 200 }, "/a")]);
    }
    // Three hours later on one partition: what comes there of the first hour is late then, and elsewhere it is not.
    let mut later = access(0, 200, "/later");
    later["at"] = "2026-01-01T13:00:00Z".into();
    publish(gateway, "logs.access", &[later]);
    for minute in 40..60 {
        publish(gateway, "logs.access", &[access(minute, 200, "/late")]);
    }
    let mut read = String::new();
    eventually("all records are on the topic", || {
        (read, _) = done(gateway, &["topics", "read", "logs.access", "--last", "1000"]);
        let found = read.lines().count();
        if found == 61 { Ok(()) } else { Err(format!("{found} records")) }
    });
    let read: Vec<Value> = read.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let appended: Vec<i64> =
        read.iter().map(|line| tidemark_spec::instant::parse(line["appended_at"].as_str().unwrap()).unwrap()).collect();
    assert!(appended.is_sorted(), "{appended:?}");
    assert!(read.iter().any(|line| line["value"]["at"] == "2026-01-01T10:00:00Z"), "{}", read[0]);
    // The last ten are the last ten of all, whatever offsets are no records.
    let (ten, _) = done(jobs, &["topics", "read", "logs.access"]);
    let ten: Vec<Value> = ten.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(ten, read[51..]);
    let from = read[50]["appended_at"].as_str().unwrap();
    let (since, _) = done(jobs, &["topics", "read", "logs.access", "--from", from]);
    let earlier = appended.iter().filter(|at| **at < appended[50]).count();
    assert_eq!(since.lines().count(), 61 - earlier);

    let wanted = ["class", "records", "requests", "bytes"];
    let wanted = &wanted[..];
    let (tried, told) = done(jobs, &["job", "try", HOURLY, "--input", "topic", "--csv", "--schema", SCHEMA]);
    let (again, _) = done(jobs, &["job", "try", HOURLY, "--input", "topic:logs.access", "--csv"]);
    assert_eq!(tried, again);
    assert!(told.contains("61 records") && told.contains("0 dead-lettered, 0 not read"), "{told}");
    let late: u64 = told.split("; ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(late < 20, "late by the watermark of their own partition: {told}");
    done(jobs, &["job", "apply", HOURLY]);
    let in_view = view(api, "access.hourly", "2026-01-01T10:00:00Z", 60, wanted);
    let first_hour = tried.lines().filter(|line| !line.contains("2026-01-01T13:00:00Z")).collect::<Vec<_>>().join("\n");
    assert_eq!(rows(&first_hour, wanted), in_view);
    let windows = get(&format!("{}/v1/views/access.hourly/windows?limit=10", api.url)).unwrap().json();
    let counted: u64 =
        windows["windows"].as_array().unwrap().iter().map(|window| window["late"].as_u64().unwrap()).sum();
    assert_eq!(late, counted, "{windows}");
    let (replayed, _) = done(jobs, &["job", "replay", HOURLY, "--input", "topic", "--rounds", "3"]);
    assert!(
        replayed.contains("the same figures 8 ways") && replayed.contains("61 records on 4 partitions"),
        "{replayed}"
    );

    // Half of the records cannot be computed: each is told by its place.
    let dir = tempfile::tempdir().unwrap();
    let failing = dir.path().join("failing.yaml");
    let text = std::fs::read_to_string(format!("{ROOT}/{HOURLY}")).unwrap();
    let text = text.split("tests:").next().unwrap().replace("string(status / 100)", "string(10000 / (status - 404))");
    std::fs::write(&failing, text).unwrap();
    let failing = failing.to_str().unwrap();
    let (_, told) = done(jobs, &["job", "try", failing, "--input", "topic", "--schema", SCHEMA]);
    assert!(told.contains("8 dead-lettered") && told.contains("10000 is divided by zero"), "{told}");
    let places = read.iter().filter(|line| line["value"]["status"] == 404);
    let places: Vec<String> =
        places.map(|line| format!("logs.access-{} offset {} would be", line["partition"], line["offset"])).collect();
    assert_eq!(told.lines().filter(|line| places.iter().any(|place| line.starts_with(place))).count(), 5, "{told}");

    for (args, said) in [
        (&["job", "try", HOURLY, "--input", "logs.access"][..], "--input topic:logs.access"),
        (
            &["job", "try", HOURLY, "--input", "topic:logs.acces"],
            "is no source of the job; did you mean `logs.access`?",
        ),
        (&["job", "try", HOURLY, "--input", "Cargo.toml", "--last", "5"], "Cargo.toml is a file, and read whole"),
        (&["job", "try", HOURLY, "--input", "topic", "--last", "0"], "1..=1000000"),
        (&["job", "try", HOURLY, "--input", "topic", "--from", "yesterday"], "write RFC 3339"),
        (&["job", "try", HOURLY, "--input", "topic", "--table", "x=y"], "the job has no join `x`"),
        (&["topics", "read", "logs.acces"], "there is no topic logs.acces; did you mean `logs.access`?"),
    ] {
        let told = refused(jobs, args);
        assert!(told.contains(said), "{args:?}: {told}");
    }
    let answer = get(&format!("{}/v1/topics/logs.access/records?lst=3", jobs.url)).unwrap();
    assert!(answer.status == 400 && answer.body.contains("last=100"), "{}", answer.body);
}

/// A record is joined with the row that its partner had when the record came, as it is by the platform; from a sample with the
/// rows of a file.
#[test]
fn a_join_is_tried_with_its_table() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Tidemark::start(&dir.path().join("data"), &["up"]);
    done(&platform, &["job", "apply", BY_PARTNER]);
    let partner =
        |cents: i64, name: &str, at: &str| json!({"id": 1, "name": name, "cents_a_page": cents, "updated_at": at});
    let task = |minute: i64| json!({"at": format!("2026-01-01T10:{minute:02}:00Z"), "partner_id": 1, "pages": 3});
    let published = |topic: &str, count: usize| {
        eventually(&format!("{count} records on {topic}"), || {
            let (out, _) = done(&platform, &["topics", "read", topic, "--last", "100"]);
            if out.lines().count() == count { Ok(()) } else { Err(out) }
        });
    };
    // The second change says something of the past: it counts for the tasks that come after it alone.
    publish(&platform, "labeling.partners", &[partner(10, "Acme", "2026-01-01T00:00:00Z")]);
    published("labeling.partners", 1);
    publish(&platform, "labeling.done", &(0..10).map(task).collect::<Vec<_>>());
    published("labeling.done", 10);
    publish(&platform, "labeling.partners", &[partner(20, "Bolt", "2026-01-01T10:05:00Z")]);
    published("labeling.partners", 2);
    publish(&platform, "labeling.done", &(0..10).map(task).collect::<Vec<_>>());
    published("labeling.done", 20);
    let wanted = ["partner", "tasks", "cents"];
    let expected = view(&platform, "labeling.by_partner", "2026-01-01T10:00:00Z", 20, &wanted);
    let rows_of =
        |texts: [[&str; 3]; 2]| texts.iter().map(|row| row.map(str::to_owned).to_vec()).collect::<BTreeSet<_>>();
    assert_eq!(expected, rows_of([["Acme", "15", "450"], ["Bolt", "5", "300"]]));
    let (tried, told) = done(&platform, &["job", "try", BY_PARTNER, "--input", "topic", "--csv"]);
    assert_eq!(rows(&tried, &wanted), expected, "{told}");
    let (replayed, _) = done(&platform, &["job", "replay", BY_PARTNER, "--input", "topic", "--rounds", "5"]);
    assert!(replayed.contains("the same figures 12 ways") && replayed.contains("20 records"), "{replayed}");

    let file = |name: &str, lines: &[Value]| {
        let path = dir.path().join(name);
        std::fs::write(&path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let sample = file("done.ndjson", &(0..10).map(task).collect::<Vec<_>>());
    let partners = file(
        "partners.ndjson",
        &[partner(10, "Acme", "2026-01-01T00:00:00Z"), partner(20, "Bolt", "2026-01-01T10:05:00Z")],
    );
    let table = format!("partner={partners}");
    let (tried, told) = done(&platform, &["job", "try", BY_PARTNER, "--input", &sample, "--table", &table, "--csv"]);
    assert_eq!(rows(&tried, &wanted), rows_of([["Acme", "5", "150"], ["Bolt", "5", "300"]]), "{told}");
    let (replayed, _) =
        done(&platform, &["job", "replay", BY_PARTNER, "--input", &sample, "--table", &table, "--rounds", "5"]);
    assert!(replayed.contains("10 records on 3 partitions, 2 rows"), "{replayed}");
    let (tried, told) = done(&platform, &["job", "try", BY_PARTNER, "--input", &sample, "--csv"]);
    assert!(tried.contains("in house") && told.contains("give --table partner=FILE"), "{told}");
    let wrong = file("wrong.ndjson", &[json!({"id": 1, "nam": "Acme"})]);
    let told =
        refused(&platform, &["job", "try", BY_PARTNER, "--input", &sample, "--table", &format!("partner={wrong}")]);
    assert!(told.contains("wrong.ndjson:1: there is no field `nam`; did you mean `name`?"), "{told}");
    platform.stop();
}

/// Each record is read by the schema of its own topic.
#[test]
fn a_job_of_several_topics_is_tried_on_all_or_one() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Tidemark::start(&dir.path().join("data"), &["up"]);
    let at = r#"{"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}"#;
    for (topic, name, fields) in [
        ("till.sales", "Sale", format!(r#"{at}, {{"name": "cents", "type": "long"}}"#)),
        (
            "web.sales",
            "Order",
            format!(r#"{{"name": "page", "type": "string"}}, {{"name": "cents", "type": "long"}}, {at}"#),
        ),
    ] {
        let file = dir.path().join(format!("{topic}.avsc"));
        std::fs::write(&file, format!(r#"{{"type": "record", "name": "{name}", "fields": [{fields}]}}"#)).unwrap();
        done(&platform, &["topics", "create", topic, "--schema", file.to_str().unwrap()]);
    }
    let job = dir.path().join("sales.yaml");
    let text = [
        "job: sales",
        "source: {topics: [till.sales, web.sales], time: at}",
        "window: {tumbling: 1h}",
        "late: hold",
        "aggregate: {cents: sum(cents)}",
    ];
    std::fs::write(&job, text.join("\n")).unwrap();
    let event = |cents: i64| json!({"at": "2026-01-01T10:00:00Z", "cents": cents});
    publish(&platform, "till.sales", &[event(1), event(2)]);
    let order = |cents: i64| json!({"at": "2026-01-01T10:00:00Z", "cents": cents, "page": "/"});
    publish(&platform, "web.sales", &[order(10), order(20), order(30)]);
    for (input, cents) in [("topic", "63"), ("topic:till.sales", "3"), ("topic:web.sales", "60")] {
        eventually(input, || {
            let (tried, told) = done(&platform, &["job", "try", job.to_str().unwrap(), "--input", input, "--csv"]);
            let found = rows(&tried, &["cents"]);
            if found == BTreeSet::from([vec![cents.to_owned()]]) { Ok(()) } else { Err(format!("{tried}{told}")) }
        });
    }
    platform.stop();
}

/// A folder is applied whole or not at all, as far as can be told before; what is wrong is told of every file.
#[test]
fn a_folder_of_jobs_is_checked_before_any_is_applied() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Tidemark::start(&dir.path().join("data"), &["up"]);
    let folder = dir.path().join("jobs");
    std::fs::create_dir(&folder).unwrap();
    let copy =
        |from: &str, to: &str| std::fs::copy(Path::new(ROOT).join("examples/access-log").join(from), folder.join(to));
    // Without those that come with the platform.
    let jobs = || get(&format!("{}/v1/jobs", platform.url)).unwrap().json()["jobs"].as_array().unwrap().len() - 2;
    let path = folder.to_str().unwrap();
    assert!(refused(&platform, &["job", "apply", path]).contains("there is no job file in"));
    copy("access.hourly.yaml", "b.yaml").unwrap();
    copy("access.sessions.yaml", "a.yaml").unwrap();
    copy("logs.access.avsc", "logs.access.avsc").unwrap();
    std::fs::write(folder.join("c.yaml"), "services: [kafka]\n").unwrap();
    copy("access.hourly.yaml", "d.yml").unwrap();
    let told = refused(&platform, &["job", "apply", path]);
    assert!(told.contains("c.yaml:1:1") && told.contains("nothing was applied"), "{told}");
    assert!(told.contains("b.yaml and") && told.contains("d.yml are both version 1 of access.hourly"), "{told}");
    assert_eq!(jobs(), 0, "{told}");
    let topics = get(&format!("{}/v1/topics", platform.url)).unwrap().body;
    assert!(!topics.contains("logs.access"), "a check makes no topic: {topics}");

    std::fs::remove_file(folder.join("c.yaml")).unwrap();
    let second = std::fs::read_to_string(folder.join("b.yaml")).unwrap();
    let second = second
        .split("tests:")
        .next()
        .unwrap()
        .replace("version: 1", "version: 2")
        .replace("tumbling: 1h", "tumbling: 30m");
    std::fs::write(folder.join("0.yaml"), second).unwrap();
    std::fs::remove_file(folder.join("d.yml")).unwrap();
    // It reads the view of a job that comes after it by name.
    copy("access.daily.yaml", "00.yaml").unwrap();
    let (told, _) = done(&platform, &["job", "apply", path]);
    let hourly = "access.hourly version 1 (new), access.hourly version 2 (a new version)";
    let others = "access.daily version 1 (new), access.sessions version 1 (new)";
    assert!(told.ends_with(&format!("4 files: {hourly}, {others}\n")), "{told}");
    assert_eq!(jobs(), 3);
    let (told, _) = done(&platform, &["job", "apply", path]);
    assert_eq!(told.matches("(unchanged)").count(), 4, "{told}");
    platform.stop();
}
