//! Avro binary encoding by hand: what the hot path needs and no more.
//!
//! The format is that of the Avro 1.11 specification, "Binary Encoding": `long` is zig-zag base-128, `string` and `bytes`
//! are length-prefixed, arrays are blocks ended by a zero count. Reading never panics and never allocates more than the
//! input is long.

/// Why bytes are not the Avro datum that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The datum ends before its last field.
    #[error("truncated: the datum ends in the middle of a field")]
    Truncated,
    /// A variable-length integer has more than 64 bits, or more bytes than it needs.
    #[error("malformed integer")]
    Integer,
    /// A length is negative or larger than what is left.
    #[error("length {0} does not fit the datum")]
    Length(i64),
    /// A string is not UTF-8.
    #[error("string is not UTF-8")]
    Utf8,
    /// A union branch or enum symbol that the schema does not have.
    #[error("no branch or symbol {0}")]
    Branch(i64),
    /// A boolean is neither 0 nor 1.
    #[error("boolean byte is {0}")]
    Boolean(u8),
    /// A decimal has more than 16 bytes.
    #[error("decimal has {0} bytes; at most 16 are read")]
    Decimal(usize),
    /// Bytes are left after the last field.
    #[error("{0} bytes are left over after the last field")]
    Trailing(usize),
    /// Records, arrays, maps and unions nest too deep.
    #[error("nested deeper than {0} levels")]
    TooDeep(usize),
    /// More values than a datum of its length may hold.
    #[error("more than {0} values")]
    TooMany(usize),
}

/// A cursor over a datum.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `datum`.
    #[inline]
    pub fn new(datum: &'a [u8]) -> Self {
        Self { left: datum }
    }

    /// What has not been read yet.
    #[inline]
    pub fn left(&self) -> &'a [u8] {
        self.left
    }

    /// Fails unless everything has been read.
    #[inline]
    pub fn finish(self) -> Result<(), Error> {
        if self.left.is_empty() { Ok(()) } else { Err(Error::Trailing(self.left.len())) }
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, Error> {
        let (&first, rest) = self.left.split_first().ok_or(Error::Truncated)?;
        self.left = rest;
        Ok(first)
    }

    /// `string`, as the bytes that it is. They are UTF-8; where no more is asked of a text, this takes a fraction of the time of
    /// [`Reader::string`].
    #[inline(always)]
    pub fn text(&mut self) -> Result<&'a [u8], Error> {
        let bytes = self.bytes()?;
        if is_ascii(bytes) || std::str::from_utf8(bytes).is_ok() { Ok(bytes) } else { Err(Error::Utf8) }
    }

    /// A `long`; only its shortest form is read, so that equal values have equal bytes.
    #[inline(always)]
    pub fn long(&mut self) -> Result<i64, Error> {
        if let [byte @ ..=0x7f, rest @ ..] = self.left {
            self.left = rest;
            return Ok(zig_zag(u64::from(*byte)));
        }
        // Up to eight bytes at once: how many there are is a matter of chance, and a branch for each would be guessed wrong.
        if let Some(word) = self.left.first_chunk() {
            let word = u64::from_le_bytes(*word);
            let ends = !word & HIGH;
            if ends != 0 {
                let bits = ends.trailing_zeros() + 1;
                if word >> (bits - 8) & 0x7f == 0 {
                    return Err(Error::Integer);
                }
                self.left = self.left.get(bits as usize / 8..).unwrap_or_default();
                return Ok(zig_zag(sevens(word & (u64::MAX >> (64 - bits)))));
            }
        }
        self.long_by_bytes()
    }

    #[inline(never)]
    fn long_by_bytes(&mut self) -> Result<i64, Error> {
        let mut bits = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let low = u64::from(byte & 0x7f);
            if shift == 63 && low > 1 {
                return Err(Error::Integer);
            }
            bits |= low << shift;
            if byte < 0x80 {
                if byte == 0 && shift > 0 {
                    return Err(Error::Integer);
                }
                return Ok(zig_zag(bits));
            }
        }
        Err(Error::Integer)
    }

    /// The next `n` bytes.
    #[inline(always)]
    pub fn take(&mut self, n: i64) -> Result<&'a [u8], Error> {
        let (taken, rest) =
            usize::try_from(n).ok().and_then(|n| self.left.split_at_checked(n)).ok_or(Error::Length(n))?;
        self.left = rest;
        Ok(taken)
    }

    /// `bytes`, borrowed.
    #[inline(always)]
    pub fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let n = self.long()?;
        self.take(n)
    }

    /// `string`, borrowed.
    #[inline]
    pub fn string(&mut self) -> Result<&'a str, Error> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Error::Utf8)
    }
}

/// The highest bit of each of eight bytes.
const HIGH: u64 = 0x8080_8080_8080_8080;

#[inline(always)]
fn zig_zag(bits: u64) -> i64 {
    (bits >> 1) as i64 ^ -((bits & 1) as i64)
}

