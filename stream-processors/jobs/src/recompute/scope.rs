//! Which offsets windows were made of, and which records were theirs: plain functions of ledgers and progress.
//!
//! A merge partition takes the partials of a source partition in the order of their offsets, so what it has folded of a window
//! is a prefix. How far that goes is said by two facts, and nothing else is needed to tell the records that are in a figure from
//! those that are not:
//! - a window that is not sealed holds every record before the progress entry's `next_offset`: what the ledger does not speak of
//!   and is before that was *lost*, and recomputing finds it;
//! - a sealed window holds what is not past the ledger's `last_offset` of that source partition: what came after was turned away.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use tidemark_core::{JobSpec, LatePolicy, window};
use tidemark_schemas::engine::{Ledger, Progress};

/// Topic and partition.
pub type Source = (String, i32);

/// Offsets of one source partition; both ends are in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Which partition.
    pub source: Source,
    /// Lowest offset.
    pub first: i64,
    /// Highest offset.
    pub last: i64,
}

/// What has been deleted of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// Of which partition.
    pub source: Source,
    /// First offset of the window there.
    pub first: i64,
    /// First offset that is kept.
    pub start: i64,
}

/// Windows to recompute, and what is known of them and of their neighbours.
#[derive(Debug)]
pub struct Scope<'l> {
    spec: &'l JobSpec,
    /// Starts of the windows to recompute.
    pub selected: BTreeSet<i64>,
    /// By window and merge partition; of sessions also the buckets that reach into the selected ones.
    known: BTreeMap<i64, BTreeMap<u32, &'l Ledger>>,
    progress: &'l [Progress],
}

impl<'l> Scope<'l> {
    /// Of the windows that start at `selected`. `ledgers` are those of these windows; of a session job of all before their ends.
    pub fn new(spec: &'l JobSpec, ledgers: &'l [Ledger], progress: &'l [Progress], selected: BTreeSet<i64>) -> Self {
        let mut scope = Self { spec, selected, known: BTreeMap::new(), progress };
        let of_selected = ledgers.iter().filter(|ledger| scope.selected.contains(&ledger.window_start));
        let end = of_selected.clone().map(|ledger| ledger.window_end).max();
        let (Some(&first), Some(end)) = (scope.selected.first(), end) else { return scope };
        let from = first.saturating_sub(spec.window.gap_ms().unwrap_or(0));
        for ledger in ledgers {
            let near = spec.window.gap_ms().is_some() && ledger.window_end > from && ledger.window_start < end;
            if near || scope.selected.contains(&ledger.window_start) {
                scope.known.entry(ledger.window_start).or_default().insert(ledger.merge_partition as u32, ledger);
            }
        }
        scope
    }

    /// Event times of the records that can be in the selected windows; of sessions also of those that decide where the first one
    /// begins: a gap earlier.
    pub fn times(&self) -> std::ops::Range<i64> {
        let Some(&first) = self.selected.first() else { return 0..0 };
        let size = self.spec.window.size_ms();
        let end = self.selected.iter().map(|start| self.end(*start).unwrap_or(start.saturating_add(size))).max();
        first.saturating_sub(self.spec.window.gap_ms().unwrap_or(0))..end.unwrap_or(first)
    }

    /// End of a window as its ledgers have it: a bucket of sessions ends with its last one.
    pub fn end(&self, start: i64) -> Option<i64> {
        self.known.get(&start)?.values().map(|ledger| ledger.window_end).max()
    }

