//! Cuts a failing schedule down.

use std::time::{Duration, Instant};

use crate::run::{self, Totals};
use crate::schedule::{Kind, Schedule};

/// Longest time spent on it.
const PATIENCE: Duration = Duration::from_secs(40);

/// The shortest schedule found that fails, and how.
pub(crate) fn shrink(schedule: Schedule, failure: String) -> (Schedule, String) {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut best = Best { schedule, failure, until: Instant::now() + PATIENCE };
    best.without_actions();
    best.without_faults();
    best.with_smaller_actions();
    best.without_actions();
    std::panic::set_hook(hook);
    (best.schedule, best.failure)
}

struct Best {
    schedule: Schedule,
    failure: String,
    until: Instant,
}

impl Best {
    /// Takes the candidate if it fails in the same way.
    fn take(&mut self, candidate: Schedule) -> bool {
        if Instant::now() > self.until {
            return false;
        }
        match run::run(&candidate, &mut Totals::default()) {
            Ok(()) => false,
            Err(failure) if kind_of(&failure) != kind_of(&self.failure) => false,
            Err(failure) => {
                (self.schedule, self.failure) = (candidate, failure);
                true
            }
        }
    }

    /// By halves, then by smaller and smaller pieces.
    fn without_actions(&mut self) {
        let mut piece = self.schedule.actions.len().div_ceil(2);
        while piece > 0 {
            let mut at = 0;
            while at < self.schedule.actions.len() {
                let mut candidate = self.schedule.clone();
                let end = (at + piece).min(candidate.actions.len());
                candidate.actions.drain(at..end);
                if !self.take(candidate) {
                    at += piece;
                }
            }
            piece /= 2;
        }
    }

    fn without_faults(&mut self) {
        for at in 0..self.schedule.actions.len() {
            let mut candidate = self.schedule.clone();
            if std::mem::take(&mut candidate.actions[at].faulty) {
                self.take(candidate);
            }
        }
    }

    fn with_smaller_actions(&mut self) {
        for at in 0..self.schedule.actions.len() {
            while let Some(kind) = smaller(self.schedule.actions[at].kind) {
                let mut candidate = self.schedule.clone();
                candidate.actions[at].kind = kind;
                if !self.take(candidate) {
                    break;
                }
            }
        }
    }
}

/// The first words of a failure: what was wrong, without the figures.
fn kind_of(failure: &str) -> Vec<&str> {
    failure.split([' ', ':']).take(3).collect()
}

fn smaller(kind: Kind) -> Option<Kind> {
    match kind {
        Kind::Produce(n) if n > 1 => Some(Kind::Produce(n / 2)),
        Kind::Step(n) if n > 1 => Some(Kind::Step(n / 2)),
        Kind::Pass(ms) if ms > 1 => Some(Kind::Pass(ms / 2)),
        _ => None,
    }
}

/// For people.
pub(crate) fn print(schedule: &Schedule) -> String {
    let actions: Vec<String> = schedule.actions.iter().map(|action| format!("  {action}\n")).collect();
    format!("{:?}\n{}", schedule.config, actions.concat())
}
