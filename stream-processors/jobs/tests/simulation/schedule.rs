//! What happens in a run: drawn from a seed before it begins, so that a failing one can be cut down action by action.

use std::fmt;

use tidemark_log::simulated::{Dice, Faults};

use tidemark_jobs::flows::TOPIC;

use crate::job::{GRACE_MS, MAX_FUTURE_MS, MORE};

/// What a run is made of.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) source_partitions: u32,
    pub(crate) merge_partitions: u32,
    pub(crate) processes: usize,
    pub(crate) threads: usize,
    pub(crate) commit_interval_ms: i64,
    pub(crate) hold: bool,
    pub(crate) amend_for_ms: i64,
    pub(crate) idle_after_ms: i64,
    pub(crate) dedupe_ms: Option<i64>,
    pub(crate) faults: Faults,
    pub(crate) views: ViewFaults,
    /// Merge state is kept on the disk of each process too.
    pub(crate) local: Option<Local>,
    /// Windows are sessions with this gap. The wall clock of such a run is [`FAST`] times as fast, and every time that goes by
    /// it as much longer: the buckets of sessions are hours.
    pub(crate) gap_ms: Option<i64>,
    /// Records are joined with a table. The clock of such a run is never set back: tables are promised only where clocks agree.
    pub(crate) joins: bool,
    /// The job reads a second topic.
    pub(crate) second: bool,
}

/// How much faster the wall clock is in runs with sessions.
pub(crate) const FAST: i64 = 60;
/// How many runs of 1,000 have sessions.
const SESSIONS: u32 = 300;
/// Which of them: drawn apart, so that all other runs stay what they are. No seed of `regressions.txt` is among them.
const SESSIONS_SEED: u64 = 0x5e55_1024;
/// How many runs of 1,000 have a join, and how many a second topic; which of them, drawn apart likewise.
const JOINS: u32 = 250;
const JOINS_SEED: u64 = 0x7ab1_e00b;
const SECONDS: u32 = 200;
const SECONDS_SEED: u64 = 0x2_70b1c;

/// How merge state is kept on a process's disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Local {
    pub(crate) checkpoint_interval_ms: i64,
    pub(crate) memory_bytes: usize,
    pub(crate) standby: bool,
}

/// How often the view store fails, in 1,000 writes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ViewFaults {
    /// Refused without effect.
    pub(crate) fails: u32,
    /// Written, and the answer lost.
    pub(crate) answer_lost: u32,
    /// Refused, and written later.
    pub(crate) late: u32,
    /// Takes up to 8 s.
    pub(crate) slow: u32,
}

/// One action.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Action {
    pub(crate) kind: Kind,
    /// Decides everything within it, so that it does not depend on the actions before it.
    pub(crate) seed: u64,
    /// Whether the log and the view store may fail in it.
    pub(crate) faulty: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A publisher sends a batch of so many events.
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
    /// A machine loses power: what its disk had not synced is gone, or all of it.
    PowerOff(usize),
    /// The disk of a process takes so many more changes, then none until it starts again.
    FillDisk(usize, usize),
    /// A process that is down starts.
    Start(usize),
    /// A process ends gracefully.
    Stop(usize),
    /// A process stands still for so many milliseconds.
    Freeze(usize, u64),
    /// The log loses power.
    CrashLog,
    /// The view store is down for so many milliseconds.
    ViewsDown(u64),
    /// The source topic gets another partition.
    Grow,
    /// Retention and compaction.
    Maintain,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calm = if self.faulty { "" } else { " (no faults)" };
        write!(f, "{:?} seed {:#x}{calm}", self.kind, self.seed)
    }
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

fn one_fault(dice: &mut Dice, poll_records: u64) -> Faults {
    let often = 150 + dice.below(350) as u32;
    let alone = Faults { poll_records, ..Faults::default() };
    match dice.below(5) {
        0 => Faults { open: often, ..alone },
        1 => Faults { delayed: often, ..alone },
        2 => Faults { answer_lost: often, ..alone },
        3 => Faults { commit_lost: often, ..alone },
        _ => Faults { fenced: often, ..alone },
    }
}

