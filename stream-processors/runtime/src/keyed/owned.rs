//! A partition of the input and the process that runs over it.

use super::outbox::Outbox;
use super::plan::Plan;
use super::written::Written;
use crate::Error;
use crate::drive::is_over;
use std::collections::BTreeSet;
use tidemark_core::process::{Input, Output, Process, Reject};
use tidemark_log::{GroupOffset, Member, Record, TopicPartition};
use tidemark_schemas::engine::SourceMark;

/// Longest pause before a tick is written again that came back too early: the log's clock is behind.
const EARLY_PAUSE_MS: i64 = 1_000;

/// See the module.
pub(super) struct Owned<P> {
    pub(super) partition: TopicPartition,
    pub(super) process: P,
    /// Highest append time of the input so far.
    pub(super) time: i64,
    /// Everything before this offset is folded.
    pub(super) next_offset: i64,
    /// The same at the last commit.
    committed: i64,
    /// What was committed with it, for a restore.
    pub(super) metadata: String,
    /// Entries that are other ones than on the changelog.
    changed: BTreeSet<Vec<u8>>,
    pub(super) written: Written,
    /// The timer that calls for a tick.
    tick_due: Option<i64>,
    /// No tick before this time.
    tick_not_before: i64,
    /// Since the last commit: records read, those that were dead-lettered, ticks written.
    records: i64,
    dead_lettered: i64,
    ticks: u64,
}

impl<P: Process> Owned<P> {
    /// With an empty process.
    pub(super) fn new(partition: TopicPartition, process: P) -> Self {
        Self {
            partition,
            process,
            time: 0,
            next_offset: 0,
            committed: 0,
            metadata: String::new(),
            changed: BTreeSet::new(),
            written: Written::default(),
            tick_due: None,
            tick_not_before: i64::MIN,
            records: 0,
            dead_lettered: 0,
            ticks: 0,
        }
    }

    /// Where it begins, after a restore.
    pub(super) fn begin_at(&mut self, offset: i64, time: i64) {
        (self.next_offset, self.committed, self.time) = (offset, offset, time);
    }

    /// Time goes on to a record: fires what is due by then.
    pub(super) fn advance(&mut self, record: &Record<'_>, out: &mut Output) {
        self.time = self.time.max(record.timestamp);
        self.next_offset = record.offset + 1;
        self.records += 1;
        // Whether one is still called for is asked again when there is nothing more to read.
        self.tick_due = None;
        self.process.tick(self.time, record.offset, out);
    }

    /// Takes the record in.
    pub(super) fn apply(
        &mut self,
        schema: usize,
        datum: &[u8],
        record: &Record<'_>,
        out: &mut Output,
    ) -> Result<(), Reject> {
        self.process.apply(&Input { schema, datum, now: self.time, offset: record.offset }, out)
    }

    /// The record was a tick, and time has come to it. If the timer is not due even so, the log's clock is behind the one that
    /// the tick was written by.
    pub(super) fn ticked(&mut self, now: i64) {
        let missing = self.process.due().map_or(0, |due| due.saturating_sub(self.time));
        self.tick_not_before = now.saturating_add(missing.clamp(0, EARLY_PAUSE_MS));
    }

    pub(super) fn dead_letter(&mut self) {
        self.dead_lettered += 1;
    }

    /// Keeps what came of a record.
    pub(super) fn keep(&mut self, plan: &Plan, out: &mut Output, outbox: &mut Outbox) -> Result<(), Error> {
        self.changed.append(&mut out.changed);
        out.emitted.drain(..).try_for_each(|emitted| outbox.emit(plan, &emitted))
    }

    /// Everything that was handed over is folded: goes past control markers, and finds out whether a tick is called for. None is
    /// while there is more to read: that brings time of its own.
    pub(super) fn look(&mut self, member: &dyn Member, now: i64) -> Result<bool, Error> {
        let position = member.position(&self.partition)?;
        self.next_offset = self.next_offset.max(position);
        let is_free = self.tick_due.is_none() && now >= self.tick_not_before;
        let is_due = is_free && self.process.due().is_some_and(|due| due <= now);
        Ok(is_due && member.end(&self.partition)?.is_some_and(|end| position >= end))
    }

    /// A tick is called for, and the log names this end of the partition. What comes before it may be a tick: the one that was
    /// written last and was not read yet, or one of a predecessor, behind an open transaction.
    pub(super) fn call(&mut self, end: i64) {
        self.tick_due = self.process.due().filter(|_| self.next_offset >= end);
    }

    /// Whether there is something that waits for a commit.
    pub(super) fn has_work(&self) -> bool {
        self.records > 0 || self.tick_due.is_some()
    }

    /// Whether control markers alone were passed since the last commit.
    pub(super) fn is_ahead(&self) -> bool {
        self.next_offset > self.committed
    }

    pub(super) fn changes(&self) -> usize {
        self.changed.len()
    }

    /// Adds to the commit what this partition has for it: entries as they are now, and the tick.
    pub(super) fn prepare(&mut self, plan: &Plan, outbox: &mut Outbox) -> Result<(), Error> {
        let (partition, mut datum) = (self.partition.partition, Vec::new());
        for key in std::mem::take(&mut self.changed) {
            datum.clear();
            let Some(schema) = self.process.entry(&key, &mut datum) else {
                // Made and gone since the last commit: nobody knows of it.
                if self.written.remove(&key) {
                    outbox.entry(partition, &key, None);
                }
                continue;
            };
            let Some(id) = plan.ids.entries.get(schema) else {
                let what = format!("an entry of it has schema {schema}, of {}", plan.ids.entries.len());
                return Err(Error::Process { process: plan.spec.name.clone(), what });
            };
            let value = outbox.entry(partition, &key, Some((*id, &datum)));
            self.written.set(&key, value);
        }
        if let Some(due) = self.tick_due.take() {
            outbox.tick(plan, partition, due);
            self.ticks += 1;
        }
        Ok(())
    }

    pub(super) fn offset(&self) -> GroupOffset {
        let metadata = self.written.metadata(self.time);
        GroupOffset { partition: self.partition.clone(), offset: self.next_offset, metadata }
    }

    /// The commit went through: what there is to count of it, and the ticks in it.
    pub(super) fn committed(&mut self) -> (SourceMark, u64) {
        self.committed = self.next_offset;
        let mark = SourceMark {
            topic: self.partition.topic.to_string(),
            partition: self.partition.partition as i32,
            next_offset: self.next_offset,
            watermark: None,
            idle_at: None,
            records: std::mem::take(&mut self.records),
            late: 0,
            held: 0,
            filtered: 0,
            dead_lettered: std::mem::take(&mut self.dead_lettered),
            duplicates: 0,
        };
        (mark, std::mem::take(&mut self.ticks))
    }
}

/// Longest time that an offset stays before control markers that were passed, milliseconds: for the lag, and so that retention
/// never overtakes it.
const MARKERS_MS: i64 = 1_000;

/// Whether it is time to commit an offset for control markers alone.
pub(super) fn is_markers_time(now: i64, committed_at: i64) -> bool {
    is_over(now, committed_at, MARKERS_MS)
}
