//! What the job wrote, as a read_committed reader sees it.

use crate::reference::{Cell, Sums};
use crate::{Error, workload};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemark_core::JobSpec;
use tidemark_log::{At, Log, Record, TopicPartition};
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::catalog::{self, Schema};
use tidemark_schemas::engine::{LateRecord, Ledger, Progress};
use tidemark_schemas::flows::{FlowHourly, FlowObserved};
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire;

/// How long a poll waits when nothing comes.
const POLL: Duration = Duration::from_millis(20);

static LATE: &[Schema] = &[catalog::LATE_RECORD, catalog::SEALED_OUT];

/// The last value of each key of the view topic, and every letter of the late topic.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Rows by merge partition.
    pub rows: HashMap<(u32, Cell), Sums>,
    /// Ledger entries by merge partition and window start.
    pub ledgers: HashMap<(u32, i64), Ledger>,
    /// How far each merge partition has come.
    pub progress: HashMap<u32, Progress>,
    /// Numbers of the records that letters are about; `None` for one that is not of a workload.
    pub letters: Vec<Option<u64>>,
    /// Letters about partials that came after their window was sealed.
    pub sealed_out: u64,
}

/// Where a job's results are read.
#[derive(Clone)]
pub struct Results {
    log: Arc<dyn Log>,
    registry: Arc<dyn Registry>,
    view: String,
    late: String,
    /// Of the view topic.
    schemas: Arc<[Schema]>,
}

impl Results {
    /// Of a job version on this log, whose rows are of the schema `row`: that of [`FlowHourly`], whatever its name.
    pub fn new(log: Arc<dyn Log>, registry: Arc<dyn Registry>, job: &JobSpec, row: Schema) -> Self {
        let schemas = Arc::new([row, catalog::LEDGER, catalog::PROGRESS]);
        Self { log, registry, view: job.view_topic(), late: job.internal("late"), schemas }
    }

    /// Waits until every merge partition has committed what `records` source records gave, which is said in the same
    /// transaction as its rows and the offset of its group; false when `deadline` passes first.
    ///
    /// # Errors
    /// The topic cannot be read.
    pub fn wait(&self, records: u64, deadline: Instant) -> Result<bool, Error> {
        let Some(merge_partitions) = self.merge_partitions(deadline)? else { return Ok(false) };
        let mut decoder = wire::Decoder::new(Arc::clone(&self.registry), Arc::clone(&self.schemas));
        let mut behind: Vec<bool> = vec![true; merge_partitions as usize];
        let all = partitions(&self.view, merge_partitions);
        let starts = self.log.offsets(&all, At::Start)?;
        let mut reader = self.log.reader(&all.into_iter().zip(starts).collect::<Vec<_>>())?;
        while behind.contains(&true) && Instant::now() < deadline {
            poll(reader.as_mut(), &mut |partition, record| {
                let mut scratch = Vec::new();
                let (2, datum) = decoder.datum(record.value.unwrap_or_default(), &mut scratch)? else { return Ok(()) };
                let progress = Progress::get(&mut Reader::new(datum))?;
                if let Some(behind) = behind.get_mut(partition as usize) {
                    *behind = read(&progress) < records;
                }
                Ok(())
            })?;
        }
        Ok(!behind.contains(&true))
    }

    /// The view topic is made when the job first starts.
    fn merge_partitions(&self, deadline: Instant) -> Result<Option<u32>, Error> {
        loop {
            match self.log.partitions(&self.view)? {
                None if Instant::now() < deadline => std::thread::sleep(POLL),
                found => return Ok(found),
            }
        }
    }

    /// Reads both topics from their start to the end they have now.
    ///
    /// # Errors
    /// A topic cannot be read, or not by `deadline`, or has a record that is not the job's.
    pub fn read(&self, deadline: Instant) -> Result<Observed, Error> {
        let mut observed = Observed::default();
        let mut view = wire::Decoder::new(Arc::clone(&self.registry), Arc::clone(&self.schemas));
        self.read_topic(&self.view, deadline, |partition, record| observed.view(&mut view, partition, record))?;
        let mut late = wire::Decoder::new(Arc::clone(&self.registry), LATE);
        self.read_topic(&self.late, deadline, |_, record| observed.letter(&mut late, record))?;
        Ok(observed)
    }

