//! Values of an Avro file, read by its writer's schema: depth, values read and memory are bounded.

use std::borrow::Cow;

use tidemark_schemas::avro::Reader;

use crate::draft::{Draft, Raw};
use crate::json::DEPTH_MAX;
use crate::writer_schema::{Schema, Type};

/// Most values read of one body. 100,000 records of 100 fields.
const VALUES_MAX: usize = 10_000_000;

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

    /// Passes over the next record.
    pub(crate) fn skip<'a>(&mut self, bytes: &mut Reader<'a>) -> Result<(), String>
    where
        's: 'a,
    {
        self.spend(1)?;
        let schema = self.schema;
        schema.fields(schema.root).iter().try_for_each(|(_, kind)| self.value(kind, bytes, 1).map(drop))
    }

    fn spend(&mut self, values: usize) -> Result<(), String> {
        let over = || format!("more than {VALUES_MAX} values in one body");
        self.left = self.left.checked_sub(values).ok_or_else(over)?;
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
