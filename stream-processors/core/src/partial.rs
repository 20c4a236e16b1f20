//! The first fold: records of one source partition into `(window, key) → accumulator`, emptied at every commit.
//!
//! Nothing survives a commit but the [`Position`], which travels as offset metadata. Lateness is decided here, by this
//! partition's own watermark, so that a replay from the same position decides the same at any speed.

mod sessions;
mod writer;

use crate::dedupe::{ENTRY_BYTES, Seen};
use crate::job::{Accumulator, JobSpec, LatePolicy, Sample};
use crate::table::{self, Table};
use crate::window::{self, Hopping, Window, Windowing};
use sessions::LocalSessions;
use tidemark_schemas::avro;
use tidemark_schemas::engine::SourceMark;
use writer::PartialWriter;

/// A partial record is ended once its datum is larger; what is left goes into the next one.
pub const PARTIAL_BYTES_MAX: usize = 512 * 1024;

/// What a source partition's next record is decided by: committed together with the offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Next offset to read.
    pub next_offset: i64,
    /// Highest event time of any accepted record.
    pub watermark: Option<i64>,
    /// Highest append time, where the job counts repeats once.
    pub log_time: Option<i64>,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Folded.
    OnTime,
    /// A repeat of a record that was counted: nothing of it counts again.
    Duplicate,
    /// Taken out by `where`.
    Filtered,
    /// Late for its earliest windows, by the watermark before it; folded into them under [`LatePolicy::Amend`], not under
    /// [`LatePolicy::Hold`].
    Late {
        /// The first of them; of a session job the one that the record would be alone: from its time to a gap later.
        window: Window,
        /// How many; each starts a hop after the one before.
        windows: u32,
        /// Of its partition, before it.
        watermark: i64,
    },
    /// Its event time is more than `max_future` ahead of its append time: to be dead-lettered. The watermark stays.
    FarFuture,
}

#[derive(Debug, Clone)]
struct Cell<A> {
    records: i64,
    sum: A,
}

/// What a window and merge partition got in this commit.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    offsets: Option<(i64, i64)>,
    late: i64,
    held: i64,
}

impl Share {
    #[inline]
    fn widen(&mut self, first: i64, last: i64) {
        let (low, high) = self.offsets.unwrap_or((first, last));
        self.offsets = Some((low.min(first), high.max(last)));
    }
}

#[derive(Debug)]
struct OpenWindow<A> {
    start: i64,
    table: Table<Cell<A>>,
    shares: Vec<Share>,
}

/// The partial fold of one source partition.
#[derive(Debug)]
pub struct PartialFold<A> {
    topic: String,
    partition: u32,
    window: Windowing,
    grace_ms: i64,
    max_future_ms: i64,
    late: LatePolicy,
    punctuated: bool,
    merge_partitions: u32,
    fingerprint: i64,
    position: Position,
    seen: Option<Seen>,
    idle_at: Option<i64>,
    oldest_append: Option<i64>,
    counts: Counts,
    windows: Vec<OpenWindow<A>>,
    spare: Vec<Table<Cell<A>>>,
    /// What a job of session windows has folded. Of its `windows` there are shares of held records alone.
    sessions: LocalSessions<A>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    records: i64,
    late: i64,
    held: i64,
    filtered: i64,
    dead_lettered: i64,
    duplicates: i64,
}

impl<A: Accumulator> PartialFold<A> {
    /// Begins at a committed position.
    pub fn new(spec: &JobSpec, topic: &str, partition: u32, position: Position) -> Self {
        Self {
            topic: topic.to_owned(),
            partition,
            window: spec.window,
            grace_ms: spec.grace_ms,
            max_future_ms: spec.max_future_ms,
            late: spec.late,
            punctuated: false,
            merge_partitions: spec.merge_partitions,
            fingerprint: spec.fingerprint(),
            position,
            seen: spec.dedupe.as_ref().map(|dedupe| Seen::new(dedupe.for_ms, position.log_time)),
            idle_at: None,
            oldest_append: None,
            counts: Counts::default(),
            windows: Vec::new(),
            spare: Vec::new(),
            sessions: LocalSessions::default(),
        }
    }