    /// The ledgers of a window.
    pub fn ledgers(&self, start: i64) -> impl Iterator<Item = &'l Ledger> {
        self.known.get(&start).into_iter().flat_map(BTreeMap::values).copied()
    }

    /// The ledgers that a window's figure depends on: its own, and of sessions those of the buckets that touch it.
    fn around(&self, start: i64) -> impl Iterator<Item = &'l Ledger> {
        let end = self.end(start).unwrap_or(start);
        let gap_ms = self.spec.window.gap_ms();
        let from = start.saturating_sub(gap_ms.unwrap_or(0));
        let touches = move |ledger: &&&Ledger| {
            ledger.window_start == start || (gap_ms.is_some() && ledger.window_end > from && ledger.window_start < end)
        };
        self.known.values().flat_map(BTreeMap::values).filter(touches).copied()
    }

    /// What of a window's offsets is no longer kept, by `start_of` each partition.
    pub fn gone(&self, start: i64, start_of: &dyn Fn(&Source) -> i64) -> Vec<Gone> {
        let mut gone: BTreeMap<Source, Gone> = BTreeMap::new();
        for range in self.around(start).flat_map(|ledger| &ledger.sources) {
            let source = (range.topic.clone(), range.partition);
            let kept = start_of(&source);
            if range.first_offset < kept {
                let new = Gone { source: source.clone(), first: range.first_offset, start: kept };
                let gone = gone.entry(source).or_insert(new);
                gone.first = gone.first.min(range.first_offset);
            }
        }
        gone.into_values().collect()
    }

    /// Whether one of `starts` is a window that this one's figure depends on.
    pub fn is_near(&self, start: i64, starts: &BTreeSet<i64>) -> bool {
        self.around(start).any(|ledger| starts.contains(&ledger.window_start))
    }

    /// Late records that the windows do not hold, by window and merge partition.
    pub fn held(&self) -> impl Iterator<Item = ((i64, u32), i64)> {
        let ledgers = self.known.values().flat_map(BTreeMap::values);
        ledgers.map(|ledger| ((ledger.window_start, ledger.merge_partition as u32), ledger.held))
    }

    /// What is to be read. Without late records these are the ledger's ranges; what came after a window was sealed is in no
    /// range, so with them, and where such records were held, everything that was read since goes with it.
    pub fn spans(&self, include_late: bool, start_of: &dyn Fn(&Source) -> i64) -> Vec<Span> {
        let mut spans: BTreeMap<Source, (i64, i64)> = BTreeMap::new();
        let mut widen = |source: Source, first: i64, last: i64| {
            let span = spans.entry(source).or_insert((first, last));
            *span = (span.0.min(first), span.1.max(last));
        };
        for ledger in self.known.values().flat_map(BTreeMap::values) {
            for range in &ledger.sources {
                widen((range.topic.clone(), range.partition), range.first_offset, range.last_offset);
            }
            let held = self.spec.late == LatePolicy::Hold && ledger.sealed && ledger.held > 0;
            if held || (include_late && ledger.sealed_out > 0) {
                for (source, next_offset) in self.read_so_far(ledger.merge_partition) {
                    let range =
                        ledger.sources.iter().find(|range| (&range.topic, range.partition) == (&source.0, source.1));
                    let first = range.map_or_else(|| start_of(&source), |range| range.first_offset);
                    if first < next_offset {
                        widen(source, first, next_offset - 1);
                    }
                }
            }
        }
        spans.into_iter().map(|(source, (first, last))| Span { source, first, last }).collect()
    }

    fn read_so_far(&self, merge_partition: i32) -> impl Iterator<Item = (Source, i64)> {
        let progress = self.progress.iter().filter(move |progress| progress.merge_partition == merge_partition);
        progress.flat_map(|p| &p.sources).map(|s| ((s.topic.clone(), s.partition), s.next_offset))
    }

    /// What of one source partition is in which window.
    pub fn limits(&self, source: &Source) -> Limits {
        let limit = |ledger: &Ledger| {
            let range = ledger.sources.iter().find(|range| (&range.topic, range.partition) == (&source.0, source.1));
            let late = self.spec.late == LatePolicy::Hold && ledger.late > 0;
            Limit { end: ledger.window_end, last: range.map(|range| range.last_offset), sealed: ledger.sealed, late }
        };
        let windows = self.known.iter().map(|(start, ledgers)| {
            (*start, ledgers.iter().map(|(merge_partition, ledger)| (*merge_partition, limit(ledger))).collect())
        });
        let next = (0..self.spec.merge_partitions).filter_map(|merge_partition| {
            let next = self.read_so_far(merge_partition as i32).find(|(of, _)| of == source)?.1;
            Some((merge_partition, next))
        });
        Limits { windows: windows.collect(), next: next.collect() }
    }
}

#[derive(Debug, Clone, Copy)]
struct Limit {
    end: i64,
    last: Option<i64>,
    sealed: bool,
    /// Late records are in it that the policy alone would hold.
    late: bool,
}

/// What of one source partition is in which window.
#[derive(Debug)]
pub struct Limits {
    windows: BTreeMap<i64, HashMap<u32, Limit>>,
    next: HashMap<u32, i64>,
}

impl Limits {
    /// Whether a record at `offset` is in the window at `start`, as far as its merge partition goes.
    pub fn takes(&self, start: i64, merge_partition: u32, offset: i64) -> bool {
        let limit = self.windows.get(&start).and_then(|window| window.get(&merge_partition));
        let open = limit.is_none_or(|limit| !limit.sealed);
        limit.is_some_and(|limit| limit.last >= Some(offset)) || (open && self.is_read(merge_partition, offset))
    }

    /// Whether a record at `offset` and `time` is in a session: of its own bucket, or of one that began earlier.
    pub fn takes_session(&self, time: i64, merge_partition: u32, offset: i64) -> bool {
        let bucket = window::session_bucket(time).start;
        self.takes(bucket, merge_partition, offset)
            || self.windows.range(..bucket).any(|(_, window)| {
                window.get(&merge_partition).is_some_and(|limit| limit.end > time && limit.last >= Some(offset))
            })
    }

    /// The sealed bucket beside whose sessions a record may stand that came past the last offset there: the engine joins
    /// nothing with sealed sessions, so whether it is one of them or by itself depends on when commits came. A record that is
    /// in an earlier bucket is in no doubt because of a later one.
    pub fn doubt(&self, time: i64, merge_partition: u32, offset: i64, gap_ms: i64) -> Option<i64> {
        let reaching = self.windows.range(..time.saturating_add(gap_ms));
        let mut beside = reaching.filter_map(|(start, window)| Some((*start, window.get(&merge_partition)?)));
        let covers = |limit: &Limit| limit.end > time.saturating_sub(gap_ms);
        let first = beside.find(|(_, limit)| covers(limit))?;
        (first.1.sealed && first.1.last < Some(offset)).then_some(first.0)
    }

    /// Whether the window at `start` has been recomputed with the late records up to `offset`. Under `hold` nothing else puts a
    /// late record into rows, and a recomputation takes all there are: they go as far as the window's last offset.
    pub fn has_late(&self, start: i64, merge_partition: u32, offset: i64) -> bool {
        let limit = self.windows.get(&start).and_then(|window| window.get(&merge_partition));
        limit.is_some_and(|limit| limit.late && limit.last >= Some(offset))
    }

    /// Whether the merge partition has taken in what the offset holds.
    pub fn is_read(&self, merge_partition: u32, offset: i64) -> bool {
        self.next.get(&merge_partition).is_some_and(|next| offset < *next)
    }
}
