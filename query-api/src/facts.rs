//! What is known of some windows at one moment, and the completeness that answers say.
//!
//! A writer makes rows durable, then the ledger entries that count them, then the watermark that passes them. Facts are read
//! the other way round: watermark, ledger, rows. So an answer never claims more than it holds: its rows are never older than
//! its ledger, and its ledger never older than its watermark. Rows can be *newer* than the ledger; a row's revision shows
//! that (see [`crate::scan`]), and the question is then put again, a bounded number of times.

use serde::Serialize;
use tidemark_schemas::avro::Avro;
use tidemark_schemas::engine::{Ledger, Progress, SourceRange};
use tidemark_views::Windowing;
use utoipa::ToSchema;

use crate::instant::{self, HOUR_MS};
use crate::range::Range;
use crate::state::{self, State};

/// How complete an answer is, how fresh, and what it was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Completeness {
    /// The least complete state of the windows.
    pub state: State,
    /// Lowest watermark of all merge partitions, RFC 3339; null while one has none.
    pub watermark: Option<String>,
    /// Processing time up to which everything read is in, RFC 3339; null before the first record.
    pub as_of: Option<String>,
    /// Records in the windows' rows, whatever the filter.
    pub records: i64,
    /// Records that came late: the three below together.
    pub late: i64,
    /// Late, and in the rows.
    pub late_folded: i64,
    /// Late, and not in the rows (policy `hold`).
    pub late_held: i64,
    /// Came after sealing; not in the rows.
    pub sealed_out: i64,
    /// Distinct keys in the windows, whatever the filter.
    pub rows: i64,
    /// When the first rows reach the end of their retention and start to go, RFC 3339; null if there are no rows.
    pub expires_at: Option<String>,
    /// Source offsets that the windows were made of, by topic and partition; both ends are in it.
    pub sources: Vec<Source>,
    /// Of a range of hours of the flows: every hour with its own state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<Vec<HourState>>,
    /// Of a range of windows of any other view: those that have records, each with its own state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<Vec<WindowState>>,
}

/// Offsets of one source partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Source {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Lowest offset.
    pub first_offset: i64,
    /// Highest offset.
    pub last_offset: i64,
}

/// One hour of a range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct HourState {
    /// Hours since the Unix epoch.
    pub hour: i64,
    /// Its state.
    pub state: State,
    /// Records in its rows.
    pub records: i64,
    /// Records that came late.
    pub late: i64,
}

/// One window of a range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct WindowState {
    /// RFC 3339.
    pub start: String,
    /// RFC 3339, not in it.
    pub end: String,
    /// Its state.
    pub state: State,
    /// Records in its rows.
    pub records: i64,
    /// Records that came late.
    pub late: i64,
}

/// Progress and ledger of a range of windows, read in that order.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) progress: Vec<Progress>,
    /// By window start and merge partition.
    pub(crate) ledgers: Vec<Ledger>,
    pub(crate) watermark: Option<i64>,
    cut: Windowing,
    grace_ms: i64,
    retention_ms: i64,
}

impl Facts {
    pub(crate) fn new(
        progress: Vec<Progress>,
        ledgers: Vec<Ledger>,
        cut: Windowing,
        grace_ms: i64,
        retention_ms: i64,
    ) -> Self {
        let watermark = state::watermark(&progress);
        Self { progress, ledgers, watermark, cut, grace_ms, retention_ms }
    }

    /// The windows that have ledger entries, ascending.
    pub(crate) fn windows(&self) -> impl DoubleEndedIterator<Item = &[Ledger]> {
        self.ledgers.chunk_by(|a, b| a.window_start == b.window_start)
    }

    /// Where the window that starts at `start` ends. A bucket of sessions ends with the last session that began in it, so its
    /// ledger knows better than the length of the bucket.
    pub(crate) fn end(&self, start: i64) -> i64 {
        let known = self.window(start).iter().map(|l| l.window_end).max();
        start.saturating_add(self.cut.size_ms()).max(known.unwrap_or(i64::MIN))
    }

    /// The watermark at which that window closes.
    pub(crate) fn closes_at(&self, start: i64) -> i64 {
        self.end(start).saturating_add(self.grace_ms)
    }

    /// The ledger entries of the window that starts at `start`, by merge partition.
    pub(crate) fn window(&self, start: i64) -> &[Ledger] {
        let from = self.ledgers.partition_point(|l| l.window_start < start);
        let to = self.ledgers.partition_point(|l| l.window_start <= start);
        self.ledgers.get(from..to).unwrap_or_default()
    }

    pub(crate) fn state(&self, start: i64) -> State {
        state::decide(
            self.end(start),
            self.grace_ms,
            self.watermark,
            state::merge_partitions(&self.progress),
            self.window(start),
        )
    }

