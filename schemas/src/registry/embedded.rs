//! What the embedded registry decides: a pure state machine over an ordered list of events.
//!
//! Events have the JSON form of Confluent's own `_schemas` topic, keys included, so that its tools read ours. Keys are unique
//! by subject and version: on a compacted topic no version is ever lost. An event list makes the same state each time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::compat::Level;
use crate::resolve;

/// Most versions over all subjects; each keeps its text in memory.
pub const MAX_VERSIONS: usize = 10_000;
/// Most bytes of different schemas, over all subjects.
const MAX_BYTES: usize = 64 << 20;
/// Longest subject name, in bytes.
pub const MAX_SUBJECT_BYTES: usize = 512;

/// Something that happened to the registry. Apply it with [`Subjects::apply`] once it is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A schema became a subject's next version.
    Registered(Version),
    /// A rule was set, for a subject or, with `None`, for all that have none of their own.
    Level(Option<String>, Level),
}

/// A version of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Subject name.
    pub subject: String,
    /// 1, 2, …
    pub version: u32,
    /// The schema's id, one for the same schema under any subject; from 1.
    pub id: u32,
    /// Avro JSON as first registered.
    pub schema: Arc<str>,
}

impl Event {
    /// Key and value on the topic.
    pub fn encode(&self) -> (Vec<u8>, Vec<u8>) {
        let (key, value) = match self {
            Self::Registered(v) => (
                json!({"keytype": "SCHEMA", "subject": v.subject, "version": v.version, "magic": 1}),
                json!({"subject": v.subject, "version": v.version, "id": v.id, "schema": &*v.schema, "deleted": false}),
            ),
            Self::Level(subject, level) => (
                json!({"keytype": "CONFIG", "subject": subject, "magic": 0}),
                json!({"compatibilityLevel": level.to_string()}),
            ),
        };
        (key.to_string().into_bytes(), value.to_string().into_bytes())
    }

    /// The event of a topic's record; `None` for kinds that this registry does not write.
    pub fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let key: Value = serde_json::from_slice(key).ok()?;
        let value: Value = serde_json::from_slice(value).ok()?;
        let number = |name: &str| value.get(name)?.as_u64().and_then(|n| u32::try_from(n).ok());
        let text = |of: &Value, name: &str| of.get(name)?.as_str().map(str::to_owned);
        match key.get("keytype")?.as_str()? {
            "SCHEMA" => Some(Self::Registered(Version {
                subject: text(&value, "subject")?,
                version: number("version")?,
                id: number("id")?,
                schema: text(&value, "schema")?.into(),
            })),
            "CONFIG" => Some(Self::Level(text(&key, "subject"), text(&value, "compatibilityLevel")?.parse().ok()?)),
            _ => None,
        }
    }
}

/// Why a request is refused, by Confluent's error codes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 40401
    #[error("Subject '{0}' not found.")]
    SubjectNotFound(String),
    /// 40402
    #[error("Version {0} not found.")]
    VersionNotFound(String),
    /// 40403
    #[error("Schema not found")]
    SchemaNotFound,
    /// 40408
    #[error("Subject '{0}' does not have subject-level compatibility configured")]
    LevelNotSet(String),
    /// 42201
    #[error("Invalid schema: {0}")]
    InvalidSchema(String),
    /// 42202
    #[error("The specified version '{0}' is not a valid version id: a number from 1 on or latest")]
    InvalidVersion(String),
    /// 42203
    #[error("Invalid compatibility level: {0}")]
    InvalidLevel(String),
    /// 42208
    #[error("Invalid subject: {0}")]
    InvalidSubject(String),
    /// 409
    #[error("Schema being registered is incompatible with an earlier schema for subject \"{0}\": {reasons}", reasons = .1.join("; "))]
    Incompatible(String, Vec<String>),
    /// 50001
    #[error(
        "the registry's limit is {MAX_VERSIONS} versions and {MAX_BYTES} bytes of schemas, and this is over it: use a registry server"
    )]
    Full,
}

impl Refusal {
    /// Confluent's `error_code`; its first three digits are the HTTP status.
    pub fn code(&self) -> u32 {
        match self {
            Self::SubjectNotFound(_) => 40401,
            Self::VersionNotFound(_) => 40402,
            Self::SchemaNotFound => 40403,
            Self::LevelNotSet(_) => 40408,
            Self::InvalidSchema(_) => 42201,
            Self::InvalidVersion(_) => 42202,
            Self::InvalidLevel(_) => 42203,
            Self::InvalidSubject(_) => 42208,
            Self::Incompatible(..) => 409,
            Self::Full => 50001,
        }
    }
}

