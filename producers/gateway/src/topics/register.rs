//! The schema in the registry.

use tidemark_schemas::registry::compat::Level;
use tidemark_schemas::registry::{Latest, Registry};
use tidemark_schemas::resolve;

use super::refusal::{bad_schema, incompatible, registry_failed};
use crate::problem::{Kind, Problem};
use crate::topic;

/// Refuses a schema that cannot read what the latest one wrote, whatever the registry allows.
pub(super) fn compatible(name: &str, text: &str, before: &Latest) -> Result<(), Problem> {
    let new = resolve::parse(text).map_err(|why| bad_schema(&why))?;
    let Ok(old) = resolve::parse(&before.schema) else {
        return Ok(()); // what cannot be read has no readers; the registry has the last word
    };
    let reasons = Level::Backward.problems(&new, &old);
    if reasons.is_empty() {
        return Ok(());
    }
    Err(incompatible(name, &format!("version {}: {}", before.version, reasons.join("; "))))
}

/// Registers the schema; the same again changes nothing.
pub(super) fn register(
    registry: &dyn Registry,
    name: &str,
    text: &str,
    before: Option<&Latest>,
    did: &mut Vec<String>,
) -> Result<Latest, Problem> {
    let subject = topic::subject(name);
    let id = registry.register(&subject, text).map_err(|error| registry_failed(name, error))?;
    if let Some(before) = before.filter(|before| before.id == id) {
        did.push(format!("the schema was registered under {subject} as version {} and is the same", before.version));
        return Ok(before.clone());
    }
    let after = registry.latest_of(&subject).map_err(|error| registry_failed(name, error))?;
    let after = after.filter(|after| after.id == id).ok_or_else(|| {
        let detail = format!(
            "the schema is an earlier version under {subject} (id {id}), and a later one is in force; change the schema from \
             the latest version on, or name another topic"
        );
        Problem::new(Kind::TopicConflict, detail)
    })?;
    did.push(format!("registered the schema under {subject} as version {} (id {id})", after.version));
    Ok(after)
}
