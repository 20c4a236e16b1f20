//! The rules of a flow record: a draft in, a flow or what is wrong with it out.

use std::borrow::Cow;

use chrono::DateTime;
use uuid::Uuid;

use crate::draft::{Draft, NumberFault, Raw};
use crate::rule::{Finding, Rule, shown};

/// Largest count: what a JSON number holds exactly, 2^53 − 1.
pub(crate) const COUNT_MAX: i64 = (1 << 53) - 1;
/// Longest name, in bytes of UTF-8.
pub(crate) const NAME_MAX: usize = 256;
/// The only tenant there is.
pub(crate) const TENANT: &str = "default";

const HOUR_MS: i64 = 3_600_000;
/// The last hour whose times have four-digit years.
const HOUR_MAX: i64 = 70_389_527;

const NAME_FIX: &str = "send text of 1 to 256 bytes";
const COUNT_FIX: &str = "send an integer from 0 to 9007199254740991";
const HOUR_FIX: &str = "send whole hours since 1970-01-01T00:00:00Z, for example 490000";
const TIME_FIX: &str = "send RFC 3339 text with an offset, for example \"2026-01-31T12:00:00Z\", or integer milliseconds \
                        since the epoch";
const ONE_TIME_FIX: &str = "send exactly one of hour and observed_at";

/// When the request was received, and how far ahead of that an event may be; milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received {
    pub(crate) at: i64,
    pub(crate) max_future_ms: i64,
}

/// A flow that obeys the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flow<'a> {
    pub(crate) src_app: Cow<'a, str>,
    pub(crate) dest_app: Cow<'a, str>,
    pub(crate) vpc_id: Cow<'a, str>,
    pub(crate) observed_at: i64,
    pub(crate) bytes_tx: i64,
    pub(crate) bytes_rx: i64,
    pub(crate) event_id: Option<Uuid>,
}

/// Applies every rule and reports all that are broken.
pub(crate) fn check(mut draft: Draft<'_>, received: Received) -> Result<Flow<'_>, Vec<Finding>> {
    let mut findings = std::mem::take(&mut draft.findings);
    let mut keep = |finding| findings.push(finding);
    tenant(&draft.tenant).unwrap_or_else(&mut keep);
    let src_app = name("src_app", draft.src_app).map_err(&mut keep);
    let dest_app = name("dest_app", draft.dest_app).map_err(&mut keep);
    let vpc_id = name("vpc_id", draft.vpc_id).map_err(&mut keep);
    let bytes_tx = count("bytes_tx", draft.bytes_tx).map_err(&mut keep);
    let bytes_rx = count("bytes_rx", draft.bytes_rx).map_err(&mut keep);
    let observed_at = event_time(draft.hour, draft.observed_at, received).map_err(&mut keep);
    let event_id = event_id(draft.event_id).map_err(&mut keep);
    match (src_app, dest_app, vpc_id, bytes_tx, bytes_rx, observed_at, event_id) {
        (Ok(src_app), Ok(dest_app), Ok(vpc_id), Ok(bytes_tx), Ok(bytes_rx), Ok(observed_at), Ok(event_id))
            if findings.is_empty() =>
        {
            Ok(Flow { src_app, dest_app, vpc_id, observed_at, bytes_tx, bytes_rx, event_id })
        }
        _ => Err(findings),
    }
}

fn tenant(raw: &Raw<'_>) -> Result<(), Finding> {
    match raw {
        Raw::Absent => Ok(()),
        Raw::Text(text) if text == TENANT => Ok(()),
        Raw::Text(text) => Err(Finding::of(
            "tenant",
            Rule::Tenant,
            format!("tenant is {:?}, which is not yours", shown(text)),
            "send \"default\" or leave the field out",
        )),
        other => Err(wrong_type("tenant", other, "text", "send \"default\" or leave the field out")),
    }
}

fn name<'a>(field: &str, raw: Raw<'a>) -> Result<Cow<'a, str>, Finding> {
    match raw {
        Raw::Text(text) if text.is_empty() => {
            Err(Finding::of(field, Rule::Empty, format!("{field} is empty"), NAME_FIX))
        }
        Raw::Text(text) if text.len() > NAME_MAX => {
            let message = format!("{field} has {} bytes; at most {NAME_MAX} are kept", text.len());
            Err(Finding::of(field, Rule::TooLong, message, NAME_FIX))
        }
        Raw::Text(text) => Ok(text),
        Raw::Absent => Err(missing(field, NAME_FIX)),
        other => Err(wrong_type(field, &other, "text", NAME_FIX)),
    }
}

fn count(field: &str, raw: Raw<'_>) -> Result<i64, Finding> {
    let value = integer(field, raw, COUNT_FIX)?;
    if (0..=COUNT_MAX).contains(&value) {
        return Ok(value);
    }
    let why = if value < 0 { "negative" } else { "larger than 2^53-1" };
    Err(Finding::of(field, Rule::Range, format!("{field} is {value}, which is {why}"), COUNT_FIX))
}

