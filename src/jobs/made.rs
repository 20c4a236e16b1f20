//! Topics and schemas that come with a job file are made before the job is.

use super::http::{Context, Problem};
use axum::http::StatusCode;
use tidemark_jobs::sources::{Proposal, Step, subject};
use tidemark_log::{Cleanup, TopicSpec};
use tidemark_schemas::registry::Error;
use tidemark_spec::instant::duration;

/// Partitions of a topic that is made for a job.
const PARTITIONS: u32 = 4;
/// Its records are kept for so long.
const RETENTION_MS: i64 = 7 * 86_400_000;

/// Registers schemas and makes topics that are missing; gives what was done, and what is worth knowing of what is new.
pub(super) fn make(context: &Context, proposals: &[Proposal]) -> Result<(Vec<String>, Vec<String>), Problem> {
    let unavailable = |error: &dyn std::fmt::Display| Problem::unavailable(error.to_string());
    let (mut did, mut notes) = (Vec::new(), Vec::new());
    for Proposal { topic, schema, step, is_table } in proposals {
        let subject = subject(topic);
        match step {
            Step::First | Step::Next => {
                context.registry.register(&subject, schema).map_err(|error| refused(topic, error))?;
                let latest = context.registry.latest_of(&subject).map_err(|e| unavailable(&e))?;
                let version = latest.map_or(1, |latest| latest.version);
                did.push(match step {
                    Step::Next => format!("{topic}.avsc has changed, and is version {version} of {subject} now"),
                    _ => format!("schema of {topic} is registered as {subject}"),
                });
                notes.extend(
                    tidemark_gateway::schema_notes(topic, schema).into_iter().map(|note| format!("{topic}: {note}")),
                );
            }
            Step::Earlier => notes.push(format!(
                "{topic}.avsc is an earlier version of {subject}: the one in force is taken, see \
                 GET /registry/subjects/{subject}/versions/latest"
            )),
            Step::Ours => notes
                .push(format!("{topic}.avsc is passed over: {topic} comes with the platform, and so does its schema")),
            Step::Same => {}
        }
        if *step == Step::Ours || context.log.partitions(topic).map_err(|e| unavailable(&e))?.is_some() {
            continue;
        }
        // A table is all that was ever said of its rows.
        let retention_ms = (!is_table).then_some(RETENTION_MS);
        let name = topic.clone();
        let spec = TopicSpec { name, partitions: PARTITIONS, cleanup: Cleanup::Delete, retention_ms };
        context.log.create_topics(&[spec]).map_err(|e| unavailable(&e))?;
        let kept = retention_ms.map_or("for ever".to_owned(), duration);
        did.push(format!("topic {topic} is made: {PARTITIONS} partitions, kept {kept}"));
    }
    Ok((did, notes))
}

/// The registry has rules of its own.
fn refused(topic: &str, error: Error) -> Problem {
    match error {
        Error::Unavailable(why) => Problem::unavailable(why),
        Error::Invalid(_) | Error::Incompatible { .. } => {
            let detail = format!("{topic}.avsc: {error}");
            Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "schema",
                "the registry refuses a schema; the job was not changed",
                detail,
            )
        }
    }
}
