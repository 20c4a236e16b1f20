//! What a test expects, and how it differs from what is there, in lines for people. Files and tests in Rust say it alike.

use crate::inline::{count, entries, list, time};
use crate::instant::rfc3339;
use crate::near;
use crate::problem::Problem;
use crate::trial::{Shown, State, Trial};
use crate::viewed::Viewed;
use crate::yaml::{Data, Node};
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::fmt;
use tidemark_core::{Windowing, window};
use tidemark_views::ViewSpec;

/// Doubles are equal that differ by so little, relatively: the file has them in decimal.
const NEAR: f64 = 1e-9;

/// An expectation that did not hold.
#[derive(Clone, PartialEq, Eq)]
pub struct Unmet {
    /// The differences, a line each.
    pub lines: Vec<String>,
}

impl std::error::Error for Unmet {}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the view is not as expected:")?;
        self.lines.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// As it is displayed: what a test gives back is printed like this.
impl fmt::Debug for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How a trial differs from an `expect`, a line for each difference.
///
/// # Errors
/// The expectation is not written right.
pub(crate) fn expect<J: Viewed>(trial: &Trial<J>, node: &Node) -> Result<Vec<String>, Problem> {
    const KEYS: &[&str] = &["window", "state", "rows", "late", "dead_letters", "filtered", "duplicates"];
    let keys = entries(node, "`expect`", KEYS)?;
    let get = |name: &str| keys.iter().find(|(key, _)| *key == name).map(|(_, node)| *node);
    if keys.iter().all(|(key, _)| *key == "window") {
        let rest: Vec<&str> = KEYS.iter().copied().filter(|key| *key != "window").collect();
        let problem = Problem::new(node.at, "`expect` names nothing to compare");
        return Err(problem.fix(format!("give it one of {}", rest.join(", "))));
    }
    let window = get("window").map(|node| window_start(node, trial.job().spec().window)).transpose()?;
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
        let view = &trial.job().head().columns().view;
        let wanted: Vec<Shown> = list(rows).iter().map(|row| wanted_row(row, view)).collect::<Result<_, _>>()?;
        lines.extend(differences(&wanted, &got, view));
    }
    Ok(lines)
}

/// The start of a window; of sessions, of their bucket.
fn window_start(node: &Node, windows: Windowing) -> Result<i64, Problem> {
    let at = time(node)?;
    let start = window::tumbling(at, windows.hop_ms()).start;
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

fn columns(view: &ViewSpec) -> BTreeSet<String> {
    let named = view.clustering.iter().chain(&view.values).map(|column| column.name.clone());
    named.chain(["window_start", "window_end", "tenant"].map(str::to_owned)).collect()
}

fn wanted_row(node: &Node, view: &ViewSpec) -> Result<Shown, Problem> {
    let (Data::Map(entries), Json::Object(row)) = (&node.data, node.json()) else {
        return Err(Problem::new(node.at, format!("a row is a map of columns and values, not {}", node.kind())));
    };
    let known = columns(view);
    match entries.iter().find(|(key, _)| !known.contains(&key.name)) {
        None => Ok(Shown(row.into_iter().collect())),
        Some((key, _)) => {
            let problem = Problem::new(key.at, format!("the view has no column `{}`", key.name));
            Err(problem.fix(near::advice(&key.name, known.iter().map(String::as_str))))
        }
    }
}

/// Rows are told apart by the columns that are not values.
fn differences(wanted: &[Shown], got: &[Shown], view: &ViewSpec) -> Vec<String> {
    let values: BTreeSet<&str> = view.values.iter().map(|column| column.name.as_str()).collect();
    let is_key = |name: &str| !values.contains(name);
    let mut left: Vec<&Shown> = got.iter().collect();
    let mut lines = Vec::new();
    for row in wanted {
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
