//! Sessions by plain arithmetic, and what a run with them must have come to.

use std::collections::BTreeMap;

use tidemark_schemas::engine::Ledger;
use tidemark_views::{Row, Value};

use crate::check::{Wrong, same};
use crate::job::place;
use crate::reference::{Reference, Window};
use crate::views::Contents;

const HOUR_MS: i64 = 3_600_000;

/// Merge partition and key fields.
pub(crate) type Key = (i32, [String; 4]);
/// Of each key, ascending and at least the gap apart once they are cut.
pub(crate) type Sessions = BTreeMap<Key, Vec<Session>>;

/// A record that is folded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event {
    pub(crate) time: i64,
    pub(crate) late: bool,
    pub(crate) tx: i128,
    pub(crate) rx: i128,
    /// Partition and offset.
    pub(crate) at: (i32, i64),
}

/// Events of a key that are closer to each other than the gap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) start: i64,
    last: i64,
    records: i64,
    pub(crate) late: i64,
    tx: i128,
    rx: i128,
    /// Partition → first and last offset.
    sources: BTreeMap<i32, (i64, i64)>,
}

impl From<Event> for Session {
    fn from(Event { time, late, tx, rx, at: (partition, offset) }: Event) -> Self {
        let sources = BTreeMap::from([(partition, (offset, offset))]);
        Self { start: time, last: time, records: 1, late: i64::from(late), tx, rx, sources }
    }
}

impl Session {
    /// Adds it to what a window holds.
    pub(crate) fn count(&self, window: &mut Window) {
        window.records += self.records;
        window.late += self.late;
        self.sources.iter().for_each(|(&partition, &range)| widen(&mut window.sources, partition, range));
    }
}

fn widen(ranges: &mut BTreeMap<i32, (i64, i64)>, partition: i32, range: (i64, i64)) {
    let all = ranges.entry(partition).or_insert(range);
    *all = (all.0.min(range.0), all.1.max(range.1));
}

/// The hour that a session is kept under.
pub(crate) fn bucket(start: i64) -> i64 {
    start.div_euclid(HOUR_MS) * HOUR_MS
}

/// Sorts events and cuts them where `gap_ms` lies between two.
pub(crate) fn cut(mut events: Vec<Session>, gap_ms: i64) -> Vec<Session> {
    events.sort_by_key(|event| event.start);
    let mut sessions: Vec<Session> = Vec::new();
    for event in events {
        match sessions.last_mut().filter(|session| event.start - session.last < gap_ms) {
            None => sessions.push(event),
            Some(session) => {
                session.last = event.last;
                session.records += event.records;
                session.late += event.late;
                (session.tx, session.rx) = (session.tx + event.tx, session.rx + event.rx);
                event.sources.iter().for_each(|(&partition, &range)| widen(&mut session.sources, partition, range));
            }
        }
    }
    sessions
}

/// Every session with its key.
pub(crate) fn each(sessions: &Sessions) -> impl Iterator<Item = (&Key, &Session)> {
    sessions.iter().flat_map(|(key, sessions)| sessions.iter().map(move |session| (key, session)))
}

/// A row of the view, or what came for a sealed bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) key: Key,
    pub(crate) start: i64,
    pub(crate) last: i64,
    pub(crate) records: i64,
    pub(crate) tx: i128,
    pub(crate) rx: i128,
}

fn part(row: &Row) -> Result<Part, String> {
    let [Value::Text(src), Value::Text(dest), Value::Text(vpc), Value::Long(start)] = row.clustering.as_slice() else {
        return Err(format!("{row:?}"));
    };
    let values = row.values.as_slice();
    let [Value::Integer(rx), Value::Integer(tx), Value::Long(last), Value::Long(records)] = values else {
        return Err(format!("{row:?}"));
    };
    let partition = &row.partition;
    same("bucket of a session", &partition.window_start, &bucket(*start))?;
    let names = [&partition.tenant, src, dest, vpc].map(Clone::clone);
    let key = (partition.merge_partition, names);
    Ok(Part { key, start: *start, last: *last, records: *records, tx: *tx, rx: *rx })
}

