//! The W3C trace that a request belongs to: the caller's, or one that begins here.

use axum::http::HeaderMap;
use uuid::Uuid;

/// A `traceparent` for the records of a request: the trace, the request's own span, the flags.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    trace: String,
    span: String,
    flags: String,
}

impl Trace {
    /// Goes on with the caller's trace if its header is well formed, else begins one that is sampled.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let given = headers.get("traceparent").and_then(|value| value.to_str().ok()).and_then(parse);
        let (trace, flags) = given.unwrap_or_else(|| (format!("{:032x}", Uuid::now_v7().as_u128()), "01".to_owned()));
        let span = format!("{:016x}", Uuid::now_v7().as_u128() as u64);
        Self { trace, span, flags }
    }

    /// Version 00 of the header.
    pub(crate) fn header(&self) -> String {
        format!("00-{}-{}-{}", self.trace, self.span, self.flags)
    }

    /// The trace id, 32 hexadecimal digits.
    pub(crate) fn id(&self) -> &str {
        &self.trace
    }
}

/// Trace id and flags of a header; versions above 00 may have more parts.
fn parse(header: &str) -> Option<(String, String)> {
    let mut parts = header.trim().split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str, len: usize| {
        text.len() == len && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let zero = |text: &str| text.bytes().all(|byte| byte == b'0');
    let shaped = hex(version, 2) && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
    let valid = shaped && version != "ff" && !zero(trace) && !zero(span);
    (valid && (version != "00" || parts.next().is_none())).then(|| (trace.to_owned(), flags.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_traces_go_on() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let span = "00f067aa0ba902b7";
        assert_eq!(parse(&format!("00-{trace}-{span}-00")), Some((trace.to_owned(), "00".to_owned())));
        assert!(parse(&format!("01-{trace}-{span}-01-more")).is_some());
        for bad in ["", "00", "00-0-0-01", &format!("ff-{trace}-{span}-01"), &format!("00-{trace}-{span}-01-more")] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(parse(&format!("00-{}-{span}-01", "0".repeat(32))), None);
    }
}
