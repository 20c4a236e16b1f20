//! A program under test as a child process: started, killed, stopped, continued, started again.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Error;

/// Between two looks at a process that is to end.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How much of the end of a log is told.
const LOG_TAIL_BYTES: usize = 8_000;

/// A program that can run many times, one process at a time. Dropped, it is killed.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    args: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Program {
    /// Not started yet; standard output and error of every run are appended to `log`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, args: Vec<String>, log: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), args, log: log.into(), child: None }
    }

    /// Starts a process with further environment variables, after killing one that runs.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&mut self, environment: &[(&str, &str)]) -> Result<(), Error> {
        self.kill();
        let log = File::options().create(true).append(true).open(&self.log).map_err(Error::io("opening", &self.log))?;
        let errors = log.try_clone().map_err(Error::io("opening", &self.log))?;
        let mut command = Command::new(&self.path);
        command.args(&self.args).envs(environment.iter().copied()).stdin(Stdio::null()).stdout(log).stderr(errors);
        self.child = Some(command.spawn().map_err(Error::io("starting", &self.path))?);
        Ok(())
    }

    /// SIGKILL; returns when the process is gone. Nothing happens when none runs.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Errors mean that it is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGSTOP: it keeps its connections and does nothing.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT after [`Program::pause`].
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM, and waits for its end; `None` when it still runs after `patience`.
    pub fn stop(&mut self, patience: Duration) -> Option<ExitStatus> {
        self.signal(Signal::TERM);
        self.ended(patience)
    }

    /// Waits until the process has ended by itself; `None` when it still runs after `patience`.
    pub fn ended(&mut self, patience: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + patience;
        while let Some(child) = &mut self.child {
            if let Ok(Some(status)) = child.try_wait() {
                self.child = None;
                return Some(status);
            }
            if Instant::now() > until {
                return None;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        None
    }

    /// Process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The most memory it has had resident, bytes (`VmHWM` of proc(5)); `None` when it does not run.
    #[must_use]
    pub fn memory_bytes_max(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    }

    /// The end of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let tail = log.get(log.len().saturating_sub(LOG_TAIL_BYTES)..).unwrap_or_default();
        String::from_utf8_lossy(tail).into_owned()
    }

    fn signal(&self, signal: Signal) {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // An error means that it is gone already.
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}
