//! Whether text is HTML, and the encoding that it declares.

use encoding_rs::{Encoding, UTF_16BE, UTF_16LE, WINDOWS_1252};

/// Elements with which HTML begins, with or without a doctype.
const STARTS: [&str; 12] =
    ["!doctype html", "html", "head", "body", "title", "meta", "script", "style", "table", "div", "h1", "p>"];
/// How far a document is searched for the encoding that it declares (WHATWG HTML, "prescan a byte stream").
const PRESCAN: usize = 1024;

/// Whether the first thing in the text, after white space, comments and XML declarations, is an element of HTML.
pub(super) fn starts(head: &[u8], encoding: &'static Encoding) -> bool {
    let (text, _, _) = encoding.decode(head);
    let mut rest = text.trim_start();
    loop {
        let end = match rest {
            _ if rest.starts_with("<!--") => "-->",
            _ if rest.starts_with("<?") => ">",
            _ => break,
        };
        let Some((_, after)) = rest.split_once(end) else { return false };
        rest = after.trim_start();
    }
    let Some(name) = rest.strip_prefix('<') else { return false };
    let name: String = name.chars().take(16).collect::<String>().to_ascii_lowercase();
    STARTS.iter().any(|start| {
        name.strip_prefix(start)
            .is_some_and(|after| !after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-'))
    })
}

/// The encoding that the document declares in `charset=`, when the bytes themselves do not tell: only instead of windows-1252, the guess.
pub(super) fn declared(head: &[u8], guess: &'static Encoding) -> &'static Encoding {
    if guess != WINDOWS_1252 {
        return guess;
    }
    let start = String::from_utf8_lossy(head.get(..PRESCAN).unwrap_or(head)).to_ascii_lowercase();
    let Some((_, after)) = start.split_once("charset=") else { return guess };
    let label: String = after
        .trim_start_matches(['"', '\'', ' '])
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || "-_:".contains(*c))
        .collect();
    match Encoding::for_label(label.as_bytes()) {
        // It cannot be: the declaration could not have been read.
        Some(encoding) if encoding == UTF_16LE || encoding == UTF_16BE => guess,
        Some(encoding) => encoding,
        None => guess,
    }
}
