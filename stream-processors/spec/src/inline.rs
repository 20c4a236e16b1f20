//! The tests that stand in a job file.

use crate::expect::expect;
use crate::instant::duration_ms;
use crate::job::SpecJob;
use crate::near;
use crate::problem::{At, Problem, Problems};
use crate::trial::Trial;
use crate::yaml::{Data, Node};
use std::fmt;
use std::sync::Arc;

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

pub(crate) fn entries<'n>(node: &'n Node, what: &str, known: &[&str]) -> Result<Vec<(&'n str, &'n Node)>, Problem> {
    let Data::Map(entries) = &node.data else {
        return Err(Problem::new(node.at, format!("{what} is a map of {}, not {}", known.join(", "), node.kind())));
    };
    if let Some((key, _)) = entries.iter().find(|(key, _)| !known.contains(&key.name.as_str())) {
        let problem = Problem::new(key.at, format!("there is no key `{}` in {what}", key.name));
        return Err(problem.fix(near::advice(&key.name, known.iter().copied())));
    }
    Ok(entries.iter().map(|(key, node)| (key.name.as_str(), node)).collect())
}

pub(crate) fn list(node: &Node) -> &[Node] {
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

fn run_step(trial: &mut Trial<SpecJob>, job: &SpecJob, step: &Node) -> Result<Option<Failure>, Problem> {
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
    let Some(node) = get("expect") else { return Ok(None) };
    let lines = expect(trial, node)?;
    Ok((!lines.is_empty()).then_some(Failure { at: node.at, lines }))
}

/// A number that is a number.
pub(crate) fn count(node: &Node, what: &str) -> Result<usize, Problem> {
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

pub(crate) fn time(node: &Node) -> Result<i64, Problem> {
    crate::datum::instant(&node.json())
        .ok_or_else(|| Problem::new(node.at, "this is no instant").fix("write RFC 3339, as 2026-01-01T00:00:00Z"))
}
