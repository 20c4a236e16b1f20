//! The embedded schema registry: what stands in for a registry server when everything runs in one process.
//!
//! [`EmbeddedRegistry`] keeps subjects on a compacted topic of the log and decides by
//! [`tidemark_schemas::registry::Subjects`]; [`router`] serves it by the Confluent REST API, so that stock serializers and
//! tools work against it. One process owns the topic: a second one takes it over, and the first one's next write fails.

mod http;
mod store;

pub use http::router;
pub use store::{EmbeddedRegistry, Error, TOPIC};
