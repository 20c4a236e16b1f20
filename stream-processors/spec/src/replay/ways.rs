//! The ways that records come: reads, commits, merges and crashes in their order.

use super::{Arrival, Dice};
use tidemark_core::Job;
use tidemark_core::driver::Driver;

/// One step of so many is a crash, where there are any.
const CRASH_EVERY: u64 = 6;

/// A job at work.
pub(super) struct Running<J: Job> {
    pub(super) driver: Driver<J>,
    /// Time of every commit: it does not pass, so that nothing is sealed.
    pub(super) now: i64,
    pub(super) partitions: usize,
    pub(super) merges: usize,
    /// It counts repeats once.
    pub(super) has_ids: bool,
}

pub(super) type Ran = Result<(), tidemark_core::merge::Error>;

impl<J: Job> Running<J> {
    fn all(&self) -> Vec<usize> {
        (0..self.partitions).collect()
    }

    fn push(&mut self, records: &[Arrival]) {
        for record in records {
            self.driver.push_of(record.partition, record.appended_at, record.schema, record.datum.clone());
        }
    }

    pub(super) fn full_speed(&mut self, records: &[Arrival]) -> Ran {
        self.push(records);
        self.end()
    }

    pub(super) fn one_by_one(&mut self, records: &[Arrival]) -> Ran {
        for record in records {
            self.push(std::slice::from_ref(record));
            self.driver.read(record.partition, 1);
            self.driver.commit(&[record.partition], self.now);
            self.driver.merge()?;
        }
        self.end()
    }

    pub(super) fn mixed(&mut self, records: &[Arrival], dice: &mut Dice, crashing: bool) -> Ran {
        self.push(records);
        // Pieces so small that every partition is cut into some, of a sample of any size.
        let piece = (records.len() as u64 / (self.partitions as u64 * 8)).max(2);
        for _ in 0..self.partitions * 40 {
            let partition = dice.below(self.partitions as u64) as usize;
            let merge = dice.below(self.merges as u64) as usize;
            if crashing && dice.below(CRASH_EVERY) == 0 {
                self.crash(partition, merge, dice)?;
                continue;
            }
            match dice.below(4) {
                0 | 1 => self.driver.read(partition, dice.below(piece) as usize + 1),
                2 => {
                    let some: Vec<usize> = self.all().into_iter().filter(|_| dice.below(2) == 0).collect();
                    self.driver.commit(&some, self.now);
                }
                _ => self.driver.merge_some(merge, dice.below(8) as usize + 1)?,
            }
        }
        self.end()
    }

    fn crash(&mut self, partition: usize, merge: usize, dice: &mut Dice) -> Ran {
        match dice.below(4) {
            0 | 1 if !self.has_ids => self.driver.crash(partition),
            0 | 1 => {}
            2 => self.driver.crash_merge(merge)?,
            _ => {
                self.driver.checkpoint(merge);
                self.driver.merge_some(merge, dice.below(4) as usize)?;
                self.driver.reopen_merge(merge)?;
            }
        }
        Ok(())
    }

    /// Reads everything that is left.
    fn end(&mut self) -> Ran {
        let all = self.all();
        all.iter().for_each(|partition| self.driver.read(*partition, usize::MAX));
        self.driver.commit(&all, self.now);
        self.driver.merge()
    }
}
