//! What came of recomputing, as data and as JSON.

use super::compare::{Compared, Difference, What};
use super::fold::Counts;
use super::scope::{Gone, Span};
use serde_json::{Value as Json, json};
use tidemark_spec::instant::rfc3339;
use tidemark_spec::trial;
use tidemark_views::{Value, ViewSpec};

/// What was found out; the worst of several counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Every row is what its records come to.
    Equal,
    /// Something that was needed is no longer there: neither equal nor different.
    NotProvable,
    /// A row is not what its records come to.
    Differs,
}

impl Verdict {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::NotProvable => "not provable",
            Self::Differs => "differs",
        }
    }

    /// Exit status of the command: 0 equal, 1 differs, 2 not provable.
    pub fn exit(self) -> u8 {
        match self {
            Self::Equal => 0,
            Self::Differs => 1,
            Self::NotProvable => 2,
        }
    }
}

/// A window that was written anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Rows that took the place of others, or were missing.
    pub rows: u64,
    /// Rows that no record is behind: they are served no more.
    pub removed: u64,
    /// Its epoch from now on.
    pub epoch: i32,
    /// Records in its rows from now on.
    pub records: i64,
    /// Late records that its rows leave out from now on.
    pub left_out: i64,
}

/// One window.
#[derive(Debug, Clone)]
pub struct WindowReport {
    /// Its start, milliseconds.
    pub start: i64,
    /// Its end; of a bucket of sessions, of the last one.
    pub end: i64,
    /// `open`, `final`, `amended` or `sealed`.
    pub state: &'static str,
    /// Records in its rows, as the ledger has it.
    pub records: i64,
    /// Late records that its rows hold.
    pub late: i64,
    /// Late records that its rows leave out: held, or come after it was sealed.
    pub left_out: i64,
    /// What was found out.
    pub verdict: Verdict,
    /// Append time of its first partial.
    pub opened_at: Option<i64>,
    /// Append time of the marker that made it final.
    pub closed_at: Option<i64>,
    /// What was written of it.
    pub written: Option<Written>,
    /// It differs, and was not written: the notes say why.
    pub refused: bool,
    /// Why it cannot be proven, or what else is to be known.
    pub notes: Vec<String>,
    /// Offsets that are gone.
    pub gone: Vec<Gone>,
    /// Row by row; nothing where it cannot be proven.
    pub compared: Compared,
}

/// All of it.
#[derive(Debug, Clone)]
pub struct Report {
    /// Name of the job.
    pub job: String,
    /// Its version.
    pub version: u32,
    /// By start.
    pub windows: Vec<WindowReport>,
    /// Offsets that were read, margins left out.
    pub spans: Vec<Span>,
    /// What became of the records.
    pub counts: Counts,
    /// What differs was to be written.
    pub write: bool,
    /// What was included, in words.
    pub included: String,
    /// What was read before and after the windows' own offsets, in words.
    pub margin: String,
    /// How long it took, seconds.
    pub seconds: f64,
}

impl Report {
    /// Of all windows.
    pub fn verdict(&self) -> Verdict {
        self.windows.iter().map(|window| window.verdict).max().unwrap_or(Verdict::NotProvable)
    }

    /// Exit status of the command. Written windows are compared again, so that 0 says that the view holds what its records come
    /// to; 1 that a window still differs; 2 that something can be neither proven nor written.
    pub fn exit(&self) -> u8 {
        if self.windows.iter().any(|window| window.refused) { 2 } else { self.verdict().exit() }
    }

    /// How long the streamed figures took, seconds: from the first partial to the last window's end being seen; none while one is
    /// open.
    pub fn streamed_seconds(&self) -> Option<f64> {
        let opened = self.windows.iter().filter_map(|window| window.opened_at).min()?;
        let closed: Option<Vec<i64>> = self.windows.iter().map(|window| window.closed_at).collect();
        let closed = closed?.into_iter().max()?;
        Some((closed - opened).max(0) as f64 / 1_000.0)
    }

    /// Records read in a second.
    pub fn rate(&self) -> f64 {
        self.counts.read as f64 / self.seconds.max(1e-6)
    }

