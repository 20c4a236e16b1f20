//! No input makes a step panic, or say anything but an output or a fault: sample files with bytes changed, removed, repeated and joined, and
//! JSON whose text is anything. Runs of one test share no state; a failing input is shrunk and printed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::io::Write;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tidemark_document_steps::{Context, Fault, Step, run};

/// Files that are quick to read.
const FILES: [&str; 12] = [
    "avis-fr-restricted.pdf",
    "aviso-es.docx",
    "bad-checksum.docx",
    "carta-es-utf16.txt",
    "encrypted.pdf",
    "nested.zip",
    "no-pages.pdf",
    "page-en.html",
    "page-fr-latin1.html",
    "places-en.txt",
    "protokoll-de.docx",
    "rechnung-de.pdf",
];

/// One damage to bytes.
#[derive(Debug, Clone)]
enum Damage {
    Set(Index, u8),
    Cut(Index),
    Remove(Index, u8),
    Repeat(Index, u8),
    /// Digits are where lengths and offsets of a PDF are.
    Digit(Index, u8),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        1 => any::<Index>().prop_map(Damage::Cut),
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, count)| Damage::Remove(at, count)),
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, count)| Damage::Repeat(at, count)),
        4 => (any::<Index>(), b'0'..=b'9').prop_map(|(at, digit)| Damage::Digit(at, digit)),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    if bytes.is_empty() {
        return;
    }
    match damage {
        Damage::Set(at, byte) => {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
        Damage::Remove(at, count) => {
            let at = at.index(bytes.len());
            bytes.drain(at..bytes.len().min(at + usize::from(*count)));
        }
        Damage::Repeat(at, count) => {
            let at = at.index(bytes.len());
            let piece = bytes[at..bytes.len().min(at + usize::from(*count))].to_vec();
            bytes.splice(at..at, piece);
        }
        Damage::Digit(at, digit) => {
            let digits: Vec<_> = (0..bytes.len()).filter(|place| bytes[*place].is_ascii_digit()).collect();
            if !digits.is_empty() {
                bytes[digits[at.index(digits.len())]] = *digit;
            }
        }
    }
}

/// Runs all steps one after the other, as a pipeline does.
fn pipeline(contents: &[u8]) -> Result<Value, Fault> {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(contents).unwrap();
    let context = Context { contents: Some(file.path().to_owned()), file_id: None };
    let mut output = run(Step::Identify, &mut &contents[..], &context)?;
    for step in &Step::ALL[1..] {
        output = run(*step, &mut serde_json::to_vec(&output).unwrap().as_slice(), &context)?;
    }
    Ok(output)
}

/// D2 on contents that D1 would not have let through.
fn text(contents: &[u8], kind: &str) -> Result<Value, Fault> {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(contents).unwrap();
    let context = Context { contents: Some(file.path().to_owned()), file_id: None };
    run(Step::Text, &mut json!({ "type": kind, "encoding": "UTF-8" }).to_string().as_bytes(), &context)
}

/// The document is at fault, and says so in one line.
fn check(outcome: Result<Value, Fault>) {
    match outcome {
        Ok(output) => assert!(output.is_object()),
        Err(Fault::Document(why)) => assert!(!why.is_empty() && !why.contains('\n'), "{why:?}"),
        Err(Fault::Failed(why)) => panic!("a damaged document is the document's fault: {why}"),
    }
}

fn damaged() -> impl Strategy<Value = Vec<u8>> {
    (0..FILES.len(), prop::collection::vec(damage(), 1..6)).prop_map(|(file, damages)| {
        let mut bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files").join(FILES[file])).unwrap();
        for damage in &damages {
            apply(&mut bytes, damage);
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_documents_end_in_an_output_or_a_fault(contents in damaged()) {
        check(pipeline(&contents));
    }

    #[test]
    fn text_of_damaged_documents_is_an_output_or_a_fault(contents in damaged()) {
        for kind in ["application/pdf", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "text/html", "text/plain"] {
            check(text(&contents, kind));
        }
    }

    #[test]
    fn any_text_has_a_normal_form_facts_and_a_summary(text in text_of_all_kinds()) {
        let mut output = json!({ "text": text });
        for step in &Step::ALL[2..] {
            output = run(*step, &mut serde_json::to_vec(&output).unwrap().as_slice(), &Context::default()).unwrap();
        }
        prop_assert!(output["extract"].as_str().unwrap().chars().count() <= 300);
        prop_assert!(output["keywords"].as_array().unwrap().len() <= 20);
    }

    /// The normal form of a normal form is itself; facts stand where they say.
    #[test]
    fn the_normal_form_stays_and_facts_are_in_place(text in text_of_all_kinds()) {
        let normal = |text: &str| run(Step::Normalise, &mut json!({ "text": text }).to_string().as_bytes(), &Context::default()).unwrap();
        let once = normal(&text);
        let once = once["text"].as_str().unwrap();
        let twice = normal(once);
        prop_assert_eq!(twice["text"].as_str().unwrap(), once);
        let input = json!({ "text": once, "language": { "code": "und" } }).to_string();
        let facts = run(Step::Facts, &mut input.as_bytes(), &Context::default()).unwrap();
        for kind in facts["facts"].as_object().unwrap().values() {
            for fact in kind["found"].as_array().unwrap() {
                let (at, found) = (fact["at"].as_u64().unwrap(), fact["text"].as_str().unwrap());
                let there: String = once.chars().skip(usize::try_from(at).unwrap()).take(found.chars().count()).collect();
                prop_assert_eq!(there, found);
            }
        }
    }
}

/// Pieces of facts among any characters.
fn text_of_all_kinds() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<String>(),
        "[0-9.,/ -]{1,12}",
        "(€|\\$|EUR|CHF)? ?[0-9]{1,4}([.,][0-9]{3}){0,2}([.,][0-9]{2})? ?(€|USD)?",
        "[0-9]{1,2}(\\.|th)? (März|May|juin|de mayo)[ ,]{1,2}[0-9]{4}",
        "[0-9]{1,3}°[0-9]{1,2}′[0-9]{1,2}″[NS] [0-9]{1,3}°[EWO]",
        "[a-z.]{1,5}@[a-z]{1,5}\\.org|https?://[a-z.()]{1,9}",
        "[a-z]{1,4}[-\u{ad}]\r?\n[a-z]{1,3}|\u{fb01}|\u{202e}|u\u{308}",
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

#[test]
fn input_that_is_not_of_the_step_before_is_a_failure_not_the_documents_fault() {
    for step in &Step::ALL[1..] {
        for input in ["", "{}", "[1]", "{\"text\": 1}", "nonsense"] {
            assert!(
                matches!(run(*step, &mut input.as_bytes(), &Context::default()), Err(Fault::Failed(_))),
                "{step:?} {input}"
            );
        }
    }
}

#[test]
fn contents_of_another_file_are_a_failure() {
    let context = Context { contents: None, file_id: Some("00".repeat(32)) };
    let fault = run(Step::Identify, &mut &b"text"[..], &context).unwrap_err();
    assert!(matches!(&fault, Fault::Failed(why) if why.contains("SHA-256")), "{fault}");
}
