//! Which versions of a subject must be able to read each other.

use std::fmt;
use std::str::FromStr;

use apache_avro::Schema;

use crate::resolve::Plan;

/// A subject's rule, by Confluent's names. `Transitive` ones hold against every earlier version, the others against the
/// latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// Anything goes.
    None,
    /// The new schema reads data of the earlier one: readers are upgraded first.
    #[default]
    Backward,
    /// As `Backward`, against all.
    BackwardTransitive,
    /// The earlier schema reads data of the new one: writers are upgraded first.
    Forward,
    /// As `Forward`, against all.
    ForwardTransitive,
    /// Both.
    Full,
    /// Both, against all.
    FullTransitive,
}

const NAMES: [(Level, &str); 7] = [
    (Level::None, "NONE"),
    (Level::Backward, "BACKWARD"),
    (Level::BackwardTransitive, "BACKWARD_TRANSITIVE"),
    (Level::Forward, "FORWARD"),
    (Level::ForwardTransitive, "FORWARD_TRANSITIVE"),
    (Level::Full, "FULL"),
    (Level::FullTransitive, "FULL_TRANSITIVE"),
];

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.iter().find(|(level, _)| level == self).map_or("NONE", |(_, name)| name))
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = NAMES.iter().find(|(_, name)| name.eq_ignore_ascii_case(text));
        found
            .map(|(level, _)| *level)
            .ok_or_else(|| format!("{text:?} is not one of {}", NAMES.map(|(_, name)| name).join(", ")))
    }
}

impl Level {
    /// The rule holds against every earlier version.
    pub fn is_transitive(self) -> bool {
        matches!(self, Self::BackwardTransitive | Self::ForwardTransitive | Self::FullTransitive)
    }

    /// What keeps `new` from standing after `earlier`, one text for each field; empty when it may.
    pub fn problems(self, new: &Schema, earlier: &Schema) -> Vec<String> {
        let (backward, forward) = match self {
            Self::None => (false, false),
            Self::Backward | Self::BackwardTransitive => (true, false),
            Self::Forward | Self::ForwardTransitive => (false, true),
            Self::Full | Self::FullTransitive => (true, true),
        };
        let read =
            |writer, reader| Plan::new(writer, reader, false).problems().iter().map(ToString::to_string).collect();
        let back: Vec<String> = if backward { read(earlier, new) } else { vec![] };
        let ahead: Vec<String> = if forward { read(new, earlier) } else { vec![] };
        back.into_iter().chain(ahead.into_iter().map(|p| format!("for readers of the earlier schema, {p}"))).collect()
    }
}
