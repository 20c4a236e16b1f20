//! The schema that an Avro file was written with.
//!
//! Read by hand because it comes from strangers: a schema may nest itself without end, promise fixed fields of 2^60 bytes or
//! name one enum a million times. Nothing is allocated here that the input does not pay for; [`crate::values`] bounds the rest.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

/// Largest schema, bytes.
const SCHEMA_MAX: usize = 1 << 20;

#[derive(Debug, Clone)]
pub(crate) enum Type {
    Null,
    Boolean,
    Int,
    Long,
    /// A time in units of which so many make a millisecond.
    Timestamp(i64),
    Float,
    Double,
    Bytes,
    Text,
    Fixed(i64),
    /// Shared: a schema may name one enum a million times.
    Enum(Arc<[String]>),
    Array(Box<Type>),
    Map(Box<Type>),
    Union(Vec<Type>),
    /// Index of a record in the schema's list, so that a schema can name itself.
    Record(usize),
}

pub(crate) type Fields = Vec<(String, Type)>;

/// A writer's schema whose root is a record.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) root: usize,
    records: Vec<Fields>,
}

impl Schema {
    /// Parses the JSON form.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
        if json.len() > SCHEMA_MAX {
            return Err(format!("the writer's schema has {} bytes; at most {SCHEMA_MAX} are read", json.len()));
        }
        let value: Value = serde_json::from_slice(json).map_err(|error| format!("the writer's schema: {error}"))?;
        let mut parser = Parser::default();
        match parser.parse(&value, "")? {
            Type::Record(root) => Ok(Self { root, records: parser.records }),
            _ => Err("the writer's schema is not a record".to_owned()),
        }
    }

    /// The fields of `wanted` that the writer has not.
    pub(crate) fn lacks(&self, wanted: &[&'static str]) -> Vec<&'static str> {
        let has = |name: &str| self.fields(self.root).iter().any(|(field, _)| field == name);
        wanted.iter().filter(|name| !has(name)).copied().collect()
    }

    /// Names and types of a record's fields, in order.
    pub(crate) fn fields(&self, record: usize) -> &[(String, Type)] {
        self.records.get(record).map_or(&[], Vec::as_slice)
    }
}

#[derive(Default)]
struct Parser {
    records: Vec<Fields>,
    named: HashMap<String, Type>,
}

impl Parser {
    fn parse(&mut self, json: &Value, namespace: &str) -> Result<Type, String> {
        match json {
            Value::String(name) => self.by_name(name, namespace),
            Value::Array(branches) => {
                let branches: Result<_, _> = branches.iter().map(|branch| self.parse(branch, namespace)).collect();
                Ok(Type::Union(branches?))
            }
            Value::Object(_) => self.complex(json, namespace),
            _ => Err("the writer's schema holds something that is no type".to_owned()),
        }
    }

    fn by_name(&self, name: &str, namespace: &str) -> Result<Type, String> {
        Ok(match name {
            "null" => Type::Null,
            "boolean" => Type::Boolean,
            "int" => Type::Int,
            "long" => Type::Long,
            "float" => Type::Float,
            "double" => Type::Double,
            "bytes" => Type::Bytes,
            "string" => Type::Text,
            other => {
                let found = self.named.get(&full_name(other, namespace)).or_else(|| self.named.get(other));
                return found.cloned().ok_or_else(|| format!("the writer's schema has no type {other:.64}"));
            }
        })
    }

    fn complex(&mut self, json: &Value, namespace: &str) -> Result<Type, String> {
        let text = |key: &str| json.get(key).and_then(Value::as_str);
        let inner = |key: &str| json.get(key).ok_or_else(|| format!("the writer's schema: a type lacks {key}"));
        Ok(match text("type") {
            Some("record" | "error") => return self.record(json, namespace),
            Some("enum") => {
                let symbols = inner("symbols")?.as_array().into_iter().flatten();
                let symbols = symbols.filter_map(|symbol| symbol.as_str().map(str::to_owned)).collect();
                self.define(json, namespace, Type::Enum(symbols))?
            }
            Some("fixed") => {
                let size = inner("size")?.as_i64().filter(|size| *size >= 0);
                self.define(json, namespace, Type::Fixed(size.ok_or("the writer's schema: bad size of a fixed")?))?
            }
            Some("array") => Type::Array(Box::new(self.parse(inner("items")?, namespace)?)),
            Some("map") => Type::Map(Box::new(self.parse(inner("values")?, namespace)?)),
            Some("long") => match text("logicalType") {
                Some("timestamp-micros") => Type::Timestamp(1_000),
                Some("timestamp-nanos") => Type::Timestamp(1_000_000),
                _ => Type::Long,
            },
            _ => self.parse(inner("type")?, namespace)?,
        })
    }

    fn record(&mut self, json: &Value, namespace: &str) -> Result<Type, String> {
        let at = self.records.len();
        self.records.push(Vec::new());
        self.define(json, namespace, Type::Record(at))?;
        let namespace = namespace_of(json, namespace);
        let list = json.get("fields").and_then(Value::as_array).ok_or("the writer's schema: a record lacks fields")?;
        let mut fields = Vec::with_capacity(list.len());
        for field in list {
            let name = field.get("name").and_then(Value::as_str).ok_or("the writer's schema: a field lacks a name")?;
            let kind = field.get("type").ok_or("the writer's schema: a field lacks a type")?;
            fields.push((name.to_owned(), self.parse(kind, &namespace)?));
        }
        if let Some(place) = self.records.get_mut(at) {
            *place = fields;
        }
        Ok(Type::Record(at))
    }

    fn define(&mut self, json: &Value, namespace: &str, kind: Type) -> Result<Type, String> {
        let name = json.get("name").and_then(Value::as_str).ok_or("the writer's schema: a type lacks its name")?;
        self.named.insert(full_name(name, &namespace_of(json, namespace)), kind.clone());
        Ok(kind)
    }
}

fn namespace_of(json: &Value, enclosing: &str) -> String {
    let own = json.get("name").and_then(Value::as_str).and_then(|name| name.rsplit_once('.')).map(|(space, _)| space);
    own.or_else(|| json.get("namespace").and_then(Value::as_str)).unwrap_or(enclosing).to_owned()
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}
