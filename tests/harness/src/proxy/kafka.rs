//! Requests of Kafka's protocol, as far as a proxy needs them: <https://kafka.apache.org/protocol#protocol_messages>.
//!
//! A request is a 4-byte length, then api key, version (2 bytes each), correlation id (4 bytes), the client id (2-byte length,
//! −1 for none; the same in every header version) and the body. Numbers are big-endian.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Larger than any request a test makes; a longer one is not Kafka.
const REQUEST_BYTES_MAX: usize = 100 << 20;
/// How long an answer to [`Request::send_to`] may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It goes to the broker.
    Forward,
    /// It does not, and the client hears nothing.
    Keep,
    /// It does not, and the client's connection is closed.
    KeepAndCut,
}

/// Decides on each request. It is called on the connection's thread: what it waits for, the connection waits for.
pub type Intercept = dyn Fn(&Request) -> Action + Send + Sync;

/// A request on its way to the broker.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which request, such as 26 for EndTxn.
    pub api_key: i16,
    /// Version of it.
    pub api_version: i16,
    /// The client's `client.id`, empty for none.
    pub client: String,
    bytes: Vec<u8>,
}

impl Request {
    /// Produce.
    pub const PRODUCE: i16 = 0;
    /// InitProducerId: a transactional producer begins, and fences its predecessor.
    pub const INIT_PRODUCER_ID: i16 = 22;
    /// AddPartitionsToTxn: a transaction is to write to them.
    pub const ADD_PARTITIONS_TO_TXN: i16 = 24;
    /// AddOffsetsToTxn: a transaction is to move a group's offsets.
    pub const ADD_OFFSETS_TO_TXN: i16 = 25;
    /// EndTxn: a transaction is to be committed or aborted.
    pub const END_TXN: i16 = 26;
    /// TxnOffsetCommit: a transaction's offsets.
    pub const TXN_OFFSET_COMMIT: i16 = 28;

    /// Reads the next one.
    pub(super) fn read(mut from: &TcpStream) -> io::Result<Self> {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let size = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if size > REQUEST_BYTES_MAX {
            return Err(io::Error::other(format!("a request of {size} bytes")));
        }
        let mut bytes = length.to_vec();
        bytes.resize(4 + size, 0);
        from.read_exact(bytes.get_mut(4..).unwrap_or_default())?;
        Self::parse(bytes).ok_or_else(|| io::Error::other("not a Kafka request"))
    }

    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let short = |at: usize| Some(i16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let (api_key, api_version) = (short(4)?, short(6)?);
        let length = usize::try_from(short(12)?).unwrap_or(0);
        let client = String::from_utf8_lossy(bytes.get(14..14 + length)?).into_owned();
        Some(Self { api_key, api_version, client, bytes })
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Sends it to a broker on a connection of its own, as a network does that delivers it late, and returns the body of the
    /// answer (what follows the correlation id).
    ///
    /// # Errors
    /// The broker cannot be reached, or does not answer within 10 s.
    pub fn send_to(&self, broker: &str) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(broker)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.write_all(&self.bytes)?;
        let mut header = [0; 8];
        stream.read_exact(&mut header)?;
        let [a, b, c, d, ..] = header;
        let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(0);
        let mut body = vec![0; size.saturating_sub(4).min(REQUEST_BYTES_MAX)];
        stream.read_exact(&mut body)?;
        Ok(body)
    }
}
