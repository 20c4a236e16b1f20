//! The exact result of a workload, computed record by record and apart from the engine.

use crate::{Error, Workload};
use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, Write};
use tidemark_core::JobSpec;

/// One row of the result.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cell {
    /// Start of its window, milliseconds since the epoch.
    pub window_start: i64,
    /// Application that opened the connections.
    pub src_app: String,
    /// Application they went to.
    pub dest_app: String,
    /// Virtual network of the source.
    pub vpc_id: String,
}

/// What a row adds up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Number of records.
    pub records: i64,
    /// Bytes sent.
    pub bytes_tx: i128,
    /// Bytes received.
    pub bytes_rx: i128,
}

/// What a job that folds late records in (policy amend) must arrive at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reference {
    /// Number of records.
    pub records: u64,
    /// Every row.
    pub cells: HashMap<Cell, Sums>,
    /// Numbers of the records that are late: their window's end + grace is not after the highest event time that their own
    /// source partition has carried before them.
    pub late: BTreeSet<u64>,
}

impl Reference {
    /// Of a workload whose record `i` is on partition `i % partitions`, 1 or more.
    pub fn of(workload: &Workload, partitions: u32, job: &JobSpec) -> Self {
        let mut sums: HashMap<(u32, i64), Sums> = HashMap::new();
        let mut watermarks = vec![i64::MIN; partitions as usize];
        let mut late = BTreeSet::new();
        for i in 0..workload.records() {
            let flow = workload.flow(i);
            let start = flow.observed_at.div_euclid(job.window.size_ms()) * job.window.size_ms();
            if let Some(watermark) = watermarks.get_mut((i % u64::from(partitions)) as usize) {
                if start + job.window.size_ms() + job.grace_ms <= *watermark {
                    late.insert(i);
                }
                *watermark = flow.observed_at.max(*watermark);
            }
            let cell = sums.entry((flow.key, start)).or_default();
            cell.records += 1;
            cell.bytes_tx += i128::from(flow.bytes_tx);
            cell.bytes_rx += i128::from(flow.bytes_rx);
        }
        let named = |((key, window_start), sums)| (cell(workload, key, window_start), sums);
        Self { records: workload.records(), cells: sums.into_iter().map(named).collect(), late }
    }

    /// Writes it as lines: `N,records`, then `T,window_start,src_app,dest_app,vpc_id,records,bytes_tx,bytes_rx` for each row
    /// and `L,number` for each late record. Names of a workload have no commas.
    ///
    /// # Errors
    /// `out` refuses.
    pub fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        writeln!(out, "N,{}", self.records)?;
        for (cell, sums) in &self.cells {
            let Cell { window_start, src_app, dest_app, vpc_id } = cell;
            let Sums { records, bytes_tx, bytes_rx } = sums;
            writeln!(out, "T,{window_start},{src_app},{dest_app},{vpc_id},{records},{bytes_tx},{bytes_rx}")?;
        }
        self.late.iter().try_for_each(|number| writeln!(out, "L,{number}"))
    }

    /// Reads what [`Reference::write`] wrote.
    ///
    /// # Errors
    /// `input` fails or a line is of another form.
    pub fn read(input: impl BufRead) -> Result<Self, Error> {
        let mut reference = Self::default();
        for (at, line) in input.lines().enumerate() {
            reference.take(&line?).ok_or(Error::Expected { line: at + 1 })?;
        }
        if reference.records == 0 { Err(Error::Expected { line: 1 }) } else { Ok(reference) }
    }

    fn take(&mut self, line: &str) -> Option<()> {
        match line.split(',').collect::<Vec<_>>()[..] {
            ["N", records] => self.records = records.parse().ok()?,
            ["L", number] => drop(self.late.insert(number.parse().ok()?)),
            ["T", start, src_app, dest_app, vpc_id, records, bytes_tx, bytes_rx] => {
                let [src_app, dest_app, vpc_id] = [src_app, dest_app, vpc_id].map(str::to_owned);
                let cell = Cell { window_start: start.parse().ok()?, src_app, dest_app, vpc_id };
                let (bytes_tx, bytes_rx) = (bytes_tx.parse().ok()?, bytes_rx.parse().ok()?);
                self.cells.insert(cell, Sums { records: records.parse().ok()?, bytes_tx, bytes_rx });
            }
            _ => return None,
        }
        Some(())
    }
}

fn cell(workload: &Workload, key: u32, window_start: i64) -> Cell {
    let key = workload.name(key);
    let [src_app, dest_app, vpc_id] = [&key.src_app, &key.dest_app, &key.vpc_id].map(String::clone);
    Cell { window_start, src_app, dest_app, vpc_id }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::workload::Settings;
    use tidemark_core::Job;
    use tidemark_jobs::flows;

    fn reference(partitions: u32) -> Reference {
        let workload = Workload::new(Settings { records: 20_000, keys: 50, seed: 3, span_ms: 24 * 3_600_000 });
        Reference::of(&workload, partitions, flows::hourly(&flows::Settings::default()).unwrap().spec())
    }

    #[test]
    fn it_comes_back_from_its_file() {
        let reference = reference(4);
        assert_eq!(reference.cells.values().map(|sums| sums.records).sum::<i64>(), 20_000);
        assert!((80..200).contains(&reference.late.len()), "{} late", reference.late.len());
        let mut file = vec![];
        reference.write(&mut file).unwrap();
        assert_eq!(Reference::read(&file[..]).unwrap(), reference);
        assert!(matches!(Reference::read(&b"N,1\nT,what"[..]), Err(Error::Expected { line: 2 })));
        assert!(matches!(Reference::read(&b""[..]), Err(Error::Expected { line: 1 })));
    }

    #[test]
    fn lateness_is_a_matter_of_the_partition() {
        let (one, many) = (reference(1), reference(64));
        assert_eq!(one.cells, many.cells);
        assert_ne!(one.late, many.late);
    }
}
