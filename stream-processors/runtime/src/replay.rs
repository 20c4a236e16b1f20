//! Reads given partitions up to given ends, a little at a time, so that a member goes on answering its group meanwhile.
//!
//! It is over by position, not by record: control markers take offsets, so the last record is not the end.

use crate::Error;
use std::time::{Duration, Instant};
use tidemark_log::{Batch, Log, Reader, TopicPartition};

/// How long it may go without coming nearer to its end before it is given up.
const STALL: Duration = Duration::from_secs(30);
/// How long a step reads before the member is polled again.
const STEP: Duration = Duration::from_millis(100);

/// A read of any number of partitions.
pub(crate) struct Replay {
    reader: Option<Box<dyn Reader>>,
    targets: Vec<Target>,
    last_progress: Instant,
}

/// One partition of it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Which.
    pub(crate) partition: TopicPartition,
    /// Next offset to read.
    pub(crate) at: i64,
    /// Where it ends, not in it.
    pub(crate) end: i64,
}

impl Replay {
    /// Sets out.
    pub(crate) fn begin(log: &dyn Log, targets: Vec<Target>) -> Result<Self, Error> {
        let targets: Vec<Target> = targets.into_iter().filter(|target| target.at < target.end).collect();
        let from: Vec<(TopicPartition, i64)> =
            targets.iter().map(|target| (target.partition.clone(), target.at)).collect();
        let reader = if from.is_empty() { None } else { Some(log.reader(&from)?) };
        Ok(Self { reader, targets, last_progress: Instant::now() })
    }

    /// Reads on for a moment; true once all ends are reached. What `on_batch` finds wrong it returns.
    pub(crate) fn step(&mut self, mut on_batch: impl FnMut(&Batch<'_>) -> Result<(), Error>) -> Result<bool, Error> {
        let Some(reader) = &mut self.reader else { return Ok(true) };
        let mut failed = None;
        reader.poll(STEP, &mut |batch| {
            if failed.is_none() {
                failed = on_batch(&batch).err();
            }
        })?;
        failed.map_or(Ok(()), Err)?;
        for target in &mut self.targets {
            let at = reader.position(&target.partition)?;
            if at > target.at {
                (target.at, self.last_progress) = (at, Instant::now());
            }
        }
        let Some(behind) = self.targets.iter().find(|target| target.at < target.end) else {
            self.reader = None;
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

    /// How far each partition is that had anything to read.
    pub(crate) fn targets(&self) -> &[Target] {
        &self.targets
    }
}
