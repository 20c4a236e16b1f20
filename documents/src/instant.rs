//! Instants in answers: RFC 3339 in UTC, as everywhere in the API. They are milliseconds since 1970 inside.

use serde::Serializer;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// `2026-11-21T03:00:00.123Z`; one that has no such form is written as its number.
pub(crate) fn rfc3339<S: Serializer>(ms: &i64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&text(*ms))
}

/// The same; `null` for 0, which is never.
pub(crate) fn if_ever<S: Serializer>(ms: &i64, to: S) -> Result<S::Ok, S::Error> {
    if *ms == 0 { to.serialize_none() } else { rfc3339(ms, to) }
}

fn text(ms: i64) -> String {
    let instant = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok();
    instant.and_then(|instant| instant.format(&Rfc3339).ok()).unwrap_or_else(|| ms.to_string())
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_instant_is_text() {
        assert_eq!(super::text(1_795_302_450_484), "2026-11-21T23:07:30.484Z");
        assert_eq!(super::text(0), "1970-01-01T00:00:00Z");
        assert_eq!(super::text(i64::MAX), i64::MAX.to_string());
    }
}
