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

use crate::agree;
use crate::job::SpecJob;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tidemark_core::aggregate::{Accumulators, Answer};
use tidemark_core::driver::Driver;
use tidemark_core::partial::Verdict;
use tidemark_core::{Accumulator, Input, Job, LatePolicy};

/// Most source partitions.
pub const PARTITIONS_MAX: usize = 64;
/// One step of so many is a crash, where there are any.
const CRASH_EVERY: u64 = 6;

/// A record on its way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// Its source partition, from 0.
    pub partition: usize,
    /// When it was appended, milliseconds; does not fall within a partition.
    pub appended_at: i64,
    /// Avro datum of the job's first source schema.
    pub datum: Vec<u8>,
}

/// Data as they would arrive: dealt out to partitions in turn, each when it happens or, if that is earlier, with the one before.
pub fn arrivals(job: &SpecJob, data: impl IntoIterator<Item = Vec<u8>>, partitions: usize) -> Vec<Arrival> {
    let mut now = 0;
    let arrive = |(at, datum): (usize, Vec<u8>)| {
        let mut scratch = Vec::new();
        let time = job.read(Input::of(&datum), &mut scratch).map_or(now, |sample| sample.event_time);
        now = now.max(time);
        Arrival { partition: at % partitions.max(1), appended_at: now, datum }
    };
    data.into_iter().enumerate().map(arrive).collect()
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

/// What is the same whatever the way.
#[derive(Debug, Clone, PartialEq)]
struct AtRest {
    /// By window and key: the time of the last event (of sessions), records, and their sum.
    rows: BTreeMap<(i64, Vec<u8>), (Option<i64>, i64, Accumulators)>,
    /// By window: records, late ones in the rows, late ones left out.
    windows: BTreeMap<i64, (i64, i64, i64)>,
    verdicts: BTreeMap<(usize, i64), Verdict>,
    rejects: usize,
    sealed_out: i64,
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
pub fn check(job: &Arc<SpecJob>, records: &[Arrival], rounds: u64, seed: u64) -> Result<Checked, Error> {
    let spec = job.spec();
    if spec.late == LatePolicy::Amend && spec.amend_for_ms == 0 {
        let why = format!("{} amends for no time at all: whether a late record comes before its window is sealed is chance", spec.name);
        return Err(Error::Unable(why));
    }
    let partitions = records.iter().map(|record| record.partition + 1).max().unwrap_or(1);
    if partitions > PARTITIONS_MAX {
        return Err(Error::Unable(format!("{partitions} partitions; at most {PARTITIONS_MAX} are taken")));
    }
    let seeds = seed..seed.saturating_add(rounds);
    let ways = seeds.clone().map(Way::Mixed).chain(seeds.map(Way::Crashing));
    let ways: Vec<Way> = std::iter::once(Way::OneByOne).chain(ways).collect();
    let first = run(job, records, partitions, Way::FullSpeed)?;
    for &way in &ways {
        let other = run(job, records, partitions, way)?;
        if let Some(what) = difference(job, &first, &other) {
            return Err(Mismatch { way, what }.into());
        }
    }
    let late = first.windows.values().map(|(_, late, held)| late + held).sum();
    Ok(Checked { ways: ways.len() + 1, records: records.len(), rows: first.rows.len(), late })
}

fn run(job: &Arc<SpecJob>, records: &[Arrival], partitions: usize, way: Way) -> Result<AtRest, Error> {
    let driver = Driver::new(Arc::clone(job), partitions);
    let now = records.iter().map(|record| record.appended_at).max().unwrap_or(0);
    let merges = job.spec().merge_partitions as usize;
    let mut running = Running { driver, now, partitions, merges, has_ids: job.spec().dedupe.is_some() };
    let run = match way {
        Way::FullSpeed => running.full_speed(records),
        Way::OneByOne => running.one_by_one(records),
        Way::Mixed(seed) => running.mixed(records, &mut Dice(seed), false),
        Way::Crashing(seed) => running.mixed(records, &mut Dice(seed), true),
    };
    run.map_err(|error| Error::Unable(format!("{way} a stage stops: {error}")))?;
    Ok(at_rest(&running.driver, job.spec().window.gap_ms().is_some()))
}

struct Running {
    driver: Driver<SpecJob>,
    now: i64,
    partitions: usize,
    merges: usize,
    has_ids: bool,
}

type Ran = Result<(), tidemark_core::merge::Error>;

impl Running {
    fn all(&self) -> Vec<usize> {
        (0..self.partitions).collect()
    }

    fn push(&mut self, records: &[Arrival]) {
        for record in records {
            self.driver.push(record.partition, record.appended_at, record.datum.clone());
        }
    }

    fn full_speed(&mut self, records: &[Arrival]) -> Ran {
        self.push(records);
        self.end()
    }

    fn one_by_one(&mut self, records: &[Arrival]) -> Ran {
        for record in records {
            self.push(std::slice::from_ref(record));
            self.driver.read(record.partition, 1);
            self.driver.commit(&[record.partition], self.now);
            self.driver.merge()?;
        }
        self.end()
    }

    fn mixed(&mut self, records: &[Arrival], dice: &mut Dice, crashing: bool) -> Ran {
        self.push(records);
        // Pieces so small that every partition is cut into some, of a sample of any size.
        let piece = (records.len() as u64 / (self.partitions as u64 * 8)).max(2);
        for _ in 0..self.partitions * 40 {
            let partition = dice.below(self.partitions as u64) as usize;
            let merge = dice.below(self.merges as u64) as usize;
            if crashing && dice.below(CRASH_EVERY) == 0 {
                self.crash(partition, merge, dice)?;
                continue;
            }
            match dice.below(4) {
                0 | 1 => self.driver.read(partition, dice.below(piece) as usize + 1),
                2 => {
                    let some: Vec<usize> = self.all().into_iter().filter(|_| dice.below(2) == 0).collect();
                    self.driver.commit(&some, self.now);
                }
                _ => self.driver.merge_some(merge, dice.below(8) as usize + 1)?,
            }
        }
        self.end()
    }

    fn crash(&mut self, partition: usize, merge: usize, dice: &mut Dice) -> Ran {
        match dice.below(4) {
            0 | 1 if !self.has_ids => self.driver.crash(partition),
            0 | 1 => {}
            2 => self.driver.crash_merge(merge)?,
            _ => {
                self.driver.checkpoint(merge);
                self.driver.merge_some(merge, dice.below(4) as usize)?;
                self.driver.reopen_merge(merge)?;
            }
        }
        Ok(())
    }

    /// Reads everything that is left.
    fn end(&mut self) -> Ran {
        let all = self.all();
        all.iter().for_each(|partition| self.driver.read(*partition, usize::MAX));
        self.driver.commit(&all, self.now);
        self.driver.merge()
    }
}

fn at_rest(driver: &Driver<SpecJob>, sessions: bool) -> AtRest {
    let rows = if sessions {
        let row = |(key, (last, records, sum)): (Vec<u8>, (i64, i64, Accumulators))| ((0, key), (Some(last), records, sum));
        driver.sessions().into_iter().map(row).collect()
    } else {
        driver.rows().iter().map(|(key, (records, sum))| (key.clone(), (None, *records, sum.clone()))).collect()
    };
    let mut windows: BTreeMap<i64, (i64, i64, i64)> = BTreeMap::new();
    for ledger in driver.ledgers() {
        let (records, late, held) = windows.entry(ledger.window_start).or_default();
        *records += ledger.records;
        *late += ledger.late;
        *held += ledger.held;
    }
    // A bucket whose sessions have all moved to another is there on some ways only.
    windows.retain(|_, counts| *counts != (0, 0, 0));
    let (verdicts, rejects) = (driver.verdicts().clone(), driver.rejects().len());
    AtRest { rows, windows, verdicts, rejects, sealed_out: driver.sealed_out() }
}

/// The first thing that differs, in words.
fn difference(job: &SpecJob, first: &AtRest, other: &AtRest) -> Option<String> {
    let verdict = first.verdicts.iter().find(|(at, verdict)| other.verdicts.get(at) != Some(verdict));
    if let Some(((partition, offset), verdict)) = verdict {
        let found = other.verdicts.get(&(*partition, *offset));
        return Some(format!("record {offset} of partition {partition} is {verdict:?} and {found:?}"));
    }
    if (first.rejects, first.sealed_out) != (other.rejects, other.sealed_out) {
        let (a, b) = ((first.rejects, first.sealed_out), (other.rejects, other.sealed_out));
        return Some(format!("dead-lettered and sealed out are {a:?} and {b:?}"));
    }
    let starts = first.windows.keys().chain(other.windows.keys());
    for start in starts {
        let (a, b) = (first.windows.get(start), other.windows.get(start));
        if a != b {
            let text = crate::instant::rfc3339(*start);
            return Some(format!("records, late and held of window {text} are {a:?} and {b:?}"));
        }
    }
    for at in first.rows.keys().chain(other.rows.keys()) {
        let (a, b) = (first.rows.get(at), other.rows.get(at));
        let same = match (a, b) {
            (Some(a), Some(b)) => (a.0, a.1) == (b.0, b.1) && same_sums(job, &a.2, &b.2),
            _ => false,
        };
        if !same {
            let text = crate::instant::rfc3339(at.0);
            return Some(format!("the row of key {:02x?} in window {text} is {a:?} and {b:?}", at.1));
        }
    }
    None
}

/// Bit for bit, but for lists of most frequent values that have lost some.
fn same_sums(job: &SpecJob, a: &Accumulators, b: &Accumulators) -> bool {
    let bytes = |sums: &Accumulators| {
        let mut out = Vec::new();
        sums.put(&mut out);
        out
    };
    if bytes(a) == bytes(b) {
        return true;
    }
    let (answers, others) = (a.results(&job.functions), b.results(&job.functions));
    let states = a.0.iter().zip(&b.0);
    a.0.len() == b.0.len()
        && job.functions.iter().zip(states).zip(answers.zip(others)).all(|((function, (a, b)), (x, y))| {
            a == b || (function.order_matters() && same_tops(function, &x, &y))
        })
}

fn same_tops(function: &tidemark_core::aggregate::Function, a: &Answer<'_>, b: &Answer<'_>) -> bool {
    let tidemark_core::aggregate::Function::TopK { k, .. } = function else { return false };
    let (Answer::Json(a), Answer::Json(b)) = (a, b) else { return false };
    let (Ok(a), Ok(b)) = (serde_json::from_str(a), serde_json::from_str(b)) else { return false };
    agree::top_k(&a, &b, *k as usize)
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::datum::Maker;
    use crate::{Topics, compile};
    use serde_json::json;

    struct Access;

    impl Topics for Access {
        fn schema(&self, _: &str) -> Result<Option<String>, String> {
            Ok(Some(include_str!("../../../examples/access-log/logs.access.avsc").to_owned()))
        }
        fn names(&self) -> Vec<String> {
            vec![]
        }
    }

    fn at_rest(text: &str) -> (Arc<SpecJob>, AtRest) {
        let job = Arc::new(compile("job.yaml", text, &Access).unwrap());
        let maker = Maker::new(&job.sources()[0].avsc, &[]).unwrap();
        let record = |at: i64| maker.datum(&json!({"at": at * 1_000, "client": "a", "status": 200, "path": "/"})).unwrap();
        let records = arrivals(&job, [9_000, 1, 9_001].map(record), 1);
        let rest = run(&job, &records, 1, Way::FullSpeed).unwrap();
        (job, rest)
    }

    /// Every part of the figures is compared: tampering with any of them is told.
    #[test]
    fn a_difference_is_found_wherever_it_is() {
        for text in [
            include_str!("../../../examples/access-log/access.hourly.yaml"),
            include_str!("../../../examples/access-log/access.sessions.yaml"),
        ] {
            let (job, rest) = at_rest(text);
            assert_eq!(difference(&job, &rest, &rest.clone()), None);
            let tampers: [fn(&mut AtRest); 9] = [
                |rest| drop(rest.verdicts.pop_last()),
                |rest| drop(rest.verdicts.insert((0, 0), Verdict::Filtered)),
                |rest| rest.rejects += 1,
                |rest| rest.sealed_out += 1,
                |rest| drop(rest.windows.pop_first()),
                |rest| rest.windows.values_mut().for_each(|(_, late, _)| *late += 1),
                |rest| drop(rest.rows.pop_first()),
                |rest| rest.rows.values_mut().for_each(|(_, records, _)| *records += 1),
                |rest| rest.rows.values_mut().for_each(|(_, _, sums)| sums.merge(&sums.clone())),
            ];
            for (at, tamper) in tampers.into_iter().enumerate() {
                let mut other = rest.clone();
                tamper(&mut other);
                assert!(difference(&job, &rest, &other).is_some(), "tamper {at}");
                assert!(difference(&job, &other, &rest).is_some() || at == 0, "tamper {at}, the other way round");
            }
        }
    }
}
