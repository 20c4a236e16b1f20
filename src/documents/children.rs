//! The workers that `tidemark up` starts: child processes, so that what a document does to one of them stays there.

use crate::config::Config;
use crate::replica::Replica;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often it is looked whether a worker still runs.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// First and longest pause before a worker that has ended is started again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// A worker has so long to end what it does when the process stops.
const STOP_LIMIT: Duration = Duration::from_secs(35);

/// Workers at work. They end with this process, however it ends.
pub(crate) struct Workers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// What each worker is started with.
#[derive(Debug, Clone)]
struct Start {
    program: PathBuf,
    config: Option<PathBuf>,
    url: String,
    token: Option<String>,
    /// Of this process among others: no two workers have one name.
    name: String,
}

impl Workers {
    /// Starts as many as are configured. They ask `address` for work, with `token` where that is needed, and read the same
    /// configuration file.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn start(
        config: &Config,
        file: Option<&Path>,
        address: SocketAddr,
        token: Option<String>,
        replica: &Replica,
    ) -> std::io::Result<Self> {
        let start = Start {
            program: std::env::current_exe()?,
            config: file.map(Path::to_owned),
            url: format!("http://{address}"),
            token,
            name: replica.id.chars().rev().take(6).collect(),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let spawn = |n: u32| {
            let (start, stop) = (start.clone(), Arc::clone(&stop));
            std::thread::Builder::new().name(format!("worker {n}")).spawn(move || keep_running(&start, n, &stop))
        };
        let threads = (1..=config.documents.workers).map(spawn).collect::<std::io::Result<_>>()?;
        Ok(Self { stop, threads })
    }

    /// Lets them end what they have in hand.
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("the thread of a worker panicked; its documents go back to the queue");
            }
        }
    }
}

fn keep_running(start: &Start, n: u32, stop: &AtomicBool) {
    let mut pause = BACKOFF.0;
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        match start.spawn(n) {
            Ok(mut child) => watch(&mut child, stop),
            Err(error) => tracing::error!(worker = n, %error, "a worker cannot be started"),
        }
        if began.elapsed() > BACKOFF.1 {
            pause = BACKOFF.0;
        }
        let until = Instant::now() + pause;
        while Instant::now() < until && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK_EVERY);
        }
        pause = (pause * 2).min(BACKOFF.1);
    }
}

/// Until the child ends, which it is told to at a stop.
fn watch(child: &mut Child, stop: &AtomicBool) {
    let mut told = None;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => {
                if told.is_none() {
                    tracing::warn!(pid = child.id(), %status, "a worker has ended and is started again; its documents go back to the queue");
                }
                return;
            }
            Ok(None) => {}
            Err(error) => return tracing::error!(%error, "a worker cannot be waited for"),
        }
        if stop.load(Ordering::Relaxed) {
            let since = *told.get_or_insert_with(|| {
                terminate(child);
                Instant::now()
            });
            if since.elapsed() > STOP_LIMIT {
                let _ = child.kill();
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn terminate(child: &Child) {
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

impl Start {
    fn spawn(&self, n: u32) -> std::io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(["serve", "document-worker", "--with-parent"]).arg(std::process::id().to_string());
        command.env("TIDEMARK_URL", &self.url).env("TIDEMARK_WORKER_NAME", format!("worker-{}-{n}", self.name));
        // What this process was told of where it serves is nothing for a worker.
        command.env_remove("TIDEMARK_LISTEN").env_remove("TIDEMARK_TOKENS").env_remove("TIDEMARK_TOKEN");
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        if let Some(token) = &self.token {
            command.env("TIDEMARK_TOKEN", token);
        }
        command.stdin(Stdio::null()).spawn()
    }
}
