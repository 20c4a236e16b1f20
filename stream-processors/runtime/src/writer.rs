//! The view writer: reads a view topic and puts rows, ledger and progress into a view store.
//!
//! At least once, idempotent by revision: offsets are committed once everything up to them is acknowledged. What speaks of
//! other entries, the ledger of its rows and the progress of ledgers, waits until all of them have been read: compaction may
//! have taken away the entry that came before it, and left a later one of the same key that is yet to come. Until then the
//! offset stays before it, and its metadata says how far the rows have come, so that no owner writes them again. A write is done in
//! slices (`slices.rs`) that are waited for a moment at a time: a store that is slow, hangs or is down never keeps the
//! member from its group. Reading goes on while a write is under way, up to a bound; nothing is lost and memory stays bounded.
//!
//! A topic of rows alone ([`WriterStage::of_rows`]) has nothing that waits: its records need not be keyed as its rows are, and
//! the offset follows what is acknowledged, past control markers too.

use crate::drive::{Due, Operator, Prepared};
use crate::keyed;
use crate::metrics::Metrics;
use crate::slices::{Slice, Slices};
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
use tidemark_views::{Row, RowPartition, Value, ViewSpec, ViewStore};
use tokio::runtime::Handle;

/// Changed rows in memory that begin a write; as many again are taken in while one is under way.
const ROWS_MAX: usize = 20_000;

/// Reads a row from its datum.
pub type ReadRow = dyn Fn(&[u8]) -> Result<Row, avro::Error> + Send + Sync;

/// How the rows of a job's view topic are read.
#[derive(Clone)]
pub struct ViewSource {
    /// The row's schema, then Ledger and Progress.
    pub schemas: Arc<[Schema]>,
    /// A row from its datum.
    pub row: Arc<ReadRow>,
}

/// What one partition of the view topic brought since the last write: the last of each row, ledger entry and progress.
#[derive(Default)]
struct Pending {
    next_offset: i64,
    /// By the keys of their records.
    rows: HashMap<Vec<u8>, Row>,
    /// By their own keys: of a topic of rows alone, where records of many rows may have one key.
    keyed: BTreeMap<(RowPartition, Vec<Value>), Row>,
    claims: Claims,
    oldest_append: Option<i64>,
    moved: bool,
}

/// Entries that speak of others: they are written once those others are, and read again by the next owner until then.
#[derive(Default)]
struct Claims {
    /// Offset of the first of them.
    first_offset: Option<i64>,
    ledgers: BTreeMap<i64, Ledger>,
    progress: Option<Progress>,
}

impl Claims {
    fn is_empty(&self) -> bool {
        self.first_offset.is_none()
    }

    fn see(&mut self, offset: i64) {
        self.first_offset.get_or_insert(offset);
    }

    /// Takes later ones in.
    fn add(&mut self, later: Self) {
        self.first_offset = self.first_offset.or(later.first_offset);
        self.ledgers.extend(later.ledgers);
        self.progress = later.progress.or(self.progress.take());
    }
}

impl Pending {
    fn from(next_offset: i64) -> Self {
        Self { next_offset, ..Self::default() }
    }

    fn count(&self) -> usize {
        self.rows.len() + self.keyed.len()
    }

    /// Takes in a row of a topic of rows alone.
    fn add(&mut self, row: Row, appended_at: i64) {
        let key = (row.partition.clone(), row.clustering.clone());
        self.oldest_append = earliest(self.oldest_append, Some(appended_at));
        let newer = self.keyed.get(&key).is_none_or(|known| known.revision <= row.revision);
        if newer {
            self.keyed.insert(key, row);
        }
    }
}

/// A partition of the view topic that this member owns.
struct Owned {
    partition: TopicPartition,
    pending: Pending,
    /// Claims that were read, and the end of the partition then: what they speak of comes before it.
    waiting: Option<(Claims, i64)>,
    /// Claims that may be written with the next rows.
    ready: Claims,
    /// Everything before this offset is in the store.
    acknowledged: i64,
    /// The rows before this offset are, too.
    rows_acknowledged: i64,
}

impl Owned {
    fn from(partition: TopicPartition, next_offset: i64) -> Self {
        let (pending, acknowledged) = (Pending::from(next_offset), next_offset);
        let (ready, rows_acknowledged) = (Claims::default(), acknowledged);
        Self { partition, pending, waiting: None, ready, acknowledged, rows_acknowledged }
    }

    /// Lets claims go whose others have been read by now.
    fn settle(&mut self, member: &dyn Member) -> Result<(), Error> {
        loop {
            let read = &mut self.pending.claims;
            if self.waiting.is_none() && !read.is_empty() {
                let Some(end) = member.end(&self.partition)? else { return Ok(()) };
                self.waiting = Some((std::mem::take(read), end));
            }
            let Some((_, end)) = &self.waiting else { return Ok(()) };
            if member.position(&self.partition)? < *end {
                return Ok(());
            }
            self.ready.add(self.waiting.take().map(|(claims, _)| claims).unwrap_or_default());
        }
    }

