//! A test driver: records in, rows out, the clock moved by hand, no broker. It runs the folds that production runs and
//! keeps a whole log in memory, so that a test can cut it into commits and crash between them as it likes.

mod restore;

use crate::job::{Accumulator, Input, Job, Reject};
use crate::join::TABLE_BEHIND;
use crate::merge::{self, MergeFold};
use crate::partial::{PartialFold, Position, Verdict};
use restore::{Changelog, Checkpoint};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::engine::{Ledger, Marker, Partial, SourceMark, TopicPartitions};

/// A record on a source partition of the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRecord {
    /// Which of the job's source schemas the datum is of.
    pub schema: usize,
    /// Append time.
    pub appended_at: i64,
    /// Avro datum of that schema.
    pub datum: Vec<u8>,
}

#[derive(Debug, Clone)]
enum Entry {
    Partial(Vec<u8>),
    Marker(Vec<u8>),
}

/// A partition of the partials topic with the merge fold that reads it and what that fold has committed.
struct Merge<A> {
    log: Vec<(i64, Entry)>,
    next: usize,
    fold: MergeFold<A>,
    changelog: Changelog,
    checkpoint: Option<Checkpoint>,
}

/// A row as the view would hold it: window start and key give records and sum. Of a job of session windows these are buckets,
/// the start of a session comes after its key, and rows without records have been retracted.
pub type Rows<A> = BTreeMap<(i64, Vec<u8>), (i64, A)>;

/// Runs one job over one source topic.
pub struct Driver<J: Job> {
    job: Arc<J>,
    sources: Vec<Vec<SourceRecord>>,
    committed: Vec<Position>,
    folds: Vec<PartialFold<J::Accumulator>>,
    merges: Vec<Merge<J::Accumulator>>,
    rows: Rows<J::Accumulator>,
    /// Of sessions: the time of the last event.
    ends: BTreeMap<(i64, Vec<u8>), i64>,
    ledgers: BTreeMap<(i64, i32), Ledger>,
    verdicts: BTreeMap<(usize, i64), Verdict>,
    rejects: BTreeMap<(usize, i64), Reject>,
    sealed_out: i64,
}

impl<J: Job> Driver<J> {
    /// With empty source partitions.
    pub fn new(job: Arc<J>, partitions: usize) -> Self {
        let spec = job.spec();
        let fold = |p| PartialFold::new(spec, "source", p as u32, Position::default()).punctuated(job.is_punctuated());
        let folds = (0..partitions).map(fold).collect();
        let merges = (0..spec.merge_partitions).map(|m| Merge {
            log: Vec::new(),
            next: 0,
            fold: MergeFold::new(spec, m, 1),
            changelog: Changelog::default(),
            checkpoint: None,
        });
        let merges = merges.collect();
        Self {
            sources: vec![Vec::new(); partitions],
            committed: vec![Position::default(); partitions],
            folds,
            merges,
            rows: BTreeMap::new(),
            ends: BTreeMap::new(),
            ledgers: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            rejects: BTreeMap::new(),
            sealed_out: 0,
            job,
        }
    }

    /// Appends a record of the first schema to a source partition.
    pub fn push(&mut self, partition: usize, appended_at: i64, datum: Vec<u8>) {
        self.append(partition, SourceRecord { schema: 0, appended_at, datum });
    }

    /// Appends a record to a source partition.
    pub fn append(&mut self, partition: usize, record: SourceRecord) {
        if let Some(source) = self.sources.get_mut(partition) {
            source.push(record);
        }
    }

    /// Folds at most `records` of a partition, without committing; fewer when one needs rows of a table that are not read yet.
    pub fn read(&mut self, partition: usize, records: usize) {
        let (Some(source), Some(fold)) = (self.sources.get(partition), self.folds.get_mut(partition)) else { return };
        let mut scratch = Vec::new();
        let from = usize::try_from(fold.position().next_offset).unwrap_or(usize::MAX);
        for (at, record) in source.iter().enumerate().skip(from).take(records) {
            let offset = at as i64;
            scratch.clear();
            let SourceRecord { schema, appended_at, ref datum } = *record;
            let input = Input { schema, topic: 0, partition: partition as u32, offset, appended_at, datum };
            match self.job.read(input, &mut scratch) {
                Ok(sample) => {
                    let verdict = fold.fold(offset, record.appended_at, &sample);
                    self.verdicts.insert((partition, offset), verdict);
                }
                Err(reject) if reject.rule == TABLE_BEHIND => break,
                Err(reject) => {
                    fold.reject(offset, record.appended_at);
                    self.rejects.insert((partition, offset), reject);
                }
            }
        }
    }

    /// Notes a partition as idle if it is read to its end.
    pub fn idle(&mut self, partition: usize, at: i64) {
        let (Some(source), Some(fold)) = (self.sources.get(partition), self.folds.get_mut(partition)) else { return };
        if fold.position().next_offset == source.len() as i64 {
            fold.mark_idle(at);
        }
    }

