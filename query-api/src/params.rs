//! Query parameters, read strictly: an unknown or repeated one is refused, since a misspelt filter that is ignored answers
//! another question than the one that was put.

use crate::instant::{self, HOUR_MS};
use crate::problem::Problem;

/// The longest range of one query: 31 days of hours.
pub const RANGE_HOURS_MAX: i64 = 31 * 24;

/// The longest value of a key field, in bytes; the gateway takes no longer one.
const KEY_BYTES_MAX: usize = 256;

/// The parameters of a query, by name.
#[derive(Debug)]
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
}

impl Params {
    /// Splits a raw query string; every name must be one of `known`.
    pub(crate) fn parse(raw: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let mut pairs: Vec<(String, String)> = vec![];
        for (name, value) in form_urlencoded::parse(raw.unwrap_or_default().as_bytes()) {
            if !known.contains(&name.as_ref()) {
                return Err(unknown(&name, known));
            }
            if pairs.iter().any(|(n, _)| *n == name) {
                return Err(Problem::parameter(&name, format!("`{name}` is given twice"), "give it once"));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self { pairs })
    }

    /// The value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// A page size, 1 to `max`.
    pub(crate) fn limit(&self, max: usize) -> Result<Option<usize>, Problem> {
        let Some(text) = self.get("limit") else { return Ok(None) };
        match text.parse() {
            Ok(n) if (1..=max).contains(&n) => Ok(Some(n)),
            _ => Err(Problem::parameter(
                "limit",
                format!("`limit` is `{text}`"),
                format!("a whole number from 1 to {max}"),
            )),
        }
    }

    /// An exact value of a key field.
    pub(crate) fn key(&self, name: &str) -> Result<Option<String>, Problem> {
        match self.get(name) {
            Some(text) if text.is_empty() || text.len() > KEY_BYTES_MAX => Err(Problem::parameter(
                name,
                format!("`{name}` has {} bytes", text.len()),
                format!("1 to {KEY_BYTES_MAX} bytes; leave the parameter out for all values"),
            )),
            other => Ok(other.map(str::to_owned)),
        }
    }

    /// An instant.
    pub(crate) fn instant(&self, name: &str) -> Result<Option<i64>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let parsed = instant::parse(text).ok_or_else(|| {
            Problem::parameter(
                name,
                format!("`{name}` is `{text}`"),
                "RFC 3339 such as 2026-11-21T03:00:00Z, or milliseconds since 1970",
            )
        })?;
        Ok(Some(parsed))
    }

    /// The hours asked for: `hour`, or those that start in `[from, to)`, or the current one. `to` is the end of the current
    /// hour unless given.
    pub(crate) fn range(&self, now: i64) -> Result<Range, Problem> {
        let (from, to) = (self.instant("from")?, self.instant("to")?);
        match (self.get("hour"), from, to) {
            (None, None, None) => Ok(Range::hour(instant::hour_start(now))),
            (Some(text), None, None) => hour_number(text).map(Range::hour),
            (Some(_), _, _) => {
                Err(Problem::parameter("hour", "`hour` together with `from` or `to`", "give one of them"))
            }
            (None, None, Some(_)) => Err(Problem::parameter("from", "`to` without `from`", "add `from`")),
            (None, Some(from), to) => between(from, to.unwrap_or(instant::hour_start(now) + HOUR_MS)),
        }
    }
}

/// Whole hours, half-open `[from, to)`, milliseconds since the epoch; at least one, at most [`RANGE_HOURS_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Range {
    /// Start of the first hour.
    pub(crate) from: i64,
    /// End of the last hour.
    pub(crate) to: i64,
    /// Asked for as one hour, not as a range.
    pub(crate) single: bool,
}

impl Range {
    pub(crate) fn hour(start: i64) -> Self {
        Self { from: start, to: start + HOUR_MS, single: true }
    }

    /// The start of each hour, ascending.
    pub(crate) fn starts(self) -> impl Iterator<Item = i64> {
        (self.from / HOUR_MS..self.to / HOUR_MS).map(|hour| hour * HOUR_MS)
    }
}

