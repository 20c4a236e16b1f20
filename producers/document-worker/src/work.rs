//! Works on one task: the steps of the pipeline in order, each up to its retries again.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::executor::{Cancelled, Executor, Outcome, Ran, Run, Running, Verdict};
use crate::pipeline::{Pipeline, Step};
use crate::progress;
use crate::report::Report;
use crate::wire::{AttemptReport, Document};

/// Before each retry: what was short may be back in a moment.
const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(200), Duration::from_secs(1)];

/// One task and what it takes to work on it.
#[derive(Clone, Copy)]
pub(crate) struct Work<'a> {
    pub(crate) executor: &'a Executor,
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) document: &'a Document,
    /// The document's contents, checked.
    pub(crate) contents: &'a Path,
    /// For the outputs and whatever the steps write; an empty directory of its own.
    pub(crate) directory: &'a Path,
    pub(crate) running: &'a Running,
    /// Told which attempt of which step begins.
    pub(crate) at: &'a dyn Fn(&str),
}

/// Why a step has no output.
enum Stopped {
    Report(Report),
    Cancelled(Cancelled),
}

impl Work<'_> {
    /// Blocks until all steps are done or one has failed. Adds each run to `attempts`. Gives the reason if the task is given up.
    pub(crate) fn run(&self, attempts: &mut Vec<AttemptReport>) -> Result<Report, Cancelled> {
        let mut outputs: Vec<(String, PathBuf)> = Vec::new();
        for step in &self.pipeline.steps {
            let input = outputs.last().map_or(self.contents, |(_, output)| output.as_path());
            match self.step(step, input, attempts) {
                Ok(output) => outputs.push((step.name.clone(), output)),
                Err(Stopped::Report(report)) => return Ok(report),
                Err(Stopped::Cancelled(why)) => return Err(why),
            }
        }
        Ok(Report::Done { pipeline: self.pipeline.name.clone(), outputs })
    }

    /// Gives the file that holds the step's output.
    fn step(&self, step: &Step, input: &Path, attempts: &mut Vec<AttemptReport>) -> Result<PathBuf, Stopped> {
        let mut attempt = 1;
        loop {
            (self.at)(&progress::attempt(&step.name, attempt));
            let started_at = now_ms();
            let (mut ran, output) = self.attempt(step, attempt, input);
            if let Some(why) = self.running.cancelled() {
                return Err(Stopped::Cancelled(why));
            }
            tracing::debug!(step = step.name, attempt, outcome = ran.verdict.outcome.name(), wall = ?ran.wall, "a step ran");
            attempts.push(line(step, attempt, started_at, &mut ran));
            match decide(&ran.verdict, attempt, step) {
                Decision::Go => return Ok(output),
                Decision::Again(pause) => {
                    self.running.wait(pause).map_or(Ok(()), |why| Err(Stopped::Cancelled(why)))?
                }
                Decision::Stop(report) => return Err(Stopped::Report(report)),
            }
            attempt += 1;
        }
    }

    fn attempt(&self, step: &Step, attempt: u32, input: &Path) -> (Ran, PathBuf) {
        let directory = self.directory.join(format!("{}-{attempt}", step.name));
        let output = self.directory.join(format!("{}.json", step.name));
        if let Err(error) = fs::create_dir(&directory) {
            return (Ran::infrastructure(format!("cannot make a directory for step {}: {error}", step.name)), output);
        }
        let run = Run { step, attempt, input, contents: self.contents, document: self.document, directory: &directory };
        let mut ran = self.executor.run(&run, self.running);
        if ran.verdict.outcome == Outcome::Ok
            && let Err(error) = fs::write(&output, &ran.output)
        {
            ran.verdict = Verdict::infrastructure(format!("cannot keep the output of step {}: {error}", step.name));
        }
        // What cannot be removed now goes with the task's directory, or with the worker's.
        let _kept = fs::remove_dir_all(&directory);
        (ran, output)
    }
}

fn line(step: &Step, attempt: u32, started_at: i64, ran: &mut Ran) -> AttemptReport {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    AttemptReport {
        step: step.name.clone(),
        attempt,
        outcome: ran.verdict.outcome.name(),
        message: ran.verdict.message.clone(),
        started_at,
        wall_us: micros(ran.wall),
        cpu_us: micros(ran.cpu),
        memory_bytes: ran.memory_bytes,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Go,
    Again(Duration),
    Stop(Report),
}

/// What follows attempt number `attempt` of a step.
fn decide(verdict: &Verdict, attempt: u32, step: &Step) -> Decision {
    let message = || verdict.message.clone().unwrap_or_default();
    match verdict.outcome {
        Outcome::Ok => Decision::Go,
        Outcome::Infrastructure => Decision::Stop(Report::Refused { reason: message() }),
        Outcome::Failed | Outcome::Crashed | Outcome::Killed | Outcome::Garbage => {
            if verdict.retry && attempt <= step.retries {
                let place = usize::try_from(attempt).unwrap_or(usize::MAX).saturating_sub(1);
                return Decision::Again(PAUSES.get(place).copied().unwrap_or_default());
            }
            let attempts = if attempt == 1 { String::new() } else { format!(" ({attempt} attempts)") };
            Decision::Stop(Report::Failed { step: step.name.clone(), error: message() + &attempts })
        }
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_each_attempt() {
        let step = |retries| Step { name: "D2".into(), command: vec![], limits: Default::default(), retries };
        let verdict = |outcome, retry| Verdict { outcome, message: Some("why".into()), limit: None, retry };
        let failed = |error: &str| Decision::Stop(Report::Failed { step: "D2".into(), error: error.into() });
        let again = |ms| Decision::Again(Duration::from_millis(ms));
        for outcome in [Outcome::Failed, Outcome::Crashed, Outcome::Killed, Outcome::Garbage] {
            let decided = |attempt, retries| decide(&verdict(outcome, true), attempt, &step(retries));
            let all = [decided(1, 3), decided(2, 3), decided(3, 3), decided(4, 3), decided(1, 0), decided(2, 1)];
            let wanted = [again(0), again(200), again(1000), failed("why (4 attempts)"), failed("why")];
            assert_eq!(all[..5], wanted, "{outcome:?}");
            assert_eq!(all[5], failed("why (2 attempts)"));
            assert_eq!(decide(&verdict(outcome, false), 1, &step(3)), failed("why"));
        }
        assert_eq!(decide(&verdict(Outcome::Ok, false), 1, &step(3)), Decision::Go);
        let refused = Decision::Stop(Report::Refused { reason: "why".into() });
        assert_eq!(decide(&verdict(Outcome::Infrastructure, false), 1, &step(3)), refused);
    }
}