/// INV-3 and every figure of every ledger entry.
pub(crate) fn check(
    contents: &Contents,
    reference: &Reference,
    sealed_out: &[Part],
    gap_ms: i64,
    grace_ms: i64,
) -> Wrong {
    let mut live = Vec::new();
    for row in contents.rows.values() {
        let part = part(row)?;
        match (part.records, part.tx, part.rx) {
            (0, 0, 0) => {}
            (0, ..) => return Err(format!("a row that was retracted is not empty: {part:?}")),
            _ => live.push(part),
        }
    }
    let is_sealing = contents.ledgers.values().any(|ledger| ledger.sealed);
    rows(&live, reference, sealed_out, is_sealing)?;
    contents.ledgers.iter().try_for_each(|(window, ledger)| {
        let own: Vec<&Part> = live.iter().filter(|part| (bucket(part.start), part.key.0) == *window).collect();
        let watermark = contents.progress.get(&window.1).and_then(|progress| progress.watermark);
        let want = reference.windows.get(window).cloned().unwrap_or_default();
        self::ledger(ledger, &own, gap_ms, watermark >= Some(ledger.window_end + grace_ms))?;
        same(&format!("held of {ledger:?}"), &ledger.held, &want.held)?;
        if is_sealing {
            return Ok(());
        }
        same(&format!("records of {ledger:?}"), &ledger.records, &want.records)?;
        same(&format!("late of {ledger:?}"), &ledger.late, &want.late)?;
        // A session that is joined with an earlier one brings the offsets of its whole bucket.
        let named =
            |partition: i32| ledger.sources.iter().find(|source| place(&source.topic, source.partition) == partition);
        let is_named = |(&partition, &(first, last)): (&i32, &(i64, i64))| {
            named(partition).is_some_and(|source| source.first_offset <= first && last <= source.last_offset)
        };
        match want.sources.iter().all(is_named) {
            true => Ok(()),
            false => Err(format!("sources of {ledger:?}: want {:?}", want.sources)),
        }
    })?;
    let missing = reference.windows.keys().find(|window| !contents.ledgers.contains_key(*window));
    match missing.filter(|_| !is_sealing) {
        Some(window) => Err(format!("the ledger of {window:?} is missing")),
        None => Ok(()),
    }
}

/// What the ledger of a bucket says of its rows.
fn ledger(ledger: &Ledger, rows: &[&Part], gap_ms: i64, is_final: bool) -> Wrong {
    same(&format!("rows of {ledger:?}"), &ledger.rows, &(rows.len() as i64))?;
    same(&format!("records of {ledger:?}"), &ledger.records, &rows.iter().map(|row| row.records).sum())?;
    same(&format!("final or not, {ledger:?}"), &ledger.closed_at.is_some(), &is_final)?;
    let least = rows.iter().map(|row| row.last + gap_ms).fold(ledger.window_start + HOUR_MS, i64::max);
    match () {
        () if ledger.window_end < least => Err(format!("a bucket ends before its last session, {least}: {ledger:?}")),
        () if ledger.late > 0 && !ledger.amended => Err(format!("late records amend: {ledger:?}")),
        () => Ok(()),
    }
}

/// Rows and what was sealed out lie within the sessions of the reference and add up to them; where nothing is sealed, they are
/// the sessions.
fn rows(live: &[Part], reference: &Reference, sealed_out: &[Part], is_sealing: bool) -> Wrong {
    let mut sums: BTreeMap<(&Key, i64), (i64, i128, i128)> = BTreeMap::new();
    for part in live.iter().chain(sealed_out) {
        let sessions = reference.sessions.get(&part.key).map_or(&[][..], Vec::as_slice);
        let of = sessions.iter().find(|session| session.start <= part.start && part.last <= session.last);
        let Some(session) = of else { return Err(format!("it is within no session: {part:?}, want {sessions:?}")) };
        if !is_sealing && (part.start, part.last) != (session.start, session.last) {
            return Err(format!("it is not a whole session: {part:?}, want {session:?}"));
        }
        let sum = sums.entry((&part.key, session.start)).or_default();
        *sum = (sum.0 + part.records, sum.1 + part.tx, sum.2 + part.rx);
    }
    for (key, session) in each(&reference.sessions) {
        let got = sums.get(&(key, session.start)).copied().unwrap_or_default();
        same(&format!("sums of {key:?}, {session:?}"), &got, &(session.records, session.tx, session.rx))?;
    }
    Ok(())
}
