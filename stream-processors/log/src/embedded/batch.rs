//! The stored form of a batch: what one write to one partition becomes on disk.
//!
//! Layout, integers big-endian, `v` = LEB128 of at most 5 bytes:
//! ```text
//! format u8 = 1 | append time i64 | cleaned at i64 (0 = never) | span u32 | record*
//! record  = v gap, bytes? key, bytes? value, v length of headers, header*
//! bytes?  = v 0 for none, else v (length + 1) and the bytes
//! header  = v length, name, v length, value
//! ```
//! The batch's last offset is in its storage key; its first is `last − span`. A record's offset is that of the one before
//! it + 1 + `gap` (the first counts from `first − 1`): gaps are what compaction leaves. Nothing read here is trusted:
//! whatever does not fit is [`Corrupt`].

use crate::{Headers, RawHeaders, Record};

/// First byte of every stored batch.
const FORMAT: u8 = 1;
/// Bytes before the first record.
const HEADER_BYTES: usize = 1 + 8 + 8 + 4;

/// Bytes that are no batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Corrupt(pub(crate) &'static str);

/// Builds one stored batch.
#[derive(Debug)]
pub(crate) struct Encoder {
    bytes: Vec<u8>,
    records: u32,
    /// Offsets taken so far, gaps included.
    slots: u32,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; HEADER_BYTES], records: 0, slots: 0 }
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Records so far.
    pub(crate) fn records(&self) -> u32 {
        self.records
    }

    /// Adds a record at the next offset.
    pub(crate) fn push(&mut self, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(&str, &[u8])]) {
        self.begin(0, key, value);
        let size = |n: usize| varint_len(n) + n;
        let total = headers.iter().map(|(name, value)| size(name.len()) + size(value.len())).sum();
        put_varint(&mut self.bytes, total);
        for (name, value) in headers {
            put_varint(&mut self.bytes, name.len());
            self.bytes.extend_from_slice(name.as_bytes());
            put_varint(&mut self.bytes, value.len());
            self.bytes.extend_from_slice(value);
        }
    }

    /// Adds a record read from a batch that starts at `first`, at the offset that it has.
    pub(crate) fn copy(&mut self, first: i64, record: &Record<'_>) {
        let slot = u32::try_from(record.offset - first).unwrap_or(self.slots);
        self.begin(slot.saturating_sub(self.slots), record.key, record.value);
        let headers = match record.headers.0 {
            RawHeaders::Encoded(bytes) => bytes,
            RawHeaders::None | RawHeaders::Native(_) => &[],
        };
        put_varint(&mut self.bytes, headers.len());
        self.bytes.extend_from_slice(headers);
    }

    fn begin(&mut self, gap: u32, key: Option<&[u8]>, value: Option<&[u8]>) {
        put_varint(&mut self.bytes, gap as usize);
        put_optional(&mut self.bytes, key);
        put_optional(&mut self.bytes, value);
        self.records += 1;
        self.slots += gap + 1;
    }

    /// The stored form, of a batch that takes `span + 1` offsets.
    pub(crate) fn seal(mut self, append_time: i64, cleaned_at: i64, span: u32) -> Vec<u8> {
        let mut header = [0_u8; HEADER_BYTES];
        let fields = std::iter::once(FORMAT)
            .chain(append_time.to_be_bytes())
            .chain(cleaned_at.to_be_bytes())
            .chain(span.to_be_bytes());
        for (to, from) in header.iter_mut().zip(fields) {
            *to = from;
        }
        for (to, from) in self.bytes.iter_mut().zip(header) {
            *to = from;
        }
        self.bytes
    }
}

/// A stored batch, its header read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored<'a> {
    /// Milliseconds since the epoch, of every record in it.
    pub(crate) append_time: i64,
    /// When compaction first kept a tombstone in it; 0 = never.
    pub(crate) cleaned_at: i64,
    /// First offset that it takes.
    pub(crate) first: i64,
    /// Last offset that it takes.
    pub(crate) last: i64,
    body: &'a [u8],
}

impl<'a> Stored<'a> {
    /// Reads the header of the batch stored under `last`.
    pub(crate) fn parse(last: i64, bytes: &'a [u8]) -> Result<Self, Corrupt> {
        let mut rest = bytes;
        if take::<1>(&mut rest)? != [FORMAT] {
            return Err(Corrupt("unknown batch format"));
        }
        let append_time = i64::from_be_bytes(take(&mut rest)?);
        let cleaned_at = i64::from_be_bytes(take(&mut rest)?);
        let span = i64::from(u32::from_be_bytes(take(&mut rest)?));
        if span > last {
            return Err(Corrupt("the batch begins before offset 0"));
        }
        Ok(Self { append_time, cleaned_at, first: last - span, last, body: rest })
    }

    /// Puts its records into `out`, in offset order, after clearing it.
    pub(crate) fn records(&self, out: &mut Vec<Record<'a>>) -> Result<(), Corrupt> {
        out.clear();
        let mut rest = self.body;
        let mut next = self.first;
        while !rest.is_empty() {
            let offset = next + i64::from(varint(&mut rest)?);
            if offset > self.last {
                return Err(Corrupt("a record lies past the end of its batch"));
            }
            next = offset + 1;
            let key = optional(&mut rest)?;
            let value = optional(&mut rest)?;
            let len = varint(&mut rest)?;
            let headers = match bytes(&mut rest, len)? {
                [] => Headers(RawHeaders::None),
                encoded => Headers(RawHeaders::Encoded(encoded)),
            };
            out.push(Record { offset, timestamp: self.append_time, key, value, headers });
        }
        Ok(())
    }
}

