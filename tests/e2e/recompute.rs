//! `tidemark job recompute`, `job diff` and `job replay`, as a data engineer runs them.

use crate::flows::{make, publish as publish_flows};
use crate::process::{Tidemark, eventually, get, post};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/access-log/");

/// Runs `tidemark job …`: its exit status, and what it said on both streams.
pub fn job(url: &str, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemark"));
    let ran = command.arg("job").args(args).env("TIDEMARK_URL", url).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (ran.status.code().unwrap(), text(ran.stdout), text(ran.stderr))
}

/// Eight hours of accesses; one in ten comes an hour late.
fn accesses(count: i64) -> Vec<String> {
    let line = |n: i64| {
        let late = if n % 10 == 3 { 3_700_000 } else { 0 };
        let at = 1_767_225_600_000 + 7_200_000 + n * 8 * 3_600_000 / count - late;
        let status = [200, 200, 200, 304, 404, 500][n as usize % 6];
        let record = json!({
            "at": at, "client": format!("192.0.2.{}", n % 17), "method": "GET", "path": format!("/p{}", n % 7),
            "status": status, "bytes": n * 13,
        });
        format!("{record}\n")
    };
    (0..count).map(line).collect()
}

fn apply(platform: &Tidemark, file: &str) {
    let (exit, said, told) = job(&platform.url, &["apply", file]);
    assert_eq!(exit, 0, "{said}{told}");
}

/// Waits until a version of a view holds so many records.
fn holds(platform: &Tidemark, view: &str, version: u32, records: i64) {
    eventually("the records are in the view", || {
        let url = format!("{}/v1/views/{view}/windows?version={version}&limit=744", platform.url);
        let answer = get(&url).unwrap().json();
        let windows = answer["windows"].as_array().cloned().unwrap_or_default();
        let found: i64 = windows.iter().filter_map(|window| window["records"].as_i64()).sum();
        if found == records { Ok(()) } else { Err(format!("{found} of {records}: {answer}")) }
    });
}

