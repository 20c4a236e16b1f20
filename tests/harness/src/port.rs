//! Free loopback ports.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

/// Below Linux's ephemeral range (32768 and up). A port of that range can be taken by any outgoing connection while
/// its server is down, and a client that retries such a port on loopback can even connect to itself.
const FIRST: u64 = 12_000;
const LAST: u64 = 32_000;
/// Each try finds a free port almost surely; this many failures mean that loopback itself is broken.
const TRIES: usize = 100;

/// A TCP port that nothing listens on, 12,000 to 31,999, picked at random so that test processes do not meet.
///
/// # Errors
/// None of 100 random ports could be bound.
pub fn free_port() -> std::io::Result<u16> {
    let mut last = std::io::Error::from(std::io::ErrorKind::AddrInUse);
    for _ in 0..TRIES {
        let port = u16::try_from(FIRST + random() % (LAST - FIRST)).map_err(std::io::Error::other)?;
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// A random number; the standard library's hash keys are seeded by the system, which is random enough for ports and names.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
