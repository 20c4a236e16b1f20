//! One statement over the CQL binary protocol, version 4: enough to know that a store answers, without a driver or an executor.
//!
//! Format: <https://github.com/apache/cassandra/blob/trunk/doc/native_protocol_v4.spec>. A frame is a version byte, flags,
//! a 2-byte stream, an opcode, a 4-byte length and the body; numbers are big-endian.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::{Error, probe};

const REQUEST_V4: u8 = 0x04;
const STARTUP: u8 = 0x01;
const QUERY: u8 = 0x07;
const ERROR: u8 = 0x00;
const READY: u8 = 0x02;
const RESULT: u8 = 0x08;
/// `[string map]` of one entry: CQL_VERSION = 3.0.0.
const STARTUP_BODY: &[u8] = b"\x00\x01\x00\x0bCQL_VERSION\x00\x053.0.0";
/// Consistency ONE, no flags.
const QUERY_END: &[u8] = &[0x00, 0x01, 0x00];
const HEADER_BYTES: usize = 9;
/// Answers of the statements this is for are small; a longer one is not from a CQL store.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Runs one statement on the store at `host:port` and forgets its rows.
///
/// # Errors
/// Nothing listens, or the store refuses the statement; the reason is the store's own.
pub fn cql(address: &str, statement: &str) -> Result<(), Error> {
    ask(address, statement).map_err(|reason| Error::Cql { address: address.to_owned(), reason })
}

/// [`cql`] for a probe.
pub(crate) fn ask(address: &str, statement: &str) -> Result<(), String> {
    let mut stream = probe::connect(address)?;
    call(&mut stream, STARTUP, STARTUP_BODY, READY)?;
    let length = u32::try_from(statement.len()).map_err(|e| e.to_string())?;
    let body = [&length.to_be_bytes(), statement.as_bytes(), QUERY_END].concat();
    call(&mut stream, QUERY, &body, RESULT)
}

fn call(stream: &mut TcpStream, opcode: u8, body: &[u8], expected: u8) -> Result<(), String> {
    let length = u32::try_from(body.len()).map_err(|e| e.to_string())?;
    let frame = [&[REQUEST_V4, 0, 0, 0, opcode], length.to_be_bytes().as_slice(), body].concat();
    stream.write_all(&frame).map_err(|e| e.to_string())?;
    match answer(stream)? {
        (got, _) if got == expected => Ok(()),
        (ERROR, body) => Err(message(&body)),
        (got, _) => Err(format!("expected opcode {expected:#04x}, got {got:#04x}")),
    }
}

fn answer(stream: &mut TcpStream) -> Result<(u8, Vec<u8>), String> {
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header).map_err(|e| e.to_string())?;
    let [_, _, _, _, opcode, a, b, c, d] = header;
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).map_err(|e| e.to_string())?;
    if length > BODY_BYTES_MAX {
        return Err(format!("an answer of {length} bytes"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).map_err(|e| e.to_string())?;
    Ok((opcode, body))
}

/// The text of an error: after a 4-byte code and a 2-byte length.
fn message(body: &[u8]) -> String {
    String::from_utf8_lossy(body.get(6..).unwrap_or_default()).into_owned()
}
