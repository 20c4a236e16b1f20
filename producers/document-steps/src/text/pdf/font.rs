//! Fonts: what their codes mean and how wide they are.

use std::collections::BTreeMap;

use lopdf::{Dictionary, Document, Encoding, Object};

use super::STREAM_MAX;
use super::cmap::CMap;

/// The most widths of one font that are kept.
const WIDTHS_MAX: usize = 65_536;

/// A font of a page.
pub(super) struct Font<'a> {
    cmap: CMap,
    encoding: Option<Encoding<'a>>,
    /// Codes are of two bytes, unless the map says otherwise.
    composite: bool,
    /// By code, in thousandths of the size.
    widths: BTreeMap<u32, f64>,
    missing: Option<f64>,
}

/// One code of a string.
pub(super) struct Glyph {
    pub(super) text: String,
    /// As a share of the font's size.
    pub(super) width: f64,
    /// A single byte 32, which word spacing widens.
    pub(super) space: bool,
}

impl<'a> Font<'a> {
    pub(super) fn new(font: &'a Dictionary, document: &'a Document) -> Self {
        let cmap = font.get_deref(b"ToUnicode", document).and_then(Object::as_stream);
        let cmap = cmap.and_then(|stream| stream.decompressed_content_with_limit(STREAM_MAX));
        let cmap = cmap.map(|bytes| CMap::parse(&bytes)).unwrap_or_default();
        let composite = font.get(b"Subtype").and_then(Object::as_name).is_ok_and(|kind| kind == b"Type0");
        // With a map there is nothing to ask lopdf; without one it has none to read either.
        let ask = cmap.is_empty() && !(composite && font.has(b"ToUnicode"));
        let encoding = ask.then(|| font.get_font_encoding_with_limit(document, STREAM_MAX).ok()).flatten();
        let (widths, missing) = if composite { of_composite(font, document) } else { of_simple(font, document) };
        Self { cmap, encoding, composite, widths, missing }
    }

    /// Reads the next code; gives the glyph and what is left.
    pub(super) fn next<'b>(&self, bytes: &'b [u8]) -> (Glyph, &'b [u8]) {
        let (code, length, text) = if self.cmap.is_empty() { self.plain(bytes) } else { self.cmap.next(bytes) };
        let text = text.unwrap_or_else(|| self.fallback(bytes.get(..length).unwrap_or_default()));
        let width = self.widths.get(&code).copied().or(self.missing).unwrap_or_else(|| usual(&text)) / 1000.0;
        (Glyph { text, width, space: length == 1 && code == 32 }, bytes.get(length.max(1)..).unwrap_or_default())
    }

    fn plain(&self, bytes: &[u8]) -> (u32, usize, Option<String>) {
        let length = if self.composite { 2.min(bytes.len()) } else { 1 };
        let code = bytes.iter().take(length).fold(0, |code, byte| code << 8 | u32::from(*byte));
        (code, length, None)
    }

    /// Text by the font's encoding. What no map and no encoding knows is nothing, not a box.
    fn fallback(&self, code: &[u8]) -> String {
        match &self.encoding {
            // The codes of a composite font without a map are numbers of glyphs.
            Some(Encoding::OneByteEncoding(_)) if self.composite => String::new(),
            Some(encoding) => Document::decode_text(encoding, code).unwrap_or_default(),
            None if self.composite => String::new(),
            None => code.iter().filter(|byte| byte.is_ascii()).map(|byte| char::from(*byte)).collect(),
        }
    }
}

fn of_simple(font: &Dictionary, document: &Document) -> (BTreeMap<u32, f64>, Option<f64>) {
    let first = font.get_deref(b"FirstChar", document).and_then(Object::as_i64).unwrap_or(0);
    let widths = font.get_deref(b"Widths", document).and_then(Object::as_array);
    let Ok(widths) = widths else { return (BTreeMap::new(), None) };
    // The widths of a Type 3 font are in its own space; its matrix says how large that is.
    let scale = font.get_deref(b"FontMatrix", document).and_then(Object::as_array).ok();
    let scale = scale.and_then(|matrix| number(matrix.first()?, document)).map_or(1.0, |scale| scale * 1000.0);
    let first = u32::try_from(first).unwrap_or_default();
    let widths = (first..)
        .zip(widths.iter().take(256))
        .filter_map(|(code, width)| Some((code, number(width, document)? * scale)));
    let descriptor = font.get_deref(b"FontDescriptor", document).and_then(Object::as_dict).ok();
    let missing = descriptor.and_then(|descriptor| number(descriptor.get(b"MissingWidth").ok()?, document));
    (widths.collect(), missing)
}

/// `W` of the descendant: `first [w w …]` or `first last w`.
fn of_composite(font: &Dictionary, document: &Document) -> (BTreeMap<u32, f64>, Option<f64>) {
    let descendants = font.get_deref(b"DescendantFonts", document).and_then(Object::as_array).ok();
    let descendant = descendants.and_then(|list| document.dereference(list.first()?).ok()?.1.as_dict().ok());
    let Some(descendant) = descendant else { return (BTreeMap::new(), None) };
    let missing = descendant.get(b"DW").ok().and_then(|width| number(width, document)).unwrap_or(1000.0);
    let mut widths = BTreeMap::new();
    let list = descendant.get_deref(b"W", document).and_then(Object::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut items = list.iter().filter_map(|item| Some(document.dereference(item).ok()?.1));
    while let (Some(first), Some(next)) = (items.next(), items.next()) {
        let Some(first) = first.as_i64().ok().and_then(|first| u32::try_from(first).ok()) else { break };
        if let Ok(each) = next.as_array() {
            widths.extend((first..).zip(each.iter().filter_map(|width| number(width, document))));
        } else if let (Ok(last), Some(width)) = (next.as_i64(), items.next().and_then(|width| number(width, document)))
        {
            let last = u32::try_from(last).unwrap_or(first);
            widths.extend((first..=last).take(WIDTHS_MAX).map(|code| (code, width)));
        }
        if widths.len() > WIDTHS_MAX {
            break;
        }
    }
    (widths, Some(missing))
}

fn number(object: &Object, document: &Document) -> Option<f64> {
    document.dereference(object).ok()?.1.as_float().ok().map(f64::from)
}

/// How wide glyphs usually are, in thousandths: for the standard fonts, whose widths files leave out.
fn usual(text: &str) -> f64 {
    match text.chars().next() {
        Some('i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '\'' | '|' | '!') => 250.0,
        Some(' ' | 'f' | 't' | 'r' | 'I' | '(' | ')' | '[' | ']' | '-' | '/') => 300.0,
        Some('m' | 'w' | 'M' | 'W' | '@' | '%') => 850.0,
        Some(c) if c.is_uppercase() => 680.0,
        Some(_) => 530.0,
        None => 0.0,
    }
}
