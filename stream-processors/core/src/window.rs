//! Windows: which ones an event time falls into. All are aligned to the epoch.

use crate::job::NEVER_MS;

/// A window `[start, end)`, milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// First millisecond in it.
    pub start: i64,
    /// First millisecond after it.
    pub end: i64,
}

/// How a job cuts time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Windowing {
    /// One after the other, without gaps: each event is in one window.
    Tumbling {
        /// Length, at least 1 ms.
        size_ms: i64,
    },
    /// A new one every `hop_ms`: an event is in `size / hop` of them.
    Hopping {
        /// Length, at least `hop_ms`.
        size_ms: i64,
        /// From start to start, at least 1 ms.
        hop_ms: i64,
    },
    /// By key: events closer than the gap belong together.
    Session {
        /// So much silence ends a session, at least 1 ms.
        gap_ms: i64,
    },
}

/// Most windows that one event may be in: each record is folded so many times.
pub const HOPS_MAX: i64 = 100;
/// Sessions are kept under the bucket of so many milliseconds, an hour, that they begin in.
pub const SESSION_BUCKET_MS: i64 = 3_600_000;

impl Windowing {
    /// Length of a window; of a session's bucket.
    pub fn size_ms(self) -> i64 {
        match self {
            Self::Tumbling { size_ms } | Self::Hopping { size_ms, .. } => size_ms,
            Self::Session { .. } => SESSION_BUCKET_MS,
        }
    }

    /// From the first write of a window to the last that can change it, with these waits between them, all milliseconds. Of
    /// sessions what is counted is a bucket and the gap: one that goes on is kept as long as one that ends there. A wait of
    /// [`NEVER_MS`] is none: what it is for does not happen.
    pub fn least_retention_ms(self, waits: [i64; 4]) -> i64 {
        let length = self.size_ms().saturating_add(self.gap_ms().unwrap_or(0));
        waits.into_iter().filter(|wait| *wait < NEVER_MS).fold(length, i64::saturating_add)
    }

    /// From the start of a window to the start of the next one.
    pub fn hop_ms(self) -> i64 {
        match self {
            Self::Hopping { hop_ms, .. } => hop_ms,
            Self::Tumbling { .. } | Self::Session { .. } => self.size_ms(),
        }
    }

    /// So much silence ends a session; none where windows are cut at fixed times.
    pub fn gap_ms(self) -> Option<i64> {
        match self {
            Self::Session { gap_ms } => Some(gap_ms),
            Self::Tumbling { .. } | Self::Hopping { .. } => None,
        }
    }

    /// Whether it keeps its [`Windowing::rule`].
    pub fn is_sound(self) -> bool {
        match self {
            Self::Tumbling { size_ms } => size_ms >= 1,
            Self::Hopping { size_ms, hop_ms } => hop_ms >= 1 && size_ms >= hop_ms && size_ms / hop_ms <= HOPS_MAX,
            Self::Session { gap_ms } => gap_ms >= 1,
        }
    }

    /// What lengths may be.
    pub fn rule(self) -> &'static str {
        match self {
            Self::Tumbling { .. } => "must be at least 1 ms",
            Self::Hopping { .. } => "must be as long as its hop or longer, at most 100 times; the hop at least 1 ms",
            Self::Session { .. } => "must have a gap of at least 1 ms",
        }
    }
}

/// For the fingerprint: never changes.
impl std::fmt::Display for Windowing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tumbling { size_ms } => write!(f, "{size_ms}"),
            Self::Hopping { size_ms, hop_ms } => write!(f, "{size_ms}/{hop_ms}"),
            Self::Session { gap_ms } => write!(f, "gap {gap_ms}"),
        }
    }
}

/// The tumbling window of `size` ms that `time` falls into. Before the epoch too: −1 ms lies in `[−size, 0)`.
///
/// Size 3,600,000 and time 7,200,001 give `[7,200,000, 10,800,000)`. `size` is at least 1. At the ends of 64 bits windows are cut.
#[inline]
pub fn tumbling(time: i64, size: i64) -> Window {
    let start = time.saturating_sub(time.rem_euclid(size));
    Window { start, end: start.saturating_add(size) }
}

/// The bucket of a session whose first event is at `start`: the hour that it is kept under.
#[inline]
pub fn session_bucket(start: i64) -> Window {
    tumbling(start, SESSION_BUCKET_MS)
}

/// A record is late for a window iff `end + grace ≤ watermark`, the watermark being that of its own source partition
/// before it. Without a watermark nothing is late.
///
/// End 3,600,000 and grace 600,000: late from watermark 4,200,000 on, on time at 4,199,999.
#[inline]
pub fn is_late(end: i64, grace: i64, watermark: Option<i64>) -> bool {
    watermark.is_some_and(|watermark| end.saturating_add(grace) <= watermark)
}

/// Windows of `size` ms that start every `hop` ms, so that a time falls into several of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hopping {
    /// Length of a window, at least `hop`.
    pub size: i64,
    /// Distance of two starts, at least 1.
    pub hop: i64,
}

impl Hopping {
    /// Every window that `time` falls into, earliest first.
    pub fn windows(self, time: i64) -> impl Iterator<Item = Window> {
        let Self { size, hop } = self;
        let last = time.saturating_sub(time.rem_euclid(hop));
        let before = (size - 1 - time.rem_euclid(hop)).div_euclid(hop);
        (0..=before).rev().map(move |n| {
            let start = last.saturating_sub(n * hop);
            Window { start, end: start.saturating_add(size) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOUND: std::ops::Range<i64> = -4_000_000_000_000..4_000_000_000_000;

    proptest! {
        #[test]
        fn a_time_lies_in_its_tumbling_window(time in BOUND, size in 1..100_000_000i64) {
            let window = tumbling(time, size);
            prop_assert!(window.start <= time && time < window.end);
            prop_assert_eq!(window.start.rem_euclid(size), 0);
            prop_assert_eq!(tumbling(window.end, size).start, window.end);
        }

        #[test]
        fn hopping_windows_are_exactly_those_that_hold_the_time(time in BOUND, hop in 1..5_000i64, times in 1..20i64, rest in 0..5_000i64) {
            let hopping = Hopping { size: hop * times + rest % hop, hop };
            let got: Vec<_> = hopping.windows(time).collect();
            let first = time - hopping.size - hop;
            let want: Vec<_> = (0..=2 * (times + 2))
                .map(|n| first - first.rem_euclid(hop) + n * hop)
                .filter(|start| *start <= time && time < start + hopping.size)
                .map(|start| Window { start, end: start + hopping.size })
                .collect();
            prop_assert_eq!(got, want);
        }
    }

    /// What a record claims about its time is anything: it must not stop a process.
    #[test]
    fn windows_at_the_ends_of_time_are_cut() {
        assert_eq!(tumbling(i64::MAX, 7_200_000).end, i64::MAX);
        assert_eq!(tumbling(i64::MIN, 7_200_000).start, i64::MIN);
        for time in [i64::MIN, i64::MAX] {
            let windows: Vec<_> = Hopping { size: 3_600_000, hop: 600_000 }.windows(time).collect();
            assert!(windows.len() >= 6 && windows.iter().all(|window| window.start <= window.end), "{windows:?}");
        }
    }

    #[test]
    fn lateness_begins_at_end_plus_grace() {
        assert!(!is_late(3_600_000, 600_000, None));
        assert!(!is_late(3_600_000, 600_000, Some(4_199_999)));
        assert!(is_late(3_600_000, 600_000, Some(4_200_000)));
    }
}