    /// Everything that was handed over is folded: what the position is ahead by are control markers.
    fn skip_markers(&mut self, member: &dyn Member) -> Result<(), Error> {
        let position = member.position(&self.partition)?;
        if position > self.pending.next_offset {
            (self.pending.next_offset, self.pending.moved) = (position, true);
        }
        Ok(())
    }

    /// Offset of the first claim that cannot be written yet.
    fn first_waiting(&self) -> Option<i64> {
        let waiting = self.waiting.as_ref().and_then(|(claims, _)| claims.first_offset);
        waiting.or(self.pending.claims.first_offset)
    }

    fn is_due(&self) -> bool {
        self.pending.moved || !self.ready.is_empty()
    }
}

/// What the slices before it have written, once they are acknowledged.
#[derive(Debug, Clone)]
struct Written {
    partition: TopicPartition,
    next_offset: i64,
    rows_next_offset: i64,
    rows: usize,
    oldest_append: Option<i64>,
}

/// The view writer of a job, or of a topic of rows alone.
pub struct WriterStage {
    group: String,
    /// The topic has neither ledgers nor progress.
    rows_alone: bool,
    source: ViewSource,
    log: Arc<dyn Log>,
    slices: Slices<Written>,
    /// The view's tables have been made.
    created: bool,
    decoder: wire::Decoder,
    metrics: Arc<Metrics>,
    /// What was assigned and has no offsets yet.
    assigned: Vec<TopicPartition>,
    assigned_at: i64,
    owned: Vec<Owned>,
    written: Vec<Written>,
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
        let decoder = wire::Decoder::new(registry, Arc::clone(&source.schemas));
        Self {
            group: plan.group("view-writer"),
            rows_alone: false,
            source,
            log,
            slices: Slices::new(store, view, handle),
            created: false,
            decoder,
            metrics,
            assigned: Vec::new(),
            assigned_at: 0,
            owned: Vec::new(),
            written: Vec::new(),
            trace: CommitTrace::default(),
            failed: None,
            scratch: Vec::new(),
        }
    }

    /// Writes the rows of a topic that has nothing else; `handle` runs the store's futures.
    pub fn of_rows(view: &keyed::View, store: &Arc<dyn ViewStore>, handle: &Handle, parts: &keyed::Parts) -> Self {
        let schemas: Arc<[Schema]> = Arc::new([view.schema.clone()]);
        let source = ViewSource { schemas: Arc::clone(&schemas), row: Arc::clone(&view.row) };
        Self {
            group: view.group(),
            rows_alone: true,
            source,
            log: Arc::clone(&parts.log),
            slices: Slices::new(Arc::clone(store), view.table.clone(), handle.clone()),
            created: false,
            decoder: wire::Decoder::new(Arc::clone(&parts.registry), schemas),
            metrics: Arc::clone(&parts.metrics),
            assigned: Vec::new(),
            assigned_at: 0,
            owned: Vec::new(),
            written: Vec::new(),
            trace: CommitTrace::default(),
            failed: None,
            scratch: Vec::new(),
        }
    }

    fn fold_record(&mut self, at: usize, record: &Record<'_>) -> Result<(), wire::Error> {
        let Some(Owned { partition, pending, rows_acknowledged, .. }) = self.owned.get_mut(at) else { return Ok(()) };
        pending.next_offset = record.offset + 1;
        pending.moved = true;
        let claims = &mut pending.claims;
        let Some(value) = record.value else { return Ok(()) };
        let (schema, datum) = self.decoder.datum(value, &mut self.scratch)?;
        match schema {
            0 if record.offset < *rows_acknowledged => {}
            0 if self.rows_alone => {
                pending.add((self.source.row)(datum)?, record.timestamp);
                self.trace.see(partition, record);
            }
            0 => {
                let row = (self.source.row)(datum)?;
                pending.rows.insert(record.key.unwrap_or_default().to_vec(), row);
            }
            1 => {
                let ledger = Ledger::get(&mut Reader::new(datum))?;
                claims.see(record.offset);
                claims.ledgers.insert(ledger.window_start, ledger);
            }
            _ => {
                let progress = Progress::get(&mut Reader::new(datum))?;
                pending.oldest_append = earliest(pending.oldest_append, progress.oldest_append);
                claims.see(record.offset);
                claims.progress = Some(progress);
                self.trace.see(partition, record);
            }
        }
        Ok(())
    }

    /// Hands over what is folded: of each partition rows first, then the ledger that speaks of them, then the progress that
    /// closes windows.
    fn begin_write(&mut self) {
        for owned in self.owned.iter_mut().filter(|owned| owned.is_due()) {
            let next_offset = owned.pending.next_offset;
            let claims = std::mem::take(&mut owned.pending.claims);
            let pending = std::mem::replace(&mut owned.pending, Pending { claims, ..Pending::from(next_offset) });
            let ready = std::mem::take(&mut owned.ready);
            let written = Written {
                partition: owned.partition.clone(),
                next_offset: owned.first_waiting().unwrap_or(next_offset),
                rows_next_offset: next_offset.max(owned.rows_acknowledged),
                rows: pending.count(),
                oldest_append: pending.oldest_append,
            };
            self.slices.rows(pending.rows.into_values().chain(pending.keyed.into_values()));
            if !ready.ledgers.is_empty() {
                self.slices.push(Slice::Ledger(ready.ledgers.into_values().collect()));
            }
            if let Some(progress) = ready.progress {
                self.slices.push(Slice::Progress(progress));
            }
            self.slices.mark(written);
        }
    }

    /// Makes the tables before anything is read: whoever asks for the view finds it. True once they are there.
    fn create(&mut self, now: i64) -> Result<bool, Error> {
        if !self.created {
            if self.slices.is_empty() {
                self.slices.push(Slice::Create);
            }
            self.created = self.slices.step(now)? == Prepared::Done;
        }
        Ok(self.created)
    }
}

