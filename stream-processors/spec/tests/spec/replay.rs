//! Every job file of the repository gives the same figures however its records come: property tests with records made from
//! the sources' schemas.

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tidemark_core::Job;
use tidemark_spec::datum::Maker;
use tidemark_spec::replay::{self, Changed, Dice, Sample};
use tidemark_spec::view::Asked;
use tidemark_spec::{SpecJob, Topics, View, compile};

/// 2026-01-01.
const BASE_MS: i64 = 1_767_225_600_000;

/// `TOPIC.avsc` in a folder, else one of the platform's own.
struct Folder(PathBuf);

impl Topics for Folder {
    fn schema(&self, topic: &str) -> Result<Option<String>, String> {
        let beside = std::fs::read_to_string(self.0.join(format!("{topic}.avsc"))).ok();
        let own = (topic == "flows.observed").then(|| tidemark_schemas::catalog::FLOW_OBSERVED.avsc.to_string());
        Ok(beside.or(own))
    }
    fn names(&self) -> Vec<String> {
        vec![]
    }
    /// Of the job file beside.
    fn view(&self, asked: &Asked<'_>) -> Result<Option<View>, String> {
        let text = std::fs::read_to_string(self.0.join(format!("{}.yaml", asked.view))).map_err(|e| e.to_string())?;
        compile("view.yaml", &text, self).map(|job| Some(View::of(&job))).map_err(|problems| problems.to_string())
    }
}

fn job_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            job_files(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "yaml") {
            found.push(path);
        }
    }
}

/// The job files of the examples.
fn jobs() -> Vec<(PathBuf, Arc<SpecJob>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = vec![];
    job_files(&root.join("examples"), &mut files);
    let job = |file: PathBuf| {
        let topics = Folder(file.parent().unwrap().to_owned());
        let text = std::fs::read_to_string(&file).unwrap();
        let job = compile(&file.display().to_string(), &text, &topics).unwrap_or_else(|problems| panic!("{problems}"));
        (file, Arc::new(job))
    };
    files.into_iter().map(job).collect()
}

/// A value of a type, of few different ones, so that keys meet.
fn value(schema: &Json, dice: &mut Dice) -> Json {
    let pick = |dice: &mut Dice, n: usize| dice.below(n as u64) as usize;
    if let Json::Array(branches) = schema {
        let at = pick(dice, branches.len());
        return value(&branches[at], dice);
    }
    if schema["logicalType"].as_str().is_some_and(|logical| logical.starts_with("timestamp")) {
        return json!(BASE_MS + dice.below(7_200_000) as i64);
    }
    let kind = schema.as_str().or(schema["type"].as_str()).unwrap_or_default();
    match kind {
        "null" => Json::Null,
        "bytes" if schema["logicalType"] == "decimal" => json!(dice.below(1_000)),
        "string" | "bytes" => json!(["a", "b", "c", "d", "e"][pick(dice, 5)]),
        "int" | "long" => json!([0, 1, 200, 204, 404, 500, 1_000][pick(dice, 7)]),
        "float" | "double" => json!(dice.below(1_000) as f64 / 7.0),
        "boolean" => json!(dice.below(2) == 0),
        "enum" => {
            let symbols = schema["symbols"].as_array().unwrap();
            symbols[pick(dice, symbols.len())].clone()
        }
        "record" => record(schema, dice),
        other => panic!("the test makes no {other}: {schema}"),
    }
}

fn record(schema: &Json, dice: &mut Dice) -> Json {
    let field = |field: &Json| (field["name"].as_str().unwrap().to_owned(), value(&field["type"], dice));
    Json::Object(schema["fields"].as_array().unwrap().iter().map(field).collect::<Map<_, _>>())
}

