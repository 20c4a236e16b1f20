//! Keywords: the words that a text uses most, without those that every text uses.

use std::collections::HashMap;

use super::stop_words::is_stop_word;
use crate::facts::amounts::is_currency;

/// The most keywords.
const KEYWORDS_MAX: usize = 20;
/// Characters of a keyword. Longer ones are no words, but text of a script that does not part them.
const LENGTH: std::ops::RangeInclusive<usize> = 3..=40;

/// Words in lowercase and how often they occur, the most frequent first, equal ones by alphabet. Addresses, URLs, numbers and codes of
/// currencies are none.
pub(super) fn of(text: &str, language: &str) -> Vec<(String, usize)> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for piece in text.split_whitespace().filter(|piece| !piece.contains("://") && !piece.contains('@')) {
        for word in piece.split(|c: char| !c.is_alphanumeric() && !is_mark(c)).filter(|word| is_keyword(word)) {
            let word = word.to_lowercase();
            if !is_stop_word(&word, language) {
                *counts.entry(word).or_default() += 1;
            }
        }
    }
    let mut words: Vec<_> = counts.into_iter().collect();
    words.sort_by(|(a, of_a), (b, of_b)| of_b.cmp(of_a).then_with(|| a.cmp(b)));
    words.truncate(KEYWORDS_MAX);
    words
}

fn is_keyword(word: &str) -> bool {
    LENGTH.contains(&word.chars().count())
        && word.chars().any(char::is_alphabetic)
        && !word.starts_with(|c: char| c.is_ascii_digit())
        && !is_currency(word)
}

/// Marks that combine with a letter, of scripts that NFC cannot compose.
fn is_mark(c: char) -> bool {
    unicode_normalization::char::is_combining_mark(c)
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn the_most_frequent_words_first_then_by_alphabet() {
        let words =
            of("The tide and the Tide; harbour, boat. boat@example.org http://boat.example 2024 3rd a 5 EUR", "eng");
        assert_eq!(words, [("tide".to_owned(), 2), ("boat".to_owned(), 1), ("harbour".to_owned(), 1)]);
    }

    #[test]
    fn stop_words_are_those_of_the_language() {
        assert_eq!(of("die Flut und der Hafen", "deu").len(), 2);
        assert_eq!(of("la marée et les bateaux", "fra").len(), 2);
        assert_eq!(of("los barcos del puerto", "spa").len(), 2);
        assert_eq!(of("los barcos del puerto", "eng").len(), 4);
        assert_eq!(of("the die les los tide", "und").len(), 1);
    }

    #[test]
    fn at_most_twenty() {
        let text: String = ('a'..='z').map(|c| format!("{c}{c}{c} ")).collect();
        assert_eq!(of(&text, "eng").len(), 20);
    }
}
