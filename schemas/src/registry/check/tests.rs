#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::*;

fn files(dir: &Path) -> Vec<String> {
    let mut found = vec![];
    for domain in std::fs::read_dir(dir).unwrap() {
        let domain = domain.unwrap().path();
        for file in std::fs::read_dir(&domain).unwrap() {
            found.push(file.unwrap().path().strip_prefix(dir).unwrap().to_str().unwrap().to_owned());
        }
    }
    found.sort();
    found
}

#[test]
fn nothing_broke_since_the_last_release() {
    let report = check(catalog::ALL, &baseline()).unwrap();
    assert!(!report.is_breaking(), "\n{report}");
    assert_eq!(report.compared.len(), BASELINE.len(), "a released schema is gone:\n{report}");
}

#[test]
fn the_baseline_is_what_is_in_its_folder() {
    let mut listed: Vec<_> = BASELINE.iter().map(|(file, _)| (*file).to_owned()).collect();
    listed.sort();
    assert_eq!(files(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/baseline"))), listed);
}

#[test]
fn the_catalog_is_what_is_in_its_folder() {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/avsc"));
    let files = files(dir);
    assert_eq!(files.len(), catalog::ALL.len());
    for file in files {
        let text = std::fs::read_to_string(dir.join(&file)).unwrap();
        assert!(catalog::ALL.iter().any(|s| s.avsc == text), "{file} is not in the catalog");
    }
}

#[test]
fn a_breaking_change_is_reported_with_schema_field_and_reason() {
    let ours = catalog::FLOW_OBSERVED;
    let narrower = ours.avsc.replace(r#""bytes_tx", "type": "long""#, r#""bytes_tx", "type": "int""#);
    let shorter = ours.avsc.replace(r#"{"name": "bytes_rx""#, r#"{"name": "bytes_in""#);
    let changed = [catalog::Schema { avsc: narrower.into(), ..ours.clone() }, catalog::MARKER];
    let earlier = [("a", &*ours.avsc), ("b", shorter.as_str()), ("c", r#""string""#)];
    let earlier = earlier.map(|(source, text)| Released { source: source.into(), schema: text.into() });
    let report = check(&changed, &earlier).unwrap();
    assert!(report.is_breaking());
    let expected = "BREAKING    tidemark.flows.FlowObserved  against a\n            field bytes_tx: reader type int cannot read long\n\
                    BREAKING    tidemark.flows.FlowObserved  against b\n            field bytes_tx: reader type int cannot read long\n            \
                    field bytes_rx: new field has no default, and the writer does not have it\n\
                    new         tidemark.engine.Marker\n";
    assert_eq!(report.to_string(), expected);
}

#[test]
fn what_is_no_schema_is_an_error_with_its_source() {
    let earlier = [Released { source: "subject x".into(), schema: "nope".into() }];
    let error = check(catalog::ALL, &earlier).unwrap_err().to_string();
    assert!(error.contains("subject x"), "{error}");
}
