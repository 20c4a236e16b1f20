//! A view's figures, computed again from the offsets that they were made of, and compared row by row; what differs is written,
//! if that is asked for ([`Request::write`], `write.rs`, decision 0017).
//!
//! Promise: what is called equal was read from the source topics again, record by record, and folded without the engine's
//! partials, markers, commits and state; what differs is told with both values; and where something that is needed is gone,
//! that is said, and neither of the two is claimed.
//!
//! The way: ledger and progress → [`scope`] (which offsets, which of their records) → read → [`fold`] → the view's rows →
//! [`compare`] → [`report`]. `read.rs` asks the log, `pass.rs` the view store; the rest are
//! plain functions.
//!
//! Which records are in a figure:
//! - under `amend` every record, late or not, but those that came after the window was sealed: these are past the ledger's
//!   last offset. No watermark is needed to know them.
//! - under `hold` late ones are left out. They are known by the partition's watermark before each, of which the part before the
//!   first offset is unknown at first. What is found late without it is late indeed, so the number found is at most the ledger's
//!   `held`, and *if the numbers are equal the records are the same*. If there are fewer, it is read again from
//!   [`MARGIN_RECORDS`] earlier, and then from the start of what is kept.
//! - where repeats count once, reading begins two times `dedupe.for` earlier in append time.
//! - sessions of a bucket need the records of the gap before it, and those up to the end of its last session: the ledgers
//!   of all buckets that reach there say which offsets these are.
//!   The engine joins nothing with a sealed session; where a record came beside one after that, a difference is not called one.
//!
//! Bounds: [`PASS_ROWS_MAX`] rows in memory, twice (recomputed and of the view), or those of one window; more windows are read in
//! further passes.

pub mod compare;
pub mod fold;
mod judge;
mod pass;
mod read;
pub mod report;
pub mod scope;
mod write;

use compare::Columns;
use report::{Report, WindowReport};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;
use tidemark_core::aggregate::Function;
use tidemark_core::{Job, LatePolicy};
use tidemark_log::Log;
use tidemark_runtime::run::Shape;
use tidemark_schemas::registry::Registry;
use tidemark_schemas::wire;
use tidemark_spec::SpecJob;
use tidemark_views::ViewStore;

/// Rows of the windows of one pass, unless one window alone has more.
pub const PASS_ROWS_MAX: i64 = 1_000_000;
/// So many records earlier it is read when the windows' own offsets do not say which records were late.
pub const MARGIN_RECORDS: i64 = 100_000;
/// The last instant that views know: the year 10000.
const TIME_MAX: i64 = 253_402_300_800_000;

/// Why nothing was found out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing to recompute.
    #[error("view {0} has no window {1}; `GET /v1/views/{0}/windows` lists those that it has")]
    NoWindow(String, String),
    /// The ledger contradicts the log.
    #[error("the view's ledger does not fit the log: {0}")]
    Ledger(String),
    /// The log failed; another try may help.
    #[error("the source topics cannot be read: {0}")]
    Log(#[from] tidemark_log::Error),
    /// The view store failed; another try may help.
    #[error("the view cannot be read: {0}")]
    Views(#[from] tidemark_views::Error),
    /// The registry failed; another try may help.
    #[error("a record cannot be read: {0}")]
    Registry(wire::Error),
    /// A table that the job joins is not in memory as far back as a record needs it; it is being read.
    #[error("{0}; the table is read again: ask again in a moment")]
    Tables(String),
    /// A row that was recomputed is not of the view's schema: a fault of the platform.
    #[error("a recomputed row cannot be read: {0}")]
    Row(tidemark_schemas::avro::Error),
    /// Sealed sessions are not rewritten.
    #[error(
        "the windows of {0} are sessions, of which nothing is rewritten: a record that is folded in later may join sessions of \
         other hours; `--compare` says what differs, and a new version of the job folds them anew"
    )]
    Sessions(String),
    /// A repair cannot be published; those of windows before it may be.
    #[error("it could not all be written, each window whole or not at all: {0}; ask again")]
    Publish(#[from] tidemark_runtime::Error),
    /// Whoever asked does not want to know any more.
    #[error("given up: nobody waits for the answer")]
    Cancelled,
}

/// What is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Request {
    /// Windows that start at or after it, milliseconds.
    pub from: Option<i64>,
    /// Windows that start before it.
    pub to: Option<i64>,
    /// Late records are folded too that the streamed figure leaves out.
    pub include_late: bool,
    /// What differs is written, as a new epoch of its window.
    pub write: bool,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Progress {
    /// Windows compared.
    pub windows_done: usize,
    /// Windows asked for.
    pub windows: usize,
    /// Records read.
    pub records: i64,
    /// Offsets of this pass that are done.
    pub offsets_done: i64,
    /// Offsets of this pass.
    pub offsets: i64,
}

/// Is told how far it has come, some times a second; false gives up.
pub type OnProgress<'p> = &'p mut dyn FnMut(Progress) -> bool;

