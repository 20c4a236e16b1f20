//! Runs one step as a child process.
//!
//! The process leads a group of its own, works in a directory of its own, and has nothing in its environment but what the protocol of
//! steps names. Limits are set before it is fed a byte. When it ends, or is killed, its whole group is killed; what has left the group
//! lives on under the same limits on memory and CPU, but holds nobody up. One thread does it all, and no input can hang it.
//!
//! A worker that is killed (SIGKILL, out of memory) can end nobody. Built-in steps ask the kernel for a signal when it dies. A command
//! of a user's pipeline lives on until it is done, writes to its output, which nobody reads any more, or meets its limit on CPU; its
//! limit on time is watched no longer. It does no harm to results, because the lease is given to another worker, but it takes memory
//! meanwhile. Who runs the worker in a container, or under systemd (`KillMode=control-group`, the default), has all of it ended; else
//! `["setpriv", "--pdeathsig", "KILL", "--", "/the/command"]` does the same for one command.

mod json;
mod limits;
mod pipes;
mod running;
mod verdict;

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use wait4::Wait4;

use crate::pipeline::{Limits, Step};
use crate::wire::Document;
use pipes::Pipes;
pub use running::{Cancelled, Running};
use verdict::Facts;
pub use verdict::{Limit, Outcome, Verdict};

/// Of the worker's environment a step sees these.
const PASSED_ON: [&str; 4] = ["PATH", "LANG", "TZ", "HOME"];

/// Runs steps.
#[derive(Debug, Clone)]
pub struct Executor {
    tidemark: PathBuf,
}

/// One run of one step.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// Which step.
    pub step: &'a Step,
    /// 1, 2, …
    pub attempt: u32,
    /// What it is given on its standard input.
    pub input: &'a Path,
    /// The document's contents.
    pub contents: &'a Path,
    /// The document.
    pub document: &'a Document,
    /// Where it works: an empty directory.
    pub directory: &'a Path,
}

/// What has become of it.
#[derive(Debug)]
pub struct Ran {
    /// How it is judged.
    pub verdict: Verdict,
    /// One JSON value if the outcome is OK; else whatever it wrote.
    pub output: Vec<u8>,
    /// By the clock.
    pub wall: Duration,
    /// User and system, of the process and of those that it waited for.
    pub cpu: Duration,
    /// Peak resident memory of the largest of them, bytes.
    pub memory_bytes: u64,
}

impl Executor {
    /// Commands of the program `tidemark` run the binary that runs now.
    ///
    /// # Errors
    /// Its path is not known.
    pub fn new() -> io::Result<Self> {
        std::env::current_exe().map(Self::with_tidemark)
    }

    /// Commands of the program `tidemark` run this binary.
    pub fn with_tidemark(tidemark: PathBuf) -> Self {
        Self { tidemark }
    }

    /// Runs it to its end; blocks for its wall limit at most. Whatever the step does is in the verdict.
    pub fn run(&self, run: &Run<'_>, running: &Running) -> Ran {
        let began = Instant::now();
        let open = |error| format!("cannot read the input of step {}: {error}", run.step.name);
        let started = File::open(run.input).map_err(open).and_then(|input| Ok((self.spawn(run)?, input)));
        let mut ran = match started {
            Ok((child, input)) => follow(child, input, run.step, running, began),
            Err(why) => Ran::infrastructure(why),
        };
        ran.wall = began.elapsed();
        ran
    }

    fn spawn(&self, run: &Run<'_>) -> Result<Child, String> {
        let (program, arguments) = run.step.command.split_first().ok_or("the step has no command")?;
        let program = if program == "tidemark" { self.tidemark.as_os_str() } else { program.as_ref() };
        Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(environment(run))
            .current_dir(run.directory)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {} of step {}: {error}", program.display(), run.step.name))
    }
}

fn environment(run: &Run<'_>) -> Vec<(&'static str, OsString)> {
    // No environment holds a NUL; a name may.
    let text = |text: &str| OsString::from(text.replace('\0', "\u{fffd}"));
    let mut all: Vec<_> = PASSED_ON.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))).collect();
    all.extend([
        ("TMPDIR", run.directory.into()),
        ("TIDEMARK_CONTENTS", run.contents.into()),
        ("TIDEMARK_NAME", text(&run.document.name)),
        ("TIDEMARK_TYPE", text(&run.document.media_type)),
        ("TIDEMARK_FILE_ID", text(&run.document.file_id)),
        ("TIDEMARK_STEP", text(&run.step.name)),
        ("TIDEMARK_ATTEMPT", run.attempt.to_string().into()),
    ]);
    all
}

/// From the start of the process until it is reaped, whatever goes wrong in between.
fn follow(mut child: Child, input: File, step: &Step, running: &Running, began: Instant) -> Ran {
    let leader = Pid::from_child(&child);
    running.enter(leader);
    let watched = watch(&mut child, input, leader, &step.limits, running, began + step.limits.wall);
    // Also what it has left behind; then no longer, as its number may soon be another's.
    running.kill();
    running.leave();
    let (ended, watched) = match (child.wait4(), watched) {
        (Ok(ended), Ok(watched)) => (ended, watched),
        (Err(error), _) | (_, Err(error)) => {
            return Ran::infrastructure(format!("cannot run step {}: {error}", step.name));
        }
    };
    let (stopped, (output, stderr)) = watched;
    let (cpu, memory_bytes) = (ended.rusage.utime + ended.rusage.stime, ended.rusage.maxrss);
    let garbage = if ended.status.success() && stopped.is_none() { json::check(&output).err() } else { None };
    let facts = Facts { status: ended.status, stopped, cpu, memory_bytes, stderr: &stderr, garbage };
    Ran { verdict: verdict::judge(facts, &step.limits), output, wall: Duration::ZERO, cpu, memory_bytes }
}

type Watched = (Option<Limit>, (Vec<u8>, String));

fn watch(
    child: &mut Child,
    input: File,
    leader: Pid,
    limits: &Limits,
    running: &Running,
    deadline: Instant,
) -> io::Result<Watched> {
    let process = pidfd_open(leader, PidfdFlags::empty())?;
    limits::set(leader, limits)?;
    let mut pipes = Pipes::new(child, input, limits.output_bytes)?;
    let stopped = pipes.move_until_end(&process, deadline, running)?;
    Ok((stopped, pipes.into_parts()))
}

impl Ran {
    pub(crate) fn infrastructure(why: String) -> Self {
        let verdict = Verdict::infrastructure(why);
        Self { verdict, output: Vec::new(), wall: Duration::ZERO, cpu: Duration::ZERO, memory_bytes: 0 }
    }
}
