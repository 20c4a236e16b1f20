//! Tells the service what has become of a task, until it has taken that.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::backoff::Backoff;
use crate::client::{Client, Error};
use crate::executor::{Cancelled, Running};
use crate::progress::{self, Progress};
use crate::wire::{AttemptReport, ReportBody, Task};

/// A service that is back is told soon.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What has become of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Report {
    /// All steps are done.
    Done {
        pipeline: String,
        /// By step the file that holds its output, one JSON value.
        outputs: Vec<(String, PathBuf)>,
    },
    /// A step has failed for good.
    Failed { step: String, error: String },
    /// It could not be worked on here: it goes back to the queue.
    Refused { reason: String },
}

/// How the telling ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// The service has taken the results.
    Done,
    /// It has taken the error.
    Failed,
    /// It has taken the task back.
    GivenBack,
    /// The lease is another's, or nobody's: nothing is lost that counts.
    Stale,
    /// The service will never take it; said in the log.
    Refused,
    /// The worker had to stop before the service was there.
    Stopped,
}

/// Who reports about what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reporter<'a> {
    pub(crate) client: &'a Client,
    pub(crate) queue: &'a str,
    pub(crate) worker: &'a str,
    pub(crate) task: &'a Task,
    pub(crate) attempts: &'a [AttemptReport],
}

impl Reporter<'_> {
    /// Sends the report until it is settled. While the service is away it is sent again and again, for as long as the lease is not
    /// known to be over. A result that the service never takes, because it is too large, is reported as an error of the last step.
    /// `at` is told that it is sent, and again now and then while the service is away, so that the lease does not become overdue.
    pub(crate) fn send(&self, report: Report, running: &Running, at: &dyn Fn(&str)) -> Settled {
        self.send_named(report, running, Progress::of_reporting(at, progress::PAUSE))
    }

    fn send_named(&self, mut report: Report, running: &Running, mut progress: Progress<'_>) -> Settled {
        let (mut backoff, mut tried) = (Backoff::new(PAUSE_MAX), 0_u64);
        loop {
            let error = match self.try_once(&report) {
                Ok(()) => return taken(&report),
                Err(error) => error,
            };
            if tried == 0 {
                tracing::warn!(task = self.task.task_id, %error, "a report is not taken at once");
            }
            tried += 1;
            if matches!(error, Error::Away { .. }) {
                progress.goes_on(0, Instant::now());
            }
            match next(&report, error) {
                Next::Settled(settled) => return settled,
                Next::Instead(other) => report = other,
                Next::Again(asked) => match running.wait(backoff.next(asked)) {
                    None => {}
                    Some(Cancelled::Revoked) => return Settled::Stale,
                    Some(Cancelled::Stopping) => return Settled::Stopped,
                },
            }
        }
    }

    fn try_once(&self, report: &Report) -> Result<(), Error> {
        let pieces = self.body(report).and_then(|pieces| Ok((length(&pieces)?, open(pieces)?)));
        let (length, mut body) = pieces.map_err(|error| Error::Refused(format!("cannot read the outputs: {error}")))?;
        self.client.report(self.queue, &self.task.task_id, verb(report), length, &mut body)
    }

    /// Results may be large, so they are sent from the files that they are in.
    fn body(&self, report: &Report) -> io::Result<Vec<Piece>> {
        let (step, error, reason) = match report {
            Report::Done { .. } => (None, None, None),
            Report::Failed { step, error } => (Some(step.as_str()), Some(error.as_str()), None),
            Report::Refused { reason } => (None, None, Some(reason.as_str())),
        };
        let body =
            ReportBody { worker: self.worker, token: self.task.token, step, error, reason, attempts: self.attempts };
        let mut body = serde_json::to_string(&body)?;
        let Report::Done { pipeline, outputs } = report else { return Ok(vec![Piece::Text(body)]) };
        body.pop();
        let (file_id, pipeline) = (quoted(&self.task.document.file_id), quoted(pipeline));
        body.push_str(&format!(r#","result":{{"file_id":{file_id},"pipeline":{pipeline},"steps":{{"#));
        let mut pieces = vec![Piece::Text(body)];
        for (place, (step, output)) in outputs.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            pieces.extend([Piece::Text(format!("{comma}{}:", quoted(step))), Piece::File(output.clone())]);
        }
        pieces.push(Piece::Text("}}}".into()));
        Ok(pieces)
    }
}

enum Piece {
    Text(String),
    File(PathBuf),
}

