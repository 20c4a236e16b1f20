//! What is known of merge state: restores under way, checkpoints.

use super::{Metrics, Thread, head};
use crate::held::Origin;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// A restore that is under way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Restoring {
    /// Rows there are.
    pub rows: usize,
    /// Of the offsets that are to be read, 0 to 100.
    pub percent: f64,
    /// At the rate so far; none while that is not known.
    pub seconds_left: Option<u64>,
}

impl Restoring {
    /// From offsets read of all that are to be read, in so much time.
    pub(crate) fn of(rows: usize, done: i64, all: i64, elapsed: Duration) -> Self {
        let (done, all) = (done.clamp(0, all.max(0)) as f64, all.max(0) as f64);
        let percent = if all == 0.0 { 100.0 } else { done * 100.0 / all };
        let left = elapsed.as_secs_f64() * (all - done) / done;
        Self { rows, percent, seconds_left: left.is_finite().then_some(left.ceil() as u64) }
    }
}

/// What happened to the checkpoints of a merge partition.
#[derive(Debug, Default, Clone)]
struct Checkpoints {
    written: u64,
    bytes: u64,
    failed: u64,
    discarded: u64,
    last_at: Option<i64>,
    last_error: Option<String>,
}

/// Of the last restore of a merge partition.
#[derive(Debug, Clone, Copy)]
struct Restored {
    rows: usize,
    entries: u64,
    took: Duration,
}

/// Where the state of a merge partition came from, at all restores so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Origins {
    /// Restores from the changelog alone.
    pub changelog: u64,
    /// From a checkpoint on this machine and the changelog after it.
    pub checkpoint: u64,
    /// From what a standby had followed.
    pub standby: u64,
    /// Of all these, those that went on with the removal of sealed windows' rows.
    pub removing: u64,
    /// Windows that were loaded from disk when they were needed.
    pub windows: u64,
}

impl Origins {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            changelog: self.changelog + other.changelog,
            checkpoint: self.checkpoint + other.checkpoint,
            standby: self.standby + other.standby,
            removing: self.removing + other.removing,
            windows: self.windows + other.windows,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct StateMetrics {
    restoring: BTreeMap<u32, Restoring>,
    restored: BTreeMap<u32, Restored>,
    origins: BTreeMap<u32, Origins>,
    checkpoints: BTreeMap<u32, Checkpoints>,
    following: BTreeMap<u32, Following>,
}

/// A partition that a standby follows.
#[derive(Debug, Clone, Copy)]
struct Following {
    rows: usize,
    lag: i64,
}

impl Metrics {
    /// A standby has come so far: rows, and offsets that it is behind.
    pub(crate) fn following(&self, partition: u32, rows: usize, lag: i64) {
        self.lock().held.following.insert(partition, Following { rows, lag });
    }

    /// A standby follows a partition no more.
    pub(crate) fn not_following(&self, partition: u32) {
        self.lock().held.following.remove(&partition);
    }

    /// Offsets that a standby is behind in a partition that it follows.
    pub fn standby_lag(&self, partition: u32) -> Option<i64> {
        self.lock().held.following.get(&partition).map(|following| following.lag)
    }

    /// A restore has come so far.
    pub(crate) fn restoring(&self, partition: u32, restoring: Restoring) {
        self.lock().held.restoring.insert(partition, restoring);
    }

    /// A restore is over: rows there are, and entries of the changelog that it read.
    pub(crate) fn restored(&self, partition: u32, rows: usize, entries: u64, took: Duration) {
        let mut state = self.lock();
        state.held.restoring.remove(&partition);
        state.held.restored.insert(partition, Restored { rows, entries, took });
    }

    /// What a restore began with, and whether, at its end, rows of sealed windows are yet to be removed.
    pub(crate) fn restored_from(&self, partition: u32, origin: Origin, is_removing: bool) {
        let mut state = self.lock();
        let origins = state.held.origins.entry(partition).or_default();
        match origin {
            Origin::Changelog => origins.changelog += 1,
            Origin::Checkpoint => origins.checkpoint += 1,
            Origin::Standby => origins.standby += 1,
        }
        origins.removing += u64::from(is_removing);
    }

    /// So many windows were loaded from disk.
    pub(crate) fn windows_loaded(&self, partition: u32, windows: u64) {
        self.lock().held.origins.entry(partition).or_default().windows += windows;
    }

    /// Where the state of all merge partitions came from.
    pub fn origins(&self) -> Origins {
        self.lock().held.origins.values().copied().fold(Origins::default(), Origins::plus)
    }