/// The value of the last header called `name` in the headers of a stored record.
pub(crate) fn header<'a>(mut encoded: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut found = None;
    while !encoded.is_empty() {
        let len = varint(&mut encoded).ok()?;
        let this = bytes(&mut encoded, len).ok()?;
        let len = varint(&mut encoded).ok()?;
        let value = bytes(&mut encoded, len).ok()?;
        if this == name.as_bytes() {
            found = Some(value);
        }
    }
    found
}

fn put_varint(out: &mut Vec<u8>, mut n: usize) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn varint_len(n: usize) -> usize {
    (usize::BITS - (n | 1).leading_zeros()).div_ceil(7) as usize
}

fn put_optional(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => out.push(0),
        Some(bytes) => {
            put_varint(out, bytes.len() + 1);
            out.extend_from_slice(bytes);
        }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Corrupt> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(Corrupt("the batch is cut short"))?;
    *rest = tail;
    Ok(*head)
}

fn bytes<'a>(rest: &mut &'a [u8], len: u32) -> Result<&'a [u8], Corrupt> {
    let (head, tail) = rest.split_at_checked(len as usize).ok_or(Corrupt("a field runs past the end of its batch"))?;
    *rest = tail;
    Ok(head)
}

fn optional<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Corrupt> {
    match varint(rest)? {
        0 => Ok(None),
        n => bytes(rest, n - 1).map(Some),
    }
}

fn varint(rest: &mut &[u8]) -> Result<u32, Corrupt> {
    let mut value = 0_u64;
    for shift in [0, 7, 14, 21, 28] {
        let (&byte, tail) = rest.split_first().ok_or(Corrupt("a length is cut short"))?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return u32::try_from(value).map_err(|_| Corrupt("a length is too large"));
        }
    }
    Err(Corrupt("a length is too long"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes_up_to(max: usize) -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 0..max)
    }

    type Parts = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Vec<u8>)>);

    fn parts() -> impl Strategy<Value = Vec<Parts>> {
        let headers = proptest::collection::vec(("[a-z]{0,5}", bytes_up_to(200)), 0..4);
        let one = (proptest::option::of(bytes_up_to(300)), proptest::option::of(bytes_up_to(300)), headers);
        proptest::collection::vec(one, 1..20)
    }

    fn encode(parts: &[Parts], first: i64) -> (i64, Vec<u8>) {
        let mut encoder = Encoder::new();
        for (key, value, headers) in parts {
            let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
            encoder.push(key.as_deref(), value.as_deref(), &headers);
        }
        let span = encoder.records() - 1;
        (first + i64::from(span), encoder.seal(77, 0, span))
    }

    proptest! {
        #[test]
        fn reads_what_was_written(parts in parts(), first in 0..1_i64 << 60) {
            let (last, stored) = encode(&parts, first);
            let mut records = Vec::new();
            Stored::parse(last, &stored).unwrap().records(&mut records).unwrap();
            prop_assert_eq!(records.len(), parts.len());
            for (i, ((key, value, headers), record)) in parts.iter().zip(&records).enumerate() {
                prop_assert_eq!(record.offset, first + i as i64);
                prop_assert_eq!((record.timestamp, record.key, record.value), (77, key.as_deref(), value.as_deref()));
                for (name, _) in headers {
                    let last = headers.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_slice());
                    prop_assert_eq!(record.headers.get(name), last);
                }
                prop_assert_eq!(record.headers.get("absent"), None);
            }
        }

        #[test]
        fn a_copy_without_some_records_keeps_the_offsets(parts in parts(), keep in any::<u32>()) {
            let (last, stored) = encode(&parts, 1000);
            let mut records = Vec::new();
            let batch = Stored::parse(last, &stored).unwrap();
            batch.records(&mut records).unwrap();
            records.retain(|r| keep >> (r.offset % 32) & 1 == 1);
            let mut encoder = Encoder::new();
            records.iter().for_each(|r| encoder.copy(batch.first, r));
            let copy = encoder.seal(77, 5, (batch.last - batch.first) as u32);
            let mut again = Vec::new();
            let copied = Stored::parse(last, &copy).unwrap();
            copied.records(&mut again).unwrap();
            prop_assert_eq!((copied.first, copied.cleaned_at), (1000, 5));
            let view = |r: &Record<'_>| (r.offset, r.key.map(<[u8]>::to_vec), r.value.map(<[u8]>::to_vec));
            prop_assert_eq!(again.iter().map(view).collect::<Vec<_>>(), records.iter().map(view).collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in bytes_up_to(400), last in any::<i64>()) {
            if let Ok(batch) = Stored::parse(last.max(0), &bytes) {
                let mut records = Vec::new();
                let _ = batch.records(&mut records);
                records.iter().for_each(|r| { let _ = r.headers.get("x"); });
            }
        }

        #[test]
        fn a_flipped_or_cut_batch_is_read_without_panic(parts in parts(), at in any::<usize>(), bit in 0..8, cut in any::<usize>()) {
            let (last, mut stored) = encode(&parts, 9);
            let at = at % stored.len();
            stored[at] ^= 1_u8 << bit;
            stored.truncate(cut % (stored.len() + 1));
            if let Ok(batch) = Stored::parse(last, &stored) {
                let _ = batch.records(&mut Vec::new());
            }
        }
    }
}