/// The lower seven bits of each of eight bytes, one after the other.
#[inline(always)]
fn sevens(word: u64) -> u64 {
    let pairs = (word & 0x007f_007f_007f_007f) | (word & 0x7f00_7f00_7f00_7f00) >> 1;
    let fours = (pairs & 0x0000_3fff_0000_3fff) | (pairs & 0x3fff_0000_3fff_0000) >> 2;
    (fours & 0x0fff_ffff) | (fours & 0x0fff_ffff_0000_0000) >> 4
}

/// As the method of slices, for the short texts that names are: eight bytes at once, wherever they stand.
#[inline(always)]
fn is_ascii(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk() else { return bytes.iter().fold(0, |bits, byte| bits | byte) < 0x80 };
    let (chunks, _) = bytes.as_chunks();
    let bits = chunks.iter().fold(u64::from_ne_bytes(*last), |bits, chunk| bits | u64::from_ne_bytes(*chunk));
    bits & HIGH == 0
}

/// Appends a `long`.
#[inline]
pub fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut bits = ((value << 1) ^ (value >> 63)) as u64;
    while bits >= 0x80 {
        out.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

/// Appends `bytes` or a `string`.
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, value: &[u8]) {
    put_long(out, value.len() as i64);
    out.extend_from_slice(value);
}

/// A value that has one Avro form. `'a` is the lifetime of the datum it may borrow from.
pub trait Avro<'a>: Sized {
    /// Appends the value.
    fn put(&self, out: &mut Vec<u8>);
    /// Reads one value.
    fn get(reader: &mut Reader<'a>) -> Result<Self, Error>;
}

impl Avro<'_> for i64 {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        put_long(out, *self);
    }
    #[inline]
    fn get(reader: &mut Reader<'_>) -> Result<Self, Error> {
        reader.long()
    }
}

/// Avro `int`; also used for counts and partition numbers.
impl Avro<'_> for i32 {
    fn put(&self, out: &mut Vec<u8>) {
        put_long(out, i64::from(*self));
    }
    fn get(reader: &mut Reader<'_>) -> Result<Self, Error> {
        i32::try_from(reader.long()?).map_err(|_| Error::Integer)
    }
}

impl Avro<'_> for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn get(reader: &mut Reader<'_>) -> Result<Self, Error> {
        match reader.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Error::Boolean(other)),
        }
    }
}

/// Avro `decimal` of scale 0 over `bytes`: big-endian two's complement, as short as it goes.
impl Avro<'_> for i128 {
    fn put(&self, out: &mut Vec<u8>) {
        let bytes = self.to_be_bytes();
        let fill = if *self < 0 { 0xff } else { 0 };
        let redundant = bytes.windows(2).take_while(|w| matches!(w, [a, b] if *a == fill && (b ^ fill) < 0x80)).count();
        put_bytes(out, bytes.get(redundant..).unwrap_or(&bytes));
    }
    fn get(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let bytes = reader.bytes()?;
        let fill = if bytes.first().is_some_and(|b| *b >= 0x80) { 0xff } else { 0 };
        let mut wide = [fill; 16];
        let start = 16usize.checked_sub(bytes.len()).ok_or(Error::Decimal(bytes.len()))?;
        wide.get_mut(start..).ok_or(Error::Decimal(bytes.len()))?.copy_from_slice(bytes);
        Ok(i128::from_be_bytes(wide))
    }
}

impl<'a> Avro<'a> for &'a str {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.as_bytes());
    }
    fn get(reader: &mut Reader<'a>) -> Result<Self, Error> {
        reader.string()
    }
}

impl<'a> Avro<'a> for &'a [u8] {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, self);
    }
    fn get(reader: &mut Reader<'a>) -> Result<Self, Error> {
        reader.bytes()
    }
}

impl Avro<'_> for String {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.as_bytes());
    }
    fn get(reader: &mut Reader<'_>) -> Result<Self, Error> {
        reader.string().map(str::to_owned)
    }
}

/// A union `["null", T]`.
impl<'a, T: Avro<'a>> Avro<'a> for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            None => put_long(out, 0),
            Some(value) => {
                put_long(out, 1);
                value.put(out);
            }
        }
    }
    fn get(reader: &mut Reader<'a>) -> Result<Self, Error> {
        match reader.long()? {
            0 => Ok(None),
            1 => T::get(reader).map(Some),
            other => Err(Error::Branch(other)),
        }
    }
}

impl<'a, T: Avro<'a>> Avro<'a> for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        if !self.is_empty() {
            put_long(out, self.len() as i64);
            self.iter().for_each(|item| item.put(out));
        }
        put_long(out, 0);
    }
    fn get(reader: &mut Reader<'a>) -> Result<Self, Error> {
        let mut items = Vec::new();
        loop {
            let mut n = reader.long()?;
            if n < 0 {
                reader.long()?; // the block's size in bytes, for readers that skip it
                n = n.checked_neg().ok_or(Error::Length(n))?;
            }
            if n == 0 {
                return Ok(items);
            }
            // Every item here takes at least one byte: a count larger than what is left is a lie.
            if usize::try_from(n).map_or(true, |n| n > reader.left.len()) {
                return Err(Error::Length(n));
            }
            for _ in 0..n {
                items.push(T::get(reader)?);
            }
        }
    }
}

