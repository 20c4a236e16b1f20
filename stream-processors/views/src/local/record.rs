//! Values as they are stored: Avro's binary encoding, in the order of the view's columns. A value that is null takes the place
//! of its column as a zero; the positions of the nulls follow all values, and nothing does where there is none. So rows
//! without a null, which are nearly all, pay nothing for those with one.

use tidemark_schemas::avro::{self, Avro, Reader};
use tidemark_schemas::engine::{Ledger, Progress};

use crate::{Column, Kind, Revision, Row, Value, ViewSpec};

/// What is read of a row before its values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) written_at: i64,
    pub(super) revision: Revision,
}

pub(super) fn put_row(row: &Row) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    row.written_at.put(&mut out);
    row.revision.epoch.put(&mut out);
    row.revision.offset.put(&mut out);
    for value in &row.values {
        match value {
            Value::Null => out.push(0),
            Value::Text(text) | Value::Json(text) => text.put(&mut out),
            Value::Long(long) | Value::Time(long) => long.put(&mut out),
            Value::Integer(integer) => integer.put(&mut out),
            Value::Double(double) => avro::put_bytes(&mut out, &double.to_le_bytes()),
            Value::Boolean(boolean) => boolean.put(&mut out),
        }
    }
    let nulls: Vec<i32> =
        (0..).zip(&row.values).filter(|(_, value)| **value == Value::Null).map(|(at, _)| at).collect();
    if !nulls.is_empty() {
        nulls.put(&mut out);
    }
    out
}

pub(super) fn head(reader: &mut Reader<'_>) -> Result<Head, avro::Error> {
    let written_at = Avro::get(reader)?;
    let revision = Revision { epoch: Avro::get(reader)?, offset: Avro::get(reader)? };
    Ok(Head { written_at, revision })
}

pub(super) fn values(columns: &[Column], mut reader: Reader<'_>) -> Result<Vec<Value>, avro::Error> {
    let mut values: Vec<Value> =
        columns.iter().map(|column| value(column.kind, &mut reader)).collect::<Result<_, _>>()?;
    let nulls: Vec<i32> = if reader.left().is_empty() { vec![] } else { Avro::get(&mut reader)? };
    for at in nulls {
        let null = usize::try_from(at).ok().and_then(|at| values.get_mut(at));
        *null.ok_or(avro::Error::Length(at.into()))? = Value::Null;
    }
    reader.finish()?;
    Ok(values)
}

fn value(kind: Kind, reader: &mut Reader<'_>) -> Result<Value, avro::Error> {
    Ok(match kind {
        Kind::Text => Value::Text(Avro::get(reader)?),
        Kind::Long => Value::Long(Avro::get(reader)?),
        Kind::Integer => Value::Integer(Avro::get(reader)?),
        Kind::Double => Value::Double(double(reader.bytes()?)?),
        Kind::Boolean => Value::Boolean(Avro::get(reader)?),
        Kind::Time => Value::Time(Avro::get(reader)?),
        Kind::Json => Value::Json(Avro::get(reader)?),
    })
}

/// No bytes stand for a null.
fn double(bytes: &[u8]) -> Result<f64, avro::Error> {
    if bytes.is_empty() {
        return Ok(0.0);
    }
    bytes.try_into().map(f64::from_le_bytes).map_err(|_| avro::Error::Length(bytes.len() as i64))
}

/// A record of the engine, whole.
pub(super) fn read<T: for<'a> Avro<'a>>(datum: &[u8]) -> Result<T, avro::Error> {
    let mut reader = Reader::new(datum);
    let value = T::get(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

pub(super) fn write<T: for<'a> Avro<'a>>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    value.put(&mut out);
    out
}

pub(super) fn ledger_revision(datum: &[u8]) -> Result<Revision, avro::Error> {
    read::<Ledger>(datum).map(|entry| Revision { epoch: entry.epoch, offset: entry.revision })
}

pub(super) fn progress_revision(datum: &[u8]) -> Result<Revision, avro::Error> {
    read::<Progress>(datum).map(|entry| Revision { epoch: entry.epoch, offset: entry.revision })
}

pub(super) fn row_revision(datum: &[u8]) -> Result<Revision, avro::Error> {
    head(&mut Reader::new(datum)).map(|head| head.revision)
}

/// A view's spec as it is kept: names and types, then the retention.
pub(super) fn put_spec(view: &ViewSpec) -> Vec<u8> {
    let mut out = Vec::new();
    for columns in [&view.clustering, &view.values] {
        columns.iter().map(|c| format!("{} {}", c.name, type_name(c.kind))).collect::<Vec<_>>().put(&mut out);
    }
    view.retention_ms.put(&mut out);
    out
}

/// `None` when the bytes are no spec.
pub(super) fn spec(name: &str, datum: &[u8]) -> Option<ViewSpec> {
    let mut reader = Reader::new(datum);
    let clustering = columns(Avro::get(&mut reader).ok()?)?;
    let values = columns(Avro::get(&mut reader).ok()?)?;
    let retention_ms = Avro::get(&mut reader).ok()?;
    reader.finish().ok()?;
    Some(ViewSpec { name: name.to_owned(), clustering, values, retention_ms })
}

fn columns(texts: Vec<&str>) -> Option<Vec<Column>> {
    let column = |text: &str| {
        let (name, name_of_type) = text.split_once(' ')?;
        let kind = Kind::ALL.into_iter().find(|kind| type_name(*kind) == name_of_type)?;
        Some(Column { name: name.to_owned(), kind })
    };
    texts.into_iter().map(column).collect()
}

/// Types by their CQL names, but for JSON, which CQL does not tell from text.
fn type_name(kind: Kind) -> &'static str {
    if kind == Kind::Json { "json" } else { kind.cql() }
}
