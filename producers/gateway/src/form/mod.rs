//! The form of a topic's events: its Avro schema, made ready to read JSON and Avro files by.
//!
//! A form is made once for each version of a schema and shared by all requests. Promise: what [`Form`] encodes is a datum of the
//! schema, and of JSON it is exactly what was sent: a value that would be changed is refused, but for times, which are cut off at
//! the schema's unit, and floats, which are the nearest ones. Limits: [`DEPTH_MAX`] levels of JSON, [`VALUES_MAX`] values in a
//! body, [`EVENT_MAX`] bytes for an event.

use std::collections::HashMap;
use std::sync::Arc;

mod compile;
mod decimal;
mod encode;
mod file;
mod fill;
mod leaf;
mod parts;
#[cfg(test)]
mod tests;
mod time;

pub(crate) use encode::{Encoder, TooMany};
pub(crate) use file::Files;

/// Deepest nesting of arrays and objects that is read of an event.
pub(crate) const DEPTH_MAX: usize = 32;
/// Most values looked at in one body; a union may look at one more than once.
pub(crate) const VALUES_MAX: usize = 10_000_000;
/// Largest event, bytes, encoded: Kafka takes records of 1 MiB unless it is told otherwise, headers included.
pub(crate) const EVENT_MAX: usize = 768 << 10;

/// An event type: a topic and the schema that is registered for it.
#[derive(Debug)]
pub(crate) struct Form {
    pub(crate) topic: Arc<str>,
    /// What the registry calls the schema.
    pub(crate) schema_id: u32,
    /// The schema's version under the topic's subject.
    pub(crate) version: u32,
    /// Full name of the record.
    pub(crate) name: String,
    /// Avro JSON.
    pub(crate) text: Arc<str>,
    nodes: Vec<Node>,
    /// Index of the record.
    root: usize,
}

/// A type. Numbers point into [`Form::nodes`], so that a schema may name itself.
#[derive(Debug)]
enum Node {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Text,
    Bytes,
    Fixed(usize),
    Enum(Vec<String>),
    Array(usize),
    Map(usize),
    Record(Record),
    Union(Vec<usize>),
    Decimal(Decimal),
    Uuid(Uuids),
    Time(Time),
    /// Has no form in JSON here; its length in Avro, if it is fixed.
    Opaque(&'static str, Option<usize>),
}

#[derive(Debug, Default)]
struct Record {
    fields: Vec<Field>,
    by_name: HashMap<String, usize>,
}

#[derive(Debug)]
struct Field {
    name: String,
    node: usize,
    /// What stands for the field when it is left out, encoded: its default, else null if it may be.
    absent: Option<Vec<u8>>,
    /// What the gateway puts there when it is left out of the outermost record.
    fill: Option<Fill>,
}

/// Fields that every event should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fill {
    Tenant,
    EventId,
}

/// A number with a fixed count of digits after the point.
#[derive(Debug, Clone, Copy)]
struct Decimal {
    precision: usize,
    scale: usize,
    /// Length of the fixed that it stands in; else it is as long as it needs.
    fixed: Option<usize>,
}

/// How a UUID is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Uuids {
    Text,
    Bytes,
    Fixed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Time {
    /// Days since 1970.
    Date,
    /// Since midnight.
    OfDay(Unit),
    /// Since 1970-01-01T00:00:00Z.
    Instant(Unit),
    /// The same without a time zone.
    Local(Unit),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Millis,
    Micros,
    Nanos,
}

impl Form {
    /// Whether an event has its id within.
    pub(crate) fn has_event_id(&self) -> bool {
        self.fields().iter().any(|field| field.fill == Some(Fill::EventId))
    }

    /// Whether an event says whose it is.
    pub(crate) fn has_tenant(&self) -> bool {
        self.fields().iter().any(|field| field.fill == Some(Fill::Tenant))
    }

    fn fields(&self) -> &[Field] {
        match self.nodes.get(self.root) {
            Some(Node::Record(record)) => &record.fields,
            _ => &[],
        }
    }

    fn node(&self, at: usize) -> &Node {
        // No form points outside itself.
        self.nodes.get(at).unwrap_or(&Node::Null)
    }
}