/// The example with something replaced, beside its schema.
fn version_two(dir: &Path, from: &str, to: &str) -> String {
    let text = std::fs::read_to_string(format!("{EXAMPLES}access.hourly.yaml")).unwrap();
    assert!(text.contains(from));
    let text = text.split("tests:").next().unwrap().replace("version: 1", "version: 2").replace(from, to);
    let file = dir.join("access.hourly.yaml");
    std::fs::write(&file, text).unwrap();
    std::fs::copy(format!("{EXAMPLES}logs.access.avsc"), dir.join("logs.access.avsc")).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn figures_are_recomputed_and_versions_compared() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Tidemark::start(&dir.path().join("data"), &["up"]);
    for file in ["access.hourly.yaml", "access.sessions.yaml"] {
        apply(&platform, &format!("{EXAMPLES}{file}"));
    }
    let records = accesses(1_200);
    for chunk in records.chunks(150) {
        let to = format!("{}/v1/events/logs.access", platform.url);
        let answer = post(&to, "application/x-ndjson", chunk.concat().as_bytes()).unwrap();
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
    let flows = make(800, 10, 1);
    publish_flows(&platform.url, &flows, 200);
    holds(&platform, "access.hourly", 1, 1_200);
    holds(&platform, "access.sessions", 1, 1_200);
    holds(&platform, "flows.hourly", 1, 800);

    for (view, streamed) in [("access.hourly", 1_200), ("access.sessions", 1_200), ("flows.hourly", 800)] {
        let (exit, said, told) = job(&platform.url, &["recompute", view, "--compare"]);
        assert_eq!(exit, 0, "{said}{told}");
        for part in
            [format!("{view} version 1: equal"), format!("{streamed} in the streamed figure"), "records/s".to_owned()]
        {
            assert!(said.contains(&part), "{part}: {said}");
        }
        let (exit, said, _) = job(&platform.url, &["recompute", view, "--compare", "--json"]);
        let report: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((exit, report["rows"]["changed"].as_u64(), report["exit"].as_i64()), (0, Some(0), Some(0)));
        assert!(
            report["rows"]["equal"].as_u64().unwrap() > 10 && report["sources"].as_array().unwrap().len() > 1,
            "{report}"
        );
    }
    // Equal: nothing is written, though its windows are not sealed.
    let (exit, said, told) = job(&platform.url, &["recompute", "access.hourly"]);
    assert!(exit == 0 && said.contains("written   0 windows: 0 rows"), "{said}{told}");
    let one = ["recompute", "access.hourly", "--compare", "--window", "2026-01-01T04:00:00Z"];
    let (exit, said, told) = job(&platform.url, &one);
    assert!(exit == 0 && said.contains("windows   1, 2026-01-01T04:00:00Z to 2026-01-01T05:00:00Z"), "{said}{told}");

    refusals(&platform);

    // The same figures, and one column more; then another meaning of a column.
    apply(&platform, &version_two(dir.path(), "  top_paths:", "  paths: distinct(path)\n  top_paths:"));
    holds(&platform, "access.hourly", 2, 1_200);
    let (exit, said, told) = job(&platform.url, &["diff", "access.hourly", "--open"]);
    assert_eq!(exit, 0, "{said}{told}");
    for part in ["versions 1 and 2: equal", "0 changed", "paths only in 2, not compared"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (exit, said, told) = job(&platform.url, &["retire", "access.hourly", "--version", "2"]);
    assert_eq!(exit, 0, "{said}{told}");
    let three = version_two(dir.path(), "requests: count()", "requests: count_if(status < 400)");
    let text = std::fs::read_to_string(&three).unwrap().replace("version: 2", "version: 3");
    std::fs::write(&three, text).unwrap();
    apply(&platform, &three);
    holds(&platform, "access.hourly", 3, 1_200);
    let (exit, said, told) = job(&platform.url, &["diff", "access.hourly", "--open", "--versions", "1,3"]);
    assert_eq!(exit, 1, "{said}{told}");
    for part in ["versions 1 and 3: differ", "column    requests:", "class=4xx", "requests: "] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (exit, _, told) = job(&platform.url, &["diff", "access.hourly", "--versions", "1,9"]);
    assert!(exit == 2 && told.contains("access.hourly has no version 9; it has 1, 3"), "{told}");
    platform.stop();
}

fn refusals(platform: &Tidemark) {
    for (args, exit, part) in [
        (&["recompute", "access.sessions"][..], 2, "are sessions, of which nothing is rewritten"),
        (&["recompute", "access.hourli", "--compare"], 2, "did you mean `access.hourly`?"),
        (&["recompute", "access.hourly", "--compare", "--version", "7"], 2, "access.hourly has no version 7; it has 1"),
        (&["recompute", "flows.hourly", "--compare", "--version", "7"], 2, "flows.hourly has no version 7; it has 1"),
        (&["recompute", "access.hourly", "--compare", "--window", "noon"], 2, "write RFC 3339"),
        (&["recompute", "access.hourly", "--compare", "--from", "5", "--to", "4"], 2, "`from` is not before `to`"),
        (&["recompute", "access.hourly", "--compare", "--from", "2027-01-01T00:00:00Z"], 2, "has no window in"),
        (&["diff", "access.hourly"], 2, "access.hourly has one version only"),
        (&["diff", "access.hourli"], 2, "did you mean `access.hourly`?"),
    ] {
        let (got, said, told) = job(&platform.url, args);
        assert!(got == exit && told.contains(part), "{args:?}: exit {got}, {part}: {said}{told}");
    }
    let nobody = job("http://127.0.0.1:9", &["recompute", "access.hourly", "--compare"]);
    assert!(nobody.0 == 2 && nobody.2.contains("cannot reach a platform"), "{nobody:?}");
    let answer =
        post(&format!("{}/v1/jobs/access.hourly/recompute", platform.url), "application/json", b"{\"form\": 1}")
            .unwrap();
    assert!(answer.status == 400 && answer.body.contains("unknown field `form`"), "{}", answer.body);
}

#[test]
fn a_sample_is_replayed_without_a_platform() {
    let dir = tempfile::tempdir().unwrap();
    let sample = dir.path().join("sample.ndjson");
    std::fs::write(&sample, accesses(200).concat()).unwrap();
    for file in ["access.hourly.yaml", "access.sessions.yaml"] {
        let file = format!("{EXAMPLES}{file}");
        let args = ["replay", &file, "--input", sample.to_str().unwrap(), "--rounds", "5", "--seed", "11"];
        let (exit, said, told) = job("http://127.0.0.1:9", &args);
        assert_eq!(exit, 0, "{said}{told}");
        assert!(said.contains("the same figures 12 ways") && said.contains("(seed 11)"), "{said}");
        assert!(said.contains("200 records on 3 partitions"), "{said}");
    }
    std::fs::write(&sample, "{\"at\": 1}\n").unwrap();
    let file = format!("{EXAMPLES}access.hourly.yaml");
    let (exit, _, told) = job("http://127.0.0.1:9", &["replay", &file, "--input", sample.to_str().unwrap()]);
    assert!(exit != 0 && told.contains("sample.ndjson:1:"), "{told}");
}
