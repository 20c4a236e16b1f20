//! From a schema's text to a form.

use std::collections::HashMap;
use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::schema::{
    FixedSchema, InnerDecimalSchema, Name, NamesRef, RecordField, RecordSchema, ResolvedSchema, UuidSchema,
};
use tidemark_schemas::avro::put_long;
use tidemark_schemas::resolve;

use super::{Decimal, Field, Fill, Form, Node, Record, Time, Unit, Uuids};

/// Largest form, in types.
const NODES_MAX: usize = 20_000;
/// Deepest schema.
const SCHEMA_DEPTH_MAX: usize = 64;
/// Most digits of a decimal: the work grows with their square.
const PRECISION_MAX: usize = 1_000;

impl Form {
    /// The form of `text`, which is registered for `topic`.
    ///
    /// # Errors
    /// It is not Avro, not a record, or a default is not of its field's type; the text says which and what to do.
    pub(crate) fn compile(topic: &str, schema_id: u32, version: u32, text: &Arc<str>) -> Result<Self, String> {
        // Avro's own message does not say where.
        serde_json::from_str::<&serde_json::value::RawValue>(text)
            .map_err(|error| format!("the schema is not JSON: {error}"))?;
        let schema = resolve::parse(text)?;
        let Schema::Record(record) = &schema else {
            return Err("the schema is not a record; make the outermost type a record, one field for each value".into());
        };
        let resolved = ResolvedSchema::new(&schema).map_err(|error| error.to_string())?;
        let mut compiler = Compiler { names: resolved.get_names(), nodes: Vec::new(), records: HashMap::new() };
        let root = compiler.node(&schema, 0)?;
        let mut form = Self {
            topic: topic.into(),
            schema_id,
            version,
            name: record.name.fullname(None),
            text: Arc::clone(text),
            nodes: compiler.nodes,
            root,
        };
        form.mark_fills();
        Ok(form)
    }

    /// Fields that are called `tenant` and `event_id` and can hold text, or a UUID, are the gateway's to fill.
    fn mark_fills(&mut self) {
        let fills: Vec<Option<Fill>> = self.fields().iter().map(|field| self.fill(field)).collect();
        if let Some(Node::Record(record)) = self.nodes.get_mut(self.root) {
            record.fields.iter_mut().zip(fills).for_each(|(field, fill)| field.fill = fill);
        }
    }

    fn fill(&self, field: &Field) -> Option<Fill> {
        let fill = match field.name.as_str() {
            "tenant" => Fill::Tenant,
            "event_id" => Fill::EventId,
            _ => return None,
        };
        self.filled_branch(field.node, fill).map(|_| fill)
    }
}

struct Compiler<'s> {
    names: &'s NamesRef<'s>,
    nodes: Vec<Node>,
    /// Records under way or done.
    records: HashMap<&'s Name, usize>,
}

impl<'s> Compiler<'s> {
    fn push(&mut self, node: Node) -> Result<usize, String> {
        if self.nodes.len() >= NODES_MAX {
            return Err(format!("the schema has more than {NODES_MAX} types; split it"));
        }
        self.nodes.push(node);
        Ok(self.nodes.len() - 1)
    }

    fn node(&mut self, schema: &'s Schema, depth: usize) -> Result<usize, String> {
        if depth > SCHEMA_DEPTH_MAX {
            return Err(format!("the schema nests deeper than {SCHEMA_DEPTH_MAX} levels; make it flatter"));
        }
        let node = match schema {
            Schema::Ref { name } => {
                let named = self.names.get(name).copied();
                return self.node(
                    named.ok_or_else(|| format!("the schema names {name}, which it does not define"))?,
                    depth + 1,
                );
            }
            Schema::Record(record) => return self.record(record, depth),
            Schema::Array(array) => Node::Array(self.node(&array.items, depth + 1)?),
            Schema::Map(map) => Node::Map(self.node(&map.types, depth + 1)?),
            Schema::Union(union) => {
                let branches = union.variants().iter().map(|branch| self.node(branch, depth + 1));
                Node::Union(branches.collect::<Result<_, _>>()?)
            }
            Schema::Enum(symbols) => Node::Enum(symbols.symbols.clone()),
            leaf => leaf_node(leaf),
        };
        self.push(node)
    }

