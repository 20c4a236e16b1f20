//! Which fault strikes when: all of it from one seed.

/// A generator of numbers that look random (SplitMix64): small, fast, the same everywhere.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The same seed gives the same throws.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any 64 bits.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `n` − 1; 0 when `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.any() % n }
    }

    /// True `n` times in 1,000.
    pub fn strikes(&mut self, n: u32) -> bool {
        n > 0 && self.below(1_000) < u64::from(n)
    }
}

/// How often faults strike, in 1,000 calls or commits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// A call fails for sure and without effect.
    pub retriable: u32,
    /// A member learns at a commit that it was put out of its group.
    pub fenced: u32,
    /// A commit takes effect and its answer is lost.
    pub answer_lost: u32,
    /// A commit is lost, and so is the answer.
    pub commit_lost: u32,
    /// A commit stays open: it ends, well or not, when its id is taken anew, when its group's offsets are asked for, or when
    /// 30 s have gone by. Until then readers stop before it. Half of them have their records appended only at the
    /// end: offsets reach a coordinator before the last records reach the log.
    pub open: u32,
    /// A commit arrives late, is judged and written then, or never: what a frozen process was about to send.
    pub delayed: u32,
    /// The sync of a commit fails: it is in doubt, and the log broken.
    pub sync_fails: u32,
    /// A call takes long: up to [`Faults::slow_ms`].
    pub slow: u32,
    /// Longest time of a slow call.
    pub slow_ms: u64,
    /// Polls hand over at most so many records of a partition; 0 for no bound.
    pub poll_records: u64,
}

/// An open commit ends by itself after so many milliseconds: a transaction timeout, or end markers that were slow.
pub(super) const OPEN_MS: u64 = 30_000;
/// A delayed commit arrives within so many milliseconds.
pub(super) const DELAYED_MS: u64 = 20_000;

/// How often each fault has struck.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as the faults")]
pub struct Injected {
    pub retriable: u64,
    pub fenced: u64,
    pub answer_lost: u64,
    pub commit_lost: u64,
    pub open: u64,
    pub delayed: u64,
    pub sync_fails: u64,
    pub slow: u64,
    pub crashes: u64,
    /// Delayed commits that were refused when they arrived.
    pub refused_late: u64,
}

impl Injected {
    /// All of them together.
    pub fn sum(&self) -> u64 {
        let Self { retriable, fenced, answer_lost, commit_lost, open, delayed, sync_fails, slow, crashes, .. } = self;
        retriable + fenced + answer_lost + commit_lost + open + delayed + sync_fails + slow + crashes
    }
}

/// What becomes of one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Through,
    Fenced,
    AnswerLost,
    Lost,
    Open { appended: bool },
    Delayed { ms: u64 },
    SyncFails,
}

/// The dice of a log with the faults that they decide.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) dice: Dice,
    pub(super) faults: Faults,
    pub(super) injected: Injected,
}

impl Table {
    pub(super) fn new(seed: u64) -> Self {
        Self { dice: Dice::new(seed), faults: Faults::default(), injected: Injected::default() }
    }

    /// Milliseconds that a call takes.
    pub(super) fn call_ms(&mut self) -> u64 {
        if self.dice.strikes(self.faults.slow) {
            self.injected.slow += 1;
            return self.dice.below(self.faults.slow_ms) + 1;
        }
        1
    }

    pub(super) fn call_fails(&mut self) -> bool {
        let fails = self.dice.strikes(self.faults.retriable);
        self.injected.retriable += u64::from(fails);
        fails
    }

    pub(super) fn fate(&mut self) -> Fate {
        let Self { dice, faults, injected } = self;
        if dice.strikes(faults.fenced) {
            injected.fenced += 1;
            Fate::Fenced
        } else if dice.strikes(faults.answer_lost) {
            injected.answer_lost += 1;
            Fate::AnswerLost
        } else if dice.strikes(faults.commit_lost) {
            injected.commit_lost += 1;
            Fate::Lost
        } else if dice.strikes(faults.open) {
            injected.open += 1;
            Fate::Open { appended: dice.strikes(500) }
        } else if dice.strikes(faults.delayed) {
            injected.delayed += 1;
            Fate::Delayed { ms: dice.below(DELAYED_MS) }
        } else if dice.strikes(faults.sync_fails) {
            injected.sync_fails += 1;
            Fate::SyncFails
        } else {
            Fate::Through
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_throws_the_same() {
        let throws = |seed| {
            let mut dice = Dice::new(seed);
            (0..50).map(|_| dice.below(1_000)).collect::<Vec<_>>()
        };
        assert_eq!(throws(7), throws(7));
        assert_ne!(throws(7), throws(8));
        assert!(throws(7).iter().any(|&n| n > 500) && throws(7).iter().any(|&n| n < 500));
    }
}
