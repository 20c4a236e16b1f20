//! How long to wait before asking again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);

/// Pauses that double from 100 ms up to a bound, with jitter: workers that lost the same service do not come back as one.
#[derive(Debug)]
pub(crate) struct Backoff {
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(max: Duration) -> Self {
        Self { max, failures: 0 }
    }

    /// What was tried has worked.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// It has failed once more. `asked` is what the service wants (Retry-After); never more than the bound.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let pause = pause(self.failures, self.max, asked, fastrand::f64());
        self.failures = self.failures.saturating_add(1);
        pause
    }
}

/// The pause after so many failures before this one; `random` is from 0 to 1.
fn pause(failures: u32, max: Duration, asked: Option<Duration>, random: f64) -> Duration {
    let full = FIRST.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX)).min(max);
    let jittered = full.mul_f64(0.5 + random / 2.0);
    // Nobody comes earlier than asked; a quarter later at most.
    asked.map_or(jittered, |asked| asked.min(max).mul_f64(1.0 + random / 4.0).max(jittered))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(30);

    #[test]
    fn pauses_double_up_to_the_bound() {
        let ms = |failures| pause(failures, MAX, None, 1.0).as_millis();
        assert_eq!(
            [ms(0), ms(1), ms(2), ms(8), ms(9), ms(31), ms(32), ms(900)],
            [100, 200, 400, 25_600, 30_000, 30_000, 30_000, 30_000]
        );
        assert_eq!(pause(1, MAX, None, 0.0).as_millis(), 100);
    }

    #[test]
    fn what_the_service_asks_for_is_kept_within_the_bound() {
        let asked = |seconds, random| pause(0, MAX, Some(Duration::from_secs(seconds)), random).as_millis();
        assert_eq!([asked(2, 0.0), asked(2, 1.0), asked(600, 0.0), asked(0, 1.0)], [2_000, 2_500, 30_000, 100]);
    }

    #[test]
    fn success_begins_anew() {
        let mut backoff = Backoff::new(MAX);
        for _ in 0..20 {
            backoff.next(None);
        }
        assert!(backoff.next(None) >= MAX / 2);
        backoff.reset();
        assert!(backoff.next(None) <= FIRST);
    }
}
