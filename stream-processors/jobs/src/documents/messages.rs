//! Lines of the task log, for people.

use super::Settings;
use tidemark_core::dispatch::{Lease, Why};
use tidemark_schemas::dispatch::{AttemptReport, TaskReported};
use tidemark_schemas::documents::Document;

/// `350 ms`, `1.2 s`, `15 s`, `3 min 20 s`, `2 h 5 min`.
pub(super) fn time(ms: i64) -> String {
    let (seconds, tenths) = (ms / 1_000, ms % 1_000 / 100);
    match seconds {
        0 => format!("{ms} ms"),
        1..120 if tenths == 0 => format!("{seconds} s"),
        1..120 => format!("{seconds}.{tenths} s"),
        120..7_200 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

pub(super) fn uploaded(owner: &str, name: &str) -> String {
    format!("uploaded by {owner} as {name}")
}

pub(super) fn duplicate(by: &str, name: &str, known: &Document) -> String {
    format!("uploaded again by {by} as {name}: {} has the same contents, and is {}", known.name, known.state)
}

pub(super) fn uploaded_again(owner: &str, name: &str) -> String {
    format!("uploaded again by {owner} as {name}, and tried again")
}

pub(super) fn retried(by: &str) -> String {
    if by.is_empty() { "tried again".to_owned() } else { format!("tried again: asked for by {by}") }
}

pub(super) fn cancelled(by: &str) -> String {
    if by.is_empty() { "cancelled".to_owned() } else { format!("cancelled by {by}") }
}

pub(super) fn assigned(worker: &str, attempt: i32) -> String {
    let attempt = if attempt > 1 { format!(" (attempt {attempt})") } else { String::new() };
    format!("given to worker {worker}{attempt}")
}

pub(super) fn done(worked_ms: i64) -> String {
    format!("done in {}", time(worked_ms))
}

/// What became of a lease that is over without a result.
pub(super) fn lost(document: &Document, lease: &Lease, why: Why, reason: Option<&str>) -> String {
    let worker = &lease.worker;
    match why {
        Why::Silent => format!("worker {worker} has fallen silent"),
        Why::Overdue => {
            let at = document.step.as_deref().map_or(String::new(), |step| format!(" at {step}"));
            format!("worker {worker} was not done by its deadline{at}")
        }
        Why::Undelivered => format!("worker {worker} never took it up"),
        Why::Refused => match reason {
            Some(reason) => format!("worker {worker} gave it back: {reason}"),
            None => format!("worker {worker} gave it back"),
        },
    }
}

/// Why a task is not given out any more.
pub(super) fn given_up(why: Why, lost: &str, settings: &Settings) -> String {
    match why {
        Why::Silent | Why::Overdue => {
            let leases = settings.dispatch.lost_max;
            format!(
                "given up after {leases} lost leases, the last because {lost}: the document may be what stops its workers"
            )
        }
        Why::Undelivered => {
            format!("given up after {} leases that no worker took up; {lost}", settings.dispatch.undelivered_max)
        }
        Why::Refused => format!("given up: given back {} times; {lost}", settings.dispatch.refused_max),
    }
}

/// What the worker says went wrong.
pub(super) fn error(report: &TaskReported) -> String {
    report.message.clone().filter(|message| !message.is_empty()).unwrap_or_else(|| "no reason was given".to_owned())
}

/// Runs of the step that failed. Those that the infrastructure spoilt are none of them.
pub(super) fn attempts(report: &TaskReported) -> usize {
    let is_its = |run: &&AttemptReport| Some(&run.step) == report.step.as_ref() && run.outcome != "INFRASTRUCTURE";
    report.attempts.iter().filter(is_its).count()
}

/// `D2 failed: broken (4 attempts)`.
pub(super) fn failed(report: &TaskReported) -> String {
    let Some(step) = &report.step else { return format!("failed: {}", error(report)) };
    let attempts = match attempts(report) {
        0 => String::new(),
        1 => " (1 attempt)".to_owned(),
        attempts => format!(" ({attempts} attempts)"),
    };
    format!("{step} failed: {}{attempts}", error(report))
}

/// A report under a lease that is none.
pub(super) fn refused(worker: &str, token: i64, document: &Document) -> String {
    match document.token {
        latest if latest == token => {
            format!("refused: a report of worker {worker} under a lease that is over (token {token})")
        }
        latest => format!("refused: a report of worker {worker} under an old lease (token {token}, now {latest})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let cases = [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_000, "1 s"),
            (1_260, "1.2 s"),
            (119_950, "119.9 s"),
            (200_000, "3 min 20 s"),
            (7_500_000, "2 h 5 min"),
        ];
        for (ms, text) in cases {
            assert_eq!(time(ms), text);
        }
    }
}