    /// Restores of these partitions were given up.
    pub(crate) fn not_restoring(&self, partitions: impl Iterator<Item = u32>) {
        let mut state = self.lock();
        for partition in partitions {
            state.held.restoring.remove(&partition);
        }
    }

    /// A checkpoint is durable.
    pub(crate) fn checkpoint(&self, partition: u32, bytes: i64, now: i64) {
        let mut state = self.lock();
        let checkpoints = state.held.checkpoints.entry(partition).or_default();
        checkpoints.written += 1;
        checkpoints.bytes += bytes.unsigned_abs();
        (checkpoints.last_at, checkpoints.last_error) = (Some(now), None);
    }

    /// A checkpoint could not be written.
    pub(crate) fn checkpoint_failed(&self, partition: u32, reason: &str) {
        let mut state = self.lock();
        let checkpoints = state.held.checkpoints.entry(partition).or_default();
        checkpoints.failed += 1;
        checkpoints.last_error = Some(reason.to_owned());
    }

    /// A checkpoint was not used.
    pub(crate) fn checkpoint_discarded(&self, partition: u32) {
        self.lock().held.checkpoints.entry(partition).or_default().discarded += 1;
    }

    /// Entries that the last restore of a merge partition read from the changelog.
    pub fn restored_entries(&self, partition: u32) -> Option<u64> {
        self.lock().held.restored.get(&partition).map(|restored| restored.entries)
    }

    /// Checkpoints of a merge partition so far: written, failed, discarded.
    pub fn checkpoints(&self, partition: u32) -> (u64, u64, u64) {
        let counts = |of: &Checkpoints| (of.written, of.failed, of.discarded);
        self.lock().held.checkpoints.get(&partition).map_or((0, 0, 0), counts)
    }

    /// For people and pages: restores under way, and what each stage thread is doing.
    pub fn status(&self) -> Value {
        let state = self.lock();
        let restoring = state.held.restoring.iter().map(|(partition, restoring)| {
            let Restoring { rows, percent, seconds_left } = restoring;
            let percent = (percent * 10.0).round() / 10.0;
            json!({ "stage": "merge", "partition": partition, "rows": rows, "percent": percent, "seconds_left": seconds_left })
        });
        let restoring = restoring.chain(state.process.restoring());
        let failed = state.held.checkpoints.iter().filter_map(|(partition, checkpoints)| {
            let error = checkpoints.last_error.as_ref()?;
            Some(json!({ "partition": partition, "error": error }))
        });
        let threads = state.threads.iter().map(|(name, thread)| {
            let (state, why) = thread.state();
            json!({ "name": name, "state": state, "why": why })
        });
        let lag: serde_json::Map<String, Value> = (state.lags.iter())
            .map(|(stage, lags)| ((*stage).to_owned(), lags.iter().map(|(_, records)| records).sum::<i64>().into()))
            .collect();
        json!({
            "lag": lag,
            "restoring": restoring.collect::<Vec<_>>(),
            "checkpoint_errors": failed.collect::<Vec<_>>(),
            "threads": threads.collect::<Vec<_>>(),
        })
    }
}

impl Thread {
    /// In a word, and why.
    fn state(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Joining => ("joining", None),
            Self::Restoring => ("restoring", None),
            Self::Running => ("running", None),
            Self::Stalled(why) => ("stalled", Some(why)),
            Self::Retrying(why) => ("retrying", Some(why)),
            Self::Stopped(why) => ("stopped", Some(why)),
        }
    }
}

