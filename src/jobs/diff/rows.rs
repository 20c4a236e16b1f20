//! Two versions of a window's rows, row by row, and what is said of them.

use super::Version;
use crate::jobs::recompute::shown;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// So many rows that differ are shown; all are counted.
const SHOWN_MAX: usize = 20;

/// By key, the values by column.
pub(super) type Rows = BTreeMap<Vec<String>, BTreeMap<String, Value>>;

/// What came of comparing.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Difference {
    pub(super) windows: usize,
    windows_equal: usize,
    /// Windows that are not final in both.
    pub(super) passed_over: usize,
    equal: u64,
    changed: u64,
    only: (u64, u64),
    /// Rows with another value, by column.
    columns: BTreeMap<String, u64>,
    shown: Vec<String>,
}

impl Difference {
    pub(super) fn is_equal(&self) -> bool {
        self.changed + self.only.0 + self.only.1 == 0
    }

    fn show(&mut self, line: impl FnOnce() -> String) {
        if self.shown.len() < SHOWN_MAX {
            self.shown.push(line());
        }
    }

    /// Adds the rows of a window, compared by the columns that both versions have.
    pub(super) fn window(&mut self, start: &str, columns: &BTreeSet<&String>, a: &Rows, mut b: Rows) {
        let before = (self.changed, self.only);
        for (key, row) in a {
            let Some(other) = b.remove(key) else {
                self.only.0 += 1;
                self.show(|| format!("{start} {}  only in the first", key.join(" ")));
                continue;
            };
            let differ: Vec<&&String> = columns.iter().filter(|name| row.get(**name) != other.get(**name)).collect();
            if differ.is_empty() {
                self.equal += 1;
                continue;
            }
            self.changed += 1;
            for name in &differ {
                *self.columns.entry((**name).clone()).or_default() += 1;
            }
            self.show(|| {
                let side = |row: &BTreeMap<String, Value>, name: &String| row.get(name).map(shown).unwrap_or_default();
                let change = |name: &&&String| format!("{name}: {} → {}", side(row, name), side(&other, name));
                let changes: Vec<String> = differ.iter().map(change).collect();
                format!("{start} {}  {}", key.join(" "), changes.join(", "))
            });
        }
        for key in b.into_keys() {
            self.only.1 += 1;
            self.show(|| format!("{start} {}  only in the second", key.join(" ")));
        }
        self.windows += 1;
        self.windows_equal += usize::from(before == (self.changed, self.only));
    }
}

/// Prints what came of it.
pub(super) fn print(view: &str, a: &Version, b: &Version, difference: &Difference) {
    let Difference { windows, windows_equal, passed_over, equal, changed, only, columns, shown } = difference;
    let verdict = match (windows, difference.is_equal()) {
        (0, _) => "nothing to compare",
        (_, true) => "equal",
        (_, false) => "differ",
    };
    println!("{view} versions {} and {}: {verdict}\n", a.number, b.number);
    println!(
        "  windows   {windows} compared, {windows_equal} of them equal; {passed_over} not final in both are left out"
    );
    println!(
        "  rows      {equal} equal, {changed} changed, {} only in {}, {} only in {}",
        only.0, a.number, only.1, b.number
    );
    for (column, rows) in columns {
        println!("  column    {column}: {rows} rows differ");
    }
    for (one, other) in [(a, b), (b, a)] {
        let own: Vec<&str> = one.values.difference(&other.values).map(String::as_str).collect();
        if !own.is_empty() {
            println!("  column    {} only in {}, not compared", own.join(", "), one.number);
        }
    }
    if !shown.is_empty() {
        println!();
    }
    shown.iter().for_each(|line| println!("  {line}"));
    let more = (changed + only.0 + only.1).saturating_sub(shown.len() as u64);
    if more > 0 {
        println!("  … and {more} more");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rows(rows: &[(&str, i64, i64)]) -> Rows {
        let row = |(key, n, m): &(&str, i64, i64)| {
            (vec![format!("class={key}")], [("n".to_owned(), json!(n)), ("m".to_owned(), json!(m))].into())
        };
        rows.iter().map(row).collect()
    }

    #[test]
    fn rows_are_equal_changed_or_on_one_side_only() {
        let (n, m) = ("n".to_owned(), "m".to_owned());
        let mut difference = Difference::default();
        let (a, b) = (
            rows(&[("2xx", 1, 1), ("3xx", 2, 2), ("4xx", 3, 3)]),
            rows(&[("2xx", 1, 9), ("4xx", 5, 9), ("5xx", 1, 1)]),
        );
        difference.window("10:00", &[&n].into(), &a, b);
        assert_eq!((difference.equal, difference.changed, difference.only), (1, 1, (1, 1)));
        assert_eq!(difference.columns, [(n.clone(), 1)].into());
        assert!(difference.shown.contains(&"10:00 class=4xx  n: 3 → 5".to_owned()), "{:?}", difference.shown);
        difference.window("11:00", &[&n, &m].into(), &a, a.clone());
        assert_eq!((difference.windows, difference.windows_equal, difference.equal), (2, 1, 4));
        assert!(!difference.is_equal());
    }
}
