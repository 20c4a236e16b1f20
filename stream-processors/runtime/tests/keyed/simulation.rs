//! Every fault of the simulated log, by seed; everything is checked once the run has come to rest.
//!
//! The seeds from 0 on are always played, fresh ones after them for `TIDEMARK_KEYED_SECONDS` (5), from the seed that is printed
//! on or from `TIDEMARK_KEYED_SEED`. `TIDEMARK_KEYED_ONLY` plays one seed alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use tidemark_log::simulated::Injected;

use crate::check::{Checked, check};
use crate::schedule::Schedule;
use crate::world::{Work, World};

/// Seeds that are played each time.
const SEEDS: u64 = 100;

#[derive(Debug, Default)]
struct Totals {
    checked: Checked,
    work: Work,
    injected: Injected,
}

fn play(schedule: &Schedule) -> Result<(Checked, Work, Injected), String> {
    let mut world = World::new(&schedule.config);
    schedule.actions.iter().try_for_each(|action| world.act(action))?;
    world.rest()?;
    let checked = check(&world.topics())?;
    Ok((checked, world.work, world.log.injected()))
}

fn try_seed(seed: u64, totals: &mut Totals) {
    let schedule = Schedule::of(seed);
    let played = catch_unwind(AssertUnwindSafe(|| play(&schedule))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(format!("panicked: {}", text.unwrap_or("no message")))
    });
    match played {
        Ok((checked, work, injected)) => totals.add(&checked, &work, &injected),
        Err(failure) => panic!(
            "seed {seed:#x} fails: {failure}\n{:?}\nrepeat it: TIDEMARK_KEYED_ONLY={seed:#x} cargo test -p tidemark-runtime \
             --test keyed simulation",
            schedule.config
        ),
    }
}

impl Totals {
    fn add(&mut self, checked: &Checked, work: &Work, injected: &Injected) {
        let Checked { records, ticks, dead, expired, entries, tombstones } = checked;
        self.checked.records += records;
        self.checked.ticks += ticks;
        self.checked.dead += dead;
        self.checked.expired += expired;
        self.checked.entries += entries;
        self.checked.tombstones += tombstones;
        let Work { steps, joins, errors, acknowledged } = work;
        self.work.steps += steps;
        self.work.joins += joins;
        self.work.errors += errors;
        self.work.acknowledged += acknowledged;
        self.injected.retriable += injected.retriable;
        self.injected.fenced += injected.fenced;
        self.injected.answer_lost += injected.answer_lost;
        self.injected.commit_lost += injected.commit_lost;
        self.injected.open += injected.open;
        self.injected.delayed += injected.delayed;
        self.injected.sync_fails += injected.sync_fails;
        self.injected.slow += injected.slow;
        self.injected.crashes += injected.crashes;
        self.injected.refused_late += injected.refused_late;
    }

    /// Runs that do nothing prove nothing.
    fn assert_floors(&self) {
        let Self { checked, work, injected } = self;
        let each = [
            ("records", checked.records, 10),
            ("ticks", checked.ticks, 1),
            ("dead letters", checked.dead, 1),
            ("accounts that expired", checked.expired, 2),
            ("entries", checked.entries, 1),
            ("tombstones", checked.tombstones, 1),
            ("steps", work.steps, 50),
            ("joins", work.joins, 2),
            ("errors", work.errors, 1),
            ("acknowledged records", work.acknowledged, 10),
        ];
        for (what, got, floor) in each {
            assert!(got >= SEEDS * floor, "{what}: {got} over {SEEDS} seeds, at least {floor} each are wanted");
        }
        let kinds = [
            injected.retriable,
            injected.fenced,
            injected.answer_lost,
            injected.commit_lost,
            injected.open,
            injected.delayed,
            injected.sync_fails,
            injected.slow,
            injected.crashes,
            injected.refused_late,
        ];
        assert!(kinds.iter().all(|&struck| struck > 0), "some fault never struck: {injected:?}");
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let digits = text.strip_prefix("0x");
    let parsed = digits.map_or_else(|| text.parse(), |digits| u64::from_str_radix(digits, 16));
    Some(parsed.unwrap_or_else(|_| panic!("{name} is {text:?}, which is no number")))
}

#[test]
fn every_seed_is_exact() {
    let mut totals = Totals::default();
    if let Some(seed) = number("TIDEMARK_KEYED_ONLY") {
        return try_seed(seed, &mut totals);
    }
    (0..SEEDS).for_each(|seed| try_seed(seed, &mut totals));
    totals.assert_floors();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let first = number("TIDEMARK_KEYED_SEED").unwrap_or(now.as_nanos() as u64);
    let seconds = number("TIDEMARK_KEYED_SECONDS").unwrap_or(5);
    println!("seeds from {first:#x} on, for {seconds} s");
    let (began, mut seed) = (Instant::now(), first);
    while began.elapsed() < Duration::from_secs(seconds) {
        try_seed(seed, &mut totals);
        seed = seed.wrapping_add(1);
    }
    println!("{} seeds: {totals:#?}", SEEDS + seed.wrapping_sub(first));
}

/// Else a seed that fails could not be repeated.
#[test]
fn a_seed_gives_the_same_run_each_time() {
    let run = |seed| format!("{:?}", play(&Schedule::of(seed)));
    for seed in 0..10 {
        assert_eq!(run(seed), run(seed), "seed {seed:#x}");
    }
    assert_ne!(run(1), run(2));
}
