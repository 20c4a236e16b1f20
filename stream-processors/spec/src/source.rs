//! The fields of a source record: their types for the checker, and the walk over a datum that reads those that are used.

use apache_avro::Schema;
use apache_avro::schema::{InnerDecimalSchema, NamesRef, ResolvedSchema, UuidSchema};
use std::collections::HashMap;
use tidemark_core::value::{Type, Value};
use tidemark_schemas::avro::{Avro, Error, Reader};

/// Deepest nesting of a datum.
const DEPTH_MAX: usize = 64;

/// A field that expressions can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name; the names of nested records before it, joined by dots.
    pub name: String,
    /// What it holds; or why it cannot be used in an expression.
    pub kind: Result<Type, String>,
    /// It may be null.
    pub nullable: bool,
}

/// A source schema.
#[derive(Debug)]
pub struct Source {
    /// Full name of the record.
    pub name: String,
    /// In the schema's order.
    pub fields: Vec<Field>,
    /// The field of the same place of `fields` that the walk comes to, and how it is read.
    steps: Vec<Step>,
    shapes: Vec<Shape>,
}

#[derive(Debug, Clone)]
struct Step {
    /// Position in `fields`; none for the parts of what cannot be used.
    field: usize,
    read: Read,
    shape: usize,
}

/// How a field of a usable type is read.
#[derive(Debug, Clone)]
enum Read {
    Boolean,
    Long,
    Float,
    Double,
    Text,
    Bytes,
    Integer,
    /// So many of the field's units make a millisecond; negative: so many milliseconds make one.
    Time(i64),
    Symbol(Vec<String>),
    /// The branch that is null.
    Nullable(i64, Box<Read>),
    /// Cannot be used: skipped.
    Opaque,
}

/// How a value is passed over.
#[derive(Debug, Clone)]
enum Shape {
    Null,
    Boolean,
    Number,
    Fixed(usize),
    Bytes,
    Array(usize),
    Map(usize),
    Record(Vec<usize>),
    Union(Vec<usize>),
}

impl Source {
    /// Of a schema.
    ///
    /// # Errors
    /// It is not an Avro schema, or not of a record.
    pub fn new(avsc: &str) -> Result<Self, String> {
        let schema = tidemark_schemas::resolve::parse(avsc)?;
        let Schema::Record(record) = &schema else { return Err("the schema is not of a record".to_owned()) };
        let resolved = ResolvedSchema::new(&schema).map_err(|error| error.to_string())?;
        let mut builder = Builder { names: resolved.get_names(), known: HashMap::new(), shapes: Vec::new() };
        let (mut fields, mut steps) = (Vec::new(), Vec::new());
        builder.fields(&schema, "", &mut fields, &mut steps, 0)?;
        Ok(Self { name: record.name.fullname(None), fields, steps, shapes: builder.shapes })
    }

    /// The field of this name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The walk that reads the fields `wanted` into the slots of the same place.
    pub fn walk(&self, wanted: &[String]) -> Walk {
        let slot = |field: &Field| wanted.iter().position(|name| *name == field.name);
        let steps = self.steps.iter().map(|step| {
            let slot = self.fields.get(step.field).and_then(slot);
            slot.map_or(Go::Pass(step.shape), |slot| Go::Read(slot, step.read.clone()))
        });
        let steps: Vec<Go> = steps.collect();
        let read = steps.iter().filter_map(|step| if let Go::Read(slot, _) = step { Some(*slot) } else { None });
        let in_order = read.eq(0..wanted.len());
        Walk { steps, shapes: self.shapes.clone(), slots: wanted.len(), in_order }
    }
}

/// Of a slot whose bytes in the datum are not those of a plain text.
pub const NO_SPAN: (u32, u32) = (u32::MAX, u32::MAX);

/// A way over a datum.
#[derive(Debug, Clone)]
pub struct Walk {
    steps: Vec<Go>,
    shapes: Vec<Shape>,
    slots: usize,
    /// The slots are filled from the first to the last.
    in_order: bool,
}

#[derive(Debug, Clone)]
enum Go {
    Read(usize, Read),
    Pass(usize),
}

impl Walk {
    /// Reads the wanted fields into `slots`, which it fills from its start, and the place of each in the datum into `spans`. The
    /// whole datum must be of the schema.
    ///
    /// # Errors
    /// It is not.
    #[inline]
    pub fn read<'a>(
        &'a self,
        datum: &'a [u8],
        slots: &mut smallvec::SmallVec<[Value<'a>; 16]>,
        spans: &mut smallvec::SmallVec<[(u32, u32); 16]>,
    ) -> Result<(), Error> {
        if !self.in_order {
            slots.resize(self.slots, Value::Null);
            spans.resize(self.slots, NO_SPAN);
        }
        let mut reader = Reader::new(datum);
        let at = |reader: &Reader<'_>| (datum.len() - reader.left().len()) as u32;
        for step in &self.steps {
            match step {
                Go::Pass(shape) => self.pass(&mut reader, *shape, 0)?,
                Go::Read(slot, read) => {
                    let start = at(&reader);
                    if self.in_order {
                        // Straight into its slot: a value that goes through a `Result` first is copied in pieces, which costs
                        // more than reading it.
                        match read {
                            Read::Text => slots.push(Value::Text(reader.string()?)),
                            Read::Long => slots.push(Value::Long(reader.long()?)),
                            Read::Time(1) => slots.push(Value::Time(reader.long()?)),
                            other => slots.push(other.value(&mut reader)?),
                        }
                        spans.push(if matches!(read, Read::Text) { (start, at(&reader)) } else { NO_SPAN });
                        continue;
                    }
                    let value = read.value(&mut reader)?;
                    let span = if matches!(read, Read::Text) { (start, at(&reader)) } else { NO_SPAN };
                    if let (Some(to), Some(place)) = (slots.get_mut(*slot), spans.get_mut(*slot)) {
                        (*to, *place) = (value, span);
                    }
                }
            }
        }
        reader.finish()
    }

