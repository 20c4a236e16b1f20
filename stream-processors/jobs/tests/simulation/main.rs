//! Simulation of the shipped stages on the simulated log: crashes, zombies, rebalances, lost and late commits, clocks and
//! views that fail, all from a seed; every invariant checked exactly once the run has come to rest.
//!
//! Each run of the tests replays the seeds of `regressions.txt`, then tries fresh ones for `TIDEMARK_SIM_SECONDS` (60) from
//! the seed that it prints on, or from `TIDEMARK_SIM_SEED`. `TIDEMARK_SIM_ONLY` runs one seed alone. A seed that fails is
//! printed with the command that repeats it and with the shortest schedule that still fails.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod check;
mod events;
mod job;
mod joins;
mod reference;
#[path = "../support/registry.rs"]
mod registry;
mod rest;
mod run;
mod schedule;
mod seat;
mod sessions;
mod shrink;
mod threads;
mod views;
mod world;

use std::time::{Duration, Instant};

use run::Totals;
use schedule::Schedule;

/// Seeds that failed once, each with a word on why.
const REGRESSIONS: &str = include_str!("regressions.txt");
/// Seeds each second that a run must at least come to, on a machine that does much else.
const SEEDS_PER_SECOND_MIN: u64 = 5;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let digits = text.strip_prefix("0x");
    let parsed = digits.map_or_else(|| text.parse(), |digits| u64::from_str_radix(digits, 16));
    Some(parsed.unwrap_or_else(|_| panic!("{name} is {text:?}, which is no number")))
}

fn try_seed(seed: u64, totals: &mut Totals) {
    let schedule = Schedule::of(seed);
    if let Err(failure) = run::run(&schedule, totals) {
        let (shortest, failure_then) = shrink::shrink(schedule, failure.clone());
        panic!(
            "seed {seed:#x} fails: {failure}\n\nshortest schedule that fails:\n{}\nwith: {failure_then}\n\nrepeat it: \
             TIDEMARK_SIM_ONLY={seed:#x} cargo test -p tidemark-jobs --test simulation\nand add the seed to \
             stream-processors/jobs/tests/simulation/regressions.txt",
            shrink::print(&shortest)
        );
    }
}

/// Else a seed that fails could not be repeated.
#[test]
fn a_seed_gives_the_same_run_each_time() {
    let run = |seed| {
        let mut totals = Totals::default();
        (run::run(&Schedule::of(seed), &mut totals), format!("{totals:?}"))
    };
    for seed in 0..40 {
        assert_eq!(run(seed), run(seed), "seed {seed:#x}");
    }
    assert_ne!(run(1), run(2));
}

#[test]
fn every_seed_is_exact() {
    let mut totals = Totals::default();
    if let Some(seed) = number("TIDEMARK_SIM_ONLY") {
        return try_seed(seed, &mut totals);
    }
    for line in REGRESSIONS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let seed = line.split_whitespace().next().and_then(|seed| seed.strip_prefix("0x"));
        let seed = seed.and_then(|seed| u64::from_str_radix(seed, 16).ok());
        try_seed(seed.unwrap_or_else(|| panic!("regressions.txt: {line:?} does not begin with a seed")), &mut totals);
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let first = number("TIDEMARK_SIM_SEED").unwrap_or(now.as_nanos() as u64);
    let seconds = number("TIDEMARK_SIM_SECONDS").unwrap_or(60);
    println!("seeds from {first:#x} on, for {seconds} s");
    let began = Instant::now();
    let mut seed = first;
    while began.elapsed() < Duration::from_secs(seconds) {
        try_seed(seed, &mut totals);
        seed = seed.wrapping_add(1);
    }
    let seeds = seed.wrapping_sub(first);
    println!("{seeds} seeds: {totals:#?}");
    assert!(seeds >= seconds * SEEDS_PER_SECOND_MIN, "only {seeds} seeds in {seconds} s");
    totals.assert_floors(seeds);
}
