//! A view store in memory that fails, and that judges what is written to it while it is written.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use tidemark_log::simulated::{Dice, Time};
use tidemark_schemas::engine::{Ledger, Progress};
use tidemark_views::{CatalogEntry, Error, Row, RowPartition, RowQuery, Value, ViewSpec, ViewStore};

use crate::schedule::{Config, ViewFaults};

/// A write of the writer.
#[derive(Clone)]
enum Put {
    Rows(Vec<Row>),
    Ledgers(Vec<Ledger>),
    Progress(Progress),
}

/// What is in the store, and what was found wrong about it.
#[derive(Default)]
pub(crate) struct Contents {
    pub(crate) rows: BTreeMap<(RowPartition, Vec<Value>), Row>,
    pub(crate) ledgers: BTreeMap<(i64, i32), Ledger>,
    pub(crate) progress: BTreeMap<i32, Progress>,
    /// Every progress entry that was the newest once.
    pub(crate) history: Vec<Progress>,
    pub(crate) wrong: Vec<String>,
    /// Faults that struck.
    pub(crate) struck: u64,
    /// Writes that came after a newer one.
    pub(crate) outrun: u64,
    grace_ms: i64,
    sessions: bool,
}

struct State {
    contents: Contents,
    late: Vec<Put>,
    dice: Dice,
    faults: ViewFaults,
    down_until_ms: u64,
}

/// The store.
pub(crate) struct MemoryViews {
    time: Arc<Time>,
    state: Mutex<State>,
}

impl MemoryViews {
    pub(crate) fn new(time: &Arc<Time>, config: &Config) -> Arc<Self> {
        let (grace_ms, sessions) = (config.grace_ms(), config.gap_ms.is_some());
        let state = State {
            contents: Contents { grace_ms, sessions, ..Contents::default() },
            late: Vec::new(),
            dice: Dice::new(0),
            faults: ViewFaults::default(),
            down_until_ms: 0,
        };
        Arc::new(Self { time: Arc::clone(time), state: Mutex::new(state) })
    }

    pub(crate) fn set(&self, seed: u64, faults: ViewFaults) {
        let mut state = self.state.lock().unwrap();
        (state.dice, state.faults) = (Dice::new(seed ^ 0x5151), faults);
    }

    pub(crate) fn down_for(&self, ms: u64) {
        self.state.lock().unwrap().down_until_ms = self.time.elapsed_ms() + ms;
    }

    /// Writes what is late, and is up from here on.
    pub(crate) fn mend(&self) {
        let mut state = self.state.lock().unwrap();
        (state.faults, state.down_until_ms) = (ViewFaults::default(), 0);
        let State { contents, late, .. } = &mut *state;
        late.drain(..).for_each(|put| contents.apply(put));
    }

    pub(crate) fn look<T>(&self, at: impl FnOnce(&Contents) -> T) -> T {
        at(&self.state.lock().unwrap().contents)
    }

    fn put(&self, put: Put) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap();
        let State { contents, late, dice, faults, down_until_ms } = &mut *state;
        let unavailable = || Err(Error::Unavailable("the view store of the simulation did not answer".into()));
        if dice.strikes(faults.slow) {
            contents.struck += 1;
            self.time.pass(dice.below(8_000));
        }
        if self.time.elapsed_ms() < *down_until_ms || dice.strikes(faults.fails) {
            contents.struck += 1;
            return unavailable();
        }
        if dice.strikes(faults.late) {
            contents.struck += 1;
            late.push(put);
            return unavailable();
        }
        contents.apply(put);
        if !late.is_empty() && dice.strikes(300) {
            contents.apply(late.remove(0));
        }
        if dice.strikes(faults.answer_lost) {
            contents.struck += 1;
            return unavailable();
        }
        Ok(())
    }
}

impl Contents {
    fn apply(&mut self, put: Put) {
        match put {
            Put::Rows(rows) => rows.into_iter().for_each(|row| self.row(row)),
            Put::Ledgers(ledgers) => ledgers.into_iter().for_each(|ledger| self.ledger(ledger)),
            Put::Progress(progress) => self.newest(progress),
        }
    }

    fn wrong(&mut self, what: String) {
        self.wrong.push(what);
    }

    fn row(&mut self, row: Row) {
        let key = (row.partition.clone(), row.clustering.clone());
        match self.rows.get(&key) {
            Some(there) if there.revision > row.revision => self.outrun += 1,
            Some(there) if there.revision == row.revision => {
                if *there != row {
                    self.wrong(format!("one revision, two contents: {there:?} and {row:?}"));
                }
            }
            Some(_) | None => drop(self.rows.insert(key, row)),
        }
    }