    /// As JSON, for the API.
    pub fn json(&self, view: &ViewSpec) -> Json {
        let sum =
            |count: fn(&Compared) -> u64| -> u64 { self.windows.iter().map(|window| count(&window.compared)).sum() };
        let differences = self.windows.iter().flat_map(|window| &window.compared.differences);
        let differences: Vec<Json> =
            differences.take(super::compare::DIFFERENCES_MAX).map(|d| difference(d, view)).collect();
        json!({
            "verdict": self.verdict().name(),
            "exit": self.exit(),
            "write": self.write,
            "job": self.job,
            "version": self.version,
            "rows": {
                "equal": sum(|c| c.equal),
                "within_error": sum(|c| c.within_error),
                "changed": sum(|c| c.changed),
                "only_in_view": sum(|c| c.only_in_view),
                "only_recomputed": sum(|c| c.only_recomputed),
            },
            "records": {
                "streamed": self.windows.iter().map(|window| window.records).sum::<i64>(),
                "read": self.counts.read,
                "folded": self.counts.folded,
                "late_folded": self.counts.late_folded,
                "left_out": self.counts.left_out,
                "dead_lettered": self.counts.dead_lettered,
                "duplicates": self.counts.duplicates,
            },
            "written": {
                "windows": self.windows.iter().filter(|window| window.written.is_some()).count(),
                "rows": self.windows.iter().filter_map(|window| window.written).map(|w| w.rows).sum::<u64>(),
                "removed": self.windows.iter().filter_map(|window| window.written).map(|w| w.removed).sum::<u64>(),
                "refused": self.windows.iter().filter(|window| window.refused).count(),
            },
            "included": self.included,
            "margin": self.margin,
            "seconds": self.seconds,
            "records_per_second": self.rate(),
            "streamed_seconds": self.streamed_seconds(),
            "sources": self.spans.iter().map(span).collect::<Vec<_>>(),
            "windows": self.windows.iter().map(window).collect::<Vec<_>>(),
            "differences": differences,
        })
    }
}

fn span(span: &Span) -> Json {
    let (topic, partition) = &span.source;
    json!({"topic": topic, "partition": partition, "first_offset": span.first, "last_offset": span.last})
}

fn window(window: &WindowReport) -> Json {
    let Compared { equal, within_error, changed, only_in_view, only_recomputed, .. } = window.compared;
    let gone = |Gone { source: (topic, partition), first, start }: &Gone| json!({"topic": topic, "partition": partition, "first_offset": first, "log_starts_at": start});
    json!({
        "start": rfc3339(window.start),
        "end": rfc3339(window.end),
        "state": window.state,
        "verdict": window.verdict.name(),
        "records": window.records,
        "late": window.late,
        "left_out": window.left_out,
        "equal": equal,
        "within_error": within_error,
        "changed": changed,
        "only_in_view": only_in_view,
        "only_recomputed": only_recomputed,
        "written": window.written.map(|Written { rows, removed, epoch, records, left_out }| {
            json!({"rows": rows, "removed": removed, "epoch": epoch, "records": records, "left_out": left_out})
        }),
        "refused": window.refused,
        "notes": window.notes,
        "gone": window.gone.iter().map(gone).collect::<Vec<_>>(),
    })
}

fn difference(difference: &Difference, view: &ViewSpec) -> Json {
    let named = view.clustering.iter().zip(&difference.key);
    let key: serde_json::Map<String, Json> =
        named.map(|(column, value)| (column.name.clone(), trial::json(value))).collect();
    let (what, columns) = match &difference.what {
        What::OnlyInView => ("only in the view", Vec::new()),
        What::OnlyRecomputed => ("only recomputed", Vec::new()),
        What::Changed(changes) => {
            let side = |value: &Value| trial::json(value);
            let change = changes.iter().map(|change| {
                json!({"column": change.column, "view": side(&change.view), "recomputed": side(&change.recomputed)})
            });
            ("changed", change.collect())
        }
    };
    json!({
        "window": rfc3339(difference.window_start),
        "tenant": difference.tenant,
        "key": key,
        "what": what,
        "columns": columns,
    })
}
