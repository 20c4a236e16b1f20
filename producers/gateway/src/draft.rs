//! A record as it came, of whatever format, before any rule is applied.

use std::borrow::Cow;

use crate::rule::Finding;

/// Findings kept of one record; a hostile one could have a million.
const FINDINGS_MAX: usize = 20;

/// The value of a field as it came.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Raw<'a> {
    /// Not there, or null.
    #[default]
    Absent,
    /// Text.
    Text(Cow<'a, str>),
    /// A number that is an integer of 64 bits.
    Integer(i64),
    /// Any other number, as it was written.
    Number(Cow<'a, str>, NumberFault),
    /// Something else: what it is called.
    Other(&'static str),
}

/// Why a number is not an integer of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NumberFault {
    Fraction,
    Range,
}

/// The fields of a flow record as they came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Draft<'a> {
    pub(crate) src_app: Raw<'a>,
    pub(crate) dest_app: Raw<'a>,
    pub(crate) vpc_id: Raw<'a>,
    pub(crate) bytes_tx: Raw<'a>,
    pub(crate) bytes_rx: Raw<'a>,
    pub(crate) hour: Raw<'a>,
    pub(crate) observed_at: Raw<'a>,
    pub(crate) event_id: Raw<'a>,
    /// Of Avro only: a JSON record has no such field.
    pub(crate) tenant: Raw<'a>,
    /// What was found wrong while reading.
    pub(crate) findings: Vec<Finding>,
}

/// The fields of a JSON record.
pub(crate) const FIELDS: [&str; 8] =
    ["src_app", "dest_app", "vpc_id", "bytes_tx", "bytes_rx", "hour", "observed_at", "event_id"];

impl<'a> Draft<'a> {
    /// The place of the field called `name`.
    pub(crate) fn slot(&mut self, name: &str) -> Option<&mut Raw<'a>> {
        Some(match name {
            "src_app" => &mut self.src_app,
            "dest_app" => &mut self.dest_app,
            "vpc_id" => &mut self.vpc_id,
            "bytes_tx" => &mut self.bytes_tx,
            "bytes_rx" => &mut self.bytes_rx,
            "hour" => &mut self.hour,
            "observed_at" => &mut self.observed_at,
            "event_id" => &mut self.event_id,
            _ => return None,
        })
    }

    /// Keeps what was found, up to a bound; beyond it nothing is spent on saying what it is.
    pub(crate) fn find(&mut self, finding: impl FnOnce() -> Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Rule;

    #[test]
    fn findings_beyond_the_bound_are_not_made() {
        let (mut draft, mut made) = (Draft::default(), 0);
        for _ in 0..1_000 {
            draft.find(|| {
                made += 1;
                Finding::whole(Rule::UnknownField, String::new(), "")
            });
        }
        assert_eq!((made, draft.findings.len()), (FINDINGS_MAX, FINDINGS_MAX));
    }
}