/// All subjects with their versions and rules. Texts are shared, so that a clone costs little and a schema under many subjects is
/// kept once.
#[derive(Debug, Clone, Default)]
pub struct Subjects {
    subjects: BTreeMap<String, Vec<Version>>,
    by_id: BTreeMap<u32, Version>,
    by_form: HashMap<Arc<str>, u32>,
    /// Of the schemas in `by_id`.
    bytes: usize,
    levels: BTreeMap<String, Level>,
    level: Level,
}

impl Subjects {
    /// Takes an event in. One that repeats an earlier one changes nothing.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Registered(mut version) => {
                // Read from the topic, each version has a text of its own.
                if let Some(same) = self.schema(version.id).filter(|schema| *schema == version.schema) {
                    version.schema = same;
                }
                let versions = self.subjects.entry(version.subject.clone()).or_default();
                if versions.iter().any(|v| v.version == version.version) {
                    return;
                }
                versions.push(version.clone());
                versions.sort_by_key(|v| v.version);
                if self.by_id.contains_key(&version.id) {
                    return;
                }
                if let Ok(form) = form(&version.schema) {
                    self.by_form.entry(form.into()).or_insert(version.id);
                }
                self.bytes += version.schema.len();
                self.by_id.insert(version.id, version);
            }
            Event::Level(Some(subject), level) => {
                self.levels.insert(subject, level);
            }
            Event::Level(None, level) => self.level = level,
        }
    }

    /// What registering `schema` under `subject` comes to: `Ok(Err(id))` when the subject has it, else the event that
    /// makes it the next version.
    pub fn register(&self, subject: &str, schema: &str) -> Result<Result<Event, u32>, Refusal> {
        valid_subject(subject)?;
        let form = form(schema).map_err(Refusal::InvalidSchema)?;
        let versions = self.of(subject);
        let known = self.by_form.get(form.as_str()).copied();
        if let Some(id) = known.filter(|id| versions.iter().any(|v| v.id == *id)) {
            return Ok(Err(id));
        }
        self.compatible(subject, schema, versions)?;
        let added = if known.is_some() { 0 } else { schema.len() };
        if self.subjects.values().map(Vec::len).sum::<usize>() >= MAX_VERSIONS || self.bytes + added > MAX_BYTES {
            return Err(Refusal::Full);
        }
        let next_id = self.by_id.last_key_value().map_or(1, |(id, _)| id.saturating_add(1));
        let version = versions.last().map_or(1, |v| v.version.saturating_add(1));
        let schema: Arc<str> = known.and_then(|id| self.schema(id)).unwrap_or_else(|| schema.into());
        Ok(Ok(Event::Registered(Version {
            subject: subject.to_owned(),
            version,
            id: known.unwrap_or(next_id),
            schema,
        })))
    }

    fn compatible(&self, subject: &str, schema: &str, versions: &[Version]) -> Result<(), Refusal> {
        let level = self.level_of(subject);
        let count = if level.is_transitive() { versions.len() } else { 1 };
        let mut reasons = vec![];
        for earlier in versions.iter().rev().take(count) {
            reasons.extend(problems(level, schema, earlier)?);
        }
        if reasons.is_empty() { Ok(()) } else { Err(Refusal::Incompatible(subject.to_owned(), reasons)) }
    }

    /// What keeps `schema` from standing after one version; empty when it may.
    pub fn test(&self, subject: &str, version: &str, schema: &str) -> Result<Vec<String>, Refusal> {
        form(schema).map_err(Refusal::InvalidSchema)?;
        problems(self.level_of(subject), schema, self.version(subject, version)?)
    }

    /// The version of `subject` that has `schema`.
    pub fn lookup(&self, subject: &str, schema: &str) -> Result<&Version, Refusal> {
        let form = form(schema).map_err(Refusal::InvalidSchema)?;
        let versions = self.versions(subject)?;
        let id = self.by_form.get(form.as_str()).ok_or(Refusal::SchemaNotFound)?;
        versions.iter().find(|v| v.id == *id).ok_or(Refusal::SchemaNotFound)
    }

    /// Subject names in order.
    pub fn subjects(&self) -> Vec<&str> {
        self.subjects.keys().map(String::as_str).collect()
    }

    /// All versions of a subject, oldest first.
    pub fn versions(&self, subject: &str) -> Result<&[Version], Refusal> {
        self.subjects.get(subject).map(Vec::as_slice).ok_or_else(|| Refusal::SubjectNotFound(subject.to_owned()))
    }

    /// One version, by number or `latest` (also `-1`).
    pub fn version(&self, subject: &str, version: &str) -> Result<&Version, Refusal> {
        let versions = self.versions(subject)?;
        let found = match version {
            "latest" | "-1" => versions.last(),
            number => {
                let number = number.parse::<u32>().ok().filter(|n| *n > 0);
                let number = number.ok_or_else(|| Refusal::InvalidVersion(version.to_owned()))?;
                versions.iter().find(|v| v.version == number)
            }
        };
        found.ok_or_else(|| Refusal::VersionNotFound(version.to_owned()))
    }

    /// The schema of an id.
    pub fn schema(&self, id: u32) -> Option<Arc<str>> {
        self.by_id.get(&id).map(|v| Arc::clone(&v.schema))
    }

    /// Every subject and version that has the schema of an id.
    pub fn uses(&self, id: u32) -> Result<Vec<&Version>, Refusal> {
        self.by_id.get(&id).ok_or(Refusal::SchemaNotFound)?;
        Ok(self.subjects.values().flatten().filter(|v| v.id == id).collect())
    }

    /// The rule for subjects without one of their own.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The rule in force for a subject.
    pub fn level_of(&self, subject: &str) -> Level {
        self.levels.get(subject).copied().unwrap_or(self.level)
    }

    /// The rule that was set for a subject itself.
    pub fn own_level(&self, subject: &str) -> Result<Level, Refusal> {
        self.levels.get(subject).copied().ok_or_else(|| Refusal::LevelNotSet(subject.to_owned()))
    }

    /// The event that sets a rule.
    pub fn set_level(&self, subject: Option<&str>, level: &str) -> Result<Event, Refusal> {
        subject.map_or(Ok(()), valid_subject)?;
        if subject.is_some_and(|s| !self.levels.contains_key(s)) && self.levels.len() >= MAX_VERSIONS {
            return Err(Refusal::Full);
        }
        Ok(Event::Level(subject.map(str::to_owned), level.parse().map_err(Refusal::InvalidLevel)?))
    }

    fn of(&self, subject: &str) -> &[Version] {
        self.subjects.get(subject).map(Vec::as_slice).unwrap_or_default()
    }
}

