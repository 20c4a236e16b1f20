//! Instants in answers: RFC 3339 in UTC, as everywhere in the API. They are milliseconds since 1970 inside.

use serde::{Deserialize, Deserializer, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// `2026-11-21T03:00:00.123Z`; one that has no such form is written as its number.
pub(crate) fn serialize<S: Serializer>(ms: &i64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&text(*ms))
}

/// What [`serialize`] wrote.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    let text = String::deserialize(from)?;
    parse(&text).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no instant")))
}

/// The same; `null` for 0, which is never.
pub(crate) mod if_ever {
    use super::{Deserialize, Deserializer, Serializer, parse};

    pub(crate) fn serialize<S: Serializer>(ms: &i64, to: S) -> Result<S::Ok, S::Error> {
        if *ms == 0 { to.serialize_none() } else { super::serialize(ms, to) }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
        let Some(text) = Option::<String>::deserialize(from)? else { return Ok(0) };
        parse(&text).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no instant")))
    }
}

fn text(ms: i64) -> String {
    let instant = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok();
    instant.and_then(|instant| instant.format(&Rfc3339).ok()).unwrap_or_else(|| ms.to_string())
}

fn parse(text: &str) -> Option<i64> {
    let instant = || OffsetDateTime::parse(text, &Rfc3339).ok();
    let ms = || i64::try_from(instant()?.unix_timestamp_nanos().div_euclid(1_000_000)).ok();
    text.parse().ok().or_else(ms)
}

#[cfg(test)]
mod tests {
    use super::{parse, text};

    #[test]
    fn an_instant_is_text_and_comes_back() {
        assert_eq!(text(1_795_302_450_484), "2026-11-21T23:07:30.484Z");
        assert_eq!(text(0), "1970-01-01T00:00:00Z");
        assert_eq!(text(i64::MAX), i64::MAX.to_string());
        for ms in [0, 1, 1_795_302_450_484, -1, i64::MAX] {
            assert_eq!(parse(&text(ms)), Some(ms));
        }
    }
}
