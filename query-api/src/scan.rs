//! Rows of many windows and merge partitions in one order: by window, then by key.
//!
//! A key lives in exactly one merge partition, so a page is a k-way merge of M sorted streams with a bounded buffer each. A
//! filter that is no prefix of the key reads and drops the rest; a budget of rows bounds that, and a scan that runs out of it
//! stops at a position from which the next one goes on.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::future::try_join_all;
use tidemark_schemas::engine::Ledger;
use tidemark_views::{Error, Revision, Row, RowPartition, RowQuery, Value, ViewSpec, ViewStore};

use crate::cursor::Position;

/// Rows that one merge partition is asked for at a time, at most; times M the memory of a scan.
const FETCH_ROWS_MAX: usize = 1_000;

/// Where rows come from.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) views: Arc<dyn ViewStore>,
    pub(crate) view: Arc<ViewSpec>,
    pub(crate) tenant: String,
    /// Of the view, as cursors name it.
    pub(crate) version: u32,
    /// Where the values have the number of records. A row of none has been retracted, as when two sessions become one, and is
    /// handed out to nobody.
    records: Option<usize>,
}

impl Source {
    pub(crate) fn new(views: Arc<dyn ViewStore>, view: Arc<ViewSpec>, tenant: String, version: u32) -> Self {
        let records = view.values.iter().position(|column| column.name == "records");
        Self { views, view, tenant, version, records }
    }

    fn retracted(&self, row: &Row) -> bool {
        let records = self.records.and_then(|at| row.values.get(at));
        matches!(records, Some(Value::Long(0) | Value::Integer(0)))
    }
}

/// Which rows are wanted: for each clustering column the exact value, or any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Filter(pub(crate) Vec<Option<Value>>);

impl Filter {
    /// The leading columns that have a value: what the store can seek to.
    fn prefix(&self) -> Vec<Value> {
        self.0.iter().map_while(Clone::clone).collect()
    }

    /// The store finds exactly the rows wanted: none has to be read and dropped.
    fn seeks(&self) -> bool {
        self.prefix().len() == self.0.iter().flatten().count()
    }

    fn takes(&self, key: &[Value]) -> bool {
        self.0.iter().zip(key).all(|(want, have)| want.as_ref().is_none_or(|want| want == have))
    }
}

/// One step of a scan.
pub(crate) enum Step {
    /// The next row.
    Row(Row),
    /// The budget is spent; everything up to the position has been handed out.
    Paused(Position),
    /// No more rows.
    End,
}

/// A scan over windows, ascending.
pub(crate) struct Scan {
    source: Source,
    filter: Filter,
    /// Windows to come, the next one last: start, and for each merge partition what the ledger knows of it.
    windows: Vec<(i64, Vec<(i32, Revision)>)>,
    streams: Vec<Stream>,
    fetch: usize,
    budget: usize,
    torn: bool,
}

/// One merge partition of the window being read.
struct Stream {
    partition: RowPartition,
    known: Revision,
    buffer: VecDeque<Row>,
    after: Option<Vec<Value>>,
    fetched: bool,
    done: bool,
}

impl Scan {
    /// Over the windows of `ledgers` (by window start), from `at`. Fetches as few rows at a time as a page of `page` rows needs,
    /// and reads about `budget` rows in all.
    pub(crate) fn new(
        source: Source,
        filter: Filter,
        ledgers: &[Ledger],
        at: Option<&Position>,
        page: usize,
        budget: usize,
    ) -> Self {
        let from = at.map_or(i64::MIN, |p| p.start);
        let mut windows: Vec<(i64, Vec<(i32, Revision)>)> = vec![];
        for window in ledgers.chunk_by(|a, b| a.window_start == b.window_start) {
            if let Some(first) = window.first().filter(|l| l.window_start >= from) {
                windows.push((first.window_start, window.iter().map(|l| (l.merge_partition, revision(l))).collect()));
            }
        }
        windows.reverse();
        let fetch = if filter.seeks() { page.saturating_add(1).clamp(1, FETCH_ROWS_MAX) } else { FETCH_ROWS_MAX };
        let mut scan = Self { source, filter, windows, streams: vec![], fetch, budget, torn: false };
        if let Some(at) = at.filter(|p| scan.windows.last().is_some_and(|(start, _)| *start == p.start)) {
            let after = (!at.after.is_empty()).then(|| at.after.clone());
            scan.open(after);
        }
        scan
    }

