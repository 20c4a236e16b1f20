//! The schema that an Avro file was written with, and reading values by it.
//!
//! Written by hand because the bytes and the schema both come from strangers: a schema may nest itself without end, promise
//! fixed fields of 2^60 bytes or arrays of a billion nulls. Here depth, values read and memory are bounded; nothing is
//! allocated that the input does not pay for.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use tidemark_schemas::avro::Reader;

use crate::draft::{Draft, Raw};
use crate::json::DEPTH_MAX;

/// Largest schema, bytes.
const SCHEMA_MAX: usize = 1 << 20;
/// Most values read of one body. 100,000 records of 100 fields.
const VALUES_MAX: usize = 10_000_000;

#[derive(Debug, Clone)]
enum Type {
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

type Fields = Vec<(String, Type)>;

/// A writer's schema whose root is a record.
#[derive(Debug)]
pub(crate) struct Schema {
    root: usize,
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

    fn fields(&self, record: usize) -> &[(String, Type)] {
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

/// Reads records of one body, counting what it reads.
pub(crate) struct Values<'s> {
    schema: &'s Schema,
    left: usize,
}

impl<'s> Values<'s> {
    pub(crate) fn new(schema: &'s Schema) -> Self {
        Self { schema, left: VALUES_MAX }
    }

    /// The next record, by field name; fields that a flow has not are skipped, as Avro's resolution does.
    pub(crate) fn record<'a>(&mut self, bytes: &mut Reader<'a>) -> Result<Draft<'a>, String>
    where
        's: 'a,
    {
        let mut draft = Draft::default();
        self.spend(1)?;
        let schema = self.schema;
        for (name, kind) in schema.fields(schema.root) {
            let value = self.value(kind, bytes, 1)?;
            match draft.slot(name) {
                Some(slot) => *slot = value,
                None if name == "tenant" => draft.tenant = value,
                None => {}
            }
        }
        Ok(draft)
    }

    fn spend(&mut self, values: usize) -> Result<(), String> {
        self.left = self.left.checked_sub(values).ok_or(format!("more than {VALUES_MAX} values in one body"))?;
        Ok(())
    }

    fn value<'a>(&mut self, kind: &'s Type, bytes: &mut Reader<'a>, depth: usize) -> Result<Raw<'a>, String>
    where
        's: 'a,
    {
        self.spend(1)?;
        if depth > DEPTH_MAX {
            return Err(format!("values nest deeper than {DEPTH_MAX}"));
        }
        Ok(match kind {
            Type::Null => Raw::Absent,
            Type::Boolean => {
                take(bytes, 1)?;
                Raw::Other("a boolean")
            }
            Type::Int | Type::Long => Raw::Integer(long(bytes)?),
            Type::Timestamp(units) => Raw::Integer(long(bytes)?.div_euclid(*units)),
            Type::Float => other(take(bytes, 4)?, "a float"),
            Type::Double => other(take(bytes, 8)?, "a double"),
            Type::Fixed(size) => other(take(bytes, *size)?, "a fixed"),
            Type::Bytes | Type::Text => text(bytes, matches!(kind, Type::Text))?,
            Type::Enum(symbols) => symbol(symbols, long(bytes)?)?,
            Type::Union(branches) => {
                let branch = nth(branches, long(bytes)?)?;
                self.value(branch, bytes, depth + 1)?
            }
            Type::Array(items) => self.blocks(false, items, bytes, depth)?,
            Type::Map(values) => self.blocks(true, values, bytes, depth)?,
            Type::Record(at) => {
                let schema = self.schema;
                for (_, field) in schema.fields(*at) {
                    self.value(field, bytes, depth + 1)?;
                }
                Raw::Other("a record")
            }
        })
    }

    fn blocks<'a>(
        &mut self,
        keyed: bool,
        item: &'s Type,
        bytes: &mut Reader<'a>,
        depth: usize,
    ) -> Result<Raw<'a>, String>
    where
        's: 'a,
    {
        loop {
            let count = block_count(bytes)?;
            if count == 0 {
                return Ok(Raw::Other(if keyed { "a map" } else { "an array" }));
            }
            for _ in 0..count {
                if keyed {
                    text(bytes, true)?;
                }
                self.value(item, bytes, depth + 1)?;
            }
        }
    }
}

/// How many items the next block has; 0 after the last.
pub(crate) fn block_count(bytes: &mut Reader<'_>) -> Result<i64, String> {
    let count = long(bytes)?;
    if count < 0 {
        long(bytes)?; // the block's size in bytes, for readers that skip it
    }
    count.checked_abs().ok_or_else(|| "a block count is out of bounds".to_owned())
}

pub(crate) fn long(bytes: &mut Reader<'_>) -> Result<i64, String> {
    bytes.long().map_err(|error| error.to_string())
}

pub(crate) fn take<'a>(bytes: &mut Reader<'a>, n: i64) -> Result<&'a [u8], String> {
    bytes.take(n).map_err(|error| error.to_string())
}

fn other<'a>(_read: &[u8], kind: &'static str) -> Raw<'a> {
    Raw::Other(kind)
}

/// Text, and bytes that are UTF-8, which Avro promotes to text.
fn text<'a>(bytes: &mut Reader<'a>, is_text: bool) -> Result<Raw<'a>, String> {
    let read = bytes.bytes().map_err(|error| error.to_string())?;
    match std::str::from_utf8(read) {
        Ok(text) => Ok(Raw::Text(Cow::Borrowed(text))),
        Err(_) if is_text => Err("a string is not UTF-8".to_owned()),
        Err(_) => Ok(Raw::Other("bytes that are not UTF-8")),
    }
}

fn symbol(symbols: &[String], at: i64) -> Result<Raw<'_>, String> {
    Ok(Raw::Text(Cow::Borrowed(nth(symbols, at)?)))
}

fn nth<T>(list: &[T], at: i64) -> Result<&T, String> {
    let found = usize::try_from(at).ok().and_then(|at| list.get(at));
    found.ok_or_else(|| format!("no branch or symbol {at}"))
}