    fn read_topic(
        &self,
        topic: &str,
        deadline: Instant,
        mut take: impl FnMut(u32, &Record<'_>) -> Result<(), wire::Error>,
    ) -> Result<(), Error> {
        let all = partitions(topic, self.log.partitions(topic)?.unwrap_or(0));
        let (starts, ends) = (self.log.offsets(&all, At::Start)?, self.log.offsets(&all, At::StableEnd)?);
        let from: Vec<(TopicPartition, i64)> = all.into_iter().zip(starts).collect();
        let mut reader = self.log.reader(&from)?;
        for ((partition, _), end) in from.iter().zip(ends) {
            while reader.position(partition)? < end {
                if Instant::now() > deadline {
                    return Err(Error::TimedOut(topic.to_owned()));
                }
                poll(reader.as_mut(), &mut take)?;
            }
        }
        Ok(())
    }
}

fn partitions(topic: &str, count: u32) -> Vec<TopicPartition> {
    (0..count).map(|partition| TopicPartition::new(topic, partition)).collect()
}

/// Polls once and hands over record by record; the first error ends it.
fn poll(
    reader: &mut dyn tidemark_log::Reader,
    take: &mut dyn FnMut(u32, &Record<'_>) -> Result<(), wire::Error>,
) -> Result<(), Error> {
    let mut failed = None;
    reader.poll(POLL, &mut |batch| {
        for record in batch.records {
            if failed.is_some() {
                return;
            }
            failed = take(batch.partition, record).err().map(|error| Error::Unreadable {
                topic: batch.topic.to_owned(),
                partition: batch.partition,
                offset: record.offset,
                reason: error.to_string(),
            });
        }
    })?;
    failed.map_or(Ok(()), Err)
}

/// Source records that a merge partition has heard of.
pub fn read(progress: &Progress) -> u64 {
    let records: i64 = progress.sources.iter().map(|source| source.records).sum();
    u64::try_from(records).unwrap_or(0)
}

impl Observed {
    fn view(&mut self, decoder: &mut wire::Decoder, partition: u32, record: &Record<'_>) -> Result<(), wire::Error> {
        let mut scratch = Vec::new();
        let (schema, datum) = decoder.datum(record.value.unwrap_or_default(), &mut scratch)?;
        let mut reader = Reader::new(datum);
        match schema {
            0 => {
                let (cell, sums) = row(&FlowHourly::get(&mut reader)?);
                self.rows.insert((partition, cell), sums);
            }
            1 => {
                let ledger = Ledger::get(&mut reader)?;
                self.ledgers.insert((partition, ledger.window_start), ledger);
            }
            _ => drop(self.progress.insert(partition, Progress::get(&mut reader)?)),
        }
        Ok(())
    }

    fn letter(&mut self, decoder: &mut wire::Decoder, record: &Record<'_>) -> Result<(), wire::Error> {
        let mut scratch = Vec::new();
        let (schema, datum) = decoder.datum(record.value.unwrap_or_default(), &mut scratch)?;
        if schema == 0 {
            let letter = LateRecord::get(&mut Reader::new(datum))?;
            let (_, flow) = wire::split(letter.value)?;
            self.letters.push(workload::number(FlowObserved::get(&mut Reader::new(flow))?.event_id));
        } else {
            self.sealed_out += 1;
        }
        Ok(())
    }
}

fn row(row: &FlowHourly<'_>) -> (Cell, Sums) {
    let [src_app, dest_app, vpc_id] = [row.src_app, row.dest_app, row.vpc_id].map(str::to_owned);
    let sums = Sums { records: row.records, bytes_tx: row.bytes_tx, bytes_rx: row.bytes_rx };
    (Cell { window_start: row.window_start, src_app, dest_app, vpc_id }, sums)
}
