//! The merge stage: reads partials, keeps window state with its changelog, writes rows, ledger and progress to the view
//! topic. Within a commit rows come first, then the ledger that speaks of them, then the progress that closes windows.

use crate::drive::{Due, Operator};
use crate::metrics::Metrics;
use crate::plan::FIRST_EPOCH;
use crate::restore::Restore;
use crate::trace::CommitTrace;
use crate::{Error, Plan};
use std::sync::Arc;
use tidemark_core::merge::{MergeFold, SealedRow};
use tidemark_core::{Accumulator, Job, ViewRow};
use tidemark_log::{At, Batch, GroupOffset, Log, Member, Outgoing, Record, Sink, TopicPartition};
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::catalog::{self, Schema};
use tidemark_schemas::engine::{Marker, Partial, Progress, RowState, SealedOut, SourceProgress};
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire;

static INPUT: &[Schema] = &[catalog::PARTIAL, catalog::MARKER];

/// A merge partition that this member owns.
pub(crate) struct Owned<A> {
    pub(crate) partition: TopicPartition,
    pub(crate) fold: MergeFold<A>,
    next_offset: i64,
    moved: bool,
    sealed_out: Vec<Vec<u8>>,
}

/// The merge stage of a job.
pub struct MergeStage<J: Job> {
    job: Arc<J>,
    plan: Arc<Plan>,
    log: Arc<dyn Log>,
    input: wire::Decoder,
    restore: Restore,
    metrics: Arc<Metrics>,
    owned: Vec<Owned<J::Accumulator>>,
    trace: CommitTrace,
    failed: Option<Error>,
    scratch: Vec<u8>,
}

impl<J: Job> MergeStage<J> {
    /// For a job.
    pub fn new(
        job: Arc<J>,
        plan: Arc<Plan>,
        log: Arc<dyn Log>,
        registry: Arc<dyn Registry>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            job,
            plan,
            log,
            input: wire::Decoder::new(Arc::clone(&registry), INPUT),
            restore: Restore::new(registry),
            metrics,
            owned: Vec::new(),
            trace: CommitTrace::default(),
            failed: None,
            scratch: Vec::new(),
        }
    }

    /// Moves on to the start of the log where retention has deleted partials beyond the committed offset, if that lost
    /// nothing: the state has then folded every source offset that the partial stage ever committed, and what is gone were
    /// control markers. If it has not, the start fails on the missing offset.
    fn skip_what_is_gone(&mut self) -> Result<(), Error> {
        let partitions: Vec<TopicPartition> = self.owned.iter().map(|owned| owned.partition.clone()).collect();
        let starts = self.log.offsets(&partitions, At::Start)?;
        for (owned, start) in self.owned.iter_mut().zip(starts) {
            if owned.next_offset < start && all_folded(self.log.as_ref(), &self.plan, &owned.fold)? {
                tracing::info!(
                    partition = owned.partition.partition,
                    from = owned.next_offset,
                    to = start,
                    "skipped what retention deleted"
                );
                owned.next_offset = start;
            }
        }
        Ok(())
    }
}

/// Whether a fold's state covers all that the partial stage has committed.
fn all_folded<A: Accumulator>(log: &dyn Log, plan: &Plan, fold: &MergeFold<A>) -> Result<bool, Error> {
    let sources = fold.progress().sources;
    let partition = |source: &SourceProgress| TopicPartition::new(source.topic.as_str(), source.partition as u32);
    let partitions: Vec<TopicPartition> = sources.iter().map(partition).collect();
    let committed = log.committed(&plan.group("partial"), &partitions)?;
    let covered =
        |(source, at): (&SourceProgress, Option<GroupOffset>)| at.is_some_and(|at| at.offset == source.next_offset);
    Ok(!sources.is_empty() && sources.iter().zip(committed).all(covered))
}

pub(crate) fn unreadable(batch: &Batch<'_>, record: &Record<'_>, reason: wire::Error) -> Error {
    Error::Unreadable { topic: batch.topic.to_owned(), partition: batch.partition, offset: record.offset, reason }
}

