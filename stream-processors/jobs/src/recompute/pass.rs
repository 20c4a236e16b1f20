//! One pass: some windows, read together.

use super::fold::{Counts, Fold, Partition};
use super::judge::doubt;
use super::read::{Records, partition_of};
use super::report::{Verdict, WindowReport};
use super::scope::{Scope, Source, Span};
use super::write::Differs;
use super::{Error, MARGIN_RECORDS, OnProgress, Progress, Recompute, Request, TIME_MAX};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemark_core::{Job, Windowing};
use tidemark_log::At;
use tidemark_schemas::engine::{Ledger, Progress as Reached};
use tidemark_spec::instant::{duration, rfc3339};
use tidemark_views::{Row, RowPartition, RowQuery};

/// How often windows are read anew that changed while they were compared.
const TRIES: usize = 3;
/// How long to wait for the end of a commit that is being written to the view.
const SETTLE: Duration = Duration::from_secs(5);
/// Rows of the view that are asked for at once.
const PAGE_ROWS: usize = 10_000;

/// What came of a pass.
pub(super) struct Pass {
    pub(super) windows: Vec<WindowReport>,
    pub(super) spans: Vec<Span>,
    pub(super) counts: Counts,
    pub(super) margin: String,
}

/// What the view says of windows at one moment.
pub(super) struct Facts {
    pub(super) ledgers: Vec<Ledger>,
    pub(super) progress: Vec<Reached>,
}

/// How far before its first offset a partition is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Margin {
    None,
    Some,
    All,
}

/// Rows of the windows, recomputed, and what is open about them.
struct Folded<'f, A> {
    rows: BTreeMap<i64, Vec<Row>>,
    /// What they were made of.
    fold: Fold<'f, A>,
    /// Windows whose late records could not be told.
    short: Vec<i64>,
    /// A partition's repeats could not be told for sure: which, and why.
    cut: Option<String>,
    /// Sealed buckets beside whose sessions records came later.
    doubtful: BTreeSet<i64>,
    margin: String,
}

