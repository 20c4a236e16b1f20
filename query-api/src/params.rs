//! Query parameters, read strictly: an unknown or repeated one is refused, since a misspelt filter that is ignored answers
//! another question than the one that was put.

use tidemark_schemas::near;
use tidemark_views::Windowing;

use crate::instant::{self, HOUR_MS};
use crate::problem::Problem;
use crate::range::{self, HOURS, Range};

/// The longest value of a key field, in bytes; the gateway takes no longer one.
const KEY_BYTES_MAX: usize = 256;

/// The parameters of a query, by name.
#[derive(Debug)]
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
}

impl Params {
    /// Splits a raw query string; every name must be one of `known`.
    pub(crate) fn parse<K: AsRef<str>>(raw: Option<&str>, known: &[K]) -> Result<Self, Problem> {
        let mut pairs: Vec<(String, String)> = vec![];
        for (name, value) in form_urlencoded::parse(raw.unwrap_or_default().as_bytes()) {
            if !known.iter().any(|k| k.as_ref() == name) {
                return Err(unknown(&name, known));
            }
            if pairs.iter().any(|(n, _)| *n == name) {
                return Err(Problem::parameter(&name, format!("`{name}` is given twice"), "give it once"));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self { pairs })
    }

    /// All of a raw query string, known or not; the first of each name.
    pub(crate) fn loose(raw: Option<&str>) -> Self {
        Self { pairs: form_urlencoded::parse(raw.unwrap_or_default().as_bytes()).into_owned().collect() }
    }

    /// Hash of what a question is about: of all parameters but those of `besides`, whatever their order.
    pub(crate) fn seed(&self, about: &str, besides: &[&str]) -> u64 {
        let mut pairs: Vec<_> = self.pairs.iter().filter(|(name, _)| !besides.contains(&name.as_str())).collect();
        pairs.sort();
        xxhash_rust::xxh3::xxh3_64(format!("{about} {pairs:?}").as_bytes())
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
    pub(crate) fn hours(&self, now: i64) -> Result<Range, Problem> {
        Ok(self.range(HOURS, now)?.unwrap_or(Range::hour(instant::hour_start(now))))
    }

    /// The windows asked for: `window`, or `hour` where there is one, or those that start in `[from, to)`; `None` if no time is
    /// given. `to` is the end of the current window unless given.
    pub(crate) fn range(&self, cut: Windowing, now: i64) -> Result<Option<Range>, Problem> {
        let (from, to) = (self.instant("from")?, self.instant("to")?);
        let window = self.instant("window")?.map(|start| range::window(cut, start)).transpose()?;
        let hour = self.get("hour").map(hour_number).transpose()?.map(Range::hour);
        match (window, hour, from, to) {
            (None, None, None, None) => Ok(None),
            (None, Some(one), None, None) | (Some(one), None, None, None) => Ok(Some(one)),
            (Some(_), Some(_), _, _) => {
                Err(Problem::parameter("window", "`window` together with `hour`", "give one of them"))
            }
            (Some(_), _, _, _) => {
                Err(Problem::parameter("window", "`window` together with `from` or `to`", "give one of them"))
            }
            (_, Some(_), _, _) => {
                Err(Problem::parameter("hour", "`hour` together with `from` or `to`", "give one of them"))
            }
            (None, None, None, Some(_)) => Err(Problem::parameter("from", "`to` without `from`", "add `from`")),
            (None, None, Some(from), to) => range::between(cut, from, to.unwrap_or(range::end_of(cut, now))).map(Some),
        }
    }

    /// A version's number.
    pub(crate) fn version(&self) -> Result<Option<u32>, Problem> {
        let Some(text) = self.get("version") else { return Ok(None) };
        let wrong = || Problem::parameter("version", format!("`version` is `{text}`"), "a version's number, such as 2");
        text.parse().map(Some).map_err(|_| wrong())
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

fn unknown<K: AsRef<str>>(name: &str, known: &[K]) -> Problem {
    let fix = match near::near(name, known.iter().map(AsRef::as_ref)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "this path takes no parameters".to_owned(),
        None => format!("this path takes {}", known.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")),
    };
    Problem::parameter(name, format!("there is no parameter `{name}`"), fix)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["hour", "from", "to", "src_app", "limit"];

    #[test]
    fn a_misspelt_name_is_met_with_the_right_one() {
        let fix = |raw| Params::parse(Some(raw), KNOWN).unwrap_err().fix.unwrap().into_string();
        assert_eq!(fix("src_ap=x"), "did you mean `src_app`?");
        assert_eq!(fix("huor=x"), "did you mean `hour`?");
        assert_eq!(fix("colour=x"), "this path takes hour, from, to, src_app, limit");
    }
}
