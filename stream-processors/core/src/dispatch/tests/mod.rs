//! One test for each rule. Effects are compared as short sentences.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod entries;
mod leases;
mod order;
mod reports;
mod requests;
mod workers;

use super::*;

/// A queue, a clock and short words for commands.
struct World {
    queue: Queue,
    now: i64,
}

fn world() -> World {
    World { queue: Queue::new(Settings::default()), now: 0 }
}

impl World {
    fn tell(&mut self, command: Command) -> Vec<String> {
        let mut out = Vec::new();
        self.queue.apply(command, self.now, &mut out);
        out.iter().map(say).collect()
    }

    /// Time goes on to `now`, timer by timer, as it does when somebody writes a tick for each.
    fn at(&mut self, now: i64) -> Vec<String> {
        let mut out = Vec::new();
        while let Some(due) = self.queue.due().filter(|due| *due < now) {
            self.queue.tick(due, &mut out);
        }
        self.queue.tick(now, &mut out);
        self.now = now;
        out.iter().map(say).collect()
    }

    /// Time goes on to `now` at once, as after a log that was away.
    fn jump(&mut self, now: i64) -> Vec<String> {
        let mut out = Vec::new();
        self.queue.tick(now, &mut out);
        self.now = now;
        out.iter().map(say).collect()
    }

    fn submit(&mut self, tasks: &[&str]) -> Vec<String> {
        let submit = |task: &&str| Command::Submit { task: (*task).to_owned(), kind: "pdf".to_owned() };
        tasks.iter().flat_map(|task| self.tell(submit(task))).collect()
    }

    /// A request that does not wait.
    fn ask(&mut self, request: &str, worker: &str, capacity: i32) -> Vec<String> {
        self.wait(request, worker, capacity, self.now)
    }

    fn wait(&mut self, request: &str, worker: &str, capacity: i32, wait_until: i64) -> Vec<String> {
        self.tell(Command::Request { request: request.to_owned(), worker: worker.to_owned(), capacity, wait_until })
    }

    /// A heartbeat of a worker that pulls, with leases as (task, token, step).
    fn beat(&mut self, worker: &str, held: &[(&str, i64, &str)]) -> Vec<String> {
        let capacity = self.queue.worker(worker).map_or(1, |worker| worker.capacity);
        self.tell(heartbeat(worker, capacity, false, held))
    }

    /// A heartbeat of a worker that is given tasks unasked.
    fn push(&mut self, worker: &str, capacity: i32) -> Vec<String> {
        self.tell(heartbeat(worker, capacity, true, &[]))
    }

    fn complete(&mut self, request: &str, task: &str, token: i64) -> Vec<String> {
        self.tell(Command::Complete(report(request, task, token)))
    }

    fn fail(&mut self, request: &str, task: &str, token: i64) -> Vec<String> {
        self.tell(Command::Fail(report(request, task, token)))
    }

    fn refuse(&mut self, request: &str, task: &str, token: i64) -> Vec<String> {
        self.tell(Command::Refuse(report(request, task, token)))
    }

    fn cancel(&mut self, task: &str) -> Vec<String> {
        self.tell(Command::Cancel { task: task.to_owned() })
    }

    fn deadline(&self, task: &str) -> i64 {
        self.queue.task(task).unwrap().lease.unwrap().deadline
    }
}

fn heartbeat(worker: &str, capacity: i32, push: bool, held: &[(&str, i64, &str)]) -> Command {
    let lease = |(task, token, step): &(&str, i64, &str)| HeldLease {
        task_id: (*task).to_owned(),
        token: *token,
        step: (*step).to_owned(),
    };
    let held = held.iter().map(lease).collect();
    Command::Heartbeat { request: "beat".to_owned(), worker: worker.to_owned(), capacity, push, held }
}

fn report(request: &str, task: &str, token: i64) -> Report {
    Report { request: request.to_owned(), task: task.to_owned(), token }
}

fn say(effect: &Effect) -> String {
    match effect {
        Effect::Assigned { task, lease, request, again, .. } => {
            let request = request.as_deref().unwrap_or("unasked");
            format!("{request}: {task} to {} under {}{}", lease.worker, lease.token, if *again { " again" } else { "" })
        }
        Effect::NoTask { request } => format!("{request}: none"),
        Effect::Requeued { task, why, .. } => format!("{task} back: {why:?}"),
        Effect::Completed { task, .. } => format!("{task} completed"),
        Effect::Failed { task, why, .. } => format!("{task} failed: {why:?}"),
        Effect::Cancelled { task, lease } => {
            format!("{task} cancelled{}", if lease.is_some() { " while leased" } else { "" })
        }
        Effect::Stepped { task, step, lease } => format!("{task} at {step} until {}", lease.deadline),
        Effect::Repeated { request, .. } => format!("{request}: repeated"),
        Effect::Rejected { request, why, .. } => format!("{request}: {why}"),
        Effect::Alive { worker, revoked, .. } => {
            let revoked: String =
                revoked.iter().map(|lease| format!(", not {} {}", lease.task_id, lease.token)).collect();
            format!("{worker} alive{revoked}")
        }
        Effect::Gone { worker } => format!("{worker} gone"),
    }
}
