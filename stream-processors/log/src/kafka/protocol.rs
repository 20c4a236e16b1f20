//! The few requests of Kafka's protocol that librdkafka does not have, over plain TCP:
//! <https://kafka.apache.org/protocol#protocol_messages>. All are of flexible versions: request header 2, response header 1.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// A longer answer is not Kafka's.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// In the broker's logs.
const CLIENT_ID: &[u8] = b"tidemark-doctor";

/// A connection to one broker.
pub(super) struct Connection {
    stream: TcpStream,
    correlation: i32,
}

impl Connection {
    /// Connects to `host:port`.
    pub(super) fn open(address: &str) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
                    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
                    return Ok(Self { stream, correlation: 0 });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Sends a request and gives the body of its answer. A broker that does not know the request closes the connection.
    pub(super) fn ask(&mut self, api_key: i16, version: i16, body: &[u8]) -> io::Result<Vec<u8>> {
        self.correlation += 1;
        let mut request = vec![0; 4];
        request.extend(api_key.to_be_bytes());
        request.extend(version.to_be_bytes());
        request.extend(self.correlation.to_be_bytes());
        request.extend(i16::try_from(CLIENT_ID.len()).unwrap_or(0).to_be_bytes());
        request.extend(CLIENT_ID);
        request.push(0); // no tagged fields
        request.extend(body);
        let size = u32::try_from(request.len() - 4).unwrap_or(u32::MAX).to_be_bytes();
        for (place, byte) in request.iter_mut().zip(size) {
            *place = byte;
        }
        self.stream.write_all(&request)?;
        let mut size = [0; 4];
        self.stream.read_exact(&mut size)?;
        let size = usize::try_from(u32::from_be_bytes(size)).unwrap_or(usize::MAX);
        if size > ANSWER_BYTES_MAX {
            return Err(io::Error::other(format!("an answer of {size} bytes")));
        }
        let mut answer = vec![0; size];
        self.stream.read_exact(&mut answer)?;
        let mut fields = Fields(&answer);
        let correlation = fields.i32()?;
        fields.tags()?;
        if correlation != self.correlation {
            return Err(io::Error::other("an answer to another request"));
        }
        Ok(fields.0.to_vec())
    }
}

/// Appends a compact array of compact strings.
pub(super) fn put_strings<'s>(strings: impl ExactSizeIterator<Item = &'s str>, out: &mut Vec<u8>) {
    put_uvarint(strings.len() + 1, out);
    for string in strings {
        put_uvarint(string.len() + 1, out);
        out.extend_from_slice(string.as_bytes());
    }
}

fn put_uvarint(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// What is left of an answer.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, size: usize) -> io::Result<&'a [u8]> {
        let (taken, left) =
            self.0.split_at_checked(size).ok_or_else(|| io::Error::other("an answer that ends too early"))?;
        self.0 = left;
        Ok(taken)
    }

    fn array_of<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        self.take(N)?.try_into().map_err(io::Error::other)
    }

    pub(super) fn i16(&mut self) -> io::Result<i16> {
        Ok(i16::from_be_bytes(self.array_of()?))
    }

    pub(super) fn i32(&mut self) -> io::Result<i32> {
        Ok(i32::from_be_bytes(self.array_of()?))
    }

    pub(super) fn i64(&mut self) -> io::Result<i64> {
        Ok(i64::from_be_bytes(self.array_of()?))
    }

    fn uvarint(&mut self) -> io::Result<usize> {
        let mut value = 0_usize;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array_of()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(io::Error::other("a number of more than five bytes"))
    }

    /// A compact string; null is empty.
    pub(super) fn string(&mut self) -> io::Result<String> {
        let size = self.uvarint()?.saturating_sub(1);
        Ok(String::from_utf8_lossy(self.take(size)?).into_owned())
    }

    /// A compact array; null is empty.
    pub(super) fn array<T>(&mut self, mut element: impl FnMut(&mut Self) -> io::Result<T>) -> io::Result<Vec<T>> {
        let count = self.uvarint()?.saturating_sub(1);
        // No memory is set aside for what an answer only says that it holds.
        let mut elements = Vec::new();
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(elements)
    }

    /// Passes over tagged fields.
    pub(super) fn tags(&mut self) -> io::Result<()> {
        for _ in 0..self.uvarint()? {
            self.uvarint()?;
            let size = self.uvarint()?;
            self.take(size)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_read() {
        let long = "x".repeat(300);
        let mut bytes = Vec::new();
        put_strings(["", "a", &long].into_iter(), &mut bytes);
        assert_eq!(bytes.get(..5).unwrap(), [4, 1, 2, b'a', 0xad]);
        let mut fields = Fields(&bytes);
        assert_eq!(fields.array(Fields::string).unwrap(), ["", "a", &long]);
        assert!(fields.0.is_empty());
    }

    #[test]
    fn null_is_empty_and_tags_are_passed_over() {
        let mut fields = Fields(&[0, 0, 2, 0, 1, 9, 5, 2, 8, 8, 0, 7]);
        assert_eq!(fields.string().unwrap(), "");
        assert_eq!(fields.array(Fields::i32).unwrap(), Vec::<i32>::new());
        fields.tags().unwrap();
        assert_eq!(fields.i16().unwrap(), 7);
    }

    #[test]
    fn whatever_is_cut_off_is_an_error() {
        let mut bytes = Vec::new();
        put_strings(["abc", "de"].into_iter(), &mut bytes);
        for end in 0..bytes.len() {
            assert!(Fields(bytes.get(..end).unwrap()).array(Fields::string).is_err(), "{end}");
        }
        assert!(Fields(&[0xff; 9]).array(Fields::i16).is_err());
    }
}
