//! Faults on real servers, against the shipped binary: after each, every row of the view store equals a fold of the source
//! topic, record by record, and every count adds up.
//!
//! `make test` runs each fault a few times, `make faults` as often as `docs/faults.md` says, which that run writes.

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

use report::Row;
use trap::Loss;
use trials::Recoveries;
use world::{Settings, World};

type Fault = (&'static str, fn(&mut World) -> Recoveries);

/// In one world, so that each fault meets what the ones before it left behind.
static FAULTS: [Fault; 11] = [
    ("kill", |world| world.kills(3)),
    ("kill at a step", |world| world.kills_at(&trials::STEPS)),
    ("kill in a restore", |world| world.kills_in_restore(1)),
    ("late EndTxn, silence", |world| trials::late(world, Loss::Silence, 1)),
    ("late EndTxn, cut", |world| trials::late(world, Loss::Cut, 2)),
    ("zombie", |world| world.zombies(1)),
    ("broker stop", |world| world.broker_stops(&[Duration::from_secs(5)])),
    ("broker kill", |world| world.broker_kills(1)),
    ("network cut", |world| world.network_cuts(&[Duration::from_secs(2)])),
    ("rebalance", |world| world.rebalances(2)),
    ("view store", |world| world.store_failures(Duration::from_secs(4), Duration::from_secs(4))),
];

/// Injects one after the other and compares everything after each.
fn each<'f>(mut world: World, faults: impl Iterator<Item = &'f Fault>) {
    let mut records = 0;
    for (fault, inject) in faults {
        let recoveries = inject(&mut world);
        let verdict = world.rest();
        let row = Row { fault, recoveries, records: verdict.records - records, verdict };
        row.print();
        assert!(row.verdict.wrong.is_empty(), "{fault}: {:#?}\n{}", row.verdict.wrong, world.logs());
        assert!(row.records > 0, "INV-5: {fault} was done while nothing happened");
        records = row.verdict.records;
    }
}

/// `TIDEMARK_FAULTS_ONLY=kill|zombie` runs those alone whose name contains one of the words.
#[test]
fn every_fault_a_few_times_is_exact() {
    let only = std::env::var("TIDEMARK_FAULTS_ONLY").unwrap_or_default();
    let chosen = |name: &str| only.split('|').any(|only| name.contains(only));
    assert!(FAULTS.iter().any(|(name, _)| chosen(name)), "TIDEMARK_FAULTS_ONLY={only} names no fault");
    each(World::start(trials::settings()), FAULTS.iter().filter(|(name, _)| chosen(name)));
}

/// A tenth of what `make faults` does, and neither a million keys nor 200 partitions.
#[test]
fn every_overload_is_bounded_and_exact() {
    overload::each_kind(1);
}

/// Through a gateway and its spool, with the broker gone and the gateway killed.
#[test]
fn what_a_gateway_took_is_counted_once() {
    each(World::start(Settings { gateway: true, ..trials::settings() }), GATEWAY_FAULTS.iter());
}

static GATEWAY_FAULTS: [Fault; 3] = [
    ("gateway: broker gone", |world| world.outages(&[Duration::from_secs(6)])),
    ("gateway: kill", |world| world.gateway_kills(2)),
    ("gateway: kill at a step", |world| world.gateway_kills_at(&trials::SPOOL_STEPS)),
];
