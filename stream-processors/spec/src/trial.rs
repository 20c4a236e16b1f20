//! Running a job without a broker: the records of a test or a sample in, the rows that the view would hold out.
//!
//! It is the folds that production runs, on [`Driver`]'s log in memory. Time is moved by the steps: a record arrives when it
//! happens, or when the step says that it `arrives`; `advance` lets time go by with no records, so that windows close.

use crate::datum::{Maker, instant};
use crate::expect::{Unmet, expect};
use crate::job::TENANT;
use crate::join::Join;
use crate::replay::Arrival;
use crate::view::completed;
use crate::viewed::Viewed;
use crate::yaml::Node;
use serde_json::Value as Json;
use std::sync::Arc;
use tidemark_core::driver::{Driver, SourceRecord};
use tidemark_core::join::{Change, KeyedTable};
use tidemark_core::partial::Verdict;
use tidemark_core::{ViewRow, Windowing, window};

/// Most source partitions of a trial.
const PARTITIONS_MAX: usize = 1_024;

/// A row as people see it: the window, the key, then the values, in the view's order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shown(pub Vec<(String, Json)>);

impl Shown {
    /// The value of a column.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.iter().find(|(column, _)| *column == name).map(|(_, value)| value)
    }

    /// Columns and values.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Json)> {
        self.0.iter().map(|(name, value)| (name, value))
    }
}

/// What became of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the states of the query API")]
pub enum State {
    Open,
    Final,
    Amended,
    Sealed,
}

impl State {
    /// As the API says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Final => "final",
            Self::Amended => "amended",
            Self::Sealed => "sealed",
        }
    }
}

/// A job at work on a log in memory. The tables of a job are in it, so that one trial of a job ends before the next begins.
pub struct Trial<J: Viewed> {
    job: Arc<J>,
    driver: Driver<J>,
    /// For each schema of the sources.
    makers: Vec<Maker>,
    /// For each join of the job.
    tables: Vec<Maker>,
    /// Records that the tables have had.
    changes: i64,
    now: i64,
    partitions: usize,
    offsets: Vec<i64>,
    /// Of the records, those that say how far a view is.
    told: i64,
}

/// Records by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names of the ledger")]
pub struct Counts {
    pub records: i64,
    pub late: i64,
    pub filtered: i64,
    pub duplicates: i64,
    pub dead_letters: i64,
}

impl<J: Viewed> Trial<J> {
    /// Of a job, with so many source partitions.
    ///
    /// # Errors
    /// More than [`PARTITIONS_MAX`], or a schema that is none.
    pub fn new(job: Arc<J>, partitions: usize) -> Result<Self, String> {
        if !(1..=PARTITIONS_MAX).contains(&partitions) {
            return Err(format!("a trial has 1 to {PARTITIONS_MAX} partitions"));
        }
        let head = job.head();
        let makers = head.sources().iter().map(|schema| Maker::new(&schema.avsc, head.fields()));
        let makers = makers.collect::<Result<_, _>>()?;
        let tables = head.joins().iter().map(|join| {
            let tenant = join.table.has_tenants().then(|| "tenant".to_owned());
            let needed = join.fields.iter().chain([&join.key]).chain(&join.time).chain(&tenant);
            let needed: Vec<String> = needed.cloned().collect();
            Maker::new(&join.table.schema().avsc, &needed)
        });
        let tables = tables.collect::<Result<_, _>>()?;
        job.tables().iter().for_each(|table| table.clear());
        head.settle();
        let driver = Driver::new(Arc::clone(&job), partitions);
        let offsets = vec![0; partitions];
        Ok(Self { job, driver, makers, tables, changes: 0, now: 0, partitions, offsets, told: 0 })
    }

    /// The job.
    pub fn job(&self) -> &J {
        &self.job
    }