    fn pass(&self, reader: &mut Reader<'_>, shape: usize, depth: usize) -> Result<(), Error> {
        if depth > DEPTH_MAX {
            return Err(Error::TooDeep(DEPTH_MAX));
        }
        match self.shapes.get(shape) {
            None | Some(Shape::Null) => Ok(()),
            Some(Shape::Boolean) => bool::get(reader).map(|_| ()),
            Some(Shape::Number) => reader.long().map(|_| ()),
            Some(Shape::Fixed(size)) => reader.take(i64::try_from(*size).unwrap_or(i64::MAX)).map(|_| ()),
            Some(Shape::Bytes) => reader.bytes().map(|_| ()),
            Some(Shape::Record(fields)) => fields.iter().try_for_each(|field| self.pass(reader, *field, depth + 1)),
            Some(Shape::Union(branches)) => {
                let branch = reader.long()?;
                let shape = usize::try_from(branch).ok().and_then(|branch| branches.get(branch));
                self.pass(reader, *shape.ok_or(Error::Branch(branch))?, depth + 1)
            }
            Some(Shape::Array(items)) => self.blocks(reader, |reader| self.pass(reader, *items, depth + 1)),
            Some(Shape::Map(values)) => self.blocks(reader, |reader| {
                reader.bytes()?;
                self.pass(reader, *values, depth + 1)
            }),
        }
    }

    fn blocks(
        &self,
        reader: &mut Reader<'_>,
        mut item: impl FnMut(&mut Reader<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        loop {
            let n = reader.long()?;
            if n == 0 {
                return Ok(());
            }
            if n < 0 {
                let bytes = reader.long()?;
                reader.take(bytes)?;
                continue;
            }
            for _ in 0..n {
                let before = reader.left().len();
                item(reader)?;
                // Items that take no bytes cost nothing to leave out, and a count of them may be a lie.
                if reader.left().len() == before {
                    break;
                }
            }
        }
    }
}

impl Read {
    #[inline]
    fn value<'a>(&'a self, reader: &mut Reader<'a>) -> Result<Value<'a>, Error> {
        Ok(match self {
            Self::Boolean => Value::Boolean(bool::get(reader)?),
            Self::Long => Value::Long(reader.long()?),
            Self::Float => Value::Double(f64::from(f32::from_le_bytes(array(reader)?))),
            Self::Double => Value::Double(f64::from_le_bytes(array(reader)?)),
            Self::Text => Value::Text(reader.string()?),
            Self::Bytes => Value::Bytes(reader.bytes()?),
            Self::Integer => Value::Integer(i128::get(reader)?),
            Self::Time(1) => Value::Time(reader.long()?),
            Self::Time(units @ 2..) => Value::Time(reader.long()?.div_euclid(*units)),
            Self::Time(factor) => Value::Time(reader.long()?.saturating_mul(factor.saturating_neg())),
            Self::Symbol(symbols) => {
                let n = reader.long()?;
                let symbol = usize::try_from(n).ok().and_then(|n| symbols.get(n)).ok_or(Error::Branch(n))?;
                Value::Text(symbol)
            }
            Self::Nullable(null, other) => match reader.long()? {
                branch if branch == *null => Value::Null,
                0 | 1 => other.value(reader)?,
                branch => return Err(Error::Branch(branch)),
            },
            Self::Opaque => Value::Null,
        })
    }
}

fn array<const N: usize>(reader: &mut Reader<'_>) -> Result<[u8; N], Error> {
    reader.take(N as i64)?.try_into().map_err(|_| Error::Truncated)
}

struct Builder<'s> {
    names: &'s NamesRef<'s>,
    known: HashMap<String, usize>,
    shapes: Vec<Shape>,
}

impl<'s> Builder<'s> {
    fn fields(
        &mut self,
        record: &'s Schema,
        prefix: &str,
        fields: &mut Vec<Field>,
        steps: &mut Vec<Step>,
        depth: usize,
    ) -> Result<(), String> {
        let Schema::Record(record) = record else { return Ok(()) };
        for field in &record.fields {
            let name = format!("{prefix}{}", field.name);
            let schema = self.deref(&field.schema);
            if let Schema::Record(_) = schema
                && depth < 8
            {
                self.fields(schema, &format!("{name}."), fields, steps, depth + 1)?;
                continue;
            }
            let shape = self.shape(schema)?;
            let (kind, nullable, read) = self.usable(schema);
            steps.push(Step { field: fields.len(), read, shape });
            fields.push(Field { name, kind, nullable });
        }
        Ok(())
    }

