//! A value that is kept, the one order of all values, and what first and last keep.

use crate::value::{Place, Value};
use std::cmp::Ordering;
use tidemark_schemas::avro::{self, Avro, put_bytes, put_long};

/// 128 bits on a boundary of 8 bytes, so that a scalar takes 24 bytes and a state 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(Rust, packed(8))]
pub struct Wide(i128);

/// An owned value in canonical form: not null, one NaN, no -0. Equal values have equal bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "one for each kind of value")]
pub enum Scalar {
    Boolean(bool),
    Long(i64),
    /// The bits, so that NaN equals itself.
    Double(u64),
    Integer(Wide),
    Text(Box<str>),
    Bytes(Box<[u8]>),
    Time(i64),
}

/// The same value in canonical form: every NaN is one, and -0 is 0.
#[inline]
pub(super) fn canonical(value: Value<'_>) -> Value<'_> {
    match value {
        // Not `f64::NAN`, whose bits no specification pins.
        Value::Double(double) if double.is_nan() => Value::Double(f64::from_bits(0x7ff8 << 48)),
        Value::Double(0.0) => Value::Double(0.0),
        other => other,
    }
}

fn rank(value: &Value<'_>) -> i64 {
    match value {
        Value::Null => 0,
        Value::Boolean(_) => 1,
        Value::Long(_) => 2,
        Value::Double(_) => 3,
        Value::Integer(_) => 4,
        Value::Text(_) => 5,
        Value::Bytes(_) => 6,
        Value::Time(_) => 7,
    }
}

/// The total order of canonical values. False before true; NaN after all other doubles; text and bytes by their bytes, which
/// for text is the order of its code points. Values of different types, which no sound job brings together, go by type.
#[inline]
pub(super) fn order(a: &Value<'_>, b: &Value<'_>) -> Ordering {
    match (a, b) {
        (Value::Long(a), Value::Long(b)) | (Value::Time(a), Value::Time(b)) => a.cmp(b),
        (Value::Double(a), Value::Double(b)) => a.total_cmp(b),
        (Value::Boolean(a), Value::Boolean(b)) => a.cmp(b),
        (Value::Integer(a), Value::Integer(b)) => a.cmp(b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (a, b) => rank(a).cmp(&rank(b)),
    }
}

/// The 64-bit hash that stands for a canonical value: XXH3 of its bytes (little-endian numbers), seeded with its type, so that
/// 1, 1.0 and "1" differ.
#[inline]
pub(super) fn hash(value: &Value<'_>) -> u64 {
    let seeded = |bytes: &[u8]| xxhash_rust::xxh3::xxh3_64_with_seed(bytes, rank(value) as u64);
    match value {
        Value::Null => seeded(&[]),
        Value::Boolean(value) => seeded(&[u8::from(*value)]),
        Value::Long(value) | Value::Time(value) => seeded(&value.to_le_bytes()),
        Value::Double(value) => seeded(&value.to_bits().to_le_bytes()),
        Value::Integer(value) => seeded(&value.to_le_bytes()),
        Value::Text(value) => seeded(value.as_bytes()),
        Value::Bytes(value) => seeded(value),
    }
}

impl Scalar {
    /// Keeps a value; none for null.
    pub fn of(value: Value<'_>) -> Option<Self> {
        Some(match canonical(value) {
            Value::Null => return None,
            Value::Boolean(value) => Self::Boolean(value),
            Value::Long(value) => Self::Long(value),
            Value::Double(value) => Self::Double(value.to_bits()),
            Value::Integer(value) => Self::Integer(Wide(value)),
            Value::Text(value) => Self::Text(value.into()),
            Value::Bytes(value) => Self::Bytes(value.into()),
            Value::Time(value) => Self::Time(value),
        })
    }

    /// The value.
    #[inline]
    pub fn value(&self) -> Value<'_> {
        match self {
            Self::Boolean(value) => Value::Boolean(*value),
            Self::Long(value) => Value::Long(*value),
            Self::Double(bits) => Value::Double(f64::from_bits(*bits)),
            Self::Integer(value) => Value::Integer(value.0),
            Self::Text(value) => Value::Text(value),
            Self::Bytes(value) => Value::Bytes(value),
            Self::Time(value) => Value::Time(*value),
        }
    }

    /// Memory used on the heap, bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(value) => value.len(),
            Self::Bytes(value) => value.len(),
            Self::Boolean(_) | Self::Long(_) | Self::Double(_) | Self::Integer(_) | Self::Time(_) => 0,
        }
    }

    /// Appends the Avro form: a union of the types.
    pub fn put(&self, out: &mut Vec<u8>) {
        let value = self.value();
        put_long(out, rank(&value));
        match value {
            Value::Null => {}
            Value::Boolean(value) => value.put(out),
            Value::Long(value) | Value::Time(value) => put_long(out, value),
            Value::Double(value) => out.extend_from_slice(&value.to_le_bytes()),
            Value::Integer(value) => value.put(out),
            Value::Text(value) => put_bytes(out, value.as_bytes()),
            Value::Bytes(value) => put_bytes(out, value),
        }
    }

    /// Reads the Avro form.
    pub fn get(reader: &mut avro::Reader<'_>) -> Result<Self, avro::Error> {
        let value = match reader.long()? {
            1 => Value::Boolean(bool::get(reader)?),
            2 => Value::Long(reader.long()?),
            3 => {
                let bytes = reader.take(8)?;
                Value::Double(f64::from_le_bytes(bytes.try_into().map_err(|_| avro::Error::Truncated)?))
            }
            4 => Value::Integer(i128::get(reader)?),
            5 => Value::Text(reader.string()?),
            6 => Value::Bytes(reader.bytes()?),
            7 => Value::Time(reader.long()?),
            other => return Err(avro::Error::Branch(other)),
        };
        Self::of(value).ok_or(avro::Error::Branch(0))
    }
}

/// The first or last value, and where it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pick {
    place: Place,
    value: Scalar,
}

impl Pick {
    pub(super) fn new(place: Place, value: Value<'_>) -> Option<Self> {
        Scalar::of(value).map(|value| Self { place, value })
    }

    pub(super) fn set(&mut self, place: Place, value: Value<'_>) {
        if let Some(pick) = Self::new(place, value) {
            *self = pick;
        }
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    pub(super) fn value(&self) -> &Scalar {
        &self.value
    }

    /// By place; two values at one place, which no sound job has, by the value, so that even then no order is lost.
    #[inline]
    pub(super) fn order(&self, place: Place, value: &Value<'_>) -> Ordering {
        self.place.cmp(&place).then_with(|| order(&self.value.value(), value))
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_long(out, self.place.time);
        put_long(out, i64::from(self.place.topic));
        put_long(out, i64::from(self.place.partition));
        put_long(out, self.place.offset);
        self.value.put(out);
    }

    pub(super) fn get(reader: &mut avro::Reader<'_>) -> Result<Self, avro::Error> {
        let time = reader.long()?;
        let topic = u32::try_from(reader.long()?).map_err(|_| avro::Error::Integer)?;
        let partition = u32::try_from(reader.long()?).map_err(|_| avro::Error::Integer)?;
        let place = Place { time, topic, partition, offset: reader.long()? };
        Ok(Self { place, value: Scalar::get(reader)? })
    }
}