    fn join(&self, name: &str) -> Result<(&Join, &Maker), String> {
        let joins = self.job.head().joins();
        let known = joins.iter().zip(&self.tables).find(|(join, _)| join.name == name);
        known.ok_or_else(|| {
            let names: Vec<&str> = joins.iter().map(|join| join.name.as_str()).collect();
            format!("the job has no join `{name}`; {}", crate::near::advice(name, names.iter().copied()))
        })
    }

    /// Lets a record arrive on the table of a join.
    ///
    /// # Errors
    /// There is no such join, or the record does not fit the table.
    pub fn table(&mut self, name: &str, record: &Json, arrives: Option<i64>) -> Result<(), String> {
        let (join, maker) = self.join(name)?;
        let (datum, key) = (maker.datum(record)?, log_key(join, record));
        let happens = join.time.as_ref().and_then(|time| record.get(time)).and_then(instant);
        self.now = self.now.max(arrives.or(happens).unwrap_or(self.now));
        self.change(name, &key, Some(&datum))
    }

    /// Deletes the row of a key from the table of a join; where tenants have rows of their own `key` may be a map of the tenant
    /// and the key.
    ///
    /// # Errors
    /// There is no such join.
    pub fn delete(&mut self, name: &str, key: &Json, arrives: Option<i64>) -> Result<(), String> {
        let key = log_key(self.join(name)?.0, key);
        self.now = self.now.max(arrives.unwrap_or(self.now));
        self.change(name, &key, None)
    }

    fn change(&mut self, name: &str, key: &str, datum: Option<&[u8]>) -> Result<(), String> {
        let (appended_at, offset) = (self.now, self.changes);
        let change = Change { appended_at, partition: 0, offset, key: Some(key.as_bytes()), datum };
        self.join(name)?.0.table.apply(change).map_err(|error| error.to_string())?;
        self.changes += 1;
        Ok(())
    }

    /// Lets a record of the first topic arrive, and commits.
    ///
    /// # Errors
    /// It does not fit the schema; or what stops a stage.
    pub fn push(&mut self, partition: usize, record: &Json, arrives: Option<i64>) -> Result<(), String> {
        self.push_of(0, partition, record, arrives)
    }

    /// As [`Trial::push`], of the topic with this schema: [`crate::SpecJob::schema_of`].
    ///
    /// # Errors
    /// As there.
    pub fn push_of(
        &mut self,
        schema: usize,
        partition: usize,
        record: &Json,
        arrives: Option<i64>,
    ) -> Result<(), String> {
        let happens = record.get(&self.job.spec().time).and_then(instant);
        self.now = self.now.max(arrives.or(happens).unwrap_or(self.now));
        let maker = self.makers.get(schema).ok_or_else(|| "no topic has this schema".to_owned())?;
        let datum = match self.job.head().reads_views() {
            true => maker.datum(&completed(record, self.offsets.iter().sum()))?,
            false => maker.datum(record)?,
        };
        self.arrive(Arrival { partition, schema, appended_at: self.now, datum });
        self.commit()
    }

    /// Takes a datum in, and commits.
    ///
    /// # Errors
    /// What stops a stage.
    pub fn take(&mut self, partition: usize, datum: Vec<u8>) -> Result<(), String> {
        self.arrive(Arrival { partition, schema: 0, appended_at: self.now, datum });
        self.commit()
    }

    /// Takes a record in as it was appended; it is committed by [`Trial::commit`].
    pub fn arrive(&mut self, record: Arrival) {
        let Arrival { partition, schema, appended_at, datum } = record;
        self.now = self.now.max(appended_at);
        self.driver.append(partition, SourceRecord { schema, appended_at, datum });
        if let Some(offset) = self.offsets.get_mut(partition) {
            *offset += 1;
        }
        self.driver.read(partition, usize::MAX);
    }

    /// Commits what was read.
    ///
    /// # Errors
    /// What stops a stage.
    pub fn commit(&mut self) -> Result<(), String> {
        let all: Vec<usize> = (0..self.partitions).collect();
        self.driver.commit(&all, self.now);
        self.driver.merge().map_err(|error| error.to_string())
    }

