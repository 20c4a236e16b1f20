//! What keeps a window open, and whom to ask about it.

use serde::Serialize;
use tidemark_core::watermark::effective;
use tidemark_schemas::engine::{Progress, SourceProgress};
use utoipa::ToSchema;

use crate::facts::Facts;
use crate::instant::{self, HOUR_MS};
use crate::progress::sources;
use crate::range::HOURS;
use crate::served::Served;
use crate::state::{self, State as WindowState};

/// What keeps a window open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Holding {
    /// Hours since the Unix epoch, where windows are hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hour: Option<i64>,
    /// Its start, RFC 3339.
    pub start: String,
    /// The watermark at which it closes: its end and the grace, RFC 3339.
    pub closes_at: String,
    /// In words.
    pub reason: String,
    /// The source topic that holds it, if one does.
    pub topic: Option<String>,
    /// The partition of it.
    pub partition: Option<i32>,
    /// The watermark that partition counts with, RFC 3339.
    pub watermark: Option<String>,
}

/// Why the oldest open window that has records is open.
pub(crate) fn holding(facts: &Facts, served: &Served, now: i64) -> Option<Holding> {
    let start = facts.ledgers.iter().map(|l| l.window_start).find(|start| facts.state(*start) == WindowState::Open)?;
    let closes_at = facts.closes_at(start);
    let why = why(&facts.progress, Span { end: facts.end(start), closes_at, now }, served.idle_after_ms);
    Some(Holding {
        hour: (served.cut == HOURS).then_some(start.div_euclid(HOUR_MS)),
        start: instant::rfc3339(start),
        closes_at: instant::rfc3339(closes_at),
        topic: why.source.as_ref().map(|(topic, _)| topic.clone()),
        partition: why.source.map(|(_, partition)| partition),
        watermark: why.watermark.map(instant::rfc3339),
        reason: why.reason,
    })
}

/// What keeps a window open, with the source partition if it is one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Why {
    pub(crate) reason: String,
    pub(crate) source: Option<(String, i32)>,
    pub(crate) watermark: Option<i64>,
}

impl Why {
    fn of(reason: String) -> Self {
        Self { reason, source: None, watermark: None }
    }

    fn source(reason: String, topic: &str, partition: i32, watermark: Option<i64>) -> Self {
        Self { reason, source: Some((topic.to_owned(), partition)), watermark }
    }
}

/// A window, and the time at which it is asked about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) end: i64,
    pub(crate) closes_at: i64,
    pub(crate) now: i64,
}

/// So long the view may have heard nothing before that is worth saying: markers come each second.
const SILENCE_MS: i64 = 60_000;

/// That the view has heard nothing for long, so that what it says of partitions may be old.
pub(crate) fn silence(as_of: Option<i64>, now: i64) -> Option<String> {
    let at = as_of.filter(|at| now.saturating_sub(*at) > SILENCE_MS)?;
    Some(format!(
        "the view knows nothing after {}: a stage of the job has stopped or is behind, see `tidemark job list`",
        instant::rfc3339(at)
    ))
}

/// The first of the reasons that applies, from the coarsest to the finest.
pub(crate) fn why(progress: &[Progress], span: Span, idle_after_ms: i64) -> Why {
    let Span { end, closes_at, now } = span;
    if progress.is_empty() {
        return Why::of("no merge partition has reported yet: is the job running?".to_owned());
    }
    // Partitions are to blame for what is due only.
    if now < end {
        return Why::of(format!("it is not over before {}", instant::rfc3339(end)));
    }
    if now < closes_at {
        return Why::of(format!("it waits for stragglers until {}", instant::rfc3339(closes_at)));
    }
    if let Some(missing) = state::missing(progress).first() {
        let all = state::merge_partitions(progress);
        return Why::of(format!("merge partition {missing} of {all} has not reported yet"));
    }
    if let Some((topic, partition)) = unheard(progress) {
        let reason = format!("nothing has been heard of {topic}, partition {partition}, yet");
        return Why::source(reason, &topic, partition, None);
    }
    let slowest = sources(progress).iter().min_by_key(|s| effective(s, idle_after_ms));
    match slowest.map(|s| (s, effective(s, idle_after_ms))) {
        Some((s, None)) => {
            let reason =
                format!("{}, partition {}, has had no record and is not known to be idle", s.topic, s.partition);
            Why::source(reason, &s.topic, s.partition, None)
        }
        Some((s, Some(at))) if at < closes_at => Why::source(behind(s, at), &s.topic, s.partition, Some(at)),
        _ => lagging(progress),
    }
}

fn behind(source: &SourceProgress, at: i64) -> String {
    let (topic, partition, at) = (&source.topic, source.partition, instant::rfc3339(at));
    match source.idle_at {
        Some(_) => format!("{topic}, partition {partition}, is idle and counts as read up to {at}"),
        None => format!("{topic}, partition {partition}, is the furthest behind, at {at}"),
    }
}

/// All source partitions are far enough, as the first merge partition knows; another one has not folded that yet.
fn lagging(progress: &[Progress]) -> Why {
    let reason = progress.iter().min_by_key(|p| p.watermark).map(|p| {
        let at = p.watermark.map_or_else(|| "no watermark".to_owned(), instant::rfc3339);
        format!("merge partition {} is still catching up, at {at}", p.merge_partition)
    });
    Why::of(reason.unwrap_or_default())
}

/// A source partition that the topics have and no marker has named.
fn unheard(progress: &[Progress]) -> Option<(String, i32)> {
    let counts = progress.first().map(|p| p.partition_counts.as_slice()).unwrap_or_default();
    counts.iter().find_map(|count| {
        let known = |p: &i32| sources(progress).iter().any(|s| s.topic == count.topic && s.partition == *p);
        (0..count.partitions).find(|p| !known(p)).map(|p| (count.topic.clone(), p))
    })
}

#[cfg(test)]
#[path = "holding_tests.rs"]
mod tests;
