//! What the job must have arrived at: a fold of what a read_committed reader finds on the source topic, record by record,
//! with nothing of the engine in it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use tidemark_benches::Reference;
use tidemark_benches::reference::{Cell, Sums};
use tidemark_benches::workload;
use tidemark_jobs::flows::{HOUR_MS, TOPIC};
use tidemark_log::{At, Log, Record, TopicPartition};
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::flows::FlowObserved;

use crate::publisher::{POISON, Published};
use crate::world::PATIENCE;

const POLL: Duration = Duration::from_millis(50);

/// The source topic, added up.
#[derive(Debug, Default)]
pub struct Expected {
    /// Rows and late records; its `records` are all on the topic, whatever they are.
    pub reference: Reference,
    /// Records that cannot be counted.
    pub dead: i64,
    /// Repeats of a record in its partition.
    pub repeats: i64,
    /// Numbers of the records that are there.
    numbers: HashSet<u64>,
}

/// Settings of the job that decide what counts.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub grace_ms: i64,
    /// A repeat counts once.
    pub dedupe: bool,
}

impl Expected {
    /// Reads the topic to its end once nothing is published any more.
    pub fn read(log: &dyn Log, partitions: u32, rules: Rules) -> Self {
        let all: Vec<_> = (0..partitions).map(|partition| TopicPartition::new(TOPIC, partition)).collect();
        let ends = ends(log, &all);
        let starts = log.offsets(&all, At::Start).unwrap();
        let mut reader = log.reader(&all.iter().cloned().zip(starts).collect::<Vec<_>>()).unwrap();
        let mut expected = Self::default();
        let mut folds: HashMap<u32, Fold> = HashMap::new();
        let done = |reader: &dyn tidemark_log::Reader| {
            all.iter().zip(&ends).all(|(partition, end)| reader.position(partition).unwrap() >= *end)
        };
        while !done(reader.as_ref()) {
            reader
                .poll(POLL, &mut |batch| {
                    let fold = folds.entry(batch.partition).or_default();
                    batch.records.iter().for_each(|record| expected.take(fold, record, rules));
                })
                .unwrap();
        }
        expected
    }

    fn take(&mut self, fold: &mut Fold, record: &Record<'_>, rules: Rules) {
        self.reference.records += 1;
        if record.key == Some(POISON) {
            self.dead += 1;
            return;
        }
        let flow = FlowObserved::get(&mut Reader::new(&record.value.unwrap()[5..])).unwrap();
        let number = workload::number(flow.event_id).unwrap();
        let first = fold.seen.insert(number);
        self.numbers.insert(number);
        if !first && rules.dedupe {
            self.repeats += 1;
            return;
        }
        let window_start = flow.observed_at.div_euclid(HOUR_MS) * HOUR_MS;
        if window_start + HOUR_MS + rules.grace_ms <= fold.watermark {
            self.reference.late.insert(number);
        }
        fold.watermark = fold.watermark.max(flow.observed_at);
        let [src_app, dest_app, vpc_id] = [flow.src_app, flow.dest_app, flow.vpc_id].map(str::to_owned);
        let sums: &mut Sums = self.reference.cells.entry(Cell { window_start, src_app, dest_app, vpc_id }).or_default();
        sums.records += 1;
        sums.bytes_tx += i128::from(flow.bytes_tx);
        sums.bytes_rx += i128::from(flow.bytes_rx);
    }

    /// INV-1: what was acknowledged is there, and what was refused is not.
    pub fn of_publisher(&self, published: &Published) -> Vec<String> {
        let acknowledged: BTreeSet<u64> = published.acknowledged.iter().cloned().flatten().collect();
        let refused = published.refused.iter().cloned().flatten();
        let lost = acknowledged.iter().filter(|number| !self.numbers.contains(number)).count();
        let there = refused.filter(|number| self.numbers.contains(number)).count();
        let facts = [
            (lost, "acknowledged records are not on the topic"),
            (there, "records are on the topic that were refused"),
            (usize::from(acknowledged.is_empty()), "nothing was acknowledged"),
        ];
        facts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("INV-1: {count} {what}")).collect()
    }
}

/// The ends of partitions, with no transaction open: a broker answers a commit before it has written its markers.
fn ends(log: &dyn Log, partitions: &[TopicPartition]) -> Vec<i64> {
    let until = Instant::now() + PATIENCE;
    loop {
        let ends = log.offsets(partitions, At::StableEnd).unwrap();
        if ends == log.offsets(partitions, At::End).unwrap() {
            return ends;
        }
        assert!(Instant::now() < until, "a transaction on {TOPIC} stays open");
        std::thread::sleep(POLL);
    }
}

/// One source partition.
#[derive(Debug)]
struct Fold {
    watermark: i64,
    seen: HashSet<u64>,
}

impl Default for Fold {
    fn default() -> Self {
        Self { watermark: i64::MIN, seen: HashSet::new() }
    }
}