    /// Lets time go by: partitions that stay silent for `idle_after` no longer hold windows open. Views say that they are complete
    /// up to where it stops.
    ///
    /// # Errors
    /// What stops a stage.
    pub fn advance(&mut self, ms: i64) -> Result<(), String> {
        self.now = self.now.saturating_add(ms);
        if let Some((schema, datum)) = self.job.head().progress_to(self.now) {
            for partition in 0..self.partitions {
                self.arrive(Arrival { partition, schema, appended_at: self.now, datum: datum.clone() });
                self.told += 1;
            }
        }
        if ms >= self.job.spec().idle_after_ms {
            (0..self.partitions).for_each(|partition| self.driver.idle(partition, self.now));
        }
        self.commit()
    }

    /// Compares with an expectation, which is written as under `expect` in a job file: `window`, its `state` and `rows` (those of
    /// all windows without one), and counts: `late`, `filtered`, `duplicates`, `dead_letters` (none unless given). A row may
    /// name some of its columns.
    ///
    /// ```text
    /// the view is not as expected:
    ///   class=2xx window_start=2026-01-01T10:00:00Z requests: expected 3, got 2
    /// ```
    ///
    /// # Errors
    /// It does not hold, or names what is not there.
    pub fn expect(&self, expected: &Json) -> Result<(), Unmet> {
        match expect(self, &Node::of_json(expected)) {
            Ok(lines) if lines.is_empty() => Ok(()),
            Ok(lines) => Err(Unmet { lines }),
            Err(problem) => Err(Unmet { lines: vec![problem.sentence()] }),
        }
    }

    /// What became of the records.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts { dead_letters: self.driver.rejects().len() as i64, ..Counts::default() };
        counts.records = self.offsets.iter().sum::<i64>() - self.told;
        counts.filtered = -self.told;
        for verdict in self.driver.verdicts().values() {
            match verdict {
                Verdict::OnTime => {}
                Verdict::Late { .. } => counts.late += 1,
                Verdict::Filtered => counts.filtered += 1,
                Verdict::Duplicate => counts.duplicates += 1,
                Verdict::FarFuture => counts.dead_letters += 1,
            }
        }
        counts
    }

    /// Why records were dead-lettered, with the offset of each.
    pub fn dead_letters(&self) -> impl Iterator<Item = (usize, i64, &str)> {
        const FAR: &str = "its event time is further ahead of its arrival than `max_future` allows";
        let far = self.driver.verdicts().iter().filter(|(_, verdict)| **verdict == Verdict::FarFuture);
        let rejected = self.driver.rejects().iter().map(|(at, reject)| (at, reject.detail.as_str()));
        rejected.chain(far.map(|(at, _)| (at, FAR))).map(|((partition, offset), why)| (*partition, *offset, why))
    }

    /// State of the window at `start`; none when nothing came for it.
    pub fn state(&self, start: i64) -> Option<State> {
        let mut ledgers = self.driver.ledgers().filter(|ledger| ledger.window_start == start).peekable();
        ledgers.peek()?;
        let (mut end, mut amended, mut sealed) = (start, false, true);
        for ledger in ledgers {
            end = end.max(ledger.window_end);
            amended |= ledger.amended;
            sealed &= ledger.sealed;
        }
        let closed = self.driver.watermark() >= Some(end.saturating_add(self.job.spec().grace_ms));
        Some(match (sealed, closed, amended) {
            (true, ..) => State::Sealed,
            (false, true, true) => State::Amended,
            (false, true, false) => State::Final,
            (false, false, _) => State::Open,
        })
    }

    /// The rows, by window and key in the view's order; those without records were retracted and are left out.
    pub fn rows(&self) -> Vec<(i64, Shown)> {
        let spec = self.job.spec();
        let mut rows = Vec::new();
        let mut show = |window_start: i64, key: &[u8], last: Option<i64>, records: i64, sum: &_| {
            let row = ViewRow {
                key,
                window_start,
                merge_partition: 0,
                opened_at: 0,
                records,
                accumulator: sum,
                epoch: 0,
                revision: 0,
            };
            let mut datum = Vec::new();
            match last {
                Some(last) => self.job.put_session(&row, last, &mut datum),
                None => self.job.put_row(&row, &mut datum),
            }
            rows.extend(self.shown(window_start, &datum).map(|shown| (window_start, shown)));
        };
        if let Windowing::Session { .. } = spec.window {
            for (key, (last, records, sum)) in &self.driver.sessions() {
                let start = session_start(key);
                let bucket = window::tumbling(start, spec.window.size_ms()).start;
                show(bucket, key, Some(*last), *records, sum);
            }
        } else {
            for ((start, key), (records, sum)) in self.driver.rows() {
                show(*start, key, None, *records, sum);
            }
        }
        let place = |(start, row): &(i64, Shown)| {
            (*start, row.0.iter().map(|(_, value)| value.to_string()).collect::<Vec<_>>())
        };
        rows.sort_by_cached_key(place);
        rows
    }

    fn shown(&self, window_start: i64, datum: &[u8]) -> Option<Shown> {
        let columns = self.job.head().columns();
        let row = columns.row(datum).ok()?;
        let records = columns.view.values.iter().position(|column| column.name == "records")?;
        if row.values.get(records) == Some(&tidemark_views::Value::Long(0)) {
            return None;
        }
        let mut shown = Vec::new();
        let end = window_start + self.job.spec().window.size_ms();
        if !columns.view.clustering.iter().any(|column| column.name == "session_start") {
            shown.push(("window_start".into(), crate::instant::rfc3339(window_start).into()));
            shown.push(("window_end".into(), crate::instant::rfc3339(end).into()));
        }
        if self.job.head().fields().iter().any(|field| field == "tenant") && row.partition.tenant != TENANT {
            shown.push(("tenant".into(), row.partition.tenant.into()));
        }
        for (column, value) in columns.view.clustering.iter().zip(&row.clustering) {
            shown.push((column.name.clone(), json(value)));
        }
        for (column, value) in columns.view.values.iter().zip(&row.values) {
            shown.push((column.name.clone(), json(value)));
        }
        Some(Shown(shown))
    }
}

