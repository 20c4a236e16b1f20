//! The tables that a job joins, read in pieces.

use super::Changed;
use crate::job::SpecJob;
use tidemark_core::Job;
use tidemark_core::join::{Change, Error};

/// The tables of a job, and how far they are read.
pub(super) struct Tables<'r> {
    job: &'r SpecJob,
    /// In the order in which they were appended.
    changes: Vec<&'r Changed>,
    next: usize,
}

impl<'r> Tables<'r> {
    /// Of which nothing is read.
    pub(super) fn new(job: &'r SpecJob, changes: &'r [Changed]) -> Self {
        let mut changes: Vec<&Changed> = changes.iter().collect();
        changes.sort_by_key(|change| (change.appended_at, change.table, change.partition, change.offset));
        let mut tables = Self { job, changes, next: 0 };
        tables.begin();
        tables
    }

    /// What was read is gone.
    pub(super) fn begin(&mut self) {
        self.job.tables().iter().for_each(|table| table.clear());
        self.next = 0;
        self.told();
    }

    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Reads on.
    pub(super) fn read(&mut self, count: usize) -> Result<(), String> {
        let from = self.next;
        self.next = from.saturating_add(count).min(self.changes.len());
        for change in self.changes.get(from..self.next).unwrap_or_default() {
            self.apply(change)?;
        }
        self.told();
        Ok(())
    }

    /// Reads what was appended up to a time.
    pub(super) fn read_to(&mut self, appended_at: i64) -> Result<(), String> {
        let until = self.changes.partition_point(|change| change.appended_at <= appended_at);
        self.read(until.saturating_sub(self.next))
    }

    pub(super) fn read_all(&mut self) -> Result<(), String> {
        self.read(usize::MAX)
    }

    /// What is appended before the next change is read: everything, where there is none.
    fn told(&self) {
        let before = self.changes.get(self.next).map_or(i64::MAX, |change| change.appended_at);
        self.job.tables().iter().for_each(|table| table.is_read(before));
    }

    fn apply(&self, changed: &Changed) -> Result<(), String> {
        let Changed { appended_at, partition, offset, .. } = *changed;
        let Some(table) = self.job.tables().get(changed.table) else { return Ok(()) };
        let (key, datum) = (changed.key.as_deref(), changed.datum.as_deref());
        match table.apply(Change { appended_at, partition, offset, key, datum }) {
            // It is passed over, each time it is read.
            Ok(()) | Err(Error::Unusable(_)) => Ok(()),
            Err(Error::Full(full)) => Err(format!("the table {} is too large: {full}", table.topic())),
        }
    }
}
