//! Records into rows, once more: one source partition after the other, by window and key, without commits, partials or markers.
//!
//! What is shared with the engine is what defines the figure: how the job reads a record, how accumulators add and merge, when a
//! record is late. How records came together is not: here they come in the order of their offsets, all of a partition at once.

use super::scope::{Limits, Scope, Source};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tidemark_core::session::{self, Session, Span};
use tidemark_core::window::{self, Hopping, Window};
use tidemark_core::{Accumulator, Job, JobSpec, LatePolicy, Reject, Sample, Windowing, table};
use tidemark_schemas::engine::SourceRange;

/// What a row holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell<A> {
    /// Records folded.
    pub records: i64,
    /// Their sum.
    pub sum: A,
}

/// What became of records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Read, those of the margin included.
    pub read: i64,
    /// Folded, once for each window.
    pub folded: i64,
    /// Of these, records that the streamed figure leaves out: held, or come after sealing.
    pub late_folded: i64,
    /// Left out as in the streamed figure: held, or come after sealing.
    pub left_out: i64,
    /// Could not be read, or is from the future.
    pub dead_lettered: i64,
    /// Repeats.
    pub duplicates: i64,
}

impl Counts {
    /// Adds those of another pass.
    pub fn add(&mut self, other: Self) {
        self.read += other.read;
        self.folded += other.folded;
        self.late_folded += other.late_folded;
        self.left_out += other.left_out;
        self.dead_lettered += other.dead_lettered;
        self.duplicates += other.duplicates;
    }
}

/// What a source partition has of a window in a merge partition.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    /// Late under `hold`, and not in the streamed figure.
    held: i64,
    /// Folded all the same, or though they came after sealing.
    late_folded: i64,
    /// Lowest and highest offset folded.
    offsets: Option<(i64, i64)>,
}

/// What all source partitions have of a window in a merge partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shared {
    /// Late under `hold`, and not in the streamed figure.
    pub held: i64,
    /// Records folded that the streamed figure leaves out.
    pub late_folded: i64,
    /// Offsets folded, by topic and partition.
    pub sources: Vec<SourceRange>,
}

/// What decides the next record of a source partition.
#[derive(Debug)]
pub struct Partition {
    limits: Limits,
    /// By window and merge partition.
    shares: BTreeMap<(i64, u32), Share>,
    watermark: Option<i64>,
    log_time: Option<i64>,
    seen: HashMap<u128, i64>,
}

impl Partition {
    /// Before the first record that is read of it.
    pub fn new(limits: Limits) -> Self {
        Self { limits, shares: BTreeMap::new(), watermark: None, log_time: None, seen: HashMap::new() }
    }

    fn count(&mut self, at: (i64, u32), offset: i64, held: bool, folded: bool, streamed: bool) {
        let share = self.shares.entry(at).or_default();
        share.held += i64::from(held);
        if folded {
            share.late_folded += i64::from(!streamed);
            // A partition is read in the order of its offsets.
            share.offsets = Some((share.offsets.map_or(offset, |(first, _)| first), offset));
        }
    }

    /// A repeat comes less than `for_ms` of log time after the record that was counted.
    fn is_repeat(&mut self, id: u128, appended_at: i64, for_ms: i64) -> bool {
        let now = self.log_time.map_or(appended_at, |before| before.max(appended_at));
        self.log_time = Some(now);
        match self.seen.get(&id) {
            Some(first) if now - first < for_ms => true,
            Some(_) | None => {
                self.seen.insert(id, now);
                false
            }
        }
    }
}

/// Recomputed windows.
#[derive(Debug)]
pub struct Fold<'s, A> {
    spec: &'s JobSpec,
    scope: &'s Scope<'s>,
    times: std::ops::Range<i64>,
    include_late: bool,
    punctuated: bool,
    rows: BTreeMap<i64, HashMap<Box<[u8]>, Cell<A>>>,
    sessions: HashMap<Box<[u8]>, Vec<Session<A>>>,
    /// By window and merge partition.
    shared: BTreeMap<(i64, u32), Shared>,
    /// Sealed buckets beside which records came later: see [`Limits::doubt`].
    doubtful: BTreeSet<i64>,
    /// What became of the records.
    pub counts: Counts,
}

/// Where a record stands.
#[derive(Debug, Clone, Copy)]
pub struct At {
    /// Its offset.
    pub offset: i64,
    /// When it was appended, milliseconds.
    pub appended_at: i64,
}

