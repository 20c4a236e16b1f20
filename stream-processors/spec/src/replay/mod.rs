//! Replay equivalence: the same records give the same figures, however they come.
//!
//! Promise: what [`check`] lets pass came to the same rows, bit for bit, the same late and held records by window and the same
//! verdict on every record, when it was read at full speed in one commit, record by record with a commit and a merge after each,
//! in other interleavings of the same partitions with commits anywhere, and with crashes of both stages at any step. It is the
//! folds that production runs, on [`Driver`]'s log in memory.
//!
//! Limits: lists of most frequent values that met more than they list depend on the order of merges, and are held to their
//! stated error. Sealing goes by append time, which does not pass here: of a job that amends for no time at all late records
//! race with it, and such a job is refused. The ids of a job that counts repeats once are not kept by the driver: of such a job
//! only the merge stage crashes.
//!
//! The tables that a job joins are read beside the records, in pieces too: a record waits until they are read as far as it was
//! appended, and what a process has read of them is gone when it dies.

mod rest;
mod tables;
mod ways;

use crate::job::SpecJob;
use crate::viewed::Viewed;
use rest::{AtRest, difference};
use std::fmt;
use std::sync::Arc;
use tables::Tables;
use tidemark_core::driver::Driver;
use tidemark_core::{Input, LatePolicy};
use ways::Running;

/// Most source partitions.
pub const PARTITIONS_MAX: usize = 64;

/// A record on its way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// Its source partition, from 0.
    pub partition: usize,
    /// Which of the job's source schemas it is of.
    pub schema: usize,
    /// When it was appended, milliseconds; does not fall within a partition.
    pub appended_at: i64,
    /// Avro datum of that schema.
    pub datum: Vec<u8>,
}

/// A record of a table on its way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Which of the job's tables it is of.
    pub table: usize,
    /// When it was appended, milliseconds.
    pub appended_at: i64,
    /// Partition of the table's topic.
    pub partition: u32,
    /// Offset there.
    pub offset: i64,
    /// Key on the log.
    pub key: Option<Vec<u8>>,
    /// Avro datum of the table's schema; none deletes.
    pub datum: Option<Vec<u8>>,
}

/// What a job is fed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    /// In the order in which they are appended.
    pub records: Vec<Arrival>,
    /// All records of the tables that the job joins, in any order.
    pub changes: Vec<Changed>,
}

/// Fills the tables of a job, all at once.
///
/// # Errors
/// One is too large.
pub fn fill(job: &SpecJob, changes: &[Changed]) -> Result<(), String> {
    Tables::new(job, changes).read_all()
}

/// Data of the first source schema as they would arrive: dealt out to partitions in turn, each when it happens or, if that is
/// earlier, with the one before. A view says after each that it is complete up to then.
pub fn arrivals<J: Viewed>(job: &J, data: impl IntoIterator<Item = Vec<u8>>, partitions: usize) -> Vec<Arrival> {
    job.head().settle();
    let mut now = 0;
    let arrive = |(at, datum): (usize, Vec<u8>)| {
        let mut scratch = Vec::new();
        let time = job.read(Input::of(&datum), &mut scratch).map_or(now, |sample| sample.event_time);
        now = now.max(time);
        let (partition, appended_at) = (at % partitions.max(1), now);
        let told = job.head().progress_to(now);
        let told = told.map(|(schema, datum)| Arrival { partition, appended_at, schema, datum });
        std::iter::once(Arrival { partition, appended_at, schema: 0, datum }).chain(told)
    };
    data.into_iter().enumerate().flat_map(arrive).collect()
}

/// How records come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Everything that is there, in one commit.
    FullSpeed,
    /// One record after the other, each committed and merged.
    OneByOne,
    /// Pieces of partitions, commits and merges in an order that the seed gives.
    Mixed(u64),
    /// The same, and members die.
    Crashing(u64),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FullSpeed => write!(f, "at full speed"),
            Self::OneByOne => write!(f, "record by record"),
            Self::Mixed(seed) => write!(f, "interleaved by seed {seed}"),
            Self::Crashing(seed) => write!(f, "with crashes by seed {seed}"),
        }
    }
}

