//! The partial stage: reads source partitions, decides lateness, writes partials and markers.

mod waiting;

use crate::align::Alignment;
use crate::drive::{Backlog, Due, Operator, is_over};
use crate::letters::{Address, Letters, rule_of};
use crate::metrics::Metrics;
use crate::seen::{self, Recall};
use crate::tables::Tables;
use crate::trace::CommitTrace;
use crate::{Error, Plan};
use std::sync::Arc;
use tidemark_core::join::TABLE_BEHIND;
use tidemark_core::partial::{PartialFold, Position, Verdict, metadata, parse_metadata};
use tidemark_core::window::Window;
use tidemark_core::{Input, Job, LatePolicy, Sample};
use tidemark_log::{At, Batch, GroupOffset, Log, Member, Outgoing, Record, Sink, TopicPartition};
use tidemark_schemas::catalog::Schema;
use tidemark_schemas::engine::{Marker, TopicPartitions};
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire;
use waiting::Waiting;

/// Partials and letters in memory that bring the commit forward, bytes.
const BYTES_MAX: usize = 64 << 20;
/// An idle partition's marker is renewed so often, milliseconds.
const IDLE_RENEW_MS: i64 = 1_000;

/// A source partition that this member owns.
pub(crate) struct Source<A> {
    pub(crate) partition: TopicPartition,
    /// Which of the job's sources.
    topic: usize,
    pub(crate) fold: PartialFold<A>,
    last_record_at: i64,
    /// Append time of the last record that was folded.
    last_append: Option<i64>,
    /// Next offset as it was last committed.
    committed: i64,
    /// Far ahead of the others: not read at present.
    held_back: bool,
}

/// The partial stage of a job.
pub struct PartialStage<J: Job> {
    job: Arc<J>,
    plan: Arc<Plan>,
    log: Arc<dyn Log>,
    decoder: wire::Decoder,
    metrics: Arc<Metrics>,
    counts: Vec<TopicPartitions>,
    alignment: Arc<Alignment>,
    recall: Recall,
    waiting: Waiting,
    /// Reading rested because much waited: partitions that are ahead of the others are to be held back again.
    rested: bool,
    /// What was assigned and has no state yet.
    assigned: Vec<TopicPartition>,
    assigned_at: i64,
    sources: Vec<Source<J::Accumulator>>,
    late: Letters,
    dead: Letters,
    trace: CommitTrace,
    marker_owed: bool,
    last_idle_check: i64,
    failed: Option<Error>,
    scratch: Vec<u8>,
    key: Vec<u8>,
}

