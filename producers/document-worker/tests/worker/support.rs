//! What tests share.

use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidemark_document_worker::{
    Document, Executor, Limits, Pipeline, Ran, Run, Running, Settings, Status, Step, Stop, Worker,
};

use crate::service::Service;

/// A step that `sh` runs.
pub(crate) fn sh(name: &str, script: &str) -> Step {
    let command = ["sh", "-c", script].map(str::to_owned).to_vec();
    Step { name: name.into(), command, limits: Limits::default(), retries: 3 }
}

pub(crate) fn pipeline(steps: &[Step]) -> Pipeline {
    Pipeline { name: "test".into(), steps: steps.to_vec() }
}

pub(crate) fn document(name: &str) -> Document {
    Document { file_id: "0".repeat(64), name: name.into(), media_type: "text/plain".into(), bytes: 3 }
}

/// Runs a step on `abc`.
pub(crate) fn run(step: &Step) -> Ran {
    run_on(step, b"abc", &Running::default()).0
}

/// Runs a step; the directory in which it worked is kept for a look.
pub(crate) fn run_on(step: &Step, contents: &[u8], running: &Running) -> (Ran, TempDir) {
    let room = tempfile::tempdir().unwrap();
    let (input, directory) = (room.path().join("contents"), room.path().join("work"));
    std::fs::write(&input, contents).unwrap();
    std::fs::create_dir(&directory).unwrap();
    let document = document("a name");
    let run = Run { step, attempt: 2, input: &input, contents: &input, document: &document, directory: &directory };
    (Executor::with_tidemark("/bin/true".into()).run(&run, running), room)
}

/// Waits for a condition; a test that waits for half a minute has failed.
pub(crate) fn until(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < Duration::from_secs(30), "still not: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process runs; one that only waits to be reaped does not.
pub(crate) fn is_running(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z')))
}

/// The process id that a script has written.
pub(crate) fn pid_in(file: &Path) -> i32 {
    let mut pid = None;
    until("a process id is written", || {
        pid = std::fs::read_to_string(file).ok().filter(|text| text.ends_with('\n'));
        pid.is_some()
    });
    pid.unwrap().trim().parse().unwrap()
}

/// A worker on a thread of its own.
pub(crate) struct Started {
    pub(crate) worker: Worker,
    pub(crate) stop: Stop,
    pub(crate) directory: TempDir,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Started {
    pub(crate) fn new(service: &Service, steps: &[Step], change: impl FnOnce(&mut Settings)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = Settings {
            worker: Some("worker-1".into()),
            capacity: 1,
            pipeline: pipeline(steps),
            heartbeat: Duration::from_millis(300),
            pause_max: Duration::from_millis(500),
            directory: directory.path().to_owned(),
            ..Settings::new(service.url())
        };
        change(&mut settings);
        let stop = Stop::new();
        let worker = Worker::new(settings, &stop).unwrap();
        let running = worker.clone();
        let thread = Some(std::thread::spawn(move || running.run().unwrap()));
        Self { worker, stop, directory, thread }
    }

    pub(crate) fn status(&self) -> Status {
        self.worker.status()
    }

    /// Waits until it has stopped.
    pub(crate) fn join(&mut self) {
        self.thread.take().unwrap().join().unwrap();
        let left: Vec<_> = std::fs::read_dir(self.directory.path()).unwrap().collect();
        assert!(left.is_empty(), "it leaves behind {left:?}");
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.stop.ask();
        self.stop.ask();
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}
