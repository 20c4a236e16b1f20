//! The fields of a source record: their types for the checker, and the walk over a datum that reads those that are used.

mod walk;

pub use walk::Walk;

use apache_avro::Schema;
use apache_avro::schema::{InnerDecimalSchema, NamesRef, ResolvedSchema, UuidSchema};
use std::collections::HashMap;
use tidemark_core::value::Type;

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
    /// A text of which no more than the bytes are asked for.
    Name,
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