fn hour_number(text: &str) -> Result<i64, Problem> {
    match text.parse::<i64>() {
        Ok(hour) if (0..instant::MAX_MS / HOUR_MS).contains(&hour) => Ok(hour * HOUR_MS),
        _ => Err(Problem::parameter(
            "hour",
            format!("`hour` is `{text}`"),
            "whole hours since 1970-01-01T00:00:00Z, that is Unix seconds / 3600",
        )),
    }
}

fn between(from: i64, to: i64) -> Result<Range, Problem> {
    let range = Range { from: instant::next_hour_start(from), to: instant::next_hour_start(to), single: false };
    if range.from >= range.to {
        return Err(Problem::parameter(
            "to",
            "no hour starts in [from, to)",
            "make `to` later than `from` by an hour or more",
        ));
    }
    let hours = (range.to - range.from) / HOUR_MS;
    if hours > RANGE_HOURS_MAX {
        let detail = format!("[from, to) has {hours} hours");
        return Err(Problem::parameter(
            "to",
            detail,
            format!("at most {RANGE_HOURS_MAX} hours, 31 days; ask in parts"),
        ));
    }
    Ok(range)
}

fn unknown(name: &str, known: &[&str]) -> Problem {
    let allowed = |k: &str| if k.len() < 3 { 1 } else { 2.max(k.len() / 3) };
    let near = known.iter().map(|k| (distance(name, k), k)).min().filter(|(d, k)| *d <= allowed(k));
    let fix = match near {
        Some((_, k)) => format!("did you mean `{k}`?"),
        None if known.is_empty() => "this path takes no parameters".to_owned(),
        None => format!("this path takes {}", known.join(", ")),
    };
    Problem::parameter(name, format!("there is no parameter `{name}`"), fix)
}

/// Levenshtein distance in characters, of names cut to 64.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut left = i + 1;
        let mut next = vec![left];
        for (pair, y) in row.windows(2).zip(&b) {
            if let [diagonal, above] = pair {
                left = (diagonal + usize::from(x != *y)).min(above + 1).min(left + 1);
                next.push(left);
            }
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["hour", "from", "to", "src_app", "limit"];

    fn range(raw: &str) -> Result<Range, Problem> {
        Params::parse(Some(raw), KNOWN)?.range(10 * HOUR_MS + 5)
    }

    #[test]
    fn ranges_are_whole_hours() {
        assert_eq!(range("").unwrap(), Range::hour(10 * HOUR_MS));
        assert_eq!(range("hour=3").unwrap(), Range::hour(3 * HOUR_MS));
        let two = range(&format!("from={}&to={}", HOUR_MS - 1, 2 * HOUR_MS + 1)).unwrap();
        assert_eq!(two.starts().collect::<Vec<_>>(), [HOUR_MS, 2 * HOUR_MS]);
        assert_eq!(range("from=0").unwrap().to, 11 * HOUR_MS);
    }

    #[test]
    fn ranges_have_bounds() {
        let month = RANGE_HOURS_MAX * HOUR_MS;
        assert_eq!(range(&format!("from=0&to={month}")).unwrap().starts().count(), 744);
        for bad in [format!("from=0&to={}", month + 1), "from=5&to=6".into(), "from=9&to=2".into(), "to=9".into()] {
            assert_eq!(range(&bad).unwrap_err().status, 400, "{bad}");
        }
    }

    #[test]
    fn a_misspelt_name_is_met_with_the_right_one() {
        let fix = |raw| Params::parse(Some(raw), KNOWN).unwrap_err().fix.unwrap().into_string();
        assert_eq!(fix("src_ap=x"), "did you mean `src_app`?");
        assert_eq!(fix("huor=x"), "did you mean `hour`?", "two edits of a short name");
        assert_eq!(fix("colour=x"), "this path takes hour, from, to, src_app, limit");
    }

    #[test]
    fn distances() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }
}
