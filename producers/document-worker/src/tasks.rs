//! One thread of a worker: asks for a task, works on it, reports, and again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::backoff::Backoff;
use crate::contents::{Fetch, NotFetched};
use crate::executor::Cancelled;
use crate::held::InHand;
use crate::report::{Report, Reporter, Settled};
use crate::settings::Settings;
use crate::usage;
use crate::wire::{AttemptReport, Task};
use crate::work::Work;
use crate::worker::Shared;

/// Outputs of a task over this have left their mark on the worker's own peak.
const LARGE_OUTPUTS: u64 = 1 << 20;

/// Runs until the worker is asked to stop.
pub(crate) fn run(shared: &Shared) {
    let mut asks = Asks {
        key: Uuid::now_v7(),
        idle: Backoff::new(shared.settings.pause_max),
        trouble: Backoff::new(shared.settings.pause_max),
    };
    while shared.stop.asked() == 0 && !shared.is_over() {
        let pause = catch_unwind(AssertUnwindSafe(|| shared.round(&mut asks))).unwrap_or_else(|_| {
            tracing::error!("a task ended in a panic, which is a defect of the worker; it goes on");
            asks.trouble.next(None)
        });
        shared.stop.wait(1, pause);
    }
}

/// How a thread asks for tasks.
struct Asks {
    /// Names the request until it is answered, so that one whose answer was lost is given the same task again.
    key: Uuid,
    /// While there is no task, or no service.
    idle: Backoff,
    /// While nothing can be worked on here: else a worker with a full disk would go through the whole queue.
    trouble: Backoff,
}

impl Shared {
    /// Gives the pause before the next round.
    fn round(&self, asks: &mut Asks) -> Duration {
        let began = Instant::now();
        let Settings { queue, capacity, wait, .. } = &self.settings;
        let answer = self.client.lease(queue, &self.worker, *capacity, *wait, &asks.key.to_string());
        self.heard("lease", answer.as_ref().err());
        let task = match answer {
            Err(error) => return asks.idle.next(error.retry_after()),
            Ok(task) => task,
        };
        asks.key = Uuid::now_v7();
        match task {
            // It has waited as asked, and is to wait again.
            None if began.elapsed() >= *wait / 2 => Duration::ZERO,
            None => asks.idle.next(None),
            Some(task) => {
                asks.idle.reset();
                if self.work(&task) {
                    asks.trouble.reset();
                    return Duration::ZERO;
                }
                asks.trouble.next(None)
            }
        }
    }

    /// Works on a task and settles it. Gives false if it could not be worked on here.
    fn work(&self, task: &Task) -> bool {
        let in_hand = self.hand.take(task);
        let mut attempts = Vec::new();
        let began = Instant::now();
        let room = self.room.for_task();
        let report = match &room {
            _ if self.stop.asked() > 0 => Err(Cancelled::Stopping),
            Ok(room) => self.process(task, &in_hand, room.path(), &mut attempts),
            Err(error) => Ok(Report::Refused { reason: format!("cannot make a directory to work in: {error}") }),
        };
        let report = match report {
            Ok(report) => report,
            Err(Cancelled::Revoked) => {
                self.counts.revoked.add();
                return true;
            }
            Err(Cancelled::Stopping) => Report::Refused { reason: "the worker stops".into() },
        };
        self.settle(task, &in_hand, &attempts, report, began)
    }

    fn process(
        &self,
        task: &Task,
        in_hand: &InHand<'_>,
        directory: &Path,
        attempts: &mut Vec<AttemptReport>,
    ) -> Result<Report, Cancelled> {
        let contents = directory.join("contents");
        let (running, at) = (&in_hand.held.running, &|step: &str| in_hand.at(step));
        let fetch = Fetch {
            client: &self.client,
            document: &task.document,
            into: &contents,
            running,
            stop: &self.stop,
            pause_max: self.settings.pause_max,
            at,
        };
        match fetch.run() {
            Ok(()) => {}
            Err(NotFetched::Cancelled(why)) => return Err(why),
            Err(NotFetched::Refused(reason)) => return Ok(Report::Refused { reason }),
        }
        let work = Work {
            executor: &self.executor,
            pipeline: &self.settings.pipeline,
            document: &task.document,
            contents: &contents,
            directory,
            running,
            at,
        };
        work.run(attempts)
    }

    fn settle(
        &self,
        task: &Task,
        in_hand: &InHand<'_>,
        attempts: &[AttemptReport],
        report: Report,
        began: Instant,
    ) -> bool {
        let (task_id, token, file_id) = (&task.task_id, task.token, &task.document.file_id);
        let took = began.elapsed();
        match &report {
            Report::Done { outputs, .. } => {
                tracing::info!(task_id, token, file_id, ?took, "a task is done");
                let sizes = outputs.iter().filter_map(|(_, output)| output.metadata().ok());
                if sizes.map(|metadata| metadata.len()).sum::<u64>() > LARGE_OUTPUTS {
                    usage::forget_peak();
                }
            }
            Report::Failed { step, error } => {
                tracing::info!(task_id, token, file_id, step, error, ?took, "a task failed")
            }
            Report::Refused { reason } => {
                tracing::warn!(task_id, token, file_id, reason, ?took, "a task is given back")
            }
        }
        let worked = !matches!(report, Report::Refused { .. });
        let reporter =
            Reporter { client: &self.client, queue: &self.settings.queue, worker: &self.worker, task, attempts };
        let count = match reporter.send(report, &in_hand.held.running, &|step| in_hand.at(step)) {
            Settled::Done => &self.counts.done,
            Settled::Failed => &self.counts.failed,
            Settled::Stale => &self.counts.revoked,
            Settled::GivenBack | Settled::Refused | Settled::Stopped => &self.counts.infrastructure_failures,
        };
        count.add();
        worked
    }
}
