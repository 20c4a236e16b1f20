//! Topics of users: made with their schema, and listed.
//!
//! A topic is made in steps, each of which finds its own work done when the request is sent again: the schema is checked, the topic
//! is made or brought in line in the log, the schema is registered under `<topic>-value`. Nothing is ever taken away: what would
//! lose records, or break readers of earlier versions, is refused.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidemark_schemas::registry::Error as RegistryError;
use tidemark_schemas::resolve;
use utoipa::ToSchema;

use crate::form::Form;
use crate::problem::{Kind, Problem};
use crate::shared::Shared;
use crate::{FLOWS_TOPIC, topic};

mod align;
pub(crate) mod http;
mod refusal;
mod register;

use align::align;
use refusal::{bad_schema, log_failed, registry_failed, unread};
use register::{compatible, register};

/// Most topics in a list.
const LISTED_MAX: usize = 500;

/// What is asked for: a topic, and the schema of its events.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// Avro: as it is, or as text.
    schema: Box<RawValue>,
    partitions: Option<u32>,
    retention_ms: Option<i64>,
    compact: Option<bool>,
}

/// What was done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Made {
    /// The topic's name.
    #[schema(example = "access.events")]
    topic: String,
    /// Whether it was not there before.
    pub(crate) created: bool,
    /// Partitions that it has now.
    #[schema(example = 4)]
    partitions: u32,
    /// The registry's subject.
    #[schema(example = "access.events-value")]
    subject: String,
    /// What the registry calls the schema.
    schema_id: u32,
    /// The schema's version under the subject.
    schema_version: u32,
    /// What was done, in words.
    did: Vec<String>,
    /// What is worth knowing of the schema.
    notes: Vec<String>,
}

/// A topic that takes events.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Listed {
    /// The topic's name.
    #[schema(example = "access.events")]
    topic: String,
    /// Partitions that it has.
    #[schema(example = 4)]
    partitions: u32,
    /// Full name of the latest schema's record; null if it cannot be that of events.
    schema: Option<String>,
    /// What the registry calls the schema.
    schema_id: u32,
    /// The schema's version.
    schema_version: u32,
}

/// The topics that take events.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct List {
    /// By name.
    topics: Vec<Listed>,
    /// There are more.
    truncated: bool,
}

/// Makes a topic or brings it in line. Blocks.
pub(crate) fn make(shared: &Shared, name: &str, wanted: &[u8]) -> Result<Made, Problem> {
    refuse_name(name)?;
    let wanted: Wanted = serde_json::from_slice(wanted).map_err(|error| unread(&error))?;
    let text: Arc<str> = schema_text(&wanted.schema)?.into();
    let form = Form::compile(name, 0, 0, &text).map_err(|why| bad_schema(&why))?;
    let subject = topic::subject(name);
    let before = shared.registry.latest_of(&subject).map_err(|error| registry_failed(name, error))?;
    if let Some(before) = &before {
        compatible(name, &text, before)?;
    }
    let mut did = Vec::new();
    let (created, partitions) = align(&*shared.log, name, &wanted, &mut did)?;
    let after = register(&*shared.registry, name, &text, before.as_ref(), &mut did)?;
    shared.directory.renew(name);
    tracing::info!(topic = name, created, partitions, schema_id = after.id, version = after.version, "topic made");
    Ok(Made {
        topic: name.to_owned(),
        created,
        partitions,
        subject,
        schema_id: after.id,
        schema_version: after.version,
        did,
        notes: notes(&form),
    })
}

/// Every topic that has a schema and is in the log. Blocks.
pub(crate) fn list(shared: &Shared) -> Result<List, Problem> {
    let mut subjects = shared.registry.subject_names().map_err(|error| registry_failed("all", error))?;
    subjects.sort_unstable();
    let (mut topics, mut truncated) = (Vec::new(), false);
    for name in subjects.iter().filter_map(|subject| topic::of_subject(subject)) {
        let Some(partitions) = shared.log.partitions(name).map_err(|error| log_failed(name, &error))? else {
            continue;
        };
        if topics.len() >= LISTED_MAX {
            truncated = true;
            break;
        }
        let latest = match shared.registry.latest_of(&topic::subject(name)) {
            Ok(Some(latest)) => latest,
            Ok(None) | Err(RegistryError::Invalid(_) | RegistryError::Incompatible { .. }) => continue,
            Err(error @ RegistryError::Unavailable(_)) => return Err(registry_failed(name, error)),
        };
        let schema = resolve::parse(&latest.schema).ok().as_ref().and_then(resolve::name);
        topics.push(Listed {
            topic: name.to_owned(),
            partitions,
            schema,
            schema_id: latest.id,
            schema_version: latest.version,
        });
    }
    Ok(List { topics, truncated })
}

fn refuse_name(name: &str) -> Result<(), Problem> {
    topic::refuse_unsound(name)?;
    topic::refuse_reserved(name)?;
    if name == FLOWS_TOPIC {
        let detail = format!(
            "{FLOWS_TOPIC} comes with Tidemark: its schema is that of this version, its partitions and retention are set in the \
             configuration (flows.partitions, flows.retention_ms); take another name, for example access.events"
        );
        return Err(Problem::new(Kind::ReservedTopic, detail));
    }
    Ok(())
}

/// The schema as it was sent, so that the order of its fields and its words stay.
fn schema_text(schema: &RawValue) -> Result<String, Problem> {
    if schema.get().starts_with('"') {
        return serde_json::from_str(schema.get()).map_err(|error| unread(&error));
    }
    Ok(schema.get().to_owned())
}

/// What is worth knowing of a schema for the events of a topic, in words.
pub fn schema_notes(topic: &str, schema: &str) -> Vec<String> {
    match Form::compile(topic, 0, 0, &schema.into()) {
        Ok(form) => notes(&form),
        Err(why) => vec![format!("no events can be posted to {topic}: {why}")],
    }
}

fn notes(form: &Form) -> Vec<String> {
    let mut notes = Vec::new();
    if !form.has_event_id() {
        let note = "the schema has no event_id (a string, best of logical type uuid): jobs cannot tell a repeat from a new event";
        notes.push(note.to_owned());
    }
    if !form.has_tenant() {
        notes.push("the schema has no tenant (a string): its events belong to no one, that is to all".to_owned());
    }
    notes
}
