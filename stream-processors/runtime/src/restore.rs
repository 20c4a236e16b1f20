//! Rebuilds merge state from the changelog, a little at a time, so that the member goes on answering its group.
//!
//! The order is what makes it right: the caller has fetched the *stable* offset, so no transaction of a predecessor is open;
//! the end is taken after that and includes control markers; the restore is over by position, not by record.

use crate::Error;
use crate::merge::{Owned, unreadable};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemark_core::Accumulator;
use tidemark_core::merge::MergeFold;
use tidemark_log::{At, Log, Reader as LogReader, Record, TopicPartition};
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::catalog::{self, Schema};
use tidemark_schemas::engine::{Ledger, Progress, RowState};
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire;

static STATE: &[Schema] = &[catalog::ROW_STATE, catalog::LEDGER, catalog::PROGRESS];

/// How long a restore may go without coming nearer to its end before it is given up.
const STALL: Duration = Duration::from_secs(30);
/// How long a step reads before the member is polled again.
const STEP: Duration = Duration::from_millis(100);

/// A restore of any number of changelog partitions.
pub(crate) struct Restore {
    decoder: wire::Decoder,
    scratch: Vec<u8>,
    reader: Option<Box<dyn LogReader>>,
    targets: Vec<Target>,
    last_progress: Instant,
}

struct Target {
    partition: TopicPartition,
    at: i64,
    end: i64,
}

impl Restore {
    pub(crate) fn new(registry: Arc<dyn Registry>) -> Self {
        let decoder = wire::Decoder::new(registry, STATE);
        Self { decoder, scratch: Vec::new(), reader: None, targets: Vec::new(), last_progress: Instant::now() }
    }

    /// Sets out to read partitions of `changelog` from their start to the end that the log names now.
    pub(crate) fn begin(
        &mut self,
        log: &dyn Log,
        changelog: &str,
        partitions: impl Iterator<Item = u32>,
    ) -> Result<(), Error> {
        self.end();
        let partitions: Vec<TopicPartition> =
            partitions.map(|partition| TopicPartition::new(changelog, partition)).collect();
        let starts = log.offsets(&partitions, At::Start)?;
        let ends = log.offsets(&partitions, At::End)?;
        let bounds = starts.into_iter().zip(ends);
        let targets = partitions.into_iter().zip(bounds).map(|(partition, (at, end))| Target { partition, at, end });
        self.targets = targets.filter(|target| target.at < target.end).collect();
        let from: Vec<(TopicPartition, i64)> =
            self.targets.iter().map(|target| (target.partition.clone(), target.at)).collect();
        self.reader = if from.is_empty() { None } else { Some(log.reader(&from)?) };
        self.last_progress = Instant::now();
        Ok(())
    }

    /// Reads on for a moment, into the fold of each partition; true once all ends are reached.
    pub(crate) fn step<A: Accumulator>(&mut self, owned: &mut [Owned<A>]) -> Result<bool, Error> {
        let Self { decoder, scratch, reader: Some(reader), .. } = self else { return Ok(true) };
        let mut failed = None;
        reader.poll(STEP, &mut |batch| {
            let Some(owned) = owned.iter_mut().find(|owned| owned.partition.partition == batch.partition) else {
                return;
            };
            for record in batch.records {
                if failed.is_none() {
                    failed = entry(decoder, scratch, &mut owned.fold, record)
                        .err()
                        .map(|reason| unreadable(&batch, record, reason));
                }
            }
        })?;
        failed.map_or(Ok(()), Err)?;
        self.move_on()
    }

    fn move_on(&mut self) -> Result<bool, Error> {
        let Some(reader) = &self.reader else { return Ok(true) };
        for target in &mut self.targets {
            let at = reader.position(&target.partition)?;
            if at > target.at {
                (target.at, self.last_progress) = (at, Instant::now());
            }
        }
        let Some(behind) = self.targets.iter().find(|target| target.at < target.end) else {
            self.end();
            return Ok(true);
        };
        if self.last_progress.elapsed() > STALL {
            let Target { partition, at, end } = behind;
            let what =
                format!("the restore of {partition} has stood at offset {at} of {end} for {} s", STALL.as_secs());
            return Err(tidemark_log::Error::Retriable(what).into());
        }
        Ok(false)
    }

    /// Gives up what is under way.
    pub(crate) fn end(&mut self) {
        self.reader = None;
        self.targets.clear();
    }
}

fn entry<A: Accumulator>(
    decoder: &mut wire::Decoder,
    scratch: &mut Vec<u8>,
    fold: &mut MergeFold<A>,
    record: &Record<'_>,
) -> Result<(), wire::Error> {
    let Some(value) = record.value else { return Ok(()) }; // a tombstone: the ledger says that its window is sealed
    let (schema, datum) = decoder.datum(value, scratch)?;
    let mut reader = Reader::new(datum);
    match schema {
        0 => fold.restore_row(&RowState::get(&mut reader)?)?,
        1 => fold.restore_ledger(Ledger::get(&mut reader)?),
        _ => {
            // A progress entry of other settings is passed over: the first partial of them stops the stage and says so.
            let _ = fold.restore_progress(Progress::get(&mut reader)?);
        }
    }
    Ok(())
}
