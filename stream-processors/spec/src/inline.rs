//! The tests that stand in a job file.

use crate::instant::{duration_ms, rfc3339};
use crate::job::SpecJob;
use crate::near;
use crate::problem::{At, Problem, Problems};
use crate::trial::{Shown, State, Trial};
use crate::yaml::{Data, Node};
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use tidemark_core::{Job, window};

/// Doubles are equal that differ by so little, relatively: the file has them in decimal.
const NEAR: f64 = 1e-9;

/// What came of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// What was expected and is not so; none when it passed.
    pub failures: Vec<Failure>,
}

/// An expectation that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Where it stands.
    pub at: At,
    /// The differences, a line each.
    pub lines: Vec<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.failures.is_empty() { "ok  " } else { "FAIL" };
        write!(f, "{verdict}  {}", self.name)?;
        for Failure { at, lines } in &self.failures {
            write!(f, "\n      line {}:", at.line)?;
            lines.iter().try_for_each(|line| write!(f, "\n        {line}"))?;
        }
        Ok(())
    }
}

/// Runs the tests of a job's file.
///
/// # Errors
/// A test that is not written right.
pub fn run(name: &str, job: &Arc<SpecJob>) -> Result<Vec<Outcome>, Problems> {
    let tests = job.file().tests.iter().enumerate().map(|(n, node)| test(job, n, node));
    tests.collect::<Result<_, _>>().map_err(|problem| Problems::new(name, job.text(), vec![problem]))
}

fn entries<'n>(node: &'n Node, what: &str, known: &[&str]) -> Result<Vec<(&'n str, &'n Node)>, Problem> {
    let Data::Map(entries) = &node.data else {
        return Err(Problem::new(node.at, format!("{what} is a map of {}, not {}", known.join(", "), node.kind())));
    };
    if let Some((key, _)) = entries.iter().find(|(key, _)| !known.contains(&key.name.as_str())) {
        let problem = Problem::new(key.at, format!("there is no key `{}` in {what}", key.name));
        return Err(problem.fix(near::advice(&key.name, known.iter().copied())));
    }
    Ok(entries.iter().map(|(key, node)| (key.name.as_str(), node)).collect())
}

fn list(node: &Node) -> &[Node] {
    match &node.data {
        Data::List(items) => items,
        Data::Scalar(_) | Data::Map(_) => std::slice::from_ref(node),
    }
}

fn test(job: &Arc<SpecJob>, number: usize, node: &Node) -> Result<Outcome, Problem> {
    let keys = entries(node, "a test", &["name", "steps"])?;
    let get = |name: &str| keys.iter().find(|(key, _)| *key == name).map(|(_, node)| *node);
    let name = get("name").and_then(Node::scalar).map_or_else(|| format!("test {}", number + 1), |s| s.text.clone());
    let steps = get("steps").ok_or_else(|| {
        Problem::new(node.at, "`steps` is missing").fix("write `steps:` with `push`, `advance` and `expect`")
    })?;
    let wide = |step: &Node| match &step.data {
        Data::Map(entries) => entries.iter().find(|(key, _)| key.name == "partition").and_then(|(_, n)| whole(n)),
        Data::Scalar(_) | Data::List(_) => None,
    };
    let partitions = list(steps).iter().filter_map(wide).max().unwrap_or(0).saturating_add(1);
    let mut trial = Trial::new(Arc::clone(job), partitions).map_err(|why| Problem::new(node.at, why))?;
    if !list(steps)
        .iter()
        .any(|step| matches!(&step.data, Data::Map(keys) if keys.iter().any(|(key, _)| key.name == "expect")))
    {
        return Err(
            Problem::new(node.at, "the test expects nothing, so it cannot fail").fix("add a step with `expect`")
        );
    }
    let mut failures = Vec::new();
    for step in list(steps) {
        failures.extend(run_step(&mut trial, job, step)?);
    }
    Ok(Outcome { name, failures })
}

fn whole(node: &Node) -> Option<usize> {
    node.scalar()?.text.parse().ok()
}

