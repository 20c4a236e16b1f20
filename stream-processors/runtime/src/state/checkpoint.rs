//! Takes checkpoints of one merge partition, a piece at a time, and reads its files back.

use super::files::{Outcome, Piece, Writer};
use super::manifest::{Facts, Manifest, Stored, StoredWindow};
use super::{Claim, StateSettings};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemark_core::Accumulator;
use tidemark_core::merge::{MergeFold, Unsaved};
use xxhash_rust::xxh3::Xxh3Default;

/// Bytes encoded in one step: some tens of milliseconds, after which the member is polled.
const PIECE_BYTES: usize = 4 << 20;
/// Pause while a last checkpoint waits for the disk.
const LAST_PAUSE: Duration = Duration::from_millis(2);
/// What a last checkpoint may take: a process that is asked to stop is killed after 30 s on most machines.
const LAST_MAX: Duration = Duration::from_secs(20);

/// What there is on disk of one partition, and what is about to be.
pub(crate) struct Checkpoints {
    claim: Arc<Claim>,
    /// The checkpoint that is durable.
    manifest: Option<Manifest>,
    making: Option<Making>,
    /// The last one could not be written.
    failing: bool,
    next_number: i64,
    /// Processing time of the last one, good or bad, or of the beginning.
    last_at: i64,
    /// Of the last one that is durable.
    saved_version: Option<Version>,
    /// End of the changelog, asked for before the commit that is under way.
    asked: Option<i64>,
}

/// A state: equal ones have equal contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// What is on the changelog below this offset.
    Changelog(i64),
    /// What was folded of the partials below this offset.
    Partials(i64),
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing to do, or more to come.
    Going,
    /// A checkpoint is durable: bytes written.
    Done(i64),
    /// A checkpoint could not be written; the one before stands.
    Failed(String),
}

struct Making {
    writer: Writer,
    /// Pieces that wait for the disk.
    queue: VecDeque<Piece>,
    todo: VecDeque<Unsaved>,
    /// The window being encoded: from which row on, and what is written of it.
    current: Option<(Unsaved, usize, Growing)>,
    new: Vec<StoredWindow>,
    covered: i64,
    at: i64,
    bytes: i64,
    version: Version,
    published: bool,
}

struct Growing {
    number: i64,
    bytes: i64,
    hasher: Xxh3Default,
}

impl Growing {
    fn new(number: i64) -> Self {
        Self { number, bytes: 0, hasher: Xxh3Default::new() }
    }

    fn append(&mut self, bytes: Vec<u8>) -> Piece {
        self.bytes += bytes.len() as i64;
        self.hasher.update(&bytes);
        Piece::Append(self.stored().name(), bytes)
    }

    fn stored(&self) -> Stored {
        Stored { number: self.number, bytes: self.bytes, checksum: self.hasher.digest() as i64 }
    }
}

impl Checkpoints {
    pub(crate) fn new(claim: Arc<Claim>, now: i64) -> Self {
        let next_number = claim.next_number();
        Self {
            claim,
            manifest: None,
            making: None,
            failing: false,
            next_number,
            last_at: now,
            saved_version: None,
            asked: None,
        }
    }

    fn settings(&self) -> &StateSettings {
        &self.claim.dir.settings
    }

    /// Loads what is not rows into an empty fold: the offset to read the changelog from, or why there is nothing to load.
    /// A reason is given only where there was something.
    pub(crate) fn open<A: Accumulator>(
        &mut self,
        fold: &mut MergeFold<A>,
        facts: &Facts,
    ) -> Result<i64, Option<String>> {
        if self.claim.is_distrusted() {
            return Err(None);
        }
        let manifest = self.claim.manifest().map_err(Some)?.ok_or(None)?;
        manifest.judge(facts).map_err(Some)?;
        let (head, sealed) = (self.claim.read(&manifest.head), self.claim.read(&manifest.sealed));
        let (head, sealed) = (head.map_err(Some)?, sealed.map_err(Some)?);
        fold.load_ledgers(&head, &sealed).map_err(|error| Some(error.to_string()))?;
        for window in &manifest.windows {
            fold.set_cold(window.window_start, window.changed);
        }
        let covered = manifest.covered;
        self.manifest = Some(manifest);
        Ok(covered)
    }

    /// Windows that are on disk, latest first, with the length of their files.
    pub(crate) fn windows(&self) -> Vec<(i64, i64)> {
        let windows = self.manifest.iter().flat_map(|manifest| &manifest.windows).rev();
        windows.map(|window| (window.window_start, window.file.bytes)).collect()
    }

