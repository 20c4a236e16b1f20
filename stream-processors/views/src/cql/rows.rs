//! Rows of a view: grouped writes, and reads of a slice of one partition.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use futures::{StreamExt, TryStreamExt, stream};

use super::CqlViews;
use super::bind::{BadCell, Bound, Cells, quoted};
use super::session::unreadable;
use crate::{Column, Error, Row, RowPartition, RowQuery, Value, ViewSpec, check};

/// Statements on their way at once. A node takes thousands; more than this gained nothing in measurements.
pub(super) const CONCURRENCY: usize = 32;
/// Rows in one batch.
const BATCH_ROWS: usize = 50;
/// Estimated bytes in one batch: Cassandra refuses batches above 50 KiB, ScyllaDB above 1 MiB.
const BATCH_BYTES: usize = 16 * 1024;
/// CQL's longest time to live, seconds.
const MAX_TTL: i64 = 630_720_000;

impl CqlViews {
    pub(super) async fn write_rows(&self, view: &ViewSpec, rows: &[Row]) -> Result<(), Error> {
        let text = insert(view, &self.table(&view.name));
        let now = now();
        let mut partitions = BTreeMap::<&RowPartition, Vec<Vec<Bound<'_>>>>::new();
        for row in rows {
            check::row(view, row)?;
            if let Some(ttl) = ttl(view, row.written_at, now) {
                partitions.entry(&row.partition).or_default().push(bound(row, ttl));
            }
        }
        let batches = partitions.into_values().flat_map(batches);
        // Collected first: rustc cannot see that a lazy map over borrowed rows may cross threads.
        let writes: Vec<_> = batches.map(|batch| self.write_group(view, &text, batch)).collect();
        stream::iter(writes).buffer_unordered(CONCURRENCY).try_collect().await
    }

    /// A row by itself goes without a batch, whose size the store bounds more tightly.
    async fn write_group(&self, view: &ViewSpec, text: &str, mut rows: Vec<Vec<Bound<'_>>>) -> Result<(), Error> {
        match rows.len() {
            0 => Ok(()),
            1 => self.session.write(view, text, rows.pop().unwrap_or_default()).await,
            _ => self.session.write_batch(view, text, rows).await,
        }
    }

    pub(super) async fn read_rows(&self, view: &ViewSpec, query: &RowQuery) -> Result<Vec<Row>, Error> {
        check::query(view, query)?;
        let Some((filter, keys)) = slice(&view.clustering, query) else {
            return Ok(vec![]);
        };
        let text = select(view, &self.table(&view.name), &filter);
        let at = &query.partition;
        let mut values = vec![Bound::Text(&at.tenant), Bound::Long(at.window_start), Bound::Int(at.merge_partition)];
        values.extend(keys.into_iter().map(Bound::from));
        values.push(Bound::Int(i32::try_from(query.limit).unwrap_or(i32::MAX)));
        let rows = self.session.read(view, &text, values).await?;
        rows.into_iter().map(|row| read(view, at, Cells::of(row)).map_err(|e| unreadable(view, e))).collect()
    }
}

/// Milliseconds since the epoch. The store counts down by its own clock; ours only says how much is left.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Seconds left to live, rounded up; `None` when the retention is over.
pub(super) fn ttl(view: &ViewSpec, written_at: i64, now: i64) -> Option<i32> {
    let left_ms = written_at.saturating_add(view.retention_ms).saturating_sub(now);
    let seconds = (left_ms > 0).then(|| (left_ms - 1) / 1_000 + 1)?;
    i32::try_from(seconds.min(MAX_TTL)).ok()
}

/// Values in the order of [`insert`].
fn bound(row: &Row, ttl: i32) -> Vec<Bound<'_>> {
    let (at, version) = (&row.partition, row.revision);
    let mut values = Vec::with_capacity(8 + row.clustering.len() + row.values.len());
    values.extend([Bound::Text(&at.tenant), Bound::Long(at.window_start), Bound::Int(at.merge_partition)]);
    values.extend(row.clustering.iter().chain(&row.values).map(Bound::from));
    values.extend([Bound::Int(version.epoch), Bound::Long(version.offset), Bound::Long(row.written_at)]);
    values.extend([Bound::Long(version.timestamp()), Bound::Int(ttl)]);
    values
}

