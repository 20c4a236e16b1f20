//! What the end of a step means: facts in, verdict out.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;

use super::limits::FILE_BYTES;
use crate::pipeline::Limits;

/// `EX_DATAERR` of sysexits.h: the document is at fault, and another try would not help.
const DOCUMENT_AT_FAULT: i32 = 65;

/// How a run of a step ended, by the words of the attempt log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Ok,
    /// It said so by its exit code.
    Failed,
    /// A signal that nobody here sent.
    Crashed,
    /// It went over a limit.
    Killed,
    /// It ended well, but its output is not one JSON value.
    Garbage,
    /// It could not be run: not the step's fault.
    Infrastructure,
}

impl Outcome {
    /// As on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Failed => "FAILED",
            Self::Crashed => "CRASHED",
            Self::Killed => "KILLED",
            Self::Garbage => "GARBAGE",
            Self::Infrastructure => "INFRASTRUCTURE",
        }
    }
}

/// A limit of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Time by the clock.
    Wall,
    /// CPU time.
    Cpu,
    /// Memory.
    Memory,
    /// What it writes to its standard output.
    Output,
    /// A file that it writes.
    File,
}

/// What is known when a step has ended.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) status: ExitStatus,
    /// For what the worker has killed it.
    pub(super) stopped: Option<Limit>,
    pub(super) cpu: Duration,
    /// Peak resident memory.
    pub(super) memory_bytes: u64,
    /// The last of its standard error, as text.
    pub(super) stderr: &'a str,
    /// Looked at only after exit code 0.
    pub(super) garbage: Option<String>,
}

/// How a run is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How it ended.
    pub outcome: Outcome,
    /// For people; 2.5 KiB at most.
    pub message: Option<String>,
    /// The limit, when it was killed.
    pub limit: Option<Limit>,
    /// Whether another try may help.
    pub retry: bool,
}

impl Verdict {
    pub(crate) fn infrastructure(why: String) -> Self {
        Self { outcome: Outcome::Infrastructure, message: Some(why), limit: None, retry: false }
    }
}

/// Judges a run.
pub(super) fn judge(facts: Facts<'_>, limits: &Limits) -> Verdict {
    if let Some(limit) = facts.stopped.or_else(|| exceeded(&facts, limits)) {
        return killed(limit, &facts, limits);
    }
    match (facts.status.code(), facts.garbage) {
        (Some(0), None) => {
            let message = (!facts.stderr.is_empty()).then(|| facts.stderr.to_owned());
            Verdict { outcome: Outcome::Ok, message, limit: None, retry: false }
        }
        (Some(0), Some(why)) => told(Outcome::Garbage, &why, facts.stderr, true),
        (Some(DOCUMENT_AT_FAULT), _) => {
            let stderr = if facts.stderr.is_empty() { "the document is at fault (exit code 65)" } else { facts.stderr };
            told(Outcome::Failed, stderr, "", false)
        }
        (Some(code), _) => told(Outcome::Failed, &format!("exit code {code}"), facts.stderr, true),
        (None, _) => told(Outcome::Crashed, &signalled(facts.status), facts.stderr, true),
    }
}

/// The limit that a step ran into by itself. Exit codes 0 and 65 are its own word and are believed. The kernel counts CPU for its limit
/// by ticks and tells a figure of its own afterwards: 0.8 s have been seen where the limit of 1 s had struck.
fn exceeded(facts: &Facts<'_>, limits: &Limits) -> Option<Limit> {
    let signal = facts.status.signal();
    let is = |known: Signal| signal == Some(known.as_raw());
    if matches!(facts.status.code(), Some(0 | DOCUMENT_AT_FAULT)) {
        None
    } else if is(Signal::XCPU) || (is(Signal::KILL) && facts.cpu >= limits.cpu / 4 * 3) {
        Some(Limit::Cpu)
    } else if is(Signal::XFSZ) {
        Some(Limit::File)
    } else {
        out_of_memory(facts, limits).then_some(Limit::Memory)
    }
}

/// An allocation that the limit refuses looks different in each language: an abort, a segfault, an exception. So the words that run times
/// use are looked for (Rust, C and C++, Python, Perl, Java, Go, Node.js), and a step that failed with nearly all of its memory resident
/// has run out of it too.
fn out_of_memory(facts: &Facts<'_>, limits: &Limits) -> bool {
    const WORDS: [&str; 7] = [
        "memory allocation of",
        "out of memory",
        "outofmemory",
        "memoryerror",
        "bad_alloc",
        "cannot allocate memory",
        "allocation failed",
    ];
    let stderr = facts.stderr.to_ascii_lowercase();
    facts.memory_bytes >= limits.memory_bytes / 8 * 7 || WORDS.iter().any(|word| stderr.contains(word))
}

fn killed(limit: Limit, facts: &Facts<'_>, limits: &Limits) -> Verdict {
    let why = match limit {
        Limit::Wall => format!("over its time limit of {} s", limits.wall.as_secs_f64()),
        Limit::Cpu => format!("over its CPU limit of {} s", limits.cpu.as_secs()),
        Limit::Memory => format!("over its memory limit of {} bytes", limits.memory_bytes),
        Limit::Output => format!("over its output limit of {} bytes", limits.output_bytes),
        Limit::File => format!("over the limit of {FILE_BYTES} bytes for a file"),
    };
    Verdict { limit: Some(limit), ..told(Outcome::Killed, &why, facts.stderr, true) }
}

fn told(outcome: Outcome, why: &str, stderr: &str, retry: bool) -> Verdict {
    let message = if stderr.is_empty() { why.to_owned() } else { format!("{why}: {stderr}") };
    Verdict { outcome, message: Some(message), limit: None, retry }
}

