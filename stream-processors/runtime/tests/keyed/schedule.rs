//! What happens in a run: drawn from a seed before it begins.

use tidemark_log::simulated::{Dice, Faults};

/// What a run is made of.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) partitions: u32,
    pub(crate) processes: usize,
    pub(crate) threads: usize,
    pub(crate) commit_interval_ms: i64,
    /// The wall clock is set back now and then.
    pub(crate) jumps_back: bool,
    pub(crate) faults: Faults,
}

/// One action; the seed decides everything within it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Action {
    pub(crate) kind: Kind,
    pub(crate) seed: u64,
    /// Whether the log may fail in it.
    pub(crate) faulty: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A publisher sends so many commands.
    Produce(u32),
    /// Stages take so many steps.
    Step(u32),
    /// Every stage of a process takes a step.
    Turn(usize),
    /// So many milliseconds go by.
    Pass(u64),
    /// The wall clock jumps.
    Jump(i64),
    /// A process is killed.
    Crash(usize),
    /// A process that is down starts.
    Start(usize),
    /// A process ends gracefully.
    Stop(usize),
    /// A process stands still for so many milliseconds.
    Freeze(usize, u64),
    /// The log loses power.
    CrashLog,
    /// Retention and compaction.
    Maintain,
}

/// A run, ready to be played.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    pub(crate) config: Config,
    pub(crate) actions: Vec<Action>,
}

fn rate(dice: &mut Dice, most: u64) -> u32 {
    if dice.strikes(450) { dice.below(most) as u32 + 1 } else { 0 }
}

fn faults(dice: &mut Dice) -> Faults {
    let poll_records = [0, 1, 3, 10][dice.below(4) as usize];
    // Now and then one fault alone, and often: what needs it twice in a row comes up.
    if dice.strikes(300) {
        let often = 150 + dice.below(350) as u32;
        let alone = Faults { poll_records, ..Faults::default() };
        return match dice.below(5) {
            0 => Faults { open: often, ..alone },
            1 => Faults { delayed: often, ..alone },
            2 => Faults { answer_lost: often, ..alone },
            3 => Faults { commit_lost: often, ..alone },
            _ => Faults { fenced: often, ..alone },
        };
    }
    Faults {
        retriable: rate(dice, 30),
        fenced: rate(dice, 40),
        answer_lost: rate(dice, 80),
        commit_lost: rate(dice, 80),
        open: rate(dice, 120),
        delayed: rate(dice, 120),
        sync_fails: rate(dice, 15),
        slow: rate(dice, 15),
        slow_ms: [200, 3_000, 9_000][dice.below(3) as usize],
        poll_records,
    }
}

impl Schedule {
    /// The run of a seed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let config = Config {
            partitions: dice.below(3) as u32 + 1,
            processes: dice.below(3) as usize + 1,
            threads: if dice.strikes(250) { 2 } else { 1 },
            commit_interval_ms: [0, 5, 300][dice.below(3) as usize],
            jumps_back: dice.strikes(400),
            faults: faults(&mut dice),
        };
        let length = 40 + dice.below(80);
        let actions =
            (0..length).map(|_| Action { kind: kind(&mut dice, &config), seed: dice.any(), faulty: dice.strikes(900) });
        let actions = actions.collect();
        Self { config, actions }
    }
}

fn kind(dice: &mut Dice, config: &Config) -> Kind {
    let process = dice.below(config.processes as u64) as usize;
    let back = if config.jumps_back { 2_000 } else { 0 };
    match dice.below(1_000) {
        0..230 => Kind::Produce(dice.below(6) as u32 + 1),
        230..560 => Kind::Step(dice.below(16) as u32 + 1),
        560..710 => Kind::Turn(process),
        710..790 => Kind::Pass(dice.below(4_000)),
        790..805 => Kind::Pass(6_000 + dice.below(20_000)),
        805..825 => Kind::Jump(dice.below(4_000) as i64 - back),
        825..860 => Kind::Crash(process),
        860..920 => Kind::Start(process),
        920..940 => Kind::Stop(process),
        940..960 => Kind::Freeze(process, dice.below(15_000)),
        960..970 => Kind::CrashLog,
        _ => Kind::Maintain,
    }
}