impl Config {
    fn of(dice: &mut Dice) -> Self {
        let faults = Faults {
            retriable: rate(dice, 30),
            fenced: rate(dice, 40),
            answer_lost: rate(dice, 80),
            commit_lost: rate(dice, 80),
            open: rate(dice, 120),
            delayed: rate(dice, 120),
            sync_fails: rate(dice, 15),
            slow: rate(dice, 15),
            slow_ms: [200, 3_000, 9_000][dice.below(3) as usize],
            poll_records: [0, 1, 3, 10][dice.below(4) as usize],
        };
        // Now and then one fault alone, and often: what needs it twice in a row comes up.
        let faults = if dice.strikes(300) { one_fault(dice, faults.poll_records) } else { faults };
        let views = ViewFaults {
            fails: rate(dice, 200),
            answer_lost: rate(dice, 200),
            late: rate(dice, 200),
            slow: rate(dice, 100),
        };
        Self {
            source_partitions: dice.below(3) as u32 + 1,
            merge_partitions: dice.below(3) as u32 + 1,
            processes: dice.below(3) as usize + 1,
            threads: if dice.strikes(250) { 2 } else { 1 },
            commit_interval_ms: [50, 300, 1_500][dice.below(3) as usize],
            hold: dice.strikes(400),
            amend_for_ms: if dice.strikes(200) { 20_000 } else { 86_400_000 },
            idle_after_ms: if dice.strikes(400) { 5_000 } else { 86_400_000 },
            dedupe_ms: dice.strikes(300).then_some(40_000),
            faults,
            views,
            local: dice.strikes(500).then(|| Local {
                checkpoint_interval_ms: [1, 400, 3_000][dice.below(3) as usize],
                memory_bytes: [400, 4_000, 1 << 30][dice.below(3) as usize],
                standby: dice.strikes(400),
            }),
            gap_ms: None,
            joins: false,
            second: false,
        }
    }

    fn with_sessions(self, gap_ms: i64) -> Self {
        let local =
            self.local.map(|local| Local { checkpoint_interval_ms: local.checkpoint_interval_ms * FAST, ..local });
        Self {
            commit_interval_ms: self.commit_interval_ms * FAST,
            amend_for_ms: self.amend_for_ms * FAST,
            idle_after_ms: self.idle_after_ms * FAST,
            dedupe_ms: self.dedupe_ms.map(|for_ms| for_ms * FAST),
            gap_ms: Some(gap_ms),
            local,
            ..self
        }
    }
}

impl Config {
    /// The job's sources.
    pub(crate) fn topics(&self) -> Vec<&'static str> {
        if self.second { vec![TOPIC, MORE] } else { vec![TOPIC] }
    }

    /// How much faster the wall clock is than time.
    pub(crate) fn speed(&self) -> i64 {
        if self.gap_ms.is_some() { FAST } else { 1 }
    }

    /// How long windows wait for stragglers.
    pub(crate) fn grace_ms(&self) -> i64 {
        GRACE_MS * self.speed()
    }

    /// How far ahead of its append time a record may be.
    pub(crate) fn max_future_ms(&self) -> i64 {
        MAX_FUTURE_MS * self.speed()
    }

    /// Whether some windows are sealed within a run.
    fn seals(&self) -> bool {
        self.amend_for_ms == 20_000 * self.speed()
    }

    /// Whether partitions are found idle within a run.
    pub(crate) fn idles(&self) -> bool {
        self.idle_after_ms == 5_000 * self.speed()
    }

    /// Rows of one commit of a merge stage: few where windows are sealed or memory is short.
    pub(crate) fn commit_rows(&self) -> usize {
        let is_short = self.local.is_some_and(|local| local.memory_bytes < 1_000);
        if self.seals() || is_short { 3 } else { 1_000 }
    }
}

impl Schedule {
    /// The run of a seed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut config = Config::of(&mut dice);
        let mut apart = Dice::new(seed ^ SESSIONS_SEED);
        if apart.strikes(SESSIONS) {
            config = config.with_sessions([5, 20, 45][apart.below(3) as usize] * 60_000);
        }
        config.joins = Dice::new(seed ^ JOINS_SEED).strikes(JOINS);
        config.second = Dice::new(seed ^ SECONDS_SEED).strikes(SECONDS);
        let length = 40 + dice.below(100);
        let actions =
            (0..length).map(|_| Action { kind: kind(&mut dice, &config), seed: dice.any(), faulty: dice.strikes(900) });
        let actions = actions.collect();
        Self { config, actions }
    }
}

fn kind(dice: &mut Dice, config: &Config) -> Kind {
    let process = dice.below(config.processes as u64) as usize;
    match dice.below(1_000) {
        0..230 => Kind::Produce(dice.below(6) as u32 + 1),
        230..550 => Kind::Step(dice.below(16) as u32 + 1),
        550..700 => Kind::Turn(process),
        700..780 => Kind::Pass(dice.below(4_000)),
        780..800 => Kind::Pass(6_000 + dice.below(20_000)),
        800..815 => Kind::Jump(dice.below(4_000) as i64 - 2_000),
        815..840 => Kind::Crash(process),
        840..850 => Kind::PowerOff(process),
        850..855 => Kind::FillDisk(process, dice.below(12) as usize),
        855..915 => Kind::Start(process),
        915..935 => Kind::Stop(process),
        935..955 => Kind::Freeze(process, dice.below(15_000)),
        955..965 => Kind::CrashLog,
        965..975 => Kind::ViewsDown(dice.below(20_000)),
        975..980 => Kind::Grow,
        _ => Kind::Maintain,
    }
}
