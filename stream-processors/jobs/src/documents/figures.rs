//! Figures by the hour, and what is learned from them: how long each step is expected to run.

use std::collections::BTreeMap;
use tidemark_schemas::dispatch::RunTime;
use tidemark_spec::{Problems, SpecJob, Topics, compile};
use tidemark_views::{Row, Value, ViewSpec};

/// The jobs by name, each with its file.
pub const JOBS: &[(&str, &str)] = &[
    ("documents.hourly", include_str!("documents.hourly.yaml")),
    ("documents.steps_hourly", include_str!("documents.steps_hourly.yaml")),
];

/// With fewer runs nothing is expected of a step.
pub const RUNS_MIN: i64 = 5;

/// A change of so many percent, or less, is none.
const SAME_PERCENT: i64 = 10;

/// [`JOBS`], compiled with the schemas of this build.
///
/// # Errors
/// A file is wrong.
pub fn jobs() -> Result<Vec<SpecJob>, Problems> {
    JOBS.iter().map(|(name, text)| compile(&format!("{name}.yaml"), text, &Built)).collect()
}

/// The topics of the pipeline.
struct Built;

impl Topics for Built {
    fn schema(&self, topic: &str) -> Result<Option<String>, String> {
        let outputs = super::plan::spec().outputs;
        Ok(outputs.into_iter().find(|output| output.topic.name == topic).map(|output| output.schema.avsc.into_owned()))
    }

    fn names(&self) -> Vec<String> {
        super::plan::spec().outputs.into_iter().map(|output| output.topic.name).collect()
    }
}

/// Run times to expect, by media type and step, from rows of the view `documents.steps_hourly` (its table is `view`), such as those
/// of the last 24 hours: of each hour the time that 95 % of the runs did not exceed, weighted by runs, rounded up to milliseconds.
/// None of a step that had fewer than [`RUNS_MIN`].
pub fn run_times(view: &ViewSpec, rows: &[Row]) -> Vec<RunTime> {
    let mut sums: BTreeMap<(String, String), (i64, f64)> = BTreeMap::new();
    for Hour { kind, step, runs, wall_us } in rows.iter().filter_map(|row| hour(view, row)) {
        let (sum_runs, sum_us) = sums.entry((kind, step)).or_default();
        *sum_runs += runs;
        *sum_us += wall_us * runs as f64;
    }
    let time = |((kind, step), (runs, us)): (_, (i64, f64))| RunTime {
        kind,
        step,
        expected_ms: ((us / runs as f64 / 1_000.0).ceil() as i64).max(1),
    };
    sums.into_iter().filter(|(_, (runs, _))| *runs >= RUNS_MIN).map(time).collect()
}

/// Whether a run time is new, or another by more than a tenth of what it was. One that is not known any more is no difference: a
/// step that nobody runs takes as long as it did.
pub fn differs(old: &[RunTime], new: &[RunTime]) -> bool {
    let known = |time: &&RunTime| -> Option<i64> {
        let is_it = |other: &&RunTime| (&other.kind, &other.step) == (&time.kind, &time.step);
        old.iter().find(is_it).map(|other| other.expected_ms)
    };
    new.iter().any(|time| {
        known(&time).is_none_or(|known| {
            let change = time.expected_ms.abs_diff(known);
            change.saturating_mul(100) > known.unsigned_abs().saturating_mul(SAME_PERCENT.unsigned_abs())
        })
    })
}

/// What a row of the view says of an hour.
struct Hour {
    kind: String,
    step: String,
    runs: i64,
    wall_us: f64,
}

