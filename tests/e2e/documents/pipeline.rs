//! Everything in one process, with the workers that it starts and the built-in steps.

use super::world::*;
use crate::process::{eventually, get, post};
use serde_json::Value;
use std::collections::BTreeMap;

/// Documents of many kinds that end well, and what each must be found to be.
fn good() -> Vec<(String, Vec<u8>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs");
    let mut files: Vec<(String, Vec<u8>)> = ["architecture.md", "jobs.md", "security.md"]
        .map(|name| (name.to_owned(), std::fs::read(format!("{folder}/{name}")).unwrap()))
        .into();
    let page = "<html><head><title>Invoice</title></head><body><p>Due on 2026-03-01: EUR 12.50, ask bob@example.com</p></body></html>";
    files.push(("invoice.html".into(), page.into()));
    files.push((
        "übersicht.txt".into(),
        "Der Vertrag wurde am 1. März 2026 in Köln geschlossen und gilt für zwei Jahre.".into(),
    ));
    files.extend(
        ["report-en.pdf", "protokoll-de.docx", "brief-de-latin1.txt"].map(|name| (name.to_owned(), sample(name))),
    );
    files
}

/// Documents that are no good, and the step that says so.
fn bad() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let broken = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R".to_vec();
    vec![("broken.pdf", broken, "PDF"), ("empty.txt", Vec::new(), "empty"), ("bomb.zip", zip_bomb(), "ZIP")]
}

/// A thousand megabytes of nothing in one megabyte.
fn zip_bomb() -> Vec<u8> {
    use std::io::Write;
    let mut zip = Vec::new();
    let mut data = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    let (zeros, mut crc) = (vec![0_u8; 1 << 20], flate2::Crc::new());
    for _ in 0..1_000 {
        data.write_all(&zeros).unwrap();
        crc.update(&zeros);
    }
    let data = data.finish().unwrap();
    let name = b"bomb.bin";
    let sizes = [(data.len() as u32).to_le_bytes(), (1_000_u32 << 20).to_le_bytes()].concat();
    let common = |out: &mut Vec<u8>| {
        out.extend([20, 0, 0, 0, 8, 0, 0, 0, 0, 0]);
        out.extend(crc.sum().to_le_bytes());
        out.extend(&sizes);
        out.extend((name.len() as u16).to_le_bytes());
        out.extend([0, 0]);
    };
    zip.extend(b"PK\x03\x04");
    common(&mut zip);
    zip.extend(name);
    zip.extend(&data);
    let directory = zip.len() as u32;
    zip.extend(b"PK\x01\x02\x14\x00");
    common(&mut zip);
    zip.extend([0; 14]);
    zip.extend(name);
    let length = zip.len() as u32 - directory;
    zip.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    zip.extend(length.to_le_bytes());
    zip.extend(directory.to_le_bytes());
    zip.extend([0, 0]);
    zip
}

