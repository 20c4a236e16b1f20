//! The windows that a question is about, and how far it may reach.

use tidemark_views::Windowing;

use crate::instant::{self, HOUR_MS};
use crate::problem::Problem;

/// The longest range of hours in one query: 31 days of them.
pub const RANGE_HOURS_MAX: i64 = 31 * 24;

/// The most windows in one query, of whatever length.
pub const RANGE_WINDOWS_MAX: i64 = 10_000;

/// How the flows are cut.
pub(crate) const HOURS: Windowing = Windowing::Tumbling { size_ms: HOUR_MS };

/// Windows that start in `[from, to)`, milliseconds since the epoch; at least one, at most [`windows_max`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Range {
    /// Start of the first window.
    pub(crate) from: i64,
    /// Where the window after the last one starts.
    pub(crate) to: i64,
    /// Asked for as one window, not as a range.
    pub(crate) single: bool,
    /// How time is cut.
    pub(crate) cut: Windowing,
}

impl Range {
    /// One hour.
    pub(crate) fn hour(start: i64) -> Self {
        Self::one(HOURS, start)
    }

    /// One window.
    pub(crate) fn one(cut: Windowing, start: i64) -> Self {
        Self { from: start, to: start.saturating_add(cut.step_ms()), single: true, cut }
    }

    /// The start of each window, ascending.
    pub(crate) fn starts(self) -> impl Iterator<Item = i64> {
        let step = self.cut.step_ms();
        (self.from.div_euclid(step)..self.to.div_euclid(step)).map(move |at| at * step)
    }

    /// End of the last window, by its start alone.
    pub(crate) fn end(self) -> i64 {
        self.to.saturating_sub(self.cut.step_ms()).saturating_add(self.cut.size_ms())
    }
}

/// The most windows that one query may ask for: 744, which is 31 days of hours; of shorter ones 31 days, but at most
/// [`RANGE_WINDOWS_MAX`].
fn windows_max(cut: Windowing) -> i64 {
    (RANGE_HOURS_MAX * HOUR_MS / cut.step_ms()).clamp(RANGE_HOURS_MAX, RANGE_WINDOWS_MAX)
}

/// The window that starts at `start`; of sessions the bucket that `start` lies in, so that a session's own start names it.
pub(crate) fn window(cut: Windowing, start: i64) -> Result<Range, Problem> {
    let step = cut.step_ms();
    let around = start - start.rem_euclid(step);
    if around == start || matches!(cut, Windowing::Session { .. }) {
        return Ok(Range::one(cut, around));
    }
    let detail = format!("no window starts at {}", instant::rfc3339(start));
    let fix =
        format!("one starts every {}; the one before it starts at {}", instant::period(step), instant::rfc3339(around));
    Err(Problem::parameter("window", detail, fix))
}

/// Where the window after the current one starts.
pub(crate) fn end_of(cut: Windowing, now: i64) -> i64 {
    let step = cut.step_ms();
    (now - now.rem_euclid(step)).saturating_add(step)
}

/// The windows that start in `[from, to)`.
pub(crate) fn between(cut: Windowing, from: i64, to: i64) -> Result<Range, Problem> {
    let noun = if cut == HOURS { "hour" } else { "window" };
    let up = |ms: i64| end_of(cut, ms.saturating_sub(1));
    let range = Range { from: up(from), to: up(to), single: false, cut };
    if range.from >= range.to {
        let detail = format!("no {noun} starts in [from, to)");
        let length = if cut == HOURS { "an hour".to_owned() } else { instant::period(cut.step_ms()) };
        return Err(Problem::parameter("to", detail, format!("make `to` later than `from` by {length} or more")));
    }
    let (windows, most) = ((range.to - range.from) / cut.step_ms(), windows_max(cut));
    if windows > most {
        let days = if cut == HOURS { ", 31 days" } else { "" };
        let fix = format!("at most {most} {noun}s{days}; ask in parts");
        return Err(Problem::parameter("to", format!("[from, to) has {windows} {noun}s"), fix));
    }
    Ok(range)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::params::Params;

    const KNOWN: &[&str] = &["hour", "from", "to", "window"];

    fn range(raw: &str) -> Result<Range, Problem> {
        Params::parse(Some(raw), KNOWN)?.hours(10 * HOUR_MS + 5)
    }

    #[test]
    fn ranges_are_whole_hours() {
        assert_eq!(range("").unwrap(), Range::hour(10 * HOUR_MS));
        assert_eq!(range("hour=3").unwrap(), Range::hour(3 * HOUR_MS));
        let two = range(&format!("from={}&to={}", HOUR_MS - 1, 2 * HOUR_MS + 1)).unwrap();
        assert_eq!(two.starts().collect::<Vec<_>>(), [HOUR_MS, 2 * HOUR_MS]);
        assert_eq!(range("from=0").unwrap().to, 11 * HOUR_MS);
    }

    #[test]
    fn ranges_have_bounds() {
        let month = RANGE_HOURS_MAX * HOUR_MS;
        assert_eq!(range(&format!("from=0&to={month}")).unwrap().starts().count(), 744);
        for bad in [format!("from=0&to={}", month + 1), "from=5&to=6".into(), "from=9&to=2".into(), "to=9".into()] {
            assert_eq!(range(&bad).unwrap_err().status, 400, "{bad}");
        }
    }

    #[test]
    fn windows_of_any_length_are_bounded_by_their_number() {
        let tumbling = |size_ms| Windowing::Tumbling { size_ms };
        let cases = [(tumbling(1), 10_000), (tumbling(60_000), 10_000), (tumbling(24 * HOUR_MS), 744)];
        let hopping = Windowing::Hopping { size_ms: 24 * HOUR_MS, hop_ms: HOUR_MS / 4 };
        for (cut, most) in cases.into_iter().chain([(hopping, 4 * 744)]) {
            assert_eq!(between(cut, 0, most * cut.step_ms()).unwrap().starts().count() as i64, most);
            let fix = between(cut, 0, most * cut.step_ms() + 1).unwrap_err().fix.unwrap();
            assert_eq!(&*fix, format!("at most {most} windows; ask in parts"));
        }
        let last = between(hopping, 1, HOUR_MS).unwrap();
        assert_eq!((last.from, last.end()), (HOUR_MS / 4, 3 * HOUR_MS / 4 + 24 * HOUR_MS));
    }

    #[test]
    fn a_window_has_to_start_where_it_is_said_to() {
        let cut = Windowing::Hopping { size_ms: 600, hop_ms: 200 };
        assert_eq!(window(cut, 400).unwrap().starts().collect::<Vec<_>>(), [400]);
        let problem = window(cut, 401).unwrap_err();
        assert_eq!(
            &*problem.fix.unwrap(),
            "one starts every 200 ms; the one before it starts at 1970-01-01T00:00:00.4Z"
        );
        let sessions = Windowing::Session { gap_ms: 5, bucket_ms: HOUR_MS };
        assert_eq!(window(sessions, HOUR_MS + 1).unwrap(), Range::one(sessions, HOUR_MS));
    }
}
