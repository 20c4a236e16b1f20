//! Random commands over random time.

use proptest::prelude::*;
use tidemark_core::dispatch::{Command, Effect, Expected, HeldLease, Queue, Report, Settings};

use crate::watch::Watch;

const TASKS: u8 = 6;
const WORKERS: u8 = 4;

/// A command to be: tokens are named by their distance to the task's latest, since only few random numbers are tokens.
#[derive(Debug, Clone)]
enum Step {
    Pass(i64),
    Submit(u8),
    Request { request: u8, worker: u8, capacity: i32, wait_ms: i64 },
    Heartbeat { worker: u8, capacity: i32, push: bool, held: Vec<(u8, i64, u8)> },
    Report { kind: u8, task: u8, older: i64 },
    Cancel(u8),
    Expect(i64),
}

/// Mostly the latest token.
fn older() -> impl Strategy<Value = i64> {
    prop_oneof![6 => Just(0_i64), 1 => 1..4_i64, 1 => -1..0_i64]
}

fn step() -> impl Strategy<Value = Step> {
    let request = (0..12_u8, 0..WORKERS, 0..4_i32, -10..1_500_i64)
        .prop_map(|(request, worker, capacity, wait_ms)| Step::Request { request, worker, capacity, wait_ms });
    let held = proptest::collection::vec((0..TASKS, older(), 0..3_u8), 0..4);
    let heartbeat = (0..WORKERS, 0..4_i32, any::<bool>(), held)
        .prop_map(|(worker, capacity, push, held)| Step::Heartbeat { worker, capacity, push, held });
    let report = (0..3_u8, 0..TASKS, older()).prop_map(|(kind, task, older)| Step::Report { kind, task, older });
    prop_oneof![
        4 => prop_oneof![0..300_i64, 300..1_500_i64, 5_000..9_000_i64].prop_map(Step::Pass),
        4 => (0..TASKS).prop_map(Step::Submit),
        5 => request,
        5 => heartbeat,
        5 => report,
        1 => (0..TASKS).prop_map(Step::Cancel),
        1 => (0..2_000_i64).prop_map(Step::Expect),
    ]
}

fn name(task: u8) -> String {
    format!("task-{task}")
}

/// The command that the step is for this queue; none when only time passes.
fn command(step: &Step, queue: &Queue, now: i64) -> Option<Command> {
    let token = |task: u8, older: i64| queue.task(&name(task)).map_or(0, |task| task.token) - older;
    let request = "answer".to_owned();
    Some(match step {
        Step::Pass(_) => return None,
        Step::Submit(task) => Command::Submit { task: name(*task), kind: "kind".to_owned() },
        Step::Request { request, worker, capacity, wait_ms } => Command::Request {
            request: format!("request-{request}"),
            worker: format!("worker-{worker}"),
            capacity: *capacity,
            wait_until: now + wait_ms,
        },
        Step::Heartbeat { worker, capacity, push, held } => {
            let held = held.iter().map(|(task, older, step)| HeldLease {
                task_id: name(*task),
                token: token(*task, *older),
                step: ["", "D1", "D2"][usize::from(*step)].to_owned(),
            });
            let (worker, held) = (format!("worker-{worker}"), held.collect());
            Command::Heartbeat { request, worker, capacity: *capacity, push: *push, held }
        }
        Step::Report { kind, task, older } => {
            let report = Report { request, task: name(*task), token: token(*task, *older) };
            match kind {
                0 => Command::Complete(report),
                1 => Command::Fail(report),
                _ => Command::Refuse(report),
            }
        }
        Step::Cancel(task) => Command::Cancel { task: name(*task) },
        Step::Expect(expected_ms) => Command::Expect(vec![Expected {
            kind: "kind".to_owned(),
            step: "D1".to_owned(),
            expected_ms: *expected_ms,
        }]),
    })
}

fn settings() -> Settings {
    Settings {
        heartbeat_timeout_ms: 1_000,
        accept_ms: 600,
        floor_ms: 1_200,
        factor: 3,
        lost_max: 3,
        refused_max: 3,
        undelivered_max: 3,
        finished_kept_ms: 4_000,
    }
}

/// A queue under watch.
#[derive(Clone)]
struct Watched {
    queue: Queue,
    watch: Watch,
    now: i64,
}

impl Watched {
    fn new() -> Self {
        let queue = Queue::new(settings());
        Self { watch: Watch::new(&queue), queue, now: 1_000_000 }
    }

    fn go(&mut self, step: &Step) -> Result<Vec<Effect>, TestCaseError> {
        if let Step::Pass(ms) = step {
            self.now += ms;
        }
        let mut done = self.watch.tick(&mut self.queue, self.now).map_err(TestCaseError::fail)?;
        if let Some(command) = command(step, &self.queue, self.now) {
            done.extend(self.tell(command)?);
        }
        Ok(done)
    }

    fn tell(&mut self, command: Command) -> Result<Vec<Effect>, TestCaseError> {
        self.watch.apply(&mut self.queue, command, self.now).map_err(TestCaseError::fail)
    }

    /// The same queue, from what is in the changelog.
    fn restored(&self, backwards: bool) -> Self {
        let mut queue = Queue::new(settings());
        let mut entries: Vec<_> = self.watch.log.values().cloned().collect();
        if backwards {
            entries.reverse();
        }
        entries.into_iter().for_each(|entry| queue.restore(entry));
        Self { queue, ..self.clone() }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// All that [`Watch`] knows: one lease a task, first in first out, growing tokens, capacity, stale tokens, no limbo, exact changes.
    #[test]
    fn a_queue_keeps_its_promises(steps in proptest::collection::vec(step(), 1..120)) {
        let mut watched = Watched::new();
        for step in &steps {
            watched.go(step)?;
        }
    }

    #[test]
    fn a_queue_that_is_restored_after_any_command_goes_on_alike(
        steps in proptest::collection::vec(step(), 1..80),
        cut in any::<prop::sample::Index>(),
        backwards in any::<bool>(),
    ) {
        let (before, after) = steps.split_at(cut.index(steps.len()));
        let mut watched = Watched::new();
        for step in before {
            watched.go(step)?;
        }
        let mut restored = watched.restored(backwards);
        prop_assert_eq!(&restored.queue, &watched.queue);
        for step in after {
            prop_assert_eq!(restored.go(step)?, watched.go(step)?);
            prop_assert_eq!(&restored.queue, &watched.queue);
            prop_assert_eq!(restored.queue.due(), watched.queue.due());
        }
    }

    /// When all fall silent but one that works, every task ends.
    #[test]
    fn one_worker_that_serves_finishes_everything(steps in proptest::collection::vec(step(), 1..80)) {
        let mut watched = Watched::new();
        for step in &steps {
            watched.go(step)?;
        }
        for _ in 0..40 {
            watched.go(&Step::Pass(300))?;
            let ask = Command::Request { request: "r".to_owned(), worker: "good".to_owned(), capacity: 1, wait_until: 0 };
            for effect in watched.tell(ask)? {
                if let Effect::Assigned { task, lease, request: Some(request), .. } = effect && request == "r" {
                    watched.tell(Command::Complete(Report { request, task, token: lease.token }))?;
                }
            }
        }
        prop_assert_eq!((watched.queue.pending(), watched.queue.leased()), (0, 0));
    }
}