    /// Of a source that says how far it is: [`Sample::moves`].
    #[must_use]
    pub fn punctuated(self, punctuated: bool) -> Self {
        Self { punctuated, ..self }
    }

    /// Where it stands.
    pub fn position(&self) -> Position {
        Position { log_time: self.seen.as_ref().and_then(Seen::log_time), ..self.position }
    }

    /// The ids that it has seen, where the job counts repeats once.
    pub fn seen(&mut self) -> Option<&mut Seen> {
        self.seen.as_mut()
    }

    /// The ids first seen since the last commit, in pieces of at most `most`, as [`Seen::restore`] takes them.
    pub fn fresh_ids(&self, most: usize) -> impl Iterator<Item = Vec<u8>> + '_ {
        self.seen.iter().flat_map(move |seen| seen.pieces(most))
    }

    /// Append time of the oldest record since the last commit.
    pub fn oldest_append(&self) -> Option<i64> {
        self.oldest_append
    }

    /// Records read since the last commit.
    pub fn records(&self) -> i64 {
        self.counts.records
    }

    /// Memory that the open windows take, bytes.
    pub fn bytes(&self) -> usize {
        let ids = self.seen.as_ref().map_or(0, Seen::fresh) * ENTRY_BYTES;
        let windows = self.windows.iter().map(|window| window.table.bytes() + window.shares.len() * size_of::<Share>());
        windows.sum::<usize>() + self.sessions.bytes() + ids
    }

    /// Folds a record in. Offsets must grow.
    #[inline]
    pub fn fold(&mut self, offset: i64, appended_at: i64, sample: &Sample<'_, A>) -> Verdict {
        self.note(offset, appended_at);
        if let Some(seen) = &mut self.seen
            && seen.is_repeat(sample.id, appended_at)
        {
            self.counts.duplicates += 1;
            return Verdict::Duplicate;
        }
        if sample.event_time > appended_at.saturating_add(self.max_future_ms) {
            self.counts.dead_lettered += 1;
            return Verdict::FarFuture;
        }
        let before = self.position.watermark;
        if sample.moves(self.punctuated) {
            self.position.watermark = before.max(Some(sample.event_time));
        }
        if !sample.wanted {
            self.counts.filtered += 1;
            return Verdict::Filtered;
        }
        match self.window {
            Windowing::Hopping { size_ms: size, hop_ms: hop } => {
                let windows = Hopping { size, hop }.windows(sample.event_time);
                windows.fold(Verdict::OnTime, |verdict, window| {
                    let late = self.fold_into(offset, window, before, sample);
                    later(verdict, late)
                })
            }
            Windowing::Tumbling { size_ms } => {
                let window = window::tumbling(sample.event_time, size_ms);
                self.fold_into(offset, window, before, sample)
            }
            Windowing::Session { gap_ms } => self.fold_session(offset, gap_ms, before, sample),
        }
    }

    #[inline]
    fn fold_into(&mut self, offset: i64, window: Window, before: Option<i64>, sample: &Sample<'_, A>) -> Verdict {
        let late = before.filter(|_| window::is_late(window.end, self.grace_ms, before));
        self.add(offset, window, late.is_some(), sample);
        match late {
            None => Verdict::OnTime,
            Some(watermark) => Verdict::Late { window, windows: 1, watermark },
        }
    }

    /// Counts a record that could not be read at all.
    pub fn reject(&mut self, offset: i64, appended_at: i64) {
        self.note(offset, appended_at);
        self.counts.dead_lettered += 1;
    }

    #[inline]
    fn note(&mut self, offset: i64, appended_at: i64) {
        // Append times do not fall within a partition: the first is the oldest.
        self.oldest_append.get_or_insert(appended_at);
        self.position.next_offset = offset + 1;
        self.counts.records += 1;
        self.idle_at = None;
    }

    #[inline]
    fn add(&mut self, offset: i64, window: Window, late: bool, sample: &Sample<'_, A>) {
        let hash = table::hash(sample.key);
        let merge_partition = table::merge_partition(hash, self.merge_partitions) as usize;
        let held = late && self.late == LatePolicy::Hold;
        if late {
            *if held { &mut self.counts.held } else { &mut self.counts.late } += 1;
        }
        let open = self.open(window.start);
        if let Some(share) = open.shares.get_mut(merge_partition) {
            let (first, _) = share.offsets.unwrap_or((offset, offset));
            share.offsets = Some((first, offset));
            share.late += i64::from(late && !held);
            share.held += i64::from(held);
        }
        if held {
            return;
        }
        let at = open.table.position(hash, sample.key, || Cell { records: 0, sum: A::default() });
        if let Some(cell) = open.table.get_mut(at) {
            cell.records += 1;
            cell.sum.add(&sample.add);
        }
    }

    /// The open window at `start`, moved to the front: neighbours in time mostly share a window.
    #[inline]
    fn open(&mut self, start: i64) -> &mut OpenWindow<A> {
        match self.windows.iter().position(|window| window.start == start) {
            Some(0) => {}
            Some(at) => self.windows.swap(0, at),
            None => {
                let table = self.spare.pop().unwrap_or_default();
                let shares = vec![Share::default(); self.merge_partitions as usize];
                self.windows.push(OpenWindow { start, table, shares });
                let last = self.windows.len() - 1;
                self.windows.swap(0, last);
            }
        }
        #[expect(clippy::indexing_slicing, reason = "every arm leaves the window at the front")]
        &mut self.windows[0]
    }

    /// Notes that the partition was found read to its end at `asked_at` after `idle_after` of silence.
    pub fn mark_idle(&mut self, asked_at: i64) {
        self.idle_at = Some(asked_at);
    }

    /// Notes that control markers were read past: the position may grow without records.
    pub fn skip_to(&mut self, next_offset: i64) {
        self.position.next_offset = self.position.next_offset.max(next_offset);
    }

    /// What the commit's markers say of this partition.
    pub fn mark(&self) -> SourceMark {
        SourceMark {
            topic: self.topic.clone(),
            partition: self.partition as i32,
            next_offset: self.position.next_offset,
            watermark: self.position.watermark,
            idle_at: self.idle_at,
            records: self.counts.records,
            late: self.counts.late,
            held: self.counts.held,
            filtered: self.counts.filtered,
            dead_lettered: self.counts.dead_lettered,
            duplicates: self.counts.duplicates,
        }
    }

    /// Hands the touched partials over as data of `Partial.avsc`, each with its merge partition.
    pub fn partials<E>(&self, mut send: impl FnMut(u32, &[u8]) -> Result<(), E>) -> Result<(), E> {
        if self.window.gap_ms().is_some() {
            return self.session_partials(send);
        }
        let groups: Vec<Vec<Vec<u32>>> = self.windows.iter().map(|window| self.by_merge_partition(window)).collect();
        for merge_partition in 0..self.merge_partitions {
            let mut writer = PartialWriter::new(self, merge_partition, &mut send);
            for (window, rows) in self.windows.iter().zip(&groups) {
                let rows = rows.get(merge_partition as usize).map_or(&[][..], Vec::as_slice);
                let Some(share) = window.shares.get(merge_partition as usize) else { continue };
                writer.window(window.start, share, rows, |&at, out| {
                    let Some((key, entry)) = window.table.get(at as usize) else { return };
                    out.row(key, entry.value.records, |out| entry.value.sum.put(out));
                })?;
            }
            writer.end()?;
        }
        Ok(())
    }

    fn by_merge_partition(&self, window: &OpenWindow<A>) -> Vec<Vec<u32>> {
        let mut groups = vec![Vec::new(); self.merge_partitions as usize];
        for (at, (_, entry)) in window.table.iter().enumerate() {
            if let Some(group) = groups.get_mut(table::merge_partition(entry.hash(), self.merge_partitions) as usize) {
                group.push(at as u32);
            }
        }
        groups
    }

    /// Forgets what has been committed; the position stays.
    pub fn committed(&mut self) {
        self.counts = Counts::default();
        self.oldest_append = None;
        self.seen.iter_mut().for_each(Seen::committed);
        self.sessions.clear();
        for mut window in self.windows.drain(..) {
            window.table.clear();
            self.spare.push(window.table);
        }
        self.spare.truncate(4);
    }
}

