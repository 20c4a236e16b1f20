//! The tables that a job's records are joined with, kept read in this process.
//!
//! Promise: when [`Tables::read_before`] says `t`, every record that was appended to a table's topic before `t` is in that table,
//! also one whose transaction ended later: the ends that are read to are the logs' own, asked for after the time was taken.
//!
//! The partial stages say how far they need the tables ([`Tables::want`]) and fold nothing beyond; one thread of the process
//! reads ([`Follower`]). Each process reads the whole of each table, from its start.

mod follow;

use crate::Error;
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidemark_core::join::KeyedTable;
use tidemark_core::versions::Need;

pub use follow::Follower;

/// How far the clocks that stamp records may be apart from ours, milliseconds: so much later than a record was appended the
/// tables' ends are asked for. Clocks that are further apart make a table's last changes count one record too late.
const SKEW_MS: i64 = 50;

/// What is known of a job's tables.
#[derive(Debug)]
pub struct Tables {
    tables: Vec<Arc<dyn KeyedTable>>,
    /// All of them are read as far as this.
    read_before: AtomicI64,
    /// Somebody has records that were appended then.
    wanted: AtomicI64,
    failed: Mutex<Option<Error>>,
    /// What each stage will ask for; none while it does not know.
    needs: Mutex<HashMap<u64, Option<Need>>>,
    stages: AtomicU64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tables {
    /// Nothing of them is read.
    pub fn new(tables: &[Arc<dyn KeyedTable>]) -> Self {
        Self {
            tables: tables.to_vec(),
            read_before: AtomicI64::new(i64::MIN),
            wanted: AtomicI64::new(i64::MIN),
            failed: Mutex::default(),
            needs: Mutex::default(),
            stages: AtomicU64::new(0),
        }
    }

    /// Whether the job joins nothing.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Everything that was appended before this time is read; [`i64::MIN`] before the first time.
    pub fn read_before(&self) -> i64 {
        if self.tables.is_empty() { i64::MAX } else { self.read_before.load(Ordering::Acquire) }
    }

    /// Asks that they be read beyond what was appended at `appended_at`.
    pub(crate) fn want(&self, appended_at: i64) {
        self.wanted.fetch_max(appended_at, Ordering::Relaxed);
    }

    /// Whether somebody waits.
    fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) >= self.read_before()
    }

    /// Why they are not read on, since they were last.
    pub(crate) fn failed(&self) -> Option<Error> {
        locked(&self.failed).clone()
    }

    fn fail(&self, error: Error) {
        *locked(&self.failed) = Some(error);
    }

    /// They are read up to their ends as they were at `asked_at`.
    fn reached(&self, asked_at: i64) {
        let before = asked_at.saturating_sub(SKEW_MS);
        self.tables.iter().for_each(|table| table.is_read(before));
        self.read_before.fetch_max(before, Ordering::Release);
        *locked(&self.failed) = None;
    }

    /// One of them is read from its start again.
    fn begun(&self) {
        self.read_before.store(i64::MIN, Ordering::Release);
    }

    /// A number for a stage.
    pub(crate) fn stage(&self) -> u64 {
        self.stages.fetch_add(1, Ordering::Relaxed)
    }

    /// Notes what a stage will ask for, and drops what none of them will.
    pub(crate) fn need(&self, stage: u64, need: Option<Need>) {
        let mut needs = locked(&self.needs);
        needs.insert(stage, need);
        let all = needs.values().copied().reduce(|a, b| Some(a?.and(b?))).flatten();
        drop(needs);
        if let Some(need) = all {
            self.tables.iter().for_each(|table| table.forget(need));
        }
    }

    /// A stage asks for nothing any more.
    pub(crate) fn leave(&self, stage: u64) {
        locked(&self.needs).remove(&stage);
    }
}

#[cfg(test)]
mod tests;
