//! Bytes per hour, from its rows, kept by ledger revision.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tidemark_schemas::engine::Ledger;
use tidemark_views::{Error, Revision};
use tokio::sync::Mutex;

use crate::Api;
use crate::columns::Sums;
use crate::scan::{Filter, Scan, Step, revision};

/// Rows read for the totals of one answer. Hours beyond it have none in this answer and get theirs in one of the next.
const SCAN_ROWS_MAX: i64 = 500_000;

/// Totals kept, by hour and merge partition; when there are more, all are forgotten and summed again.
const ENTRIES_MAX: usize = 100_000;

/// A total may be older than its ledger by this many times what it took to sum, so that summing a large open hour takes at
/// most about a tenth of one core.
const AGE_PER_EFFORT: u32 = 10;

/// Totals known. The lock is held while rows are summed: one sum at a time.
#[derive(Default)]
pub(crate) struct Totals {
    known: Mutex<HashMap<(i64, i32), Total>>,
}

struct Total {
    revision: Revision,
    sums: Sums,
    at: Instant,
    took: Duration,
}

impl Total {
    fn good(&self, revision: Revision) -> bool {
        self.revision == revision || self.at.elapsed() < self.took * AGE_PER_EFFORT
    }
}

/// The totals of windows, each given by its ledger entries; `None` where rows are still to be read.
pub(crate) async fn totals(api: &Api, windows: &[&[Ledger]]) -> Result<Vec<Option<Sums>>, Error> {
    let mut known = api.totals.known.lock().await;
    if known.len() > ENTRIES_MAX {
        known.clear();
    }
    let mut budget = SCAN_ROWS_MAX;
    let mut all = Vec::with_capacity(windows.len());
    for window in windows {
        all.push(total(api, &mut known, window, &mut budget).await?);
    }
    Ok(all)
}

async fn total(
    api: &Api,
    known: &mut HashMap<(i64, i32), Total>,
    window: &[Ledger],
    budget: &mut i64,
) -> Result<Option<Sums>, Error> {
    let mut sums = Sums::default();
    for ledger in window {
        let key = (ledger.window_start, ledger.merge_partition);
        if !known.get(&key).is_some_and(|t| t.good(revision(ledger))) {
            // The first one is summed however large it is, so that there is always an answer in the end.
            if *budget < ledger.rows && *budget < SCAN_ROWS_MAX {
                return Ok(None);
            }
            *budget -= ledger.rows.max(1);
            known.insert(key, sum(api, ledger).await?);
        }
        sums.add(known.get(&key).map(|t| t.sums).unwrap_or_default());
    }
    Ok(Some(sums))
}

/// Sums the rows of one merge partition.
async fn sum(api: &Api, ledger: &Ledger) -> Result<Total, Error> {
    let at = Instant::now();
    let one = std::slice::from_ref(ledger);
    let mut scan = Scan::new(api.flows.source.clone(), Filter::default(), one, None, usize::MAX, usize::MAX);
    let mut sums = Sums::default();
    while let Step::Row(row) = scan.step().await? {
        sums.add(api.columns.sums(&row));
    }
    Ok(Total { revision: revision(ledger), sums, at: Instant::now(), took: at.elapsed() })
}