    fn ledger(&mut self, new: Ledger) {
        let key = (new.window_start, new.merge_partition);
        if let Some(old) = self.ledgers.get(&key) {
            if old.revision > new.revision {
                self.outrun += 1;
                return;
            }
            let wrong = match () {
                () if old.revision == new.revision && *old != new => "one revision, two contents",
                () if new.window_end != old.window_end && !self.sessions => "a window changed its length",
                () if new.window_end < old.window_end => "a bucket ends sooner than it did",
                () if old.closed_at.is_some() && new.closed_at != old.closed_at && !is_prolonged(old, &new) => {
                    "a final window was opened again"
                }
                () if old.closed_at.is_some() && new.records != old.records && !new.amended => {
                    "a final window changed without being amended"
                }
                () if old.sealed && (!new.sealed || new.records != old.records) => "a sealed window changed",
                () if new.held < old.held || old.amended && !new.amended => "counts went back",
                // Sessions move to the bucket of the first that they are joined with.
                () if !self.sessions && (new.records < old.records || new.late < old.late) => "counts went back",
                () => "",
            };
            if !wrong.is_empty() {
                let what = format!("{wrong}: {old:?}, then {new:?}");
                self.wrong(what);
            }
        }
        let rows = self.rows.values().filter(|row| {
            (row.partition.window_start, row.partition.merge_partition) == (new.window_start, new.merge_partition)
        });
        let (count, records) = rows.fold((0, 0), |(count, records), row| (count + 1, records + records_of(row)));
        // Of sessions, rows that were retracted count, and the records of some are in another row by now.
        if count < new.rows || records < new.records && !self.sessions {
            self.wrong(format!("a ledger came before its rows ({count} rows of {records} records): {new:?}"));
        }
        self.ledgers.insert(key, new);
    }

    fn newest(&mut self, new: Progress) {
        if let Some(old) = self.progress.get(&new.merge_partition) {
            if old.revision >= new.revision {
                self.outrun += u64::from(old.revision > new.revision);
                if old.revision == new.revision && *old != new {
                    let what = format!("one revision, two contents: {old:?} and {new:?}");
                    self.wrong(what);
                }
                return;
            }
            if old.watermark > new.watermark {
                let what = format!("a watermark went back: {old:?}, then {new:?}");
                self.wrong(what);
            }
        }
        let closed = |ledger: &&Ledger| {
            ledger.merge_partition == new.merge_partition && Some(ledger.window_end + self.grace_ms) <= new.watermark
        };
        if let Some(open) = self.ledgers.values().filter(closed).find(|ledger| ledger.closed_at.is_none()) {
            let what = format!("a watermark came before the ledger that it closes: {open:?}, {new:?}");
            self.wrong(what);
        }
        self.history.push(new.clone());
        self.progress.insert(new.merge_partition, new);
    }
}

/// Late events have made a session of a final bucket last on.
fn is_prolonged(old: &Ledger, new: &Ledger) -> bool {
    new.amended && new.window_end > old.window_end
}

/// The record count of a view row: its last column.
pub(crate) fn records_of(row: &Row) -> i64 {
    match row.values.last() {
        Some(Value::Long(records)) => *records,
        other => panic!("the last column of a row is {other:?}"),
    }
}

impl ViewStore for MemoryViews {
    fn create<'a>(&'a self, _view: &'a ViewSpec) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }
    fn put_rows<'a>(&'a self, _view: &'a ViewSpec, rows: &'a [Row]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async { self.put(Put::Rows(rows.to_vec())) })
    }
    fn put_ledger<'a>(&'a self, _view: &'a ViewSpec, entries: &'a [Ledger]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async { self.put(Put::Ledgers(entries.to_vec())) })
    }
    fn put_progress<'a>(&'a self, _view: &'a ViewSpec, progress: &'a Progress) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async { self.put(Put::Progress(progress.clone())) })
    }
    fn rows<'a>(&'a self, _view: &'a ViewSpec, _query: &'a RowQuery) -> BoxFuture<'a, Result<Vec<Row>, Error>> {
        Box::pin(async { Ok(self.look(|contents| contents.rows.values().cloned().collect())) })
    }
    fn ledger<'a>(&'a self, _view: &'a ViewSpec, _from: i64, _to: i64) -> BoxFuture<'a, Result<Vec<Ledger>, Error>> {
        Box::pin(async { Ok(self.look(|contents| contents.ledgers.values().cloned().collect())) })
    }
    fn drop_view<'a>(&'a self, _view: &'a ViewSpec) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }
    fn put_catalog<'a>(&'a self, _entry: &'a CatalogEntry) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }
    fn catalog(&self) -> BoxFuture<'_, Result<Vec<CatalogEntry>, Error>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn progress<'a>(&'a self, _view: &'a ViewSpec) -> BoxFuture<'a, Result<Vec<Progress>, Error>> {
        Box::pin(async { Ok(self.look(|contents| contents.progress.values().cloned().collect())) })
    }
}