/// From the metadata of a writer's offset: the rows before this offset are in the store.
pub(crate) fn rows_next_offset(committed: &GroupOffset) -> Option<i64> {
    committed.metadata.parse().ok()
}

impl Operator for WriterStage {
    fn stage(&self) -> &'static str {
        "view-writer"
    }

    fn assign(&mut self, owned: &[TopicPartition], now: i64) -> Result<(), Error> {
        self.discard();
        self.assigned = owned.to_vec();
        self.assigned_at = now;
        Ok(())
    }

    fn restore(&mut self) -> Result<Option<Vec<(TopicPartition, i64)>>, Error> {
        if !self.create(self.assigned_at)? {
            return Ok(None);
        }
        let committed = match self.log.committed(&self.group, &self.assigned) {
            Err(tidemark_log::Error::Unstable(_)) => return Ok(None),
            answer => answer?,
        };
        let starts = self.log.offsets(&self.assigned, At::Start)?;
        for ((partition, committed), start) in std::mem::take(&mut self.assigned).into_iter().zip(committed).zip(starts)
        {
            // The topic is compacted and cleaned by age: what is gone was replaced by a later revision or has expired.
            let from = committed.as_ref().map_or(start, |at| at.offset.max(start));
            let rows = committed.and_then(|at| rows_next_offset(&at)).unwrap_or(from);
            self.owned.push(Owned { rows_acknowledged: rows.max(from), ..Owned::from(partition, from) });
        }
        Ok(Some(self.owned.iter().map(|owned| (owned.partition.clone(), owned.acknowledged)).collect()))
    }

    fn fold(&mut self, batch: Batch<'_>, _now: i64) {
        let of_batch = |owned: &Owned| owned.partition.partition == batch.partition;
        let Some(at) = self.owned.iter().position(of_batch) else { return };
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

    fn tick(&mut self, member: &mut dyn Member, _now: i64) -> Result<(), Error> {
        if self.rows_alone {
            return self.owned.iter_mut().try_for_each(|owned| owned.skip_markers(member));
        }
        self.owned.iter_mut().try_for_each(|owned| owned.settle(member))
    }

    fn due(&self) -> Due {
        let rows: usize = self.owned.iter().map(|owned| owned.pending.count()).sum();
        if rows >= ROWS_MAX {
            Due::Now
        } else if self.owned.iter().any(Owned::is_due) {
            Due::AtInterval
        } else {
            Due::Never
        }
    }

    fn prepare(&mut self, now: i64) -> Result<Prepared, Error> {
        if self.slices.is_empty() {
            self.begin_write();
        }
        let step = self.slices.step(now);
        for written in self.slices.marks() {
            if let Some(owned) = self.owned.iter_mut().find(|owned| owned.partition == written.partition) {
                (owned.acknowledged, owned.rows_acknowledged) = (written.next_offset, written.rows_next_offset);
            }
            self.written.push(written);
        }
        Ok(step?)
    }

    fn produce(&mut self, _now: i64, _sink: &mut dyn Sink) -> Result<(), tidemark_log::Error> {
        Ok(())
    }

    fn offsets(&self, _member: &dyn Member) -> Result<Vec<GroupOffset>, Error> {
        let offset = |owned: &Owned| GroupOffset {
            partition: owned.partition.clone(),
            offset: owned.acknowledged,
            metadata: owned.rows_acknowledged.to_string(),
        };
        Ok(self.owned.iter().map(offset).collect())
    }

    fn committed(&mut self, now: i64) {
        for written in self.written.drain(..) {
            self.metrics.written(written.rows, written.oldest_append, now);
        }
    }

    fn discard(&mut self) {
        self.slices.clear();
        self.assigned.clear();
        self.owned.clear();
        self.written.clear();
        self.trace.clear();
        self.failed = None;
    }
}