    fn record(&mut self, record: &'s RecordSchema, depth: usize) -> Result<usize, String> {
        if let Some(known) = self.records.get(&record.name) {
            return Ok(*known);
        }
        let at = self.push(Node::Record(Record::default()))?;
        self.records.insert(&record.name, at);
        let mut made = Record::default();
        for field in &record.fields {
            let node = self.node(&field.schema, depth + 1)?;
            made.by_name.insert(field.name.clone(), made.fields.len());
            made.fields.push(Field { name: field.name.clone(), node, absent: self.absent(field)?, fill: None });
        }
        if let Some(place) = self.nodes.get_mut(at) {
            *place = Node::Record(made);
        }
        Ok(at)
    }

    fn absent(&self, field: &RecordField) -> Result<Option<Vec<u8>>, String> {
        if let Some(default) = &field.default {
            let encoded = resolve::encode_default(default, &field.schema, self.names);
            return encoded.map(Some).map_err(|why| format!("field {}: {why}; correct the default", field.name));
        }
        Ok(match &field.schema {
            Schema::Null => Some(Vec::new()),
            Schema::Union(union) => {
                let null = union.variants().iter().position(|branch| matches!(branch, Schema::Null));
                null.map(|branch| {
                    let mut encoded = Vec::new();
                    put_long(&mut encoded, i64::try_from(branch).unwrap_or(0));
                    encoded
                })
            }
            _ => None,
        })
    }
}

fn leaf_node(schema: &Schema) -> Node {
    match schema {
        Schema::Boolean => Node::Boolean,
        Schema::Int => Node::Int,
        Schema::Long => Node::Long,
        Schema::Float => Node::Float,
        Schema::Double => Node::Double,
        Schema::Bytes => Node::Bytes,
        Schema::String => Node::Text,
        Schema::Fixed(fixed) => Node::Fixed(fixed.size),
        Schema::Decimal(decimal) => decimal_node(decimal.precision, decimal.scale, &decimal.inner),
        Schema::BigDecimal => Node::Opaque("a big-decimal", None),
        Schema::Duration(fixed) => Node::Opaque("a duration", Some(fixed.size)),
        Schema::Uuid(UuidSchema::String) => Node::Uuid(Uuids::Text),
        Schema::Uuid(UuidSchema::Bytes) => Node::Uuid(Uuids::Bytes),
        Schema::Uuid(UuidSchema::Fixed(FixedSchema { size: 16, .. })) => Node::Uuid(Uuids::Fixed),
        Schema::Uuid(UuidSchema::Fixed(fixed)) => Node::Fixed(fixed.size),
        Schema::Date => Node::Time(Time::Date),
        Schema::TimeMillis => Node::Time(Time::OfDay(Unit::Millis)),
        Schema::TimeMicros => Node::Time(Time::OfDay(Unit::Micros)),
        Schema::TimestampMillis => Node::Time(Time::Instant(Unit::Millis)),
        Schema::TimestampMicros => Node::Time(Time::Instant(Unit::Micros)),
        Schema::TimestampNanos => Node::Time(Time::Instant(Unit::Nanos)),
        Schema::LocalTimestampMillis => Node::Time(Time::Local(Unit::Millis)),
        Schema::LocalTimestampMicros => Node::Time(Time::Local(Unit::Micros)),
        Schema::LocalTimestampNanos => Node::Time(Time::Local(Unit::Nanos)),
        Schema::Null
        | Schema::Array(_)
        | Schema::Map(_)
        | Schema::Union(_)
        | Schema::Record(_)
        | Schema::Enum(_)
        | Schema::Ref { .. } => Node::Null, // those with parts do not come here
    }
}

fn decimal_node(precision: usize, scale: usize, inner: &InnerDecimalSchema) -> Node {
    let fixed = match inner {
        InnerDecimalSchema::Bytes => None,
        InnerDecimalSchema::Fixed(fixed) => Some(fixed.size),
    };
    if precision > PRECISION_MAX {
        return Node::Opaque("a decimal of more than 1000 digits", fixed);
    }
    Node::Decimal(Decimal { precision, scale, fixed })
}
