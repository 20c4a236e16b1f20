//! A server as a child process that cannot outlive the process that started it.
//!
//! The child is a shell that first puts a watchdog behind itself, then becomes the server (`exec`, same process id). The
//! watchdog reads a pipe whose other end only the starting process has: when that process ends in any way, kill −9
//! included, the pipe closes, and the watchdog kills the server and removes its directory. The parent-death signal of
//! Linux would not do: it fires when the *thread* that started the server ends, and a test's thread ends with its test.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::Error;

/// `$1` is the directory to remove. A line on the pipe dismisses the watchdog; its end fires it. The wait before `rm` lets
/// the kernel finish the kill, bounded for containers whose init reaps nobody.
const WATCHED: &str = r#"
dir=$1; shift
exec 3<&0
(
  trap '' HUP INT TERM
  read -r line <&3 && exit 0
  kill -9 $$
  n=0; while kill -0 $$ && [ $n -lt 50 ]; do n=$((n + 1)); sleep 0.1; done
  rm -rf -- "$dir"
) >/dev/null 2>&1 &
exec "$@" 3<&- </dev/null
"#;

/// Between two probes of a starting server.
const PROBE_EVERY: Duration = Duration::from_millis(50);
/// How much of the end of a log goes into an error.
const LOG_TAIL_LINES: usize = 30;

/// One server: its directory, and its process while it runs.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    dir: TempDir,
    command: Vec<String>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    watchdog: ChildStdin,
}

impl Server {
    /// A server that is not started yet, with an empty directory of its own.
    pub(crate) fn new(name: &'static str) -> Result<Self, Error> {
        let dir = tempfile::Builder::new().prefix(&format!("tidemark-{name}-")).tempdir();
        let dir = dir.map_err(Error::io("creating", std::env::temp_dir()))?;
        Ok(Self { name, dir, command: Vec::new(), running: None })
    }

    /// Where its data, configuration and log are.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its standard output and error.
    pub(crate) fn log_path(&self) -> PathBuf {
        self.dir().join("server.log")
    }

    /// What [`Server::start`] runs, program first.
    pub(crate) fn set_command(&mut self, command: Vec<String>) {
        self.command = command;
    }

    /// Starts the process (after ending one that runs) and waits until `probe` says yes.
    ///
    /// # Errors
    /// The process cannot be started, ends, or `probe` still says no (with its reason) after `deadline`.
    pub(crate) fn start(&mut self, deadline: Duration, probe: impl FnMut() -> Result<(), String>) -> Result<(), Error> {
        self.kill();
        self.running = Some(self.spawn()?);
        self.wait_ready(deadline, probe)
    }

    fn spawn(&self) -> Result<Running, Error> {
        use std::os::unix::process::CommandExt;
        let log = File::options().create(true).append(true).open(self.log_path());
        let log = log.map_err(Error::io("opening", self.log_path()))?;
        let errors = log.try_clone().map_err(Error::io("opening", self.log_path()))?;
        let mut child = Command::new("/bin/sh")
            .args(["-c", WATCHED, self.name])
            .arg(self.dir())
            .args(&self.command)
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(errors)
            // Its own group: Ctrl-C on a terminal reaches the starter, which then decides.
            .process_group(0)
            .spawn()
            .map_err(Error::io("starting", "/bin/sh"))?;
        let watchdog = child.stdin.take();
        let watchdog = watchdog.ok_or_else(|| std::io::Error::other("no pipe to the watchdog"));
        Ok(Running { watchdog: watchdog.map_err(Error::io("starting", "/bin/sh"))?, child })
    }

    fn wait_ready(&mut self, deadline: Duration, mut probe: impl FnMut() -> Result<(), String>) -> Result<(), Error> {
        let until = Instant::now() + deadline;
        loop {
            if let Some(status) = self.exit_status() {
                return Err(Error::Ended { server: self.name, status: status.to_string(), log: self.log_tail() });
            }
            match probe() {
                Ok(()) => return Ok(()),
                Err(last) if Instant::now() > until => {
                    return Err(Error::NotReady { server: self.name, waited: deadline, last, log: self.log_tail() });
                }
                Err(_) => std::thread::sleep(PROBE_EVERY),
            }
        }
    }

    /// The exit status if the process ended by itself.
    fn exit_status(&mut self) -> Option<ExitStatus> {
        self.running.as_mut().and_then(|r| r.child.try_wait().ok().flatten())
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(LOG_TAIL_LINES)..).unwrap_or_default().join("\n")
    }

    /// Process id while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|r| r.child.id())
    }

    /// SIGKILL, then waits until the process is gone. Nothing happens when none runs. The directory stays.
    pub(crate) fn kill(&mut self) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        // Errors here mean that it is gone already. Dismissed only after `wait`: until then the id is surely its own.
        let _ = running.child.kill();
        let _ = running.child.wait();
        let _ = running.watchdog.write_all(b"dismissed\n");
    }

    /// Sends SIGSTOP or SIGCONT. Nothing happens when no process runs.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.pid().and_then(|p| i32::try_from(p).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
