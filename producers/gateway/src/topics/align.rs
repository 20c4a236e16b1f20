//! The topic in the log: made, or brought in line where that loses nothing.

use tidemark_log::{Cleanup, Error as LogError, Log, TopicSpec};

use super::Wanted;
use super::refusal::log_failed;
use crate::problem::{Kind, Problem};

/// Partitions of a topic for which none are asked.
const PARTITIONS: u32 = 4;
/// How long records are kept if nothing else is asked: 7 days, as all telemetry.
const RETENTION_MS: i64 = 7 * 24 * 3_600_000;
/// `retention_ms` of what is kept for ever, as Kafka has it.
const FOR_EVER: i64 = -1;

/// Makes the topic, or brings it in line where something is asked of it; says whether it is new, and its partitions.
pub(super) fn align(log: &dyn Log, name: &str, wanted: &Wanted, did: &mut Vec<String>) -> Result<(bool, u32), Problem> {
    let there = log.partitions(name).map_err(|error| log_failed(name, &error))?;
    let asked = wanted.partitions.is_some() || wanted.retention_ms.is_some() || wanted.compact.is_some();
    if let (Some(there), false) = (there, asked) {
        did.push(format!("the topic {name} was there with {there} partitions and was left as it is"));
        return Ok((false, there));
    }
    let spec = spec(name, wanted, there)?;
    log.create_topics(std::slice::from_ref(&spec)).map_err(|error| match (&error, there) {
        (LogError::Invalid(why), Some(_)) => Problem::new(Kind::TopicConflict, format!("{why}; nothing was changed")),
        (LogError::Invalid(why), None) => Problem::new(Kind::InvalidTopic, format!("{why}; nothing was made")),
        _ => log_failed(name, &error),
    })?;
    did.push(told(&spec, there));
    Ok((there.is_none(), spec.partitions))
}

fn spec(name: &str, wanted: &Wanted, there: Option<u32>) -> Result<TopicSpec, Problem> {
    let invalid = |detail: &str| Problem::new(Kind::InvalidTopic, format!("{detail}; nothing was made"));
    let compact = wanted.compact.unwrap_or(false);
    let retention_ms = match wanted.retention_ms {
        Some(FOR_EVER) => None,
        Some(ms) if ms > 0 => Some(ms),
        Some(ms) => return Err(invalid(&format!("retention_ms is {ms}; send milliseconds above 0, or -1 for ever"))),
        None => (!compact).then_some(RETENTION_MS),
    };
    let cleanup = match (compact, retention_ms) {
        (false, _) => Cleanup::Delete,
        (true, None) => Cleanup::Compact,
        (true, Some(_)) => Cleanup::CompactAndDelete,
    };
    let partitions = wanted.partitions.or(there).unwrap_or(PARTITIONS);
    Ok(TopicSpec { name: name.to_owned(), partitions, cleanup, retention_ms })
}

fn told(spec: &TopicSpec, there: Option<u32>) -> String {
    let kept = match (spec.cleanup, spec.retention_ms) {
        (Cleanup::Delete, Some(ms)) => format!("records kept for {}", days(ms)),
        (Cleanup::Delete, None) => "records kept for ever".to_owned(),
        (Cleanup::Compact, _) => "the last record of each event id kept".to_owned(),
        (Cleanup::CompactAndDelete, ms) => {
            format!("the last record of each event id kept for {}", days(ms.unwrap_or(RETENTION_MS)))
        }
    };
    let (name, partitions) = (&spec.name, spec.partitions);
    match there {
        None => format!("made the topic {name} with {partitions} partitions, {kept}"),
        Some(there) if there < partitions => {
            format!("the topic {name} was there; it was grown from {there} to {partitions} partitions, {kept}")
        }
        Some(_) => format!("the topic {name} was there and now is as asked: {partitions} partitions, {kept}"),
    }
}

fn days(ms: i64) -> String {
    const HOUR_MS: i64 = 3_600_000;
    match ms {
        ms if ms % (24 * HOUR_MS) == 0 => format!("{} days", ms / (24 * HOUR_MS)),
        ms if ms % HOUR_MS == 0 => format!("{} hours", ms / HOUR_MS),
        ms => format!("{ms} ms"),
    }
}
