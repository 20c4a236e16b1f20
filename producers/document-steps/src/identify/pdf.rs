//! Whether a PDF is whole: header, end, cross-reference table, pages, encryption.

use serde_json::{Value, json};

use super::scan::Scan;
use crate::fault::{Fault, document};
use crate::input::Context;
use crate::text::pdf;

/// Readers take a PDF whose header is in its first 1,024 bytes.
const HEADER_WITHIN: usize = 1024;

pub(super) fn starts(head: &[u8]) -> bool {
    find(head.get(..HEADER_WITHIN).unwrap_or(head), b"%PDF-")
}

pub(super) fn check(context: &Context, scan: &Scan) -> Result<Value, Fault> {
    if !find(&scan.tail, b"startxref") && !find(&scan.tail, b"%%EOF") {
        return Err(document(
            "the PDF is broken: no cross-reference table at its end (neither startxref nor %%EOF); it was probably cut off, upload it again",
        ));
    }
    let opened = pdf::open(context)?;
    Ok(json!({
        "version": opened.document.version,
        "pages": opened.pages.len(),
        "encrypted": opened.document.was_encrypted(),
        "repaired": opened.document.xref_recovery.is_some(),
    }))
}

fn find(bytes: &[u8], mark: &[u8]) -> bool {
    bytes.windows(mark.len()).any(|window| window == mark)
}
