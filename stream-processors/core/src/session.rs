//! Session windows: events of one key that are closer to each other than the gap belong together.
//!
//! A session is kept under the hour that it starts in, its *bucket* ([`crate::window::SESSION_BUCKET_MS`]). Where a row of a
//! fixed window has the key fields as its key, a session's has its start before them; and where that has accumulators, a
//! session's has its [`Extent`] before them. Partials, changelog and checkpoints hold rows in this form, so that their schemas
//! are those of any other job. The start stands first because it can be read off there whatever the fields are.

use crate::job::Accumulator;
use tidemark_schemas::avro::{self, Reader, put_long};

/// Event times of the first and the last event of a session, both in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Of the first one.
    pub start: i64,
    /// Of the last one; not before the first.
    pub last: i64,
}

impl Span {
    /// When the session is over: `last + gap`.
    pub fn end(self, gap_ms: i64) -> i64 {
        self.last.saturating_add(gap_ms)
    }

    /// The least that holds both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), last: self.last.max(other.last) }
    }
}

/// A session of one key.
#[derive(Debug, Clone, PartialEq)]
pub struct Session<A> {
    /// From the first event to the last.
    pub span: Span,
    /// Events in it.
    pub records: i64,
    /// Of these, late when they were read.
    pub late: i64,
    /// Their sum.
    pub sum: A,
}

impl<A: Accumulator> Session<A> {
    /// Takes another one in.
    pub fn join(&mut self, other: &Self) {
        self.span = self.span.with(other.span);
        self.records += other.records;
        self.late += other.late;
        self.sum.merge(&other.sum);
    }
}

/// What a session's row says beside its key, records and accumulators.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// Event time of the last event.
    pub last: i64,
    /// Records that were late when they were read.
    pub late: i64,
}

impl Extent {
    /// Appends two Avro longs; the accumulators follow.
    pub fn put(self, out: &mut Vec<u8>) {
        put_long(out, self.last);
        put_long(out, self.late);
    }

    /// Reads what [`Extent::put`] appended.
    ///
    /// # Errors
    /// The bytes are something else.
    pub fn get(reader: &mut Reader<'_>) -> Result<Self, avro::Error> {
        Ok(Self { last: reader.long()?, late: reader.long()? })
    }
}

/// Appends the key of a session's row: its start, an Avro long, and the key fields.
pub fn put_row_key(start: i64, key: &[u8], out: &mut Vec<u8>) {
    put_long(out, start);
    out.extend_from_slice(key);
}

/// Takes the key of a session's row apart: its start, and the key fields.
///
/// # Errors
/// It does not begin with a long.
pub fn split_row_key(row_key: &[u8]) -> Result<(i64, &[u8]), avro::Error> {
    let mut reader = Reader::new(row_key);
    let start = reader.long()?;
    Ok((start, reader.left()))
}

/// An event is late iff time + grace < the watermark of its own source partition before it. Without a watermark nothing is.
///
/// Time 100 and grace 5: on time at watermark 105, late from 106 on. What is on time can still join a session that is closed
/// nowhere: that one is over at last + gap > time ≥ watermark − grace.
#[inline]
pub fn is_late(event_time: i64, grace_ms: i64, watermark: Option<i64>) -> bool {
    watermark.is_some_and(|watermark| event_time.saturating_add(grace_ms) < watermark)
}

/// Which of `sessions`, by start and at least the gap apart from each other, are closer to `span` than the gap. An empty range
/// is where `span` belongs between them.
#[inline]
pub fn near<T>(sessions: &[T], span_of: impl Fn(&T) -> Span, span: Span, gap_ms: i64) -> std::ops::Range<usize> {
    let from = sessions.partition_point(|session| span_of(session).end(gap_ms) <= span.start);
    let to = sessions.partition_point(|session| span_of(session).start < span.end(gap_ms));
    from..to.max(from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sorts and cuts at the gaps.
    fn reference(times: &[i64], gap: i64) -> Vec<Span> {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        let mut sessions: Vec<Span> = vec![];
        for time in sorted {
            match sessions.last_mut() {
                Some(session) if time - session.last < gap => session.last = time,
                _ => sessions.push(Span { start: time, last: time }),
            }
        }
        sessions
    }

    proptest! {
        #[test]
        fn any_order_gives_the_sessions_of_the_sorted_events(times in prop::collection::vec(0..300i64, 1..60), gap in 1..20i64) {
            let mut sessions: Vec<Span> = vec![];
            for &time in &times {
                let event = Span { start: time, last: time };
                let near = near(&sessions, |span| *span, event, gap);
                let joined = sessions.drain(near.clone()).fold(event, Span::with);
                sessions.insert(near.start, joined);
            }
            prop_assert_eq!(sessions, reference(&times, gap));
        }

        #[test]
        fn a_row_key_comes_apart_again(start in any::<i64>(), key in prop::collection::vec(any::<u8>(), 0..20)) {
            let mut row_key = vec![];
            put_row_key(start, &key, &mut row_key);
            prop_assert_eq!(split_row_key(&row_key), Ok((start, key.as_slice())));
        }
    }

    #[test]
    fn lateness_begins_after_time_plus_grace() {
        assert!(!is_late(100, 5, None));
        assert!(!is_late(100, 5, Some(105)));
        assert!(is_late(100, 5, Some(106)));
    }
}
