//! The stage of a keyed process, as [`drive`](crate::drive) runs it.

use super::outbox::Outbox;
use super::owned::{Owned, is_markers_time};
use super::restore::Takeover;
use super::{COMMIT_BYTES_MAX, Parts, Plan};
use crate::letters::{Letters, dead_letter, rule_of};
use crate::operator::{Due, Operator, Prepared};
use crate::trace::CommitTrace;
use crate::{Error, Metrics};
use std::sync::Arc;
use tidemark_core::process::{Output, Process, Reject};
use tidemark_log::{At, Batch, GroupOffset, Log, Member, Record, Sink, TopicPartition};
use tidemark_schemas::wire;

/// Changed entries that bring a commit on at once: their bytes are not known before.
const COMMIT_ENTRIES_MAX: usize = 20_000;

/// Makes the process of a partition, empty.
type Make<P> = dyn Fn(u32) -> P + Send;

/// See the module.
pub struct KeyedStage<P> {
    pub(super) plan: Arc<Plan>,
    make: Box<Make<P>>,
    pub(super) log: Arc<dyn Log>,
    pub(super) metrics: Arc<Metrics>,
    decoder: wire::Decoder,
    scratch: Vec<u8>,
    /// Reads entries.
    pub(super) entries: wire::Decoder,
    pub(super) takeover: Takeover,
    pub(super) owned: Vec<Owned<P>>,
    outbox: Outbox,
    dead: Letters,
    trace: CommitTrace,
    failed: Option<Error>,
    committed_at: i64,
    /// Control markers alone are to be committed.
    markers_due: bool,
}

impl<P: Process> KeyedStage<P> {
    /// Of a plan that was [created](Plan::create).
    pub fn new(plan: Arc<Plan>, process: impl Fn(u32) -> P + Send + 'static, parts: &Parts) -> Self {
        let decoder = wire::Decoder::new(Arc::clone(&parts.registry), plan.readers());
        let entries = wire::Decoder::new(Arc::clone(&parts.registry), plan.spec.entries.clone());
        Self {
            plan,
            make: Box::new(process),
            log: Arc::clone(&parts.log),
            metrics: Arc::clone(&parts.metrics),
            decoder,
            scratch: Vec::new(),
            entries,
            takeover: Takeover::Done,
            owned: Vec::new(),
            outbox: Outbox::default(),
            dead: Letters::default(),
            trace: CommitTrace::default(),
            failed: None,
            committed_at: 0,
            markers_due: false,
        }
    }