impl<J: Job> PartialStage<J> {
    /// For a job whose source records are read as `source`.
    pub fn new(
        job: Arc<J>,
        plan: Arc<Plan>,
        source: Arc<[Schema]>,
        log: Arc<dyn Log>,
        registry: Arc<dyn Registry>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            alignment: Arc::new(Alignment::new(plan.spec.window.size_ms())),
            job,
            plan,
            log,
            decoder: wire::Decoder::new(Arc::clone(&registry), source),
            recall: Recall::new(registry),
            waiting: Waiting::new(Arc::new(Tables::new(&[]))),
            rested: false,
            assigned: Vec::new(),
            assigned_at: 0,
            metrics,
            counts: Vec::new(),
            sources: Vec::new(),
            late: Letters::default(),
            dead: Letters::default(),
            trace: CommitTrace::default(),
            marker_owed: false,
            last_idle_check: 0,
            failed: None,
            scratch: Vec::new(),
            key: Vec::new(),
        }
    }

    /// Keeps to a bound that others set.
    pub fn aligned(self, alignment: Arc<Alignment>) -> Self {
        Self { alignment, ..self }
    }

    /// Joins records with tables that somebody keeps read.
    pub fn joined(self, tables: Arc<Tables>) -> Self {
        Self { waiting: Waiting::new(tables), ..self }
    }

    fn fold_record(&mut self, at: usize, topic: &str, partition: u32, record: &Record<'_>) {
        let Some(source) = self.sources.get_mut(at) else { return };
        let letters = Address { plan: &self.plan, topic, partition, record };
        let value = record.value.unwrap_or_default();
        let (schema, datum) = match self.decoder.datum(value, &mut self.scratch) {
            Ok(read) => read,
            Err(error @ wire::Error::Registry(_)) => {
                self.failed = Some(letters.unreadable(error));
                return;
            }
            Err(error) => {
                source.fold.reject(record.offset, record.timestamp);
                return letters.dead(&mut self.dead, rule_of(&error), &error.to_string());
            }
        };
        self.key.clear();
        let (offset, appended_at) = (record.offset, record.timestamp);
        source.last_append = Some(appended_at);
        let input = Input { schema, topic: source.topic, partition, offset, appended_at, datum };
        self.job.with_sample(input, &mut self.key, |read| match read {
            Ok(sample) => fold_sample(source, &letters, sample, self.plan.spec.late, &mut self.late, &mut self.dead),
            Err(reject) if reject.rule == TABLE_BEHIND => {
                self.failed = Some(Error::Table { topic: self.plan.spec.name.clone(), reason: reject.detail });
            }
            Err(reject) => {
                source.fold.reject(record.offset, record.timestamp);
                letters.dead(&mut self.dead, reject.rule, &reject.detail);
            }
        });
    }

    /// Takes up each assigned partition at its committed position; false while a predecessor's transaction may still move it.
    fn begin(&mut self) -> Result<bool, Error> {
        let committed = match self.log.committed(&self.plan.group("partial"), &self.assigned) {
            Ok(committed) => committed,
            Err(tidemark_log::Error::Unstable(why)) => {
                tracing::debug!(why, "the committed offsets are not settled yet");
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        };
        let fingerprint = self.plan.spec.fingerprint();
        for (partition, committed) in std::mem::take(&mut self.assigned).into_iter().zip(committed) {
            // A partition without an offset was added after the job was created: all of it is new.
            let position = match committed {
                Some(at) => parse_metadata(&at.metadata, fingerprint, at.offset)?,
                None => {
                    let start = self.log.offsets(std::slice::from_ref(&partition), At::Start)?;
                    Position { next_offset: start.first().copied().unwrap_or(0), ..Position::default() }
                }
            };
            let fold = PartialFold::new(&self.plan.spec, &partition.topic, partition.partition, position)
                .punctuated(self.job.is_punctuated());
            let (committed, last_record_at) = (position.next_offset, self.assigned_at);
            let topic = self.plan.spec.sources.iter().position(|topic| **topic == *partition.topic).unwrap_or(0);
            let last_append = None;
            self.sources.push(Source {
                partition,
                topic,
                fold,
                last_record_at,
                last_append,
                committed,
                held_back: false,
            });
        }
        if let Some(dedupe) = &self.plan.spec.dedupe {
            self.recall.begin(self.log.as_ref(), &self.plan, dedupe, &self.sources)?;
        }
        Ok(true)
    }

    /// Stops reading partitions that are far ahead of the others, and goes on with those that are no longer.
    fn align(&mut self, member: &mut dyn Member) -> Result<(), Error> {
        let again = self.rested && self.waiting.backlog() != Backlog::Full;
        self.rested &= !again;
        for source in &mut self.sources {
            let hold = self.alignment.holds(source.fold.position().watermark);
            if hold != source.held_back || (again && hold) {
                member.pause(std::slice::from_ref(&source.partition), hold)?;
                source.held_back = hold;
                tracing::info!(partition = %source.partition, hold, "far ahead of the others");
            }
        }
        Ok(())
    }

    fn marker(&self, now: i64) -> Marker {
        Marker {
            fingerprint: self.plan.spec.fingerprint(),
            at: now,
            oldest_append: self.sources.iter().filter_map(|source| source.fold.oldest_append()).min(),
            sources: self.sources.iter().map(|source| source.fold.mark()).collect(),
            partition_counts: self.counts.clone(),
        }
    }
}

