//! Faults on real servers, against the shipped binary: after each, every row of the view store equals a fold of the source
//! topic, record by record, and every count adds up.
//!
//! `make test` runs each fault a few times, `make faults` as often as `docs/faults.md` says, which that run writes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    unreachable_pub,
    reason = "a test fails by panicking; modules of one binary"
)]

mod content;
mod long;
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

use content::Shape;
use publisher::Load;
use report::Row;
use trap::Loss;
use trials::Recoveries;
use world::{Settings, World};

fn settings() -> Settings {
    let seed = (tidemark_log::system_clock())() as u64;
    let seed = std::env::var("TIDEMARK_FAULTS_SEED").map_or(seed, |seed| seed.parse().unwrap());
    let load = Load { shape: Shape::Ordinary, records_per_second: 2_000, poison_one_in: 300, repeat_one_in: 10 };
    Settings { seed, keys: 300, load, dedupe: true, gateway: false, partitions: 4 }
}

type Fault = (&'static str, fn(&mut World) -> Recoveries);

/// In one world, so that each fault meets what the ones before it left behind.
static FAULTS: [Fault; 11] = [
    ("kill", |world| world.kills(3)),
    ("kill at a step", |world| world.kills_at(&trials::STEPS)),
    ("kill in a restore", |world| world.kills_in_restore(1)),
    ("late EndTxn, silence", |world| late(world, Loss::Silence, 1)),
    ("late EndTxn, cut", |world| late(world, Loss::Cut, 2)),
    ("zombie", |world| world.zombies(1)),
    ("broker stop", |world| world.broker_stops(&[Duration::from_secs(5)])),
    ("broker kill", |world| world.broker_kills(1)),
    ("network cut", |world| world.network_cuts(&[Duration::from_secs(2)])),
    ("rebalance", |world| world.rebalances(2)),
    ("view store", |world| world.store_failures(Duration::from_secs(4), Duration::from_secs(4))),
];

/// `TIDEMARK_FAULTS_ONLY=kill|zombie` runs those alone whose name contains one of the words.
#[test]
fn every_fault_a_few_times_is_exact() {
    let only = std::env::var("TIDEMARK_FAULTS_ONLY").unwrap_or_default();
    let chosen = |name: &str| only.split('|').any(|only| name.contains(only));
    let mut world = World::start(settings());
    let mut records = 0;
    for (fault, inject) in FAULTS.iter().filter(|(name, _)| chosen(name)) {
        let recoveries = inject(&mut world);
        let verdict = world.rest();
        let row = Row { fault, recoveries, records: verdict.records - records, verdict };
        row.print();
        assert!(row.verdict.wrong.is_empty(), "{fault}: {:#?}\n{}", row.verdict.wrong, world.logs());
        assert!(row.records > 0, "INV-5: {fault} was done while nothing happened");
        records = row.verdict.records;
    }
}

/// Through a gateway and its spool, with the broker gone and the gateway killed.
#[test]
fn what_a_gateway_took_is_counted_once() {
    let mut world = World::start(Settings { gateway: true, ..settings() });
    let mut records = 0;
    for (fault, inject) in &GATEWAY_FAULTS {
        let recoveries = inject(&mut world);
        let verdict = world.rest();
        let row = Row { fault, recoveries, records: verdict.records - records, verdict };
        row.print();
        assert!(row.verdict.wrong.is_empty(), "{fault}: {:#?}\n{}", row.verdict.wrong, world.logs());
        assert!(row.records > 0, "INV-5: {fault} was done while nothing happened");
        records = row.verdict.records;
    }
}

static GATEWAY_FAULTS: [Fault; 3] = [
    ("gateway: broker gone", |world| world.outages(&[Duration::from_secs(6)])),
    ("gateway: kill", |world| world.gateway_kills(2)),
    ("gateway: kill at a step", |world| world.gateway_kills_at(&trials::SPOOL_STEPS)),
];

fn late(world: &mut World, loss: Loss, trials: usize) -> Recoveries {
    let (recoveries, taken) = world.late_end_txns(loss, trials);
    assert_eq!(taken, 0, "the broker took {taken} of {trials} EndTxns that came late for a later transaction's");
    recoveries
}
