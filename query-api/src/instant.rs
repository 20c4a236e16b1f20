//! Instants in text: RFC 3339 in UTC, and hours since the Unix epoch.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Milliseconds in an hour, the length of every window here.
pub const HOUR_MS: i64 = 3_600_000;

/// The first millisecond that RFC 3339 has no year for; instants in queries are 0 to one below it.
pub const MAX_MS: i64 = 253_402_300_800_000;

/// Milliseconds since the epoch as RFC 3339, UTC: `2026-11-21T03:00:00Z`, with `.123` only where it is not a whole second.
/// An instant that has no such form (before year 0, after 9999) is written as its number.
pub fn rfc3339(ms: i64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
        .ok()
        .and_then(|t| t.format(&Rfc3339).ok())
        .unwrap_or_else(|| ms.to_string())
}

/// Milliseconds since the epoch from either form: RFC 3339 with any offset, or the number itself. `None` if it is neither or
/// lies outside 1970 to 9999. A `+` that a query string turned into a space is read as a `+`.
pub fn parse(text: &str) -> Option<i64> {
    let ms = match text.parse::<i64>() {
        Ok(ms) => ms,
        Err(_) => {
            let instant = OffsetDateTime::parse(&text.replace(' ', "+"), &Rfc3339).ok()?;
            i64::try_from(instant.unix_timestamp_nanos().div_euclid(1_000_000)).ok()?
        }
    };
    (0..MAX_MS).contains(&ms).then_some(ms)
}

/// The start of the hour that holds `ms`.
pub fn hour_start(ms: i64) -> i64 {
    ms - ms.rem_euclid(HOUR_MS)
}

/// The first hour start that is not before `ms`.
pub fn next_hour_start(ms: i64) -> i64 {
    hour_start(ms.saturating_add(HOUR_MS - 1))
}

/// A length of time in words: `1 h 30 min`, `200 ms`.
pub fn period(ms: i64) -> String {
    let mut left = ms;
    let mut parts = vec![];
    for (size, unit) in [(86_400_000, "d"), (HOUR_MS, "h"), (60_000, "min"), (1_000, "s"), (1, "ms")] {
        if left >= size {
            parts.push(format!("{} {unit}", left / size));
            left %= size;
        }
    }
    if parts.is_empty() { "0 ms".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_read_and_write() {
        assert_eq!(rfc3339(1_795_230_000_000), "2026-11-21T03:00:00Z");
        assert_eq!(rfc3339(1_795_230_000_120), "2026-11-21T03:00:00.12Z");
        assert_eq!(parse("2026-11-21T04:00:00+01:00"), Some(1_795_230_000_000));
        assert_eq!(parse("2026-11-21T04:00:00 01:00"), Some(1_795_230_000_000));
        assert_eq!(parse("1795230000000"), Some(1_795_230_000_000));
        assert_eq!(parse("-1"), None);
        assert_eq!(parse("1969-12-31T23:59:59Z"), None);
        assert_eq!(parse("yesterday"), None);
        assert_eq!(parse(&MAX_MS.to_string()), None);
    }

    #[test]
    fn periods_are_said_in_words() {
        assert_eq!([0, 5_400_000, 90_061_001].map(period), ["0 ms", "1 h 30 min", "1 d 1 h 1 min 1 s 1 ms"]);
    }

    #[test]
    fn hours_round_both_ways() {
        assert_eq!(hour_start(HOUR_MS + 1), HOUR_MS);
        assert_eq!(next_hour_start(HOUR_MS), HOUR_MS);
        assert_eq!(next_hour_start(HOUR_MS + 1), 2 * HOUR_MS);
    }
}
