//! Instants as text, and their parts.

use crate::cel::call::Part;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// RFC 3339 in UTC, with milliseconds where there are any: `2026-01-01T00:00:00Z`; the number itself beyond the year 9999.
pub fn rfc3339(ms: i64) -> String {
    of_nanos(i128::from(ms) * 1_000_000).unwrap_or_else(|| format!("{ms} ms"))
}

/// RFC 3339 in UTC with as many digits as there are; none beyond the year 9999.
pub fn of_nanos(nanos: i128) -> Option<String> {
    OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?.format(&Rfc3339).ok()
}

/// From RFC 3339, or milliseconds since the epoch.
pub fn parse(text: &str) -> Option<i64> {
    text.parse().ok().or_else(|| parse_rfc3339(text))
}

/// From RFC 3339 alone.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let instant = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(instant.unix_timestamp_nanos().div_euclid(1_000_000)).ok()
}

/// A part of an instant, in UTC.
pub fn part(part: Part, ms: i64) -> i64 {
    let Ok(at) = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000) else { return 0 };
    match part {
        Part::FullYear => i64::from(at.year()),
        Part::Month => i64::from(u8::from(at.month())) - 1,
        Part::DayOfMonth => i64::from(at.day()) - 1,
        Part::DayOfWeek => i64::from(at.weekday().number_days_from_sunday()),
        Part::DayOfYear => i64::from(at.ordinal()) - 1,
        Part::Hours => i64::from(at.hour()),
        Part::Minutes => i64::from(at.minute()),
        Part::Seconds => i64::from(at.second()),
        Part::Milliseconds => i64::from(at.millisecond()),
    }
}

/// A length of time: `500ms`, `30s`, `10m`, `1h`, `7d`, or several of them together: `1h30m`.
pub fn duration_ms(text: &str) -> Option<i64> {
    let (mut left, mut total) = (text.trim(), 0_i64);
    if left.is_empty() {
        return None;
    }
    while !left.is_empty() {
        let digits = left.find(|c: char| !c.is_ascii_digit())?;
        let (number, rest) = left.split_at_checked(digits)?;
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (unit, rest) = rest.split_at_checked(unit)?;
        let factor = match unit.trim() {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        total = total.checked_add(number.parse::<i64>().ok()?.checked_mul(factor)?)?;
        left = rest;
    }
    Some(total)
}

/// [`duration_ms`] the other way round, in the largest units.
pub fn duration(ms: i64) -> String {
    let (mut left, mut text) = (ms, String::new());
    for (unit, factor) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if left / factor != 0 {
            text = format!("{text}{}{unit}", left / factor);
            left %= factor;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_come_back() {
        for (text, ms) in [("500ms", 500), ("30s", 30_000), ("1h30m", 5_400_000), ("7d", 604_800_000), ("0s", 0)] {
            assert_eq!((duration_ms(text), duration(ms).as_str()), (Some(ms), text));
        }
        for bad in ["", "10", "1 fortnight", "h", "-1s", "99999999999999d"] {
            assert_eq!(duration_ms(bad), None, "{bad}");
        }
    }

    #[test]
    fn instants_have_parts() {
        let ms = parse("2026-11-21T15:04:05.678Z").unwrap_or_default();
        assert_eq!(rfc3339(ms), "2026-11-21T15:04:05.678Z");
        let parts = [Part::FullYear, Part::Month, Part::DayOfMonth, Part::DayOfWeek, Part::Hours, Part::Milliseconds];
        assert_eq!(parts.map(|p| part(p, ms)), [2026, 10, 20, 6, 15, 678]);
    }
}
