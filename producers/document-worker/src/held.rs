//! The leases in hand.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::executor::{Cancelled, Running};
use crate::wire::Task;

/// A lease and where its task stands.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) task_id: String,
    pub(crate) token: i64,
    pub(crate) running: Running,
    step: Mutex<String>,
}

impl Held {
    /// As heartbeats name it: empty while the contents are fetched, then the step and its attempt, `report` at the end.
    pub(crate) fn step(&self) -> String {
        self.step.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives whether it was at another.
    fn at(&self, step: &str) -> bool {
        let mut at = self.step.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = *at != step;
        step.clone_into(&mut at);
        is_new
    }
}

/// All leases of a worker, from the moment that the service gives one until it has taken the report.
#[derive(Debug, Default)]
pub(crate) struct Hand {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    leases: BTreeMap<(String, i64), Arc<Held>>,
    /// Something is to be said to the service now.
    fresh: bool,
}

impl Hand {
    /// Takes a lease; it is let go when what this gives is dropped.
    pub(crate) fn take(&self, task: &Task) -> InHand<'_> {
        let (task_id, token) = (task.task_id.clone(), task.token);
        let held = Held { task_id: task_id.clone(), token, running: Running::default(), step: Mutex::default() };
        let held = Arc::new(held);
        self.lock().leases.insert((task_id, token), Arc::clone(&held));
        self.wake();
        InHand { hand: self, held }
    }

    pub(crate) fn all(&self) -> Vec<Arc<Held>> {
        self.lock().leases.values().cloned().collect()
    }

    /// Ends what is done under a lease. Gives whether it was in hand.
    pub(crate) fn revoke(&self, task_id: &str, token: i64) -> bool {
        let held = self.lock().leases.get(&(task_id.to_owned(), token)).cloned();
        held.map(|held| held.running.cancel(Cancelled::Revoked)).is_some()
    }

    /// Something is to be said to the service now.
    pub(crate) fn wake(&self) {
        self.lock().fresh = true;
        self.changed.notify_all();
    }

    /// Waits until something is to be said, or for `pause`.
    pub(crate) fn wait(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut state = self.lock();
        while !state.fresh {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.fresh = false;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lease that is let go at the end, whatever happens before.
pub(crate) struct InHand<'a> {
    hand: &'a Hand,
    pub(crate) held: Arc<Held>,
}

impl InHand<'_> {
    /// The task is at this step now. The service hears of another one than before at once: until then the lease's deadline is that of
    /// the step before.
    pub(crate) fn at(&self, step: &str) {
        if self.held.at(step) {
            self.hand.wake();
        }
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.hand.lock().leases.remove(&(self.held.task_id.clone(), self.held.token));
    }
}
