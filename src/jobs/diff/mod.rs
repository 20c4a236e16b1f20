//! `tidemark job diff`: two versions of a view, window by window, through the query API.
//!
//! Windows are compared that are final in both versions, or amended or sealed, unless open ones are asked for too. Rows of
//! one window of each version are in memory at a time.

mod rows;

use crate::jobs::recompute::{NOT_PROVABLE, shown};
use crate::remote::{Remote, escaped};
use anyhow::Context;
use rows::{Difference, Rows, print};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::Duration;

/// Rows of a page, the most that the API gives.
const PAGE_ROWS: usize = 10_000;
/// The platform's list of views may be so old: a version that was just applied is looked for once more.
const LISTED_FOR: Duration = Duration::from_millis(1_200);
/// Windows of a page.
const PAGE_WINDOWS: usize = 744;

/// Which versions of which view.
#[derive(Debug, Clone, clap::Args)]
pub struct Which {
    /// Name of the view.
    view: String,
    /// Windows that start at or after it: RFC 3339, or milliseconds.
    #[arg(long)]
    from: Option<String>,
    /// Windows that start before it.
    #[arg(long)]
    to: Option<String>,
    /// The two versions; else the current one and the newest other.
    #[arg(long, value_name = "A,B", value_parser = pair)]
    versions: Option<(u32, u32)>,
    /// Windows too that are still open in one of them.
    #[arg(long)]
    open: bool,
}

fn pair(text: &str) -> Result<(u32, u32), String> {
    let both = text.split_once(',').and_then(|(a, b)| Some((a.trim().parse().ok()?, b.trim().parse().ok()?)));
    both.filter(|(a, b)| a != b).ok_or_else(|| format!("`{text}` is not two versions; write for example 1,2"))
}

/// A version as `/v1/views` describes it.
#[derive(Debug, Clone, PartialEq)]
struct Version {
    number: u32,
    key: Vec<String>,
    values: BTreeSet<String>,
    window: Value,
}

/// Compares and prints. Exit status: 0 equal, 1 differs, 2 nothing could be compared.
pub fn diff(which: &Which, remote: &Remote) -> ExitCode {
    match compare(which, remote) {
        Ok(exit) => ExitCode::from(exit),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(NOT_PROVABLE)
        }
    }
}

fn compare(which: &Which, remote: &Remote) -> anyhow::Result<u8> {
    let mut known = versions(remote, &which.view)?;
    if choose(&which.view, &known, which.versions).is_err() {
        std::thread::sleep(LISTED_FOR);
        known = versions(remote, &which.view)?;
    }
    let (a, b) = choose(&which.view, &known, which.versions)?;
    anyhow::ensure!(
        a.window == b.window && a.key == b.key,
        "version {} and {} of {} cannot be compared row by row: windows {} and {}, keys {} and {}",
        a.number,
        b.number,
        which.view,
        a.window,
        b.window,
        a.key.join(", "),
        b.key.join(", ")
    );
    let columns: BTreeSet<&String> = a.values.intersection(&b.values).collect();
    let (in_a, in_b) = (windows(remote, which, a.number)?, windows(remote, which, b.number)?);
    let all: BTreeSet<&String> = in_a.keys().chain(in_b.keys()).collect();
    anyhow::ensure!(!all.is_empty(), "neither version of {} has a window there", which.view);
    let mut difference = Difference::default();
    for start in all {
        let is_final = |windows: &BTreeMap<String, bool>| windows.get(start).copied().unwrap_or(false);
        let both_final = is_final(&in_a) && is_final(&in_b);
        if !both_final && !which.open {
            difference.passed_over += 1;
            continue;
        }
        eprintln!("{start} …");
        let (rows_a, rows_b) = (rows(remote, &which.view, a, start)?, rows(remote, &which.view, b, start)?);
        difference.window(start, &columns, &rows_a, rows_b);
    }
    print(&which.view, a, b, &difference);
    Ok(match (difference.windows, difference.is_equal()) {
        (0, _) => NOT_PROVABLE,
        (_, true) => 0,
        (_, false) => 1,
    })
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The versions of a view, the current one first, then the newest first.
fn versions(remote: &Remote, view: &str) -> anyhow::Result<Vec<Version>> {
    let answer = remote.get("/v1/views")?;
    let found = list(&answer, "views").iter().find(|known| text(known, "view") == view);
    let names: Vec<String> = list(&answer, "views").iter().map(|known| text(known, "view")).collect();
    let found = found.with_context(|| {
        format!("there is no view {view}; {}", tidemark_spec::near::advice(view, names.iter().map(String::as_str)))
    })?;
    let names =
        |version: &Value, key: &str| list(version, key).iter().map(|column| text(column, "name")).collect::<Vec<_>>();
    let read = |version: &Value| {
        let number = version.get("version").and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok())?;
        let (key, values) = (names(version, "key"), names(version, "values").into_iter().collect());
        Some(Version { number, key, values, window: version.get("window").cloned().unwrap_or_default() })
    };
    let mut others: Vec<Version> = list(found, "others").iter().filter_map(read).collect();
    others.sort_by_key(|version| std::cmp::Reverse(version.number));
    Ok(read(found).into_iter().chain(others).collect())
}

