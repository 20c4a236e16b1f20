//! The two folds as a whole, on the test driver: records in, rows out, the clock by hand, no broker.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, in its helpers too")]

mod hopping;
mod sessions;
mod tumbling;

use proptest::prelude::*;
use std::sync::Arc;
use tidemark_core::driver::Driver;
use tidemark_core::{Input, Job, JobSpec, Reject, Sample, ViewRow};
use tidemark_jobs::flows::{self, FlowSums, FlowsHourly, HOUR_MS, Settings};
use tidemark_schemas::avro::Avro;
use tidemark_schemas::flows::FlowObserved;

const MINUTE: i64 = 60_000;
const BASE: i64 = 400_000 * HOUR_MS;

/// A flow of so many bytes is taken out by the job's `where`.
const FILTERED: i64 = 77_777_777;

/// The flow job with another specification.
struct With {
    job: FlowsHourly,
    spec: JobSpec,
}

impl Job for With {
    type Accumulator = FlowSums;
    fn spec(&self) -> &JobSpec {
        &self.spec
    }
    fn read<'a>(&'a self, input: Input<'a>, scratch: &'a mut Vec<u8>) -> Result<Sample<'a, FlowSums>, Reject> {
        let sample = self.job.read(input, scratch)?;
        let wanted = sample.add.bytes_tx != i128::from(FILTERED);
        Ok(Sample { wanted, ..sample })
    }
    fn put_row(&self, row: &ViewRow<'_, FlowSums>, out: &mut Vec<u8>) {
        self.job.put_row(row, out);
    }
}

fn job(change: impl FnOnce(&mut JobSpec)) -> Arc<With> {
    let job = flows::hourly(&Settings { merge_partitions: 3, ..Settings::default() }).unwrap();
    let mut spec = job.spec().clone();
    change(&mut spec);
    spec.retention_ms = spec.least_retention_ms();
    spec.validate().unwrap();
    Arc::new(With { job, spec })
}

#[derive(Debug, Clone)]
struct Flow {
    at: i64,
    app: u8,
    bytes: i64,
}

fn datum(flow: &Flow) -> Vec<u8> {
    let src = format!("app-{}", flow.app);
    let record = FlowObserved {
        tenant: "default",
        src_app: &src,
        dest_app: "db",
        vpc_id: "v",
        observed_at: flow.at,
        bytes_tx: flow.bytes,
        bytes_rx: flow.bytes * 2,
        event_id: "e",
    };
    let mut out = vec![];
    record.put(&mut out);
    out
}

/// What happens next in a run: partitions and counts are taken modulo what there is.
#[derive(Debug, Clone)]
enum Step {
    Read(usize, usize),
    Commit(Vec<usize>),
    Crash(usize),
    Merge(usize, usize),
    CrashMerge(usize),
    Checkpoint(usize),
    ReopenMerge(usize),
    Idle(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..4usize, 1..30usize).prop_map(|(p, n)| Step::Read(p, n)),
        3 => prop::collection::vec(0..4usize, 1..4).prop_map(Step::Commit),
        1 => (0..4usize).prop_map(Step::Crash),
        3 => (0..3usize, 1..10usize).prop_map(|(m, n)| Step::Merge(m, n)),
        1 => (0..3usize).prop_map(Step::CrashMerge),
        2 => (0..3usize).prop_map(Step::Checkpoint),
        2 => (0..3usize).prop_map(Step::ReopenMerge),
        1 => (0..4usize).prop_map(Step::Idle),
    ];
    prop::collection::vec(step, 0..80)
}

fn flows() -> impl Strategy<Value = Vec<(usize, Flow)>> {
    let flow = (0..4usize, 0..6 * HOUR_MS, 0..5u8, 0..1_000i64)
        .prop_map(|(partition, at, app, bytes)| (partition, Flow { at: BASE + at, app, bytes }));
    prop::collection::vec(flow, 1..150)
}

fn play(driver: &mut Driver<With>, steps: &[Step], now: &mut i64) {
    let mut watermarks = driver.watermarks();
    for step in steps {
        *now += 1_000;
        match step {
            Step::Read(partition, records) => driver.read(*partition, *records),
            Step::Commit(partitions) => {
                let mut once = partitions.clone();
                once.sort_unstable();
                once.dedup();
                driver.commit(&once, *now);
            }
            Step::Crash(partition) => driver.crash(*partition),
            Step::Merge(partition, entries) => driver.merge_some(*partition, *entries).unwrap(),
            Step::CrashMerge(partition) => driver.crash_merge(*partition).unwrap(),
            Step::Checkpoint(partition) => driver.checkpoint(*partition),
            Step::ReopenMerge(partition) => driver.reopen_merge(*partition).unwrap(),
            Step::Idle(partition) => driver.idle(*partition, *now),
        }
        let next = driver.watermarks();
        let went_back = next.iter().zip(&watermarks).any(|(next, before)| next < before);
        // A merge that crashed is as far as it had committed: no further back than what was seen of it.
        assert!(!went_back, "a watermark went back from {watermarks:?} to {next:?} at {step:?}");
        watermarks = next;
    }
}

fn finish(driver: &mut Driver<With>, now: i64) {
    for partition in 0..4 {
        driver.read(partition, usize::MAX);
    }
    driver.commit(&[0, 1, 2, 3], now);
    driver.merge().unwrap();
}

fn row_of(row: &mut (i64, FlowSums), flow: &Flow) {
    row.0 += 1;
    row.1.bytes_tx += i128::from(flow.bytes);
    row.1.bytes_rx += i128::from(flow.bytes * 2);
}

/// The key of a flow, as the job reads it.
fn key(job: &With, flow: &Flow) -> Vec<u8> {
    let (bytes, mut scratch) = (datum(flow), vec![]);
    job.read(Input::of(&bytes), &mut scratch).unwrap().key.to_vec()
}

fn load(job: &Arc<With>, flows: &[(usize, Flow)]) -> Driver<With> {
    let mut driver = Driver::new(Arc::clone(job), 4);
    for (partition, flow) in flows {
        driver.push(*partition, BASE + 24 * HOUR_MS, datum(flow));
    }
    driver
}