    fn deref(&self, schema: &'s Schema) -> &'s Schema {
        match schema {
            Schema::Ref { name } => self.names.get(name).copied().unwrap_or(schema),
            other => other,
        }
    }

    fn usable(&self, schema: &'s Schema) -> (Result<Type, String>, bool, Read) {
        let opaque = |what: &str| (Err(format!("{what} cannot be used in expressions")), false, Read::Opaque);
        if let Schema::Union(union) = schema {
            let variants: Vec<&Schema> = union.variants().iter().map(|variant| self.deref(variant)).collect();
            let (null, other) = match variants.as_slice() {
                [Schema::Null, other] => (0, *other),
                [other, Schema::Null] => (1, *other),
                _ => return opaque("a union of anything but null and one type"),
            };
            return match self.usable(other) {
                (Ok(kind), _, read) => (Ok(kind), true, Read::Nullable(null, Box::new(read))),
                (why, ..) => (why, true, Read::Opaque),
            };
        }
        let (kind, read) = match schema {
            Schema::Boolean => (Type::Boolean, Read::Boolean),
            Schema::Int | Schema::Long | Schema::TimeMillis | Schema::TimeMicros => (Type::Long, Read::Long),
            Schema::Float => (Type::Double, Read::Float),
            Schema::Double => (Type::Double, Read::Double),
            Schema::String | Schema::Uuid(UuidSchema::String) => (Type::Text, Read::Text),
            Schema::Bytes => (Type::Bytes, Read::Bytes),
            Schema::Enum(symbols) => (Type::Text, Read::Symbol(symbols.symbols.clone())),
            Schema::TimestampMillis | Schema::LocalTimestampMillis => (Type::Time, Read::Time(1)),
            Schema::TimestampMicros | Schema::LocalTimestampMicros => (Type::Time, Read::Time(1_000)),
            Schema::TimestampNanos | Schema::LocalTimestampNanos => (Type::Time, Read::Time(1_000_000)),
            Schema::Date => (Type::Time, Read::Time(-86_400_000)),
            Schema::Decimal(decimal) if matches!(decimal.inner, InnerDecimalSchema::Bytes) && decimal.scale == 0 => {
                (Type::Integer, Read::Integer)
            }
            Schema::Decimal(decimal) if decimal.scale == 0 => return opaque("a decimal of fixed length"),
            // As a double it would be another number.
            Schema::Decimal(_) => {
                return opaque("a decimal with digits after the point is not computed exactly yet and");
            }
            // Only here: one that is always there has fields.
            Schema::Record(_) => return opaque("a record that may be null has fields that"),
            Schema::Array(_) => return opaque("an array"),
            Schema::Map(_) => return opaque("a map"),
            _ => return opaque("a field of this type"),
        };
        (Ok(kind), false, read)
    }

    fn shape(&mut self, schema: &'s Schema) -> Result<usize, String> {
        let schema = self.deref(schema);
        let name = schema.name().map(|name| name.fullname(None));
        if let Some(known) = name.as_ref().and_then(|name| self.known.get(name)) {
            return Ok(*known);
        }
        if self.shapes.len() >= tidemark_schemas::resolve::MAX_NODES {
            return Err("the schema has too many types".to_owned());
        }
        let at = self.shapes.len();
        self.shapes.push(Shape::Null);
        name.into_iter().for_each(|name| {
            self.known.insert(name, at);
        });
        let shape = match schema {
            Schema::Null => Shape::Null,
            Schema::Boolean => Shape::Boolean,
            Schema::Float => Shape::Fixed(4),
            Schema::Double => Shape::Fixed(8),
            Schema::Fixed(fixed) | Schema::Duration(fixed) | Schema::Uuid(UuidSchema::Fixed(fixed)) => {
                Shape::Fixed(fixed.size)
            }
            Schema::Decimal(decimal) => match &decimal.inner {
                InnerDecimalSchema::Bytes => Shape::Bytes,
                InnerDecimalSchema::Fixed(fixed) => Shape::Fixed(fixed.size),
            },
            Schema::Bytes | Schema::String | Schema::BigDecimal | Schema::Uuid(_) => Shape::Bytes,
            Schema::Array(array) => Shape::Array(self.shape(&array.items)?),
            Schema::Map(map) => Shape::Map(self.shape(&map.types)?),
            Schema::Record(record) => {
                let fields: Result<Vec<usize>, String> =
                    record.fields.iter().map(|field| self.shape(&field.schema)).collect();
                Shape::Record(fields?)
            }
            Schema::Union(union) => {
                let branches: Result<Vec<usize>, String> =
                    union.variants().iter().map(|variant| self.shape(variant)).collect();
                Shape::Union(branches?)
            }
            _ => Shape::Number,
        };
        if let Some(slot) = self.shapes.get_mut(at) {
            *slot = shape;
        }
        Ok(at)
    }
}
