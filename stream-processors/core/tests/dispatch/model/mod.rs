//! Every state of small worlds: two tasks, two workers that ask, take up, report, freeze, crash and come back with old tokens, over
//! a network that delays, repeats and drops what they say. Searched by `stateright`, breadth first, to the end.
//!
//! A world is finite because a state is told from another only by what can make a difference later ([`identity`]). Freezing needs
//! no action of its own: a worker that does nothing while time passes is frozen, and whatever it says then under its old lease it
//! says as a zombie.
//!
//! That every task ends is not asked as an `eventually` of stateright: it is unsound where paths join or run in circles, and
//! here they do (a worker may send heartbeats for ever). It is bounded instead, and checked in every state that can be reached: if
//! from now on one worker serves and the others are silent, all tasks are finished within [`BOUND`] units of time. What others do
//! meanwhile cannot put that off for ever: a task has at most `lost_max + undelivered_max + refused_max − 2` leases (judged with
//! each effect), each is over at a deadline that only a new step moves, and a task is never kept from a worker with room that asks
//! (`Watch` looks after both in each state).

mod identity;

use std::hash::{Hash, Hasher};

use stateright::{Checker, Model, Property};
use tidemark_core::dispatch::{
    Command, Effect, Entry, EntryKey, Failure, HeldLease, Queue, Report, Settings, TaskEntry,
};

use crate::watch::Watch;

const TASKS: [&str; 2] = ["a", "b"];
const WORKERS: [&str; 2] = ["v", "w"];
/// Units of time after which everything is finished when somebody serves: three leases of poison, of two units each, after one
/// that somebody else has still; and one to see it.
const BOUND: i64 = 9;

/// What kind of world it is.
#[derive(Debug, Clone)]
struct World {
    settings: Settings,
    /// Requests wait for a unit of time.
    waits: bool,
    /// Whoever takes task `a` up does nothing more but send heartbeats and crash.
    poison: bool,
    /// Messages under way at a time.
    delayed_max: usize,
}

#[derive(Debug, Clone)]
struct State {
    queue: Queue,
    watch: Watch,
    now: i64,
    /// Task and token that each worker believes to hold.
    holds: [Option<(usize, i64)>; 2],
    /// What is under way.
    delayed: Vec<Message>,
    broken: Option<String>,
    id: Vec<i64>,
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.id.hash(hasher);
    }
}

/// Who says what.
type Message = (usize, Say);

/// What a worker says, of which task and under which token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Say {
    Ask,
    Beat(usize, i64),
    Complete(usize, i64),
    Refuse(usize, i64),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Action {
    /// A unit of time passes.
    Pass,
    /// A message arrives, and its answer too.
    Send(Message),
    /// It is under way, and its sender gives the answer up.
    Delay(Message),
    /// What was under way arrives, perhaps not for the last time.
    Arrive { place: usize, again: bool },
    /// A worker forgets what it holds.
    Crash(usize),
}

impl State {
    fn new(world: &World) -> Self {
        let queue = Queue::new(world.settings.clone());
        let watch = Watch::new(&queue);
        let mut state =
            Self { queue, watch, now: 0, holds: [None; 2], delayed: Vec::new(), broken: None, id: Vec::new() };
        for task in TASKS {
            state.tell(world, Command::Submit { task: task.to_owned(), kind: String::new() });
        }
        state.id = identity::of(&state);
        state
    }

    fn tell(&mut self, world: &World, command: Command) -> Vec<Effect> {
        let effects = self.watch.apply(&mut self.queue, command, self.now);
        self.note(world, effects)
    }

    fn pass(&mut self, world: &World) -> Vec<Effect> {
        self.now += 1;
        let effects = self.watch.tick(&mut self.queue, self.now);
        self.note(world, effects)
    }

    fn note(&mut self, world: &World, effects: Result<Vec<Effect>, String>) -> Vec<Effect> {
        let judged = effects.and_then(|effects| match effects.iter().find(|effect| !self.may_be(world, effect)) {
            Some(effect) => Err(format!("must not be: {effect:?}")),
            None => Ok(effects),
        });
        judged.unwrap_or_else(|broken| {
            self.broken = Some(broken);
            Vec::new()
        })
    }

