//! Servers that one test process shares.

use std::sync::OnceLock;

use crate::{Cassandra, Error, Kafka, Registry, port};

/// `host:port` of a Kafka to use instead of an own one.
pub const KAFKA_ENV: &str = "TIDEMARK_TEST_KAFKA";
/// `host:port` of a CQL store to use instead of an own one.
pub const CQL_ENV: &str = "TIDEMARK_TEST_CQL";
/// Base URL of a Confluent schema registry to use instead of an own one.
pub const REGISTRY_ENV: &str = "TIDEMARK_TEST_REGISTRY";

/// A server, or why there is none. Never dropped, as statics are not: the watchdog ends the server when the process ends.
type Once<T> = OnceLock<Result<T, Error>>;

static KAFKA: Once<Kafka> = OnceLock::new();
static CASSANDRA: Once<Cassandra> = OnceLock::new();
static REGISTRY: Once<Registry> = OnceLock::new();

/// Bootstrap address of the shared Kafka: of `TIDEMARK_TEST_KAFKA` when set, else of one started now.
///
/// # Panics
/// None can be had; the message says why and what to do. A test that needs it must not pass without it.
#[must_use]
pub fn kafka() -> String {
    from_env(KAFKA_ENV).unwrap_or_else(|| had(&KAFKA, || Kafka::start(&[])).bootstrap().to_owned())
}

/// `host:port` of the shared CQL store: of `TIDEMARK_TEST_CQL` when set, else of one started now.
///
/// # Panics
/// None can be had; see [`kafka`].
#[must_use]
pub fn cassandra() -> String {
    from_env(CQL_ENV).unwrap_or_else(|| had(&CASSANDRA, Cassandra::start).address().to_owned())
}

/// Base URL of the shared registry's Confluent API: of `TIDEMARK_TEST_REGISTRY` when set, else of one started now.
///
/// # Panics
/// None can be had; see [`kafka`].
#[must_use]
pub fn registry() -> String {
    from_env(REGISTRY_ENV).unwrap_or_else(|| had(&REGISTRY, Registry::start).url().to_owned())
}

/// A name no other test uses, for topics, groups and keyspaces: `prefix`, `_` and 16 hexadecimal digits.
#[must_use]
pub fn unique(prefix: &str) -> String {
    format!("{prefix}_{:016x}", port::random())
}

fn from_env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

fn had<T>(once: &'static Once<T>, start: impl FnOnce() -> Result<T, Error>) -> &'static T {
    match once.get_or_init(start) {
        Ok(server) => server,
        Err(e) => panic!("this test needs a real server: {e}"),
    }
}
