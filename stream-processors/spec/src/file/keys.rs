//! Every key of a job file, once: the reader takes its defaults from here, and the reference and the JSON Schema are made of it.

use serde_json::{Value, json};
use std::fmt::Write;

/// The aggregates, as people write them, and what they do.
pub const AGGREGATES: &[(&str, &str)] = &[
    ("count()", "records; exact"),
    ("count(x)", "records in which x is not null; exact"),
    ("count_if(condition)", "records for which the condition is true; exact"),
    ("sum(x)", "sum of numbers; exact, of doubles too: added without rounding, rounded once"),
    ("min(x)", "the least value; exact"),
    ("max(x)", "the greatest value; exact"),
    ("mean(x)", "sum divided by count; rounded once"),
    (
        "quantile(x, q[, error])",
        "the least value that at least a share q of all do not exceed, q from 0 to 1: DDSketch, relative error 0.01 unless given",
    ),
    (
        "distinct(x[, precision])",
        "how many different values: HyperLogLog of 2^precision registers, 14 unless given; standard error 1.04/√2^precision, 0.8 %",
    ),
    (
        "top_k(x, k)",
        "the k most frequent values with their counts: exact up to 1,000 different values in a row, else with the error told",
    ),
    ("first(x)", "the value of the earliest record; ties by topic, partition, offset"),
    ("last(x)", "the value of the latest record; ties likewise"),
];

/// A key of the file.
#[derive(Debug, Clone, Copy)]
pub struct KeyDoc {
    /// Its path from the top.
    pub path: &'static str,
    /// Its form, for people.
    pub form: &'static str,
    /// Its default; none when it must be given, empty when it may be left out.
    pub default: Option<&'static str>,
    /// What it means.
    pub meaning: &'static str,
}

const fn key(path: &'static str, form: &'static str, default: Option<&'static str>, meaning: &'static str) -> KeyDoc {
    KeyDoc { path, form, default, meaning }
}

