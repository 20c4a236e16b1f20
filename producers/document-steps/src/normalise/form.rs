//! The normal form of a text: Unicode NFC; `\n` ends lines, at most one of them empty; one space between words and none at the ends of a
//! line; no control and no formatting characters, no soft hyphens; words that were divided at the end of a line are whole; typographic
//! ligatures are letters.

use unicode_normalization::UnicodeNormalization;

/// A text in normal form, and what was changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Normal {
    pub(super) text: String,
    /// Control and formatting characters.
    pub(super) controls: usize,
    pub(super) soft_hyphens: usize,
    /// Words put together again.
    pub(super) joined: usize,
}

pub(super) fn normal(text: &str) -> Normal {
    let mut normal = Normal::default();
    let mut clean = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\r' => {
                characters.next_if_eq(&'\n');
                clean.push('\n');
            }
            // A page ends a paragraph.
            '\u{c}' => clean.push_str("\n\n"),
            '\u{b}' | '\u{85}' | '\u{2028}' => clean.push('\n'),
            '\u{2029}' => clean.push_str("\n\n"),
            '\u{ad}' => {
                normal.soft_hyphens += 1;
                normal.joined += usize::from(skip_line_end(&mut characters));
            }
            '\n' | '\t' => clean.push(c),
            c if c.is_control() || is_formatting(c) => normal.controls += 1,
            c => push_letters(&mut clean, c),
        }
    }
    let composed: String = clean.nfc().collect();
    normal.text = join(&spaced(&composed), &mut normal.joined);
    normal
}

/// A soft hyphen at the end of a line divides a word.
fn skip_line_end(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> bool {
    let cr = characters.next_if_eq(&'\r').is_some();
    characters.next_if_eq(&'\n').is_some() || cr
}

/// Characters that steer how others are shown and have no meaning of their own. Joiners (U+200C, U+200D) have one in many scripts.
fn is_formatting(c: char) -> bool {
    matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// NFC keeps ligatures; whoever searches does not.
fn push_letters(text: &mut String, c: char) {
    match c {
        '\u{fb00}' => text.push_str("ff"),
        '\u{fb01}' => text.push_str("fi"),
        '\u{fb02}' => text.push_str("fl"),
        '\u{fb03}' => text.push_str("ffi"),
        '\u{fb04}' => text.push_str("ffl"),
        '\u{fb05}' | '\u{fb06}' => text.push_str("st"),
        c => text.push(c),
    }
}

/// White space as words and lines need it.
fn spaced(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len());
    let mut empty = 0;
    for line in text.split('\n') {
        let words = line.split_whitespace();
        let before = spaced.len();
        for word in words {
            match spaced.len() {
                0 => (),
                length if length == before => spaced.push_str(if empty > 0 { "\n\n" } else { "\n" }),
                _ => spaced.push(' '),
            }
            spaced.push_str(word);
        }
        empty = if spaced.len() == before { empty + 1 } else { 0 };
    }
    spaced
}

/// Puts words together that a hyphen divides at the end of a line: a letter, the hyphen, and a small letter in the line after.
fn join(text: &str, joined: &mut usize) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut lines = text.split('\n').peekable();
    while let Some(line) = lines.next() {
        match (divided(line), lines.peek()) {
            (Some(start), Some(next)) if next.starts_with(char::is_lowercase) => {
                whole.push_str(start);
                *joined += 1;
            }
            (_, Some(_)) => {
                whole.push_str(line);
                whole.push('\n');
            }
            (_, None) => whole.push_str(line),
        }
    }
    whole
}

/// The line without the hyphen that divides its last word. A word that holds another hyphen keeps this one too: `state-of-` is no division.
fn divided(line: &str) -> Option<&str> {
    let start = line.strip_suffix(['-', '\u{2010}'])?;
    let word = start.rsplit(' ').next().unwrap_or(start);
    (word.chars().count() > 1 && word.chars().all(char::is_alphabetic)).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::normal;

    #[track_caller]
    fn gives(text: &str, expected: &str) {
        assert_eq!(normal(text).text, expected);
    }

    #[test]
    fn line_ends_are_one_character() {
        gives("a\r\nb\rc\nd\u{2028}e", "a\nb\nc\nd\ne");
    }

    #[test]
    fn white_space_is_one_space_and_one_empty_line() {
        gives("  a \t\u{a0} b  \n \n\n\n c\n\n", "a b\n\nc");
        gives("one\u{c}two", "one\n\ntwo");
    }

    #[test]
    fn divided_words_are_whole() {
        gives("exam-\nple", "example");
        gives("ex\u{ad}am\u{ad}\nple", "example");
        gives("state-of-\nthe-art", "state-of-\nthe-art");
        gives("Nord-\nSüd", "Nord-\nSüd");
        gives("pages 3-\nand", "pages 3-\nand");
        assert_eq!(normal("exam-\nple and sam\u{ad}\r\nple").joined, 2);
    }

    #[test]
    fn letters_are_composed_and_ligatures_taken_apart() {
        gives("Zu\u{308}rich, \u{fb01}nd, o\u{fb03}ce", "Zürich, find, office");
    }

    #[test]
    fn what_is_not_seen_is_removed_and_counted() {
        let normal = normal("a\u{7}b\u{200b}c\u{202e}d");
        assert_eq!((normal.text.as_str(), normal.controls), ("abcd", 3));
    }
}
