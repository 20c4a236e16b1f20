//! Texts that come from outside, made fit to be shown in a mail.

/// Characters of a value that stands in a line; what is longer is cut.
const LINE_CHARS_MAX: usize = 300;
/// Lines of a quoted block, and characters of each.
const QUOTED_LINES_MAX: usize = 60;

/// Whether a character could break a line, or show other text than is there: controls, line and paragraph separators, and the
/// marks that turn the direction of text (Unicode TR 36, 3.1).
fn is_unfit(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// One line of at most 300 characters: each unfit character becomes a space.
pub(crate) fn one_line(text: &str) -> String {
    let mut line: String = text.chars().take(LINE_CHARS_MAX).map(|c| if is_unfit(c) { ' ' } else { c }).collect();
    if text.chars().nth(LINE_CHARS_MAX).is_some() {
        line.push('…');
    }
    line
}

/// A block of lines, each marked as quoted, so that nothing in it reads like a part of the mail itself.
pub(crate) fn quoted(text: &str) -> String {
    let mut lines: Vec<String> =
        text.trim_end().lines().take(QUOTED_LINES_MAX).map(|line| format!("> {}", one_line(line))).collect();
    if text.trim_end().lines().count() > QUOTED_LINES_MAX {
        lines.push("> …".to_owned());
    }
    lines.join("\n")
}

/// Bytes for people, in powers of 1,000: `0 bytes`, `1 byte`, `12.3 kB`.
pub(crate) fn size(bytes: i64) -> String {
    let (mut value, mut unit) = (bytes as f64, "bytes");
    for larger in ["kB", "MB", "GB", "TB"] {
        // Not 1,000: 999.96 would be shown as 1000.0.
        if value < 999.95 {
            break;
        }
        (value, unit) = (value / 1_000.0, larger);
    }
    match (bytes, unit) {
        (1, _) => "1 byte".to_owned(),
        (_, "bytes") => format!("{bytes} bytes"),
        _ => format!("{value:.1} {unit}"),
    }
}

/// An ISO 8601 time in UTC for people, `2026-11-21 22:30 UTC`; any other text stays as it is.
pub(crate) fn time(iso: &str) -> String {
    let is_utc = iso.is_ascii() && iso.ends_with('Z') && iso.as_bytes().get(10) == Some(&b'T');
    match (iso.get(..10), iso.get(11..16)) {
        (Some(day), Some(minute)) if is_utc => format!("{day} {minute} UTC"),
        _ => iso.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{one_line, quoted, size, time};

    #[test]
    fn a_line_stays_one() {
        assert_eq!(one_line("a\r\nBcc: x\u{2028}b\u{202e}c\0"), "a  Bcc: x b c ");
        assert_eq!(one_line(&"ä".repeat(400)).chars().count(), 301);
    }

    #[test]
    fn a_block_is_marked_line_by_line() {
        assert_eq!(quoted("one\n\rtwo\n"), "> one\n>  two");
        assert_eq!(quoted(&"x\n".repeat(100)).lines().count(), 61);
        assert_eq!(quoted(""), "");
    }

    #[test]
    fn sizes_and_times() {
        let sizes = [0, 1, 999, 1_000, 999_949, 999_950, 1_234_567, 7_000_000_000_000].map(size);
        assert_eq!(sizes, ["0 bytes", "1 byte", "999 bytes", "1.0 kB", "999.9 kB", "1.0 MB", "1.2 MB", "7.0 TB"]);
        assert_eq!(time("2026-11-21T22:30:42.123Z"), "2026-11-21 22:30 UTC");
        assert_eq!((time("yesterday"), time("")), ("yesterday".to_owned(), String::new()));
    }
}
