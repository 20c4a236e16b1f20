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

    /// Waits until it was asked.
    pub(crate) fn wait_until_asked(&self) {
        let asked = self.lock();
        drop(self.0.1.wait_while(asked, |asked| *asked == 0));
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