impl<'s, A: Accumulator> Fold<'s, A> {
    /// Of the windows of a scope; of sources that say how far they are if `punctuated`.
    pub fn new(spec: &'s JobSpec, scope: &'s Scope<'s>, include_late: bool, punctuated: bool) -> Self {
        let (times, rows, sessions) = (scope.times(), BTreeMap::new(), HashMap::new());
        Self {
            spec,
            scope,
            times,
            include_late,
            punctuated,
            rows,
            sessions,
            shared: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            counts: Counts::default(),
        }
    }

    /// Takes the next record of a partition in.
    pub fn record(&mut self, partition: &mut Partition, at: At, read: Result<Sample<'_, A>, Reject>) {
        self.counts.read += 1;
        let Ok(sample) = read else {
            self.counts.dead_lettered += 1;
            return;
        };
        if let Some(dedupe) = &self.spec.dedupe
            && partition.is_repeat(sample.id, at.appended_at, dedupe.for_ms)
        {
            self.counts.duplicates += 1;
            return;
        }
        if sample.event_time > at.appended_at.saturating_add(self.spec.max_future_ms) {
            self.counts.dead_lettered += 1;
            return;
        }
        let before = partition.watermark;
        if sample.moves(self.punctuated) {
            partition.watermark = before.max(Some(sample.event_time));
        }
        if !sample.wanted {
            return;
        }
        let time = sample.event_time;
        match self.spec.window {
            Windowing::Tumbling { size_ms } => {
                self.fixed(partition, at, before, window::tumbling(time, size_ms), &sample);
            }
            Windowing::Hopping { size_ms: size, hop_ms: hop } => {
                for window in (Hopping { size, hop }).windows(time) {
                    self.fixed(partition, at, before, window, &sample);
                }
            }
            Windowing::Session { gap_ms } => self.session(partition, at, before, gap_ms, &sample),
        }
    }

    fn merge_partition(&self, sample: &Sample<'_, A>) -> u32 {
        table::merge_partition(table::hash(sample.key), self.spec.merge_partitions)
    }

    /// Whether a record is folded, which is in the streamed figure or not; else it may be one that the ledger does not know yet.
    fn is_folded(&mut self, streamed: bool, is_read: bool) -> bool {
        let folded = streamed || (self.include_late && is_read);
        self.counts.left_out += i64::from(!folded);
        self.counts.folded += i64::from(folded);
        self.counts.late_folded += i64::from(folded && !streamed);
        folded
    }

    fn fixed(
        &mut self,
        partition: &mut Partition,
        at: At,
        before: Option<i64>,
        window: Window,
        sample: &Sample<'_, A>,
    ) {
        if !self.scope.selected.contains(&window.start) {
            return;
        }
        let merge_partition = self.merge_partition(sample);
        let late = window::is_late(window.end, self.spec.grace_ms, before);
        let limits = &partition.limits;
        let held =
            late && self.spec.late == LatePolicy::Hold && !limits.has_late(window.start, merge_partition, at.offset);
        let streamed = !held && limits.takes(window.start, merge_partition, at.offset);
        let folded = self.is_folded(streamed, streamed || limits.is_read(merge_partition, at.offset));
        partition.count((window.start, merge_partition), at.offset, held, folded, streamed);
        if !folded {
            return;
        }
        let rows = self.rows.entry(window.start).or_default();
        if !rows.contains_key(sample.key) {
            rows.insert(sample.key.into(), Cell { records: 0, sum: A::default() });
        }
        if let Some(cell) = rows.get_mut(sample.key) {
            cell.records += 1;
            cell.sum.add(&sample.add);
        }
    }

    fn session(&mut self, partition: &mut Partition, at: At, before: Option<i64>, gap_ms: i64, sample: &Sample<'_, A>) {
        let time = sample.event_time;
        let merge_partition = self.merge_partition(sample);
        let late = session::is_late(time, self.spec.grace_ms, before);
        let held = late && self.spec.late == LatePolicy::Hold;
        let bucket = window::session_bucket(time).start;
        if !self.times.contains(&time) {
            partition.count((bucket, merge_partition), at.offset, held, false, false);
            return;
        }
        let limits = &partition.limits;
        let streamed = !held && limits.takes_session(time, merge_partition, at.offset);
        let folded = self.is_folded(streamed, streamed || limits.is_read(merge_partition, at.offset));
        let doubt = limits.doubt(time, merge_partition, at.offset, gap_ms);
        partition.count((bucket, merge_partition), at.offset, held, folded, streamed);
        if !folded {
            return;
        }
        self.doubtful.extend(doubt);
        if !self.sessions.contains_key(sample.key) {
            self.sessions.insert(sample.key.into(), Vec::new());
        }
        let Some(sessions) = self.sessions.get_mut(sample.key) else { return };
        let span = Span { start: time, last: time };
        let mut joined = Session { span, records: 1, late: i64::from(late), sum: A::default() };
        joined.sum.add(&sample.add);
        let near = session::near(sessions, |session| session.span, span, gap_ms);
        let place = near.start;
        sessions.drain(near).for_each(|session| joined.join(&session));
        sessions.insert(place, joined);
    }