    /// Commits some partitions as one member would: their partials, then markers, and their positions.
    pub fn commit(&mut self, partitions: &[usize], now: i64) {
        let mut marks: Vec<SourceMark> = Vec::new();
        for &partition in partitions {
            let (Some(fold), Some(committed)) = (self.folds.get_mut(partition), self.committed.get_mut(partition))
            else {
                continue;
            };
            let merges = &mut self.merges;
            let sent = fold.partials(|merge_partition, datum| -> Result<(), std::convert::Infallible> {
                if let Some(merge) = merges.get_mut(merge_partition as usize) {
                    merge.log.push((now, Entry::Partial(datum.to_vec())));
                }
                Ok(())
            });
            let Ok(()) = sent;
            marks.push(fold.mark());
            *committed = fold.position();
            fold.committed();
        }
        let counts = vec![TopicPartitions { topic: "source".into(), partitions: self.sources.len() as i32 }];
        let fingerprint = self.job.spec().fingerprint();
        let marker = Marker { fingerprint, at: now, oldest_append: None, sources: marks, partition_counts: counts };
        let mut datum = Vec::new();
        marker.put(&mut datum);
        for merge in &mut self.merges {
            merge.log.push((now, Entry::Marker(datum.clone())));
        }
    }

    /// The member that owns a partition dies: what it folded since the last commit is gone.
    pub fn crash(&mut self, partition: usize) {
        if let (Some(fold), Some(&position)) = (self.folds.get_mut(partition), self.committed.get(partition)) {
            *fold = PartialFold::new(self.job.spec(), "source", partition as u32, position)
                .punctuated(self.job.is_punctuated());
        }
    }

    /// Merges all partials committed so far into the rows.
    ///
    /// # Errors
    /// What stops a merge stage.
    pub fn merge(&mut self) -> Result<(), merge::Error> {
        (0..self.merges.len()).try_for_each(|merge_partition| self.merge_some(merge_partition, usize::MAX))
    }

    /// Reads at most `entries` of one merge partition and commits.
    ///
    /// # Errors
    /// What stops a merge stage.
    pub fn merge_some(&mut self, merge_partition: usize, entries: usize) -> Result<(), merge::Error> {
        let Some(merge) = self.merges.get_mut(merge_partition) else { return Ok(()) };
        for (offset, (appended_at, entry)) in merge.log.iter().enumerate().skip(merge.next).take(entries) {
            fold_entry(&mut merge.fold, offset as i64, *appended_at, entry, &mut self.sealed_out)?;
        }
        merge.next = merge.next.saturating_add(entries).min(merge.log.len());
        for row in merge.fold.touched_rows() {
            let mut scratch = Vec::new();
            let key = (row.window_start, row.view_key(&mut scratch).to_vec());
            row.extent.map(|extent| self.ends.insert(key.clone(), extent.last));
            self.rows.insert(key, (row.cell.records, row.cell.sum.clone()));
        }
        for ledger in merge.fold.touched_ledgers() {
            self.ledgers.insert((ledger.window_start, ledger.merge_partition), ledger.clone());
        }
        merge.changelog.take(&merge.fold);
        if let Some(checkpoint) = &mut merge.checkpoint {
            checkpoint.after.take(&merge.fold);
        }
        merge.fold.committed(0);
        merge.fold.removed(usize::MAX);
        Ok(())
    }

    /// The view's rows.
    pub fn rows(&self) -> &Rows<J::Accumulator> {
        &self.rows
    }

    /// Of sessions, those that are not retracted: key fields and start give the time of the last event, records and sum.
    pub fn sessions(&self) -> BTreeMap<Vec<u8>, (i64, i64, J::Accumulator)> {
        let live = self.rows.iter().filter(|(_, (records, _))| *records != 0);
        live.filter_map(|(key, (records, sum))| Some((key.1.clone(), (*self.ends.get(key)?, *records, sum.clone()))))
            .collect()
    }

    /// Ledger entries by window start and merge partition.
    pub fn ledgers(&self) -> impl Iterator<Item = &Ledger> {
        self.ledgers.values()
    }

    /// What became of each record: by partition and offset.
    pub fn verdicts(&self) -> &BTreeMap<(usize, i64), Verdict> {
        &self.verdicts
    }

    /// Records that could not be read.
    pub fn rejects(&self) -> &BTreeMap<(usize, i64), Reject> {
        &self.rejects
    }

    /// Records that came after their window was sealed.
    pub fn sealed_out(&self) -> i64 {
        self.sealed_out
    }

    /// The watermark of each merge partition.
    pub fn watermarks(&self) -> Vec<Option<i64>> {
        self.merges.iter().map(|merge| merge.fold.watermark()).collect()
    }

    /// The lowest watermark of all merge partitions.
    pub fn watermark(&self) -> Option<i64> {
        self.merges.iter().map(|merge| merge.fold.watermark()).min().flatten()
    }
}

fn fold_entry<A: Accumulator>(
    merge: &mut MergeFold<A>,
    offset: i64,
    appended_at: i64,
    entry: &Entry,
    sealed_out: &mut i64,
) -> Result<(), merge::Error> {
    let corrupt = |reason| merge::Error::Accumulator { offset, reason };
    match entry {
        Entry::Partial(datum) => {
            let partial = Partial::get(&mut Reader::new(datum)).map_err(corrupt)?;
            merge.fold_partial(offset, appended_at, &partial, |row| *sealed_out += row.records)
        }
        Entry::Marker(datum) => {
            let marker = Marker::get(&mut Reader::new(datum)).map_err(corrupt)?;
            merge.fold_marker(offset, appended_at, &marker)
        }
    }
}
