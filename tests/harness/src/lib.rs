//! Real servers for tests: Kafka, a CQL store (Cassandra) and a schema registry (Apicurio), as child processes on free
//! loopback ports with data in a temporary directory.
//!
//! - [`kafka`], [`cassandra`] and [`registry`] give the address of a server that the whole test process shares: the one in the
//!   environment when there is one, else one started on first use. Tests keep apart by [`unique`] names.
//! - [`Kafka`], [`Cassandra`] and [`Registry`] are servers of a test's own, to be killed, paused and restarted.
//!
//! No server outlives the process that started it, however that ends. A server that cannot be had fails the test that asked for it.

mod error;
pub mod jars;
mod kafka;
mod port;
mod probe;
mod process;
mod shared;

pub use error::Error;
pub use kafka::{Kafka, kafka_tool};
pub use port::free_port;
pub use shared::{KAFKA_ENV, kafka, unique};