    /// The oldest `as_of`: everything read before it is in.
    pub(crate) fn as_of(&self) -> Option<i64> {
        self.progress.iter().map(|p| p.as_of).min()
    }

    /// When the first of the rows may go: they are kept from their first write, and none was written before its window opened.
    pub(crate) fn expires_at(&self) -> Option<i64> {
        self.ledgers.iter().map(|l| l.opened_at.saturating_add(self.retention_ms)).min()
    }

    pub(crate) fn least_state(&self, range: Range) -> State {
        range.starts().map(|start| self.state(start)).min().unwrap_or(State::Open)
    }

    /// Of hours of the flows.
    pub(crate) fn hourly(&self, range: Range) -> Completeness {
        let hours = (!range.single).then(|| range.starts().map(|start| self.hour_state(start)).collect());
        Completeness { hours, ..self.completeness(range) }
    }

    /// Of windows of any view.
    pub(crate) fn windowed(&self, range: Range) -> Completeness {
        let windows = (!range.single).then(|| self.windows().filter_map(|w| self.window_state(w)).collect());
        Completeness { windows, ..self.completeness(range) }
    }

    fn completeness(&self, range: Range) -> Completeness {
        let count = Counts::of(&self.ledgers);
        Completeness {
            state: self.least_state(range),
            watermark: self.watermark.map(instant::rfc3339),
            as_of: self.as_of().map(instant::rfc3339),
            records: count.records,
            late: count.late(),
            late_folded: count.late_folded,
            late_held: count.late_held,
            sealed_out: count.sealed_out,
            rows: count.rows,
            expires_at: self.expires_at().map(instant::rfc3339),
            sources: sources(&self.ledgers),
            hours: None,
            windows: None,
        }
    }

    fn hour_state(&self, start: i64) -> HourState {
        let count = Counts::of(self.window(start));
        HourState { hour: start / HOUR_MS, state: self.state(start), records: count.records, late: count.late() }
    }

    fn window_state(&self, window: &[Ledger]) -> Option<WindowState> {
        let start = window.first()?.window_start;
        let count = Counts::of(window);
        Some(WindowState {
            start: instant::rfc3339(start),
            end: instant::rfc3339(self.end(start)),
            state: self.state(start),
            records: count.records,
            late: count.late(),
        })
    }

    /// Identifies the facts: equal iff the same question has the same rows and counts for an answer. While a window is open the
    /// watermark and `as_of` are part of it. Once all are closed they are not, though answers still say them: they keep moving
    /// and tell nothing new about a closed window, and an answer is then as fresh as the moment it was first made.
    pub(crate) fn tag(&self, range: Range) -> u128 {
        let mut bytes = Vec::with_capacity(128 * (1 + self.ledgers.len()));
        for start in range.starts() {
            bytes.push(self.state(start) as u8);
        }
        self.ledgers.put(&mut bytes);
        if self.least_state(range) == State::Open {
            self.watermark.put(&mut bytes);
            self.as_of().put(&mut bytes);
        }
        xxhash_rust::xxh3::xxh3_128(&bytes)
    }
}

/// Sums over ledger entries.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) rows: i64,
    pub(crate) records: i64,
    pub(crate) late_folded: i64,
    pub(crate) late_held: i64,
    pub(crate) sealed_out: i64,
}

impl Counts {
    pub(crate) fn of(ledgers: &[Ledger]) -> Self {
        let mut sum = Self::default();
        for ledger in ledgers {
            sum.rows = sum.rows.saturating_add(ledger.rows);
            sum.records = sum.records.saturating_add(ledger.records);
            sum.late_folded = sum.late_folded.saturating_add(ledger.late);
            sum.late_held = sum.late_held.saturating_add(ledger.held);
            sum.sealed_out = sum.sealed_out.saturating_add(ledger.sealed_out);
        }
        sum
    }

    pub(crate) fn late(self) -> i64 {
        self.late_folded.saturating_add(self.late_held).saturating_add(self.sealed_out)
    }
}

/// The union of the source ranges, by topic and partition.
pub(crate) fn sources(ledgers: &[Ledger]) -> Vec<Source> {
    let mut all: Vec<&SourceRange> = ledgers.iter().flat_map(|l| &l.sources).collect();
    all.sort_by_key(|s| (&s.topic, s.partition));
    let mut union: Vec<Source> = vec![];
    for range in all {
        match union.last_mut() {
            Some(last) if last.topic == range.topic && last.partition == range.partition => {
                last.first_offset = last.first_offset.min(range.first_offset);
                last.last_offset = last.last_offset.max(range.last_offset);
            }
            _ => union.push(Source {
                topic: range.topic.clone(),
                partition: range.partition,
                first_offset: range.first_offset,
                last_offset: range.last_offset,
            }),
        }
    }
    union
}
