//! Names of topics: which may be, and which are not for events of users.

use crate::problem::{Kind, Problem};
use crate::rule::shown;

/// Longest name, bytes: Kafka's rule.
const NAME_MAX: usize = 249;
/// How the names begin that are not for events of users: the engine's own topics, and views.
const RESERVED: [&str; 2] = ["tidemark.", "view."];

/// The registry's subject of a topic's values.
pub(crate) fn subject(topic: &str) -> String {
    format!("{topic}-value")
}

/// The topic whose values a subject is for, if that is one for events of users.
pub(crate) fn of_subject(subject: &str) -> Option<&str> {
    subject.strip_suffix("-value").filter(|topic| is_sound(topic) && !is_reserved(topic))
}

/// Whether Kafka allows the name.
pub(crate) fn is_sound(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(legal) && !matches!(name, "." | "..")
}

/// Whether the topic is the platform's own, or Kafka's.
pub(crate) fn is_reserved(name: &str) -> bool {
    RESERVED.iter().any(|prefix| name.starts_with(prefix)) || name.starts_with('_')
}

/// Refuses a topic that is not for events of users.
pub(crate) fn refuse_reserved(name: &str) -> Result<(), Problem> {
    if !is_reserved(name) {
        return Ok(());
    }
    let detail = format!(
        "the topic {} is Tidemark's or Kafka's own: names that begin with tidemark., view. or _ are not for events; take another \
         name, for example access.events",
        shown(name)
    );
    Err(Problem::new(Kind::ReservedTopic, detail))
}

/// Refuses a name that no topic may have.
pub(crate) fn refuse_unsound(name: &str) -> Result<(), Problem> {
    if is_sound(name) {
        return Ok(());
    }
    let detail = format!(
        "{:?} cannot be the name of a topic; take 1 to {NAME_MAX} letters, digits, '.', '_' and '-', for example access.events",
        shown(name)
    );
    Err(Problem::new(Kind::InvalidTopic, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_held_against_the_rules() {
        for (name, sound, reserved) in [
            ("access.events", true, false),
            ("tidemark.x", true, true),
            ("view.flows.hourly.v1", true, true),
            ("views", true, false),
            ("__consumer_offsets", true, true),
            ("a b", false, false),
            ("", false, false),
            ("..", false, false),
            ("ä", false, false),
        ] {
            assert_eq!((is_sound(name), is_reserved(name)), (sound, reserved), "{name}");
        }
        assert!(is_sound(&"x".repeat(249)) && !is_sound(&"x".repeat(250)));
        assert_eq!(of_subject("a.b-value"), Some("a.b"));
        assert_eq!((of_subject("a.b-key"), of_subject("view.x-value")), (None, None));
    }
}