fn signalled(status: ExitStatus) -> String {
    let number = status.signal().unwrap_or_default();
    let name = match Signal::from_named_raw(number) {
        Some(Signal::SEGV) => "segmentation fault",
        Some(Signal::ABORT) => "abort",
        Some(Signal::BUS) => "bus error",
        Some(Signal::FPE) => "arithmetic error",
        Some(Signal::ILL) => "illegal instruction",
        Some(Signal::SYS) => "bad system call",
        Some(Signal::TRAP) => "trap",
        Some(Signal::PIPE) => "broken pipe",
        Some(Signal::TERM) => "terminated from outside",
        Some(Signal::KILL) => "killed from outside, perhaps because the machine ran out of memory",
        _ => return format!("signal {number}"),
    };
    format!("{name} (signal {number})")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    struct Case {
        /// As `wait` gives it: exit code × 256, or the signal.
        status: i32,
        cpu_s: u64,
        memory_mib: u64,
        stderr: &'static str,
        told: (Outcome, Option<Limit>, bool, &'static str),
    }

    const fn exit(code: i32) -> i32 {
        code << 8
    }

    fn case(status: i32, stderr: &'static str, told: (Outcome, Option<Limit>, bool, &'static str)) -> Case {
        Case { status, cpu_s: 0, memory_mib: 20, stderr, told }
    }

    fn judged(case: &Case, stopped: Option<Limit>, garbage: Option<&str>) -> Verdict {
        let facts = Facts {
            status: ExitStatus::from_raw(case.status),
            stopped,
            cpu: Duration::from_secs(case.cpu_s),
            memory_bytes: case.memory_mib * MIB,
            stderr: case.stderr,
            garbage: garbage.map(str::to_owned),
        };
        judge(facts, &Limits::default())
    }

    #[test]
    fn what_each_end_means() {
        use Outcome::{Crashed, Failed, Killed, Ok};
        let memory = "over its memory limit of 1073741824 bytes";
        let cases = [
            case(exit(0), "", (Ok, None, false, "")),
            case(exit(0), "a warning", (Ok, None, false, "a warning")),
            case(exit(0), "MemoryError, but I helped myself", (Ok, None, false, "MemoryError, but I helped myself")),
            case(exit(65), "not a PDF", (Failed, None, false, "not a PDF")),
            case(exit(65), "", (Failed, None, false, "the document is at fault (exit code 65)")),
            case(exit(65), "out of memory in the page", (Failed, None, false, "out of memory in the page")),
            case(exit(1), "", (Failed, None, true, "exit code 1")),
            case(exit(101), "panicked", (Failed, None, true, "exit code 101: panicked")),
            case(11, "", (Crashed, None, true, "segmentation fault (signal 11)")),
            case(6, "assertion", (Crashed, None, true, "abort (signal 6): assertion")),
            case(9, "", (Crashed, None, true, "killed from outside, perhaps because")),
            case(33, "", (Crashed, None, true, "signal 33")),
            case(24, "", (Killed, Some(Limit::Cpu), true, "over its CPU limit of 60 s")),
            case(25, "", (Killed, Some(Limit::File), true, "over the limit of 1073741824 bytes for a file")),
            case(6, "memory allocation of 9 bytes failed", (Killed, Some(Limit::Memory), true, memory)),
            case(exit(1), "Traceback\nMemoryError", (Killed, Some(Limit::Memory), true, memory)),
            case(exit(1), "Out of memory!", (Killed, Some(Limit::Memory), true, memory)),
            Case { memory_mib: 900, ..case(11, "", (Killed, Some(Limit::Memory), true, memory)) },
            Case { memory_mib: 900, ..case(exit(0), "", (Ok, None, false, "")) },
            Case { memory_mib: 800, ..case(11, "", (Crashed, None, true, "segmentation fault")) },
            Case { cpu_s: 61, ..case(9, "", (Killed, Some(Limit::Cpu), true, "over its CPU limit")) },
            Case { cpu_s: 61, ..case(exit(2), "", (Failed, None, true, "exit code 2")) },
        ];
        for case in cases {
            let verdict = judged(&case, None, None);
            let (outcome, limit, retry, message) = case.told;
            assert_eq!((verdict.outcome, verdict.limit, verdict.retry), (outcome, limit, retry), "{verdict:?}");
            assert!(verdict.message.clone().unwrap_or_default().starts_with(message), "{verdict:?}: {message}");
        }
    }

    #[test]
    fn what_the_worker_killed_it_for_comes_first() {
        for status in [9, exit(0), exit(65), 11] {
            let verdict = judged(&case(status, "", (Outcome::Killed, None, true, "")), Some(Limit::Wall), None);
            assert_eq!((verdict.outcome, verdict.limit, verdict.retry), (Outcome::Killed, Some(Limit::Wall), true));
            assert_eq!(verdict.message.as_deref(), Some("over its time limit of 120 s"));
        }
    }

    #[test]
    fn garbage_counts_only_after_a_good_end() {
        let garbage = Some("no JSON");
        let good = judged(&case(exit(0), "", (Outcome::Garbage, None, true, "")), None, garbage);
        assert_eq!((good.outcome, good.retry, good.message.as_deref()), (Outcome::Garbage, true, garbage));
        let bad = judged(&case(exit(1), "", (Outcome::Failed, None, true, "")), None, garbage);
        assert_eq!((bad.outcome, bad.message.as_deref()), (Outcome::Failed, Some("exit code 1")));
    }
}