/// A key on the log, as a publisher may write it.
fn text(key: &Json) -> String {
    key.as_str().map_or_else(|| key.to_string(), str::to_owned)
}

/// The key on the log of a table's record, or of what is said to delete it.
fn log_key(join: &Join, record: &Json) -> String {
    let key = text(record.get(&join.key).unwrap_or(record));
    match record.get("tenant").and_then(Json::as_str).filter(|_| join.table.has_tenants()) {
        Some(tenant) if tenant != TENANT => format!("{tenant} {key}"),
        _ => key,
    }
}

/// The Avro long at the end of a session's key.
fn session_start(key: &[u8]) -> i64 {
    // Its last byte is the first without a continuation bit, seen from the end: the one before it ends another value.
    let before = key.iter().rev().skip(1).take_while(|byte| **byte >= 0x80).count();
    let tail = key.get(key.len().saturating_sub(before + 1)..).unwrap_or_default();
    tidemark_schemas::avro::Reader::new(tail).long().unwrap_or_default()
}

/// A view's value as JSON. Doubles that JSON has no numbers for are the texts `NaN`, `Infinity` and `-Infinity`.
pub fn json(value: &tidemark_views::Value) -> Json {
    use tidemark_views::Value;
    match value {
        Value::Null => Json::Null,
        Value::Text(text) => text.clone().into(),
        Value::Long(n) => (*n).into(),
        Value::Integer(n) => i64::try_from(*n).map_or_else(|_| n.to_string().into(), Json::from),
        Value::Double(n) => crate::readable::number(*n),
        Value::Boolean(value) => (*value).into(),
        Value::Time(ms) => crate::instant::rfc3339(*ms).into(),
        Value::Json(text) => serde_json::from_str(text).unwrap_or(Json::Null),
    }
}
