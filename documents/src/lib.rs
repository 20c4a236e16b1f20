//! Documents over HTTP: upload, queue of work, state, log, results, search, live.
//!
//! Promise: what is answered 201 is stored and in the log, and will be worked on. What is uploaded or reported is first durable in
//! the object store, then a command in `documents.commands`; what it comes to is decided by the process `documents` and read from
//! `documents.answers`. Nothing is decided here, so any number of these may run beside each other.
//!
//! Invariants and limits: contents are never whole in memory; [`UploadConfig`] bounds their size, types and number at a time. One
//! thread owns the producer. The index over documents and results belongs to this process alone, on local disk; it is made anew
//! from `view.documents.v1` and the object store when it is missing, of another version or damaged.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tidemark_log::{Clock, Log};
use tidemark_schemas::avro::Avro;
use tidemark_schemas::catalog;
use tidemark_schemas::dispatch::Answered;
use tidemark_schemas::registry::Registry;
use tidemark_views::ViewStore;
use tokio::sync::{Semaphore, watch};

mod answers;
mod check;
mod commands;
mod config;
mod cursor;
mod digest;
mod document;
mod file;
mod follow;
mod index;
mod instant;
mod learn;
mod list;
mod live;
mod metrics;
mod openapi;
mod page;
mod params;
mod parts;
mod people;
mod problem;
mod queues;
mod range;
mod read;
mod rest;
mod routes;
mod sniff;
mod stop;
mod store;
mod taken;
pub mod topics;
mod upload;
mod workers;

pub use config::{Config, UploadConfig};
pub use document::Shown;
pub use learn::Learning;
pub use openapi::openapi;
pub use problem::Problem;
pub use routes::{ENDPOINTS, router};
pub use store::{S3Config, StoreConfig};
pub use taken::Taken;

use answers::Answers;
use commands::{Commands, Type};
use follow::Topic;
use index::Index;
use metrics::Metrics;
use stop::Stop;
use store::Store;
use workers::Workers;

/// Why the documents API cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object store cannot be opened.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The index cannot be opened, nor made.
    #[error(
        "cannot make the index in {dir}: {source}; see that no other process uses the folder, and look after the disk"
    )]
    Index {
        /// Its folder.
        dir: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The operating system gave no thread.
    #[error("cannot start the thread {name}: {source}; raise the limit on threads")]
    Thread {
        /// Which one.
        name: &'static str,
        /// What it said.
        source: std::io::Error,
    },
    /// It was not started within a tokio runtime.
    #[error("the documents API needs a tokio runtime: {0}")]
    Runtime(#[from] tokio::runtime::TryCurrentError),
}

/// Bodies of results in memory at a time; more wait.
const RESULTS_AT_A_TIME: usize = 4;
/// How often what is left of uploads that broke off is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
/// Searches at a time; more wait.
const SEARCHES_AT_A_TIME: usize = 4;

/// The documents API.
pub struct Documents {
    config: Config,
    clock: Clock,
    views: Arc<dyn ViewStore>,
    store: Store,
    commands: Commands,
    answers: Arc<Answers>,
    index: Arc<Index>,
    workers: Arc<Workers>,
    live: live::Live,
    metrics: Arc<Metrics>,
    uploads: Arc<Semaphore>,
    results: Semaphore,
    searches: Arc<Semaphore>,
    stop: Arc<Stop>,
    closing: watch::Sender<bool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Documents {
    /// Opens store and index and starts the threads. Topics are followed and the producer is made in the background, again and
    /// again until that works: see [`ready`](Self::ready). Call it within a tokio runtime of several threads, where it blocks for
    /// as long as the disk takes.
    ///
    /// # Errors
    /// Store or index cannot be opened, or there is no thread to be had.
    pub fn start(
        log: Arc<dyn Log>,
        registry: Arc<dyn Registry>,
        views: Arc<dyn ViewStore>,
        config: Config,
        clock: Clock,
    ) -> Result<Arc<Self>, Error> {
        let runtime = tokio::runtime::Handle::try_current()?;
        let (metrics, stop) = (Arc::new(Metrics::default()), Arc::new(Stop::default()));
        let store = Store::open(&config.store)?;
        let (index, indexer) = index::open(&config.index)?;
        let (commands, writer) =
            Commands::new(Arc::clone(&log), Arc::clone(&registry), config.producer_id.clone(), Arc::clone(&metrics));
        let documents = Arc::new(Self {
            live: live::Live::default(),
            uploads: Arc::new(Semaphore::new(config.upload.at_a_time)),
            results: Semaphore::new(RESULTS_AT_A_TIME),
            searches: Arc::new(Semaphore::new(SEARCHES_AT_A_TIME)),
            closing: watch::Sender::new(false),
            threads: Mutex::new(Vec::new()),
            answers: Arc::default(),
            workers: Arc::default(),
            stop: Arc::clone(&stop),
            config,
            clock,
            views,
            store,
            commands,
            index,
            metrics,
        });
        let follow = |topic| Topic::new(Arc::clone(&log), topic);
        let all = &documents;
        let (topic, own, registry_of) = (follow(topics::ANSWERS), Arc::clone(&all.answers), Arc::clone(&registry));
        all.spawn("documents-answers", move |stop| answers::run(&own, topic, registry_of, stop))?;
        let (topic, own, registry_of) = (follow(topics::WORKERS), Arc::clone(&all.workers), Arc::clone(&registry));
        all.spawn("documents-workers", move |stop| workers::run(&own, topic, registry_of, stop))?;
        all.spawn("documents-commands", move |stop| writer.run(stop))?;
        let source = index::Source {
            topic: follow(topics::DOCUMENTS),
            values: follow::Values::new(registry, catalog::DOCUMENT, topics::DOCUMENTS),
            store: all.store.clone(),
            runtime: runtime.clone(),
            changed: all.live.sender(),
        };
        all.spawn("documents-index", move |stop| indexer.run(source, stop))?;
        learn::start(all, &runtime);
        live::start(all, &runtime);
        runtime.spawn(all.store.clone().sweep_every(SWEEP_EVERY, all.closing.subscribe()));
        Ok(documents)
    }

    fn spawn(&self, name: &'static str, run: impl FnOnce(&Stop) + Send + 'static) -> Result<(), Error> {
        let stop = Arc::clone(&self.stop);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&stop));
        let thread = thread.map_err(|source| Error::Thread { name, source })?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    /// Whether requests can be taken, else why not.
    pub fn ready(&self) -> Result<(), String> {
        if !self.answers.followed() {
            return Err(format!("{} is not followed yet", topics::ANSWERS));
        }
        if !self.index.is_caught_up() {
            return Err(format!("the index has not read {} to its end yet", topics::DOCUMENTS));
        }
        Ok(())
    }

    /// Ends the live streams, so that a server that waits for open connections can stop.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Writes the commands that wait, commits the index and ends the threads. Blocks until then. A second call does nothing.
    pub fn stop(&self) {
        self.close();
        self.stop.stop();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the documents API ended in a panic");
            }
        }
    }

    /// Appends Prometheus text.
    pub fn render(&self, out: &mut String) {
        self.metrics.render(self, out);
    }

    /// Writes a command and waits for its answer.
    async fn ask<'a>(
        &self,
        request_id: &str,
        queue: &str,
        command: Type,
        record: &impl Avro<'a>,
        within: Duration,
    ) -> Result<Answered, Problem> {
        let wait = self.answers.wait(request_id)?;
        self.commands.send(&self.config.tenant, queue, command, record).await?;
        wait.answer(within).await
    }
}

impl Drop for Documents {
    fn drop(&mut self) {
        self.stop();
    }
}
