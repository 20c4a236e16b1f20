//! A job file to begin with.

use crate::source::{Field, Source};
use tidemark_core::value::Type;

fn is_id(field: &str) -> bool {
    let name = field.to_ascii_lowercase();
    ["id", "uuid", "guid"].contains(&name.as_str())
        || ["_id", "_uuid", "_key"].iter().any(|end| name.ends_with(end))
        || field.ends_with("Id")
}

/// Counts the records of a topic by hour and by the first field that is a text and no id, with a test that passes.
///
/// # Errors
/// The schema has no field that can be the event time.
pub fn starter(name: &str, topic: &str, avsc: &str) -> Result<String, String> {
    let source = Source::new(avsc)?;
    let of = |kind: Type| move |field: &&Field| field.kind == Ok(kind) && !field.nullable && !field.name.contains('.');
    let time = source.fields.iter().find(of(Type::Time)).ok_or_else(|| {
        format!(
            "{} has no timestamp that could be the event time: give a field \"logicalType\": \"timestamp-millis\"",
            source.name
        )
    })?;
    let texts = source.fields.iter().filter(of(Type::Text));
    // A row for each id would say no more than the records do.
    let key = texts.clone().find(|field| field.name != "tenant" && !is_id(&field.name));
    let number = source.fields.iter().find(of(Type::Long));
    let (key_line, given, row) = match key {
        Some(Field { name, .. }) => (format!("key: [{name}]"), format!(", {name}: a"), format!("{name}: a, ")),
        None => ("key: []".to_owned(), String::new(), String::new()),
    };
    let (sum, sum_given, sum_row) = match number {
        Some(Field { name, .. }) => {
            (format!("\n  {name}_sum: sum({name})"), format!(", {name}: 5"), format!(", {name}_sum: 10"))
        }
        None => (String::new(), String::new(), String::new()),
    };
    let time = &time.name;
    Ok(format!(
        "# Every key is explained by `tidemark job reference` and in docs/jobs.md.
job: {name}
version: 1
description: Records of {topic} by hour.
source:
  topics: {topic}
  time: {time}
  grace: 10m
{key_line}
window: {{tumbling: 1h}}
late: amend for 7d
aggregate:
  count: count(){sum}
tests:
  - name: records are counted by hour
    steps:
      - push:
          - {{{time}: 2026-01-01T10:00:00Z{given}{sum_given}}}
          - {{{time}: 2026-01-01T10:59:59Z{given}{sum_given}}}
          - {{{time}: 2026-01-01T11:00:00Z{given}{sum_given}}}
      - expect:
          window: 2026-01-01T10:00:00Z
          state: open
          rows: [{{{row}count: 2{sum_row}}}]
      - advance: 2h
      - expect: {{window: 2026-01-01T10:00:00Z, state: final}}
"
    ))
}
