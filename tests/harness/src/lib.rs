//! Real servers for tests: Kafka, a CQL store (Cassandra) and a schema registry (Apicurio), as child processes on free
//! loopback ports with data in a temporary directory.
//!
//! - [`kafka`], [`cassandra`] and [`registry`] give the address of a server that the whole test process shares: the one in the
//!   environment when there is one, else one started on first use. Tests keep apart by [`unique`] names.
//! - [`Kafka`], [`Cassandra`] and [`Registry`] are servers of a test's own, to be killed, paused and restarted.
//! - [`Program`] is the program under test, to be killed, paused and restarted.
//! - [`Proxy`] stands between clients and a server, to cut, freeze and delay them, and to keep single Kafka requests back.
//!
//! No server outlives the process that started it, however that ends. A server that cannot be had fails the test that asked for it.
//! Every call blocks; none needs an executor, and each may be made inside one.

mod cassandra;
mod coordinators;
mod cql;
mod error;
pub mod jars;
mod kafka;
mod port;
mod probe;
mod process;
mod program;
pub mod proxy;
mod registry;
mod shared;
pub mod trials;

pub use cassandra::Cassandra;
pub use cql::cql;
pub use error::Error;
pub use kafka::{Kafka, kafka_tool};
pub use port::free_port;
pub use program::Program;
pub use proxy::Proxy;
pub use registry::Registry;
pub use shared::{CQL_ENV, KAFKA_ENV, REGISTRY_ENV, cassandra, kafka, registry, unique};