/// Declares a record: a struct whose fields stand in the order of its .avsc, with its Avro form.
#[macro_export]
macro_rules! avro_record {
    ($(#[$meta:meta])* pub struct $name:ident $(<$lt:lifetime>)? { $($(#[$fmeta:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name $(<$lt>)? { $($(#[$fmeta])* pub $field: $type,)* }
        $crate::avro_record!(@impl $name $($lt)?; $($field)*);
    };
    (@impl $name:ident; $($field:ident)*) => {
        impl $crate::avro::Avro<'_> for $name { $crate::avro_record!(@body '_; $($field)*); }
    };
    (@impl $name:ident $lt:lifetime; $($field:ident)*) => {
        impl<$lt> $crate::avro::Avro<$lt> for $name<$lt> { $crate::avro_record!(@body $lt; $($field)*); }
    };
    (@body $lt:lifetime; $($field:ident)*) => {
        fn put(&self, out: &mut Vec<u8>) { $($crate::avro::Avro::put(&self.$field, out);)* }
        fn get(reader: &mut $crate::avro::Reader<$lt>) -> Result<Self, $crate::avro::Error> {
            Ok(Self { $($field: $crate::avro::Avro::get(reader)?,)* })
        }
    };
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round<T: for<'a> Avro<'a> + PartialEq + std::fmt::Debug>(value: T) {
        let mut out = vec![];
        value.put(&mut out);
        let mut reader = Reader::new(&out);
        assert_eq!(T::get(&mut reader).unwrap(), value);
        reader.finish().unwrap();
    }

    proptest! {
        #[test]
        fn values_come_back(long: i64, wide: i128, text: String, list: Vec<Option<i64>>, flag: bool) {
            round(long);
            round(wide);
            round(text);
            round(list);
            round(flag);
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = Vec::<Option<i64>>::get(&mut Reader::new(&bytes));
            let _ = i128::get(&mut Reader::new(&bytes));
            let _ = String::get(&mut Reader::new(&bytes));
        }

        #[test]
        fn a_long_is_what_its_bytes_say_one_by_one(
            bytes in prop::collection::vec(prop_oneof![0x80..=0xffu8, 0..=0x7fu8, Just(0x80), Just(0)], 0..14),
            value: i64,
            shift in 0..64u32,
        ) {
            let (mut at_once, mut one_by_one) = (Reader::new(&bytes), Reader::new(&bytes));
            let (got, want) = (at_once.long(), one_by_one.long_by_bytes());
            prop_assert_eq!(got, want);
            if want.is_ok() {
                prop_assert_eq!(at_once.left(), one_by_one.left());
            }
            // Of every length, with and without something behind.
            for end in [&[][..], &bytes] {
                let mut datum = vec![];
                put_long(&mut datum, value >> shift);
                datum.extend_from_slice(end);
                let mut reader = Reader::new(&datum);
                prop_assert_eq!(reader.long(), Ok(value >> shift));
                prop_assert_eq!(reader.left(), end);
            }
        }

        #[test]
        fn a_text_is_a_string_as_bytes(
            bytes in prop_oneof![
                any::<Vec<u8>>(),
                ".{0,20}".prop_map(String::into_bytes),
                "[a-z]{0,40}".prop_map(String::into_bytes)
            ],
            at: prop::sample::Index,
            spoilt: Option<u8>,
        ) {
            let mut bytes = bytes;
            if let (Some(spoilt), false) = (spoilt, bytes.is_empty()) {
                let at = at.index(bytes.len());
                bytes[at] = spoilt;
            }
            let mut datum = vec![];
            put_bytes(&mut datum, &bytes);
            let (mut texts, mut strings) = (Reader::new(&datum), Reader::new(&datum));
            prop_assert_eq!(texts.text(), strings.string().map(str::as_bytes));
            prop_assert_eq!(texts.left(), strings.left());
        }
    }

    #[test]
    fn decimals_are_as_short_as_they_go() {
        for (value, bytes) in [
            (0, vec![2, 0]),
            (127, vec![2, 127]),
            (128, vec![4, 0, 128]),
            (-128, vec![2, 128]),
            (-129, vec![4, 255, 127]),
        ] {
            let mut out = vec![];
            i128::put(&value, &mut out);
            assert_eq!(out, bytes, "{value}");
        }
    }

    #[test]
    fn only_the_shortest_integer_is_read() {
        assert_eq!(Reader::new(&[0x80, 0x00]).long(), Err(Error::Integer));
        assert_eq!(Reader::new(&[0xff; 10]).long(), Err(Error::Integer));
        assert_eq!(Reader::new(&[0x80]).long(), Err(Error::Truncated));
    }
}
