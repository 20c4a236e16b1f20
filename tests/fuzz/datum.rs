//! Records of our own schemas, read by hand: `kind, datum`. What reads is written again to the same bytes, and Apache's
//! library reads and writes it alike.

use crate::corpus::fuzz;
use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use std::sync::OnceLock;
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::resolve::parse;
use tidemark_schemas::{catalog, dispatch, documents, engine, flows, gateway, jobs, notifications, wire};

/// Reads one record and gives what is written again.
pub type Again = fn(&[u8]) -> Result<Vec<u8>, String>;

macro_rules! kinds {
    ($($schema:ident => $record:ty),* $(,)?) => {
        pub const KINDS: &[(catalog::Schema, Again)] = &[$((catalog::$schema, |datum| {
            let mut reader = Reader::new(datum);
            let record = <$record>::get(&mut reader).map_err(|error| error.to_string())?;
            reader.finish().map_err(|error| error.to_string())?;
            let mut out = Vec::new();
            record.put(&mut out);
            Ok(out)
        })),*];
    };
}

kinds! {
    FLOW_OBSERVED => flows::FlowObserved<'_>,
    FLOW_HOURLY => flows::FlowHourly<'_>,
    PARTIAL => engine::Partial<'_>,
    MARKER => engine::Marker,
    LEDGER => engine::Ledger,
    PROGRESS => engine::Progress,
    ROW_STATE => engine::RowState<'_>,
    SEEN_IDS => engine::SeenIds<'_>,
    LATE_RECORD => engine::LateRecord<'_>,
    SEALED_OUT => engine::SealedOut<'_>,
    DEAD_LETTER => engine::DeadLetter<'_>,
    ANSWER => gateway::Answer<'_>,
    SPOOL_POSITION => gateway::SpoolPosition<'_>,
    JOB_ENTRY => jobs::JobEntry,
    REPAIR => engine::Repair<'_>,
    ANSWERED => dispatch::Answered,
    HEARTBEAT => dispatch::Heartbeat,
    LEASE_REQUESTED => dispatch::LeaseRequested,
    QUEUE_ENTRY => dispatch::QueueEntry,
    REQUEST_ENTRY => dispatch::RequestEntry,
    RUN_TIMES_LEARNED => dispatch::RunTimesLearned,
    TASK_ACTED => dispatch::TaskActed,
    TASK_ENTRY => dispatch::TaskEntry,
    TASK_REPORTED => dispatch::TaskReported,
    TICKED => engine::Ticked,
    WORKER_CHANGED => dispatch::WorkerChanged,
    WORKER_ENTRY => dispatch::WorkerEntry,
    COUNT_ENTRY => documents::CountEntry,
    DOCUMENT => documents::Document,
    DOCUMENT_UPLOADED => documents::DocumentUploaded,
    STEP_ATTEMPTED => documents::StepAttempted,
    TASK_CHANGED => documents::TaskChanged,
    UPLOAD_ENTRY => documents::UploadEntry,
    MAIL_HANDLED => notifications::MailHandled,
    MAIL_REQUESTED => notifications::MailRequested,
}

/// Their schemas.
pub fn schemas() -> &'static [Schema] {
    static SCHEMAS: OnceLock<Vec<Schema>> = OnceLock::new();
    // Parsing sets what Apache's library may allocate at once to 1 MiB.
    SCHEMAS.get_or_init(|| KINDS.iter().map(|(schema, _)| parse(&schema.avsc).unwrap()).collect())
}

/// The same for Apache's library, which else writes the text of a UUID its own way.
pub fn apaches() -> &'static [Schema] {
    static SCHEMAS: OnceLock<Vec<Schema>> = OnceLock::new();
    SCHEMAS.get_or_init(|| KINDS.iter().map(|(schema, _)| parse(&without_uuid(&schema.avsc)).unwrap()).collect())
}

pub fn without_uuid(schema: &str) -> String {
    schema.replace("\"uuid\"", "\"none\"")
}

/// What Apache's library reads.
pub fn apache(writer: &Schema, reader: Option<&Schema>, mut datum: &[u8]) -> Result<Value, String> {
    let reads = GenericDatumReader::builder(writer).maybe_reader_schema(reader).build();
    reads.and_then(|reads| reads.read_value(&mut datum)).map_err(|error| error.to_string())
}

/// Others write arrays in other blocks, and decimals longer than they need; we have one form for each value.
fn check(input: &[u8]) -> Result<(), String> {
    let _ = wire::split(input);
    let Some((kind, datum)) = input.split_first() else { return Ok(()) };
    let kind = usize::from(*kind) % KINDS.len();
    let ((schema, again), apaches) = (&KINDS[kind], &apaches()[kind]);
    let Ok(written) = again(datum) else { return Ok(()) };
    let place = |why: String| format!("{}: {datum:02x?}, written again as {written:02x?}: {why}", schema.name);
    let rewritten = again(&written).map_err(|error| place(format!("is not read again: {error}")))?;
    if rewritten != written {
        return Err(place(format!("and then as {rewritten:02x?}")));
    }
    let (given, ours) = (apache(apaches, None, datum).map_err(place)?, apache(apaches, None, &written).map_err(place)?);
    if given != ours {
        return Err(place(format!("apache-avro reads {given:?} and {ours:?}")));
    }
    Ok(())
}

#[test]
fn data_of_our_schemas() {
    assert_eq!(KINDS.len(), catalog::ALL.len(), "every schema is tried");
    apaches();
    fuzz("datum", check);
}