    /// A row was newer than its ledger entry: the rows are a mixture of two revisions. Never older than the ledger says.
    pub(crate) fn torn(&self) -> bool {
        self.torn
    }

    /// The next row in order.
    pub(crate) async fn step(&mut self) -> Result<Step, Error> {
        loop {
            if let Some(row) = self.pop() {
                return Ok(Step::Row(row));
            }
            if self.streams.iter().all(|s| s.done) {
                if self.windows.is_empty() {
                    return Ok(Step::End);
                }
                if self.budget == 0 {
                    return Ok(Step::Paused(self.next_window()));
                }
                self.open(None);
                continue;
            }
            match self.bound().filter(|_| self.budget == 0) {
                Some(position) => return Ok(Step::Paused(position)),
                None => self.refill().await?,
            }
        }
    }

    fn next_window(&self) -> Position {
        Position { version: self.source.version, start: self.windows.last().map_or(i64::MAX, |w| w.0), after: vec![] }
    }

    fn open(&mut self, after: Option<Vec<Value>>) {
        let Some((start, partitions)) = self.windows.pop() else { return };
        let stream = |(merge_partition, known)| Stream {
            partition: RowPartition { tenant: self.source.tenant.clone(), window_start: start, merge_partition },
            known,
            buffer: VecDeque::new(),
            after: after.clone(),
            fetched: false,
            done: false,
        };
        self.streams = partitions.into_iter().map(stream).collect();
    }

    /// The smallest buffered row, if no stream that must be read again can hold a smaller one.
    fn pop(&mut self) -> Option<Row> {
        let dry = self.streams.iter().filter(|s| s.dry());
        if dry.clone().any(|s| !s.fetched) {
            return None;
        }
        let bound = dry.map(|s| &s.after).min().cloned();
        let stream = self.streams.iter_mut().filter(|s| !s.buffer.is_empty()).min_by(|a, b| a.head().cmp(&b.head()))?;
        if bound.is_some_and(|bound| stream.head() > bound.as_deref()) {
            return None;
        }
        stream.buffer.pop_front()
    }

    /// The key up to which every row has been handed out; `None` before each stream has been read once.
    fn bound(&self) -> Option<Position> {
        let dry = || self.streams.iter().filter(|s| s.dry());
        if dry().any(|s| !s.fetched) {
            return None;
        }
        let stream = dry().min_by(|a, b| a.after.cmp(&b.after))?;
        let after = stream.after.clone().unwrap_or_default();
        Some(Position { version: self.source.version, start: stream.partition.window_start, after })
    }

    async fn refill(&mut self) -> Result<(), Error> {
        let (source, fetch, prefix) = (&self.source, self.fetch, self.filter.prefix());
        let dry: Vec<_> = self.streams.iter_mut().filter(|s| s.dry()).collect();
        let queries: Vec<_> = dry.iter().map(|s| s.query(&prefix, fetch)).collect();
        let read = try_join_all(queries.iter().map(|q| source.views.rows(&source.view, q))).await?;
        for (stream, rows) in dry.into_iter().zip(read) {
            self.budget = self.budget.saturating_sub(rows.len());
            self.torn |= rows.iter().any(|r| r.revision > stream.known);
            stream.take(rows, fetch, |row| self.filter.takes(&row.clustering) && !source.retracted(row));
        }
        Ok(())
    }
}

impl Stream {
    /// Must be read before anything can be said of it.
    fn dry(&self) -> bool {
        self.buffer.is_empty() && !self.done
    }

    fn head(&self) -> Option<&[Value]> {
        self.buffer.front().map(|row| row.clustering.as_slice())
    }

    fn query(&self, prefix: &[Value], limit: usize) -> RowQuery {
        RowQuery { partition: self.partition.clone(), prefix: prefix.to_vec(), after: self.after.clone(), limit }
    }

    fn take(&mut self, rows: Vec<Row>, fetch: usize, wanted: impl Fn(&Row) -> bool) {
        self.fetched = true;
        self.done = rows.len() < fetch;
        if let Some(last) = rows.last() {
            self.after = Some(last.clustering.clone());
        }
        self.buffer.extend(rows.into_iter().filter(wanted));
    }
}

/// Which version of its rows a ledger entry knows.
pub(crate) fn revision(ledger: &Ledger) -> Revision {
    Revision { epoch: ledger.epoch, offset: ledger.revision }
}
