//! The ways that records come: reads, commits, merges and crashes in their order.

use super::tables::Tables;
use super::{Arrival, Dice};
use tidemark_core::Job;
use tidemark_core::driver::{Driver, SourceRecord};
use tidemark_core::merge;

/// One step of so many is a crash, where there are any.
const CRASH_EVERY: u64 = 6;

/// A job at work.
pub(super) struct Running<'r, J: Job> {
    pub(super) driver: Driver<J>,
    pub(super) tables: Tables<'r>,
    /// Time of every commit: it does not pass, so that nothing is sealed.
    pub(super) now: i64,
    pub(super) partitions: usize,
    pub(super) merges: usize,
    /// It counts repeats once.
    pub(super) has_ids: bool,
}

pub(super) type Ran = Result<(), String>;

fn stopped(error: merge::Error) -> String {
    error.to_string()
}

impl<J: Job> Running<'_, J> {
    fn all(&self) -> Vec<usize> {
        (0..self.partitions).collect()
    }

    fn push(&mut self, records: &[Arrival]) {
        for record in records {
            let Arrival { partition, schema, appended_at, .. } = *record;
            self.driver.append(partition, SourceRecord { schema, appended_at, datum: record.datum.clone() });
        }
    }

    pub(super) fn full_speed(&mut self, records: &[Arrival]) -> Ran {
        self.push(records);
        self.end()
    }

    pub(super) fn one_by_one(&mut self, records: &[Arrival]) -> Ran {
        for record in records {
            self.push(std::slice::from_ref(record));
            self.tables.read_to(record.appended_at)?;
            self.driver.read(record.partition, 1);
            self.driver.commit(&[record.partition], self.now);
            self.driver.merge().map_err(stopped)?;
        }
        self.end()
    }

    pub(super) fn mixed(&mut self, records: &[Arrival], dice: &mut Dice, crashing: bool) -> Ran {
        self.push(records);
        // Pieces so small that every partition is cut into some, of a sample of any size.
        let piece = (records.len() as u64 / (self.partitions as u64 * 8)).max(2);
        let changes = (self.tables.len() as u64 / (self.partitions as u64 * 4)).max(1);
        let kinds = if self.tables.len() == 0 { 4 } else { 5 };
        for _ in 0..self.partitions * 40 {
            let partition = dice.below(self.partitions as u64) as usize;
            let merge = dice.below(self.merges as u64) as usize;
            if crashing && dice.below(CRASH_EVERY) == 0 {
                self.crash(partition, merge, dice)?;
                continue;
            }
            match dice.below(kinds) {
                0 | 1 => self.driver.read(partition, dice.below(piece) as usize + 1),
                2 => {
                    let some: Vec<usize> = self.all().into_iter().filter(|_| dice.below(2) == 0).collect();
                    self.driver.commit(&some, self.now);
                }
                3 => self.driver.merge_some(merge, dice.below(8) as usize + 1).map_err(stopped)?,
                _ => self.tables.read(dice.below(changes) as usize + 1)?,
            }
        }
        self.end()
    }

    fn crash(&mut self, partition: usize, merge: usize, dice: &mut Dice) -> Ran {
        match dice.below(4) {
            0 | 1 => {
                if !self.has_ids {
                    self.driver.crash(partition);
                }
                if dice.below(4) == 0 {
                    self.tables.begin();
                }
            }
            2 => self.driver.crash_merge(merge).map_err(stopped)?,
            _ => {
                self.driver.checkpoint(merge);
                self.driver.merge_some(merge, dice.below(4) as usize).map_err(stopped)?;
                self.driver.reopen_merge(merge).map_err(stopped)?;
            }
        }
        Ok(())
    }

    /// Reads everything that is left.
    fn end(&mut self) -> Ran {
        self.tables.read_all()?;
        let all = self.all();
        all.iter().for_each(|partition| self.driver.read(*partition, usize::MAX));
        self.driver.commit(&all, self.now);
        self.driver.merge().map_err(stopped)
    }
}