/// A folder of documents: those that are good end DONE, those that are not ERROR with step and reason, duplicates are one task and
/// one mail each; results can be read and searched; the figures of the hour add up; all of it is there after `kill -9`.
#[test]
fn a_folder_of_documents() {
    let world = World::new(2, "max_bytes = 4000000\n");
    let platform = world.up();
    let (good, bad) = (good(), bad());
    for (name, contents) in &good {
        assert_eq!(upload(&platform.url, name, contents)["outcome"], "created", "{name}");
    }
    for (name, contents, _) in &bad {
        assert_eq!(upload(&platform.url, name, contents)["outcome"], "created", "{name}");
    }
    let too_large = try_upload(&platform.url, "large.txt", &vec![b'x'; 6_000_000], &[]).unwrap();
    assert_eq!(too_large.status, 413, "{}", too_large.body);
    for (name, contents) in &good[..2] {
        assert_eq!(upload(&platform.url, &format!("copy of {name}"), contents)["outcome"], "duplicate");
    }
    for (name, contents) in &good {
        let done = wait_for_state(&platform.url, &file_id(contents), "DONE");
        assert_eq!(done["name"], **name);
    }
    for (name, contents, reason) in &bad {
        let error = wait_for_state(&platform.url, &file_id(contents), "ERROR");
        assert!(error["step"].is_string() && error["error"].as_str().unwrap().contains(reason), "{name}: {error}");
    }
    world.wait_for_mails(&[("Already", 2), ("Not processed", bad.len())]);

    let invoice = file_id(&good[3].1);
    let results = get(&format!("{}/v1/documents/{invoice}/results", platform.url)).unwrap().json();
    let facts = &results["steps"]["D4"];
    assert!(facts.to_string().contains("bob@example.com") && facts.to_string().contains("12.50"), "{facts}");
    eventually("the invoice is found by its text", || {
        let found = get(&format!("{}/v1/documents?q=invoice%20bob", platform.url)).unwrap().json();
        let ids: Vec<&Value> = found["documents"].as_array().unwrap().iter().map(|one| &one["file_id"]).collect();
        if ids == [invoice.as_str()] { Ok(()) } else { Err(found.to_string()) }
    });
    let contents = get(&format!("{}/v1/documents/{invoice}/contents", platform.url)).unwrap();
    assert_eq!(contents.body.as_bytes(), good[3].1);
    let detail = document(&platform.url, &invoice).unwrap();
    let steps: Vec<&str> =
        detail["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["D1", "D2", "D3", "D4", "D5"], "{detail}");
    assert!(
        detail["steps"].as_array().unwrap().iter().all(|step| step["memory_bytes"].as_i64().unwrap() > 0),
        "{detail}"
    );
    all_is_counted(&platform.url, good.len(), bad.len());

    platform.kill();
    let platform = world.up();
    all_is_counted(&platform.url, good.len(), bad.len());
    let again = upload(&platform.url, "once more.html", &good[3].1);
    assert_eq!(again["outcome"], "duplicate");
    world.wait_for_mails(&[("Already", 3), ("Not processed", bad.len())]);
    platform.stop();
}

/// The list's counts and the hour's figures say the same.
fn all_is_counted(url: &str, done: usize, failed: usize) {
    eventually("the counts by state", || {
        let counts = counts(url);
        if counts["DONE"] == done && counts["ERROR"] == failed { Ok(()) } else { Err(counts.to_string()) }
    });
    eventually("the figures of the hour", || {
        let answer = get(&format!("{url}/v1/views/documents.hourly?limit=1000")).map_err(|error| error.to_string())?;
        let rows = answer.json()["rows"].as_array().cloned().unwrap_or_default();
        let sum = |column: &str| -> i64 { rows.iter().filter_map(|row| row[column].as_i64()).sum() };
        let found = BTreeMap::from(["arrived", "done", "failed"].map(|column| (column, sum(column))));
        let right = found["arrived"] == (done + failed) as i64
            && found["done"] == done as i64
            && found["failed"] == failed as i64;
        if right { Ok(()) } else { Err(format!("{found:?}: {}", answer.body)) }
    });
}

/// The same contents after an error are tried again; a document that waits can be cancelled, and one that was can be tried again.
#[test]
fn retry_and_cancel() {
    let world = World::new(0, "");
    let platform = world.up();
    let flaky = &[("D1", "if [ -e \"$HOME/ok\" ]; then echo '{}'; else echo broken >&2; exit 3; fi")];
    let id = file_id(b"flaky");
    upload(&platform.url, "a.txt", b"flaky");
    let act =
        |what: &str| post(&format!("{}/v1/documents/{id}/{what}", platform.url), "application/json", b"{}").unwrap();
    assert_eq!(act("retry").status, 409, "it is in the queue");
    assert!(act("cancel").status < 300);
    let cancelled = wait_for_state(&platform.url, &id, "ERROR");
    assert!(cancelled["error"].as_str().unwrap().contains("cancelled"), "{cancelled}");
    assert_eq!(act("cancel").status, 409);

    let worker = world.worker(&platform.url, "w", 1, flaky);
    assert_eq!(upload(&platform.url, "a.txt", b"flaky")["outcome"], "retried");
    eventually("it failed after four attempts", || {
        let found = document(&platform.url, &id)?;
        let attempts = found["steps"].as_array().map_or(0, Vec::len);
        if found["state"] == "ERROR" && attempts == 4 { Ok(()) } else { Err(found.to_string()) }
    });
    let error = document(&platform.url, &id).unwrap();
    assert!(error["error"].as_str().unwrap().contains("broken") && error["step"] == "D1", "{error}");
    worker.stop();
    assert!(act("retry").status < 300);
    let worker = world.worker(&platform.url, "w2", 1, &[("D1", "cat >/dev/null; echo '{}'")]);
    wait_for_state(&platform.url, &id, "DONE");
    world.wait_for_mails(&[("Not processed", 1)]);
    worker.stop();
    platform.stop();
}

/// Every 1,000th, here every 5th, document that is done: one mail.
#[test]
fn progress_is_mailed() {
    let world = World::new(0, "progress_every = 5\nprogress_to = [\"ops@example.com\"]\n");
    let platform = world.up();
    let worker = world.worker(&platform.url, "w", 4, &[("D1", "cat >/dev/null; echo '{}'")]);
    for n in 0..12 {
        upload(&platform.url, &format!("{n}.txt"), format!("document {n}").as_bytes());
    }
    for n in 0..12 {
        wait_for_state(&platform.url, &file_id(format!("document {n}").as_bytes()), "DONE");
    }
    eventually("two mails", || {
        let to: Vec<String> = world.mails().iter().map(|mail| header_of(mail, "To")).collect();
        if to == ["ops@example.com", "ops@example.com"] { Ok(()) } else { Err(format!("{to:?}")) }
    });
    worker.stop();
    platform.stop();
}
