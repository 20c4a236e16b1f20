//! What tells one state of a world from another: times count from now, of places and tokens only the order counts, and of a finished
//! task nothing but that it is. Two states that are equal so go on alike.

use std::collections::BTreeSet;

use tidemark_core::dispatch::{Entry, TaskEntry};

use super::{Say, State, WORKERS, place};

pub(super) fn of(state: &State) -> Vec<i64> {
    let ranks = Ranks::of(state);
    let mut id = vec![i64::from(state.broken.is_some())];
    for entry in state.watch.log.values() {
        match entry {
            Entry::Queue(_) => {}
            Entry::Task(task) => id.extend(of_task(task, &ranks, state.now)),
            Entry::Worker(worker) => {
                id.extend([100, index(place(&WORKERS, &worker.worker)), state.now - worker.last_heartbeat])
            }
            Entry::Request(request) => {
                let worker = index(place(&WORKERS, &request.worker));
                id.extend([200, worker, rank(&ranks.places, request.place), request.wait_until - state.now]);
            }
        }
    }
    for holds in state.holds {
        id.push(300);
        id.extend(holds.into_iter().flat_map(|(task, token)| [index(task), rank(&ranks.tokens, token)]));
    }
    for (worker, say) in &state.delayed {
        id.extend([400, index(*worker)]);
        id.extend(of_say(*say, &ranks));
    }
    id
}

/// Places and tokens that are named anywhere, in order.
#[derive(Default)]
struct Ranks {
    places: BTreeSet<i64>,
    tokens: BTreeSet<i64>,
}

impl Ranks {
    fn of(state: &State) -> Self {
        let mut ranks = Self::default();
        for entry in state.watch.log.values() {
            match entry {
                Entry::Task(task) if task.finished.is_none() => {
                    ranks.tokens.insert(task.token);
                    ranks.places.insert(task.place);
                }
                Entry::Request(request) => drop(ranks.places.insert(request.place)),
                Entry::Task(_) | Entry::Queue(_) | Entry::Worker(_) => {}
            }
        }
        ranks.tokens.extend(state.holds.iter().flatten().map(|(_, token)| token));
        ranks.tokens.extend(state.delayed.iter().filter_map(|(_, say)| about(*say).map(|(_, token)| token)));
        ranks
    }
}

fn rank(set: &BTreeSet<i64>, value: i64) -> i64 {
    index(set.range(..value).count())
}

fn index(place: usize) -> i64 {
    i64::try_from(place).unwrap()
}

fn of_task(task: &TaskEntry, ranks: &Ranks, now: i64) -> Vec<i64> {
    if task.finished.is_some() {
        return vec![2];
    }
    let counts = [task.lost, task.undelivered, task.refused].map(i64::from);
    let mut id =
        vec![i64::from(task.worker.is_some()), rank(&ranks.places, task.place), rank(&ranks.tokens, task.token)];
    id.extend(counts);
    if let Some(worker) = &task.worker {
        // When it was leased counts until it is taken up.
        let age = if task.accepted { -1 } else { now - task.leased_at };
        id.extend([index(place(&WORKERS, worker)), age, task.deadline - now, index(task.step.len())]);
    }
    id
}

/// The task and the token that it is about.
fn about(say: Say) -> Option<(usize, i64)> {
    match say {
        Say::Ask => None,
        Say::Beat(task, token) | Say::Complete(task, token) | Say::Refuse(task, token) => Some((task, token)),
    }
}

fn of_say(say: Say, ranks: &Ranks) -> [i64; 3] {
    let kind = match say {
        Say::Ask => 0,
        Say::Beat(..) => 1,
        Say::Complete(..) => 2,
        Say::Refuse(..) => 3,
    };
    let (task, token) = about(say).map_or((0, 0), |(task, token)| (index(task), rank(&ranks.tokens, token)));
    [kind, task, token]
}
