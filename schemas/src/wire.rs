//! The Confluent wire format: `0x00`, the schema id as 4 bytes big-endian, the Avro datum.

use crate::avro::Avro;

/// Why a value could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Fewer than five bytes.
    #[error("value of {0} bytes is shorter than the 5-byte header")]
    Short(usize),
    /// The first byte is not zero.
    #[error("magic byte is {0:#04x}, not 0x00: the value is not in the Confluent wire format")]
    BadMagic(u8),
    /// The registry does not know the id.
    #[error("schema id {0} is not in the registry")]
    UnknownSchema(u32),
    /// The writer's schema is not one that ours can read.
    #[error("schema id {id} cannot be read as {reader}: {reason}")]
    Incompatible {
        /// The writer's schema.
        id: u32,
        /// Our schema's name.
        reader: String,
        /// Why not.
        reason: String,
    },
    /// The datum is not of its schema.
    #[error("{0}")]
    Datum(#[from] crate::avro::Error),
    /// The registry did not answer: the record may be fine, try again.
    #[error("{0}")]
    Registry(crate::registry::Error),
}

/// Splits a value into schema id and datum.
#[inline]
pub fn split(value: &[u8]) -> Result<(u32, &[u8]), Error> {
    match value {
        [0, a, b, c, d, datum @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), datum)),
        [] | [0, ..] => Err(Error::Short(value.len())),
        [magic, ..] => Err(Error::BadMagic(*magic)),
    }
}

/// Appends a record with its header.
#[inline]
pub fn put<'a>(id: u32, record: &impl Avro<'a>, out: &mut Vec<u8>) {
    put_header(id, out);
    record.put(out);
}

/// Appends the five header bytes.
#[inline]
pub fn put_header(id: u32, out: &mut Vec<u8>) {
    out.push(0);
    out.extend_from_slice(&id.to_be_bytes());
}
