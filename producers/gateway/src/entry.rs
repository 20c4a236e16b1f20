//! A request's events as an entry of the spool, and back. Pure.
//!
//! ```text
//! version 1 | traceparent 55 | key length 2 | key
//!   with a key:  request hash 16 | received at 8 | first id 16
//! events 4 | length 4 of each | their values in the wire format
//! ```
//! Integers are little-endian. Everything of a request is one entry, so that its events, its key and the answer that a repeat
//! gets are durable together.

use uuid::Uuid;

use crate::answers::Given;
use crate::batch::Batch;

const VERSION: u8 = 1;
/// Bytes of a `traceparent` header.
const TRACE: usize = 55;

/// A request as the spool keeps it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    /// The `traceparent` header of its events.
    pub(crate) trace: &'a [u8],
    /// Its Idempotency-Key, if it has one, and what was answered.
    pub(crate) keyed: Option<(&'a str, Given)>,
    lengths: &'a [u8],
    values: &'a [u8],
}

/// Appends the entry of a request.
pub(crate) fn put(trace: &str, keyed: Option<(&str, Given)>, batch: &Batch, out: &mut Vec<u8>) {
    debug_assert_eq!(trace.len(), TRACE);
    out.reserve(256 + batch.len() * 4 + batch.bytes());
    out.push(VERSION);
    out.extend_from_slice(trace.as_bytes());
    let key = keyed.map_or("", |(key, _)| key);
    out.extend_from_slice(&u16::try_from(key.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(key.as_bytes());
    if let Some((_, given)) = keyed {
        out.extend_from_slice(&given.request.to_le_bytes());
        out.extend_from_slice(&given.received_at.to_le_bytes());
        out.extend_from_slice(given.first_id.as_bytes());
    }
    put_count(batch.len(), out);
    batch.values().for_each(|value| put_count(value.len(), out));
    batch.values().for_each(|value| out.extend_from_slice(value));
}

fn put_count(count: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

impl<'a> Request<'a> {
    /// `None` when a later version wrote it.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut left = bytes;
        if take(&mut left, 1)? != [VERSION] {
            return None;
        }
        let trace = take(&mut left, TRACE)?;
        let key = usize::from(u16::from_le_bytes(array(&mut left)?));
        let key = std::str::from_utf8(take(&mut left, key)?).ok()?;
        let keyed = if key.is_empty() { None } else { Some((key, given(&mut left)?)) };
        let events = u32::from_le_bytes(array(&mut left)?) as usize;
        let lengths = take(&mut left, events.checked_mul(4)?)?;
        Some(Self { trace, keyed, lengths, values: left })
    }

    /// The events' values in the wire format, in order.
    pub(crate) fn values(self) -> impl Iterator<Item = &'a [u8]> {
        let mut left = self.values;
        self.lengths.as_chunks::<4>().0.iter().map_while(move |length| {
            let length = u32::from_le_bytes(*length) as usize;
            take(&mut left, length)
        })
    }
}

fn given(left: &mut &[u8]) -> Option<Given> {
    Some(Given {
        request: u128::from_le_bytes(array(left)?),
        received_at: i64::from_le_bytes(array(left)?),
        first_id: Uuid::from_bytes(array(left)?),
    })
}

fn take<'a>(left: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = left.split_at_checked(count)?;
    *left = rest;
    Some(taken)
}

fn array<const N: usize>(left: &mut &[u8]) -> Option<[u8; N]> {
    take(left, N)?.try_into().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    #[test]
    fn what_was_put_is_parsed() {
        let batch = Batch::of(&[b"first", b"", b"third"]);
        let given = Given { request: 7, received_at: -1, first_id: Uuid::from_u128(9) };
        for keyed in [None, Some(("key", given))] {
            let mut bytes = Vec::new();
            put(TRACEPARENT, keyed, &batch, &mut bytes);
            let request = Request::parse(&bytes).unwrap();
            assert_eq!((request.trace, request.keyed), (TRACEPARENT.as_bytes(), keyed));
            assert_eq!(request.values().collect::<Vec<_>>(), [&b"first"[..], b"", b"third"]);
            let head = bytes.len() - 10;
            assert!((0..head).all(|length| Request::parse(bytes.get(..length).unwrap()).is_none()));
        }
    }
}
