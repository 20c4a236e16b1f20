//! Amounts of money: a currency and a decimal, written as text: money is never a float.

use regex::Captures;

use super::numbers::decimal;
use super::{FOUND_MAX, Fact, LOOK_BYTES_MAX, in_order, pattern};
use crate::fault::Fault;

/// Signs and the currency that they stand for (ISO 4217). `$` is several dollars; without more said it is that of the United States, and
/// `¥` is the yen.
const SIGNS: [(&str, &str); 12] = [
    ("US$", "USD"),
    ("A$", "AUD"),
    ("C$", "CAD"),
    ("NZ$", "NZD"),
    ("HK$", "HKD"),
    ("R$", "BRL"),
    ("$", "USD"),
    ("€", "EUR"),
    ("£", "GBP"),
    ("¥", "JPY"),
    ("₹", "INR"),
    ("₱", "PHP"),
];
/// Codes that are read beside a number; others are too often words.
const CODES: &str = "USD|EUR|GBP|CHF|JPY|CNY|AUD|CAD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|INR|BRL|MXN|ZAR|SGD|HKD|KRW|PHP|TRY|ILS|AED|SAR|THB|IDR|MYR";
const WORDS: [(&str, &str); 10] = [
    ("euros", "EUR"),
    ("euro", "EUR"),
    ("dollars", "USD"),
    ("dollar", "USD"),
    ("pounds", "GBP"),
    ("Dollar", "USD"),
    ("Euro", "EUR"),
    ("francs", "CHF"),
    ("Franken", "CHF"),
    ("dólares", "USD"),
];
const NUMBER: &str = r"(?:[0-9]{1,3}(?:[.,'’ ][0-9]{3})+(?:[.,][0-9]{1,4})?|[0-9]{1,15}(?:[.,][0-9]{1,4})?)";

pub(super) fn find(text: &str) -> Result<Vec<Fact>, Fault> {
    let named = || SIGNS.iter().chain(&WORDS).map(|(name, _)| *name).chain(CODES.split('|'));
    if text.len() <= LOOK_BYTES_MAX && !named().any(|name| text.contains(name)) {
        return Ok(Vec::new());
    }
    let signs = SIGNS.map(|(sign, _)| sign.replace('$', r"\$")).join("|");
    let words = WORDS.map(|(word, _)| word).join("|");
    let before = pattern(&format!(r"(-|−)?({signs}|\b(?:{CODES})\b) ?(-|−)?({NUMBER})"))?;
    let after = pattern(&format!(r"(-|−)?\b({NUMBER}) ?({signs}|(?:{CODES})\b|(?:{words})\b)"))?;
    let mut facts: Vec<_> =
        before.captures_iter(text).filter_map(|found| fact(text, &found, [1, 3], 2, 4)).take(FOUND_MAX + 1).collect();
    facts.extend(after.captures_iter(text).filter_map(|found| fact(text, &found, [1, 1], 3, 2)).take(FOUND_MAX + 1));
    Ok(in_order(facts))
}

fn fact(text: &str, found: &Captures<'_>, minus: [usize; 2], currency: usize, number: usize) -> Option<Fact> {
    let at = found.get(0)?.range();
    // `10-20 EUR` is a span, not minus 20.
    let span = text.get(..at.start).unwrap_or_default().ends_with(char::is_alphanumeric);
    let sign = minus.iter().find_map(|group| found.get(*group));
    let minus = sign.is_some() && !span;
    let at = sign.filter(|sign| span && sign.start() == at.start).map_or(at.clone(), |sign| sign.end()..at.end);
    if !ends_there(text, at.start, at.end) {
        return None;
    }
    let amount = decimal(found.get(number)?.as_str())?;
    let amount = if minus { format!("-{amount}") } else { amount };
    Some(Fact { at, fields: vec![("currency", code(found.get(currency)?.as_str()).into()), ("amount", amount.into())] })
}

/// Whether the word is the code of a currency.
pub(crate) fn is_currency(word: &str) -> bool {
    CODES.split('|').any(|code| code == word)
}

fn code(currency: &str) -> String {
    let known = SIGNS.iter().chain(&WORDS).find(|(sign, _)| *sign == currency);
    known.map_or(currency, |(_, code)| code).to_owned()
}

/// Neither a part of a longer number nor of a word.
fn ends_there(text: &str, start: usize, end: usize) -> bool {
    let mut before = text.get(..start).unwrap_or_default().chars().rev();
    let mut after = text.get(end..).unwrap_or_default().chars();
    let goes_on = match (after.next(), after.next()) {
        (Some('.' | ',' | '\'' | '’'), Some(next)) => next.is_ascii_digit(),
        (Some(next), _) => next.is_alphanumeric(),
        (None, _) => false,
    };
    let goes_before = match (before.next(), before.next()) {
        (Some('.' | ',' | '\'' | '’'), Some(next)) => next.is_ascii_digit(),
        (Some(next), _) => next.is_alphanumeric(),
        (None, _) => false,
    };
    !goes_on && !goes_before
}

#[cfg(test)]
mod tests {
    use super::find;

    #[track_caller]
    fn gives(text: &str, expected: &[(&str, &str)]) {
        let facts = find(text).unwrap();
        let amounts: Vec<_> =
            facts.iter().map(|fact| (fact.fields[0].1.as_str().unwrap(), fact.fields[1].1.as_str().unwrap())).collect();
        assert_eq!(amounts, expected, "{text}");
    }

    #[test]
    fn amounts_as_people_write_them() {
        gives("$1,234.50, US$ 20 and EUR 3.000,-", &[("USD", "1234.50"), ("USD", "20"), ("EUR", "3000")]);
        gives("1.234,56 €, 12 EUR, 99 euros", &[("EUR", "1234.56"), ("EUR", "12"), ("EUR", "99")]);
        gives(
            "CHF 1'250.00; £5; ¥1000; -$3.20",
            &[("CHF", "1250.00"), ("GBP", "5"), ("JPY", "1000"), ("USD", "-3.20")],
        );
        gives("1 234,50 €, in 2020 300 € and 10-20 EUR", &[("EUR", "1234.50"), ("EUR", "300"), ("EUR", "20")]);
    }

    #[test]
    fn what_is_no_amount_is_none() {
        gives("5 apples, room 12, USDX 5, 12 EUROPE, $1.2.3.4, HK$", &[]);
    }

    #[test]
    fn no_digit_is_lost_to_a_float() {
        gives("USD 123456789012345.6789", &[("USD", "123456789012345.6789")]);
    }
}
