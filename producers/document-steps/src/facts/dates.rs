//! Dates, as ISO dates: written so, with the month's name (`12 March 2024`, `March 12, 2024`, `12. März 2024`, `12 de marzo de 2024`), or in
//! figures with the day first (`12.03.2024`, `12/03/2024`). Which of 12/03 is the month is told by the figures or the language; where
//! neither tells (English uses both), the date is not told at all rather than wrongly.

use std::ops::Range;

use regex::Captures;

use super::months::{MONTHS, month, names};
use super::{FOUND_MAX, Fact, LOOK_BYTES_MAX, are_digits, has, in_order, pattern, stands_alone};
use crate::fault::Fault;

/// Years that documents speak of.
const YEARS: Range<u32> = 1000..3000;

/// Reads what a pattern has found.
type Read<'a> = dyn Fn(&Captures<'_>) -> Option<Date> + 'a;

pub(super) fn find(text: &str, language: &str) -> Result<Vec<Fact>, Fault> {
    let names = names();
    let by_name = text.len() > LOOK_BYTES_MAX || names_a_month(&text.to_lowercase());
    let iso = has(text, |four: &[u8; 4]| matches!(four, [b'-', day @ .., b'-'] if are_digits(day)));
    let figures = has(text, |five: &[u8; 5]| matches!(five, [b'.' | b'/' | b'-', year @ ..] if are_digits(year)));
    let patterns: [(bool, String, &Read<'_>); 4] = [
        (
            iso,
            r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?".to_owned(),
            &|found| Some(Date { year: figure(found, 1)?, month: figure(found, 2)?, day: figure(found, 3)? }),
        ),
        (
            by_name,
            format!(
                r"(?i)([0-9]{{1,2}})(?:\.|º|st|nd|rd|th|er)?[ \n](?:of |de )?({names})\.?,?[ \n](?:de |del )?([0-9]{{4}})"
            ),
            &|found| {
                Some(Date { year: figure(found, 3)?, month: month(found.get(2)?.as_str())?, day: figure(found, 1)? })
            },
        ),
        (by_name, format!(r"(?i)\b({names})\.?[ \n]([0-9]{{1,2}})(?:st|nd|rd|th)?,?[ \n]([0-9]{{4}})"), &|found| {
            Some(Date { year: figure(found, 3)?, month: month(found.get(1)?.as_str())?, day: figure(found, 2)? })
        }),
        (figures, r"([0-9]{1,2})([./-])([0-9]{1,2})([./-])([0-9]{4})".to_owned(), &|found| in_figures(found, language)),
    ];
    let mut facts = Vec::new();
    // To make a pattern takes longer than to read a page with it.
    for (_, source, read) in patterns.into_iter().filter(|(is_needed, ..)| *is_needed) {
        let found = pattern(&source)?;
        let dates = found.captures_iter(text).filter_map(|found| fact(text, &found, read));
        facts.extend(dates.take(FOUND_MAX + 1));
    }
    Ok(in_order(facts))
}

/// Whether a figure follows the name of a month, as in both forms with names.
fn names_a_month(lower: &str) -> bool {
    let figure_follows = |(at, name): (usize, &str)| {
        let after = lower.get(at + name.len()..).unwrap_or_default().trim_start_matches(['.', ',']);
        let Some(after) = after.strip_prefix([' ', '\n']) else { return false };
        let after = ["de ", "del "].iter().find_map(|word| after.strip_prefix(word)).unwrap_or(after);
        after.starts_with(|c: char| c.is_ascii_digit())
    };
    MONTHS.iter().copied().flatten().any(|name| lower.match_indices(name).any(figure_follows))
}

struct Date {
    year: u32,
    month: u32,
    day: u32,
}

impl Date {
    fn exists(&self) -> bool {
        let leap = self.year.is_multiple_of(4) && (!self.year.is_multiple_of(100) || self.year.is_multiple_of(400));
        let days = match self.month {
            2 => 28 + u32::from(leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => 0,
        };
        YEARS.contains(&self.year) && (1..=days).contains(&self.day)
    }
}

fn fact(text: &str, found: &Captures<'_>, read: &Read<'_>) -> Option<Fact> {
    let at = found.get(0)?.range();
    let date = read(found).filter(|date| date.exists() && stands_alone(text, &at))?;
    let iso = format!("{:04}-{:02}-{:02}", date.year, date.month, date.day);
    Some(Fact { at, fields: vec![("date", iso.into())] })
}

fn in_figures(found: &Captures<'_>, language: &str) -> Option<Date> {
    let (sign, other) = (found.get(2)?.as_str(), found.get(4)?.as_str());
    let (first, second, year) = (figure(found, 1)?, figure(found, 3)?, figure(found, 5)?);
    if sign != other {
        return None;
    }
    // Nobody writes the month first before a dot.
    let day_first =
        sign == "." || second <= 12 && first > 12 || matches!(language, "deu" | "fra" | "spa" | "ita" | "por" | "nld");
    match day_first {
        true => Some(Date { year, month: second, day: first }),
        false if second > 12 || first == second => Some(Date { year, month: first, day: second }),
        false => None,
    }
}

fn figure(found: &Captures<'_>, group: usize) -> Option<u32> {
    found.get(group)?.as_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::find;

    #[track_caller]
    fn gives(text: &str, language: &str, expected: &[&str]) {
        let facts = find(text, language).unwrap();
        let dates: Vec<_> = facts.iter().map(|fact| fact.fields[0].1.as_str().unwrap()).collect();
        assert_eq!(dates, expected, "{text}");
    }

    #[test]
    fn dates_as_people_write_them() {
        gives("on 2024-03-12 and 2024-03-13T10:15:00Z", "eng", &["2024-03-12", "2024-03-13"]);
        gives(
            "12 March 2024, March 12, 2024, 3rd of May 1999, Sept. 4, 2001",
            "eng",
            &["2024-03-12", "2024-03-12", "1999-05-03", "2001-09-04"],
        );
        gives("am 1. Februar 2023, 12. März 2024 und 05.11.1998", "deu", &["2023-02-01", "2024-03-12", "1998-11-05"]);
        gives(
            "le 1er janvier 2020 et le 14 juillet 1789, 03/04/2021",
            "fra",
            &["2020-01-01", "1789-07-14", "2021-04-03"],
        );
        gives("el 12 de marzo de 2024", "spa", &["2024-03-12"]);
    }

    #[test]
    fn a_date_that_could_be_two_is_told_only_where_the_language_tells() {
        gives("03/04/2021", "eng", &[]);
        gives("03/04/2021", "deu", &["2021-04-03"]);
        gives("12/31/2021 and 31/12/2021 and 05/05/2021", "eng", &["2021-12-31", "2021-12-31", "2021-05-05"]);
    }

    #[test]
    fn what_is_no_date_is_none() {
        gives(
            "2024-13-01 30 February 2024 2023-02-29 version 1.2.2024.5 IP 10.1.2.2024 12/2024 99/99/2024",
            "eng",
            &[],
        );
        gives("x2024-01-02 2024-01-023", "eng", &[]);
    }
}