/// What becomes of a record of several windows, earliest first: those that it is late for come first.
fn later(verdict: Verdict, next: Verdict) -> Verdict {
    match (verdict, next) {
        (Verdict::Late { window, windows, watermark }, Verdict::Late { .. }) => {
            Verdict::Late { window, windows: windows + 1, watermark }
        }
        (Verdict::OnTime, next) => next,
        (verdict, _) => verdict,
    }
}

/// A position as offset metadata: `<fingerprint, 16 hex digits> <watermark or ->`, and ` <log time>` where there is one; at
/// most 58 bytes.
pub fn metadata(fingerprint: i64, position: &Position) -> String {
    let watermark = position.watermark.map_or("-".to_owned(), |watermark| watermark.to_string());
    let log_time = position.log_time.map_or(String::new(), |at| format!(" {at}"));
    format!("{fingerprint:016x} {watermark}{log_time}")
}

/// Why offset metadata cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// Written by another version of the job.
    #[error(
        "the offset was committed by this job with other settings (fingerprint {found}, now {expected:016x}): undo the change of its window, grace, late policy, key or partitions, or give it a new version"
    )]
    Fingerprint {
        /// What the metadata says.
        found: String,
        /// What this job has.
        expected: i64,
    },
    /// Not in our form.
    #[error(
        "offset metadata {0:?} was not written by this platform; the group was moved by another tool: reset it with a new job version"
    )]
    Form(String),
}

