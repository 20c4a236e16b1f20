//! Runs the world to rest and compares all that came out with the reference: INV-1 to INV-5.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tidemark_benches::Outcome;
use tidemark_benches::observed::{self, Observed};
use tidemark_benches::reference::{Cell, Sums};
use tidemark_benches::workload::TENANT;
use tidemark_jobs::flows::{HOUR_MS, TOPIC};
use tidemark_log::{At, TopicPartition};
use tidemark_schemas::engine::Progress;
use tidemark_views::{Row, RowPartition, RowQuery, Value, ViewStore};

use crate::publisher::Published;
use crate::reference::Expected;
use crate::world::{PATIENCE, World};

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A topic that has not grown for so long grows no more.
const SETTLED: Duration = Duration::from_secs(1);
const ROWS_PER_QUERY: usize = 10_000;

/// What came out, so far.
#[derive(Debug, Default, Clone)]
pub struct Verdict {
    /// Records on the source topic.
    pub records: u64,
    /// Records that rows of the view store lack.
    pub lost: i64,
    /// Records that rows of the view store have too many.
    pub doubled: i64,
    /// From the last record published until the view store spoke of it and every window was closed.
    pub drained: Duration,
    /// Every difference from what must be there, none when all is exact.
    pub wrong: Vec<String>,
}

impl World {
    /// Stops publishing, waits until everything has come out at the other end, checks it, and goes on publishing.
    pub fn rest(&mut self) -> Verdict {
        self.rest_within(PATIENCE)
    }

    /// As [`World::rest`], with so long for everything to come out.
    pub fn rest_within(&mut self, patience: Duration) -> Verdict {
        let published = self.publisher.pause();
        let paused = Instant::now();
        let expected = self.expected(&published, patience);
        let mut wrong = expected.of_publisher(&published);
        let mut verdict = Verdict { records: expected.reference.records, ..Verdict::default() };
        match self.await_progress(&expected, patience) {
            Err(progress) => wrong.push(format!("INV-4: not at rest after {patience:?}: {progress}")),
            Ok(progress) => {
                verdict.drained = paused.elapsed();
                wrong.extend(self.await_offsets());
                let observed = self.results.read(Instant::now() + patience).unwrap();
                wrong.extend(topic(&expected, &observed));
                wrong.extend(counts(&expected, &progress));
                self.store(&expected, &observed, &mut verdict, &mut wrong);
            }
        }
        self.publisher.resume();
        Verdict { wrong, ..verdict }
    }

    /// What is on the source topic once nothing more comes: a gateway publishes for a while yet what is in its spool.
    fn expected(&self, published: &Published, patience: Duration) -> Expected {
        let (until, mut last) = (Instant::now() + patience, None);
        self.await_end(until);
        loop {
            let expected = Expected::read(self.log.as_ref(), self.settings.partitions, self.rules());
            let records = expected.reference.records;
            let whole = expected.of_publisher(published).is_empty() && last == Some(records);
            if whole || self.gateway.is_none() || Instant::now() > until {
                return expected;
            }
            last = Some(records);
            std::thread::sleep(SETTLED);
        }
    }

    /// Waits until the source topic has not grown for a while: to read all of it again and again takes longer.
    fn await_end(&self, until: Instant) {
        let all: Vec<_> =
            (0..self.settings.partitions).map(|partition| TopicPartition::new(TOPIC, partition)).collect();
        let mut last = Vec::new();
        while self.gateway.is_some() && Instant::now() < until {
            let ends = self.log.offsets(&all, At::End).unwrap();
            if ends == last {
                return;
            }
            last = ends;
            std::thread::sleep(3 * SETTLED);
        }
    }

    /// The view store's progress once it speaks of every record and every window is closed, else what it was last.
    fn await_progress(&self, expected: &Expected, patience: Duration) -> Result<Vec<Progress>, String> {
        let (view, until) = (self.view(), Instant::now() + patience);
        loop {
            let progress = self.runtime.block_on(self.views.progress(&view));
            let behind = progress.as_ref().map_or(true, |all| {
                let folded = |progress: &Progress| {
                    observed::read(progress) >= expected.reference.records && has_closed(expected, progress)
                };
                all.len() < self.spec().merge_partitions as usize || !all.iter().all(folded)
            });
            match progress {
                Ok(progress) if !behind => return Ok(progress),
                last if Instant::now() > until => {
                    let fact = |progress: &Progress| (observed::read(progress), has_closed(expected, progress));
                    let read = |all: Vec<Progress>| all.iter().map(fact).collect::<Vec<_>>();
                    let records = expected.reference.records;
                    return Err(format!("{:?} of {records} records\n{}", last.map(read), self.left()));
                }
                _ => std::thread::sleep(LOOK_EVERY),
            }
        }
    }

