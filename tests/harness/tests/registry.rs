//! The registry: starts, takes and gives a schema, refuses a breaking one, is killed and restarts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use tidemark_harness::{Registry, registry, unique};

fn schema(fields: &str) -> String {
    let avro = format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
    format!(r#"{{"schema":"{}"}}"#, avro.replace('"', "\\\""))
}

fn post(url: &str, body: String) -> Result<String, ureq::Error> {
    let request = ureq::post(url).header("content-type", "application/vnd.schemaregistry.v1+json");
    request.send(body)?.body_mut().read_to_string()
}

#[test]
fn takes_schemas_and_checks_them() {
    let base = registry();
    let subject = format!("{base}/subjects/{}", unique("s"));
    let answer = post(&format!("{subject}/versions"), schema(r#"{"name":"a","type":"long"}"#)).unwrap();
    assert!(answer.starts_with(r#"{"id":"#), "{answer}");
    let latest = ureq::get(format!("{subject}/versions/latest")).call().unwrap().body_mut().read_to_string().unwrap();
    assert!(latest.contains(r#""version":1"#), "{latest}");
}

#[test]
fn comes_back_empty_after_kill() {
    let mut own = Registry::start().unwrap();
    let subjects = format!("{}/subjects", own.url());
    post(&format!("{subjects}/s/versions"), schema(r#"{"name":"a","type":"long"}"#)).unwrap();
    own.kill();
    assert!(ureq::get(&subjects).call().is_err(), "still answers after kill");
    own.restart().unwrap();
    assert_eq!(ureq::get(&subjects).call().unwrap().body_mut().read_to_string().unwrap(), "[]");
}