    /// Loads the rows of a cold window.
    pub(crate) fn load<A: Accumulator>(&self, fold: &mut MergeFold<A>, window_start: i64) -> Result<(), String> {
        let stored = self.manifest.as_ref().and_then(|manifest| manifest.window(window_start));
        let stored = stored.ok_or_else(|| format!("no checkpoint holds window {window_start}"))?;
        let bytes = self.claim.read(&stored.file)?;
        fold.load_rows(window_start, &bytes).map_err(|error| error.to_string())
    }

    /// Gives up what is on disk: the next restore reads the changelog alone.
    pub(crate) fn discard(&mut self) {
        self.claim.forget();
        self.claim.distrust();
        (self.manifest, self.making, self.saved_version, self.asked) = (None, None, None, None);
    }

    /// Whether the interval is over.
    pub(crate) fn is_due(&self, now: i64) -> bool {
        self.is_over(now, self.settings().checkpoint_interval_ms)
    }

    /// Whether the last one, good or bad, was so long ago.
    pub(crate) fn is_over(&self, now: i64, interval_ms: i64) -> bool {
        crate::drive::is_over(now, self.last_at, interval_ms)
    }

    /// Whether one has been begun.
    pub(crate) fn is_making(&self) -> bool {
        self.making.is_some()
    }

