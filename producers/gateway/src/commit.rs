//! The records of a commit: events, the answers to requests with a key, and how far the spool is published.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, SecondsFormat};
use tidemark_log::{Error, Outgoing, Sink, TRACEPARENT};
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::flows::FlowObserved;
use tidemark_schemas::gateway::{Answer, SpoolPosition};
use tidemark_schemas::wire;
use tidemark_spool::Entry;
use uuid::Uuid;

use crate::answers::Given;
use crate::entry::Request;
use crate::flow::TENANT;
use crate::ids::{partition_of, put_key};
use crate::plan::{EventPlace, Plan};
use crate::{ANSWERS_TOPIC, FLOWS_TOPIC, POSITIONS_TOPIC, SchemaIds};

/// What a commit is made from.
pub(crate) struct Commit<'p> {
    pub(crate) queue: &'p VecDeque<Entry>,
    /// Events of the first entry that are published already.
    pub(crate) record: u32,
    pub(crate) plan: Plan,
    pub(crate) suspects: &'p [EventPlace],
    /// Of the flows topic.
    pub(crate) partitions: u32,
    /// Of the other topics that events go to; one that is not here is gone.
    pub(crate) topics: &'p BTreeMap<&'p str, u32>,
    pub(crate) schemas: SchemaIds,
    pub(crate) spool: Uuid,
}

impl Commit<'_> {
    /// Writes the events up to the plan's next, the answers of the entries that it completes, and the position.
    pub(crate) fn write(&self, sink: &mut dyn Sink) -> Result<(), Error> {
        for (at, entry) in self.entries() {
            let request = parse(entry)?;
            for (place, id, value) in self.events(at, entry, request) {
                if !self.suspects.contains(&place) {
                    self.write_one(sink, request, id, value)?;
                }
            }
            if let Some((key, given)) = request.keyed.filter(|_| at < self.plan.whole) {
                write_answer(sink, self.schemas.answer, key, given)?;
            }
        }
        self.write_position(sink)
    }

    /// Events of the commit whose topics are gone.
    pub(crate) fn stranded(&self) -> Result<Vec<Stranded<'_>>, Error> {
        let mut stranded = Vec::new();
        for (at, entry) in self.entries() {
            let request = parse(entry)?;
            if let Some(topic) = request.topic.filter(|topic| !self.topics.contains_key(topic)) {
                let events = self.events(at, entry, request);
                stranded.extend(events.map(|(place, id, value)| Stranded { topic, place, id, value }));
            }
        }
        Ok(stranded)
    }

    /// The entries that the commit takes from, with their places in the queue.
    fn entries(&self) -> impl Iterator<Item = (usize, &Entry)> {
        let part = usize::from(self.plan.next.record > 0);
        self.queue.iter().take(self.plan.whole + part).enumerate()
    }

    /// The events that it takes from the entry at `at`, suspects included.
    fn events<'e>(
        &self,
        at: usize,
        entry: &'e Entry,
        request: Request<'e>,
    ) -> impl Iterator<Item = (EventPlace, Option<Uuid>, &'e [u8])> + use<'e> {
        let start = if at == 0 { self.record } else { 0 };
        let end = if at < self.plan.whole { entry.records } else { self.plan.next.record };
        let numbered = (0..end).zip(request.events()).skip(start as usize);
        numbered.map(|(record, (id, value))| (EventPlace { place: entry.place, record }, id, value))
    }

    fn write_one(
        &self,
        sink: &mut dyn Sink,
        request: Request<'_>,
        id: Option<Uuid>,
        value: &[u8],
    ) -> Result<(), Error> {
        match (request.topic, id) {
            (Some(topic), Some(id)) => match self.topics.get(topic) {
                Some(partitions) => write_named(sink, topic, *partitions, id, value, request.trace),
                None => Ok(()), // gone, and set aside before this
            },
            _ => write_event(sink, value, request.trace, self.partitions),
        }
    }

    fn write_position(&self, sink: &mut dyn Sink) -> Result<(), Error> {
        let EventPlace { place, record } = self.plan.next;
        let (mut text, mut value) = (Uuid::encode_buffer(), Vec::new());
        let position = SpoolPosition {
            spool: self.spool.hyphenated().encode_lower(&mut text),
            run: i64::try_from(place.run).unwrap_or(i64::MAX),
            position: i64::try_from(place.position).unwrap_or(i64::MAX),
            record: i32::try_from(record).unwrap_or(i32::MAX),
        };
        wire::put(self.schemas.position, &position, &mut value);
        let (key, value) = (Some(self.spool.as_bytes().as_slice()), Some(value.as_slice()));
        sink.send(Outgoing { topic: POSITIONS_TOPIC, partition: 0, key, value, headers: &[] })
    }
}

