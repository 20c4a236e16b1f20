//! Topics with schemas, without a registry.

use std::collections::BTreeMap;
use std::sync::Arc;
use tidemark_spec::view::Asked;
use tidemark_spec::{Problems, SpecJob, Topics, View, compile};

pub(crate) struct Schemas(pub(crate) BTreeMap<&'static str, &'static str>);

impl Topics for Schemas {
    fn schema(&self, topic: &str) -> Result<Option<String>, String> {
        Ok(self.0.get(topic).map(|avsc| (*avsc).to_owned()))
    }
    fn names(&self) -> Vec<String> {
        self.0.keys().map(|name| (*name).to_owned()).collect()
    }
    /// The views of the examples, whose jobs have version 1 and no other.
    fn view(&self, asked: &Asked<'_>) -> Result<Option<View>, String> {
        let text = match asked.view {
            "access.hourly" => HOURLY,
            "access.sessions" => SESSIONS,
            _ => return Ok(None),
        };
        if asked.version.is_some_and(|version| version != 1) {
            return Err(format!("{} has version 1 and no other", asked.view));
        }
        let job = compile("job.yaml", text, self).map_err(|problems| problems.to_string())?;
        Ok(Some(View::of(&job)))
    }
    fn view_names(&self) -> Vec<String> {
        vec!["access.hourly".into(), "access.sessions".into()]
    }
}

pub(crate) const ACCESS: &str = include_str!("../../../../examples/access-log/logs.access.avsc");
pub(crate) const HOURLY: &str = include_str!("../../../../examples/access-log/access.hourly.yaml");
pub(crate) const DAILY: &str = include_str!("../../../../examples/access-log/access.daily.yaml");
pub(crate) const ERRORS: &str = include_str!("../../../../examples/access-log/access.errors.yaml");
pub(crate) const SESSIONS: &str = include_str!("../../../../examples/access-log/access.sessions.yaml");

/// The hourly example with a column that is computed from aggregates.
pub(crate) fn emitting() -> String {
    let more = "  errors: count_if(status >= 400)\nemit:\n  error_ratio: double(errors) / double(requests)\nfreshness:";
    HOURLY.replacen("freshness:", more, 1)
}

/// A bit of everything, tenants and nulls among it.
pub(crate) const EVENT: &str = r#"{"type": "record", "name": "Event", "fields": [
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "tenant", "type": ["null", "string"], "default": null},
    {"name": "id", "type": "string", "default": ""},
    {"name": "k", "type": "string"},
    {"name": "k2", "type": "string", "default": ""},
    {"name": "n", "type": "long", "default": 0},
    {"name": "d", "type": "double", "default": 0},
    {"name": "opt", "type": ["null", "long"], "default": null},
    {"name": "text", "type": ["null", "string"], "default": null},
    {"name": "whole", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38}, "default": "\u0001"},
    {"name": "money", "type": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}},
    {"name": "raw", "type": "bytes", "default": "\u00ff"},
    {"name": "uuid", "type": {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}},
    {"name": "span", "type": {"type": "fixed", "name": "D", "size": 12, "logicalType": "duration"}},
    {"name": "nest", "type": ["null", {"type": "record", "name": "Nest", "fields": [{"name": "x", "type": "long"}]}], "default": null}]}"#;

/// A job of events, with so much added to its file.
pub(crate) fn event_job(more: &str) -> Result<Arc<SpecJob>, Problems> {
    let has = |key: &str| more.lines().any(|line| line.starts_with(&format!("{key}:")));
    let mut text = String::from("job: events.hourly\n");
    for (key, value) in [
        ("source", "{topics: events, time: at}"),
        ("key", "[k]"),
        ("window", "{tumbling: 1h}"),
        ("late", "amend for 1d"),
        ("aggregate", "{c: count()}"),
    ] {
        if !has(key) {
            text += &format!("{key}: {value}\n");
        }
    }
    compile("job.yaml", &(text + more), &Schemas([("events", EVENT)].into())).map(Arc::new)
}

/// What is said of it.
pub(crate) fn refused(more: &str) -> String {
    match event_job(more) {
        Ok(_) => panic!("it is not refused: {more}"),
        Err(problems) => problems.to_string(),
    }
}

pub(crate) fn access() -> Schemas {
    Schemas([("logs.access", ACCESS)].into())
}

pub(crate) fn job(text: &str) -> Result<Arc<SpecJob>, Problems> {
    compile("job.yaml", text, &access()).map(Arc::new)
}