fn choose<'v>(
    view: &str,
    known: &'v [Version],
    wanted: Option<(u32, u32)>,
) -> anyhow::Result<(&'v Version, &'v Version)> {
    let Some((a, b)) = wanted else {
        let two = known.first().zip(known.get(1));
        return two.with_context(|| format!("{view} has one version only: apply a file with another `version` first"));
    };
    let find = |number: u32| {
        let numbers: Vec<String> = known.iter().map(|version| version.number.to_string()).collect();
        let found = known.iter().find(|version| version.number == number);
        found.with_context(|| format!("{view} has no version {number}; it has {}", numbers.join(", ")))
    };
    Ok((find(a)?, find(b)?))
}

fn query(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    pairs.join("&")
}

/// All pages of an answer.
fn pages(remote: &Remote, path: &str, pairs: &[(&str, &str)], mut each: impl FnMut(&Value)) -> anyhow::Result<()> {
    let mut cursor: Option<String> = None;
    loop {
        let mut pairs = pairs.to_vec();
        pairs.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let page = remote.get(&format!("{path}?{}", query(&pairs)))?;
        each(&page);
        cursor = page.get("next").and_then(Value::as_str).map(str::to_owned);
        if cursor.is_none() {
            return Ok(());
        }
    }
}

/// By start, whether a window is final.
fn windows(remote: &Remote, which: &Which, version: u32) -> anyhow::Result<BTreeMap<String, bool>> {
    let (version, limit) = (version.to_string(), PAGE_WINDOWS.to_string());
    let mut pairs = vec![("version", version.as_str()), ("limit", limit.as_str())];
    pairs.extend(which.from.as_deref().map(|from| ("from", from)));
    pairs.extend(which.to.as_deref().map(|to| ("to", to)));
    let mut windows = BTreeMap::new();
    pages(remote, &format!("/v1/views/{}/windows", escaped(&which.view)), &pairs, |page| {
        let window = |window: &Value| (text(window, "start"), text(window, "state") != "open");
        windows.extend(list(page, "windows").iter().map(window));
    })?;
    Ok(windows)
}

fn rows(remote: &Remote, view: &str, version: &Version, start: &str) -> anyhow::Result<Rows> {
    let (number, limit) = (version.number.to_string(), PAGE_ROWS.to_string());
    let pairs = [("version", number.as_str()), ("window", start), ("limit", limit.as_str())];
    let mut rows = Rows::new();
    pages(remote, &format!("/v1/views/{}", escaped(view)), &pairs, |page| {
        for row in list(page, "rows") {
            let label = |name: &String| format!("{name}={}", row.get(name).map(shown).unwrap_or_default());
            let value = |name: &String| Some((name.clone(), row.get(name)?.clone()));
            rows.insert(version.key.iter().map(label).collect(), version.values.iter().filter_map(value).collect());
        }
    })?;
    Ok(rows)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn two_versions_are_chosen() {
        let version = |number| Version { number, key: vec![], values: BTreeSet::new(), window: Value::Null };
        let known = [version(2), version(5), version(1)];
        let numbers =
            |wanted| choose("v", &known, wanted).map(|(a, b)| (a.number, b.number)).map_err(|e| e.to_string());
        assert_eq!(numbers(None), Ok((2, 5)));
        assert_eq!(numbers(Some((1, 2))), Ok((1, 2)));
        assert_eq!(numbers(Some((1, 3))).unwrap_err(), "v has no version 3; it has 2, 5, 1");
        assert!(choose("v", &known[..1], None).unwrap_err().to_string().contains("one version only"));
        assert_eq!(pair("1, 2"), Ok((1, 2)));
        assert!(pair("1,1").is_err() && pair("1").is_err());
    }
}
