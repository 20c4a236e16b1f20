//! The job's stages in this process: what `tidemark serve jobs` runs, without its HTTP.

use crate::Error;
use crate::observed::Results;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemark_core::Job;
use tidemark_log::Log;
use tidemark_log::span::NoSpans;
use tidemark_runtime::metrics::Thread;
use tidemark_runtime::run::{self, Parts, Shape};
use tidemark_runtime::{Metrics, Running};
use tidemark_schemas::registry::Registry;
use tidemark_views::ViewStore;

/// A commit of each stage is made so often while there is something to commit, milliseconds.
const COMMIT_INTERVAL_MS: i64 = 1_000;
/// A member silent for longer is taken out of its group.
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);

/// Stages at work. Dropping it does not stop them: call [`Stages::stop`].
pub struct Stages {
    running: Running,
    metrics: Arc<Metrics>,
    // Runs the view store's futures for as long as there are stages.
    _runtime: tokio::runtime::Runtime,
}

impl Stages {
    /// Starts all three of a job, each on so many threads.
    ///
    /// # Errors
    /// The source topic is not there, or the log or registry refuses.
    pub fn start<J: Job>(
        job: Arc<J>,
        shape: &Shape,
        log: Arc<dyn Log>,
        registry: Arc<dyn Registry>,
        views: Arc<dyn ViewStore>,
        threads: u32,
    ) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let metrics = Arc::new(Metrics::default());
        let parts = Parts {
            log,
            registry,
            views,
            handle: runtime.handle().clone(),
            clock: tidemark_log::system_clock(),
            metrics: Arc::clone(&metrics),
            spans: Arc::new(NoSpans),
        };
        let settings = tidemark_runtime::Settings {
            replica: "benches".into(),
            threads,
            commit_interval_ms: COMMIT_INTERVAL_MS,
            session_timeout: SESSION_TIMEOUT,
            state: None,
        };
        let running = run::start(job, shape, &parts, &settings)?;
        Ok(Self { running, metrics, _runtime: runtime })
    }

    /// Waits until `records` are committed and gives the seconds that took: from the first partial thread's first poll until
    /// every merge partition has committed every record.
    ///
    /// # Errors
    /// `deadline` passes first; the results cannot be read.
    pub fn measure(&self, results: &Results, records: u64, deadline: Instant) -> Result<f64, Error> {
        let late = || Error::Slow(format!("{:?}", self.metrics.threads()));
        let reads = |(name, thread): &(String, Thread)| name.contains("partial") && *thread == Thread::Running;
        while !self.metrics.threads().iter().any(reads) {
            if Instant::now() > deadline {
                return Err(late());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let began = Instant::now();
        let done = results.wait(records, deadline)?;
        if done { Ok(began.elapsed().as_secs_f64()) } else { Err(late()) }
    }

    /// What the threads are doing.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Commits what is folded and ends the threads.
    pub fn stop(self) {
        self.running.stop();
    }
}
