//! Schema registries: the Confluent REST API as a client ([`HttpRegistry`]), what the embedded one decides
//! ([`Subjects`]), and the rules of compatibility that both and release checks share ([`compat`]).

pub mod check;
pub mod compat;
mod embedded;
mod http;

pub use embedded::{Event, MAX_SUBJECT_BYTES, MAX_VERSIONS, Refusal, Subjects, Version};
pub use http::HttpRegistry;

/// Where schemas are registered and looked up. Answers are cached: an id never changes its schema.
pub trait Registry: Send + Sync {
    /// Registers `schema` (Avro JSON) under `subject` and gives its id; the same schema again gives the same id.
    fn register(&self, subject: &str, schema: &str) -> Result<u32, Error>;

    /// The schema of an id; `None` when the registry does not know it.
    fn schema(&self, id: u32) -> Result<Option<std::sync::Arc<str>>, Error>;
}

/// Why the registry refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It did not answer; another try may help.
    #[error("schema registry unavailable: {0}")]
    Unavailable(String),
    /// The schema is not Avro.
    #[error("not an Avro schema: {0}")]
    Invalid(String),
    /// The schema breaks readers of the subject's earlier versions.
    #[error("schema for {subject} is not backward compatible: {reason}")]
    Incompatible {
        /// Which subject.
        subject: String,
        /// Field and rule.
        reason: String,
    },
}
