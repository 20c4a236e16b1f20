//! What one queue bears: `cargo run --release -p tidemark-core --example dispatch_rates`.
//!
//! 100,000 tasks wait and 1,000 workers work. CPU of one thread; nothing is written anywhere, but the entries that changed are taken
//! and read as for a changelog, after each command.

#![allow(clippy::unwrap_used, reason = "a measurement fails by panicking")]

use tidemark_core::dispatch::{Command, Effect, HeldLease, Queue, Report, Settings};

const TASKS: usize = 100_000;
const WORKERS: usize = 1_000;
/// Rounds of one task for each worker.
const ROUNDS: usize = 50;
/// A command's time in milliseconds, so that timers are spread as they are in life.
const PER_MS: usize = 20;

struct Bench {
    queue: Queue,
    commands: usize,
    entries: usize,
    out: Vec<Effect>,
}

impl Bench {
    fn tell(&mut self, command: Command) {
        let now = i64::try_from(self.commands / PER_MS).unwrap();
        self.commands += 1;
        self.out.clear();
        self.queue.tick(now, &mut self.out);
        self.queue.apply(command, now, &mut self.out);
        for key in self.queue.take_changed() {
            self.entries += usize::from(std::hint::black_box(self.queue.entry(&key)).is_some());
        }
    }

    fn request(&mut self, round: usize, capacity: i32) {
        let (request, worker) = (format!("{round:032x}"), format!("worker-{}", round % WORKERS));
        self.tell(Command::Request { request, worker, capacity, wait_until: i64::MAX });
    }

    fn complete(&mut self, (task, token): (String, i64)) {
        self.tell(Command::Complete(Report { request: "done".to_owned(), task, token }));
    }

    fn submit(&mut self, task: usize) {
        self.tell(Command::Submit { task: format!("{task:064x}"), kind: "application/pdf".to_owned() });
    }
}

fn heartbeat(worker: usize, push: bool, lease: Option<&(String, i64)>) -> Command {
    let held = lease.map(|(task, token)| HeldLease { task_id: task.clone(), token: *token, step: "D1".to_owned() });
    let (request, worker) = ("beat".to_owned(), format!("worker-{worker}"));
    Command::Heartbeat { request, worker, capacity: 2, push, held: held.into_iter().collect() }
}

/// CPU that this thread has had, nanoseconds: others on the machine do not count.
fn cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split_whitespace().next().unwrap().parse().unwrap()
}

/// Adds the CPU of some work to a sum.
fn timed(sum: &mut u64, work: impl FnOnce()) {
    let started = cpu_ns();
    work();
    *sum += cpu_ns() - started;
}

fn say(what: &str, ns: u64, times: usize) {
    let each = ns as f64 / times as f64;
    println!("{what:<36} {each:>7.0} ns each, {:>9.0}/s", 1e9 / each);
}

fn main() {
    let mut bench = Bench { queue: Queue::new(Settings::default()), commands: 0, entries: 0, out: Vec::new() };
    let mut submitted = 0;
    timed(&mut submitted, || (0..TASKS).for_each(|task| bench.submit(task)));
    say("submit", submitted, TASKS);
    (0..WORKERS).for_each(|worker| bench.request(worker, 2));
    assert_eq!((bench.queue.pending(), bench.queue.leased()), (TASKS - WORKERS, WORKERS));
    pulled(&mut bench);
    pushed(&mut bench);
    println!("{} entries were written for {} commands", bench.entries, bench.commands);
}

/// Tasks' lives while the queue stays as long as it is: asked for and given, taken up, done, and others submitted.
fn pulled(bench: &mut Bench) {
    let (mut given, mut taken_up, mut done, mut submitted) = (0, 0, 0, 0);
    let tasks = ROUNDS * WORKERS;
    for round in 1..=ROUNDS {
        let mut leases = Vec::with_capacity(WORKERS);
        timed(&mut given, || {
            for worker in 0..WORKERS {
                bench.request(round * WORKERS + worker, 2);
                leases.extend(bench.out.iter().filter_map(assigned));
            }
        });
        assert_eq!(leases.len(), WORKERS);
        let beats: Vec<Command> = (0..WORKERS).map(|worker| heartbeat(worker, false, leases.get(worker))).collect();
        timed(&mut taken_up, || beats.into_iter().for_each(|beat| bench.tell(beat)));
        timed(&mut done, || leases.into_iter().for_each(|lease| bench.complete(lease)));
        timed(&mut submitted, || (0..WORKERS).for_each(|task| bench.submit(TASKS + round * WORKERS + task)));
    }
    say("pull: request and assignment", given, tasks);
    say("pull: heartbeat with a new step", taken_up, tasks);
    say("pull: report", done, tasks);
    say("pull: submit", submitted, tasks);
    say("pull: a task's life, four commands", given + taken_up + done + submitted, tasks);
    say("pull: any command", given + taken_up + done + submitted, 4 * tasks);
}

/// All workers are given tasks unasked: a report makes room, and the least loaded gets the next task at once.
fn pushed(bench: &mut Bench) {
    let mut leases = Vec::new();
    for worker in 0..WORKERS {
        bench.tell(heartbeat(worker, true, None));
        leases.extend(bench.out.iter().filter_map(assigned));
    }
    let (mut ns, mut given) = (0, 0);
    for _ in 0..ROUNDS {
        let mut next = Vec::with_capacity(WORKERS);
        timed(&mut ns, || {
            for lease in leases.drain(..) {
                bench.complete(lease);
                next.extend(bench.out.iter().filter_map(assigned));
            }
        });
        given += next.len();
        leases = next;
    }
    assert!(given >= WORKERS, "{given} were given");
    say("push: report and assignment", ns, given);
}

fn assigned(effect: &Effect) -> Option<(String, i64)> {
    if let Effect::Assigned { task, lease, .. } = effect { Some((task.clone(), lease.token)) } else { None }
}
