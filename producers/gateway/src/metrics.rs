//! Counters of the gateway, as Prometheus reads them.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::batch::Decided;
use crate::rule::Rule;

/// Upper bounds of the commit-time buckets, in milliseconds.
const BUCKETS_MS: [u64; 10] = [1, 5, 10, 25, 50, 100, 250, 1_000, 5_000, 30_000];

/// What the gateway counts since it started.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: AtomicU64,
    requests_failed: AtomicU64,
    bytes_received: AtomicU64,
    records_received: AtomicU64,
    records_accepted: AtomicU64,
    records_refused: AtomicU64,
    rules_broken: [AtomicU64; Rule::ALL.len()],
    replayed: AtomicU64,
    commits: AtomicU64,
    commits_failed: AtomicU64,
    commit_micros: AtomicU64,
    commit_buckets: [AtomicU64; BUCKETS_MS.len()],
    answers_unread: AtomicU64,
    keys: AtomicU64,
    in_flight: AtomicI64,
    published: AtomicU64,
    refused: AtomicU64,
}

impl Metrics {
    pub(crate) fn request(&self) -> InFlight<'_> {
        self.requests.fetch_add(1, Relaxed);
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(self)
    }

    pub(crate) fn request_failed(&self) {
        self.requests_failed.fetch_add(1, Relaxed);
    }

    pub(crate) fn body(&self, bytes: usize) {
        self.bytes_received.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn decided(&self, decided: &Decided) {
        self.records_received.fetch_add(decided.records as u64, Relaxed);
        self.records_refused.fetch_add(decided.records_refused as u64, Relaxed);
        for (total, broken) in self.rules_broken.iter().zip(decided.broken) {
            total.fetch_add(broken, Relaxed);
        }
    }

    pub(crate) fn replayed(&self) {
        self.replayed.fetch_add(1, Relaxed);
    }

    pub(crate) fn refused(&self, events: usize) {
        self.refused.fetch_add(events as u64, Relaxed);
    }

    pub(crate) fn accepted(&self, records: usize) {
        self.records_accepted.fetch_add(records as u64, Relaxed);
    }

    pub(crate) fn committed(&self, took: Duration, events: usize) {
        self.published.fetch_add(events as u64, Relaxed);
        self.commits.fetch_add(1, Relaxed);
        self.commit_micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
        let bucket = BUCKETS_MS.iter().position(|bound| took <= Duration::from_millis(*bound));
        if let Some(count) = bucket.and_then(|at| self.commit_buckets.get(at)) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn commit_failed(&self) {
        self.commits_failed.fetch_add(1, Relaxed);
    }

    pub(crate) fn keys(&self, keys: usize) {
        self.keys.store(keys as u64, Relaxed);
    }

    pub(crate) fn answer_unread(&self) {
        self.answers_unread.fetch_add(1, Relaxed);
    }

    /// Records made durable so far.
    pub fn records_accepted(&self) -> u64 {
        self.records_accepted.load(Relaxed)
    }

    /// Records that came so far, valid or not.
    pub fn records_received(&self) -> u64 {
        self.records_received.load(Relaxed)
    }

    /// Records refused so far.
    pub fn records_refused(&self) -> u64 {
        self.records_refused.load(Relaxed)
    }

    /// Appends everything in the Prometheus text format.
    pub fn render(&self, out: &mut String) {
        let counters = [
            ("requests", "Requests to write events.", &self.requests),
            ("requests_failed", "Requests answered with a problem.", &self.requests_failed),
            ("received_bytes", "Bytes of bodies after decompression.", &self.bytes_received),
            ("records_received", "Records read from bodies.", &self.records_received),
            ("records_accepted", "Records made durable in the spool.", &self.records_accepted),
            ("records_refused", "Records that broke a rule.", &self.records_refused),
            ("answers_replayed", "Requests answered again by their Idempotency-Key.", &self.replayed),
            ("answers_unread", "Records of the answers topic that could not be read.", &self.answers_unread),
            ("records_published", "Records that the log has.", &self.published),
            ("records_set_aside", "Records that the log refuses for good, kept in refused.ndjson.", &self.refused),
            ("commits_failed", "Commits that the log did not acknowledge.", &self.commits_failed),
        ];
        for (name, help, value) in counters {
            head(out, &format!("{name}_total"), help, "counter");
            line(out, &format!("{name}_total"), "", value.load(Relaxed));
        }
        head(out, "rules_broken_total", "Errors in records by the rule that was broken.", "counter");
        for (rule, count) in Rule::ALL.iter().zip(&self.rules_broken) {
            line(out, "rules_broken_total", &format!("{{rule=\"{}\"}}", rule.name()), count.load(Relaxed));
        }
        head(out, "requests_in_flight", "Requests under way.", "gauge");
        line(out, "requests_in_flight", "", self.in_flight.load(Relaxed));
        head(out, "idempotency_keys", "Idempotency keys remembered.", "gauge");
        line(out, "idempotency_keys", "", self.keys.load(Relaxed));
        self.render_commits(out);
    }

    fn render_commits(&self, out: &mut String) {
        let name = "commit_duration_seconds";
        head(out, name, "Time from the start of a commit to its acknowledgement.", "histogram");
        let mut sum = 0;
        for (bound, count) in BUCKETS_MS.iter().zip(&self.commit_buckets) {
            sum += count.load(Relaxed);
            line(out, &format!("{name}_bucket"), &format!("{{le=\"{}\"}}", *bound as f64 / 1e3), sum);
        }
        let commits = self.commits.load(Relaxed);
        line(out, &format!("{name}_bucket"), "{le=\"+Inf\"}", commits);
        line(out, &format!("{name}_sum"), "", self.commit_micros.load(Relaxed) as f64 / 1e6);
        line(out, &format!("{name}_count"), "", commits);
    }
}

/// A request under way, until dropped.
pub(crate) struct InFlight<'m>(&'m Metrics);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

// Writing to a String cannot fail.
fn head(out: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(out, "# HELP tidemark_gateway_{name} {help}\n# TYPE tidemark_gateway_{name} {kind}");
}

fn line(out: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = writeln!(out, "tidemark_gateway_{name}{labels} {value}");
}
