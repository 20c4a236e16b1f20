//! The step that a task runs at the moment: what it takes to end it from another thread.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// Why a task is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// The lease is another's, or nobody's.
    Revoked,
    /// The worker stops.
    Stopping,
}

/// A task's place for its running step. Cancelling kills the step's processes at once and keeps others from being started.
#[derive(Debug, Default)]
pub struct Running {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Leads its process group. Not reaped while it stands here, so that its number cannot be another's.
    leader: Option<Pid>,
    cancelled: Option<Cancelled>,
}

impl Running {
    /// Gives the task up. The first reason stays.
    pub fn cancel(&self, why: Cancelled) {
        let mut state = self.lock();
        state.cancelled.get_or_insert(why);
        state.kill();
        self.changed.notify_all();
    }

    /// Whether the task is given up.
    pub fn cancelled(&self) -> Option<Cancelled> {
        self.lock().cancelled
    }

    /// Process id of the step, if one runs.
    pub fn pid(&self) -> Option<i32> {
        self.lock().leader.map(|pid| pid.as_raw_nonzero().get())
    }

    /// Waits for `pause`, or until the task is given up.
    pub(crate) fn wait(&self, pause: Duration) -> Option<Cancelled> {
        let until = Instant::now() + pause;
        let mut state = self.lock();
        while state.cancelled.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.cancelled
    }

    /// A step runs. One that comes after the task was given up is killed at once.
    pub(super) fn enter(&self, leader: Pid) {
        let mut state = self.lock();
        state.leader = Some(leader);
        if state.cancelled.is_some() {
            state.kill();
        }
    }

    /// Kills the step and what it has started.
    pub(super) fn kill(&self) {
        self.lock().kill();
    }

    /// The step has ended and is about to be reaped.
    pub(super) fn leave(&self) {
        self.lock().leader = None;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn kill(&self) {
        if let Some(leader) = self.leader {
            // The leader by its own number as well: it may have moved to another group. Both fail only when nobody is left.
            let _gone = (kill_process_group(leader, Signal::KILL), kill_process(leader, Signal::KILL));
        }
    }
}
