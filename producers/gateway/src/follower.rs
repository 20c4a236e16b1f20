//! The thread that follows the answers topic: what other gateways answered, and what this one did before its spool was lost.

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
    let mut position = 0;
    while !shared.pause(PAUSE) {
        let Some(schemas) = shared.schemas() else {
            continue;
        };
        if let Err(error) = follow(shared, schemas, &mut position) {
            tracing::warn!(%error, "{ANSWERS_TOPIC} cannot be followed; trying again");
        }
    }
}

fn follow(shared: &Shared, schemas: SchemaIds, position: &mut i64) -> Result<(), Error> {
    let answers = TopicPartition::new(ANSWERS_TOPIC, 0);
    let ask = |at| shared.log.offsets(std::slice::from_ref(&answers), at);
    let end = ask(At::StableEnd)?.first().copied().unwrap_or(0);
    *position = ask(At::Start)?.first().copied().unwrap_or(0).max(*position);
    let mut reader = shared.log.reader(&[(answers.clone(), *position)])?;
    while !shared.stopping() {
        reader.poll(POLL, &mut |batch| {
            batch.records.iter().filter_map(|record| record.value).for_each(|value| read(shared, schemas, value));
        })?;
        *position = reader.position(&answers)?;
        if *position >= end {
            shared.answers_are_read();
        }
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
