//! A request's events as an entry of the spool, and back. Pure.
//!
//! ```text
//! version | traceparent 55 | key length 2 | key
//!   with a key:  request hash 16 | received at 8 | first id 16
//!   version 2:   topic length 2 | topic
//! events 4 | length 4 of each | version 2: event id 16 of each | their values in the wire format
//! ```
//! Version 1 is of flows, whose values hold their ids; version 2 of any other topic. Each value begins with its schema's id.
//! Integers are little-endian. Everything of a request is one entry, so that its events, its key and the answer that a repeat
//! gets are durable together.

use uuid::Uuid;

use crate::answers::Given;
use crate::batch::Batch;

/// Flows.
const VERSION: u8 = 1;
/// Events of a topic that is named.
const VERSION_NAMED: u8 = 2;
/// Bytes of a `traceparent` header.
const TRACE: usize = 55;

/// A request as the spool keeps it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    /// The `traceparent` header of its events.
    pub(crate) trace: &'a [u8],
    /// Its Idempotency-Key, if it has one, and what was answered.
    pub(crate) keyed: Option<(&'a str, Given)>,
    /// The topic of its events; none for flows.
    pub(crate) topic: Option<&'a str>,
    lengths: &'a [u8],
    ids: &'a [u8],
    values: &'a [u8],
}

/// Appends the entry of a request: of flows, or of events of `topic`.
pub(crate) fn put(trace: &str, keyed: Option<(&str, Given)>, topic: Option<&str>, batch: &Batch, out: &mut Vec<u8>) {
    debug_assert_eq!(trace.len(), TRACE);
    out.reserve(512 + batch.len() * if topic.is_some() { 20 } else { 4 } + batch.bytes());
    out.push(if topic.is_some() { VERSION_NAMED } else { VERSION });
    out.extend_from_slice(trace.as_bytes());
    let key = keyed.map_or("", |(key, _)| key);
    out.extend_from_slice(&u16::try_from(key.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(key.as_bytes());
    if let Some((_, given)) = keyed {
        out.extend_from_slice(&given.request.to_le_bytes());
        out.extend_from_slice(&given.received_at.to_le_bytes());
        out.extend_from_slice(given.first_id.as_bytes());
    }
    if let Some(topic) = topic {
        out.extend_from_slice(&u16::try_from(topic.len()).unwrap_or(u16::MAX).to_le_bytes());
        out.extend_from_slice(topic.as_bytes());
    }
    put_count(batch.len(), out);
    batch.values().for_each(|value| put_count(value.len(), out));
    if topic.is_some() {
        batch.ids().for_each(|id| out.extend_from_slice(id.as_bytes()));
    }
    batch.values().for_each(|value| out.extend_from_slice(value));
}

fn put_count(count: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

impl<'a> Request<'a> {
    /// `None` when a later version wrote it.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut left = bytes;
        let named = match take(&mut left, 1)? {
            [VERSION] => false,
            [VERSION_NAMED] => true,
            _ => return None,
        };
        let trace = take(&mut left, TRACE)?;
        let key = text(&mut left)?;
        let keyed = if key.is_empty() { None } else { Some((key, given(&mut left)?)) };
        let topic = if named { Some(text(&mut left)?) } else { None };
        let events = u32::from_le_bytes(array(&mut left)?) as usize;
        let lengths = take(&mut left, events.checked_mul(4)?)?;
        let ids = take(&mut left, if named { events.checked_mul(16)? } else { 0 })?;
        Some(Self { trace, keyed, topic, lengths, ids, values: left })
    }

    /// The events' values with their ids, in order; of flows the ids are within.
    pub(crate) fn events(self) -> impl Iterator<Item = (Option<Uuid>, &'a [u8])> {
        let ids = self.ids.as_chunks::<16>().0;
        self.values().enumerate().map(|(at, value)| (ids.get(at).map(|id| Uuid::from_bytes(*id)), value))
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

/// Text behind its length.
fn text<'a>(left: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::from(u16::from_le_bytes(array(left)?));
    std::str::from_utf8(take(left, length)?).ok()
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
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    #[test]
    fn what_was_put_is_parsed() {
        let batch = Batch::of(&[b"first", b"", b"third"]);
        let given = Given { request: 7, received_at: -1, first_id: Uuid::from_u128(9) };
        for (keyed, topic) in
            [(None, None), (Some(("key", given)), None), (None, Some("t.x")), (Some(("k", given)), Some("t"))]
        {
            let mut bytes = Vec::new();
            put(TRACEPARENT, keyed, topic, &batch, &mut bytes);
            let request = Request::parse(&bytes).unwrap();
            assert_eq!((request.trace, request.keyed, request.topic), (TRACEPARENT.as_bytes(), keyed, topic));
            assert_eq!(request.values().collect::<Vec<_>>(), [&b"first"[..], b"", b"third"]);
            let ids: Vec<_> = request.events().map(|(id, _)| id).collect();
            assert_eq!(ids, [topic.map(|_| Uuid::nil()); 3]);
            let head = bytes.len() - 10;
            assert!((0..head).all(|length| Request::parse(bytes.get(..length).unwrap()).is_none()));
        }
    }

    /// An entry as earlier versions wrote it, byte by byte: what is in a spool on disk stays readable.
    #[test]
    fn entries_of_flows_have_the_form_that_they_always_had() {
        let given = Given { request: 7, received_at: -1, first_id: Uuid::from_u128(9) };
        let mut bytes = vec![1];
        bytes.extend_from_slice(TRACEPARENT.as_bytes());
        bytes.extend_from_slice(&[3, 0]);
        bytes.extend_from_slice(b"key");
        bytes.extend_from_slice(&7u128.to_le_bytes());
        bytes.extend_from_slice(&(-1i64).to_le_bytes());
        bytes.extend_from_slice(&9u128.to_be_bytes());
        bytes.extend_from_slice(&[2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]);
        bytes.extend_from_slice(b"abb");
        let mut put_now = Vec::new();
        put(TRACEPARENT, Some(("key", given)), None, &Batch::of(&[b"a", b"bb"]), &mut put_now);
        assert_eq!(put_now, bytes);
        let request = Request::parse(&bytes).unwrap();
        assert_eq!((request.topic, request.keyed), (None, Some(("key", given))));
        assert_eq!(request.events().collect::<Vec<_>>(), [(None, &b"a"[..]), (None, b"bb")]);
        bytes[0] = 3;
        assert!(Request::parse(&bytes).is_none(), "of a later version");
    }
}