/// What was found equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// Ways that were tried.
    pub ways: usize,
    /// Records of the sample.
    pub records: usize,
    /// Rows at rest.
    pub rows: usize,
    /// Records that were late for a window, folded or not.
    pub late: i64,
}

/// Two ways that came to different figures: a fault of the engine or of an aggregate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{way} it gives other figures than {}: {what}", Way::FullSpeed)]
pub struct Mismatch {
    /// The way that differs from full speed.
    pub way: Way,
    /// The first difference.
    pub what: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The figures differ.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// It cannot be checked.
    #[error("{0}")]
    Unable(String),
}

/// Runs records in every way and compares what is there at rest; `rounds` interleavings, and as many with crashes, by `seed` and
/// those after it.
///
/// # Errors
/// The figures differ; the job seals at once; a partition above [`PARTITIONS_MAX`]; or what stops a stage.
pub fn check<J: Viewed>(job: &Arc<J>, sample: &Sample, rounds: u64, seed: u64) -> Result<Checked, Error> {
    let Sample { records, .. } = sample;
    let spec = job.spec();
    if spec.late == LatePolicy::Amend && spec.amend_for_ms == 0 {
        let why = format!(
            "{} amends for no time at all: whether a late record comes before its window is sealed is chance",
            spec.name
        );
        return Err(Error::Unable(why));
    }
    let partitions = records.iter().map(|record| record.partition + 1).max().unwrap_or(1);
    if partitions > PARTITIONS_MAX {
        return Err(Error::Unable(format!("{partitions} partitions; at most {PARTITIONS_MAX} are taken")));
    }
    let seeds = seed..seed.saturating_add(rounds);
    let ways = seeds.clone().map(Way::Mixed).chain(seeds.map(Way::Crashing));
    let ways: Vec<Way> = std::iter::once(Way::OneByOne).chain(ways).collect();
    let first = run(job, sample, partitions, Way::FullSpeed)?;
    for &way in &ways {
        let other = run(job, sample, partitions, way)?;
        if let Some(what) = difference(job.as_ref(), &first, &other) {
            return Err(Mismatch { way, what }.into());
        }
    }
    let late = first.windows.values().map(|(_, late, held)| late + held).sum();
    let of_sample =
        records.iter().filter(|record| job.head().row_schemas().is_none_or(|rows| record.schema < rows)).count();
    Ok(Checked { ways: ways.len() + 1, records: of_sample, rows: first.rows.len(), late })
}

fn run<J: Viewed>(job: &Arc<J>, sample: &Sample, partitions: usize, way: Way) -> Result<AtRest<J::Accumulator>, Error> {
    let Sample { records, changes } = sample;
    let driver = Driver::new(Arc::clone(job), partitions);
    let now = records.iter().map(|record| record.appended_at).max().unwrap_or(0);
    let merges = job.spec().merge_partitions as usize;
    let (tables, has_ids) = (Tables::new(job.head(), changes), job.spec().dedupe.is_some());
    let mut running = Running { driver, tables, now, partitions, merges, has_ids };
    let run = match way {
        Way::FullSpeed => running.full_speed(records),
        Way::OneByOne => running.one_by_one(records),
        Way::Mixed(seed) => running.mixed(records, &mut Dice(seed), false),
        Way::Crashing(seed) => running.mixed(records, &mut Dice(seed), true),
    };
    run.map_err(|error| Error::Unable(format!("{way} a stage stops: {error}")))?;
    Ok(AtRest::of(&running.driver, job.spec().window.gap_ms().is_some()))
}

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014).
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    /// The next 64 bits.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`; 0 when that is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        self.roll().checked_rem(n).unwrap_or(0)
    }
}