    /// Leases are bounded, and poison ends by so many leases that were lost, not before and not otherwise. Judged with each effect and
    /// not as a property of states, as states with a finished task are not told apart by how it has ended.
    fn may_be(&self, world: &World, effect: &Effect) -> bool {
        let Settings { lost_max, undelivered_max, refused_max, .. } = world.settings;
        let poison = |task: &String| world.poison && task == TASKS[0];
        match effect {
            Effect::Assigned { lease, .. } => lease.attempt <= lost_max + undelivered_max + refused_max - 2,
            Effect::Completed { task, .. } => !poison(task),
            Effect::Failed { task, why, .. } if poison(task) => {
                let lost = |entry: &TaskEntry| entry.lost == lost_max || entry.undelivered == undelivered_max;
                matches!(why, Failure::Lost(_)) && self.entry(task).is_some_and(lost)
            }
            _ => true,
        }
    }

    fn say(&mut self, world: &World, (worker, say): Message) -> Vec<Effect> {
        let name = WORKERS[worker];
        self.tell(
            world,
            match say {
                Say::Ask => ask(name, self.now + i64::from(world.waits)),
                Say::Beat(task, token) => beat(name, TASKS[task], token),
                Say::Complete(task, token) => Command::Complete(report(TASKS[task], token)),
                Say::Refuse(task, token) => Command::Refuse(report(TASKS[task], token)),
            },
        )
    }

    /// Who is given a task holds it, but for those that have given the answer up.
    fn hear(&mut self, effects: &[Effect], given_up: Option<usize>) {
        for effect in effects {
            let Effect::Assigned { task, lease, .. } = effect else { continue };
            let worker = place(&WORKERS, &lease.worker);
            if given_up != Some(worker) {
                self.holds[worker] = Some((place(&TASKS, task), lease.token));
            }
        }
    }

    fn entry(&self, task: &str) -> Option<&TaskEntry> {
        let entry = self.watch.log.get(&EntryKey::Task(task.to_owned()))?;
        if let Entry::Task(entry) = entry { Some(entry) } else { None }
    }

    /// How a task has ended.
    fn ended(&self, task: &str) -> Option<&str> {
        self.entry(task)?.finished.as_deref()
    }

    /// Whether all ends if from now on nothing that is under way arrives and one worker serves. Of poison it never has more to say
    /// than that it has taken it up.
    fn ends_when_served(&self, world: &World) -> bool {
        let mut queue = self.queue.clone();
        let mut out = Vec::new();
        for now in self.now..self.now + BOUND {
            queue.tick(now, &mut out);
            out.clear();
            queue.apply(ask("good", now), now, &mut out);
            for effect in std::mem::take(&mut out) {
                let Effect::Assigned { task, lease, .. } = effect else { continue };
                let poisoned = world.poison && task == TASKS[0];
                let done = Command::Complete(report(&task, lease.token));
                queue.apply(if poisoned { beat("good", &task, lease.token) } else { done }, now, &mut out);
            }
            if queue.pending() == 0 && queue.leased() == 0 {
                return true;
            }
        }
        false
    }
}

fn place(names: &[&str], name: &str) -> usize {
    names.iter().position(|other| *other == name).unwrap()
}

/// A worker has one name for its requests: as long as it has a lease for it, that is the answer again.
fn ask(worker: &str, wait_until: i64) -> Command {
    let capacity = if worker == "good" { 2 } else { 1 };
    let request = if worker == "good" { format!("good-{wait_until}") } else { worker.to_owned() };
    Command::Request { request, worker: worker.to_owned(), capacity, wait_until }
}

fn beat(worker: &str, task: &str, token: i64) -> Command {
    let held = vec![HeldLease { task_id: task.to_owned(), token, step: "D1".to_owned() }];
    let capacity = if worker == "good" { 2 } else { 1 };
    Command::Heartbeat { request: "beat".to_owned(), worker: worker.to_owned(), capacity, push: false, held }
}