fn fold_record<A: Accumulator>(
    owned: &mut Owned<A>,
    plan: &Plan,
    decoder: &mut wire::Decoder,
    scratch: &mut Vec<u8>,
    trace: &mut CommitTrace,
    batch: &Batch<'_>,
    record: &Record<'_>,
) -> Result<(), Error> {
    let wrong = |reason: wire::Error| unreadable(batch, record, reason);
    let (schema, datum) = decoder.datum(record.value.unwrap_or_default(), scratch).map_err(wrong)?;
    let mut reader = Reader::new(datum);
    if schema == 0 {
        let partial = Partial::get(&mut reader).map_err(|error| wrong(error.into()))?;
        let letters = &mut owned.sealed_out;
        owned.fold.fold_partial(record.offset, record.timestamp, &partial, |row| {
            letters.push(sealed_letter(plan, &partial, &row))
        })?;
    } else {
        let marker = Marker::get(&mut reader).map_err(|error| wrong(error.into()))?;
        owned.fold.fold_marker(record.offset, record.timestamp, &marker)?;
        trace.see(&owned.partition, record);
    }
    owned.next_offset = record.offset + 1;
    owned.moved = true;
    Ok(())
}

fn sealed_letter(plan: &Plan, partial: &Partial<'_>, row: &SealedRow<'_>) -> Vec<u8> {
    let letter = SealedOut {
        topic: partial.topic,
        partition: partial.partition,
        first_offset: row.first_offset,
        last_offset: row.last_offset,
        window_start: row.window_start,
        window_end: row.window_end,
        key: row.key,
        records: row.records,
        accumulator: row.accumulator,
    };
    let mut value = Vec::new();
    wire::put(plan.ids.sealed_out, &letter, &mut value);
    value
}

/// Keys of the changelog and the view topic: `R` window start, key; `L` window start; `P`. Big-endian, so that a dump is in
/// order.
fn row_key(window_start: i64, key: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.push(b'R');
    out.extend_from_slice(&window_start.to_be_bytes());
    out.extend_from_slice(key);
}

fn ledger_key(window_start: i64) -> [u8; 9] {
    let mut key = [b'L'; 9];
    key[1..].copy_from_slice(&window_start.to_be_bytes());
    key
}

/// Writes what changed in one merge partition.
struct Output<'o, J: Job> {
    job: &'o J,
    plan: &'o Plan,
    partition: u32,
    sink: &'o mut dyn Sink,
    /// Header of the record that ends the commit: who reads that has read all of it.
    trace: Option<(&'o str, &'o [u8])>,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl<J: Job> Output<'_, J> {
    fn send(&mut self, topic: &str, key: &[u8], value: Option<&[u8]>) -> Result<(), tidemark_log::Error> {
        self.sink.send(Outgoing { topic, partition: self.partition, key: Some(key), value, headers: &[] })
    }

    fn all(&mut self, owned: &Owned<J::Accumulator>) -> Result<(), tidemark_log::Error> {
        let plan = self.plan;
        self.rows(&owned.fold)?;
        for ledger in owned.fold.touched_ledgers() {
            self.send_both(&ledger_key(ledger.window_start), plan.ids.ledger, ledger)?;
        }
        if let Some(progress) = owned.fold.touched_progress() {
            self.progress(&progress)?;
        }
        for letter in &owned.sealed_out {
            self.sink.send(Outgoing {
                topic: &plan.late,
                partition: self.partition,
                value: Some(letter),
                ..Outgoing::default()
            })?;
        }
        Ok(())
    }

    fn rows(&mut self, fold: &MergeFold<J::Accumulator>) -> Result<(), tidemark_log::Error> {
        let plan = self.plan;
        let (mut key, mut value, mut accumulator) = (Vec::new(), Vec::new(), Vec::new());
        for row in fold.touched_rows() {
            row_key(row.window_start, row.key, &mut key);
            accumulator.clear();
            row.cell.sum.put(&mut accumulator);
            let (records, revision) = (row.cell.records, row.cell.revision);
            let state =
                RowState { window_start: row.window_start, key: row.key, records, accumulator: &accumulator, revision };
            value.clear();
            wire::put(plan.ids.row_state, &state, &mut value);
            self.send(&plan.changelog, &key, Some(&value))?;
            value.clear();
            wire::put_header(plan.ids.row, &mut value);
            let view_row = ViewRow {
                key: row.key,
                window_start: row.window_start,
                merge_partition: self.partition,
                opened_at: row.opened_at,
                records,
                accumulator: &row.cell.sum,
                epoch: FIRST_EPOCH,
                revision,
            };
            self.job.put_row(&view_row, &mut value);
            self.send(&plan.view, &key, Some(&value))?;
        }
        for (window_start, row) in fold.removed_rows() {
            row_key(window_start, row, &mut key);
            self.send(&plan.changelog, &key, None)?;
        }
        (self.key, self.value) = (key, value);
        Ok(())
    }

    fn progress(&mut self, progress: &Progress) -> Result<(), tidemark_log::Error> {
        let (plan, trace) = (self.plan, self.trace);
        let mut value = Vec::new();
        wire::put(plan.ids.progress, progress, &mut value);
        let (key, value) = (Some(b"P".as_slice()), Some(value.as_slice()));
        self.sink.send(Outgoing { topic: &plan.changelog, partition: self.partition, key, value, headers: &[] })?;
        self.sink.send(Outgoing { topic: &plan.view, partition: self.partition, key, value, headers: trace.as_slice() })
    }

    fn send_both<'a>(&mut self, key: &[u8], id: u32, record: &impl Avro<'a>) -> Result<(), tidemark_log::Error> {
        let mut value = std::mem::take(&mut self.value);
        value.clear();
        wire::put(id, record, &mut value);
        let plan = self.plan;
        self.send(&plan.changelog, key, Some(&value))?;
        self.send(&plan.view, key, Some(&value))?;
        self.value = value;
        Ok(())
    }
}

