//! What an assignment costs does not grow with the queue.

use std::time::{Duration, Instant};

use tidemark_core::dispatch::{Command, Effect, HeldLease, Queue, Report, Settings};

const WORKERS: usize = 1_000;
const ROUNDS: usize = 2_000;

/// A queue with so many tasks, and workers that each hold one.
fn queue(tasks: usize) -> Queue {
    let mut queue = Queue::new(Settings::default());
    let mut out = Vec::new();
    for task in 0..tasks + WORKERS {
        queue.apply(Command::Submit { task: format!("{task:064x}"), kind: "application/pdf".to_owned() }, 0, &mut out);
    }
    for worker in 0..WORKERS {
        request(&mut queue, worker, &mut out);
    }
    queue.take_changed();
    queue
}

fn request(queue: &mut Queue, worker: usize, out: &mut Vec<Effect>) {
    let (request, worker) = (format!("request-{worker}"), format!("worker-{worker}"));
    queue.apply(Command::Request { request, worker, capacity: 2, wait_until: 60_000 }, 1, out);
}

/// A task's whole life: asked for, given, taken up, done.
fn life(queue: &mut Queue, round: usize) {
    let worker = round % WORKERS;
    let mut out = Vec::new();
    queue.tick(1, &mut out);
    queue.apply(
        Command::Request {
            request: format!("round-{round}"),
            worker: format!("worker-{worker}"),
            capacity: 2,
            wait_until: 60_000,
        },
        1,
        &mut out,
    );
    let Some(Effect::Assigned { task, lease, .. }) = out.pop() else { panic!("nothing was given") };
    let held = vec![HeldLease { task_id: task.clone(), token: lease.token, step: "D1".to_owned() }];
    let (request, worker) = ("beat".to_owned(), lease.worker);
    queue.apply(Command::Heartbeat { request, worker, capacity: 2, push: false, held }, 1, &mut out);
    queue.apply(Command::Complete(Report { request: "done".to_owned(), task, token: lease.token }), 1, &mut out);
    assert!(matches!(out.last(), Some(Effect::Completed { .. })));
    queue.take_changed();
}

/// The quickest of some runs: what else the machine does only adds to it.
fn quickest(tasks: usize) -> Duration {
    let runs = (0..5).map(|_| {
        let mut queue = queue(tasks);
        let started = Instant::now();
        (0..ROUNDS.min(tasks)).for_each(|round| life(&mut queue, round));
        started.elapsed()
    });
    runs.min().unwrap()
}

/// A hundred times the tasks make the trees about twice as deep. Anything that walks over tasks would cost a hundred times as much.
#[test]
fn a_hundred_times_the_tasks_cost_hardly_more() {
    let (small, big) = (quickest(2_000), quickest(200_000));
    let ratio = big.as_secs_f64() / small.as_secs_f64();
    println!("{ROUNDS} lives: {small:?} with 2,000 tasks, {big:?} with 200,000: {ratio:.1} times");
    assert!(ratio < 4.0, "{ratio:.1} times as much: {small:?} and {big:?}");
}