/// All keys, in the order in which a file is written.
pub const KEYS: &[KeyDoc] = &[
    key("job", "name", None, "Name of the job and of its view: 1 to 32 letters, digits, `.`, `_`, `-`."),
    key(
        "version",
        "number",
        Some("1"),
        "Grows with every change of source, expressions, key, window, late policy, aggregates or clustering; to 2147483647. A new version runs beside the old one until it is promoted.",
    ),
    key("description", "text", Some(""), "One sentence for the dashboard and the API."),
    key(
        "source.topics",
        "topic or list",
        Some(""),
        "Topics that are read; either these or `views`. All that the expressions name must be in the schema of each, with one type.",
    ),
    key(
        "source.views",
        "view, `view@version`, or list",
        Some(""),
        "Views that are read: of each row its latest revision counts, once. Without a version the one that is current when the file is first applied, and it stays that one.",
    ),
    key(
        "source.time",
        "field",
        Some(""),
        "The field that is the event time: a timestamp of the schema. Required of topics; of views `window_start` unless given.",
    ),
    key(
        "source.grace",
        "duration",
        Some("10m"),
        "So long after its end, in event time, a window waits for stragglers before it is final. Of views, unless given: until the windows of theirs that are in it are final.",
    ),
    key(
        "source.idle_after",
        "duration",
        Some("30s"),
        "A partition that is silent for so long no longer holds windows open. Not of views, which say how far they are.",
    ),
    key(
        "source.max_future",
        "duration",
        Some("10m"),
        "A record whose event time is further ahead of its arrival is dead-lettered, so that one bad clock cannot close everybody's windows. Not of views.",
    ),
    key(
        "source.dedupe.by",
        "field",
        Some(""),
        "A field that is unique to a record of a tenant: repeats count once. Not of views.",
    ),
    key("source.dedupe.for", "duration", Some("24h"), "A repeat that comes later counts as a new record."),
    key(
        "join",
        "map of tables",
        Some(""),
        "Names for tables: a record sees the row that the table had for it at its event time, as `NAME.FIELD`; null without one.",
    ),
    key(
        "join.NAME.table",
        "topic",
        None,
        "Topic with the table's records. Every version that it keeps counts from its event time on; a record without a value deletes its row from then on.",
    ),
    key(
        "join.NAME.key",
        "field",
        None,
        "The field of the table's records that is the table's key: a string or an int.",
    ),
    key(
        "join.NAME.on",
        "expression",
        None,
        "What a record is looked up by, of the key's type; where it is null there is no row.",
    ),
    key(
        "join.NAME.time",
        "field",
        Some(""),
        "The field of the table's records that is their event time: a timestamp; their append time unless given.",
    ),
    key("where", "expression", Some(""), "Records for which it is false are left out; they move the watermark."),
    key("let", "map of expressions", Some(""), "Names for expressions, usable in all that follow."),
    key(
        "key",
        "list of names or `name: expression`",
        Some("[]"),
        "What rows are kept apart by. The tenant is always first, and not written here.",
    ),
    key("window.tumbling", "duration", Some(""), "Windows one after the other: each record is in one."),
    key(
        "window.hopping",
        "duration",
        Some(""),
        "Windows of this length, a new one `every` so often: each record is in several.",
    ),
    key("window.every", "duration", Some(""), "From start to start of hopping windows; at most 100 to a length."),
    key("window.session", "duration", Some(""), "By key: so much silence ends a session."),
    key(
        "late",
        "`amend for DURATION` or `hold`",
        None,
        "Late records: folded in, and the window marked amended, for so long after it closed; or held out of the sums. Either way they go to the late topic and are counted.",
    ),
    key("aggregate", "map of aggregates", None, "The columns that are added up: `name: function(expression)`."),
    key("emit", "map of expressions", Some(""), "Columns computed from aggregates and keys when a row is written."),
    key(
        "view.clustering",
        "list of key names",
        Some(""),
        "Order of the key columns in the view: filters on the first ones are the fastest. The key's own order unless given. Part of the version.",
    ),
    key(
        "view.retention",
        "duration",
        Some("7d"),
        "Rows are kept so long after their window was first written: at least as long as it can change, which is its length (of sessions an hour and the gap), grace, idle_after, max_future and what `late` says. Where that is more than 7 days it is the default. Of views the idle_after and max_future of their jobs count.",
    ),
    key(
        "partitions",
        "number",
        Some("4"),
        "Partitions of the job's own topics, 1 to 1,000: as many threads or processes can share the merging. Part of the version.",
    ),
    key(
        "freshness",
        "duration",
        Some(""),
        "A window is to be final so long after its end. Refused when grace and idle_after alone take longer; of views, theirs.",
    ),
    key(
        "tests",
        "list of tests",
        Some("[]"),
        "Run by `tidemark job test` and before every apply: `name`, and `steps` of `push` (to `topic`, the first unless given, and `partition`), `table`, `delete`, `advance` and `expect`.",
    ),
];

/// The default of a key.
pub(super) fn default(path: &str) -> &'static str {
    KEYS.iter().find(|key| key.path == path).and_then(|key| key.default).unwrap_or_default()
}

/// The keys under `path`; the first words of all for the top.
pub(super) fn under(path: &str) -> Vec<&'static str> {
    let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
    let mut names: Vec<&'static str> =
        KEYS.iter().filter_map(|key| key.path.strip_prefix(&prefix)?.split('.').next()).collect();
    names.dedup();
    names
}

/// The reference of every key, aggregate and function, as Markdown.
pub fn reference() -> String {
    let mut text = String::from("| Key | Form | Default | Meaning |\n|---|---|---|---|\n");
    for KeyDoc { path, form, default, meaning } in KEYS {
        let default = match default {
            None => "required".to_owned(),
            Some("") => "none".to_owned(),
            Some(value) => format!("`{value}`"),
        };
        let _ = writeln!(text, "| `{path}` | {form} | {default} | {meaning} |");
    }
    let table = |text: &mut String, title: &str, rows: &[(&str, &str)]| {
        let _ = writeln!(text, "\n| {title} | Meaning |\n|---|---|");
        for (form, meaning) in rows {
            let _ = writeln!(text, "| `{form}` | {meaning} |");
        }
    };
    table(&mut text, "Aggregate", AGGREGATES);
    table(&mut text, "Function", crate::cel::functions::FUNCTIONS);
    text
}

