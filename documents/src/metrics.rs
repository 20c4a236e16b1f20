//! What is counted, as Prometheus text.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Documents;
use crate::topics::QUEUE;

/// Counters since the process began.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    created: AtomicU64,
    duplicates: AtomicU64,
    retried: AtomicU64,
    refused: AtomicU64,
    bytes: AtomicU64,
    leases: AtomicU64,
    no_tasks: AtomicU64,
    commits: AtomicU64,
    failed: AtomicU64,
}

impl Metrics {
    pub(crate) fn taken(&self, outcome: &str) {
        match outcome {
            "created" => add(&self.created, 1),
            "retried" => add(&self.retried, 1),
            _ => add(&self.duplicates, 1),
        }
    }

    pub(crate) fn refused(&self) {
        add(&self.refused, 1);
    }

    pub(crate) fn stored(&self, bytes: u64) {
        add(&self.bytes, bytes);
    }

    pub(crate) fn asked(&self, assigned: bool) {
        add(if assigned { &self.leases } else { &self.no_tasks }, 1);
    }

    pub(crate) fn commit(&self) {
        add(&self.commits, 1);
    }

    pub(crate) fn command_failed(&self) {
        add(&self.failed, 1);
    }

    pub(crate) fn render(&self, of: &Documents, out: &mut String) {
        let now = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        family(out, "tidemark_documents_uploads_total", "counter", "Files uploaded, by what became of them.");
        let outcomes = [
            ("created", &self.created),
            ("duplicate", &self.duplicates),
            ("retried", &self.retried),
            ("refused", &self.refused),
        ];
        for (outcome, counter) in outcomes {
            let _ = writeln!(out, "tidemark_documents_uploads_total{{outcome=\"{outcome}\"}} {}", now(counter));
        }
        let counters = [
            ("tidemark_documents_upload_bytes_total", "Bytes of files stored, duplicates too.", now(&self.bytes)),
            ("tidemark_documents_leases_total", "Tasks given to workers that asked here.", now(&self.leases)),
            ("tidemark_documents_no_tasks_total", "Workers told that there is no task.", now(&self.no_tasks)),
            ("tidemark_documents_command_commits_total", "Commits of commands, failed ones too.", now(&self.commits)),
            ("tidemark_documents_command_failures_total", "Commits of commands that failed.", now(&self.failed)),
            ("tidemark_documents_index_commits_total", "Commits of the index.", of.index.commits()),
        ];
        for (name, help, value) in counters {
            family(out, name, "counter", help);
            let _ = writeln!(out, "{name} {value}");
        }
        gauges(of, out);
    }
}

fn gauges(of: &Documents, out: &mut String) {
    let queue = of.queue(QUEUE);
    for (name, help, value) in [
        ("tidemark_queue_pending", "Tasks that wait.", queue.pending()),
        ("tidemark_queue_leased", "Tasks in workers' hands.", queue.leased()),
        ("tidemark_queue_workers", "Workers that are heard of.", queue.workers()),
    ] {
        family(out, name, "gauge", help);
        let _ = writeln!(out, "{name}{{queue=\"{QUEUE}\"}} {value}");
    }
    let uploads = of.config.upload.at_a_time.saturating_sub(of.uploads.available_permits());
    for (name, help, value) in [
        ("tidemark_documents_uploads_open", "Uploads under way.", uploads),
        ("tidemark_documents_answers_awaited", "Requests that wait for their answer.", of.answers.waiting()),
        ("tidemark_documents_live_streams", "Live streams open.", of.live.open()),
        ("tidemark_documents_indexed", "Documents in the index.", usize::try_from(of.index.documents()).unwrap_or(0)),
    ] {
        family(out, name, "gauge", help);
        let _ = writeln!(out, "{name} {value}");
    }
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}
