//! The rules that a record can break.

/// A rule; its name is part of the API and a label of the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    Malformed,
    Object,
    Type,
    Missing,
    UnknownField,
    DuplicateField,
    Empty,
    TooLong,
    Integer,
    Range,
    OneTime,
    TimeFormat,
    FarFuture,
    BeforeEpoch,
    Uuid,
    Tenant,
    Symbol,
    Scale,
    Length,
    Branch,
}

impl Rule {
    /// All rules, in the order of their discriminants.
    pub(crate) const ALL: [Rule; 20] = [
        Self::Malformed,
        Self::Object,
        Self::Type,
        Self::Missing,
        Self::UnknownField,
        Self::DuplicateField,
        Self::Empty,
        Self::TooLong,
        Self::Integer,
        Self::Range,
        Self::OneTime,
        Self::TimeFormat,
        Self::FarFuture,
        Self::BeforeEpoch,
        Self::Uuid,
        Self::Tenant,
        Self::Symbol,
        Self::Scale,
        Self::Length,
        Self::Branch,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Object => "object",
            Self::Type => "type",
            Self::Missing => "missing",
            Self::UnknownField => "unknown_field",
            Self::DuplicateField => "duplicate_field",
            Self::Empty => "empty",
            Self::TooLong => "too_long",
            Self::Integer => "integer",
            Self::Range => "range",
            Self::OneTime => "one_time",
            Self::TimeFormat => "time_format",
            Self::FarFuture => "far_future",
            Self::BeforeEpoch => "before_epoch",
            Self::Uuid => "uuid",
            Self::Tenant => "tenant",
            Self::Symbol => "symbol",
            Self::Scale => "scale",
            Self::Length => "length",
            Self::Branch => "branch",
        }
    }
}

/// A rule broken by a record, before it is known which record of the request it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) field: Option<String>,
    pub(crate) rule: Rule,
    pub(crate) message: String,
    pub(crate) fix: String,
}

impl Finding {
    pub(crate) fn of(field: &str, rule: Rule, message: String, fix: impl Into<String>) -> Self {
        Self { field: Some(field.to_owned()), rule, message, fix: fix.into() }
    }

    pub(crate) fn whole(rule: Rule, message: String, fix: impl Into<String>) -> Self {
        Self { field: None, rule, message, fix: fix.into() }
    }
}

/// `text` for a message: at most 64 characters of it, control characters escaped.
pub(crate) fn shown(text: &str) -> String {
    let mut out: String = text.chars().take(64).flat_map(char::escape_debug).collect();
    if text.chars().nth(64).is_some() {
        out.push('…');
    }
    out
}
