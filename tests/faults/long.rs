//! `make faults`: each fault often enough to say something, with a world of its own. `TRIALS=n` makes at most n trials of each.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    dead_code,
    unreachable_pub,
    reason = "a test fails by panicking; modules of two binaries"
)]

mod content;
mod overload;
mod publisher;
mod random;
mod reference;
mod report;
mod rest;
mod target;
mod trap;
mod trials;
mod world;

use std::time::Duration;

use publisher::Load;
use report::Row;
use rest::Verdict;
use trap::Loss;
use trials::{Recoveries, SPOOL_STEPS, STEPS};
use world::{Settings, World};

/// Everything is run to rest and compared after so many trials.
const TRIALS_PER_REST: usize = 10;
/// What a process is told its failpoint by.
const FAILPOINT: &[u8] = b"TIDEMARK_FAILPOINT";
/// How long everything may take to come out: after minutes of outage that is many records.
const REST: Duration = Duration::from_secs(900);

fn run(fault: &'static str, trials: usize, once: impl FnMut(&mut World, usize) -> Recoveries) {
    run_with(trials::settings(), fault, trials, once);
}

/// Runs a fault in slices with a comparison after each, and keeps the row also when it is wrong.
fn run_with(
    settings: Settings,
    fault: &'static str,
    trials: usize,
    mut once: impl FnMut(&mut World, usize) -> Recoveries,
) {
    let most = std::env::var("TRIALS").map_or(usize::MAX, |trials| trials.parse().unwrap());
    let trials = trials.min(most);
    let mut world = World::start(Settings { recovery_max: trials::RECOVERY_MAX, ..settings });
    let before = world.rest();
    let mut row = Row { fault, recoveries: Vec::new(), records: 0, verdict: before.clone() };
    while row.recoveries.len() < trials && row.verdict.wrong.is_empty() {
        let left = trials - row.recoveries.len();
        // What a slice that does not come back leaves behind.
        row.verdict.wrong = vec!["the run was cut short".to_owned()];
        row.save(&world);
        row.recoveries.extend(once(&mut world, left.min(TRIALS_PER_REST)));
        row.verdict = world.rest_within(REST);
        row.records = row.verdict.records - before.records;
        row.print();
        row.save(&world);
    }
    let Verdict { wrong, .. } = &row.verdict;
    assert!(row.records > 0, "INV-5: {fault} was done while nothing happened");
    assert!(wrong.is_empty(), "{fault}: {wrong:#?}\n{}", world.logs());
}

/// Lengths of a fault that grows, of which the first `trials` are taken.
fn lengths(seconds: &[u64], trials: usize) -> Vec<Duration> {
    seconds.iter().copied().cycle().take(trials).map(Duration::from_secs).collect()
}

#[test]
fn kill() {
    run("kill -9 at any moment", 100, |world, trials| world.kills(trials));
}

#[test]
fn kill_at_a_step() {
    let mut steps = STEPS.iter().cycle();
    run("kill -9 at a step of a commit", 100, move |world, trials| {
        let steps: Vec<&str> = steps.by_ref().take(trials).copied().collect();
        world.kills_at(&steps)
    });
}

#[test]
fn kill_in_a_restore() {
    run("kill -9 in a restore, twice", 20, |world, trials| world.kills_in_restore(trials));
}

#[test]
fn late_end_txn_silence() {
    run("late EndTxn, no answer", 50, |world, trials| trials::late(world, Loss::Silence, trials));
}

#[test]
fn late_end_txn_cut() {
    run("late EndTxn, connection cut", 50, |world, trials| trials::late(world, Loss::Cut, trials));
}

#[test]
fn zombie() {
    run("zombie (SIGSTOP past the session)", 50, |world, trials| world.zombies(trials));
}

#[test]
fn broker_kill() {
    run("broker kill -9", 20, |world, trials| world.broker_kills(trials));
}

#[test]
fn broker_stop() {
    run("broker SIGSTOP 5, 20, 70 s", 9, |world, trials| world.broker_stops(&lengths(&[5, 20, 70], trials)));
}

#[test]
fn network_cut() {
    run("network cut 2, 8, 30 s, then slow", 12, |world, trials| world.network_cuts(&lengths(&[2, 8, 30], trials)));
}

#[test]
fn rebalance() {
    run("rebalance: a process joins and leaves", 30, |world, trials| world.rebalances(trials));
}

#[test]
fn view_store() {
    run("view store down 3 min, then slow", 1, |world, _| {
        world.store_failures(Duration::from_secs(180), Duration::from_secs(60))
    });
}

#[test]
fn graceful_stop() {
    run("graceful stop of one of three processes", 30, |world, trials| {
        let recoveries = world.graceful_stops(trials);
        let mut sorted = recoveries.clone();
        sorted.sort_unstable();
        assert!(sorted[sorted.len() / 2] < Duration::from_secs(2), "{sorted:?}");
        recoveries
    });
}

#[test]
fn overload_of_each_kind() {
    overload::each_kind(10);
}

#[test]
fn overload_million_keys() {
    overload::million_keys();
}

#[test]
fn overload_partitions() {
    overload::many_partitions();
}

fn through_a_gateway() -> Settings {
    Settings { gateway: true, ..trials::settings() }
}

#[test]
fn gateway_kill() {
    run_with(through_a_gateway(), "gateway: kill -9 at any moment", 50, |world, trials| world.gateway_kills(trials));
}

#[test]
fn gateway_kill_at_a_step() {
    let mut steps = SPOOL_STEPS.iter().cycle();
    run_with(through_a_gateway(), "gateway: kill -9 between fsync and trim", 40, move |world, trials| {
        let steps: Vec<&str> = steps.by_ref().take(trials).copied().collect();
        world.gateway_kills_at(&steps)
    });
}

#[test]
fn gateway_outage() {
    run_with(through_a_gateway(), "gateway: broker gone 6, 20, 70 s", 6, |world, trials| {
        world.outages(&lengths(&[6, 20, 70], trials))
    });
}

/// As fast as the figures of the platform say, which an unoptimised build is not: run with `--release`.
#[test]
fn outage_of_five_minutes() {
    let binary = std::fs::read(env!("CARGO_BIN_EXE_tidemark")).unwrap();
    let armed = binary.windows(FAILPOINT.len()).any(|bytes| bytes == FAILPOINT);
    assert_eq!(armed, cfg!(debug_assertions), "a release build has no failpoints, others have");
    let ordinary = through_a_gateway();
    let load = Load { records_per_second: 50_000, repeat_one_in: 0, poison_one_in: 0, ..ordinary.load };
    let settings = Settings { load, dedupe: false, ..ordinary };
    run_with(settings, "gateway: broker gone 5 min at 50,000 records a second", 1, |world, _| {
        world.outages(&[Duration::from_secs(300)])
    });
}