fn report(task: &str, token: i64) -> Report {
    Report { request: "report".to_owned(), task: task.to_owned(), token }
}

impl World {
    /// What a worker may say now.
    fn words(&self, holds: Option<(usize, i64)>) -> Vec<Say> {
        match holds {
            None => vec![Say::Ask],
            Some((task, token)) if self.poison && task == 0 => vec![Say::Beat(task, token)],
            Some((task, token)) => vec![Say::Beat(task, token), Say::Complete(task, token), Say::Refuse(task, token)],
        }
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.push(Action::Pass);
        for (worker, holds) in state.holds.iter().enumerate() {
            for say in self.words(*holds) {
                actions.push(Action::Send((worker, say)));
                // Workers are alike: it is enough that one of them has a bad line.
                if worker == 0 && state.delayed.len() < self.delayed_max {
                    actions.push(Action::Delay((worker, say)));
                }
            }
            // With a bad line, who gives up an answer has forgotten it as one does that crashes.
            actions.extend(holds.filter(|_| self.delayed_max == 0).map(|_| Action::Crash(worker)));
        }
        for place in 0..state.delayed.len() {
            actions.extend([true, false].map(|again| Action::Arrive { place, again }));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Pass => {
                let effects = state.pass(self);
                state.hear(&effects, None);
            }
            Action::Send((worker, say)) => {
                let effects = state.say(self, (worker, say));
                let revoked = effects.iter().any(|e| matches!(e, Effect::Alive { revoked, .. } if !revoked.is_empty()));
                if revoked || matches!(say, Say::Complete(..) | Say::Refuse(..)) {
                    state.holds[worker] = None;
                }
                state.hear(&effects, None);
            }
            Action::Delay(message) => state.delayed.push(message),
            Action::Arrive { place, again } => {
                let message = if again { state.delayed[place] } else { state.delayed.remove(place) };
                let effects = state.say(self, message);
                state.hear(&effects, Some(message.0));
            }
            Action::Crash(worker) => state.holds[worker] = None,
        }
        state.id = identity::of(&state);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("the queue keeps its promises", |_, state: &State| state.broken.is_none()),
            Property::always("every task ends when somebody serves", |world: &World, state: &State| {
                state.ends_when_served(world)
            }),
            Property::sometimes("all is finished", |_, state: &State| {
                TASKS.iter().all(|task| state.ended(task).is_some())
            }),
            Property::sometimes("a task has its last lease", |world: &World, state: &State| {
                let entry = state.entry(TASKS[0]).filter(|entry| entry.worker.is_some());
                entry.is_some_and(|entry| entry.lost == world.settings.lost_max - 1)
            }),
        ]
    }
}

fn settings(lost_max: i32, undelivered_max: i32, refused_max: i32) -> Settings {
    let finished_kept_ms = i64::MAX;
    let (heartbeat_timeout_ms, accept_ms, floor_ms, factor) = (2, 1, 2, 1);
    Settings {
        heartbeat_timeout_ms,
        accept_ms,
        floor_ms,
        factor,
        lost_max,
        refused_max,
        undelivered_max,
        finished_kept_ms,
    }
}

fn check(world: World) {
    let started = std::time::Instant::now();
    let checker = world.checker().threads(2).spawn_bfs().join();
    println!("{} states, depth {}, {:?}", checker.unique_state_count(), checker.max_depth(), started.elapsed());
    checker.assert_properties();
}

#[test]
fn workers_that_freeze_and_crash() {
    check(World { settings: settings(2, 2, 1), waits: false, poison: false, delayed_max: 0 });
}

#[test]
fn requests_that_wait() {
    check(World { settings: settings(2, 1, 2), waits: true, poison: false, delayed_max: 0 });
}

#[test]
fn messages_that_are_late_and_come_twice() {
    check(World { settings: settings(2, 1, 1), waits: false, poison: false, delayed_max: 1 });
}

#[test]
fn a_poison_task() {
    check(World { settings: settings(3, 1, 1), waits: false, poison: true, delayed_max: 0 });
}
