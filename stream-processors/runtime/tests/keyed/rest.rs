//! A run comes to rest.

use tidemark_log::simulated::Faults;

use crate::check::reference;
use crate::world::World;

/// Steps without an error after which a thread has taken over what is its own.
const SETTLED_STEPS: u32 = 8;
/// Within which everything comes to rest that ever does.
const ROUNDS: u32 = 3_000;

impl World {
    /// Ends all faults, lets everybody run until nothing is left to do and no timer is due, then stops all of it.
    pub(crate) fn rest(&mut self) -> Result<(), String> {
        if self.log.is_broken() {
            self.crash_log()?;
        }
        self.log.set(0, Faults::default());
        self.log.settle().map_err(|e| e.to_string())?;
        for process in 0..self.processes.len() {
            self.start(process);
            self.processes[process].frozen_until_ms = 0;
        }
        self.until_read()?;
        for process in 0..self.processes.len() {
            self.stop(process);
        }
        match self.log.settle().map_err(|e| e.to_string())? {
            true => Err("a commit was still open at rest".to_owned()),
            false => {
                self.topics().behind()?.map_or(Ok(()), |what| Err(format!("stopped and left something unread: {what}")))
            }
        }
    }

    /// Everybody steps until the group has nothing left to read, and all timers have fired.
    pub(crate) fn until_read(&mut self) -> Result<(), String> {
        for round in 0..ROUNDS {
            for at in 0..self.threads.len() {
                self.step(at)?;
            }
            // Time goes by even when every thread waits to try again.
            self.time.pass(20);
            let settled = self.threads.iter().all(|thread| thread.steps >= SETTLED_STEPS);
            if round % 16 == 15 && settled && self.topics().behind()?.is_none() && self.pending()?.is_none() {
                return Ok(());
            }
        }
        Err(format!("does not come to rest: {:?}, {:?}", self.topics().behind()?, self.pending()?))
    }

    /// A timer that is yet to fire, if there is one.
    fn pending(&self) -> Result<Option<i64>, String> {
        Ok(reference(&self.topics())?.partitions.values().filter_map(|partition| partition.due).min())
    }
}
