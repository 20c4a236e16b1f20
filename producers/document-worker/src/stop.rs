//! Asks a worker to stop.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A handle that any thread may ask with: once to stop when what is in hand is done, twice to stop at once. Cloning it gives another
/// handle on the same worker.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<(Mutex<u32>, Condvar)>);

impl Stop {
    /// A handle for a worker that is to run.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks, or asks again.
    pub fn ask(&self) {
        let mut asked = self.lock();
        *asked = asked.saturating_add(1);
        self.0.1.notify_all();
    }

    /// How often it was asked.
    pub fn asked(&self) -> u32 {
        *self.lock()
    }

    /// Waits until it was asked, and does something every so often meanwhile.
    pub(crate) fn wait_until_asked(&self, every: Duration, meanwhile: impl Fn()) {
        while !self.wait(1, every) {
            meanwhile();
        }
    }

    /// Waits until it was asked `times`, or for `pause`. Gives whether it was.
    pub(crate) fn wait(&self, times: u32, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut asked = self.lock();
        while *asked < times {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            asked = self.0.1.wait_timeout(asked, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, u32> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_is_done_meanwhile_is_done_until_it_is_asked() {
        let (stop, times) = (Stop::new(), Cell::new(0));
        stop.wait_until_asked(Duration::from_millis(1), || {
            times.set(times.get() + 1);
            if times.get() == 3 {
                stop.ask();
            }
        });
        assert_eq!(times.get(), 3);
        stop.wait_until_asked(Duration::ZERO, || panic!("it was asked before"));
    }
}
