//! Documents whose results could not be read: they are in the index without their text until the store is back.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use tidemark_schemas::documents::Document;

/// Documents that wait for their text; of more, it is read by the next process.
const WAITING_MAX: usize = 10_000;
/// Documents that are tried again at a time.
const AGAIN_MAX: usize = 100;
/// The first pause, and the longest one: each failure doubles it.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What is still to be read.
#[derive(Default)]
pub(super) struct Unread {
    rows: HashMap<String, Document>,
    /// The store is left alone until then, and how long that was.
    away: Option<(Instant, Duration)>,
    /// Where the index was before the first of them: the next process reads on from there.
    since: Option<BTreeMap<u32, i64>>,
    /// There were more than have a place.
    overflowed: bool,
}

impl Unread {
    /// Whether the store is better left alone for now.
    pub(super) fn is_away(&self, now: Instant) -> bool {
        self.away.is_some_and(|(until, _)| now < until)
    }

    /// The store failed.
    pub(super) fn failed(&mut self, now: Instant) {
        let pause = self.away.map_or(PAUSE_MIN, |(_, pause)| (pause * 2).min(PAUSE_MAX));
        self.away = Some((now + pause, pause));
    }

    /// The store answered.
    pub(super) fn answered(&mut self) {
        self.away = None;
    }

    /// A row that was put into the index without its text; `before` is where the index was.
    pub(super) fn put(&mut self, row: Document, before: &BTreeMap<u32, i64>) {
        self.since.get_or_insert_with(|| before.clone());
        if self.rows.len() < WAITING_MAX || self.rows.contains_key(&row.file_id) {
            self.rows.insert(row.file_id.clone(), row);
        } else if !std::mem::replace(&mut self.overflowed, true) {
            tracing::error!("the text of more than {WAITING_MAX} documents waits; the rest is read at the next start");
        }
    }

    /// They are read anew, from where the index was before the first of them.
    pub(super) fn clear(&mut self) {
        (self.rows, self.since, self.overflowed) = (HashMap::new(), None, false);
    }

    /// There is a newer row, or none.
    pub(super) fn forget(&mut self, file_id: &str) {
        self.rows.remove(file_id);
    }

    /// Those that are to be tried again; they wait no more.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Document> {
        if self.is_away(now) {
            return Vec::new();
        }
        let keys: Vec<_> = self.rows.keys().take(AGAIN_MAX).cloned().collect();
        keys.iter().filter_map(|key| self.rows.remove(key)).collect()
    }

    /// Where one that begins anew is to read on, when the index is at `at`.
    pub(super) fn position(&mut self, at: &BTreeMap<u32, i64>) -> BTreeMap<u32, i64> {
        if self.rows.is_empty() && !self.overflowed {
            self.since = None;
        }
        self.since.clone().unwrap_or_else(|| at.clone())
    }
}