/// Name, kind, help and value of a metric.
type Gauge<T> = (&'static str, &'static str, &'static str, fn(&T) -> Option<f64>);

pub(super) fn render(held: &StateMetrics, out: &mut String) {
    let restoring: [Gauge<Restoring>; 3] = [
        ("tidemark_restore_rows", "gauge", "Rows restored so far.", |r| Some(r.rows as f64)),
        ("tidemark_restore_percent", "gauge", "Of the changelog that is to be read.", |r| Some(r.percent)),
        ("tidemark_restore_left_seconds", "gauge", "At the rate so far.", |r| r.seconds_left.map(|s| s as f64)),
    ];
    family(&restoring, &held.restoring, out);
    let restored: [Gauge<Restored>; 3] = [
        ("tidemark_restored_rows", "gauge", "Rows after the last restore.", |r| Some(r.rows as f64)),
        ("tidemark_restore_entries", "gauge", "Changelog entries that the last restore read.", |r| {
            Some(r.entries as f64)
        }),
        ("tidemark_restore_seconds", "gauge", "Time of the last restore.", |r| Some(r.took.as_secs_f64())),
    ];
    family(&restored, &held.restored, out);
    let origins: [Gauge<Origins>; 5] = [
        ("tidemark_restores_from_changelog_total", "counter", "Restores from the changelog alone.", |o| {
            Some(o.changelog as f64)
        }),
        (
            "tidemark_restores_from_checkpoint_total",
            "counter",
            "Restores from a checkpoint and what came after it.",
            |o| Some(o.checkpoint as f64),
        ),
        ("tidemark_restores_from_standby_total", "counter", "Takeovers of what a standby had followed.", |o| {
            Some(o.standby as f64)
        }),
        (
            "tidemark_restores_removing_total",
            "counter",
            "Restores that went on with the removal of sealed windows' rows.",
            |o| Some(o.removing as f64),
        ),
        ("tidemark_windows_loaded_total", "counter", "Windows loaded from disk when they were needed.", |o| {
            Some(o.windows as f64)
        }),
    ];
    family(&origins, &held.origins, out);
    let following: [Gauge<Following>; 2] = [
        ("tidemark_standby_rows", "gauge", "Rows that a standby holds.", |f| Some(f.rows as f64)),
        ("tidemark_standby_lag_records", "gauge", "Offsets of the changelog that it is behind.", |f| {
            Some(f.lag as f64)
        }),
    ];
    family(&following, &held.following, out);
    let checkpoints: [Gauge<Checkpoints>; 5] = [
        ("tidemark_checkpoints_total", "counter", "Checkpoints written.", |c| Some(c.written as f64)),
        ("tidemark_checkpoint_bytes_total", "counter", "Bytes written for them.", |c| Some(c.bytes as f64)),
        ("tidemark_checkpoint_failures_total", "counter", "Checkpoints that could not be written.", |c| {
            Some(c.failed as f64)
        }),
        ("tidemark_checkpoints_discarded_total", "counter", "Checkpoints that a restore could not use.", |c| {
            Some(c.discarded as f64)
        }),
        ("tidemark_checkpoint_timestamp_seconds", "gauge", "When the last one was written.", |c| {
            c.last_at.map(|at| at as f64 / 1000.0)
        }),
    ];
    family(&checkpoints, &held.checkpoints, out);
}

fn family<T>(gauges: &[Gauge<T>], of: &BTreeMap<u32, T>, out: &mut String) {
    for (name, kind, help, value) in gauges {
        head(out, name, kind, help);
        for (partition, of) in of {
            if let Some(value) = value(of) {
                let _ = writeln!(out, "{name}{{merge_partition=\"{partition}\"}} {value}");
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn percent_and_time_left_are_by_offsets() {
        let of = |done, all, seconds| Restoring::of(7, done, all, Duration::from_secs(seconds));
        assert_eq!(of(25, 100, 3), Restoring { rows: 7, percent: 25.0, seconds_left: Some(9) });
        assert_eq!(of(0, 100, 3), Restoring { rows: 7, percent: 0.0, seconds_left: None });
        assert_eq!(of(0, 0, 3), Restoring { rows: 7, percent: 100.0, seconds_left: None });
        assert_eq!(of(120, 100, 3), Restoring { rows: 7, percent: 100.0, seconds_left: Some(0) });
    }

    #[test]
    fn the_status_names_restores_threads_and_what_failed() {
        let metrics = Metrics::default();
        metrics.restoring(3, Restoring::of(10, 42, 100, Duration::from_secs(1)));
        metrics.checkpoint_failed(1, "no space left on device");
        metrics.thread("merge 0", Thread::Stalled("the store is down".into()));
        let status = metrics.status();
        let restoring = json!({"stage": "merge", "partition": 3, "rows": 10, "percent": 42.0, "seconds_left": 2});
        assert_eq!(status["restoring"], json!([restoring]));
        assert_eq!(status["threads"], json!([{"name": "merge 0", "state": "stalled", "why": "the store is down"}]));
        assert_eq!(status["checkpoint_errors"][0]["error"], "no space left on device");
        metrics.restored(3, 10, 5, Duration::from_secs(1));
        metrics.checkpoint(1, 100, 5_000);
        let status = metrics.status();
        assert_eq!((&status["restoring"], &status["checkpoint_errors"]), (&json!([]), &json!([])));
        let mut text = String::new();
        metrics.render(&mut text);
        for line in [
            "tidemark_restore_entries{merge_partition=\"3\"} 5",
            "tidemark_checkpoint_failures_total{merge_partition=\"1\"} 1",
            "tidemark_checkpoint_timestamp_seconds{merge_partition=\"1\"} 5",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