fn run_step(trial: &mut Trial, job: &SpecJob, step: &Node) -> Result<Option<Failure>, Problem> {
    const ACTS: &[&str] = &["push", "table", "delete", "advance", "expect"];
    let keys = entries(step, "a step", &[ACTS, &["topic", "partition", "arrives"]].concat())?;
    let get = |name: &str| keys.iter().find(|(key, _)| *key == name).map(|(_, node)| *node);
    if !keys.iter().any(|(key, _)| ACTS.contains(key)) {
        return Err(Problem::new(step.at, "the step does nothing").fix(format!("give it one of {}", ACTS.join(", "))));
    }
    let partition = get("partition").map_or(Ok(0), |node| count(node, "partition"))?;
    let schema = get("topic").map_or(Ok(0), |node| schema_of(job, node))?;
    let arrives = match get("arrives") {
        None => None,
        Some(node) => Some(time(node)?),
    };
    // Of one step the tables come first: what stands beside a record is there for it.
    for (name, rows) in get("table").map_or(Ok(Vec::new()), |node| by_join(node, "table"))? {
        for row in list(rows) {
            trial.table(name, &row.json(), arrives).map_err(|why| Problem::new(row.at, why))?;
        }
    }
    for (name, keys) in get("delete").map_or(Ok(Vec::new()), |node| by_join(node, "delete"))? {
        for key in list(keys) {
            trial.delete(name, &key.json(), arrives).map_err(|why| Problem::new(key.at, why))?;
        }
    }
    if let Some(records) = get("push") {
        for record in list(records) {
            trial.push_of(schema, partition, &record.json(), arrives).map_err(|why| Problem::new(record.at, why))?;
        }
    }
    if let Some(node) = get("advance") {
        let text = node.scalar().map(|scalar| scalar.text.as_str()).unwrap_or_default();
        let ms = duration_ms(text).ok_or_else(|| {
            Problem::new(node.at, format!("`advance` is a length of time, not `{text}`")).fix("write for example 2h")
        })?;
        trial.advance(ms).map_err(|why| Problem::new(node.at, why))?;
    }
    get("expect").map_or(Ok(None), |node| expect(trial, job, node))
}

/// A number that is a number.
fn count(node: &Node, what: &str) -> Result<usize, Problem> {
    whole(node).ok_or_else(|| {
        let found = node.scalar().map_or(node.kind(), |scalar| scalar.text.as_str());
        Problem::new(node.at, format!("`{what}` is a whole number, not `{found}`"))
    })
}

/// Which schema the records of a topic are of.
fn schema_of(job: &SpecJob, node: &Node) -> Result<usize, Problem> {
    let topic = node.scalar().map(|scalar| scalar.text.as_str()).unwrap_or_default();
    job.schema_of(topic).ok_or_else(|| {
        let topics = job.topics().iter().map(|(topic, _)| topic.as_str());
        let problem = Problem::new(node.at, format!("the job does not read `{topic}`"));
        problem.fix(near::advice(topic, topics.collect::<Vec<_>>()))
    })
}

/// What a step says of each join.
fn by_join<'n>(node: &'n Node, what: &str) -> Result<Vec<(&'n str, &'n Node)>, Problem> {
    match &node.data {
        Data::Map(entries) => Ok(entries.iter().map(|(key, node)| (key.name.as_str(), node)).collect()),
        Data::Scalar(_) | Data::List(_) => {
            let problem = Problem::new(node.at, format!("`{what}` is a map of joins, not {}", node.kind()));
            let fix = if what == "table" {
                "write `table: {partner: {id: 1, name: A}}`"
            } else {
                "write `delete: {partner: 1}`"
            };
            Err(problem.fix(fix))
        }
    }
}

fn time(node: &Node) -> Result<i64, Problem> {
    crate::datum::instant(&node.json())
        .ok_or_else(|| Problem::new(node.at, "this is no instant").fix("write RFC 3339, as 2026-01-01T00:00:00Z"))
}

fn expect(trial: &Trial, job: &SpecJob, node: &Node) -> Result<Option<Failure>, Problem> {
    const KEYS: &[&str] = &["window", "state", "rows", "late", "dead_letters", "filtered", "duplicates"];
    let keys = entries(node, "`expect`", KEYS)?;
    let get = |name: &str| keys.iter().find(|(key, _)| *key == name).map(|(_, node)| *node);
    if keys.iter().all(|(key, _)| *key == "window") {
        let rest: Vec<&str> = KEYS.iter().copied().filter(|key| *key != "window").collect();
        let problem = Problem::new(node.at, "`expect` names nothing to compare");
        return Err(problem.fix(format!("give it one of {}", rest.join(", "))));
    }
    let window = get("window").map(|node| window_start(node, job)).transpose()?;
    let mut lines = Vec::new();
    if let Some(wanted) = get("state") {
        let start = window.ok_or_else(|| Problem::new(wanted.at, "`state` is of a window").fix("add `window`"))?;
        let wanted = state(wanted)?;
        let got = trial.state(start).map_or("nothing: no record came for it", |state| state.name());
        if wanted != got {
            lines.push(format!("window {}: expected {wanted}, got {got}", rfc3339(start)));
        }
    }
    let counts = trial.counts();
    for (name, got) in [
        ("late", counts.late),
        ("dead_letters", counts.dead_letters),
        ("filtered", counts.filtered),
        ("duplicates", counts.duplicates),
    ] {
        let wanted = get(name).map(|node| count(node, name)).transpose()?;
        if let Some(wanted) = wanted.filter(|wanted| *wanted as i64 != got) {
            lines.push(format!("{name}: expected {wanted}, got {got}"));
        }
    }
    if get("dead_letters").is_none() {
        lines.extend(trial.dead_letters().map(|(_, offset, why)| format!("record {offset} was dead-lettered: {why}")));
    }
    if let Some(rows) = get("rows") {
        let got: Vec<Shown> = trial
            .rows()
            .into_iter()
            .filter(|(start, _)| window.is_none_or(|w| w == *start))
            .map(|(_, row)| row)
            .collect();
        let wanted: Vec<(At, Shown)> = list(rows).iter().map(|row| wanted_row(row, job)).collect::<Result<_, _>>()?;
        lines.extend(differences(&wanted, &got, job));
    }
    Ok((!lines.is_empty()).then_some(Failure { at: node.at, lines }))
}

