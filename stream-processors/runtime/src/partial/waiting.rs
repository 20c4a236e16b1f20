//! Records of the stream that wait until the tables that they are joined with are read as far as they were appended.
//!
//! They are folded in the order in which they were read; while they are many, nothing more is read. Offsets are committed as far
//! as was folded, so that a restart reads again what waited.

use super::{PartialStage, Source};
use crate::Error;
use crate::operator::Backlog;
use crate::tables::Tables;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemark_core::Job;
use tidemark_core::versions::Need;
use tidemark_log::{Batch, Headers, Record, TopicPartition};

/// Bytes that may wait before reading rests; it goes on when all are folded.
const BYTES_MAX: usize = 16 << 20;
/// Records that may.
const RECORDS_MAX: usize = 100_000;
/// Records that are folded before the member is polled again.
const STEP_RECORDS: usize = 20_000;
/// How long records wait before the stage says that something is wrong. Tables are behind by milliseconds as a rule.
const PATIENCE: Duration = Duration::from_secs(60);

/// A record, kept. Its headers are not: they have been looked at.
pub(super) struct Kept {
    pub(super) source: usize,
    offset: i64,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

impl Kept {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.key.as_ref().map_or(0, Vec::len) + self.value.as_ref().map_or(0, Vec::len)
    }

    pub(super) fn record(&self) -> Record<'_> {
        let (offset, timestamp, headers) = (self.offset, self.timestamp, Headers::default());
        Record { offset, timestamp, key: self.key.as_deref(), value: self.value.as_deref(), headers }
    }
}

/// The records of a stage that wait.
pub(super) struct Waiting {
    tables: Arc<Tables>,
    stage: u64,
    kept: VecDeque<Kept>,
    /// How many of each source.
    counts: Vec<usize>,
    bytes: usize,
    is_full: bool,
    /// Something was folded, or there was nothing to fold.
    progress: Instant,
}

impl Waiting {
    /// For the tables; nobody waits for none.
    pub(super) fn new(tables: Arc<Tables>) -> Self {
        let stage = tables.stage();
        let (kept, counts) = (VecDeque::new(), Vec::new());
        Self { tables, stage, kept, counts, bytes: 0, is_full: false, progress: Instant::now() }
    }

    pub(super) fn tables(&self) -> Option<&Tables> {
        (!self.tables.is_empty()).then_some(self.tables.as_ref())
    }

    pub(super) fn stage(&self) -> u64 {
        self.stage
    }

    pub(super) fn backlog(&self) -> Backlog {
        match (self.kept.is_empty(), self.is_full) {
            (true, _) => Backlog::None,
            (false, false) => Backlog::Some,
            (false, true) => Backlog::Full,
        }
    }

    /// Whether records of a source wait.
    pub(super) fn has(&self, source: usize) -> bool {
        self.counts.get(source).is_some_and(|count| *count > 0)
    }

    pub(super) fn clear(&mut self) {
        (self.kept, self.counts) = (VecDeque::new(), Vec::new());
        (self.bytes, self.is_full) = (0, false);
        self.tables.leave(self.stage);
    }

    /// Whether a batch can be folded as it comes.
    pub(super) fn is_ready(&self, batch: &Batch<'_>) -> bool {
        let before = self.tables.read_before();
        self.kept.is_empty() && (before == i64::MAX || batch.records.iter().all(|record| record.timestamp < before))
    }

    /// Keeps a batch.
    pub(super) fn keep(&mut self, source: usize, batch: &Batch<'_>) {
        if self.kept.is_empty() {
            self.progress = Instant::now();
        }
        if self.counts.len() <= source {
            self.counts.resize(source + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(source) {
            *count += batch.records.len();
        }
        for record in batch.records {
            let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
            let kept = Kept { source, offset: record.offset, timestamp: record.timestamp, key, value };
            self.bytes += kept.bytes();
            self.tables.want(record.timestamp);
            self.kept.push_back(kept);
        }
        self.is_full |= self.bytes >= BYTES_MAX || self.kept.len() >= RECORDS_MAX;
    }

    /// The records that can be folded now, a step's worth of them.
    pub(super) fn take(&mut self) -> Vec<Kept> {
        let before = self.tables.read_before();
        let ready = self.kept.iter().take(STEP_RECORDS).take_while(|kept| kept.timestamp < before).count();
        let taken: Vec<Kept> = self.kept.drain(..ready).collect();
        if ready > 0 || self.kept.is_empty() {
            self.progress = Instant::now();
        }
        for kept in &taken {
            self.bytes -= kept.bytes();
            if let Some(count) = self.counts.get_mut(kept.source) {
                *count -= 1;
            }
        }
        self.is_full &= !self.kept.is_empty();
        taken
    }

    /// Whether the tables have been read at all.
    ///
    /// # Errors
    /// They never will be.
    pub(super) fn is_begun(&self) -> Result<bool, Error> {
        match self.tables.failed().filter(|error| !error.is_retriable()) {
            Some(error) => Err(error),
            None => Ok(self.tables.read_before() > i64::MIN),
        }
    }

    /// # Errors
    /// The tables are not read on, and records have waited for long; or they never will be.
    fn check(&self) -> Result<(), Error> {
        let Some(first) = self.kept.front() else { return Ok(()) };
        let patient = self.progress.elapsed() < PATIENCE;
        match self.tables.failed() {
            Some(error) if !error.is_retriable() || !patient => return Err(error),
            _ if patient => return Ok(()),
            _ => {}
        }
        let reason = format!(
            "records of the stream that were appended at {} have waited for {} s: are the clocks of this machine and of the \
             brokers apart?",
            first.timestamp,
            PATIENCE.as_secs()
        );
        Err(Error::Table { topic: "of the job's joins".to_owned(), reason })
    }
}

impl<J: Job> PartialStage<J> {
    /// Folds what has waited for the tables, as far as they are read.
    pub(super) fn go_on(&mut self) -> Result<(), Error> {
        for kept in self.waiting.take() {
            let Some(TopicPartition { topic, partition }) = self.sources.get(kept.source).map(|s| s.partition.clone())
            else {
                continue;
            };
            if self.failed.is_none() {
                self.fold_record(kept.source, &topic, partition, &kept.record());
            }
        }
        self.waiting.check()
    }

    /// Tells the tables what records will ask for from now on: none that is later than the job amends for, as a rule.
    pub(super) fn tell_need(&self) {
        let Some(tables) = self.waiting.tables() else { return };
        let spec = &self.plan.spec;
        let span = spec.window.size_ms().saturating_add(spec.grace_ms).saturating_add(spec.amend_for_ms);
        let need = |source: &Source<J::Accumulator>| {
            let event_time = source.fold.position().watermark?.saturating_sub(span);
            Some(Need { event_time, appended_at: source.last_append? })
        };
        tables.need(self.waiting.stage(), self.sources.iter().filter_map(need).reduce(Need::and));
    }
}
