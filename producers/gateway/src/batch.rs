//! The records of one request: checked, encoded and given their ids, with the errors of those that break rules.

use tidemark_schemas::avro::{Reader, put_bytes};
use tidemark_schemas::flows::FlowObserved;
use tidemark_schemas::wire;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use crate::draft::Draft;
use crate::flow::{self, Flow, Received, TENANT};
use crate::problem::{ERRORS_LISTED_MAX, Kind, Problem, RecordError};
use crate::rule::{Finding, Rule};

/// Most records in one request.
pub(crate) const RECORDS_MAX: usize = 100_000;

/// Magic byte and schema id before the datum.
const WIRE_HEADER: usize = 5;

/// One event of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event {
    /// Of the Avro bytes of its four key fields; the partition is its remainder.
    pub(crate) hash: u64,
    pub(crate) id: Uuid,
    pub(crate) observed_at: i64,
    /// Where its value ends in the batch's bytes.
    end: usize,
}

/// Encoded events.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    events: Vec<Event>,
}

impl Batch {
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = Uuid> {
        self.events.iter().map(|event| event.id)
    }

    /// The events with their values in the wire format, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Event, &[u8])> {
        let mut start = 0;
        self.events.iter().map(move |event| {
            let value = self.bytes.get(start..event.end).unwrap_or_default();
            start = event.end;
            (event, value)
        })
    }

    fn push(&mut self, flow: &Flow<'_>, id: Uuid, schema: u32) {
        let start = self.bytes.len();
        let mut text = Uuid::encode_buffer();
        let record = FlowObserved {
            tenant: TENANT,
            src_app: &flow.src_app,
            dest_app: &flow.dest_app,
            vpc_id: &flow.vpc_id,
            observed_at: flow.observed_at,
            bytes_tx: flow.bytes_tx,
            bytes_rx: flow.bytes_rx,
            event_id: id.hyphenated().encode_lower(&mut text),
        };
        wire::put(schema, &record, &mut self.bytes);
        let hash = key_hash(self.bytes.get(start + WIRE_HEADER..).unwrap_or_default());
        self.events.push(Event { hash, id, observed_at: flow.observed_at, end: self.bytes.len() });
    }
}

/// Hash of the four key fields, which stand first in the datum.
fn key_hash(datum: &[u8]) -> u64 {
    let mut reader = Reader::new(datum);
    let read = (0..4).try_for_each(|_| reader.bytes().map(drop));
    debug_assert!(read.is_ok(), "just written");
    xxh3_64(datum.get(..datum.len() - reader.left().len()).unwrap_or(datum))
}

/// What decides about records, besides the body: the same twice gives the same batch twice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Basis {
    pub(crate) received: Received,
    /// Id of the first record; the others count up from it.
    pub(crate) first_id: Uuid,
    /// Schema id of the values.
    pub(crate) schema: u32,
}

/// What became of the records of a request.
#[derive(Debug, Default)]
pub(crate) struct Decided {
    pub(crate) batch: Batch,
    /// At most [`ERRORS_LISTED_MAX`].
    pub(crate) errors: Vec<RecordError>,
    pub(crate) errors_total: usize,
    pub(crate) records: usize,
    pub(crate) records_refused: usize,
    /// Whether one of the errors is about syntax, not about a rule.
    pub(crate) malformed: bool,
    /// How often each rule was broken, in the order of [`Rule::ALL`].
    pub(crate) broken: [u64; Rule::ALL.len()],
}

/// Takes the records of a request one by one.
pub(crate) struct Collector<'d> {
    basis: Basis,
    decided: &'d mut Decided,
}

impl<'d> Collector<'d> {
    pub(crate) fn new(basis: Basis, decided: &'d mut Decided) -> Self {
        Self { basis, decided }
    }

    /// Adds a record; fails when the request holds too many.
    pub(crate) fn add(&mut self, draft: Result<Draft<'_>, Finding>, line: Option<usize>) -> Result<(), Problem> {
        let index = self.decided.records;
        if index >= RECORDS_MAX {
            return Err(too_many());
        }
        self.decided.records += 1;
        let checked = draft.map_err(|finding| vec![finding]).and_then(|draft| flow::check(draft, self.basis.received));
        match checked {
            Ok(flow) => {
                let id = flow.event_id.unwrap_or_else(|| nth_id(self.basis.first_id, index));
                self.decided.batch.push(&flow, id, self.basis.schema);
            }
            Err(findings) => {
                self.decided.records_refused += 1;
                findings.into_iter().for_each(|finding| self.refuse(index, line, finding));
            }
        }
        Ok(())
    }

    fn refuse(&mut self, index: usize, line: Option<usize>, finding: Finding) {
        let Finding { field, rule, message, fix } = finding;
        self.decided.errors_total += 1;
        self.decided.malformed |= rule == Rule::Malformed;
        if let Some(count) = self.decided.broken.get_mut(rule as usize) {
            *count += 1;
        }
        if self.decided.errors.len() < ERRORS_LISTED_MAX {
            self.decided.errors.push(RecordError { index, line, field, rule: rule.name(), message, fix });
        }
    }
}

fn too_many() -> Problem {
    let detail =
        format!("at most {RECORDS_MAX} records are taken in one request; nothing was accepted, send fewer at a time");
    Problem::new(Kind::TooManyRecords, detail)
}

/// A UUIDv7 of this millisecond with room to count up: RFC 9562 section 6.2, "monotonic random". The top bit of the last
/// 62 is left clear, so that counting never reaches the variant.
pub(crate) fn first_id(now_ms: i64) -> Uuid {
    let random = Uuid::now_v7();
    let mut bytes = [0; 10];
    bytes.iter_mut().zip(random.as_bytes().iter().skip(6)).for_each(|(to, from)| *to = *from);
    let id = uuid::Builder::from_unix_timestamp_millis(u64::try_from(now_ms).unwrap_or(0), &bytes).into_uuid();
    Uuid::from_u128(id.as_u128() & !(1 << 61))
}

fn nth_id(first: Uuid, index: usize) -> Uuid {
    Uuid::from_u128(first.as_u128().wrapping_add(index as u128))
}

/// Appends the Kafka key of a gateway record: tenant and key as Avro strings.
pub(crate) fn put_key(tenant: &str, key: &str, out: &mut Vec<u8>) {
    for text in [tenant, key] {
        put_bytes(out, text.as_bytes());
    }
}
