//! Where sentences end.

use crate::facts::months::month;

/// Shortened words whose dot ends no sentence, in lowercase: English, German, French, Spanish.
const SHORTENED: [&str; 42] = [
    "mr", "mrs", "ms", "dr", "prof", "st", "vs", "e.g", "i.e", "cf", "fig", "no", "vol", "approx", "inc", "ltd", "jr",
    "nr", "z.b", "d.h", "u.a", "bzw", "ca", "evtl", "ggf", "usw", "vgl", "str", "hr", "fr", "abs", "art", "bd", "p.ex",
    "mme", "sr", "sra", "ud", "uds", "p.ej", "pág", "núm",
];

/// The sentences of a text in normal form: what ends with `.`, `!`, `?`, `…` or `。！？` before white space or the end of a paragraph.
/// Headings and entries of lists, which end with none of them, are no sentences.
pub(super) fn of(text: &str) -> Vec<&str> {
    text.split("\n\n").flat_map(in_paragraph).collect()
}

fn in_paragraph(paragraph: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut start = 0;
    for (place, c) in paragraph.char_indices() {
        let end = place + c.len_utf8();
        if is_end(c) && ends(paragraph, start, place, end) {
            let end = end + closing(paragraph.get(end..).unwrap_or_default());
            let sentence = paragraph.get(start..end).unwrap_or_default().trim();
            if sentence.chars().any(char::is_alphabetic) {
                sentences.push(sentence);
            }
            start = end;
        }
    }
    sentences
}

fn is_end(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '…' | '。' | '！' | '？')
}

/// Quotes and brackets that close after the sign belong to the sentence.
fn closing(after: &str) -> usize {
    after.len() - after.trim_start_matches(['"', '\'', '”', '’', '»', '“', ')', ']']).len()
}

fn ends(paragraph: &str, start: usize, place: usize, end: usize) -> bool {
    let after = paragraph.get(end..).unwrap_or_default();
    let after = after.get(closing(after)..).unwrap_or_default();
    if paragraph.get(place..end).is_some_and(|sign| matches!(sign, "。" | "！" | "？")) {
        return true;
    }
    let mut next = after.chars();
    match next.next() {
        None => return true,
        Some(c) if !c.is_whitespace() => return false,
        Some(_) => (),
    }
    if next.find(|c| !c.is_whitespace()).is_some_and(char::is_lowercase) {
        return false;
    }
    !paragraph.get(place..).is_some_and(|rest| rest.starts_with('.'))
        || !is_shortened(paragraph.get(start..place).unwrap_or_default(), after)
}

/// Whether the dot belongs to the word before it: a known one, an initial, or a day (`12. März`). A letter after a figure is no initial but
/// a unit or a side (`5° W.`).
fn is_shortened(before: &str, after: &str) -> bool {
    let mut words = before.rsplit(|c: char| c.is_whitespace() || c == '(');
    let word = words.next().unwrap_or_default();
    let figure = words.next().is_some_and(|before| before.contains(|c: char| c.is_ascii_digit()));
    let mut characters = word.chars();
    let initial = !figure && matches!((characters.next(), characters.next()), (Some(c), None) if c.is_uppercase());
    let digits = word.len() <= 2 && !word.is_empty() && word.chars().all(|c| c.is_ascii_digit());
    let day = digits && after.split_whitespace().next().and_then(month).is_some();
    initial || day || SHORTENED.contains(&word.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::of;

    #[track_caller]
    fn gives(text: &str, expected: &[&str]) {
        assert_eq!(of(text), expected);
    }

    #[test]
    fn sentences_end_where_people_end_them() {
        gives("One. Two! \"Three?\" Four", &["One.", "Two!", "\"Three?\""]);
        gives(
            "Dr. A. Smith paid 3.50 on 12. March. Then he left.",
            &["Dr. A. Smith paid 3.50 on 12. March.", "Then he left."],
        );
        gives("Heading\n\nA line\nand its end. Next", &["A line\nand its end."]);
        gives(
            "It lies at 5° W. We know it. None is over 90. So it is.",
            &["It lies at 5° W.", "We know it.", "None is over 90.", "So it is."],
        );
        gives("一。二！", &["一。", "二！"]);
        gives("... . 1. 1.1. So it begins.", &["So it begins."]);
    }
}
