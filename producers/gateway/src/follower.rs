//! The thread that follows the answers topic: its own answers after a restart, those of other gateways, and what became of
//! commits in doubt.

use std::time::Duration;

use tidemark_log::{At, Error, TopicPartition};
use tidemark_schemas::wire;

use crate::{ANSWERS_TOPIC, SchemaIds, Shared};

/// How long a poll waits for records.
const POLL: Duration = Duration::from_millis(100);
/// After a failure, and until the schemas are registered and the topic is there.
const PAUSE: Duration = Duration::from_millis(50);

/// Follows the topic until the gateway stops.
pub(crate) fn run(shared: &Shared) {
    while !shared.pause(PAUSE) {
        let Some(schemas) = shared.schemas.get() else {
            continue;
        };
        if let Err(error) = follow(shared, *schemas) {
            tracing::warn!(%error, "{ANSWERS_TOPIC} cannot be followed; trying again");
            shared.set_reason("answers", Some(format!("{ANSWERS_TOPIC} cannot be read: {error}; trying again")));
        }
    }
}

fn follow(shared: &Shared, schemas: SchemaIds) -> Result<(), Error> {
    let answers = TopicPartition::new(ANSWERS_TOPIC, 0);
    let start = shared.log.offsets(std::slice::from_ref(&answers), At::Start)?.first().copied().unwrap_or(0);
    let from = start.max(shared.answers.position());
    let mut reader = shared.log.reader(&[(answers.clone(), from)])?;
    shared.set_reason("answers", None);
    while !shared.stopping() {
        reader.poll(POLL, &mut |batch| {
            batch.records.iter().filter_map(|record| record.value).for_each(|value| read(shared, schemas, value));
        })?;
        shared.answers.reached(reader.position(&answers)?);
        shared.metrics.keys(shared.answers.len());
    }
    Ok(())
}

/// An answer that cannot be read is counted: its request, repeated, would be taken for a new one.
fn read(shared: &Shared, schemas: SchemaIds, value: &[u8]) {
    let known = wire::split(value).ok().filter(|(schema, _)| *schema == schemas.answer);
    let read = known.is_some_and(|(_, datum)| shared.answers.read(datum, (shared.clock)()).is_ok());
    if !read {
        shared.metrics.answer_unread();
        tracing::error!("a record of {ANSWERS_TOPIC} is not of schema {} and was passed over", schemas.answer);
    }
}