/// Cuts a partition's rows into batches within both bounds; a row larger than a batch is one by itself.
fn batches(rows: Vec<Vec<Bound<'_>>>) -> Vec<Vec<Vec<Bound<'_>>>> {
    let (mut batches, mut batch, mut bytes) = (Vec::new(), Vec::new(), 0);
    for row in rows {
        let size = row.iter().map(size).sum::<usize>();
        if batch.len() == BATCH_ROWS || bytes + size > BATCH_BYTES {
            batches.push(std::mem::take(&mut batch));
            bytes = 0;
        }
        batch.push(row);
        bytes += size;
    }
    batches.push(batch);
    batches
}

/// Estimated bytes of a value in a message, its length included.
fn size(value: &Bound<'_>) -> usize {
    4 + match value {
        Bound::Text(text) => text.len(),
        Bound::Blob(bytes) => bytes.len(),
        Bound::Integer(_) => 16,
        Bound::Long(_) | Bound::Double(_) | Bound::Time(_) => 8,
        Bound::Int(_) | Bound::Boolean(_) | Bound::Null => 4,
    }
}

fn names<'a>(columns: impl Iterator<Item = &'a Column>) -> Vec<String> {
    columns.map(|column| quoted(&column.name)).collect()
}

fn insert(view: &ViewSpec, table: &str) -> String {
    let columns = names(view.clustering.iter().chain(&view.values)).into_iter().map(|name| format!("{name}, "));
    let columns: String = columns.collect();
    let marks = vec!["?"; 6 + view.clustering.len() + view.values.len()].join(", ");
    format!(
        "INSERT INTO {table} (tenant, window_start, merge_partition, {columns}epoch, revision, written_at) \
         VALUES ({marks}) USING TIMESTAMP ? AND TTL ?"
    )
}

fn select(view: &ViewSpec, table: &str, filter: &str) -> String {
    let columns = names(view.clustering.iter().chain(&view.values)).into_iter().map(|name| format!("{name}, "));
    let columns: String = columns.collect();
    format!(
        "SELECT {columns}epoch, revision, written_at FROM {table} \
         WHERE tenant = ? AND window_start = ? AND merge_partition = ?{filter} LIMIT ?"
    )
}

/// The condition on the clustering columns and its values; `None` when no row can meet it.
///
/// CQL does not mix single-column and tuple conditions, so a prefix with a lower bound is a slice of tuples: above `after`
/// and, on the prefix's columns, at most the prefix.
fn slice<'a>(columns: &[Column], query: &'a RowQuery) -> Option<(String, Vec<&'a Value>)> {
    let names = names(columns.iter());
    let prefix = &query.prefix;
    let prefixed = names.get(..prefix.len())?;
    let equal = || prefixed.iter().map(|name| format!(" AND {name} = ?")).collect::<String>();
    let Some(after) = &query.after else {
        return Some((equal(), prefix.iter().collect()));
    };
    match after.get(..prefix.len())?.cmp(prefix) {
        Ordering::Less => Some((equal(), prefix.iter().collect())),
        Ordering::Greater => None,
        Ordering::Equal if prefix.len() == columns.len() => None,
        Ordering::Equal => {
            let mut filter = format!(" AND {}", tuple(&names, ">"));
            if !prefix.is_empty() {
                filter += &format!(" AND {}", tuple(prefixed, "<="));
            }
            Some((filter, after.iter().chain(prefix).collect()))
        }
    }
}

fn tuple(names: &[String], operator: &str) -> String {
    format!("({}) {operator} ({})", names.join(", "), vec!["?"; names.len()].join(", "))
}

fn read(view: &ViewSpec, at: &RowPartition, mut cells: Cells) -> Result<Row, BadCell> {
    let clustering = view.clustering.iter().map(|column| cells.value(column.kind)).collect::<Result<_, _>>()?;
    let values = view.values.iter().map(|column| cells.nullable(column.kind)).collect::<Result<_, _>>()?;
    let revision = crate::Revision { epoch: cells.int()?, offset: cells.long()? };
    Ok(Row { partition: at.clone(), clustering, values, revision, written_at: cells.long()? })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn time_to_live_is_what_is_left_of_the_retention() {
        let view = ViewSpec { name: "v".into(), clustering: vec![], values: vec![], retention_ms: 10_000 };
        let cases = [(0, Some(10)), (1, Some(10)), (1_000, Some(9)), (9_999, Some(1)), (10_000, None), (10_001, None)];
        for (now, seconds) in cases {
            assert_eq!(ttl(&view, 0, now), seconds, "at {now}");
        }
        assert_eq!(ttl(&view, i64::MAX, 0), Some(630_720_000));
    }

    #[test]
    fn batches_are_bounded_and_keep_every_row() {
        let text = "x".repeat(BATCH_BYTES + 1);
        let row = |at: usize| vec![if at.is_multiple_of(100) { Bound::Text(&text) } else { Bound::Long(at as i64) }];
        let batches = batches((0..250).map(row).collect());
        assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), 250);
        assert!(batches.iter().all(|batch| batch.len() <= BATCH_ROWS));
        let big = |batch: &Vec<Vec<Bound<'_>>>| batch.iter().flatten().any(|value| size(value) > BATCH_BYTES);
        assert!(batches.iter().filter(|batch| big(batch)).all(|batch| batch.len() == 1), "a huge row is alone");
    }
}
