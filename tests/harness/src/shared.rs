//! Servers that one test process shares.

use std::sync::OnceLock;

use crate::{Error, Kafka, port};

/// `host:port` of a Kafka to use instead of an own one.
pub const KAFKA_ENV: &str = "TIDEMARK_TEST_KAFKA";

/// Never dropped, as statics are not: the watchdog ends the server when the process ends.
static KAFKA: OnceLock<Result<Kafka, Error>> = OnceLock::new();

/// Bootstrap address of the shared Kafka: of `TIDEMARK_TEST_KAFKA` when set, else of one started now.
///
/// # Panics
/// None can be had; the message says why and what to do. A test that needs it must not pass without it.
#[must_use]
pub fn kafka() -> String {
    from_env(KAFKA_ENV).unwrap_or_else(|| had(KAFKA.get_or_init(|| Kafka::start(&[]))).bootstrap().to_owned())
}

/// A name no other test uses, for topics, groups and keyspaces: `prefix`, `_` and 16 hexadecimal digits.
#[must_use]
pub fn unique(prefix: &str) -> String {
    format!("{prefix}_{:016x}", port::random())
}

fn from_env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

fn had<T>(server: &Result<T, Error>) -> &T {
    match server {
        Ok(server) => server,
        Err(e) => panic!("this test needs a real server: {e}"),
    }
}
