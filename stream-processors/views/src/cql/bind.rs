//! Values on their way into statements and out of result rows.

use num_bigint::BigInt;
use scylla::cluster::metadata::ColumnType;
use scylla::serialize::SerializationError;
use scylla::serialize::value::SerializeValue;
use scylla::serialize::writers::{CellWriter, WrittenCellProof};
use scylla::value::{CqlTimestamp, CqlValue, Row as CqlRow};

use crate::{Kind, Value};

/// A bound value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bound<'a> {
    Text(&'a str),
    Long(i64),
    Int(i32),
    Boolean(bool),
    Integer(i128),
    Double(f64),
    Time(i64),
    Blob(&'a [u8]),
    Null,
}

impl<'a> From<&'a Value> for Bound<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Text(text) | Value::Json(text) => Self::Text(text),
            Value::Long(long) => Self::Long(*long),
            Value::Integer(integer) => Self::Integer(*integer),
            Value::Double(double) => Self::Double(*double),
            Value::Boolean(boolean) => Self::Boolean(*boolean),
            Value::Time(time) => Self::Time(*time),
        }
    }
}

impl SerializeValue for Bound<'_> {
    fn serialize<'b>(
        &self,
        typ: &ColumnType<'_>,
        to: CellWriter<'b>,
    ) -> Result<WrittenCellProof<'b>, SerializationError> {
        match self {
            Self::Text(value) => value.serialize(typ, to),
            Self::Long(value) => value.serialize(typ, to),
            Self::Int(value) => value.serialize(typ, to),
            Self::Boolean(value) => value.serialize(typ, to),
            Self::Integer(value) => BigInt::from(*value).serialize(typ, to),
            Self::Double(value) => value.serialize(typ, to),
            Self::Time(value) => CqlTimestamp(*value).serialize(typ, to),
            Self::Blob(value) => value.serialize(typ, to),
            // A cell is deleted with the write's timestamp, so that an older value does not come through.
            Self::Null => Ok(to.set_null()),
        }
    }
}

/// A name as statements have it. Names are checked before: none has a quote.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

/// A result row's cells, taken one after the other.
pub(super) struct Cells(std::vec::IntoIter<Option<CqlValue>>);

/// A cell that is missing, null, or of another type than asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cell is null or of another type")]
pub(super) struct BadCell;

impl Cells {
    pub(super) fn of(row: CqlRow) -> Self {
        Self(row.columns.into_iter())
    }

    fn next(&mut self) -> Result<CqlValue, BadCell> {
        self.0.next().flatten().ok_or(BadCell)
    }

    pub(super) fn long(&mut self) -> Result<i64, BadCell> {
        self.next()?.as_bigint().ok_or(BadCell)
    }

    pub(super) fn int(&mut self) -> Result<i32, BadCell> {
        self.next()?.as_int().ok_or(BadCell)
    }

    pub(super) fn text(&mut self) -> Result<String, BadCell> {
        self.next()?.into_string().ok_or(BadCell)
    }

    pub(super) fn blob(&mut self) -> Result<Vec<u8>, BadCell> {
        self.next()?.into_blob().ok_or(BadCell)
    }

    /// The value of a clustering column, or of a value column that has one.
    pub(super) fn value(&mut self, kind: Kind) -> Result<Value, BadCell> {
        value(kind, self.next()?)
    }

    /// The value of a value column.
    pub(super) fn nullable(&mut self, kind: Kind) -> Result<Value, BadCell> {
        self.0.next().ok_or(BadCell)?.map_or(Ok(Value::Null), |cell| value(kind, cell))
    }
}

fn value(kind: Kind, cell: CqlValue) -> Result<Value, BadCell> {
    let value = match kind {
        Kind::Text => cell.into_string().map(Value::Text),
        Kind::Json => cell.into_string().map(Value::Json),
        Kind::Long => cell.as_bigint().map(Value::Long),
        Kind::Integer => integer(cell).map(Value::Integer),
        Kind::Double => cell.as_double().map(Value::Double),
        Kind::Boolean => cell.as_boolean().map(Value::Boolean),
        Kind::Time => cell.as_cql_timestamp().map(|time| Value::Time(time.0)),
    };
    value.ok_or(BadCell)
}

/// A varint; one of more than 127 bits and a sign is none of ours.
fn integer(cell: CqlValue) -> Option<i128> {
    match cell {
        CqlValue::Varint(varint) => i128::try_from(BigInt::from(varint)).ok(),
        _ => None,
    }
}
