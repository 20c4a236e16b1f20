//! Counters and gauges of the stages in one process, in Prometheus' text format, and what each stage thread is doing.

pub mod join;
mod process;
mod state;

pub use state::{Origins, Restoring};

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tidemark_schemas::engine::SourceMark;

/// Upper bounds of the time histograms, seconds.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

#[derive(Debug, Default, Clone)]
struct Histogram {
    counts: [u64; BUCKETS.len()],
    sum: f64,
    count: u64,
}

impl Histogram {
    fn add(&mut self, seconds: f64) {
        self.sum += seconds;
        self.count += 1;
        for (count, bound) in self.counts.iter_mut().zip(BUCKETS) {
            *count += u64::from(seconds <= bound);
        }
    }

    fn render(&self, name: &str, labels: &str, out: &mut String) {
        let comma = if labels.is_empty() { "" } else { "," };
        for (count, bound) in self.counts.iter().zip(BUCKETS) {
            let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}");
        }
        let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {}", self.count);
        let _ = writeln!(out, "{name}_sum{{{labels}}} {}", self.sum);
        let _ = writeln!(out, "{name}_count{{{labels}}} {}", self.count);
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct SourceCounts {
    records: i64,
    late: i64,
    held: i64,
    filtered: i64,
    dead_lettered: i64,
    duplicates: i64,
    next_offset: i64,
    watermark: Option<i64>,
    at: i64,
}

#[derive(Debug, Default, Clone, Copy)]
struct MergeGauges {
    rows: usize,
    bytes: usize,
    watermark: Option<i64>,
    at: i64,
}

#[derive(Debug, Default)]
struct State {
    sources: BTreeMap<(String, i32), SourceCounts>,
    merges: BTreeMap<u32, MergeGauges>,
    held: state::StateMetrics,
    process: process::ProcessMetrics,
    commits: BTreeMap<&'static str, Histogram>,
    rows_written: u64,
    visible: Histogram,
    lags: BTreeMap<&'static str, Vec<(tidemark_log::TopicPartition, i64)>>,
    threads: BTreeMap<String, Thread>,
}

/// What a stage thread is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Thread {
    /// Joining its group.
    Joining,
    /// Loading state.
    Restoring,
    /// Reading and committing.
    Running,
    /// Reading is paused: why.
    Stalled(String),
    /// Failed and about to try again: why.
    Retrying(String),
    /// Failed for good: why.
    Stopped(String),
}

/// Counters of a process. All methods are cheap next to a commit, which is when they are called.
#[derive(Debug, Default)]
pub struct Metrics {
    state: Mutex<State>,
}

impl Metrics {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves counters that are still counters.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A commit went through.
    pub(crate) fn commit(&self, stage: &'static str, took: Duration) {
        self.lock().commits.entry(stage).or_default().add(took.as_secs_f64());
    }

    /// A source partition was committed.
    pub(crate) fn source(&self, mark: &SourceMark, now: i64) {
        let mut state = self.lock();
        let source = state.sources.entry((mark.topic.clone(), mark.partition)).or_default();
        source.records += mark.records;
        source.late += mark.late;
        source.held += mark.held;
        source.filtered += mark.filtered;
        source.dead_lettered += mark.dead_lettered;
        source.duplicates += mark.duplicates;
        source.next_offset = mark.next_offset;
        source.watermark = mark.watermark;
        source.at = now;
    }

    /// A merge partition was committed.
    pub(crate) fn merge(&self, partition: u32, rows: usize, bytes: usize, watermark: Option<i64>, now: i64) {
        self.lock().merges.insert(partition, MergeGauges { rows, bytes, watermark, at: now });
    }

    /// Rows were acknowledged by the view store; `oldest_append` is when the oldest record in them was accepted.
    pub(crate) fn written(&self, rows: usize, oldest_append: Option<i64>, now: i64) {
        let mut state = self.lock();
        state.rows_written += rows as u64;
        if let Some(oldest) = oldest_append {
            state.visible.add((now - oldest).max(0) as f64 / 1000.0);
        }
    }

    /// How far each group is behind the end of its topics, as last asked: stage, topic, partition, records.
    pub(crate) fn lag(&self, stage: &'static str, lags: Vec<(tidemark_log::TopicPartition, i64)>) {
        self.lock().lags.insert(stage, lags);
    }

    fn thread(&self, name: &str, thread: Thread) {
        self.lock().threads.insert(name.to_owned(), thread);
    }

    /// How far each source partition has been committed by this process: topic, partition, next offset.
    pub fn positions(&self) -> Vec<(String, i32, i64)> {
        let state = self.lock();
        state
            .sources
            .iter()
            .map(|((topic, partition), source)| (topic.clone(), *partition, source.next_offset))
            .collect()
    }

    /// What each stage thread is doing, by name.
    pub fn threads(&self) -> Vec<(String, Thread)> {
        self.lock().threads.iter().map(|(name, thread)| (name.clone(), thread.clone())).collect()
    }

    /// Whether every stage thread is at work.
    ///
    /// # Errors
    /// The threads that are not, with the reason.
    pub fn ready(&self) -> Result<(), String> {
        let tell = |(name, thread): (String, Thread)| match thread {
            Thread::Running => None,
            Thread::Joining => Some(format!("{name} is joining its group")),
            Thread::Restoring => Some(format!("{name} is restoring its state")),
            Thread::Stalled(why) => Some(format!("{name} is paused: {why}")),
            Thread::Retrying(why) => Some(format!("{name} failed and tries again: {why}")),
            Thread::Stopped(why) => Some(format!("{name} has stopped: {why}")),
        };
        let reasons: Vec<String> = self.threads().into_iter().filter_map(tell).collect();
        if reasons.is_empty() { Ok(()) } else { Err(reasons.join("; ")) }
    }

