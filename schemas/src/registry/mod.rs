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

    /// The latest version of a subject; `None` when there is no such subject. Asked each time, never cached: it is how a change
    /// of it is noticed. A registry that keeps no subjects says that it is unavailable.
    fn latest_of(&self, subject: &str) -> Result<Option<Latest>, Error> {
        Err(Error::Unavailable(format!("this registry cannot look up the subject {subject}")))
    }

    /// The id that a subject has for a schema, be it of an earlier version; `None` when it has none, and from a registry that
    /// cannot tell. Nothing is registered.
    fn id_of(&self, subject: &str, schema: &str) -> Result<Option<u32>, Error> {
        let _ = (subject, schema);
        Ok(None)
    }

    /// Names of all subjects, in no order. Asked each time, never cached.
    fn subject_names(&self) -> Result<Vec<String>, Error> {
        Err(Error::Unavailable("this registry cannot list subjects".to_owned()))
    }
}

/// The latest version of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latest {
    /// The schema's id.
    pub id: u32,
    /// 1, 2, …
    pub version: u32,
    /// Avro JSON as registered.
    pub schema: std::sync::Arc<str>,
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