/// `None` when the row has not what it should have; or no run.
fn hour(view: &ViewSpec, row: &Row) -> Option<Hour> {
    let key = |name: &str| {
        let at = view.clustering.iter().position(|column| column.name == name)?;
        if let Value::Text(text) = row.clustering.get(at)? { Some(text.clone()) } else { None }
    };
    let value = |name: &str| row.values.get(view.values.iter().position(|column| column.name == name)?);
    let (Some(Value::Long(runs)), Some(Value::Double(wall_us))) = (value("runs"), value("wall_p95_us")) else {
        return None;
    };
    let is_sound = *runs > 0 && wall_us.is_finite() && *wall_us >= 0.0;
    is_sound.then_some(Hour { kind: key("media_type")?, step: key("step")?, runs: *runs, wall_us: *wall_us })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, in its helpers too")]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;
    use tidemark_spec::inline;
    use tidemark_spec::trial::Trial;
    use tidemark_views::{Kind, Revision, RowPartition};

    #[test]
    fn the_tests_of_the_files_pass() {
        for (job, (name, _)) in jobs().unwrap().into_iter().zip(JOBS) {
            assert_eq!(job.file().job.value, *name);
            let outcomes = inline::run(name, &Arc::new(job)).unwrap();
            assert!(!outcomes.is_empty());
            for outcome in outcomes {
                assert!(outcome.failures.is_empty(), "{outcome}");
            }
        }
    }

    /// A row as the job's own view has it: what the job calls its columns is what is read here.
    fn row(view: &ViewSpec, (kind, step): (&str, &str), runs: i64, wall_us: f64) -> Row {
        let value = |name: &str| match name {
            "runs" => Value::Long(runs),
            "wall_p95_us" => Value::Double(wall_us),
            _ => Value::Null,
        };
        let key = |name: &str| Value::Text(if name == "step" { step } else { kind }.to_owned());
        Row {
            partition: RowPartition { tenant: "default".into(), window_start: 0, merge_partition: 0 },
            clustering: view.clustering.iter().map(|column| key(&column.name)).collect(),
            values: view.values.iter().map(|column| value(&column.name)).collect(),
            revision: Revision { epoch: 1, offset: 1 },
            written_at: 0,
        }
    }

    fn view() -> ViewSpec {
        jobs().unwrap()[1].columns().view.clone()
    }

    fn expected(kind: &str, step: &str, expected_ms: i64) -> RunTime {
        RunTime { kind: kind.into(), step: step.into(), expected_ms }
    }

    #[test]
    fn run_times_are_weighted_by_runs_and_need_five() {
        let view = view();
        let rows = [
            row(&view, ("text/plain", "D1"), 3, 1_000_000.0),
            row(&view, ("text/plain", "D1"), 1, 5_000_000.0),
            row(&view, ("text/plain", "D2"), 4, 9.0),
            row(&view, ("text/plain", "D1"), 1, 5_000_000.0),
            row(&view, ("application/pdf", "D1"), 5, 0.0),
            row(&view, ("application/pdf", "D2"), 1_000, 1_000.5),
            row(&view, ("application/pdf", "D2"), 0, 1e12),
            row(&view, ("application/pdf", "D2"), 9, f64::NAN),
        ];
        let times = [
            expected("application/pdf", "D1", 1),
            expected("application/pdf", "D2", 2),
            expected("text/plain", "D1", 2_600),
        ];
        assert_eq!(run_times(&view, &rows), times);
        assert_eq!(run_times(&view, &[]), []);
        assert_eq!(run_times(&ViewSpec { values: vec![], ..view.clone() }, &rows), [], "of another table");
    }

    #[test]
    fn more_than_a_tenth_is_a_difference() {
        let times = |ms| vec![expected("a", "D1", ms), expected("a", "D2", 7)];
        assert!(!differs(&times(1_000), &times(1_100)));
        assert!(differs(&times(1_000), &times(1_101)));
        assert!(!differs(&times(1_000), &times(900)));
        assert!(differs(&times(1_000), &times(899)));
        assert!(differs(&[], &times(1)));
        assert!(!differs(&times(1), &[]));
        assert!(differs(&times(1), &[expected("b", "D1", 1)]));
    }

    /// From runs to what is expected, over the job itself.
    #[test]
    fn what_the_job_writes_is_read() {
        let job = Arc::new(jobs().unwrap().remove(1));
        let mut trial = Trial::new(Arc::clone(&job), 1).unwrap();
        for n in 1..=20 {
            let run = json!({
                "at": "2026-01-01T10:00:00Z", "step": "D2", "media_type": "text/plain", "outcome": "OK", "wall_us": n * 10_000,
                "cpu_us": 1, "memory_bytes": 1,
            });
            trial.push(0, &run, None).unwrap();
        }
        trial.commit().unwrap();
        let shown = trial.rows();
        let (_, shown) = shown.first().unwrap();
        let p95 = shown.get("wall_p95_us").and_then(|value| value.as_f64()).unwrap();
        assert!((188_000.0..=192_000.0).contains(&p95), "the 19th of 20 runs, within 1 %: {p95}");
        assert_eq!(shown.get("runs").and_then(|value| value.as_i64()), Some(20));
        let kind = |name: &str| view().values.into_iter().find(|column| column.name == name).map(|column| column.kind);
        assert_eq!((kind("runs"), kind("wall_p95_us")), (Some(Kind::Long), Some(Kind::Double)));
    }
}