/// Reads [`metadata`] back, for a position at `next_offset`.
pub fn parse_metadata(text: &str, fingerprint: i64, next_offset: i64) -> Result<Position, MetadataError> {
    let form = || MetadataError::Form(text.to_owned());
    let (found, watermark) = text.split_once(' ').ok_or_else(form)?;
    if found != format!("{fingerprint:016x}") {
        return Err(MetadataError::Fingerprint { found: found.to_owned(), expected: fingerprint });
    }
    let time = |text: &str| text.parse().map(Some).map_err(|_| form());
    let (watermark, log_time) =
        watermark.split_once(' ').map_or((watermark, None), |(first, last)| (first, Some(last)));
    let log_time = log_time.map_or(Ok(None), time)?;
    Ok(Position { next_offset, watermark: if watermark == "-" { None } else { time(watermark)? }, log_time })
}

/// Reads an accumulator that fills its bytes.
pub fn read_accumulator<A: Accumulator>(bytes: &[u8]) -> Result<A, avro::Error> {
    let mut reader = avro::Reader::new(bytes);
    let accumulator = A::get(&mut reader)?;
    reader.finish()?;
    Ok(accumulator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_comes_back_and_fits() {
        let times = [None, Some(0), Some(i64::MIN), Some(i64::MAX)];
        for (watermark, log_time) in times.into_iter().flat_map(|a| times.map(|b| (a, b))) {
            let position = Position { next_offset: 9, watermark, log_time };
            let text = metadata(-5, &position);
            assert!(text.len() <= 64);
            assert_eq!(parse_metadata(&text, -5, 9), Ok(position));
        }
        let other = metadata(6, &Position::default());
        assert!(matches!(parse_metadata(&other, 5, 0), Err(MetadataError::Fingerprint { .. })));
        for bad in ["hello", "0000000000000005 x", "0000000000000005 1 x"] {
            assert!(matches!(parse_metadata(bad, 5, 0), Err(MetadataError::Form(_))), "{bad}");
        }
    }
}
