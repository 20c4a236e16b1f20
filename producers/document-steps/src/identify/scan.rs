//! One pass over the contents: size, SHA-256, first and last bytes, and what tells text from other bytes. Memory: [`PIECE`], head and tail.

use std::io::{self, Read};

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use ring::digest;

const PIECE: usize = 64 << 10;
/// Enough for the marks of all types, and for what HTML says of its encoding in its first 1,024 bytes.
const HEAD: usize = 8 << 10;
/// Where a PDF must end: readers look for its last marks in the last 1,024 bytes; some append more.
const TAIL: usize = 4 << 10;

/// What one pass over the contents tells.
pub(super) struct Scan {
    pub(super) bytes: u64,
    /// Lowercase hex.
    pub(super) sha256: String,
    pub(super) head: Vec<u8>,
    pub(super) tail: Vec<u8>,
    pub(super) lines: u64,
    /// Sequences that are not UTF-8.
    pub(super) invalid: u64,
    /// Characters of more than one byte in UTF-8.
    multibyte: u64,
    /// Control characters that text does not use, NUL not counted.
    controls: u64,
    /// NULs at even and odd places.
    nuls: [u64; 2],
    first_nul: Option<u64>,
    /// Bytes that windows-1252 leaves undefined.
    undefined: u64,
    /// The start of a character whose rest is in the next piece.
    carry: Vec<u8>,
}

/// What bytes look like.
pub(super) enum Looks {
    Text(&'static Encoding),
    /// Text but for NULs, the first at that byte.
    TextWithNuls(u64),
    /// Text, but in none of the encodings that bytes tell.
    UnknownText,
    Other,
}

impl Scan {
    pub(super) fn of(input: &mut dyn Read) -> io::Result<Self> {
        let mut scan = Self::new();
        let mut digest = digest::Context::new(&digest::SHA256);
        let mut piece = vec![0; PIECE];
        loop {
            let count = match input.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let bytes = piece.get(..count).unwrap_or_default();
            digest.update(bytes);
            scan.take(bytes);
        }
        // A character cut off by the end of the contents.
        scan.invalid += u64::from(!scan.carry.is_empty());
        scan.sha256 = digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(scan)
    }

    fn new() -> Self {
        Self {
            bytes: 0,
            sha256: String::new(),
            head: Vec::new(),
            tail: Vec::new(),
            lines: 0,
            invalid: 0,
            multibyte: 0,
            controls: 0,
            nuls: [0; 2],
            first_nul: None,
            undefined: 0,
            carry: Vec::new(),
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.head.extend(bytes.iter().take(HEAD.saturating_sub(self.head.len())));
        self.tail.extend(bytes.iter().skip(bytes.len().saturating_sub(TAIL)));
        self.tail.drain(..self.tail.len().saturating_sub(TAIL));
        self.count(bytes);
        self.check_utf8(bytes);
        self.bytes += bytes.len() as u64;
    }

    fn count(&mut self, bytes: &[u8]) {
        for (place, byte) in (self.bytes..).zip(bytes) {
            match byte {
                0 => {
                    self.first_nul.get_or_insert(place);
                    if place % 2 == 0 { self.nuls[0] += 1 } else { self.nuls[1] += 1 }
                }
                b'\n' => self.lines += 1,
                // Tab, vertical tab, form feed, carriage return, and the escape of terminals.
                b'\t' | 0x0B..=b'\r' | 0x1B => (),
                ..0x20 | 0x7F => self.controls += 1,
                0x81 | 0x8D | 0x8F | 0x90 | 0x9D => self.undefined += 1,
                _ => (),
            }
        }
    }

    fn check_utf8(&mut self, bytes: &[u8]) {
        // A character of the piece before is at most three bytes short of its end.
        let joined: Vec<u8>;
        let mut rest = if self.carry.is_empty() {
            bytes
        } else {
            joined = [std::mem::take(&mut self.carry).as_slice(), bytes].concat();
            joined.as_slice()
        };
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => return self.count_multibyte(text.as_bytes()),
                Err(error) => {
                    let (valid, after) = rest.split_at_checked(error.valid_up_to()).unwrap_or_default();
                    self.count_multibyte(valid);
                    let Some(length) = error.error_len() else {
                        self.carry = after.to_vec();
                        return;
                    };
                    self.invalid += 1;
                    rest = after.get(length..).unwrap_or_default();
                }
            }
        }
    }

    fn count_multibyte(&mut self, valid: &[u8]) {
        self.multibyte += valid.iter().filter(|byte| **byte >= 0xC0).count() as u64;
    }

    /// Whether the bytes are text, and in which encoding: a byte order mark, UTF-16 by the places of its NULs, UTF-8, and windows-1252
    /// (which holds all of Latin-1) for the rest.
    pub(super) fn looks(&self) -> Looks {
        if let Some((encoding, _)) = Encoding::for_bom(&self.head) {
            return if encoding == UTF_8 { self.as_bytes_of(UTF_8) } else { Looks::Text(encoding) };
        }
        if self.first_nul.is_some() && self.controls * 100 <= self.bytes {
            let [even, odd] = self.nuls.map(|count| count.saturating_mul(10));
            if odd >= self.bytes * 3 && even * 50 <= odd {
                return Looks::Text(UTF_16LE);
            }
            if even >= self.bytes * 3 && odd * 50 <= even {
                return Looks::Text(UTF_16BE);
            }
        }
        // One in ten is more damage than text has; then it is another encoding.
        let utf8 = self.invalid == 0 || self.multibyte > 10 * self.invalid;
        self.as_bytes_of(if utf8 { UTF_8 } else { WINDOWS_1252 })
    }

    fn as_bytes_of(&self, encoding: &'static Encoding) -> Looks {
        let foreign = if encoding == UTF_8 { self.controls } else { self.controls + self.undefined };
        if foreign * 200 > self.bytes {
            let text = self.first_nul.is_none() && self.controls * 200 <= self.bytes;
            return if text { Looks::UnknownText } else { Looks::Other };
        }
        match self.first_nul {
            None => Looks::Text(encoding),
            Some(at) if foreign == 0 => Looks::TextWithNuls(at),
            Some(_) => Looks::Other,
        }
    }
}