fn integer(field: &str, raw: Raw<'_>, fix: &'static str) -> Result<i64, Finding> {
    match raw {
        Raw::Integer(value) => Ok(value),
        Raw::Number(text, fault) => Err(bad_number(field, &text, fault, fix)),
        Raw::Absent => Err(missing(field, fix)),
        other => Err(wrong_type(field, &other, "an integer", fix)),
    }
}

/// Event time: `observed_at`, or the time of receipt clamped into `hour`.
fn event_time(hour: Raw<'_>, observed_at: Raw<'_>, received: Received) -> Result<i64, Finding> {
    let (field, time) = match (hour, observed_at) {
        (Raw::Absent, Raw::Absent) => {
            let message = "neither hour nor observed_at is there".to_owned();
            return Err(Finding::of("observed_at", Rule::OneTime, message, ONE_TIME_FIX));
        }
        (hour, Raw::Absent) => ("hour", clamped(hour, received.at)?),
        (Raw::Absent, Raw::Text(text)) => ("observed_at", rfc3339(&text)?),
        (Raw::Absent, Raw::Other(kind)) => {
            return Err(wrong_type("observed_at", &Raw::Other(kind), "a time", TIME_FIX));
        }
        (Raw::Absent, number) => ("observed_at", integer("observed_at", number, TIME_FIX)?),
        (_, _) => {
            let message = "hour and observed_at are both there".to_owned();
            return Err(Finding::of("hour", Rule::OneTime, message, ONE_TIME_FIX));
        }
    };
    in_bounds(field, time, received)
}

fn clamped(hour: Raw<'_>, received_at: i64) -> Result<i64, Finding> {
    let hour = integer("hour", hour, HOUR_FIX)?;
    if hour < 0 {
        let message = format!("hour is {hour}, which is before 1970");
        return Err(Finding::of("hour", Rule::BeforeEpoch, message, HOUR_FIX));
    }
    let start = hour.min(HOUR_MAX) * HOUR_MS;
    Ok(received_at.clamp(start, start + HOUR_MS - 1))
}

fn in_bounds(field: &str, time: i64, received: Received) -> Result<i64, Finding> {
    let latest = received.at.saturating_add(received.max_future_ms);
    if time < 0 {
        let message = format!("{field} is {time} ms, which is before 1970");
        return Err(Finding::of(field, Rule::BeforeEpoch, message, TIME_FIX));
    }
    if time > latest {
        let ahead_s = time.saturating_sub(received.at) / 1000;
        let allowed_s = received.max_future_ms / 1000;
        let message = format!("{field} is {ahead_s} s ahead of the time of receipt; at most {allowed_s} s are allowed");
        return Err(Finding::of(field, Rule::FarFuture, message, "set the sender's clock right; times are UTC"));
    }
    Ok(time)
}

/// Milliseconds since the epoch; digits beyond them are cut off.
fn rfc3339(text: &str) -> Result<i64, Finding> {
    DateTime::parse_from_rfc3339(text).map(|time| time.timestamp_millis()).map_err(|error| {
        let message = format!("observed_at is {:?}: {error}", shown(text));
        Finding::of("observed_at", Rule::TimeFormat, message, TIME_FIX)
    })
}

fn event_id(raw: Raw<'_>) -> Result<Option<Uuid>, Finding> {
    let fix = "send a UUID of 36 characters, or leave the field out and the gateway makes one";
    match raw {
        Raw::Absent => Ok(None),
        Raw::Text(text) => match Uuid::parse_str(&text) {
            Ok(id) if text.len() == 36 => Ok(Some(id)),
            _ => {
                let message = format!("event_id is {:?}, which is not a UUID", shown(&text));
                Err(Finding::of("event_id", Rule::Uuid, message, fix))
            }
        },
        other => Err(wrong_type("event_id", &other, "text", fix)),
    }
}

fn missing(field: &str, fix: &'static str) -> Finding {
    Finding::of(field, Rule::Missing, format!("{field} is missing"), fix)
}

fn bad_number(field: &str, text: &str, fault: NumberFault, fix: &'static str) -> Finding {
    let (rule, why) = match fault {
        NumberFault::Fraction => (Rule::Integer, "not an integer"),
        NumberFault::Range => (Rule::Range, "beyond 64 bits"),
    };
    Finding::of(field, rule, format!("{field} is {}, which is {why}", shown(text)), fix)
}

fn wrong_type(field: &str, raw: &Raw<'_>, wanted: &str, fix: &'static str) -> Finding {
    let found = match raw {
        Raw::Absent => "missing",
        Raw::Text(_) => "text",
        Raw::Integer(_) | Raw::Number(..) => "a number",
        Raw::Other(kind) => kind,
    };
    Finding::of(field, Rule::Type, format!("{field} is {found}, not {wanted}"), fix)
}