    /// Sealed buckets whose sessions were perhaps cut by when commits came. With late records all are cut anew.
    pub fn doubtful(&self) -> BTreeSet<i64> {
        if self.include_late { BTreeSet::new() } else { self.doubtful.clone() }
    }

    /// Windows of which fewer late records were found than their ledger holds out: the watermark before the first record was
    /// higher than what was read says. Whatever is found late is late, so that equal numbers mean the same records.
    pub fn short_of_late(&self) -> Vec<i64> {
        if self.spec.late != LatePolicy::Hold {
            return Vec::new();
        }
        let found = |at: &(i64, u32)| self.shared.get(at).map_or(0, |shared| shared.held);
        let mut short: Vec<i64> =
            self.scope.held().filter(|(at, held)| found(at) < *held).map(|((start, _), _)| start).collect();
        short.dedup();
        short
    }

    /// The end of a partition has come.
    pub fn end(&mut self, (topic, number): &Source, partition: Partition) {
        for (at, share) in partition.shares {
            let shared = self.shared.entry(at).or_default();
            shared.held += share.held;
            shared.late_folded += share.late_folded;
            shared.sources.extend(share.offsets.map(|(first_offset, last_offset)| SourceRange {
                topic: topic.clone(),
                partition: *number,
                first_offset,
                last_offset,
            }));
        }
    }

    /// What was found of a window in a merge partition.
    pub fn shared(&self, window_start: i64, merge_partition: u32) -> Shared {
        self.shared.get(&(window_start, merge_partition)).cloned().unwrap_or_default()
    }

    /// What a row of a fixed window holds, by its key.
    pub fn cell(&self, window_start: i64, key: &[u8]) -> Option<&Cell<A>> {
        self.rows.get(&window_start)?.get(key)
    }

    /// Rows of a fixed window and records in them, by merge partition.
    pub fn totals(&self, window_start: i64) -> BTreeMap<u32, (i64, i64)> {
        let mut totals: BTreeMap<u32, (i64, i64)> = BTreeMap::new();
        for (key, cell) in self.rows.get(&window_start).into_iter().flatten() {
            let merge_partition = table::merge_partition(table::hash(key), self.spec.merge_partitions);
            let total = totals.entry(merge_partition).or_default();
            *total = (total.0 + 1, total.1 + cell.records);
        }
        totals
    }

    /// Hands the rows of the selected windows over as data of the view's schema.
    pub fn rows<J: Job<Accumulator = A>>(&self, job: &J, mut each: impl FnMut(&[u8])) {
        let mut datum = Vec::new();
        let mut put = |window_start: i64, key: &[u8], hash: u64, records: i64, sum: &A, last: Option<i64>| {
            let merge_partition = table::merge_partition(hash, self.spec.merge_partitions);
            let row = tidemark_core::ViewRow {
                key,
                window_start,
                merge_partition,
                opened_at: 0,
                records,
                accumulator: sum,
                epoch: 0,
                revision: 0,
            };
            datum.clear();
            match last {
                None => job.put_row(&row, &mut datum),
                Some(last) => job.put_session(&row, last, &mut datum),
            }
            each(&datum);
        };
        for (start, rows) in &self.rows {
            rows.iter().for_each(|(key, cell)| put(*start, key, table::hash(key), cell.records, &cell.sum, None));
        }
        for (key, sessions) in &self.sessions {
            for session in sessions {
                let bucket = window::session_bucket(session.span.start).start;
                if self.scope.selected.contains(&bucket) {
                    let mut view_key = key.to_vec();
                    tidemark_schemas::avro::put_long(&mut view_key, session.span.start);
                    put(bucket, &view_key, table::hash(key), session.records, &session.sum, Some(session.span.last));
                }
            }
        }
    }
}