    /// INV-4: the committed offset is the next unprocessed one: the end, once the partition was found idle.
    fn await_offsets(&self) -> Option<String> {
        let all: Vec<_> =
            (0..self.settings.partitions).map(|partition| TopicPartition::new(TOPIC, partition)).collect();
        let until = Instant::now() + PATIENCE / 4;
        loop {
            let ends = self.log.offsets(&all, At::End).unwrap();
            let committed = self.log.committed(&self.spec().internal("partial"), &all);
            let same = committed.as_ref().is_ok_and(|committed| {
                committed.iter().zip(&ends).all(|(at, end)| at.as_ref().is_some_and(|at| at.offset == *end))
            });
            if same {
                return None;
            }
            if Instant::now() > until {
                return Some(format!("INV-4: the ends are {ends:?}, committed is {committed:?}"));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// INV-3, in the view store itself.
    fn store(&self, expected: &Expected, observed: &Observed, verdict: &mut Verdict, wrong: &mut Vec<String>) {
        let rows = self.rows(observed);
        for (cell, want) in &expected.reference.cells {
            let got = rows.get(cell).copied().unwrap_or_default();
            verdict.lost += (want.records - got.records).max(0);
            verdict.doubled += (got.records - want.records).max(0);
        }
        let differ = expected.reference.cells.iter().filter(|(cell, want)| rows.get(cell) != Some(want)).count();
        let unknown = rows.keys().filter(|cell| !expected.reference.cells.contains_key(cell)).count();
        if differ + unknown > 0 {
            wrong.push(format!("INV-3: {differ} rows of the view store differ, {unknown} should not be there"));
        }
    }

    fn rows(&self, observed: &Observed) -> HashMap<Cell, Sums> {
        let view = self.view();
        let mut rows = HashMap::new();
        for &(partition, window_start) in observed.ledgers.keys() {
            let partition = RowPartition { tenant: TENANT.into(), window_start, merge_partition: partition as i32 };
            let mut query = RowQuery { partition, prefix: vec![], after: None, limit: ROWS_PER_QUERY };
            loop {
                let page = self.runtime.block_on(self.views.rows(&view, &query)).unwrap();
                rows.extend(page.iter().map(cell));
                match page.last() {
                    Some(last) if page.len() == ROWS_PER_QUERY => query.after = Some(last.clustering.clone()),
                    _ => break,
                }
            }
        }
        rows
    }
}

/// INV-2 and INV-3, as a reader of the view topic and the late topic sees them.
fn topic(expected: &Expected, observed: &Observed) -> Vec<String> {
    let outcome = Outcome::of(&expected.reference, observed);
    let counted = expected.reference.records as i64 - expected.dead - expected.repeats;
    let exact = outcome.exact == outcome.cells
        && (outcome.wrong, outcome.missing, outcome.unknown, outcome.behind) == (0, 0, 0, 0)
        && (outcome.letters, outcome.repeated_letters, outcome.on_time_judged_late) == (outcome.late, 0, 0)
        && (outcome.ledger_records, outcome.ledger_late) == (counted, outcome.late as i64)
        && outcome.ledger_rows == outcome.cells as i64;
    if exact { vec![] } else { vec![format!("INV-2, INV-3: {counted} records count; {outcome}")] }
}

/// Whether a merge partition has closed the last window: all source partitions are idle by then.
fn has_closed(expected: &Expected, progress: &Progress) -> bool {
    let last = expected.reference.cells.keys().map(|cell| cell.window_start + HOUR_MS).max().unwrap_or(0);
    progress.watermark.is_some_and(|watermark| watermark >= last)
}

/// INV-2, in the figures of every merge partition.
fn counts(expected: &Expected, progress: &[Progress]) -> Vec<String> {
    let want = (expected.reference.records as i64, expected.dead, expected.repeats);
    let got = |progress: &Progress| {
        let sources = &progress.sources;
        let sum = |field: fn(&tidemark_schemas::engine::SourceProgress) -> i64| sources.iter().map(field).sum::<i64>();
        (sum(|source| source.records), sum(|source| source.dead_lettered), sum(|source| source.duplicates))
    };
    let wrong = progress.iter().filter(|progress| got(progress) != want);
    wrong
        .map(|progress| {
            let (partition, got) = (progress.merge_partition, got(progress));
            format!("INV-2: records, dead letters, repeats are {want:?}; merge partition {partition} says {got:?}")
        })
        .collect()
}

fn cell(row: &Row) -> (Cell, Sums) {
    let [Value::Text(src_app), Value::Text(dest_app), Value::Text(vpc_id)] = &row.clustering[..] else {
        panic!("{row:?}")
    };
    let [Value::Integer(bytes_rx), Value::Integer(bytes_tx), Value::Long(records)] = row.values[..] else {
        panic!("{row:?}")
    };
    let [src_app, dest_app, vpc_id] = [src_app, dest_app, vpc_id].map(String::clone);
    (Cell { window_start: row.partition.window_start, src_app, dest_app, vpc_id }, Sums { records, bytes_tx, bytes_rx })
}
