//! Text of PDF. lopdf reads the file; fonts and pages are interpreted here, because words and lines of a PDF are told by where glyphs
//! stand (lopdf's own extraction knows no places and runs words together).
//!
//! Format: ISO 32000-1, 9 (text).

mod cmap;
mod font;
mod layout;
mod page;
mod place;

use std::io::Read;
use std::panic::{self, AssertUnwindSafe};

use lopdf::{Document, LoadOptions, ObjectId, decode_text_string};

use super::Text;
use crate::fault::{Fault, document, failed};
use crate::input::Context;

/// The largest PDF that is read; it is held in memory, and its objects beside it.
const PDF_MAX: u64 = 256 << 20;
/// The most bytes that one stream of a PDF may inflate to.
pub(super) const STREAM_MAX: usize = 32 << 20;
/// The most bytes that the contents of all pages may inflate to.
const CONTENTS_MAX: usize = 256 << 20;
/// The most pages of which the text is taken.
const PAGES_MAX: usize = 20_000;

/// A PDF that can be read.
pub(crate) struct Opened {
    pub(crate) document: Document,
    pub(crate) pages: Vec<ObjectId>,
}

/// Opens the contents as PDF, which must have a page and need no password.
pub(crate) fn open(context: &Context) -> Result<Opened, Fault> {
    let mut bytes = Vec::new();
    let file = context.open()?;
    file.take(PDF_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(format!("cannot read the contents: {error}")))?;
    if bytes.len() as u64 > PDF_MAX {
        return Err(document(format!("the PDF is larger than {PDF_MAX} bytes, the most that is read; split it")));
    }
    guarded(|| parse(&bytes))?
}

fn parse(bytes: &[u8]) -> Result<Opened, Fault> {
    let options = LoadOptions::with_max_decompressed_size(STREAM_MAX);
    let document = match Document::load_mem_with_options(bytes, options) {
        Ok(document) => document,
        Err(lopdf::Error::InvalidPassword) => return Err(encrypted()),
        Err(error) => return Err(broken(&sources(&error))),
    };
    if document.is_encrypted() {
        return Err(encrypted());
    }
    let pages: Vec<_> = document.page_iter().take(PAGES_MAX + 1).collect();
    if pages.is_empty() {
        return Err(broken("it has no page that can be found"));
    }
    Ok(Opened { document, pages })
}

pub(super) fn read(context: &Context) -> Result<Text, Fault> {
    let opened = open(context)?;
    guarded(|| text(&opened))
}

fn text(opened: &Opened) -> Text {
    let mut text = Text { pages: Some(opened.pages.len() as u64), ..Text::default() };
    text.title = info(&opened.document, b"Title");
    text.author = info(&opened.document, b"Author");
    let mut left = CONTENTS_MAX;
    for (place, id) in opened.pages.iter().enumerate() {
        if text.full() || left == 0 || place == PAGES_MAX {
            text.cut();
            break;
        }
        page::read(&opened.document, *id, &mut left, &mut text);
    }
    text
}

fn info(document: &Document, key: &[u8]) -> Option<String> {
    let info = document.trailer.get_deref(b"Info", document).ok()?.as_dict().ok()?;
    decode_text_string(info.get_deref(key, document).ok()?).ok()
}

/// lopdf has arithmetic that a crafted file can make panic; that is the document's fault like any other damage.
fn guarded<T>(read: impl FnOnce() -> T) -> Result<T, Fault> {
    panic::catch_unwind(AssertUnwindSafe(read)).map_err(|_| broken("what it says of itself contradicts itself"))
}

fn encrypted() -> Fault {
    document("the PDF is encrypted and needs a password; save it without one and upload it again")
}

fn broken(why: &str) -> Fault {
    document(format!("the PDF is broken: {why}; save it again and upload it"))
}

/// An error and what it comes from, in one line.
fn sources(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        line = format!("{line}: {error}");
        source = error.source();
    }
    line.chars().take(300).collect()
}