    /// Appends everything in Prometheus' text format.
    pub fn render(&self, out: &mut String) {
        let state = self.lock();
        render_sources(&state, out);
        render_merges(&state, out);
        state::render(&state.held, out);
        process::render(&state.process, out);
        head(out, "tidemark_stage_commit_seconds", "histogram", "Time of a stage's commit.");
        for (stage, histogram) in &state.commits {
            histogram.render("tidemark_stage_commit_seconds", &format!("stage=\"{stage}\""), out);
        }
        head(out, "tidemark_view_rows_written_total", "counter", "Rows acknowledged by the view store.");
        let _ = writeln!(out, "tidemark_view_rows_written_total {}", state.rows_written);
        let help = "From the append of the oldest record in a write to its row in the view store.";
        head(out, "tidemark_accepted_to_visible_seconds", "histogram", help);
        state.visible.render("tidemark_accepted_to_visible_seconds", "", out);
        render_lags(&state, out);
        head(out, "tidemark_stage_up", "gauge", "1 while a stage thread is at work.");
        for (name, thread) in &state.threads {
            let _ = writeln!(out, "tidemark_stage_up{{thread=\"{name}\"}} {}", u8::from(*thread == Thread::Running));
        }
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn render_sources(state: &State, out: &mut String) {
    type Counter = (&'static str, &'static str, fn(&SourceCounts) -> i64);
    let counters: [Counter; 6] = [
        ("tidemark_source_records_total", "Records read from source partitions.", |s| s.records),
        ("tidemark_late_records_total", "Late records that were folded.", |s| s.late),
        ("tidemark_held_records_total", "Late records that were not folded.", |s| s.held),
        ("tidemark_filtered_records_total", "Records taken out by a job's where.", |s| s.filtered),
        ("tidemark_dead_lettered_records_total", "Records that could not be read or counted.", |s| s.dead_lettered),
        ("tidemark_duplicate_records_total", "Repeats of records that a job counts once.", |s| s.duplicates),
    ];
    for (name, help, value) in counters {
        head(out, name, "counter", help);
        for ((topic, partition), source) in &state.sources {
            let _ = writeln!(out, "{name}{{topic=\"{topic}\",partition=\"{partition}\"}} {}", value(source));
        }
    }
    head(
        out,
        "tidemark_source_watermark_delay_seconds",
        "gauge",
        "Processing time less watermark at the last commit, by source partition.",
    );
    for ((topic, partition), source) in &state.sources {
        if let Some(watermark) = source.watermark {
            let delay = (source.at - watermark) as f64 / 1000.0;
            let _ = writeln!(
                out,
                "tidemark_source_watermark_delay_seconds{{topic=\"{topic}\",partition=\"{partition}\"}} {delay}"
            );
        }
    }
}

fn render_lags(state: &State, out: &mut String) {
    head(
        out,
        "tidemark_lag_records",
        "gauge",
        "Offsets between what a stage's group has committed and the end of the partition.",
    );
    for (stage, lags) in &state.lags {
        for (at, lag) in lags {
            let (topic, partition) = (&at.topic, at.partition);
            let _ = writeln!(
                out,
                "tidemark_lag_records{{stage=\"{stage}\",topic=\"{topic}\",partition=\"{partition}\"}} {lag}"
            );
        }
    }
}

fn render_merges(state: &State, out: &mut String) {
    head(out, "tidemark_state_rows", "gauge", "Rows of open windows in memory.");
    for (partition, merge) in &state.merges {
        let _ = writeln!(out, "tidemark_state_rows{{merge_partition=\"{partition}\"}} {}", merge.rows);
    }
    head(out, "tidemark_state_bytes", "gauge", "Memory that they take.");
    for (partition, merge) in &state.merges {
        let _ = writeln!(out, "tidemark_state_bytes{{merge_partition=\"{partition}\"}} {}", merge.bytes);
    }
    head(
        out,
        "tidemark_watermark_delay_seconds",
        "gauge",
        "Processing time less watermark at the last commit, by merge partition.",
    );
    for (partition, merge) in &state.merges {
        if let Some(watermark) = merge.watermark {
            let delay = (merge.at - watermark) as f64 / 1000.0;
            let _ = writeln!(out, "tidemark_watermark_delay_seconds{{merge_partition=\"{partition}\"}} {delay}");
        }
    }
}

/// Where a stage thread says what it is doing.
pub struct StageStatus {
    name: String,
    metrics: std::sync::Arc<Metrics>,
}

impl StageStatus {
    /// For a thread of this name.
    pub fn new(name: String, metrics: std::sync::Arc<Metrics>) -> Self {
        metrics.thread(&name, Thread::Joining);
        Self { name, metrics }
    }

    pub(crate) fn joining(&self) {
        self.metrics.thread(&self.name, Thread::Joining);
    }
    pub(crate) fn restoring(&self) {
        self.metrics.thread(&self.name, Thread::Restoring);
    }
    pub(crate) fn running(&self) {
        self.metrics.thread(&self.name, Thread::Running);
    }
    pub(crate) fn stalled(&self, why: &str) {
        self.metrics.thread(&self.name, Thread::Stalled(why.to_owned()));
    }
    pub(crate) fn retrying(&self, why: &str) {
        self.metrics.thread(&self.name, Thread::Retrying(why.to_owned()));
    }
    pub(crate) fn stopped(&self, why: &str) {
        self.metrics.thread(&self.name, Thread::Stopped(why.to_owned()));
    }
}
