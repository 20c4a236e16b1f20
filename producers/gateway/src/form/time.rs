//! Times as text, in the units of their logical types.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

use super::{Time, Unit};

const DAY_S: i64 = 86_400;

/// Why text is not such a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not of the form; the text says why.
    Format(String),
    /// Does not fit into 64 bits of the unit.
    Range,
}

impl Unit {
    fn per_second(self) -> i64 {
        match self {
            Self::Millis => 1_000,
            Self::Micros => 1_000_000,
            Self::Nanos => 1_000_000_000,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Millis => "milliseconds",
            Self::Micros => "microseconds",
            Self::Nanos => "nanoseconds",
        }
    }

    /// Digits beyond the unit are cut off, also before 1970.
    fn count(self, seconds: i64, nanos: u32) -> Result<i64, Fault> {
        let parts = i64::from(nanos) / (1_000_000_000 / self.per_second());
        let whole = seconds.checked_mul(self.per_second()).and_then(|whole| whole.checked_add(parts));
        whole.ok_or(Fault::Range)
    }
}

impl Time {
    /// What it is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Date => "a date",
            Self::OfDay(_) => "a time of day",
            Self::Instant(_) => "a time",
            Self::Local(_) => "a local time",
        }
    }

    /// What to send.
    pub(super) fn fix(self) -> String {
        match self {
            Self::Date => "send text such as \"2026-01-31\", or the days since 1970-01-01".to_owned(),
            Self::OfDay(unit) => format!("send text such as \"12:30:00.5\", or {} since midnight", unit.name()),
            Self::Instant(unit) => format!(
                "send RFC 3339 text with an offset, for example \"2026-01-31T12:00:00Z\", or integer {} since the epoch",
                unit.name()
            ),
            Self::Local(unit) => format!(
                "send text without an offset, for example \"2026-01-31T12:00:00\", or integer {} since 1970-01-01T00:00:00",
                unit.name()
            ),
        }
    }

    /// The number that text stands for.
    pub(super) fn parse(self, text: &str) -> Result<i64, Fault> {
        let format = |error: chrono::ParseError| Fault::Format(error.to_string());
        match self {
            Self::Date => {
                if text.len() != "2026-01-31".len() {
                    return Err(Fault::Format("not of the form YYYY-MM-DD".to_owned()));
                }
                let date: NaiveDate = text.parse().map_err(format)?;
                Ok(date.and_time(NaiveTime::MIN).and_utc().timestamp().div_euclid(DAY_S))
            }
            Self::OfDay(unit) => {
                let time: NaiveTime = text.parse().map_err(format)?;
                if time.nanosecond() >= 1_000_000_000 {
                    return Err(Fault::Format("leap seconds have no number".to_owned()));
                }
                unit.count(i64::from(time.num_seconds_from_midnight()), time.nanosecond())
            }
            Self::Instant(unit) => {
                let time = DateTime::parse_from_rfc3339(text).map_err(format)?;
                unit.count(time.timestamp(), time.timestamp_subsec_nanos())
            }
            Self::Local(unit) => {
                let time: NaiveDateTime = text.parse().map_err(format)?;
                let time = time.and_utc();
                unit.count(time.timestamp(), time.timestamp_subsec_nanos())
            }
        }
    }

    /// Numbers that are such a time.
    pub(super) fn range(self) -> (i64, i64) {
        match self {
            Self::Date => (i64::from(i32::MIN), i64::from(i32::MAX)),
            Self::OfDay(unit) => (0, DAY_S * unit.per_second() - 1),
            Self::Instant(_) | Self::Local(_) => (i64::MIN, i64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Unit::{Micros, Millis, Nanos};

    #[test]
    fn text_is_read_in_the_unit_of_its_type() {
        for (time, text, found) in [
            (Time::Instant(Millis), "2026-01-31T13:00:00.1239+01:00", Some(1_769_860_800_123)),
            (Time::Instant(Micros), "2026-01-31T12:00:00.1239Z", Some(1_769_860_800_123_900)),
            (Time::Instant(Nanos), "1969-12-31T23:59:59.999999999Z", Some(-1)),
            (Time::Instant(Millis), "1969-12-31T23:59:59.9999Z", Some(-1)),
            (Time::Instant(Nanos), "9999-12-31T23:59:59Z", None),
            (Time::Instant(Millis), "2026-01-31T12:00:00", None),
            (Time::Local(Millis), "2026-01-31T12:00:00.123", Some(1_769_860_800_123)),
            (Time::Local(Millis), "2026-01-31T12:00:00Z", None),
            (Time::Date, "1970-01-02", Some(1)),
            (Time::Date, "1969-12-31", Some(-1)),
            (Time::Date, "2026-02-30", None),
            (Time::Date, "2026-1-31", None),
            (Time::OfDay(Millis), "23:59:59.9999", Some(86_399_999)),
            (Time::OfDay(Micros), "00:00:00.000001", Some(1)),
            (Time::OfDay(Micros), "23:59:60", None),
            (Time::OfDay(Millis), "25:00:00", None),
        ] {
            assert_eq!(time.parse(text).ok(), found, "{time:?} {text}");
        }
    }
}
