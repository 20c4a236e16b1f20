//! Says to the service that the worker lives, which leases it holds and at which step each is; hears which of them are over.

use std::time::Duration;

use crate::usage::{Meter, memory_bytes};
use crate::wire::{HeartbeatBody, HeldLease};
use crate::worker::Shared;

/// Heartbeats are never closer together, however many tasks and steps begin: what is done before the next one needs none.
const GAP: Duration = Duration::from_millis(200);

/// Runs until the worker is over. The first heartbeat goes out at once, one more when a task begins or comes to another
/// step, and when the worker is to stop.
pub(crate) fn run(shared: &Shared) {
    let mut meter = Meter::new();
    while !shared.is_over() {
        let stopping = shared.stop.asked() > 0;
        beat(shared, &mut meter, if stopping { 0 } else { shared.settings.capacity });
        if stopping {
            shared.said_goodbye();
        }
        std::thread::sleep(GAP);
        shared.hand.wait(shared.settings.heartbeat.saturating_sub(GAP));
    }
}

fn beat(shared: &Shared, meter: &mut Meter, capacity: usize) {
    let held = shared.hand.all();
    let steps: Vec<i32> = held.iter().filter_map(|held| held.running.pid()).collect();
    let tasks =
        held.iter().map(|held| HeldLease { task_id: held.task_id.clone(), token: held.token, step: held.step() });
    let body = HeartbeatBody {
        worker: &shared.worker,
        capacity,
        memory_bytes: memory_bytes(&steps),
        cpu_percent: meter.percent(&steps),
        tasks: tasks.collect(),
    };
    let answer = shared.client.heartbeat(&shared.settings.queue, &body);
    shared.heard("heartbeat", answer.as_ref().err());
    for revoked in answer.unwrap_or_default() {
        if shared.hand.revoke(&revoked.task_id, revoked.token) {
            tracing::warn!(task = revoked.task_id, token = revoked.token, "the lease is revoked: the task is given up");
        }
    }
}
