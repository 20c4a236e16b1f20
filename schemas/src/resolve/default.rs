//! Defaults of fields, from JSON to Avro binary (specification 1.11, table "field default values").

use apache_avro::Schema;
use apache_avro::schema::{NamesRef, RecordSchema, UnionSchema};
use serde_json::Value;

use super::Primitive;
use super::types::{describe, fixed, primitive};
use crate::avro::{put_bytes, put_long};

/// Encodes `json` as a value of `schema`; the error is a [`super::Problem`]'s reason.
pub(super) fn encode(json: &Value, schema: &Schema, names: &NamesRef<'_>) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    put(json, schema, names, 0, &mut out)?;
    Ok(out)
}

fn put(json: &Value, schema: &Schema, names: &NamesRef<'_>, depth: usize, out: &mut Vec<u8>) -> Result<(), String> {
    let wrong = || format!("default {} is not of type {}", shown(json), describe(schema));
    if depth > super::MAX_DEPTH {
        return Err(format!("default nests deeper than {} levels", super::MAX_DEPTH));
    }
    match (schema, json) {
        (Schema::Ref { name }, _) => put(json, names.get(name).ok_or_else(wrong)?, names, depth + 1, out),
        (Schema::Union(union), _) => put_union(json, union, names, depth, out).ok_or_else(wrong),
        (Schema::Record(record), Value::Object(_)) => put_record(json, record, names, depth, out),
        (Schema::Enum(e), Value::String(symbol)) => {
            let position = e.symbols.iter().position(|s| s == symbol).ok_or_else(wrong)?;
            put_long(out, position as i64);
            Ok(())
        }
        (Schema::Array(array), Value::Array(items)) => {
            let put_all =
                |out: &mut Vec<u8>| items.iter().try_for_each(|item| put(item, &array.items, names, depth + 1, out));
            put_block(items.len(), out, put_all)
        }
        (Schema::Map(map), Value::Object(entries)) => put_block(entries.len(), out, |out| {
            entries.iter().try_for_each(|(key, value)| {
                put_bytes(out, key.as_bytes());
                put(value, &map.types, names, depth + 1, out)
            })
        }),
        _ => put_leaf(json, schema, out).ok_or_else(wrong),
    }
}

fn put_block(
    len: usize,
    out: &mut Vec<u8>,
    items: impl FnOnce(&mut Vec<u8>) -> Result<(), String>,
) -> Result<(), String> {
    if len > 0 {
        put_long(out, len as i64);
        items(out)?;
    }
    put_long(out, 0);
    Ok(())
}

/// The first branch that takes the value: later specifications allow any branch, older ones the first only.
fn put_union(json: &Value, union: &UnionSchema, names: &NamesRef<'_>, depth: usize, out: &mut Vec<u8>) -> Option<()> {
    let start = out.len();
    union.variants().iter().enumerate().find_map(|(i, branch)| {
        out.truncate(start);
        put_long(out, i as i64);
        put(json, branch, names, depth + 1, out).ok()
    })
}

fn put_record(
    json: &Value,
    record: &RecordSchema,
    names: &NamesRef<'_>,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    record.fields.iter().try_for_each(|field| {
        let value = json.get(&field.name).or(field.default.as_ref());
        let value = value.ok_or_else(|| format!("default {} has no field {}", shown(json), field.name))?;
        put(value, &field.schema, names, depth + 1, out)
    })
}

fn put_leaf(json: &Value, schema: &Schema, out: &mut Vec<u8>) -> Option<()> {
    if let Some(fixed) = fixed(schema) {
        let bytes = code_points(json.as_str()?)?;
        out.extend_from_slice(&bytes);
        return (bytes.len() == fixed.size).then_some(());
    }
    match primitive(schema)? {
        Primitive::Null => json.as_null()?,
        Primitive::Boolean => out.push(u8::from(json.as_bool()?)),
        Primitive::Int => put_long(out, i32::try_from(json.as_i64()?).ok()?.into()),
        Primitive::Long => put_long(out, json.as_i64()?),
        Primitive::Float => out.extend_from_slice(&(json.as_f64()? as f32).to_le_bytes()),
        Primitive::Double => out.extend_from_slice(&json.as_f64()?.to_le_bytes()),
        Primitive::Bytes => put_bytes(out, &code_points(json.as_str()?)?),
        Primitive::String => put_bytes(out, json.as_str()?.as_bytes()),
    }
    Some(())
}

/// Bytes stand in JSON as a string of the code points 0 to 255.
fn code_points(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

fn shown(json: &Value) -> String {
    json.to_string().chars().take(60).collect()
}