fn fold_sample<A: tidemark_core::Accumulator>(
    source: &mut Source<A>,
    letters: &Address<'_>,
    sample: &Sample<'_, A>,
    policy: LatePolicy,
    late: &mut Letters,
    dead: &mut Letters,
) {
    match source.fold.fold(letters.record.offset, letters.record.timestamp, sample) {
        Verdict::OnTime | Verdict::Filtered | Verdict::Duplicate => {}
        Verdict::Late { window, windows, watermark } => {
            for hop in 0..i64::from(windows) {
                let by = hop * letters.plan.spec.window.hop_ms();
                let window = Window { start: window.start + by, end: window.end + by };
                letters.late(late, sample.event_time, window, watermark, policy);
            }
        }
        Verdict::FarFuture => {
            let (ahead, limit) = (sample.event_time - letters.record.timestamp, letters.plan.spec.max_future_ms);
            let detail = format!(
                "event time {} ms is {ahead} ms ahead of its append time; at most {limit} is taken",
                sample.event_time
            );
            letters.dead(dead, "far_future", &detail);
        }
    }
}

impl<J: Job> Operator for PartialStage<J> {
    fn stage(&self) -> &'static str {
        "partial"
    }

    fn assign(&mut self, owned: &[TopicPartition], now: i64) -> Result<(), Error> {
        self.discard();
        for topic in &self.plan.spec.sources {
            let partitions = self.log.partitions(topic)?.ok_or_else(|| Error::NoSource(topic.clone()))?;
            self.counts.push(TopicPartitions { topic: topic.clone(), partitions: partitions as i32 });
        }
        self.assigned = owned.to_vec();
        self.assigned_at = now;
        Ok(())
    }

    fn restore(&mut self) -> Result<Option<Vec<(TopicPartition, i64)>>, Error> {
        if !self.assigned.is_empty() && !self.begin()? {
            return Ok(None);
        }
        if !self.recall.step(&self.plan, &mut self.sources)? {
            return Ok(None);
        }
        if !self.waiting.is_begun()? {
            return Ok(None);
        }
        self.marker_owed = !self.sources.is_empty();
        let start = |source: &Source<J::Accumulator>| (source.partition.clone(), source.fold.position().next_offset);
        Ok(Some(self.sources.iter().map(start).collect()))
    }

    fn fold(&mut self, batch: Batch<'_>, now: i64) {
        let is_it = |source: &Source<J::Accumulator>| {
            source.partition.partition == batch.partition && *source.partition.topic == *batch.topic
        };
        let Some(at) = self.sources.iter().position(is_it) else { return };
        if self.waiting.is_ready(&batch) {
            for record in batch.records {
                if self.failed.is_some() {
                    return;
                }
                self.fold_record(at, batch.topic, batch.partition, record);
            }
        } else if self.failed.is_none() {
            self.waiting.keep(at, &batch);
            self.rested |= self.waiting.backlog() == Backlog::Full;
        }
        if let Some(source) = self.sources.get_mut(at) {
            source.last_record_at = now;
            batch.records.first().into_iter().for_each(|first| self.trace.see(&source.partition, first));
        }
    }

    fn backlog(&self) -> Backlog {
        self.waiting.backlog()
    }

    fn waits_for(&self) -> &'static str {
        "reading waits until the tables are read as far that records are joined with"
    }

    fn trace(&mut self) -> &mut CommitTrace {
        &mut self.trace
    }

    fn check(&mut self) -> Result<(), Error> {
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Finds idle partitions: silent for `idle_after`, and read to the end that the log names *after* the time was taken.
    fn tick(&mut self, member: &mut dyn Member, now: i64) -> Result<(), Error> {
        self.go_on()?;
        self.check()?;
        self.align(member)?;
        for (at, source) in self.sources.iter_mut().enumerate() {
            // Past what waits nothing is folded yet.
            if !self.waiting.has(at) {
                source.fold.skip_to(member.position(&source.partition)?);
            }
            // A clock that was set back begins the silence anew; nothing waits for it to catch up.
            source.last_record_at = source.last_record_at.min(now);
        }
        if !is_over(now, self.last_idle_check, IDLE_RENEW_MS) {
            return Ok(());
        }
        self.last_idle_check = now;
        let idle_after_ms = self.plan.spec.idle_after_ms;
        let silent: Vec<usize> = (0..self.sources.len())
            .filter(|&at| !self.waiting.has(at))
            .filter(|&at| self.sources.get(at).is_some_and(|s| now - s.last_record_at >= idle_after_ms))
            .collect();
        let partitions: Vec<TopicPartition> =
            silent.iter().filter_map(|&at| self.sources.get(at)).map(|source| source.partition.clone()).collect();
        if partitions.is_empty() {
            return Ok(());
        }
        let ends = self.log.offsets(&partitions, At::End)?;
        for (at, end) in silent.into_iter().zip(ends) {
            let Some(source) = self.sources.get_mut(at) else { continue };
            if member.position(&source.partition)? == end {
                source.fold.skip_to(end);
                source.fold.mark_idle(now);
                self.marker_owed = true;
            }
        }
        Ok(())
    }

    fn due(&self) -> Due {
        let bytes: usize = self.sources.iter().map(|source| source.fold.bytes()).sum();
        if self.sources.is_empty() {
            Due::Never
        } else if self.marker_owed || bytes + self.late.bytes.len() + self.dead.bytes.len() >= BYTES_MAX {
            Due::Now
        } else if self.sources.iter().any(|source| source.fold.position().next_offset > source.committed) {
            Due::AtInterval
        } else {
            Due::Never
        }
    }

    fn produce(&mut self, now: i64, sink: &mut dyn Sink) -> Result<(), tidemark_log::Error> {
        let (topic, ids) = (self.plan.partials.as_str(), self.plan.ids);
        let mut value = Vec::new();
        for source in &self.sources {
            source.fold.partials(|partition, datum| {
                value.clear();
                wire::put_header(ids.partial, &mut value);
                value.extend_from_slice(datum);
                sink.send(Outgoing { topic, partition, key: None, value: Some(&value), headers: &[] })
            })?;
        }
        for source in &self.sources {
            seen::send(source, &self.plan, sink)?;
        }
        value.clear();
        wire::put(ids.marker, &self.marker(now), &mut value);
        let trace = self.trace.header();
        for partition in 0..self.plan.spec.merge_partitions {
            sink.send(Outgoing { topic, partition, key: None, value: Some(&value), headers: trace.as_slice() })?;
        }
        self.late.send(&self.plan.late, sink)?;
        self.dead.send(&self.plan.dead_letter, sink)
    }

    fn offsets(&self, _member: &dyn Member) -> Result<Vec<GroupOffset>, Error> {
        let fingerprint = self.plan.spec.fingerprint();
        let offset = |source: &Source<J::Accumulator>| {
            let position = source.fold.position();
            let metadata = metadata(fingerprint, &position);
            GroupOffset { partition: source.partition.clone(), offset: position.next_offset, metadata }
        };
        Ok(self.sources.iter().map(offset).collect())
    }

    fn committed(&mut self, now: i64) {
        for source in &mut self.sources {
            self.metrics.source(&source.fold.mark(), now);
            source.fold.committed();
            source.committed = source.fold.position().next_offset;
        }
        self.tell_need();
        self.late.clear();
        self.dead.clear();
        self.marker_owed = false;
    }

    fn discard(&mut self) {
        self.sources.clear();
        self.assigned.clear();
        self.recall.end();
        self.waiting.clear();
        self.counts.clear();
        self.late.clear();
        self.dead.clear();
        self.trace.clear();
        self.marker_owed = false;
        self.failed = None;
    }
}
