//! Row by row: the view against what was recomputed. A plain function.

use std::collections::BTreeMap;
use tidemark_schemas::avro::{Avro, put_bytes, put_long};
use tidemark_spec::agree;
use tidemark_views::{Row, Value, ViewSpec};

/// So many differences are told in full; all are counted.
pub const DIFFERENCES_MAX: usize = 100;

/// What a view's rows consist of.
#[derive(Debug, Clone)]
pub struct Columns {
    /// The table.
    pub view: ViewSpec,
    /// Columns that list the most frequent values, with how many: beyond its capacity such a list depends on the order of records.
    pub tops: BTreeMap<String, usize>,
    /// The fields of the job's key after the tenant, in its order: places among the clustering columns.
    pub key: Vec<usize>,
}

/// A row that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct Differing {
    /// As recomputed; if it is only in the view, as there.
    pub row: Row,
    /// It is only in the view.
    pub is_extra: bool,
}

/// A value on both sides, by the name of its column.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Name of the column.
    pub column: String,
    /// In the view.
    pub view: Value,
    /// Recomputed.
    pub recomputed: Value,
}

/// How a row differs.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// It is on both sides, with other values.
    Changed(Vec<Change>),
    /// Only the view has it.
    OnlyInView,
    /// Only the recomputation has it.
    OnlyRecomputed,
}

/// A row that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Start of its window, milliseconds.
    pub window_start: i64,
    /// Whose row.
    pub tenant: String,
    /// One value for each clustering column.
    pub key: Vec<Value>,
    /// How it differs.
    pub what: What,
}

/// What came of comparing a window.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Compared {
    /// Rows with the same values on both sides.
    pub equal: u64,
    /// Of these, rows whose lists of most frequent values differ within their stated error.
    pub within_error: u64,
    /// Rows with other values.
    pub changed: u64,
    /// Rows that only the view has.
    pub only_in_view: u64,
    /// Rows that were only recomputed.
    pub only_recomputed: u64,
    /// The first of those that differ.
    pub differences: Vec<Difference>,
}

impl Compared {
    /// Whether every row is the same on both sides.
    pub fn is_equal(&self) -> bool {
        self.changed + self.only_in_view + self.only_recomputed == 0
    }
}

type Key = (String, i32, Vec<Value>);

fn by_key(rows: Vec<Row>) -> BTreeMap<Key, Row> {
    rows.into_iter()
        .map(|row| ((row.partition.tenant.clone(), row.partition.merge_partition, row.clustering.clone()), row))
        .collect()
}

impl Columns {
    /// Position of the column that counts records.
    fn records(&self) -> Option<usize> {
        self.view.values.iter().position(|column| column.name == "records")
    }

    /// Whether a row is one that readers pass over: a session that was retracted has no records.
    pub fn is_retracted(&self, row: &Row) -> bool {
        self.records().and_then(|at| row.values.get(at)) == Some(&Value::Long(0))
    }

    /// The values that differ, and whether others differ within their stated error.
    fn changes(&self, view: &Row, recomputed: &Row) -> (Vec<Change>, bool) {
        let (mut changes, mut near) = (Vec::new(), false);
        for ((column, view), recomputed) in self.view.values.iter().zip(&view.values).zip(&recomputed.values) {
            if view == recomputed {
                continue;
            }
            if self.tops.get(&column.name).is_some_and(|k| same_top(view, recomputed, *k)) {
                near = true;
                continue;
            }
            changes.push(Change { column: column.name.clone(), view: view.clone(), recomputed: recomputed.clone() });
        }
        (changes, near)
    }

    /// The job's key of a row, as the engine has it; none where a column cannot be part of one.
    pub fn key(&self, row: &Row) -> Option<Vec<u8>> {
        let mut key = Vec::new();
        put_bytes(&mut key, row.partition.tenant.as_bytes());
        for at in &self.key {
            match row.clustering.get(*at)? {
                Value::Text(text) => put_bytes(&mut key, text.as_bytes()),
                Value::Long(n) | Value::Time(n) => put_long(&mut key, *n),
                Value::Boolean(value) => value.put(&mut key),
                _ => return None,
            }
        }
        Some(key)
    }

    /// Compares the rows of one window; `differs` gets each row that differs.
    pub fn compare(
        &self,
        window_start: i64,
        view: Vec<Row>,
        recomputed: Vec<Row>,
        mut differs: impl FnMut(Differing),
    ) -> Compared {
        let (mut compared, mut recomputed) = (Compared::default(), by_key(recomputed));
        for (key, row) in by_key(view) {
            let what = match recomputed.remove(&key) {
                None => {
                    compared.only_in_view += 1;
                    differs(Differing { row, is_extra: true });
                    What::OnlyInView
                }
                Some(other) => {
                    let (changes, near) = self.changes(&row, &other);
                    compared.within_error += u64::from(near && changes.is_empty());
                    if changes.is_empty() {
                        compared.equal += 1;
                        continue;
                    }
                    compared.changed += 1;
                    differs(Differing { row: other, is_extra: false });
                    What::Changed(changes)
                }
            };
            compared.tell(window_start, key, what);
        }
        for (key, row) in recomputed {
            compared.only_recomputed += 1;
            differs(Differing { row, is_extra: false });
            compared.tell(window_start, key, What::OnlyRecomputed);
        }
        compared
    }
}

impl Compared {
    fn tell(&mut self, window_start: i64, (tenant, _, key): Key, what: What) {
        if self.differences.len() < DIFFERENCES_MAX {
            self.differences.push(Difference { window_start, tenant, key, what });
        }
    }
}

fn same_top(a: &Value, b: &Value, k: usize) -> bool {
    let (Value::Json(a), Value::Json(b)) = (a, b) else { return false };
    let (Ok(a), Ok(b)) = (serde_json::from_str(a), serde_json::from_str(b)) else { return false };
    agree::top_k(&a, &b, k)
}
