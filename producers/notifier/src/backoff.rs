//! How long to wait before another try.

/// First and longest pause, milliseconds. The pause doubles with each failure in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// After the first failure; 1 and more.
    pub(crate) first_ms: i64,
    /// Never longer.
    pub(crate) longest_ms: i64,
}

impl Backoff {
    /// The pause after so many failures in a row, 1 and more. `dice` is from 0 to 1: the pause is between half and all of its
    /// length, so that many who failed together do not come back together.
    pub(crate) fn pause_ms(&self, failures: u32, dice: f64) -> i64 {
        let doublings = failures.saturating_sub(1).min(40);
        let longest = self.first_ms.saturating_mul(1 << doublings).clamp(1, self.longest_ms.max(1));
        let half = longest / 2;
        (half + ((longest - half) as f64 * dice.clamp(0.0, 1.0)) as i64).max(1)
    }

    /// Whether the pause until `not_before` is over; also when the clock was set back, since nothing may wait for it to catch up.
    pub(crate) fn is_over(&self, not_before: i64, now: i64) -> bool {
        now >= not_before || not_before.saturating_sub(now) > self.longest_ms
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;

    const BACKOFF: Backoff = Backoff { first_ms: 1_000, longest_ms: 300_000 };

    #[test]
    fn it_doubles_up_to_the_longest_with_jitter() {
        let longest: Vec<i64> = [1, 2, 3, 9, 10, 1_000].map(|failures| BACKOFF.pause_ms(failures, 1.0)).into();
        assert_eq!(longest, [1_000, 2_000, 4_000, 256_000, 300_000, 300_000]);
        assert_eq!((BACKOFF.pause_ms(1, 0.0), BACKOFF.pause_ms(10, 0.0)), (500, 150_000));
    }

    #[test]
    fn a_clock_that_was_set_back_holds_nothing_up() {
        assert!(!BACKOFF.is_over(2_000, 1_999));
        assert!(BACKOFF.is_over(2_000, 2_000));
        assert!(BACKOFF.is_over(1_000_000_000, 2_000));
    }
}
