//! The bytes of a segment: a header, then frames, each with one entry. Pure.
//!
//! Integers are little-endian, checksums CRC-32C (Castagnoli, as in Kafka's record batches, ext4 and iSCSI: processors have an
//! instruction for it), seeded with the spool's id, so that bytes of another spool do not pass. Length and checksum before the
//! payload are the write-ahead logs' of LevelDB and RocksDB; the position in each frame is SQLite's salt put to more use: it
//! says which entries are gone when bytes between two frames cannot be read.
//!
//! ```text
//! header  magic 8 | version 4 | spool id 16 | sequence 8 | run 8 | first position 8 | made length 8 | crc of these 4
//! frame   length 4 | payload crc 4 | position 8 | synced 8 | appended at 8 | records 4 | crc of these 4 | payload | end 1
//! ```
//!
//! `synced` is the position up to which the spool was durable when the frame was written: a frame proves that all before it
//! had been acknowledged. `end` is never zero: where a segment's last frame has a zero there, it was not written to its end.

use uuid::Uuid;

/// Bytes of a segment's header.
pub(crate) const HEADER: usize = 64;
/// Bytes of a frame before its payload.
pub(crate) const HEAD: usize = 40;
/// Bytes of a frame besides its payload.
pub(crate) const OVERHEAD: usize = HEAD + 1;
/// The last byte of a frame.
const END: u8 = 0xed;
const MAGIC: &[u8; 8] = b"tmspool\n";
const VERSION: u32 = 1;

/// Largest payload, bytes.
pub const PAYLOAD_MAX: usize = 64 << 20;

/// What a segment's header says; its name says the same but for the length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) spool: Uuid,
    pub(crate) sequence: u64,
    pub(crate) run: u64,
    pub(crate) first: u64,
    /// Bytes of the file when it was made; it never shrinks.
    pub(crate) length: u64,
}

impl Header {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(self.spool.as_bytes());
        for field in [self.sequence, self.run, self.first, self.length] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    /// `None` when the bytes are not a whole header of this version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.get(..HEADER)?.split_at_checked(HEADER - 4)?;
        let mut fields = Fields(body);
        let right = crc == crc32c::crc32c(body).to_le_bytes()
            && fields.take::<8>()? == *MAGIC
            && fields.take::<4>()? == VERSION.to_le_bytes();
        let spool = Uuid::from_bytes(fields.take()?);
        let mut next = || fields.take().map(u64::from_le_bytes);
        right.then_some(Self { spool, sequence: next()?, run: next()?, first: next()?, length: next()? })
    }
}

/// What stands before a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) length: u32,
    payload_crc: u32,
    pub(crate) position: u64,
    pub(crate) synced: u64,
    pub(crate) appended_at: i64,
    pub(crate) records: u32,
}

/// Turns entries into frames and back, for one spool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Framing {
    seed: u32,
}

/// A frame that is whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) head: Head,
    pub(crate) payload: &'a [u8],
}

impl Frame<'_> {
    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        OVERHEAD + self.payload.len()
    }
}

impl Framing {
    pub(crate) fn of(spool: Uuid) -> Self {
        Self { seed: crc32c::crc32c(spool.as_bytes()) }
    }

    fn crc(self, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(self.seed, bytes)
    }

    /// Appends a frame. The payload has at most [`PAYLOAD_MAX`] bytes.
    pub(crate) fn put(self, entry: &Unframed<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        let length = u32::try_from(entry.payload.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&self.crc(entry.payload).to_le_bytes());
        out.extend_from_slice(&entry.position.to_le_bytes());
        out.extend_from_slice(&entry.synced.to_le_bytes());
        out.extend_from_slice(&entry.appended_at.to_le_bytes());
        out.extend_from_slice(&entry.records.to_le_bytes());
        let crc = self.crc(out.get(start..).unwrap_or_default());
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(entry.payload);
        out.push(END);
    }

    /// The head at the start of `bytes`, if it is whole.
    pub(crate) fn head(self, bytes: &[u8]) -> Option<Head> {
        let (body, crc) = bytes.get(..HEAD)?.split_at_checked(HEAD - 4)?;
        if crc != self.crc(body).to_le_bytes() {
            return None;
        }
        let mut fields = Fields(body);
        let head = Head {
            length: fields.take().map(u32::from_le_bytes)?,
            payload_crc: fields.take().map(u32::from_le_bytes)?,
            position: fields.take().map(u64::from_le_bytes)?,
            synced: fields.take().map(u64::from_le_bytes)?,
            appended_at: fields.take().map(i64::from_le_bytes)?,
            records: fields.take().map(u32::from_le_bytes)?,
        };
        (head.length as usize <= PAYLOAD_MAX).then_some(head)
    }

    /// The frame at the start of `bytes`, if it is whole.
    pub(crate) fn frame(self, bytes: &[u8]) -> Option<Frame<'_>> {
        let head = self.head(bytes)?;
        let end = HEAD + head.length as usize;
        let payload = bytes.get(HEAD..end)?;
        let whole = bytes.get(end) == Some(&END) && self.crc(payload) == head.payload_crc;
        whole.then_some(Frame { head, payload })
    }
}

/// An entry that is to be framed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unframed<'a> {
    pub(crate) position: u64,
    pub(crate) synced: u64,
    pub(crate) appended_at: i64,
    pub(crate) records: u32,
    pub(crate) payload: &'a [u8],
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, left) = self.0.split_first_chunk::<N>()?;
        self.0 = left;
        Some(*field)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_read_and_no_flip_passes() {
        let framing = Framing::of(Uuid::from_u128(7));
        let entry = Unframed { position: 9, synced: 8, appended_at: -3, records: 2, payload: b"payload" };
        let mut bytes = Vec::new();
        framing.put(&entry, &mut bytes);
        let frame = framing.frame(&bytes).unwrap();
        let head = frame.head;
        assert_eq!((head.position, head.synced, head.appended_at, head.records), (9, 8, -3, 2));
        assert_eq!((frame.payload, frame.bytes()), (&b"payload"[..], bytes.len()));
        assert!(Framing::of(Uuid::from_u128(8)).frame(&bytes).is_none(), "of another spool");
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(framing.frame(&bytes).is_none(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        for length in 0..bytes.len() {
            assert!(framing.frame(&bytes[..length]).is_none(), "length {length}");
        }
    }

    #[test]
    fn headers_are_checked() {
        let header = Header { spool: Uuid::from_u128(7), sequence: 1, run: 2, first: 3, length: 4 };
        let mut bytes = header.encode();
        assert_eq!((bytes.len(), Header::decode(&bytes)), (HEADER, Some(header)));
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bytes), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
