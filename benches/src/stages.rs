//! The job's stages in this process: what `tidemark serve jobs` runs, without its HTTP.

use crate::{Error, servers};
use std::sync::Arc;
use std::time::Duration;
use tidemark_jobs::platform;
use tidemark_log::Log;
use tidemark_log::span::NoSpans;
use tidemark_runtime::run::{self, Parts};
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
    /// Starts all three, each on so many threads.
    ///
    /// # Errors
    /// The source topic is not there, or the log or registry refuses.
    pub fn start(
        log: Arc<dyn Log>,
        registry: Arc<dyn Registry>,
        views: Arc<dyn ViewStore>,
        threads: u32,
    ) -> Result<Self, Error> {
        let job = Arc::new(servers::job()?);
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
        let shape = platform::shape(job.head());
        let running = run::start(job, &shape, &parts, &settings)?;
        Ok(Self { running, metrics, _runtime: runtime })
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
