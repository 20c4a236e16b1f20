//! `tidemark topics create` and `tidemark topics list`: asks a running gateway, which has the log and the registry, embedded or not.

use crate::remote::{Remote, escaped};
use anyhow::Context;
use serde_json::{Value, json};
use std::path::PathBuf;

/// A topic as it should be.
#[derive(Debug, clap::Args)]
pub struct Create {
    /// Name, best `domain.entity`, for example access.events.
    name: String,
    /// Avro schema of its events: a file with a record.
    #[arg(long, value_name = "FILE")]
    schema: PathBuf,
    /// 1 to 10,000; can be made more later, not fewer [default: 4].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    partitions: Option<u32>,
    /// How long records are kept: 7d, 12h, 30m, 45s, or forever [default: 7d; with --compact: forever].
    #[arg(long, value_name = "TIME", value_parser = parse_retention)]
    retention: Option<i64>,
    /// Keep only the last record of each event id.
    #[arg(long)]
    compact: bool,
    #[command(flatten)]
    remote: Remote,
}

/// Makes a topic with the schema of its events, and prints what was done. The same again changes nothing.
///
/// # Errors
/// The file cannot be read, the gateway cannot be reached, or it refuses.
pub fn create(options: &Create) -> anyhow::Result<()> {
    let path = options.schema.display();
    let text = std::fs::read_to_string(&options.schema).with_context(|| format!("cannot read the schema {path}"))?;
    let mut wanted = json!({ "schema": text });
    let mut set = |name: &str, value: Option<Value>| {
        if let (Some(value), Some(object)) = (value, wanted.as_object_mut()) {
            object.insert(name.to_owned(), value);
        }
    };
    set("partitions", options.partitions.map(Value::from));
    set("retention_ms", options.retention.map(Value::from));
    set("compact", options.compact.then_some(Value::Bool(true)));
    let remote = &options.remote;
    let answer = remote.send("PUT", &format!("/v1/topics/{}", escaped(&options.name)), &wanted)?;
    for key in ["did", "notes"] {
        let lines = answer.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        lines.for_each(|line| println!("{}{line}", if key == "notes" { "note: " } else { "" }));
    }
    println!(
        "\npublish to it with:\n  curl {}/v1/events/{} -H 'content-type: application/json' -d '{{…}}'",
        remote.base(),
        options.name
    );
    Ok(())
}

/// Prints the topics that take events.
///
/// # Errors
/// The gateway cannot be reached, or refuses.
pub fn list(remote: &Remote) -> anyhow::Result<()> {
    let answer = remote.get("/v1/topics")?;
    println!("{:<40} {:>10}  {:>9}  schema", "topic", "partitions", "schema id");
    for topic in answer.get("topics").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| topic.get(key).and_then(Value::as_str).unwrap_or("-");
        let number = |key: &str| topic.get(key).and_then(Value::as_u64).unwrap_or(0);
        let (name, schema, version) = (text("topic"), text("schema"), number("schema_version"));
        println!("{name:<40} {:>10}  {:>9}  {schema}, version {version}", number("partitions"), number("schema_id"));
    }
    if answer.get("truncated").and_then(Value::as_bool) == Some(true) {
        println!("… and more");
    }
    Ok(())
}

/// Milliseconds; -1 for ever.
fn parse_retention(text: &str) -> Result<i64, String> {
    let wrong = || "give a number and a unit, such as 7d, 12h, 30m or 45s, or forever".to_owned();
    if text == "forever" {
        return Ok(-1);
    }
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(unit_at);
    let ms: i64 = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    let number: i64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(ms).filter(|ms| *ms > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retentions_are_read() {
        for (text, ms) in
            [("7d", Some(604_800_000)), ("12h", Some(43_200_000)), ("forever", Some(-1)), ("45s", Some(45_000))]
        {
            assert_eq!(parse_retention(text).ok(), ms, "{text}");
        }
        for text in ["7", "d", "0d", "-1d", "7 d", "7w", "", "99999999999999999999d", "9223372036854775807d"] {
            assert!(parse_retention(text).is_err(), "{text}");
        }
    }
}
