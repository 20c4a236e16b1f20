//! What is known of keyed processes: restores under way, entries of their state, ticks.

use super::{Metrics, Restoring, head};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    entries: usize,
    ticks: u64,
}

#[derive(Debug, Default)]
pub(super) struct ProcessMetrics {
    restoring: BTreeMap<u32, Restoring>,
    counts: BTreeMap<u32, Counts>,
}

impl Metrics {
    /// A commit of a partition went through, or its restore: entries there are, ticks in the commit.
    pub(crate) fn process(&self, partition: u32, entries: usize, ticks: u64) {
        let mut state = self.lock();
        let counts = state.process.counts.entry(partition).or_default();
        (counts.entries, counts.ticks) = (entries, counts.ticks + ticks);
    }

    /// A restore has come so far.
    pub(crate) fn process_restoring(&self, partition: u32, restoring: Restoring) {
        self.lock().process.restoring.insert(partition, restoring);
    }

    /// Restores of these partitions are over, or were given up.
    pub(crate) fn process_not_restoring(&self, partitions: impl Iterator<Item = u32>) {
        let mut state = self.lock();
        for partition in partitions {
            state.process.restoring.remove(&partition);
        }
    }
}

impl ProcessMetrics {
    /// Restores under way, for people and pages.
    pub(super) fn restoring(&self) -> impl Iterator<Item = Value> {
        self.restoring.iter().map(|(partition, Restoring { rows, percent, seconds_left })| {
            let percent = (percent * 10.0).round() / 10.0;
            json!({ "stage": "process", "partition": partition, "rows": rows, "percent": percent, "seconds_left": seconds_left })
        })
    }
}

pub(super) fn render(process: &ProcessMetrics, out: &mut String) {
    if process.counts.is_empty() {
        return;
    }
    head(
        out,
        "tidemark_process_entries",
        "gauge",
        "Entries in the state of a keyed process, by partition of its input.",
    );
    for (partition, Counts { entries, .. }) in &process.counts {
        let _ = writeln!(out, "tidemark_process_entries{{partition=\"{partition}\"}} {entries}");
    }
    head(out, "tidemark_process_ticks_total", "counter", "Ticks that were written for timers that were due.");
    for (partition, Counts { ticks, .. }) in &process.counts {
        let _ = writeln!(out, "tidemark_process_ticks_total{{partition=\"{partition}\"}} {ticks}");
    }
}
