//! Names that tell the queue of progress: it moves a lease's deadline when a heartbeat names another step than the one before.

use std::time::{Duration, Instant};

/// So many bytes fetched are progress.
pub(crate) const BYTES: u64 = 64 << 20;
/// Of what only goes on, because the line is slow or the service is away, the queue hears so often at most. A lease is given longer
/// than that for any step.
pub(crate) const PAUSE: Duration = Duration::from_secs(30);

/// The name of a step's attempt: `D2`, then `D2#2`, `D2#3` …
pub(crate) fn attempt(step: &str, attempt: u32) -> String {
    if attempt <= 1 { step.to_owned() } else { format!("{step}#{attempt}") }
}

/// The names of something that takes a while beside the steps.
pub(crate) struct Progress<'a> {
    at: &'a dyn Fn(&str),
    base: &'static str,
    number: u32,
    bytes: u64,
    since: Instant,
    pause: Duration,
}

impl<'a> Progress<'a> {
    /// Fetching the contents: empty, then `#1`, `#2` …
    pub(crate) fn of_fetching(at: &'a dyn Fn(&str)) -> Self {
        Self::new(at, "", 0, PAUSE)
    }

    /// Sending the report: `report`, then `report#2`, `report#3` … `pause` is the time between two of them.
    pub(crate) fn of_reporting(at: &'a dyn Fn(&str), pause: Duration) -> Self {
        Self::new(at, "report", 1, pause)
    }

    fn new(at: &'a dyn Fn(&str), base: &'static str, number: u32, pause: Duration) -> Self {
        at(base);
        Self { at, base, number, bytes: 0, since: Instant::now(), pause }
    }

    /// It goes on: `bytes` more have come. Names it anew when that was enough, or when it was named last long ago.
    pub(crate) fn goes_on(&mut self, bytes: u64, now: Instant) {
        self.bytes += bytes;
        if self.bytes < BYTES && now.saturating_duration_since(self.since) < self.pause {
            return;
        }
        self.number = self.number.saturating_add(1);
        (self.bytes, self.since) = (self.bytes % BYTES, now);
        (self.at)(&format!("{}#{}", self.base, self.number));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn attempts_have_names_of_their_own() {
        assert_eq!([1, 2, 3, 4].map(|number| attempt("D2", number)), ["D2", "D2#2", "D2#3", "D2#4"]);
    }

    #[test]
    fn bytes_and_time_are_progress() {
        let named = RefCell::new(Vec::new());
        let at = |name: &str| named.borrow_mut().push(name.to_owned());
        let mut progress = Progress::of_fetching(&at);
        let began = progress.since;
        progress.goes_on(BYTES - 1, began);
        assert_eq!(*named.borrow(), [""]);
        progress.goes_on(1, began);
        progress.goes_on(BYTES - 1, began + PAUSE / 2);
        assert_eq!(*named.borrow(), ["", "#1"]);
        progress.goes_on(0, began + PAUSE);
        progress.goes_on(0, began + PAUSE * 2 - Duration::from_millis(1));
        assert_eq!(*named.borrow(), ["", "#1", "#2"], "once per pause");
        progress.goes_on(0, began + PAUSE * 2);
        assert_eq!(*named.borrow(), ["", "#1", "#2", "#3"]);
    }

    #[test]
    fn a_report_is_named_from_its_first_try() {
        let named = RefCell::new(Vec::new());
        let at = |name: &str| named.borrow_mut().push(name.to_owned());
        let mut progress = Progress::of_reporting(&at, PAUSE);
        let began = progress.since;
        for seconds in [1, 29, 30, 31, 60] {
            progress.goes_on(0, began + Duration::from_secs(seconds));
        }
        assert_eq!(*named.borrow(), ["report", "report#2", "report#3"]);
    }
}
