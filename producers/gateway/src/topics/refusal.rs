//! Why a topic is not made, and what to do.

use tidemark_log::Error as LogError;
use tidemark_schemas::registry::Error as RegistryError;

use crate::problem::{Kind, Problem};

pub(super) fn unread(error: &serde_json::Error) -> Problem {
    let detail = format!(
        "the body cannot be read: {error}; send JSON such as {{\"schema\": {{\"type\": \"record\", …}}, \"partitions\": 4, \
         \"retention_ms\": 604800000, \"compact\": false}}, of which only schema is needed"
    );
    Problem::new(Kind::MalformedBody, detail)
}

pub(super) fn bad_schema(why: &str) -> Problem {
    Problem::new(Kind::InvalidSchema, format!("{why}; nothing was made"))
}

pub(super) fn incompatible(name: &str, reasons: &str) -> Problem {
    let detail = format!(
        "with this schema the events that the topic {name} has could not be read ({reasons}); nothing was changed: keep the types \
         of fields, give new ones a default, or name another topic"
    );
    Problem::new(Kind::TopicConflict, detail)
}

pub(super) fn registry_failed(name: &str, error: RegistryError) -> Problem {
    match error {
        RegistryError::Incompatible { reason, .. } => incompatible(name, &reason),
        RegistryError::Invalid(why) => bad_schema(&why),
        RegistryError::Unavailable(why) => {
            let detail =
                format!("the schema registry does not answer: {why}; send the request again, what was done stays done");
            Problem::new(Kind::NotReady, detail)
        }
    }
}

pub(super) fn log_failed(name: &str, error: &LogError) -> Problem {
    let detail =
        format!("the log does not answer for {name}: {error}; send the request again, what was done stays done");
    Problem::new(Kind::NotReady, detail)
}
