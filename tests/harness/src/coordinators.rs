//! Whether a broker's coordinators are at work.
//!
//! A broker makes the topics of its groups and transactions when it is first asked for a coordinator, and reads them before it
//! answers: on a slow machine that takes longer than a client waits, and the first test of a broker would be told "Coordinator load
//! in progress". Asked in Kafka's own frames (<https://kafka.apache.org/protocol>): a client library would find the coordinator by
//! its advertised address, which may be a proxy's that forwards nothing yet.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::probe;

const FIND_COORDINATOR: i16 = 10;
const OFFSET_FETCH: i16 = 9;
const INIT_PRODUCER_ID: i16 = 22;
/// Kinds of coordinators.
const OF_GROUPS: i8 = 0;
const OF_TRANSACTIONS: i8 = 1;
/// The coordinator's topics have eight partitions here; a name's is its Java hash modulo eight, and these have one each.
const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
/// Answers to these requests are small.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Yes when all coordinators of a broker that is alone answer.
pub(crate) fn answer(bootstrap: &str) -> Result<(), String> {
    let mut stream = probe::connect(bootstrap)?;
    for name in NAMES {
        let string = |text: &str| [&(text.len() as i16).to_be_bytes(), text.as_bytes()].concat();
        for kind in [OF_GROUPS, OF_TRANSACTIONS] {
            let asked = [string(name), vec![kind as u8]].concat();
            // Version 1: throttle time, error code, …
            let found = ask(&mut stream, FIND_COORDINATOR, 1, &asked)?;
            no_error("finding the coordinator", name, found.get(4..6))?;
        }
        // Version 2: offsets of all topics (a null array); the error code ends the answer.
        let offsets = ask(&mut stream, OFFSET_FETCH, 2, &[string(name), (-1_i32).to_be_bytes().to_vec()].concat())?;
        no_error("offsets of group", name, offsets.len().checked_sub(2).and_then(|at| offsets.get(at..)))?;
        // Version 0: throttle time, error code, …
        let transaction = [string(name), 1_000_i32.to_be_bytes().to_vec()].concat();
        let id = ask(&mut stream, INIT_PRODUCER_ID, 0, &transaction)?;
        no_error("a producer id for", name, id.get(4..6))?;
    }
    Ok(())
}

fn no_error(what: &str, name: &str, code: Option<&[u8]>) -> Result<(), String> {
    match code {
        Some([0, 0]) => Ok(()),
        Some([high, low]) => Err(format!("{what} {name}: error {}", i16::from_be_bytes([*high, *low]))),
        _ => Err(format!("{what} {name}: an answer that is too short")),
    }
}

/// One request and the body of its answer.
fn ask(stream: &mut TcpStream, key: i16, version: i16, body: &[u8]) -> Result<Vec<u8>, String> {
    // Header version 1: the correlation id is 0, there is no client id.
    let header = [key.to_be_bytes(), version.to_be_bytes(), [0, 0], [0, 0], (-1_i16).to_be_bytes()].concat();
    let length = i32::try_from(header.len() + body.len()).map_err(|e| e.to_string())?;
    let frame = [&length.to_be_bytes(), header.as_slice(), body].concat();
    stream.write_all(&frame).map_err(|e| e.to_string())?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).map_err(|e| e.to_string())?;
    let length = usize::try_from(i32::from_be_bytes(length)).map_err(|e| e.to_string())?;
    if !(4..=ANSWER_BYTES_MAX).contains(&length) {
        return Err(format!("an answer of {length} bytes"));
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).map_err(|e| e.to_string())?;
    Ok(answer.split_off(4))
}
