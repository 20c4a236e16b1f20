//! The records of one request: checked, encoded and given their ids, with the errors of those that break rules.

use tidemark_schemas::flows::FlowObserved;
use tidemark_schemas::wire;
use uuid::Uuid;

use crate::body::Room;
use crate::draft::Draft;
use crate::flow::{self, Flow, Received, TENANT};
use crate::form::EVENT_MAX;
use crate::ids::nth_id;
use crate::problem::{ERRORS_LISTED_MAX, Kind, Problem, RecordError};
use crate::rule::{Finding, Rule};

/// Most records in one request.
pub(crate) const RECORDS_MAX: usize = 100_000;
/// Most bytes of events in one request, encoded. A body of the largest size comes to less, unless it is of Avro enums: one byte
/// of those may stand for 256.
pub(crate) const EVENTS_BYTES_MAX: usize = 32 << 20;
const _: () = assert!(EVENTS_BYTES_MAX + RECORDS_MAX * 20 + (64 << 10) <= tidemark_spool::PAYLOAD_MAX);
/// Room for events is taken in such steps, bytes.
const STEP: usize = 4 << 10;
/// Bytes of an event besides its value: its place here, and its id in the answer.
const EVENT_BYTES: usize = size_of::<Event>() + 40;

/// One event of a batch.
#[derive(Debug, Clone, Copy)]
struct Event {
    id: Uuid,
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

    /// The events' values in the wire format, in order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.events.iter().map(move |event| {
            let value = self.bytes.get(start..event.end).unwrap_or_default();
            start = event.end;
            value
        })
    }

    fn push(&mut self, flow: &Flow<'_>, id: Uuid, schema: u32) {
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
        self.events.push(Event { id, end: self.bytes.len() });
    }

    #[cfg(test)]
    pub(crate) fn of(values: &[&[u8]]) -> Self {
        let mut batch = Self::default();
        for value in values {
            batch.bytes.extend_from_slice(value);
            batch.events.push(Event { id: Uuid::nil(), end: batch.bytes.len() });
        }
        batch
    }
}

/// What decides about records, besides the body: the same twice gives the same batch twice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Basis {
    pub(crate) received: Received,
    /// Id of the first record; the others count up from it.
    pub(crate) first_id: Uuid,
    /// Schema id of the values.
    pub(crate) schema: u32,
    /// All of the records were accepted before, perhaps by an earlier version of their schema: the answer is given again, and
    /// what this version says of them is of no matter.
    pub(crate) accepted_before: bool,
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
    room: &'d mut Room,
    /// Of it, bytes taken for events.
    taken: usize,
}

impl<'d> Collector<'d> {
    pub(crate) fn new(basis: Basis, decided: &'d mut Decided, room: &'d mut Room) -> Self {
        Self { basis, decided, room, taken: 0 }
    }

    fn next(&mut self) -> Result<usize, Problem> {
        let index = self.decided.records;
        if index >= RECORDS_MAX {
            return Err(too_many());
        }
        self.decided.records += 1;
        Ok(index)
    }

    /// Adds an event that `encode` appends to the bytes it is given, with the id that it is given or its own; fails when the
    /// request holds too many, or more than there is room for.
    pub(crate) fn put(
        &mut self,
        line: Option<usize>,
        encode: impl FnOnce(Uuid, &mut Vec<u8>) -> Result<(Uuid, Vec<Finding>), Problem>,
    ) -> Result<(), Problem> {
        let index = self.next()?;
        let bytes = &mut self.decided.batch.bytes;
        let start = bytes.len();
        wire::put_header(self.basis.schema, bytes);
        let (id, mut findings) = encode(nth_id(self.basis.first_id, index), bytes)?;
        let size = bytes.len() - start;
        if findings.is_empty() && size > EVENT_MAX {
            findings.push(too_long(size));
        }
        if findings.is_empty() || self.basis.accepted_before {
            self.decided.batch.events.push(Event { id, end: self.decided.batch.bytes.len() });
            return self.make_room();
        }
        bytes.truncate(start);
        self.decided.records_refused += 1;
        findings.into_iter().for_each(|finding| self.refuse(index, line, finding));
        Ok(())
    }

    /// Adds a flow; fails when the request holds too many, or more than there is room for.
    pub(crate) fn add(&mut self, draft: Result<Draft<'_>, Finding>, line: Option<usize>) -> Result<(), Problem> {
        let index = self.next()?;
        let checked = draft.map_err(|finding| vec![finding]).and_then(|draft| flow::check(draft, self.basis.received));
        match checked {
            Ok(flow) => {
                let id = flow.event_id.unwrap_or_else(|| nth_id(self.basis.first_id, index));
                self.decided.batch.push(&flow, id, self.basis.schema);
                self.make_room()?;
            }
            Err(findings) => {
                self.decided.records_refused += 1;
                findings.into_iter().for_each(|finding| self.refuse(index, line, finding));
            }
        }
        Ok(())
    }

    fn make_room(&mut self) -> Result<(), Problem> {
        let batch = &self.decided.batch;
        if batch.bytes() > EVENTS_BYTES_MAX {
            return Err(too_large());
        }
        let needed = batch.bytes() + batch.len() * EVENT_BYTES;
        while self.taken < needed {
            self.room.grow(STEP)?;
            self.taken += STEP;
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

fn too_long(size: usize) -> Finding {
    let message =
        format!("the record has {size} bytes in Avro; at most {EVENT_MAX} are taken, since the log takes no more");
    Finding::whole(Rule::TooLong, message, "send less in one record")
}

fn too_many() -> Problem {
    let detail =
        format!("at most {RECORDS_MAX} records are taken in one request; nothing was accepted, send fewer at a time");
    Problem::new(Kind::TooManyRecords, detail)
}

fn too_large() -> Problem {
    let detail = format!(
        "the records come to more than {EVENTS_BYTES_MAX} bytes of events, enums written out; nothing was accepted, send fewer \
         at a time"
    );
    Problem::new(Kind::BodyTooLarge, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draft::Raw;
    use std::sync::Arc;
    use tokio::sync::Semaphore;

    /// Room runs out where the events are, not where the body was: 100 records of 700 bytes do not fit into 40 KiB.
    #[test]
    fn events_take_room() {
        let kib = Arc::new(Semaphore::new(40));
        let (mut decided, mut room) = (Decided::default(), Room::of(&kib));
        let basis = Basis {
            received: Received { at: 0, max_future_ms: 0 },
            first_id: Uuid::nil(),
            schema: 0,
            accepted_before: false,
        };
        let mut records = Collector::new(basis, &mut decided, &mut room);
        let name = || Raw::Text("n".repeat(200).into());
        let draft = || Draft {
            src_app: name(),
            dest_app: name(),
            vpc_id: name(),
            bytes_tx: Raw::Integer(0),
            bytes_rx: Raw::Integer(0),
            observed_at: Raw::Integer(0),
            ..Draft::default()
        };
        let taken = (0..100).take_while(|_| records.add(Ok(draft()), None).is_ok()).count();
        assert_eq!((taken, kib.available_permits()), (56, 0));
        drop(room);
        assert_eq!(kib.available_permits(), 40);
    }
}
