//! `Range: bytes=…` of RFC 9110, one range at a time.

use std::ops::Range;

/// What is asked for of contents of `bytes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// All of it: there is no header, or one that is not understood, which RFC 9110 lets pass.
    Whole,
    /// A part.
    Part(Range<u64>),
    /// None of it is there.
    None,
}

pub(crate) fn asked(header: Option<&str>, bytes: u64) -> Asked {
    let spec = header.and_then(|value| value.trim().strip_prefix("bytes=")).and_then(|spec| spec.split_once('-'));
    let Some((first, last)) = spec else { return Asked::Whole };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let range = match (first.trim().is_empty(), last.trim().is_empty()) {
        // The last so many bytes.
        (true, false) => number(last).map(|length| bytes.saturating_sub(length)..bytes),
        (false, true) => number(first).map(|first| first..bytes),
        (false, false) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => Some(first..bytes.min(last.saturating_add(1))),
            _ => None,
        },
        (true, true) => None,
    };
    match range {
        None => Asked::Whole,
        Some(range) if range.start >= range.end => Asked::None,
        Some(range) => Asked::Part(range),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_the_rfc() {
        let of = |header: &str| asked(Some(header), 10_000);
        assert_eq!(of("bytes=0-499"), Asked::Part(0..500));
        assert_eq!(of("bytes=-500"), Asked::Part(9_500..10_000));
        assert_eq!(of("bytes=9500-"), Asked::Part(9_500..10_000));
        assert_eq!(of("bytes=9999-20000"), Asked::Part(9_999..10_000));
        assert_eq!(of("bytes=-20000"), Asked::Part(0..10_000));
        assert_eq!((of("bytes=10000-"), of("bytes=-0")), (Asked::None, Asked::None));
        for other in ["bytes=0-0,-1", "bytes=5-4", "bytes=-", "items=0-1", "bytes=a-b"] {
            assert_eq!(of(other), Asked::Whole, "{other}");
        }
        assert_eq!(asked(None, 0), Asked::Whole);
    }
}
