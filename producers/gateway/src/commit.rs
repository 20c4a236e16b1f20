//! The records of a commit: the events, the answers to requests with a key, and the gateway's own record.

use chrono::{DateTime, SecondsFormat};
use tidemark_log::{Error, Outgoing, Sink, TRACEPARENT, TraceContext};
use tidemark_schemas::gateway::Answer;
use tidemark_schemas::wire;
use uuid::Uuid;

use crate::answers::Given;
use crate::batch::{Batch, put_key};
use crate::flow::TENANT;
use crate::publisher::Job;
use crate::{ANSWERS_TOPIC, FLOWS_TOPIC, SchemaIds};

/// Everything of one commit: the events, the answers and the gateway's own record.
pub(crate) fn write(
    sink: &mut dyn Sink,
    jobs: &[Job],
    partitions: u32,
    schemas: SchemaIds,
    gateway: &str,
    commit: Uuid,
) -> Result<(), Error> {
    for job in jobs {
        write_events(sink, &job.batch, partitions, job.span.context())?;
        if let Some(claim) = &job.claim {
            write_answer(sink, schemas.answer, TENANT, &claim.key, Some(claim.given), claim.given.first_id)?;
        }
    }
    write_answer(sink, schemas.answer, "", gateway, None, commit)
}

fn write_events(sink: &mut dyn Sink, batch: &Batch, partitions: u32, trace: TraceContext) -> Result<(), Error> {
    let trace = trace.header();
    let mut id = Uuid::encode_buffer();
    for (event, value) in batch.iter() {
        let time = DateTime::from_timestamp_millis(event.observed_at).unwrap_or_default();
        let time = time.to_rfc3339_opts(SecondsFormat::Millis, true);
        let headers: [(&str, &[u8]); 6] = [
            ("ce_specversion", b"1.0"),
            ("ce_id", event.id.hyphenated().encode_lower(&mut id).as_bytes()),
            ("ce_source", b"tidemark/gateway"),
            ("ce_type", FLOWS_TOPIC.as_bytes()),
            ("ce_time", time.as_bytes()),
            (TRACEPARENT, trace.as_bytes()),
        ];
        let partition = u32::try_from(event.hash % u64::from(partitions)).unwrap_or(0);
        sink.send(Outgoing { topic: FLOWS_TOPIC, partition, key: None, value: Some(value), headers: &headers })?;
    }
    Ok(())
}

fn write_answer(
    sink: &mut dyn Sink,
    schema: u32,
    tenant: &str,
    key: &str,
    given: Option<Given>,
    id: Uuid,
) -> Result<(), Error> {
    let (mut record_key, mut value, mut text) = (Vec::new(), Vec::new(), Uuid::encode_buffer());
    let request = given.map(|given| given.request.to_be_bytes());
    put_key(tenant, key, &mut record_key);
    let answer = Answer {
        tenant,
        key,
        request_hash: request.as_ref().map_or(&[], <[u8; 16]>::as_slice),
        received_at: given.map_or(0, |given| given.received_at),
        first_id: id.hyphenated().encode_lower(&mut text),
    };
    wire::put(schema, &answer, &mut value);
    let (key, value) = (Some(record_key.as_slice()), Some(value.as_slice()));
    sink.send(Outgoing { topic: ANSWERS_TOPIC, partition: 0, key, value, headers: &[] })
}
