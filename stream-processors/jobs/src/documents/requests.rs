//! Workers: they ask for tasks, live, and report.

use super::change::Change;
use super::output::WORKERS;
use tidemark_core::dispatch::{Command, Expected, Report};
use tidemark_schemas::dispatch::{Heartbeat, LeaseRequested, RunTimesLearned, TaskReported, WorkerChanged};

/// Longest time that a request waits for a task, whatever it says, milliseconds: its sender's clock may be wrong.
const WAIT_MS_MAX: i64 = 60_000;

impl Change<'_> {
    pub(super) fn lease_requested(&mut self, asked: LeaseRequested) {
        let LeaseRequested { request_id: request, worker, capacity, wait_until, .. } = asked;
        let wait_until = wait_until.min(self.now.saturating_add(WAIT_MS_MAX));
        self.command(Command::Request { request, worker, capacity, wait_until });
    }

    pub(super) fn heartbeat(&mut self, heard: Heartbeat) {
        let Heartbeat { tenant, queue, request_id: request, worker, capacity, push, memory_bytes, cpu_percent, held } =
            heard;
        self.command(Command::Heartbeat { request, worker: worker.clone(), capacity, push, held });
        let Some(known) = self.lane.queue.worker(&worker) else { return };
        let (capacity, last_heartbeat) = (known.capacity, known.last_heartbeat);
        let leases = i32::try_from(known.leases).unwrap_or(i32::MAX);
        let key = self.lane.id.worker(&worker);
        let changed =
            WorkerChanged { tenant, queue, worker, capacity, leases, last_heartbeat, memory_bytes, cpu_percent };
        self.out.emit(WORKERS, &key, &changed);
    }

    /// The report is this change's cause.
    pub(super) fn reported(&mut self, report: &TaskReported) {
        let TaskReported { request_id, task_id, token, .. } = report;
        let said = Report { request: request_id.clone(), task: task_id.clone(), token: *token };
        self.command(match report.outcome.as_str() {
            "COMPLETED" => Command::Complete(said),
            "FAILED" => Command::Fail(said),
            _ => Command::Refuse(said),
        });
    }

    pub(super) fn learned(&mut self, learned: RunTimesLearned) {
        let expected = learned.times.into_iter().map(|time| Expected {
            kind: time.kind,
            step: time.step,
            expected_ms: time.expected_ms,
        });
        self.command(Command::Expect(expected.collect()));
    }
}