/// Records in about the order of their event time: some an hour late, some repeated.
/// The tables change all the while.
pub(crate) fn sample(job: &SpecJob, records: usize, partitions: usize, seed: u64) -> Sample {
    let avsc = job.sources()[0].avsc.to_string();
    let (schema, maker) = (serde_json::from_str::<Json>(&avsc).unwrap(), Maker::new(&avsc, job.fields()).unwrap());
    let mut dice = Dice(seed);
    let mut last: Option<Vec<u8>> = None;
    let data: Vec<Vec<u8>> = (0..records as i64)
        .map(|at| {
            let late =
                if dice.below(8) == 0 { 3_600_000 + dice.below(7_200_000) as i64 } else { dice.below(900_000) as i64 };
            let mut record = record(&schema, &mut dice);
            record[&job.spec().time] = json!(BASE_MS + at * 6 * 3_600_000 / records as i64 - late);
            let again = last.take().filter(|_| dice.below(20) == 0);
            let datum = again.unwrap_or_else(|| maker.datum(&record).unwrap());
            last = Some(datum.clone());
            datum
        })
        .collect();
    let records = replay::arrivals(job, data, partitions);
    let changes = (0..job.tables().len()).flat_map(|table| changes(job, table, records.len(), &mut dice)).collect();
    Sample { records, changes }
}

/// About as many changes of a table as there are records, one of ten a deletion, some appended in the same millisecond.
fn changes(job: &SpecJob, table: usize, count: usize, dice: &mut Dice) -> Vec<Changed> {
    let avsc = job.tables()[table].schema().avsc.to_string();
    let (schema, maker) = (serde_json::from_str::<Json>(&avsc).unwrap(), Maker::new(&avsc, &[]).unwrap());
    let change = |at: i64| {
        let row = record(&schema, dice);
        let appended_at = BASE_MS + at / 2 * 2 * 6 * 3_600_000 / count as i64;
        let datum = (dice.below(10) != 0).then(|| maker.datum(&row).unwrap());
        let key = Some(row["id"].to_string().into_bytes());
        Changed { table, appended_at, partition: (at % 2) as u32, offset: at / 2, key, datum }
    };
    (0..count as i64).map(change).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn every_job_file_gives_the_same_figures_however_its_records_come(seed in any::<u64>(), records in 40..200usize, partitions in 1..5usize) {
        let jobs = jobs();
        prop_assert!(jobs.len() >= 5, "the examples are there");
        for (file, job) in jobs {
            let sample = sample(&job, records, partitions, seed);
            let checked = replay::check(&job, &sample, 4, seed).map_err(|error| {
                TestCaseError::fail(format!("{} with {records} records of seed {seed} on {partitions}: {error}", file.display()))
            })?;
            prop_assert_eq!((checked.ways, checked.records), (10, records));
            prop_assert!(checked.rows > 0);
        }
    }
}

#[test]
fn the_samples_hold_late_records() {
    for (file, job) in jobs() {
        let late: i64 =
            (0..5).map(|seed| replay::check(&job, &sample(&job, 200, 2, seed), 1, seed).unwrap().late).sum();
        assert!(late > 20, "{}: {late} late", file.display());
    }
}

/// Top-k beyond its capacity, `hold` and hopping windows, none of which an example has.
#[test]
fn policies_and_windows_that_no_example_has_are_replayed_too() {
    let text = crate::support::HOURLY;
    let text = &text[..text.find("tests:").unwrap()];
    let hold = text.replace("late: amend for 7d", "late: hold");
    let hopping = hold.replace("{tumbling: 1h}", "{hopping: 1h, every: 15m}");
    for text in [hold, hopping] {
        let job = crate::support::job(&text).unwrap_or_else(|problems| panic!("{problems}"));
        for seed in 0..4 {
            let checked = replay::check(&job, &sample(&job, 150, 3, seed), 4, seed).unwrap();
            assert!(checked.late > 0, "{checked:?}");
        }
    }
    let at_once = crate::support::job(&text.replace("amend for 7d", "amend for 0s")).unwrap();
    let refused = replay::check(&at_once, &sample(&at_once, 10, 1, 1), 1, 1).unwrap_err().to_string();
    assert!(refused.contains("amends for no time at all"), "{refused}");
}