impl<J: Job> Operator for MergeStage<J> {
    fn stage(&self) -> &'static str {
        "merge"
    }

    fn assign(&mut self, owned: &[TopicPartition], _now: i64) -> Result<(), Error> {
        self.discard();
        let committed = self.log.committed(&self.plan.group("merge"), owned)?;
        for (partition, committed) in owned.iter().zip(committed) {
            let next_offset = committed.map_or(0, |at| at.offset);
            let fold = MergeFold::new(&self.plan.spec, partition.partition, FIRST_EPOCH);
            self.owned.push(Owned {
                partition: partition.clone(),
                fold,
                next_offset,
                moved: false,
                sealed_out: Vec::new(),
            });
        }
        // After the stable fetch above: no transaction of a predecessor is open any more.
        let partitions = owned.iter().map(|owned| owned.partition);
        self.restore.begin(self.log.as_ref(), &self.plan.changelog, partitions)
    }

    fn restore(&mut self) -> Result<Option<Vec<(TopicPartition, i64)>>, Error> {
        if !self.restore.step(&mut self.owned)? {
            return Ok(None);
        }
        self.skip_what_is_gone()?;
        for owned in &mut self.owned {
            owned.fold.restored();
            tracing::info!(partition = owned.partition.partition, rows = owned.fold.rows(), "state restored");
        }
        Ok(Some(self.owned.iter().map(|owned| (owned.partition.clone(), owned.next_offset)).collect()))
    }

    fn fold(&mut self, batch: Batch<'_>, _now: i64) {
        let Some(owned) = self.owned.iter_mut().find(|owned| owned.partition.partition == batch.partition) else {
            return;
        };
        for record in batch.records {
            if self.failed.is_some() {
                return;
            }
            let folded =
                fold_record(owned, &self.plan, &mut self.input, &mut self.scratch, &mut self.trace, &batch, record);
            self.failed = folded.err();
        }
    }

    fn trace(&mut self) -> &mut CommitTrace {
        &mut self.trace
    }

    fn check(&mut self) -> Result<(), Error> {
        self.failed.take().map_or(Ok(()), Err)
    }

    fn tick(&mut self, _member: &dyn Member, _now: i64) -> Result<(), Error> {
        Ok(())
    }

    fn due(&self) -> Due {
        if self.owned.iter().any(|owned| owned.moved) { Due::AtInterval } else { Due::Never }
    }

    fn prepare(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn produce(&mut self, _now: i64, sink: &mut dyn Sink) -> Result<(), tidemark_log::Error> {
        for owned in self.owned.iter().filter(|owned| owned.moved) {
            let partition = owned.partition.partition;
            let (job, plan) = (self.job.as_ref(), self.plan.as_ref());
            let trace = self.trace.header();
            Output { job, plan, partition, sink, trace, key: Vec::new(), value: Vec::new() }.all(owned)?;
        }
        Ok(())
    }

    fn offsets(&self, _member: &dyn Member) -> Result<Vec<GroupOffset>, Error> {
        let offset = |owned: &Owned<J::Accumulator>| GroupOffset {
            partition: owned.partition.clone(),
            offset: owned.next_offset,
            metadata: String::new(),
        };
        Ok(self.owned.iter().map(offset).collect())
    }

    fn committed(&mut self, now: i64) {
        for owned in &mut self.owned {
            owned.moved = false;
            owned.sealed_out.clear();
            owned.fold.committed();
            self.metrics.merge(
                owned.partition.partition,
                owned.fold.rows(),
                owned.fold.bytes(),
                owned.fold.watermark(),
                now,
            );
        }
    }

    fn discard(&mut self) {
        self.restore.end();
        self.owned.clear();
        self.trace.clear();
        self.failed = None;
    }
}
