#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, in its helpers too")]

use serde_json::{Map, Value, json};

use super::{Templates, samples};
use crate::Error;

fn data(template: &str, changes: Value) -> Map<String, Value> {
    let (_, mut data) = samples().into_iter().find(|(name, _)| *name == template).unwrap();
    data.extend(changes.as_object().unwrap().clone());
    data
}

fn load(files: &[(&str, &str)]) -> Result<Templates, Error> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    Templates::load(Some(dir.path()), "https://tidemark.example")
}

/// The line and reason of the error of a folder with this file.
fn problem(name: &str, text: &str) -> (usize, String) {
    match load(&[(name, text)]).err().unwrap() {
        Error::Template { file, line, reason } => {
            assert!(file.ends_with(name), "{file}");
            (line, reason)
        }
        other => panic!("{other}"),
    }
}

#[test]
fn the_built_in_ones_say_what_happened_to_which_document_and_where_to_look() {
    let templates = Templates::load(None, "https://tidemark.example").unwrap();
    let changes = json!({"name": "plan.pdf", "bytes": 12_345, "file_id": "ab12", "error": "not a PDF\nat byte 7"});
    for name in ["duplicate", "error", "progress"] {
        let mail = templates.render(name, &data(name, changes.clone())).unwrap();
        assert!(
            mail.body.contains("plan.pdf") && mail.body.contains("12.3 kB") && mail.body.contains("ab12"),
            "{}",
            mail.body
        );
        assert!(mail.body.contains("https://tidemark.example/documents"), "{}", mail.body);
        assert!(mail.body.lines().all(|line| line.chars().count() <= 100), "{}", mail.body);
    }
    let error = templates.render("error", &data("error", changes)).unwrap();
    assert_eq!(error.subject, "Not processed: plan.pdf failed in step D2");
    assert!(error.body.contains("\n> not a PDF\n> at byte 7\n"), "{}", error.body);
    assert!(error.body.contains("after 4 attempts."), "{}", error.body);
    let one = templates.render("error", &data("error", json!({"attempts": 1}))).unwrap();
    assert!(one.body.contains("after 1 attempt."), "{}", one.body);
}

#[test]
fn data_stays_in_its_line() {
    let templates = Templates::load(None, "https://tidemark.example").unwrap();
    let name = "a\r\nBcc: all@example.com\r\n\r\n{{ base_url }}\u{2028}\u{202e}fdp";
    let mail = templates.render("duplicate", &data("duplicate", json!({"name": name}))).unwrap();
    assert!(!mail.subject.contains(['\r', '\n', '\u{2028}', '\u{202e}']), "{:?}", mail.subject);
    assert!(mail.subject.contains("{{ base_url }}"), "data is no template");
    assert!(!mail.body.contains(['\r', '\u{2028}', '\u{202e}']) && !mail.body.contains("\nBcc:"), "{:?}", mail.body);
}

#[test]
fn the_base_url_is_not_data() {
    let templates = Templates::load(None, "https://tidemark.example").unwrap();
    let mail = templates.render("progress", &data("progress", json!({"base_url": "https://evil.example"}))).unwrap();
    assert!(!mail.body.contains("evil"), "{}", mail.body);
}

#[test]
fn a_folder_replaces_file_by_file_and_adds() {
    let templates = load(&[
        ("error.txt", "Subject: E {{ name }}\r\n\r\nSorry.\n"),
        ("extra.txt", "Subject: X\n\n{{ anything }}\n"),
        ("notes.md", ""),
    ])
    .unwrap();
    let error = templates.render("error", &data("error", json!({}))).unwrap();
    assert_eq!((error.subject.as_str(), error.body.as_str()), ("E report.pdf", "Sorry.\n"));
    assert!(templates.render("duplicate", &data("duplicate", json!({}))).unwrap().subject.starts_with("Already here"));
    assert_eq!(templates.render("extra", &data("error", json!({"anything": 7}))).unwrap().body, "7\n");
}

#[test]
fn a_broken_template_is_named_with_its_line() {
    assert_eq!(problem("error.txt", "Hello\n\nx\n").0, 1);
    assert_eq!(problem("error.txt", "Subject:  \n\nx\n").0, 1);
    assert_eq!(problem("error.txt", "Subject: x\nHello\n").0, 2);
    let (line, reason) = problem("error.txt", "Subject: x\n\nHello\n{{ nmae }}\n");
    assert!(line == 4 && reason.contains("undefined"), "{line} {reason}");
    assert_eq!(problem("error.txt", "Subject: {{ nmae }}\n\nHello\n").0, 1);
    let (line, reason) = problem("more.txt", "Subject: x\n\n\n\n{% if %}\n");
    assert!(line == 5 && reason.contains("syntax"), "{line} {reason}");
    let missing = Templates::load(Some(std::path::Path::new("/nowhere/at/all")), "").err().unwrap();
    assert!(matches!(missing, Error::Io { .. }), "{missing}");
}

#[test]
fn what_the_data_does_not_have_is_an_error() {
    let templates = Templates::load(None, "").unwrap();
    let mut data = data("error", json!({}));
    data.remove("step");
    assert!(templates.render("error", &data).unwrap_err().reason.contains("undefined"));
    assert!(templates.render("nothing\n", &data).unwrap_err().reason.contains("no template"));
    data.insert("step".to_owned(), json!("D1"));
    data.insert("error".to_owned(), json!("x\n".repeat(200_000)));
    assert!(templates.render("error", &data).unwrap().body.len() < 2_000);
}
