//! Each step on real files: the outputs in `tests/expected/<step>/<file>.json` were read and checked by a person. A step reads the checked
//! output of the step before, so that each is judged alone. What comes out otherwise is kept in the target directory, to be compared.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tidemark_document_steps::{Context, Step, run};

/// Documents that go through all steps.
const WHOLE: [&str; 13] = [
    "avis-fr-restricted.pdf",
    "aviso-es.docx",
    "brief-de-latin1.txt",
    "carta-es-utf16.txt",
    "deep.html",
    "notes-en.txt",
    "page-en.html",
    "page-fr-latin1.html",
    "places-en.txt",
    "protokoll-de.docx",
    "rechnung-de.pdf",
    "report-en.pdf",
    "short.txt",
];

/// Files that D1 refuses.
const REFUSED: [&str; 13] = [
    "bad-checksum.docx",
    "bomb.zip",
    "dot.png",
    "empty.txt",
    "encrypted.pdf",
    "nested.zip",
    "no-directory.docx",
    "no-document.docx",
    "no-pages.pdf",
    "nul.txt",
    "sheet.xlsx",
    "truncated.pdf",
    "unknown-encoding.txt",
];

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Runs a step on a file; a fault is told as `{"exit", "message"}`.
fn output(step: Step, file: &str) -> Value {
    let contents = tests().join("files").join(file);
    let before = Step::ALL.iter().position(|each| *each == step).unwrap().checked_sub(1).map(|place| Step::ALL[place]);
    let input = before.map_or_else(|| contents.clone(), |before| expected(before, file));
    let context = Context { contents: Some(contents), file_id: None };
    match run(step, &mut File::open(input).unwrap(), &context) {
        Ok(output) => output,
        Err(fault) => json!({ "exit": fault.exit(), "message": fault.to_string() }),
    }
}

fn expected(step: Step, file: &str) -> PathBuf {
    tests().join("expected").join(step.name()).join(format!("{file}.json"))
}

fn check(step: Step, files: &[&str]) {
    let mut wrong = Vec::new();
    for file in files {
        let output = output(step, file);
        let expected =
            fs::read(expected(step, file)).ok().map(|bytes| serde_json::from_slice::<Value>(&bytes).unwrap());
        if expected.as_ref() != Some(&output) {
            let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(step.name());
            fs::create_dir_all(&kept).unwrap();
            let kept = kept.join(format!("{file}.json"));
            fs::write(&kept, serde_json::to_string_pretty(&output).unwrap() + "\n").unwrap();
            wrong.push(kept);
        }
    }
    assert!(wrong.is_empty(), "{} is not as in tests/expected; compare {wrong:#?}", step.name());
}

#[test]
fn d1_identifies() {
    check(Step::Identify, &WHOLE);
}

#[test]
fn d1_refuses() {
    check(Step::Identify, &REFUSED);
}

#[test]
fn d2_reads_text() {
    check(Step::Text, &WHOLE);
}

#[test]
fn d3_gives_the_normal_form() {
    check(Step::Normalise, &WHOLE);
}

#[test]
fn d4_finds_facts() {
    check(Step::Facts, &WHOLE);
}

#[test]
fn d5_summarises() {
    check(Step::Summarise, &WHOLE);
}

/// Every file in the folder is in one of the lists, and is as large as a repository can bear.
#[test]
fn no_file_is_forgotten() {
    let mut listed: Vec<_> = WHOLE.iter().chain(&REFUSED).map(|file| (*file).to_owned()).collect();
    listed.sort();
    let entries = fs::read_dir(tests().join("files")).unwrap().map(|entry| entry.unwrap());
    let mut found: Vec<_> =
        entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len())).collect();
    found.sort();
    assert!(found.iter().map(|(_, bytes)| bytes).sum::<u64>() < 1_500_000);
    assert_eq!(listed, found.into_iter().map(|(file, _)| file).collect::<Vec<_>>());
}
