//! Counters of the mails, in Prometheus' text format, and what is in the way of sending them.

use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Counters of the notifiers of a process.
#[derive(Debug, Default)]
pub struct Metrics {
    sent: AtomicU64,
    refused: AtomicU64,
    dead_lettered: AtomicU64,
    retries: AtomicU64,
    waiting: AtomicI64,
    away: Mutex<Option<String>>,
}

impl Metrics {
    /// Mails that were accepted and are committed.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Mails that were refused for good or given up, and are committed.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Records that could not be read or broke a rule, and are committed.
    pub fn dead_lettered(&self) -> u64 {
        self.dead_lettered.load(Ordering::Relaxed)
    }

    /// Tries that failed and are to be made again.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Mails that are read and not handled yet.
    pub fn waiting(&self) -> i64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Why no mail can be sent now, for people; `None` while mails go out.
    pub fn warning(&self) -> Option<String> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn count_sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_dead_lettered(&self) {
        self.dead_lettered.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// One stage has so many more waiting, or less.
    pub(crate) fn add_waiting(&self, change: i64) {
        self.waiting.fetch_add(change, Ordering::Relaxed);
    }

    pub(crate) fn away(&self, reason: Option<&str>) {
        *self.away.lock().unwrap_or_else(PoisonError::into_inner) = reason.map(str::to_owned);
    }

    /// Appends everything in Prometheus' text format.
    pub fn render(&self, out: &mut String) {
        let counters = [
            ("tidemark_mails_sent_total", "Mails accepted by the mail server or the maildir.", self.sent()),
            ("tidemark_mails_refused_total", "Mails refused for good or given up.", self.refused()),
            (
                "tidemark_mails_dead_lettered_total",
                "Requests for mails that could not be read or broke a rule.",
                self.dead_lettered(),
            ),
            ("tidemark_mails_retries_total", "Tries to send a mail that failed and are made again.", self.retries()),
        ];
        for (name, help, value) in counters {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}");
        }
        let (waiting, away) = (self.waiting(), u8::from(self.warning().is_some()));
        let _ = writeln!(
            out,
            "# HELP tidemark_mails_waiting Mails that are read and not handled yet.\n# TYPE tidemark_mails_waiting gauge"
        );
        let _ = writeln!(out, "tidemark_mails_waiting {waiting}");
        let _ = writeln!(
            out,
            "# HELP tidemark_mails_held_back 1 while no mail can be sent.\n# TYPE tidemark_mails_held_back gauge"
        );
        let _ = writeln!(out, "tidemark_mails_held_back {away}");
    }
}
