//! Exact steps of the work at which a debug build can be made to die, for tests that kill a process in and around a commit.
//!
//! `TIDEMARK_FAILPOINT=<point>:<count>` aborts the process the `count`-th time (from 1) it comes to the point;
//! `<point>@<text>:<count>` counts only callers whose name contains the text, such as `transaction-flushed@merge:3`. Aborts, not
//! panics: unwinding would run destructors, which a kill does not. A release build has none of this: [`hit`] is empty there
//! and not even the names of the points are in the binary.

/// Comes to a point; `who` tells callers of the same point apart.
#[inline]
pub fn hit(point: &str, who: &str) {
    #[cfg(debug_assertions)]
    armed::hit(point, who);
    #[cfg(not(debug_assertions))]
    let _ = (point, who);
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Where to die.
    #[derive(Debug, PartialEq, Eq)]
    pub(super) struct Armed {
        point: String,
        who: String,
        count: u64,
    }

    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    static HITS: AtomicU64 = AtomicU64::new(0);

    pub(super) fn hit(point: &str, who: &str) {
        let armed = ARMED.get_or_init(|| std::env::var("TIDEMARK_FAILPOINT").ok().as_deref().and_then(parse));
        let Some(armed) = armed else { return };
        if armed.point == point && who.contains(&armed.who) && HITS.fetch_add(1, Ordering::Relaxed) + 1 == armed.count {
            std::process::abort();
        }
    }

    pub(super) fn parse(text: &str) -> Option<Armed> {
        let (place, count) = text.rsplit_once(':')?;
        let (point, who) = place.split_once('@').unwrap_or((place, ""));
        Some(Armed { point: point.to_owned(), who: who.to_owned(), count: count.parse().ok()? })
    }

    #[cfg(test)]
    mod tests {
        use super::{Armed, parse};

        #[test]
        fn a_point_its_caller_and_a_count() {
            let armed =
                |point: &str, who: &str, count| Some(Armed { point: point.to_owned(), who: who.to_owned(), count });
            assert_eq!(parse("synced:1"), armed("synced", "", 1));
            assert_eq!(parse("flushed@merge:30"), armed("flushed", "merge", 30));
            assert_eq!((parse("synced"), parse("synced:x")), (None, None));
        }
    }
}
