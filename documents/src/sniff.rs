//! The type of contents, from their first bytes; never from a name or from what the sender says.

/// Bytes that the type is decided by, or all if there are fewer.
pub(crate) const SNIFFED: usize = 8 << 10;

/// The media type: `application/x-empty` of nothing, `text/plain` of what reads as text, `application/octet-stream` of what is
/// not known.
pub(crate) fn media_type(start: &[u8]) -> &'static str {
    if start.is_empty() {
        return "application/x-empty";
    }
    let start = start.get(..SNIFFED).unwrap_or(start);
    match infer::get(start) {
        Some(known) => known.mime_type(),
        None if is_text(start) => "text/plain",
        None => "application/octet-stream",
    }
}

/// Text has no control characters but those of layout; UTF-16 is told by its mark.
fn is_text(start: &[u8]) -> bool {
    if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) {
        return true;
    }
    let layout = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | 0x0b | 0x0c | 0x1b);
    start.iter().all(|byte| (*byte >= 0x20 && *byte != 0x7f) || layout(byte))
}

/// Whether a type is on the list. A pattern is a type, `*`, or ends in `/*`.
pub(crate) fn is_allowed(media_type: &str, allowed: &[String]) -> bool {
    allowed.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(start) => media_type.starts_with(start),
        None => media_type == pattern,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_found_in_the_bytes() {
        let cases: [(&[u8], &str); 8] = [
            (b"", "application/x-empty"),
            (b"%PDF-1.7\n", "application/pdf"),
            (b"PK\x03\x04\x14\x00\x00\x00", "application/zip"),
            (b"<!DOCTYPE html><p>", "text/html"),
            ("Über\tuns\n".as_bytes(), "text/plain"),
            (b"\xff\xfeh\x00i\x00", "text/plain"),
            (b"\x00\x01\x02\x03", "application/octet-stream"),
            (b"\x89PNG\r\n\x1a\n", "image/png"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(media_type(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn patterns() {
        let allowed = ["text/*".to_owned(), "application/pdf".to_owned()];
        assert!(is_allowed("text/html", &allowed) && is_allowed("application/pdf", &allowed));
        assert!(!is_allowed("application/pdfx", &allowed) && !is_allowed("image/png", &allowed));
        assert!(is_allowed("image/png", &["*".to_owned()]));
    }
}