    /// Whether the last one could not be written.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing
    }

    /// Whether a state of this version is on disk.
    pub(crate) fn is_saved(&self, version: Version) -> bool {
        self.saved_version == Some(version)
    }

    /// Whether a state of this version is not on disk yet, nor on its way there.
    pub(crate) fn is_wanted(&self, version: Version) -> bool {
        self.making.is_none() && !self.is_saved(version)
    }

    /// The end of the changelog as it was before the commit that is about to be made.
    pub(crate) fn ask(&mut self, end: i64) {
        self.asked = Some(end);
    }

    /// The commit went through: what was asked for before it counts. Begins a checkpoint then.
    pub(crate) fn committed<A: Accumulator>(&mut self, fold: &MergeFold<A>, version: Version, now: i64) -> Step {
        match self.asked.take() {
            Some(covered) if self.making.is_none() => self.begin(fold, covered, version, now),
            _ => Step::Going,
        }
    }

    /// Begins a checkpoint of a state that holds everything below `covered` and nothing that is not committed.
    pub(crate) fn begin<A: Accumulator>(
        &mut self,
        fold: &MergeFold<A>,
        covered: i64,
        version: Version,
        now: i64,
    ) -> Step {
        self.last_at = now;
        let writer = match Writer::start(&self.claim) {
            Ok(writer) => writer,
            Err(error) => {
                self.failing = true;
                return Step::Failed(format!("no thread to write it: {error}"));
            }
        };
        self.making = Some(Making {
            writer,
            queue: VecDeque::new(),
            todo: fold.unsaved().into(),
            current: None,
            new: Vec::new(),
            covered,
            at: now,
            bytes: 0,
            version,
            published: false,
        });
        Step::Going
    }

    /// Goes on with what has been begun, a piece's worth. The fold must hold nothing that is not committed.
    pub(crate) fn step<A: Accumulator>(&mut self, fold: &mut MergeFold<A>) -> Step {
        let Some(mut making) = self.making.take() else { return Step::Going };
        if let Some(outcome) = making.writer.outcome() {
            return self.end(fold, &making, outcome);
        }
        self.advance(fold, &mut making);
        match making.writer.outcome() {
            Some(outcome) => self.end(fold, &making, outcome),
            None => {
                self.making = Some(making);
                Step::Going
            }
        }
    }

    /// Takes the last steps of what has been begun, and gives it up when the disk takes too long, or rows are yet to be removed.
    pub(crate) fn finish<A: Accumulator>(&mut self, fold: &mut MergeFold<A>) -> Step {
        let began = Instant::now();
        if fold.is_removing() {
            self.making = None;
        }
        while self.making.is_some() {
            if began.elapsed() > LAST_MAX {
                self.making = None;
                return Step::Failed(format!("the disk took more than {} s", LAST_MAX.as_secs()));
            }
            match self.step(fold) {
                Step::Going => std::thread::sleep(LAST_PAUSE),
                end => return end,
            }
        }
        Step::Going
    }

    fn advance<A: Accumulator>(&mut self, fold: &MergeFold<A>, making: &mut Making) {
        if !making.flush() || making.published {
            return;
        }
        if let Some((window, from, mut growing)) = making.current.take() {
            let mut bytes = Vec::new();
            let next = fold.put_rows(window.window_start, from, PIECE_BYTES, &mut bytes);
            let piece = growing.append(bytes);
            making.offer(piece);
            match next {
                Some(next) => making.current = Some((window, next, growing)),
                None => making.close(growing, |file, new| {
                    let Unsaved { window_start, changed } = window;
                    new.push(StoredWindow { window_start, changed, file });
                }),
            }
        } else if let Some(window) = making.todo.pop_front() {
            making.current = Some((window, 0, Growing::new(self.number())));
            self.advance(fold, making);
        } else if !fold.is_removing() {
            // Until then the checkpoint before holds rows of sealed windows that a restart would have to remove.
            self.publish(fold, making);
        }
    }

    fn number(&mut self) -> i64 {
        self.next_number += 1;
        self.next_number - 1
    }

    /// Writes what is not rows, and the manifest.
    fn publish<A: Accumulator>(&mut self, fold: &MergeFold<A>, making: &mut Making) {
        let before = self.manifest.as_ref();
        let mut windows: Vec<StoredWindow> = std::mem::take(&mut making.new);
        let is_new = |start: i64, windows: &[StoredWindow]| windows.iter().all(|window| window.window_start != start);
        let kept = before.iter().flat_map(|manifest| &manifest.windows);
        let kept: Vec<StoredWindow> = kept.filter(|old| is_new(old.window_start, &windows)).cloned().collect();
        windows.extend(kept);
        // Windows that were sealed meanwhile are state no more.
        windows.retain(|window| fold.is_open(window.window_start));
        windows.sort_by_key(|window| window.window_start);
        let sealed_changed = fold.sealed_changed();
        let old = before.filter(|manifest| manifest.sealed_changed == sealed_changed).map(|old| old.sealed.clone());
        let sealed = old.unwrap_or_else(|| self.whole(making, |out| fold.put_sealed(out)));
        let head = self.whole(making, |out| fold.put_head(out));
        let progress = fold.progress();
        making.offer(Piece::Publish(Box::new(Manifest {
            format: Manifest::format(),
            fingerprint: progress.fingerprint,
            merge_partition: progress.merge_partition,
            covered: making.covered,
            taken_at: making.at,
            head,
            sealed,
            sealed_changed,
            windows,
        })));
        making.published = true;
    }

    /// Writes a file in one piece.
    fn whole(&mut self, making: &mut Making, put: impl FnOnce(&mut Vec<u8>)) -> Stored {
        let (mut growing, mut bytes) = (Growing::new(self.number()), Vec::new());
        put(&mut bytes);
        let piece = growing.append(bytes);
        making.offer(piece);
        let stored = growing.stored();
        making.close(growing, |_, _| {});
        stored
    }

    fn end<A: Accumulator>(&mut self, fold: &mut MergeFold<A>, making: &Making, outcome: Outcome) -> Step {
        self.failing = outcome.is_err();
        match outcome {
            Ok(manifest) => {
                self.claim.trust();
                for window in &manifest.windows {
                    fold.saved(window.window_start, window.changed);
                }
                self.manifest = Some(*manifest);
                self.saved_version = Some(making.version);
                Step::Done(making.bytes)
            }
            Err(reason) => Step::Failed(reason),
        }
    }

    /// Drops rows from memory that are on disk, as far as that is wanted; false when more than `share` bytes are left.
    pub(crate) fn cool<A: Accumulator>(&self, fold: &mut MergeFold<A>, share: usize, now: i64) -> bool {
        let idle_since = now.saturating_sub(self.settings().cold_after_ms);
        fold.cool(idle_since, share)
    }
}

impl Making {
    /// Hands a piece over; it waits here when the disk is behind.
    fn offer(&mut self, piece: Piece) {
        if let Piece::Append(_, bytes) = &piece {
            self.bytes += bytes.len() as i64;
        }
        self.queue.push_back(piece);
        self.flush();
    }

    /// Whether nothing waits any more.
    fn flush(&mut self) -> bool {
        while let Some(piece) = self.queue.pop_front() {
            if let Some(piece) = self.writer.offer(piece) {
                self.queue.push_front(piece);
                return false;
            }
        }
        true
    }

    fn close(&mut self, growing: Growing, note: impl FnOnce(Stored, &mut Vec<StoredWindow>)) {
        let stored = growing.stored();
        self.offer(Piece::Sync(stored.name()));
        note(stored, &mut self.new);
    }
}