fn problems(level: Level, schema: &str, earlier: &Version) -> Result<Vec<String>, Refusal> {
    let new = resolve::parse(schema).map_err(Refusal::InvalidSchema)?;
    let old = resolve::parse(&earlier.schema).map_err(Refusal::InvalidSchema)?;
    let against = |p| format!("{p} (against version {})", earlier.version);
    Ok(level.problems(&new, &old).into_iter().map(against).collect())
}

fn valid_subject(subject: &str) -> Result<(), Refusal> {
    if subject.is_empty() || subject.len() > MAX_SUBJECT_BYTES || subject.chars().any(char::is_control) {
        return Err(Refusal::InvalidSubject(format!(
            "a name has 1 to {MAX_SUBJECT_BYTES} bytes and no control characters"
        )));
    }
    Ok(())
}

/// What makes two schemas the same: all they say, defaults, logical types and docs included; not spacing, the order of
/// JSON keys, or `{"type": "string"}` for `"string"`.
fn form(schema: &str) -> Result<String, String> {
    resolve::parse(schema)?;
    let json: Value = serde_json::from_str(schema).map_err(|e| e.to_string())?;
    Ok(normal(json).to_string())
}

fn normal(json: Value) -> Value {
    match json {
        Value::Object(map) => match map.get("type") {
            Some(Value::String(_)) if map.len() == 1 => map.get("type").cloned().unwrap_or_default(),
            _ => {
                let sorted: BTreeMap<String, Value> = map.into_iter().map(|(k, v)| (k, normal(v))).collect();
                Value::Object(Map::from_iter(sorted))
            }
        },
        Value::Array(items) => Value::Array(items.into_iter().map(normal).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