/// The start of a window; of sessions, of their bucket.
fn window_start(node: &Node, job: &SpecJob) -> Result<i64, Problem> {
    let at = time(node)?;
    let start = window::tumbling(at, job.spec().window.hop_ms()).start;
    if start == at {
        return Ok(at);
    }
    let (at, start) = (rfc3339(at), rfc3339(start));
    Err(Problem::new(node.at, format!("no window starts at {at}; the one that holds it starts at {start}")))
}

fn state(node: &Node) -> Result<&'static str, Problem> {
    let names = [State::Open, State::Final, State::Amended, State::Sealed].map(State::name);
    let found = node.scalar().map(|scalar| scalar.text.as_str()).unwrap_or_default();
    names
        .into_iter()
        .find(|name| *name == found)
        .ok_or_else(|| Problem::new(node.at, format!("there is no state `{found}`")).fix(near::advice(found, names)))
}

fn columns(job: &SpecJob) -> BTreeSet<String> {
    let view = &job.columns().view;
    let named = view.clustering.iter().chain(&view.values).map(|column| column.name.clone());
    named.chain(["window_start", "window_end", "tenant"].map(str::to_owned)).collect()
}

fn wanted_row(node: &Node, job: &SpecJob) -> Result<(At, Shown), Problem> {
    let (Data::Map(entries), Json::Object(row)) = (&node.data, node.json()) else {
        return Err(Problem::new(node.at, format!("a row is a map of columns and values, not {}", node.kind())));
    };
    let known = columns(job);
    match entries.iter().find(|(key, _)| !known.contains(&key.name)) {
        None => Ok((node.at, Shown(row.into_iter().collect()))),
        Some((key, _)) => {
            let problem = Problem::new(key.at, format!("the view has no column `{}`", key.name));
            Err(problem.fix(near::advice(&key.name, known.iter().map(String::as_str))))
        }
    }
}

/// Rows are told apart by the columns that are not values.
fn differences(wanted: &[(At, Shown)], got: &[Shown], job: &SpecJob) -> Vec<String> {
    let values: BTreeSet<&str> = job.columns().view.values.iter().map(|column| column.name.as_str()).collect();
    let is_key = |name: &str| !values.contains(name);
    let mut left: Vec<&Shown> = got.iter().collect();
    let mut lines = Vec::new();
    for (_, row) in wanted {
        let keys: Vec<(&String, &Json)> = row.iter().filter(|(name, _)| is_key(name)).collect();
        let same =
            |shown: &&Shown| keys.iter().all(|(name, value)| shown.get(name).is_some_and(|found| equal(value, found)));
        // Of several rows with these keys, one whose values are right too, so that the others are told of as they are.
        let right =
            |shown: &&Shown| row.iter().all(|(name, value)| shown.get(name).is_some_and(|found| equal(value, found)));
        let found = left.iter().position(right).or_else(|| left.iter().position(same));
        let label = label(keys.iter().map(|(name, value)| (name.as_str(), *value)));
        let Some(found) = found else {
            lines.push(format!("{label} is missing"));
            continue;
        };
        let shown = left.remove(found);
        for (name, value) in row.iter().filter(|(name, _)| !is_key(name)) {
            let got = shown.get(name).unwrap_or(&Json::Null);
            if !equal(value, got) {
                lines.push(format!("{label} {name}: expected {value}, got {got}"));
            }
        }
    }
    for row in left {
        let keys = row.iter().filter(|(name, _)| is_key(name)).map(|(name, value)| (name.as_str(), value));
        let held: Vec<String> = row.iter().filter(|(name, _)| !is_key(name)).map(|(n, v)| format!("{n}={v}")).collect();
        lines.push(format!("{} was not expected: {}", label(keys), held.join(" ")));
    }
    lines
}

fn label<'r>(keys: impl Iterator<Item = (&'r str, &'r Json)>) -> String {
    let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let words: Vec<String> = keys.map(|(name, value)| format!("{name}={}", text(value))).collect();
    if words.is_empty() { "the row".to_owned() } else { words.join(" ") }
}

/// Lists and maps by their parts, of which a map may name a few only.
fn equal(wanted: &Json, got: &Json) -> bool {
    match (wanted, got) {
        (Json::Number(a), Json::Number(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => a == b || (a - b).abs() <= NEAR * a.abs().max(b.abs()),
            _ => false,
        },
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Json::Object(a), Json::Object(b)) => a.iter().all(|(name, a)| b.get(name).is_some_and(|b| equal(a, b))),
        (Json::Number(n), Json::String(text)) | (Json::String(text), Json::Number(n)) => n.to_string() == *text,
        (Json::String(a), Json::String(b)) => {
            a == b || matches!((crate::instant::parse(a), crate::instant::parse(b)), (Some(a), Some(b)) if a == b)
        }
        _ => wanted == got,
    }
}