/// An event whose topic is gone.
pub(crate) struct Stranded<'e> {
    pub(crate) topic: &'e str,
    pub(crate) place: EventPlace,
    pub(crate) id: Option<Uuid>,
    pub(crate) value: &'e [u8],
}

/// The request of an entry.
pub(crate) fn parse(entry: &Entry) -> Result<Request<'_>, Error> {
    let later = || {
        let at = entry.place.position;
        Error::Retriable(format!("entry {at} of the spool was written by a later version; start that version again"))
    };
    Request::parse(&entry.payload).ok_or_else(later)
}

/// The flow in a value of the spool.
pub(crate) fn flow(value: &[u8]) -> Option<FlowObserved<'_>> {
    let (_, datum) = wire::split(value).ok()?;
    FlowObserved::get(&mut Reader::new(datum)).ok()
}

fn write_event(sink: &mut dyn Sink, value: &[u8], trace: &[u8], partitions: u32) -> Result<(), Error> {
    let unread = || Error::Invalid("an event of the spool is not a flow".to_owned());
    let flow = flow(value).ok_or_else(unread)?;
    let id = Uuid::parse_str(flow.event_id).map_err(|_| unread())?;
    let time = DateTime::from_timestamp_millis(flow.observed_at).unwrap_or_default();
    let time = time.to_rfc3339_opts(SecondsFormat::Millis, true);
    let headers: [(&str, &[u8]); 6] = [
        ("ce_specversion", b"1.0"),
        ("ce_id", flow.event_id.as_bytes()),
        ("ce_source", b"tidemark/gateway"),
        ("ce_type", FLOWS_TOPIC.as_bytes()),
        ("ce_time", time.as_bytes()),
        (TRACEPARENT, trace),
    ];
    let partition = partition_of(id, partitions);
    sink.send(Outgoing { topic: FLOWS_TOPIC, partition, key: None, value: Some(value), headers: &headers })
}

/// An event of a topic with a schema of its own. When it happened is for the jobs to say, so there is no `ce_time`. Its key is its
/// id: a compacted topic takes no event without one.
fn write_named(
    sink: &mut dyn Sink,
    topic: &str,
    partitions: u32,
    id: Uuid,
    value: &[u8],
    trace: &[u8],
) -> Result<(), Error> {
    let mut text = Uuid::encode_buffer();
    let key = id.hyphenated().encode_lower(&mut text).as_bytes();
    let headers: [(&str, &[u8]); 5] = [
        ("ce_specversion", b"1.0"),
        ("ce_id", key),
        ("ce_source", b"tidemark/gateway"),
        ("ce_type", topic.as_bytes()),
        (TRACEPARENT, trace),
    ];
    let partition = partition_of(id, partitions);
    sink.send(Outgoing { topic, partition, key: Some(key), value: Some(value), headers: &headers })
}

fn write_answer(sink: &mut dyn Sink, schema: u32, key: &str, given: Given) -> Result<(), Error> {
    let (mut record_key, mut value, mut text) = (Vec::new(), Vec::new(), Uuid::encode_buffer());
    let request = given.request.to_be_bytes();
    put_key(TENANT, key, &mut record_key);
    let answer = Answer {
        tenant: TENANT,
        key,
        request_hash: &request,
        received_at: given.received_at,
        first_id: given.first_id.hyphenated().encode_lower(&mut text),
    };
    wire::put(schema, &answer, &mut value);
    let (key, value) = (Some(record_key.as_slice()), Some(value.as_slice()));
    sink.send(Outgoing { topic: ANSWERS_TOPIC, partition: 0, key, value, headers: &[] })
}
