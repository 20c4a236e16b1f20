//! The view writer: reads a view topic and puts rows, ledger and progress into a view store.
//!
//! At least once, idempotent by revision: offsets are committed once everything up to them is acknowledged. A store that is
//! down pauses reading; nothing is lost and memory stays bounded.

use crate::drive::{Due, Operator};
use crate::metrics::Metrics;
use crate::trace::CommitTrace;
use crate::{Error, Plan};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tidemark_core::merge::earliest;
use tidemark_log::{At, Batch, GroupOffset, Log, Member, Record, Sink, TopicPartition};
use tidemark_schemas::avro::{self, Avro, Reader};
use tidemark_schemas::catalog::Schema;
use tidemark_schemas::engine::{Ledger, Progress};
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire;
use tidemark_views::{Row, ViewSpec, ViewStore};
use tokio::runtime::Handle;

/// Changed rows in memory that bring the write forward.
const ROWS_MAX: usize = 20_000;

/// How the rows of a job's view topic are read.
#[derive(Clone, Copy)]
pub struct ViewSource {
    /// The row's schema, then Ledger and Progress.
    pub schemas: &'static [Schema],
    /// A row from its datum.
    pub row: fn(&[u8]) -> Result<Row, avro::Error>,
}

/// What one partition of the view topic brought since the last write: the last of each row, ledger entry and progress.
#[derive(Default)]
struct Pending {
    next_offset: i64,
    rows: HashMap<Vec<u8>, Row>,
    ledgers: BTreeMap<i64, Ledger>,
    progress: Option<Progress>,
    oldest_append: Option<i64>,
    moved: bool,
}

/// The view writer of a job.
pub struct WriterStage {
    plan: Arc<Plan>,
    view: ViewSpec,
    source: ViewSource,
    log: Arc<dyn Log>,
    store: Arc<dyn ViewStore>,
    handle: Handle,
    decoder: wire::Decoder,
    metrics: Arc<Metrics>,
    owned: Vec<(TopicPartition, Pending)>,
    trace: CommitTrace,
    failed: Option<Error>,
    scratch: Vec<u8>,
}

impl WriterStage {
    /// Writes `view` into `store`; `handle` runs the store's futures.
    #[allow(clippy::too_many_arguments, reason = "each is one of the seams the stage stands between")]
    pub fn new(
        plan: Arc<Plan>,
        view: ViewSpec,
        source: ViewSource,
        log: Arc<dyn Log>,
        registry: Arc<dyn Registry>,
        store: Arc<dyn ViewStore>,
        handle: Handle,
        metrics: Arc<Metrics>,
    ) -> Self {
        let decoder = wire::Decoder::new(registry, source.schemas);
        let (owned, trace) = (Vec::new(), CommitTrace::default());
        Self {
            plan,
            view,
            source,
            log,
            store,
            handle,
            decoder,
            metrics,
            owned,
            trace,
            failed: None,
            scratch: Vec::new(),
        }
    }

    fn fold_record(&mut self, at: usize, record: &Record<'_>) -> Result<(), wire::Error> {
        let Some((partition, pending)) = self.owned.get_mut(at) else { return Ok(()) };
        pending.next_offset = record.offset + 1;
        pending.moved = true;
        let Some(value) = record.value else { return Ok(()) };
        let (schema, datum) = self.decoder.datum(value, &mut self.scratch)?;
        match schema {
            0 => {
                let row = (self.source.row)(datum)?;
                pending.rows.insert(record.key.unwrap_or_default().to_vec(), row);
            }
            1 => {
                let ledger = Ledger::get(&mut Reader::new(datum))?;
                pending.ledgers.insert(ledger.window_start, ledger);
            }
            _ => {
                let progress = Progress::get(&mut Reader::new(datum))?;
                pending.oldest_append = earliest(pending.oldest_append, progress.oldest_append);
                pending.progress = Some(progress);
                self.trace.see(partition, record);
            }
        }
        Ok(())
    }

    /// Rows first, then the ledger that speaks of them, then the progress that closes windows.
    fn write(&self, pending: &Pending) -> Result<(), Error> {
        let rows: Vec<Row> = pending.rows.values().cloned().collect();
        let ledgers: Vec<Ledger> = pending.ledgers.values().cloned().collect();
        self.handle.block_on(async {
            if !rows.is_empty() {
                self.store.put_rows(&self.view, &rows).await?;
            }
            if !ledgers.is_empty() {
                self.store.put_ledger(&self.view, &ledgers).await?;
            }
            match &pending.progress {
                Some(progress) => self.store.put_progress(&self.view, progress).await,
                None => Ok(()),
            }
        })?;
        Ok(())
    }
}

impl Operator for WriterStage {
    fn stage(&self) -> &'static str {
        "view-writer"
    }

    fn assign(&mut self, owned: &[TopicPartition], _now: i64) -> Result<(), Error> {
        self.discard();
        self.handle.block_on(self.store.create(&self.view))?;
        let committed = self.log.committed(&self.plan.group("view-writer"), owned)?;
        let starts = self.log.offsets(owned, At::Start)?;
        for ((partition, committed), start) in owned.iter().zip(committed).zip(starts) {
            // The topic is compacted and cleaned by age: what is gone was replaced by a later revision or has expired.
            let next_offset = committed.map_or(start, |at| at.offset.max(start));
            self.owned.push((partition.clone(), Pending { next_offset, ..Pending::default() }));
        }
        Ok(())
    }

    fn restore(&mut self) -> Result<Option<Vec<(TopicPartition, i64)>>, Error> {
        Ok(Some(self.owned.iter().map(|(partition, pending)| (partition.clone(), pending.next_offset)).collect()))
    }

    fn fold(&mut self, batch: Batch<'_>, _now: i64) {
        let Some(at) = self.owned.iter().position(|(owned, _)| owned.partition == batch.partition) else { return };
        for record in batch.records {
            if self.failed.is_some() {
                return;
            }
            if let Err(reason) = self.fold_record(at, record) {
                let (topic, partition) = (batch.topic.to_owned(), batch.partition);
                self.failed = Some(Error::Unreadable { topic, partition, offset: record.offset, reason });
            }
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
        let rows: usize = self.owned.iter().map(|(_, pending)| pending.rows.len()).sum();
        if rows >= ROWS_MAX {
            Due::Now
        } else if self.owned.iter().any(|(_, pending)| pending.moved) {
            Due::AtInterval
        } else {
            Due::Never
        }
    }

    fn prepare(&mut self) -> Result<(), Error> {
        self.owned.iter().filter(|(_, pending)| pending.moved).try_for_each(|(_, pending)| self.write(pending))
    }

    fn produce(&mut self, _now: i64, _sink: &mut dyn Sink) -> Result<(), tidemark_log::Error> {
        Ok(())
    }

    fn offsets(&self, _member: &dyn Member) -> Result<Vec<GroupOffset>, Error> {
        let offset = |(partition, pending): &(TopicPartition, Pending)| GroupOffset {
            partition: partition.clone(),
            offset: pending.next_offset,
            metadata: String::new(),
        };
        Ok(self.owned.iter().map(offset).collect())
    }

    fn committed(&mut self, now: i64) {
        for (_, pending) in &mut self.owned {
            let rows = pending.rows.len();
            self.metrics.written(rows, pending.oldest_append, now);
            *pending = Pending { next_offset: pending.next_offset, ..Pending::default() };
        }
    }

    fn discard(&mut self) {
        self.owned.clear();
        self.trace.clear();
        self.failed = None;
    }
}
