//! What a schema is at bottom: its primitive type, its unit, its name in messages.

use apache_avro::Schema;
use apache_avro::schema::{FixedSchema, InnerDecimalSchema, UuidSchema};

use super::Primitive;

/// The primitive type that `schema` is encoded as, logical types taken off.
pub(super) fn primitive(schema: &Schema) -> Option<Primitive> {
    match schema {
        Schema::Null => Some(Primitive::Null),
        Schema::Boolean => Some(Primitive::Boolean),
        Schema::Int | Schema::Date | Schema::TimeMillis => Some(Primitive::Int),
        Schema::Long
        | Schema::TimeMicros
        | Schema::TimestampMillis
        | Schema::TimestampMicros
        | Schema::TimestampNanos
        | Schema::LocalTimestampMillis
        | Schema::LocalTimestampMicros
        | Schema::LocalTimestampNanos => Some(Primitive::Long),
        Schema::Float => Some(Primitive::Float),
        Schema::Double => Some(Primitive::Double),
        Schema::Bytes | Schema::BigDecimal | Schema::Uuid(UuidSchema::Bytes) => Some(Primitive::Bytes),
        Schema::Decimal(decimal) if matches!(decimal.inner, InnerDecimalSchema::Bytes) => Some(Primitive::Bytes),
        Schema::String | Schema::Uuid(UuidSchema::String) => Some(Primitive::String),
        Schema::Array(_)
        | Schema::Map(_)
        | Schema::Union(_)
        | Schema::Record(_)
        | Schema::Enum(_)
        | Schema::Fixed(_)
        | Schema::Decimal(_)
        | Schema::Uuid(UuidSchema::Fixed(_))
        | Schema::Duration(_)
        | Schema::Ref { .. } => None,
    }
}

/// The fixed that `schema` is encoded as.
pub(super) fn fixed(schema: &Schema) -> Option<&FixedSchema> {
    match schema {
        Schema::Fixed(fixed) | Schema::Duration(fixed) | Schema::Uuid(UuidSchema::Fixed(fixed)) => Some(fixed),
        Schema::Decimal(decimal) => match &decimal.inner {
            InnerDecimalSchema::Fixed(fixed) => Some(fixed),
            InnerDecimalSchema::Bytes => None,
        },
        _ => None,
    }
}

/// The meaning that a logical type gives to a number or bytes; `None` for plain types. Two different ones do not mix.
fn meaning(schema: &Schema) -> Option<&'static str> {
    match schema {
        Schema::Date => Some("date"),
        Schema::TimeMillis => Some("time-millis"),
        Schema::TimeMicros => Some("time-micros"),
        Schema::TimestampMillis => Some("timestamp-millis"),
        Schema::TimestampMicros => Some("timestamp-micros"),
        Schema::TimestampNanos => Some("timestamp-nanos"),
        Schema::LocalTimestampMillis => Some("local-timestamp-millis"),
        Schema::LocalTimestampMicros => Some("local-timestamp-micros"),
        Schema::LocalTimestampNanos => Some("local-timestamp-nanos"),
        Schema::Duration(_) => Some("duration"),
        Schema::BigDecimal => Some("big-decimal"),
        Schema::Decimal(_) => Some("decimal"),
        _ => None,
    }
}

/// Logical types keep their meaning: same unit where both have one, same scale and enough precision for decimals, and no
/// text as a number's bytes.
pub(super) fn same_meaning(writer: &Schema, reader: &Schema) -> bool {
    match (writer, reader) {
        (Schema::Decimal(w), Schema::Decimal(r)) => w.scale == r.scale && w.precision <= r.precision,
        _ => match (meaning(writer), meaning(reader)) {
            (Some(w), Some(r)) => w == r,
            (Some(_), None) | (None, Some(_)) => {
                let text = |s| primitive(s) == Some(Primitive::String);
                !text(writer) && !text(reader)
            }
            (None, None) => true,
        },
    }
}

/// `from` is read as `to` by the promotions of the specification.
pub(super) fn promotes(from: Primitive, to: Primitive) -> bool {
    use Primitive::{Bytes, Double, Float, Int, Long, String};
    matches!(
        (from, to),
        (Int, Long | Float | Double) | (Long, Float | Double) | (Float, Double) | (String, Bytes) | (Bytes, String)
    )
}

/// A schema in a message: `long`, `timestamp-millis`, `null|long`, `record tidemark.flows.FlowObserved`.
pub(super) fn describe(schema: &Schema) -> String {
    if let Schema::Decimal(decimal) = schema {
        return format!("decimal({}, {})", decimal.precision, decimal.scale);
    }
    if let Some(meaning) = meaning(schema) {
        return meaning.to_owned();
    }
    match schema {
        Schema::Union(union) => union.variants().iter().take(8).map(describe).collect::<Vec<_>>().join("|"),
        Schema::Array(array) => format!("array of {}", short(&array.items)),
        Schema::Map(map) => format!("map of {}", short(&map.types)),
        other => short(other),
    }
}

/// As [`describe`], without looking into the parts.
fn short(schema: &Schema) -> String {
    match (schema, fixed(schema)) {
        (Schema::Array(_), _) => "array".to_owned(),
        (Schema::Map(_), _) => "map".to_owned(),
        (Schema::Union(_), _) => "union".to_owned(),
        (Schema::Record(record), _) => format!("record {}", record.name),
        (Schema::Enum(e), _) => format!("enum {}", e.name),
        (Schema::Ref { name }, _) => name.to_string(),
        (_, Some(fixed)) => format!("fixed {} of {} bytes", fixed.name, fixed.size),
        (other, None) => primitive(other).map_or_else(|| "unknown".to_owned(), |p| format!("{p:?}").to_lowercase()),
    }
}