impl<J: Job> Recompute<'_, J> {
    pub(super) fn pass(
        &self,
        selected: &BTreeSet<i64>,
        request: Request,
        progress: Progress,
        on_progress: OnProgress<'_>,
    ) -> Result<Pass, Error> {
        let mut tries = 1;
        loop {
            let facts = self.facts(selected)?;
            let is_last = tries == TRIES;
            let (pass, torn) = self.pass_once(&facts, selected, request, is_last, progress, on_progress)?;
            if !torn || is_last {
                return Ok(pass);
            }
            tries += 1;
        }
    }

    /// Ledger first, then progress: what the progress says is read is in the ledger or came since, which rows will show.
    pub(super) fn facts(&self, selected: &BTreeSet<i64>) -> Result<Facts, Error> {
        let view = &self.shape.view;
        let (first, last) = (selected.first().copied().unwrap_or(0), selected.last().copied().unwrap_or(0));
        let began = Instant::now();
        loop {
            let mut ledgers = self.handle.block_on(self.views.ledger(view, first, last.saturating_add(1)))?;
            let end = ledgers.iter().map(|ledger| ledger.window_end).max().unwrap_or(last);
            if let Windowing::Session { .. } = self.job.spec().window {
                ledgers = self.handle.block_on(self.views.ledger(view, 0, end.clamp(1, TIME_MAX)))?;
            }
            let progress = self.handle.block_on(self.views.progress(view))?;
            // A commit may be in the view in part: its marker comes last.
            let reached = |ledger: &Ledger| {
                let of = progress.iter().find(|progress| progress.merge_partition == ledger.merge_partition);
                of.is_some_and(|progress| progress.revision >= ledger.revision)
            };
            let settled = ledgers.iter().filter(|ledger| selected.contains(&ledger.window_start)).all(reached);
            if settled || began.elapsed() > SETTLE {
                return Ok(Facts { ledgers, progress });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(super) fn records(&self) -> Records<'_, J> {
        let schemas = Arc::clone(&self.shape.source);
        Records { job: self.job, log: self.log, registry: Arc::clone(&self.registry), schemas }
    }

    /// First offset kept of each partition that a ledger or the progress names.
    fn starts(&self, facts: &Facts) -> Result<HashMap<Source, i64>, Error> {
        let ranges = facts.ledgers.iter().flat_map(|ledger| &ledger.sources).map(|s| (s.topic.clone(), s.partition));
        let read = facts.progress.iter().flat_map(|p| &p.sources).map(|s| (s.topic.clone(), s.partition));
        let sources: Vec<Source> = ranges.chain(read).collect::<BTreeSet<_>>().into_iter().collect();
        let partitions = sources.iter().map(partition_of).collect::<Result<Vec<_>, _>>()?;
        let starts = self.log.offsets(&partitions, At::Start)?;
        Ok(sources.into_iter().zip(starts).collect())
    }

    fn pass_once(
        &self,
        facts: &Facts,
        selected: &BTreeSet<i64>,
        Request { include_late, write, .. }: Request,
        is_last: bool,
        progress: Progress,
        on_progress: OnProgress<'_>,
    ) -> Result<(Pass, bool), Error> {
        let spec = self.job.spec();
        let starts = self.starts(facts)?;
        let start_of = |source: &Source| starts.get(source).copied().unwrap_or(0);
        let whole = Scope::new(spec, &facts.ledgers, &facts.progress, selected.clone());
        let mut windows: BTreeMap<i64, WindowReport> = BTreeMap::new();
        let mut provable = BTreeSet::new();
        for &start in selected {
            let mut window = self.window(&whole, facts, start);
            window.gone = whole.gone(start, &start_of);
            for gone in &window.gone {
                window.notes.push(self.say_gone(gone)?);
            }
            let expired = whole.ledgers(start).map(|ledger| ledger.opened_at.saturating_add(spec.retention_ms)).min();
            if let Some(at) = expired.filter(|at| *at <= self.now) {
                window.notes.push(format!(
                    "rows of the view are kept {}: the first went at {}",
                    duration(spec.retention_ms),
                    rfc3339(at)
                ));
            }
            if window.notes.is_empty() {
                provable.insert(start);
                window.verdict = Verdict::Equal;
            }
            windows.insert(start, window);
        }
        let scope = Scope::new(spec, &facts.ledgers, &facts.progress, provable);
        let spans = scope.spans(include_late, &start_of);
        let folded = self.fold(&scope, &spans, &starts, include_late, progress, on_progress)?;
        let (mut rows, mut torn, mut differs) = (folded.rows, false, Differs::new());
        for &start in &scope.selected {
            let rows = rows.remove(&start).unwrap_or_default();
            // Nobody reads those that came to nothing, and the ledger knows of them.
            let (retracted, recomputed): (Vec<Row>, Vec<Row>) =
                rows.into_iter().partition(|row| self.columns.is_retracted(row));
            let (view, newer) = self.view_rows(&scope, start, &recomputed)?;
            torn |= newer;
            let found = (view.len() + retracted.len()) as i64;
            let differing = differs.entry(start).or_default();
            let compared = self.columns.compare(start, view, recomputed, |row| {
                if write {
                    differing.push(row);
                }
            });
            let Some(window) = windows.get_mut(&start) else { continue };
            self.judge(window, &scope, compared, found, newer);
            if window.verdict == Verdict::Differs {
                let sessions = spec.window.gap_ms().is_some();
                let short = folded.short.contains(&start) || (sessions && !folded.short.is_empty());
                doubt(window, short, folded.cut.as_deref(), scope.is_near(start, &folded.doubtful));
            }
        }
        let (counts, margin) = (folded.fold.counts, folded.margin);
        if write && (is_last || !torn) {
            torn |= self.write(&scope, &folded.fold, include_late, is_last, &mut windows, &differs)?;
        }
        let windows = windows.into_values().collect();
        Ok((Pass { windows, spans, counts, margin }, torn))
    }

    /// How far before each span to read, and what is left open by that.
    fn begin(&self, span: &Span, margin: Margin, start: i64) -> Result<(i64, Option<String>), Error> {
        let mut from = match margin {
            Margin::None => span.first,
            Margin::Some => span.first.saturating_sub(MARGIN_RECORDS),
            Margin::All => start,
        };
        from = from.max(start);
        let Some(dedupe) = &self.job.spec().dedupe else { return Ok((from, None)) };
        let records = self.records();
        let Some(first) = records.appended_at(&span.source, span.first)? else { return Ok((from, None)) };
        let earlier = first.saturating_sub(dedupe.for_ms.saturating_mul(2));
        let at = records.offset(&span.source, At::Time(earlier))?;
        let cut = (start > 0 && at <= start).then(|| {
            let (topic, partition) = &span.source;
            format!("{topic}-{partition} is kept from offset {start} only, so that repeats of earlier records cannot be told")
        });
        Ok((from.min(at.max(start)), cut))
    }

    fn fold<'f>(
        &'f self,
        scope: &'f Scope<'f>,
        spans: &[Span],
        starts: &HashMap<Source, i64>,
        include_late: bool,
        progress: Progress,
        on_progress: OnProgress<'_>,
    ) -> Result<Folded<'f, J::Accumulator>, Error> {
        let records = self.records();
        let levels = [Margin::None, Margin::Some, Margin::All];
        let mut done = progress.records;
        let mut last = None;
        for margin in levels {
            let mut fold = Fold::new(self.job.spec(), scope, include_late, self.job.is_punctuated());
            let (mut cut, mut begins) = (None, Vec::new());
            for span in spans {
                let (from, why) = self.begin(span, margin, starts.get(&span.source).copied().unwrap_or(0))?;
                cut = cut.or(why);
                begins.push(from);
            }
            let total: i64 = spans.iter().zip(&begins).map(|(span, from)| span.last - from + 1).sum();
            let mut now = Progress { offsets: total, records: done, ..progress };
            for (span, from) in spans.iter().zip(&begins) {
                let mut partition = Partition::new(scope.limits(&span.source));
                records.fold(span, *from, &mut partition, &mut fold, &mut |offsets, records| {
                    now.offsets_done += offsets;
                    now.records += records;
                    on_progress(now)
                })?;
                fold.end(&span.source, partition);
            }
            done = now.records;
            let earlier: i64 = spans.iter().zip(&begins).map(|(span, from)| span.first - from).sum();
            let short = fold.short_of_late();
            let start = |span: &Span| starts.get(&span.source).copied().unwrap_or(0);
            let enough = short.is_empty() || begins.iter().zip(spans).all(|(from, span)| *from <= start(span));
            // From the very first record on, nothing is unknown.
            // With late records all are folded: then it only decides how many are called late.
            let unknown = !include_late && spans.iter().any(|span| start(span) > 0);
            last = Some((fold, if unknown { short } else { Vec::new() }, cut, earlier));
            if enough {
                break;
            }
        }
        let Some((fold, short, cut, earlier)) = last else { return Err(Error::Cancelled) };
        let (rows, doubtful) = (self.rows(&fold)?, fold.doubtful());
        Ok(Folded { rows, fold, short, cut, doubtful, margin: self.say_margin(earlier) })
    }

    /// The rows of the selected windows, as the view has them.
    pub(super) fn rows(&self, fold: &Fold<'_, J::Accumulator>) -> Result<BTreeMap<i64, Vec<Row>>, Error> {
        let mut rows: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
        let mut unread = None;
        fold.rows(self.job, |datum| match (self.shape.view_source.row)(datum) {
            Ok(row) => rows.entry(row.partition.window_start).or_default().push(row),
            Err(error) => unread = Some(error),
        });
        unread.map_or(Ok(rows), |error| Err(Error::Row(error)))
    }

    fn say_margin(&self, earlier: i64) -> String {
        let spec = self.job.spec();
        let mut said = Vec::new();
        if let Some(gap_ms) = spec.window.gap_ms() {
            said.push(format!(
                "of sessions the {} before each bucket, by the ledgers of the buckets that reach there, and what follows up to the end of its last session",
                duration(gap_ms)
            ));
        }
        if earlier > 0 {
            said.push(format!("{earlier} offsets before the windows' own, to know what was late or a repeat"));
        }
        if said.is_empty() { "none: the windows' own offsets are enough".to_owned() } else { said.join("; ") }
    }

    /// The rows of a window that are not retracted, and whether some are newer than its ledger.
    pub(super) fn view_rows(
        &self,
        scope: &Scope<'_>,
        start: i64,
        recomputed: &[Row],
    ) -> Result<(Vec<Row>, bool), Error> {
        let tenants: BTreeSet<&str> =
            recomputed.iter().map(|row| row.partition.tenant.as_str()).chain(["default"]).collect();
        let (mut rows, mut newer) = (Vec::new(), false);
        for merge_partition in 0..self.job.spec().merge_partitions as i32 {
            let ledger = scope.ledgers(start).find(|ledger| ledger.merge_partition == merge_partition);
            let revision = ledger.map_or(0, |ledger| ledger.revision);
            for tenant in &tenants {
                let partition = RowPartition { tenant: (*tenant).to_owned(), window_start: start, merge_partition };
                let mut after = None;
                loop {
                    let query = RowQuery { partition: partition.clone(), prefix: Vec::new(), after, limit: PAGE_ROWS };
                    let page = self.handle.block_on(self.views.rows(&self.shape.view, &query))?;
                    newer |= page.iter().any(|row| row.revision.offset > revision);
                    after = page.last().filter(|_| page.len() == PAGE_ROWS).map(|row| row.clustering.clone());
                    rows.extend(page.into_iter().filter(|row| !self.columns.is_retracted(row)));
                    if after.is_none() {
                        break;
                    }
                }
            }
        }
        Ok((rows, newer))
    }
}