    /// Finds the partitions that want a tick and are read to the end that the log names.
    fn call_ticks(&mut self, member: &dyn Member, now: i64) -> Result<(), Error> {
        let mut wanted: Vec<&mut Owned<P>> = Vec::new();
        for owned in &mut self.owned {
            if owned.look(member, now)? {
                wanted.push(owned);
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let partitions: Vec<TopicPartition> = wanted.iter().map(|owned| owned.partition.clone()).collect();
        match self.log.offsets(&partitions, At::End) {
            Ok(ends) => wanted.into_iter().zip(ends).for_each(|(owned, end)| owned.call(end)),
            Err(error) => tracing::debug!(%error, "no ticks now: the end of the input is not known"),
        }
        Ok(())
    }

    /// Folds one record: time first, then the record itself, then what came of it is kept. Whether it can be read is known
    /// before anything has changed, so that a registry that is away costs nothing.
    fn fold_record(&mut self, at: usize, record: &Record<'_>, now: i64) -> Result<(), Error> {
        let Some(owned) = self.owned.get_mut(at) else { return Ok(()) };
        let read = record.value.map(|value| self.decoder.datum(value, &mut self.scratch));
        if let Some(Err(reason @ wire::Error::Registry(_))) = read {
            let (topic, partition) = (owned.partition.topic.to_string(), owned.partition.partition);
            return Err(Error::Unreadable { topic, partition, offset: record.offset, reason });
        }
        self.trace.see(&owned.partition, record);
        let mut out = Output::default();
        owned.advance(record, &mut out);
        owned.keep(&self.plan, &mut out, &mut self.outbox)?;
        let refused = match read {
            None => Some(("no_value", "the record has no value".to_owned())),
            Some(Err(reason)) => Some((rule_of(&reason), reason.to_string())),
            Some(Ok((schema, _))) if schema == self.plan.spec.inputs.len() => {
                owned.ticked(now);
                None
            }
            Some(Ok((schema, datum))) => owned.apply(schema, datum, record, &mut out).err().map(of_reject),
        };
        let Some((rule, detail)) = refused else { return owned.keep(&self.plan, &mut out, &mut self.outbox) };
        owned.dead_letter();
        let TopicPartition { topic, partition } = &owned.partition;
        let letter = dead_letter(topic, *partition, record, rule, &detail);
        self.dead.push(*partition, self.plan.ids.dead_letter, &letter);
        Ok(())
    }
}

/// Rule and detail of a dead letter.
fn of_reject(reject: Reject) -> (&'static str, String) {
    match reject {
        Reject::Unreadable(error) => ("malformed", error.to_string()),
        Reject::Rule { .. } => ("invalid", reject.to_string()),
    }
}

impl<P: Process> Operator for KeyedStage<P> {
    fn stage(&self) -> &'static str {
        "process"
    }

    fn assign(&mut self, owned: &[TopicPartition], now: i64) -> Result<(), Error> {
        self.discard();
        let make = |partition: &TopicPartition| Owned::new(partition.clone(), (self.make)(partition.partition));
        self.owned = owned.iter().map(make).collect();
        self.takeover = Takeover::begin();
        self.committed_at = now;
        Ok(())
    }

    fn restore(&mut self) -> Result<Option<Vec<(TopicPartition, i64)>>, Error> {
        if !self.take_over()? {
            return Ok(None);
        }
        Ok(Some(self.owned.iter().map(|owned| (owned.partition.clone(), owned.next_offset)).collect()))
    }

    fn fold(&mut self, batch: Batch<'_>, now: i64) {
        let is_it =
            |owned: &Owned<P>| owned.partition.partition == batch.partition && *owned.partition.topic == *batch.topic;
        let Some(at) = self.owned.iter().position(is_it) else { return };
        for record in batch.records {
            if self.failed.is_some() {
                return;
            }
            self.failed = self.fold_record(at, record, now).err();
        }
    }

    fn trace(&mut self) -> &mut CommitTrace {
        &mut self.trace
    }

    fn check(&mut self) -> Result<(), Error> {
        self.failed.take().map_or(Ok(()), Err)
    }

    fn tick(&mut self, member: &mut dyn Member, now: i64) -> Result<(), Error> {
        self.call_ticks(member, now)?;
        self.markers_due = is_markers_time(now, self.committed_at) && self.owned.iter().any(Owned::is_ahead);
        Ok(())
    }

    fn due(&self) -> Due {
        let changes: usize = self.owned.iter().map(Owned::changes).sum();
        if self.outbox.len() + self.dead.bytes.len() >= COMMIT_BYTES_MAX || changes >= COMMIT_ENTRIES_MAX {
            Due::Now
        } else if self.markers_due || self.owned.iter().any(Owned::has_work) {
            Due::AtInterval
        } else {
            Due::Never
        }
    }

    /// Entries are encoded here and not with the records, so that the offsets' metadata speaks of them.
    fn prepare(&mut self, _now: i64) -> Result<Prepared, Error> {
        let (plan, outbox) = (&self.plan, &mut self.outbox);
        self.owned.iter_mut().try_for_each(|owned| owned.prepare(plan, outbox))?;
        Ok(Prepared::Done)
    }

    fn produce(&mut self, _now: i64, sink: &mut dyn Sink) -> Result<(), tidemark_log::Error> {
        self.outbox.send(&self.plan, self.trace.header(), sink)?;
        self.dead.send(&self.plan.dead_letter, sink)
    }

    fn offsets(&self, _member: &dyn Member) -> Result<Vec<GroupOffset>, Error> {
        Ok(self.owned.iter().map(Owned::offset).collect())
    }

    fn committed(&mut self, now: i64) {
        for owned in &mut self.owned {
            let (mark, ticks) = owned.committed();
            self.metrics.source(&mark, now);
            self.metrics.process(owned.partition.partition, owned.written.count(), ticks);
        }
        self.outbox.clear();
        self.dead.clear();
        (self.committed_at, self.markers_due) = (now, false);
    }

    fn discard(&mut self) {
        self.metrics.process_not_restoring(self.owned.iter().map(|owned| owned.partition.partition));
        self.takeover = Takeover::Done;
        self.owned.clear();
        self.outbox.clear();
        self.dead.clear();
        self.trace.clear();
        (self.failed, self.markers_due) = (None, false);
    }
}
