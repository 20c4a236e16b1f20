//! What the worker and its steps use, from `/proc`.

use std::fs;
use std::time::Instant;

/// `USER_HZ`: the unit of CPU time in `/proc`, fixed at 100 for programs on x86-64 and AArch64, whatever the kernel counts in.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU used between two looks.
#[derive(Debug)]
pub(crate) struct Meter {
    at: Instant,
    ticks: u64,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self { at: Instant::now(), ticks: ticks("self") }
    }

    /// CPU of the worker, of the steps that have ended since, and of those that run, since the last look; 100 is one core.
    pub(crate) fn percent(&mut self, steps: &[i32]) -> u32 {
        let (now, ticks) =
            (Instant::now(), ticks("self") + steps.iter().map(|step| ticks(&step.to_string())).sum::<u64>());
        let seconds = (now - self.at).as_secs_f64().max(0.001);
        let percent = ticks.saturating_sub(self.ticks) as f64 / TICKS_PER_SECOND / seconds * 100.0;
        *self = Self { at: now, ticks };
        percent.round() as u32
    }
}

/// Resident memory of the worker and of the steps that run, bytes.
pub(crate) fn memory_bytes(steps: &[i32]) -> u64 {
    let of = |process: &str| fs::read_to_string(format!("/proc/{process}/status")).map_or(0, |text| resident(&text));
    of("self") + steps.iter().map(|step| of(&step.to_string())).sum::<u64>()
}

/// Forgets the worker's own peak, so that the steps to come do not show it as theirs.
///
/// Linux takes the peak of whoever executes a program as the first figure of `ru_maxrss`; "5" sets it back to what is resident now
/// (proc(5), clear_refs). A kernel without that leaves the figures of steps too high, no more.
pub(crate) fn forget_peak() {
    if let Err(error) = fs::write("/proc/self/clear_refs", "5") {
        tracing::debug!(%error, "cannot reset the peak of resident memory");
    }
}

fn ticks(process: &str) -> u64 {
    fs::read_to_string(format!("/proc/{process}/stat")).map_or(0, |text| used(&text))
}

/// `VmRSS` of a status file, bytes; 0 for a process that has ended.
fn resident(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Fields 14 to 17 of a stat file (proc(5)): user and system, own and of children waited for. The name before them may hold anything.
fn used(stat: &str) -> u64 {
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name.split_whitespace().skip(11).take(4).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_in_the_files() {
        let stat = "7 (a) S (b) R 1 7 7 0 -1 4194304 1 2 3 4 50 60 700 8000 20 0 1 0 5 6 7";
        assert_eq!(used(stat), 8_810);
        assert_eq!(resident("Name:\tx\nVmHWM:\t 9 kB\nVmRSS:\t    123 kB\n"), 123 * 1024);
        assert_eq!((used(""), resident("Name:\tx\n")), (0, 0));
    }

    #[test]
    fn work_shows_as_cpu_and_memory() {
        let mut meter = Meter::new();
        let until = Instant::now() + std::time::Duration::from_millis(300);
        let mut sum = 0_u64;
        while Instant::now() < until {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        // Other threads and other programs share the cores with this one.
        assert!((5..1_000).contains(&meter.percent(&[])));
        let resident = memory_bytes(&[]);
        assert!(((1 << 20)..(1 << 33)).contains(&resident), "{resident}");
        assert_eq!(memory_bytes(&[-1]) / (64 << 20), resident / (64 << 20), "a step that is gone counts nothing");
    }
}
