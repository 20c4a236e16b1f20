//! The list of mutants fits the code.
#![allow(clippy::unwrap_used)]

use tidemark_harness::trials::mutants;

#[test]
fn every_mutant_is_still_in_the_code() {
    let list = mutants::list().unwrap();
    assert!(list.len() >= 10, "{} mutants", list.len());
    let misfits = mutants::misfits(&list).unwrap();
    assert!(misfits.is_empty(), "bring tests/mutants/mutants.toml in line with the code: {misfits:#?}");
}
