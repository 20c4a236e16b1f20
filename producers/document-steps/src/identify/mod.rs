//! D1: what the contents are, and whether they are whole. Contents are read once, in pieces, and never held; PDF and ZIP are then opened
//! by path, because what they are made of is told at their end.

mod archive;
mod html;
mod office;
mod pdf;
mod scan;

use std::io::Read;

use encoding_rs::UTF_8;
use serde_json::{Value, json};

use crate::fault::{Fault, document, failed};
use crate::input::Context;
use scan::{Looks, Scan};

const READS: &str = "this pipeline reads PDF, DOCX, HTML and plain text";

pub(crate) fn run(input: &mut dyn Read, context: &Context) -> Result<Value, Fault> {
    let scan = Scan::of(input).map_err(|error| failed(format!("cannot read the contents: {error}")))?;
    if let Some(expected) = context.file_id.as_deref().filter(|id| *id != scan.sha256) {
        return Err(failed(format!(
            "the contents are not those of file {expected}: their SHA-256 is {}; fetch them again",
            scan.sha256
        )));
    }
    if scan.bytes == 0 {
        return Err(document("the file is empty"));
    }
    if pdf::starts(&scan.head) {
        return Ok(output(&scan, "application/pdf", None, pdf::check(context, &scan)?));
    }
    if archive::starts(&scan.head) {
        let names = archive::check(context)?;
        return Ok(output(&scan, office::media_type(&names)?, None, json!({ "entries": names.len() })));
    }
    text(&scan)
}

fn text(scan: &Scan) -> Result<Value, Fault> {
    let known = infer::get(&scan.head).map(|kind| kind.mime_type());
    let marked = known.filter(|kind| matches!(*kind, "application/rtf" | "text/rtf" | "application/postscript"));
    match scan.looks() {
        Looks::Text(encoding) if marked.is_none() => {
            let html = html::starts(&scan.head, encoding);
            let encoding = if html { html::declared(&scan.head, encoding) } else { encoding };
            let kind = if html { "text/html" } else { "text/plain" };
            // What is not UTF-8 was not meant to be, unless the rest is.
            let bad = if encoding == UTF_8 { scan.invalid } else { 0 };
            Ok(output(scan, kind, Some(encoding.name()), json!({ "lines": scan.lines, "bad_sequences": bad })))
        }
        Looks::TextWithNuls(at) if known.is_none() => Err(document(format!(
            "the text is broken: it holds NUL characters, the first at byte {at}; save it again as UTF-8"
        ))),
        Looks::UnknownText if known.is_none() => Err(document(
            "the file is text in an encoding that cannot be told: neither UTF-8, UTF-16 nor Latin-1; save it again as UTF-8",
        )),
        _ => Err(document(format!("the file is of type {}; {READS}", known.unwrap_or("application/octet-stream")))),
    }
}

fn output(scan: &Scan, kind: &str, encoding: Option<&str>, integrity: Value) -> Value {
    let mut output = json!({ "type": kind, "bytes": scan.bytes, "sha256": scan.sha256, "integrity": integrity });
    if let (Some(encoding), Some(fields)) = (encoding, output.as_object_mut()) {
        fields.insert("encoding".into(), encoding.into());
    }
    output
}