/// What a job's figures are recomputed with.
pub struct Recompute<'r, J: Job> {
    /// The job.
    pub job: &'r J,
    /// How its records and rows are read.
    pub shape: &'r Shape,
    /// Its lists of most frequent values.
    pub columns: Columns,
    /// Has the source topics.
    pub log: &'r dyn Log,
    /// Has their schemas.
    pub registry: Arc<dyn Registry>,
    /// Has the view.
    pub views: &'r dyn ViewStore,
    /// Runs the view store's futures; this thread is none of its own.
    pub handle: tokio::runtime::Handle,
    /// Time, milliseconds: rows past their retention are gone.
    pub now: i64,
}

/// The columns of a job's view; a fold in Rust has no lists of most frequent values.
pub fn columns(job: &SpecJob) -> Columns {
    let top = |added: &tidemark_spec::job::Added| match added.function {
        Function::TopK { k, .. } => Some((added.name.clone(), k as usize)),
        _ => None,
    };
    let (columns, tops) = (job.columns(), job.aggregates().iter().filter_map(top).collect());
    let place = |name: &str| columns.view.clustering.iter().position(|column| column.name == name);
    let key = columns.key().iter().filter_map(|column| place(&column.name)).collect();
    Columns { view: columns.view.clone(), tops, key }
}

impl<J: Job> Recompute<'_, J> {
    /// Recomputes windows and compares them with the view. Blocks, for as long as the records take to read.
    ///
    /// # Errors
    /// There is no such window; the log, the registry or the view store fails; `on_progress` gives up.
    pub fn run(&self, request: Request, on_progress: OnProgress<'_>) -> Result<Report, Error> {
        let began = Instant::now();
        let spec = self.job.spec();
        if request.write && spec.window.gap_ms().is_some() {
            return Err(Error::Sessions(spec.name.clone()));
        }
        let (from, to) = (request.from.unwrap_or(0), request.to.unwrap_or(TIME_MAX));
        let ledgers = self.handle.block_on(self.views.ledger(&self.shape.view, from, to))?;
        let mut rows: Vec<(i64, i64)> = Vec::new();
        for ledger in &ledgers {
            match rows.last_mut() {
                Some((start, rows)) if *start == ledger.window_start => *rows += ledger.rows,
                _ => rows.push((ledger.window_start, ledger.rows)),
            }
        }
        if rows.is_empty() {
            let text = tidemark_spec::instant::rfc3339;
            let asked = match (request.from, request.to) {
                (None, None) => "yet".to_owned(),
                _ => format!("in [{}, {})", text(from), text(to)),
            };
            return Err(Error::NoWindow(spec.name.clone(), asked));
        }
        let mut report = Report {
            job: spec.name.clone(),
            version: spec.version,
            windows: Vec::new(),
            spans: Vec::new(),
            counts: fold::Counts::default(),
            included: self.included(request.include_late),
            write: request.write,
            margin: String::new(),
            seconds: 0.0,
        };
        let windows = rows.len();
        for selected in passes(&rows) {
            let mut progress = Progress { windows_done: report.windows.len(), windows, ..Progress::default() };
            progress.records = report.counts.read;
            let pass = self.pass(&selected, request, progress, on_progress)?;
            report.windows.extend(pass.windows);
            report.spans.extend(pass.spans);
            report.counts.add(pass.counts);
            report.margin = pass.margin;
        }
        report.windows.sort_by_key(|window: &WindowReport| window.start);
        report.seconds = began.elapsed().as_secs_f64();
        Ok(report)
    }

    fn included(&self, include_late: bool) -> String {
        let late = match (include_late, self.job.spec().late) {
            (true, _) => "every record that was read: those too that came after their window was sealed or were held",
            (false, LatePolicy::Amend) => {
                "every record, late ones too, but what came after its window was sealed: as in the streamed figure"
            }
            (false, LatePolicy::Hold) => {
                "every record that was on time by its own partition's watermark: as in the streamed figure"
            }
        };
        late.to_owned()
    }
}

/// Windows by pass: so many that their rows stay within [`PASS_ROWS_MAX`], one at least.
fn passes(rows: &[(i64, i64)]) -> Vec<BTreeSet<i64>> {
    let (mut passes, mut pass, mut sum) = (Vec::new(), BTreeSet::new(), 0_i64);
    for (start, rows) in rows {
        if !pass.is_empty() && sum.saturating_add(*rows) > PASS_ROWS_MAX {
            passes.push(std::mem::take(&mut pass));
            sum = 0;
        }
        pass.insert(*start);
        sum = sum.saturating_add(*rows);
    }
    passes.push(pass);
    passes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_share_a_pass_up_to_the_bound() {
        let rows = [(0, 600_000), (1, 400_000), (2, 1), (3, 5_000_000), (4, 1)];
        let starts: Vec<Vec<i64>> = passes(&rows).into_iter().map(|pass| pass.into_iter().collect()).collect();
        assert_eq!(starts, [vec![0, 1], vec![2], vec![3], vec![4]]);
    }
}
