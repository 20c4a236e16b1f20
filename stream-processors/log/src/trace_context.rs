//! W3C trace context (<https://www.w3.org/TR/trace-context/>): which trace a request or a record belongs to.

use std::hash::{BuildHasher, RandomState};

/// Name of the header, of requests and of records.
pub const TRACEPARENT: &str = "traceparent";

/// Flags that are handed on: sampled, and (Level 2) random trace id. The others are reserved and must be sent as zero.
const FLAGS_KNOWN: u8 = 0b11;
const SAMPLED: u8 = 0b01;

/// A span of a trace, as it is handed on to those that work for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace: u128,
    span: u64,
    flags: u8,
}

impl TraceContext {
    /// The first span of a new trace, which is sampled.
    pub fn begin() -> Self {
        let trace = (u128::from(random()) << 64) | u128::from(random());
        Self { trace, span: random(), flags: SAMPLED }
    }

    /// A new span of the same trace.
    #[must_use]
    pub fn child(self) -> Self {
        Self { span: random(), ..self }
    }

    /// Reads a header, `00-<32 hex digits>-<16 hex digits>-<2 hex digits>` in lower case; versions above 00 may have more
    /// parts. `None` when it is not well formed.
    pub fn parse(header: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(header).ok()?.trim().split('-');
        let mut hex = |digits: usize| parts.next().and_then(|part| number(part, digits));
        let (version, trace, span, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        let more = parts.next().is_some();
        let valid = version != 0xff && trace != 0 && span != 0 && (version != 0 || !more);
        valid.then_some(Self { trace, span: span as u64, flags: flags as u8 & FLAGS_KNOWN })
    }

    /// Version 00 of the header.
    pub fn header(self) -> String {
        format!("00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }

    /// Whether the spans of the trace are kept.
    pub fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Never 0. People read it as 32 hexadecimal digits.
    pub fn trace_id(self) -> u128 {
        self.trace
    }

    /// Never 0.
    pub fn span_id(self) -> u64 {
        self.span
    }
}

/// Exactly so many lower-case hexadecimal digits, at most 32.
fn number(text: &str, digits: usize) -> Option<u128> {
    let lower_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() == digits && lower_hex { u128::from_str_radix(text, 16).ok() } else { None }
}

/// Not 0. SipHash under keys that the system chose for this thread and that change with every call: ids need to be unique,
/// not secret.
fn random() -> u64 {
    RandomState::new().hash_one(0).max(1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn parse(header: &str) -> Option<TraceContext> {
        TraceContext::parse(header.as_bytes())
    }

    #[test]
    fn only_well_formed_headers_are_taken() {
        let given = format!("00-{TRACE}-{SPAN}-00");
        let context = parse(&given).unwrap();
        assert_eq!((context.header(), context.is_sampled()), (given, false));
        assert!(parse(&format!("00-{TRACE}-{SPAN}-01")).unwrap().is_sampled());
        assert!(parse(&format!("01-{TRACE}-{SPAN}-01-more")).is_some());
        let (upper, zeros) = (TRACE.to_uppercase(), "0".repeat(32));
        let bad = [
            String::new(),
            "00".into(),
            "00-0-0-01".into(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{upper}-{SPAN}-01"),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", &zeros[..16]),
            format!("00-+{}-{SPAN}-01", &TRACE[1..]),
        ];
        for bad in bad {
            assert_eq!(parse(&bad), None, "{bad}");
        }
    }

    #[test]
    fn a_child_is_another_span_of_the_same_trace() {
        let parent = parse(&format!("00-{TRACE}-{SPAN}-fd")).unwrap();
        let child = parent.child();
        assert_eq!((child.trace_id(), child.is_sampled()), (parent.trace_id(), true));
        assert_ne!(child.span_id(), parent.span_id());
        assert!(child.header().ends_with("-01"), "reserved flags are not handed on: {}", child.header());
    }

    #[test]
    fn new_traces_differ() {
        let ids: HashSet<u128> = (0..10_000).map(|_| TraceContext::begin().trace_id()).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(TraceContext::begin().is_sampled());
    }
}