/// JSON Schema (2020-12) of a job file, for editors.
pub fn json_schema() -> Value {
    let meaning = |path: &str| {
        KEYS.iter().find(|key| key.path == path).map(|key| key.meaning.replace('`', "")).unwrap_or_default()
    };
    let text = |path: &str| json!({"type": "string", "description": meaning(path)});
    let duration =
        |path: &str| json!({"type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$", "description": meaning(path)});
    let number =
        |path: &str, most: u32| json!({"type": "integer", "minimum": 1, "maximum": most, "description": meaning(path)});
    let expressions = |path: &str| json!({"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}, "description": meaning(path)});
    let names = |path: &str| {
        json!({"description": meaning(path),
        "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": true}]})
    };
    let expression_map = json!({"type": "object", "minProperties": 1, "additionalProperties": {"type": ["string", "number", "boolean"]}});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tidemark job",
        "type": "object",
        "additionalProperties": false,
        "required": ["job", "source", "window", "late", "aggregate"],
        "properties": {
            "job": {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9._-]{0,31}$", "description": meaning("job")},
            "version": number("version", i32::MAX as u32),
            "description": text("description"),
            "source": {"type": "object", "additionalProperties": false,
                "oneOf": [{"required": ["topics", "time"]}, {"required": ["views"]}], "properties": {
                "topics": names("source.topics"),
                "views": names("source.views"),
                "time": text("source.time"),
                "grace": duration("source.grace"),
                "idle_after": duration("source.idle_after"),
                "max_future": duration("source.max_future"),
                "dedupe": {"type": "object", "additionalProperties": false, "required": ["by"],
                    "properties": {"by": text("source.dedupe.by"), "for": duration("source.dedupe.for")}},
            }},
            "join": {"type": "object", "description": meaning("join"), "additionalProperties": {
                "type": "object", "additionalProperties": false, "required": ["table", "key", "on"], "properties": {
                    "table": text("join.NAME.table"),
                    "key": text("join.NAME.key"),
                    "on": {"type": ["string", "number", "boolean"], "description": meaning("join.NAME.on")},
                    "time": text("join.NAME.time"),
                },
            }},
            "where": text("where"),
            "let": expressions("let"),
            "key": {"description": meaning("key"), "oneOf": [
                {"type": "string"},
                expression_map.clone(),
                {"type": "array", "items": {"oneOf": [{"type": "string"}, expression_map]}},
            ]},
            "window": {"type": "object", "additionalProperties": false, "properties": {
                "tumbling": duration("window.tumbling"),
                "hopping": duration("window.hopping"),
                "every": duration("window.every"),
                "session": duration("window.session"),
            }, "oneOf": [
                {"required": ["tumbling"], "maxProperties": 1},
                {"required": ["hopping", "every"], "maxProperties": 2},
                {"required": ["session"], "maxProperties": 1},
            ]},
            "late": {"type": "string", "pattern": "^(hold|amend for ([0-9]+(ms|s|m|h|d))+)$", "description": meaning("late")},
            "aggregate": expressions("aggregate"),
            "emit": expressions("emit"),
            "view": {"type": "object", "additionalProperties": false, "properties": {
                "clustering": names("view.clustering"),
                "retention": duration("view.retention"),
            }},
            "partitions": number("partitions", 1_000),
            "freshness": duration("freshness"),
            "tests": {"type": "array", "items": {"type": "object"}, "description": meaning("tests")},
        },
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A key that is added is in the schema for editors too.
    #[test]
    fn the_schema_has_every_key() {
        let schema = json_schema();
        for KeyDoc { path, .. } in KEYS {
            let pointer = format!(
                "/properties/{}",
                path.replace('.', "/properties/").replace("/properties/NAME", "/additionalProperties")
            );
            assert!(schema.pointer(&pointer).is_some_and(Value::is_object), "{path}");
        }
        // What may stand alone in the file may stand alone here.
        for path in [
            "/properties/source/properties/topics",
            "/properties/source/properties/views",
            "/properties/key",
            "/properties/view/properties/clustering",
        ] {
            let forms = schema.pointer(&format!("{path}/oneOf")).and_then(Value::as_array).unwrap();
            assert!(forms.iter().any(|form| form["type"] == "string"), "{path}");
        }
        let windows = schema.pointer("/properties/window/oneOf").and_then(Value::as_array).unwrap();
        assert_eq!(windows.len(), 3);
        assert_eq!(schema["properties"]["job"]["pattern"], "^[A-Za-z][A-Za-z0-9._-]{0,31}$");
        assert_eq!(under("source.dedupe"), ["by", "for"]);
        assert!(under("").contains(&"window") && reference().contains("| `job` | name | required |"));
    }
}