fn length(pieces: &[Piece]) -> io::Result<u64> {
    let sizes = pieces.iter().map(|piece| match piece {
        Piece::Text(text) => Ok(text.len() as u64),
        Piece::File(path) => Ok(path.metadata()?.len()),
    });
    sizes.sum()
}

fn open(pieces: Vec<Piece>) -> io::Result<Box<dyn Read>> {
    let empty: Box<dyn Read> = Box::new(io::empty());
    pieces.into_iter().try_fold(empty, |before, piece| {
        let piece: Box<dyn Read> = match piece {
            Piece::Text(text) => Box::new(Cursor::new(text)),
            Piece::File(path) => Box::new(File::open(path)?),
        };
        Ok(Box::new(before.chain(piece)) as Box<dyn Read>)
    })
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn taken(report: &Report) -> Settled {
    match report {
        Report::Done { .. } => Settled::Done,
        Report::Failed { .. } => Settled::Failed,
        Report::Refused { .. } => Settled::GivenBack,
    }
}

fn verb(report: &Report) -> &'static str {
    match report {
        Report::Done { .. } => "complete",
        Report::Failed { .. } => "fail",
        Report::Refused { .. } => "refuse",
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Settled(Settled),
    Again(Option<Duration>),
    Instead(Report),
}

/// What follows a try that failed. Of a task that the service does not know the next heartbeat says that the lease is over, if it is.
fn next(report: &Report, error: Error) -> Next {
    match (error, report) {
        (Error::Away { retry_after, .. }, _) => Next::Again(retry_after),
        (Error::Missing(_), _) => Next::Again(None),
        (Error::Stale(message), _) => {
            tracing::warn!(message, "the report is stale: another worker has the task, or it is finished");
            Next::Settled(Settled::Stale)
        }
        (error @ Error::Refused(_), Report::Done { outputs, .. }) => {
            let step = outputs.last().map(|(step, _)| step.clone()).unwrap_or_default();
            Next::Instead(Report::Failed { step, error: format!("the results were not taken: {error}") })
        }
        (error @ Error::Refused(_), Report::Failed { .. } | Report::Refused { .. }) => {
            tracing::error!(%error, "a report is not taken; the task goes back to the queue when its lease is over");
            Next::Settled(Settled::Refused)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_is_sent_again_is_named_anew() {
        let document =
            crate::wire::Document { file_id: "f".into(), name: "n".into(), media_type: "m".into(), bytes: 0 };
        let task = Task { task_id: "t".into(), token: 1, document };
        // Nobody listens there.
        let client = Client::new("http://127.0.0.1:1", None, 1);
        let reporter = Reporter { client: &client, queue: "q", worker: "w", task: &task, attempts: &[] };
        let (running, named) = (Running::default(), std::cell::RefCell::new(Vec::new()));
        let at = |name: &str| {
            named.borrow_mut().push(name.to_owned());
            if name == "report#3" {
                running.cancel(Cancelled::Revoked);
            }
        };
        let progress = Progress::of_reporting(&at, Duration::ZERO);
        let settled = reporter.send_named(Report::Refused { reason: "r".into() }, &running, progress);
        assert_eq!(
            (settled, &*named.borrow()),
            (Settled::Stale, &["report", "report#2", "report#3"].map(String::from).to_vec())
        );
    }

    #[test]
    fn what_follows_each_error() {
        let done =
            Report::Done { pipeline: "p".into(), outputs: vec![("D1".into(), "a".into()), ("D2".into(), "b".into())] };
        let failed = Report::Failed { step: "D1".into(), error: "e".into() };
        let refused = Report::Refused { reason: "r".into() };
        let away = |retry_after| Error::Away { base: "b".into(), message: "m".into(), retry_after };
        let second = Some(Duration::from_secs(1));
        for report in [&done, &failed, &refused] {
            assert_eq!(next(report, away(second)), Next::Again(second));
            assert_eq!(next(report, away(None)), Next::Again(None));
            assert_eq!(next(report, Error::Missing("404".into())), Next::Again(None));
            assert_eq!(next(report, Error::Stale("409".into())), Next::Settled(Settled::Stale));
        }
        let error = "the results were not taken: the service does not take it: 413".to_owned();
        let instead = Report::Failed { step: "D2".into(), error };
        assert_eq!(next(&done, Error::Refused("413".into())), Next::Instead(instead));
        for report in [&failed, &refused] {
            assert_eq!(next(report, Error::Refused("400".into())), Next::Settled(Settled::Refused));
        }
    }
}
