//! Ids that the registry did not know, and how much of a reader's time questions may take.
//!
//! A question blocks the thread that reads, which has to poll its group again within its session: a run of values with ids
//! that nobody has registered, thousands of them, must not keep it. Questions get half of the time at most, and the repeated
//! ones, whether a schema has been registered meanwhile, a twentieth.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The time that is divided.
const WINDOW: Duration = Duration::from_secs(2);
/// What questions may take of it; the one that goes over it is the last.
const ASKING: Duration = Duration::from_secs(1);
/// What repeated questions may take of it.
const ASKING_AGAIN: Duration = Duration::from_millis(100);
/// An id that was not known is asked for again so much later at the earliest.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Ids are forgotten, all together, when there are so many, 32 MiB of them.
const IDS_MAX: usize = 1 << 20;

/// What to do about an id that is not known to be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Advice {
    /// Ask the registry.
    Ask,
    /// It is not registered, as far as anybody knows.
    Unknown,
    /// Nobody has asked yet, and there is no time left to: read it again in a moment.
    Later,
}

/// Ids that are not registered, with when that was last heard.
#[derive(Debug, Default)]
pub(super) struct Unknown {
    ids: HashMap<u32, Instant>,
    window: Option<Instant>,
    asking: Duration,
    asking_again: Duration,
}

impl Unknown {
    pub(super) fn advise(&mut self, id: u32, now: Instant) -> Advice {
        if self.window.is_none_or(|began| now.duration_since(began) >= WINDOW) {
            (self.window, self.asking, self.asking_again) = (Some(now), Duration::ZERO, Duration::ZERO);
        }
        match self.ids.get(&id) {
            Some(heard) if now.duration_since(*heard) < AGAIN_AFTER || self.asking_again >= ASKING_AGAIN => {
                Advice::Unknown
            }
            None if self.asking >= ASKING => Advice::Later,
            Some(_) | None => Advice::Ask,
        }
    }

    /// The registry has answered, whatever it said; asked from `began` to `now`.
    pub(super) fn asked(&mut self, id: u32, began: Instant, now: Instant) {
        let took = now.duration_since(began);
        self.asking += took;
        if self.ids.contains_key(&id) {
            self.asking_again += took;
        }
    }

    /// The registry does not know it.
    pub(super) fn add(&mut self, id: u32, now: Instant) {
        if self.ids.len() >= IDS_MAX {
            self.ids.clear();
        }
        self.ids.insert(id, now);
    }

    /// It does.
    pub(super) fn remove(&mut self, id: u32) {
        self.ids.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Asks for `ids` at 1 ms a question; how many were asked, told as unknown, and put off.
    fn pass(unknown: &mut Unknown, ids: std::ops::Range<u32>, clock: &mut Instant) -> (usize, usize, usize) {
        let (mut asked, mut known, mut later) = (0, 0, 0);
        for id in ids {
            match unknown.advise(id, *clock) {
                Advice::Ask => {
                    unknown.asked(id, *clock, *clock + MS);
                    *clock += MS;
                    unknown.add(id, *clock);
                    asked += 1;
                }
                Advice::Unknown => known += 1,
                Advice::Later => later += 1,
            }
        }
        (asked, known, later)
    }

    #[test]
    fn questions_take_half_of_the_time_and_all_come_through_in_the_end() {
        let (mut unknown, mut clock) = (Unknown::default(), Instant::now());
        assert_eq!(pass(&mut unknown, 0..2_500, &mut clock), (1_000, 0, 1_500));
        clock += WINDOW;
        // Those that were heard of longer ago than a second are asked for again, a few.
        assert_eq!(pass(&mut unknown, 0..2_500, &mut clock), (1_000, 900, 600));
        clock += WINDOW;
        let (asked, known, later) = pass(&mut unknown, 0..2_500, &mut clock);
        assert_eq!((asked, known, later), (700, 1_800, 0));
    }

    #[test]
    fn an_id_that_is_registered_later_is_asked_for_again() {
        let (mut unknown, clock) = (Unknown::default(), Instant::now());
        unknown.add(7, clock);
        assert_eq!(unknown.advise(7, clock + AGAIN_AFTER - MS), Advice::Unknown);
        assert_eq!(unknown.advise(7, clock + AGAIN_AFTER), Advice::Ask);
        unknown.remove(7);
        assert_eq!(unknown.advise(7, clock), Advice::Ask);
    }
}
