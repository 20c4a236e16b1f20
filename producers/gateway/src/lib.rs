//! HTTP in, durable events out.
//!
//! Promise: a request is answered 202 only when all its accepted records are durable in the log; nothing of a refused request
//! is. A request with an `Idempotency-Key` takes effect once and gets the same answer for 24 hours, whatever dies meanwhile:
//! events and answer are one commit ([`answers`]).
//!
//! Invariants and limits: one publisher thread owns the producer; what waits while it commits goes into the next commit. Bodies
//! of 16 MiB after decompression and 100,000 records; 1,024 requests or 64 MiB wait; the bodies of 256 MiB are in memory at
//! once. Over a limit the caller is told so and nothing is taken.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tidemark_log::span::Spans;
use tidemark_log::{Cleanup, Clock, Log, TopicSpec};
use tidemark_schemas::registry::Registry;
use tokio::sync::Semaphore;

pub mod answers;
mod ask;
mod batch;
mod body;
mod commit;
mod container;
mod draft;
mod flow;
mod follower;
mod json;
mod metrics;
mod number;
mod openapi;
mod problem;
mod publisher;
mod receive;
mod routes;
mod rule;
mod trace;
mod values;
mod writer_schema;

pub use metrics::Metrics;
pub use openapi::openapi;
pub use problem::{ERRORS_LISTED_MAX, Problem, RecordError};
pub use routes::{method_not_allowed, router};

use answers::Answers;
use publisher::Job;

/// The topic of flow records, which must be there; its partitions are asked for every ten seconds.
pub const FLOWS_TOPIC: &str = "flows.observed";
/// The topic of answers; the gateway makes it.
pub const ANSWERS_TOPIC: &str = "tidemark.gateway.answers";

/// Requests that may wait for a commit.
const QUEUE_REQUESTS_MAX: usize = 1_024;
/// Encoded bytes that may wait for a commit.
const QUEUE_BYTES_MAX: usize = 64 << 20;
/// Bodies in memory, in KiB.
const BODIES_KIB_MAX: usize = 256 << 10;

/// The topic of answers as it should be: one partition, the last answer of each key, for longer than answers are replayed.
pub fn answers_topic() -> TopicSpec {
    TopicSpec {
        name: ANSWERS_TOPIC.to_owned(),
        partitions: 1,
        cleanup: Cleanup::CompactAndDelete,
        retention_ms: Some(2 * answers::ANSWERS_KEPT_MS),
    }
}

/// How a gateway is set.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Stable and unique per gateway process: the producer's id. Two with the same id fence each other.
    pub id: String,
    /// How far ahead of the time of receipt an event may be. The jobs' own limit must be the same, or they dead-letter what was
    /// accepted here.
    pub max_future: Duration,
    /// How long a request waits for the log before it is answered 503.
    pub answer_timeout: Duration,
    /// Idempotency keys remembered, 64 bytes or so each; more than that within 24 hours are refused.
    pub keys_max: usize,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            id: "gateway-1".to_owned(),
            max_future: Duration::from_secs(600),
            answer_timeout: Duration::from_secs(30),
            keys_max: 1_000_000,
        }
    }
}

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system gave no thread.
    #[error("cannot start the gateway's thread {name}: {source}; raise the limit on threads")]
    Thread {
        /// Which one.
        name: &'static str,
        /// What it said.
        source: std::io::Error,
    },
}

/// Schema ids, once registered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SchemaIds {
    pub(crate) flow: u32,
    pub(crate) answer: u32,
}

/// What the gateway's threads and handlers share.
pub(crate) struct Shared {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) config: GatewayConfig,
    pub(crate) clock: Clock,
    pub(crate) answers: Arc<Answers>,
    pub(crate) metrics: Metrics,
    pub(crate) spans: Arc<dyn Spans>,
    pub(crate) schemas: OnceLock<SchemaIds>,
    /// Bytes of encoded events that wait.
    pub(crate) queued_bytes: AtomicUsize,
    state: Mutex<State>,
    stopped: Condvar,
}

struct State {
    stopping: bool,
    /// Why the gateway is not ready, by part.
    reasons: BTreeMap<&'static str, String>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stopping(&self) -> bool {
        self.state().stopping
    }

    /// Sleeps, but not longer than until the gateway is stopped; says whether it is.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        let waited = self.stopped.wait_timeout_while(self.state(), time, |state| !state.stopping);
        waited.map_or(true, |(state, _)| state.stopping)
    }

    /// Sets or clears why `part` is not ready.
    pub(crate) fn set_reason(&self, part: &'static str, reason: Option<String>) {
        let mut state = self.state();
        match reason {
            Some(reason) => state.reasons.insert(part, reason),
            None => state.reasons.remove(part),
        };
    }
}

/// The write side of the platform: takes requests, publishes their events.
pub struct Gateway {
    pub(crate) shared: Arc<Shared>,
    /// Bodies in memory, in KiB.
    pub(crate) bodies: Semaphore,
    /// Bodies being unpacked and read off the executor.
    pub(crate) workers: Semaphore,
    queue: Mutex<Option<SyncSender<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Gateway {
    /// Starts the gateway's threads and returns at once: it registers its schemas, makes its topic and reads the answers in the
    /// background, again and again until that works, and is [`ready`](Self::ready) then. Spans of requests go to `spans`.
    pub fn start(
        log: Arc<dyn Log>,
        registry: Arc<dyn Registry>,
        config: GatewayConfig,
        clock: Clock,
        spans: Arc<dyn Spans>,
    ) -> Result<Arc<Self>, Error> {
        let reasons = BTreeMap::from([("log", "the gateway is starting".to_owned())]);
        let shared = Arc::new(Shared {
            answers: Arc::new(Answers::new(&config.id, config.keys_max)),
            log,
            registry,
            config,
            clock,
            metrics: Metrics::default(),
            spans,
            schemas: OnceLock::new(),
            queued_bytes: AtomicUsize::new(0),
            state: Mutex::new(State { stopping: false, reasons }),
            stopped: Condvar::new(),
        });
        let (sender, queue) = sync_channel(QUEUE_REQUESTS_MAX);
        let (publishes, follows) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads = vec![
            spawn("gateway-publisher", move || publisher::run(&publishes, &queue))?,
            spawn("gateway-answers", move || follower::run(&follows))?,
        ];
        Ok(Arc::new(Self {
            shared,
            bodies: Semaphore::new(BODIES_KIB_MAX),
            workers: Semaphore::new(std::thread::available_parallelism().map_or(2, usize::from)),
            queue: Mutex::new(Some(sender)),
            threads: Mutex::new(threads),
        }))
    }

    /// Takes no more requests, publishes those that wait (once: a log that fails now is not waited for) and ends the threads.
    /// Blocks until then. A second call does nothing.
    pub fn stop(&self) {
        self.shared.set_reason("stopping", Some("the gateway is stopping".to_owned()));
        self.shared.state().stopping = true;
        self.shared.stopped.notify_all();
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the gateway ended in a panic");
            }
        }
    }

    /// Whether requests can be taken, else why not.
    pub fn ready(&self) -> Result<(), Vec<String>> {
        let state = self.shared.state();
        if state.reasons.is_empty() { Ok(()) } else { Err(state.reasons.values().cloned().collect()) }
    }

    /// What was counted so far.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Hands a job to the publisher; says whether there was room. A job that is not taken is dropped, its key given back.
    pub(crate) fn enqueue(&self, job: Job) -> bool {
        let bytes = job.batch.bytes();
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = queue.as_ref() else {
            return false;
        };
        let waiting = self.shared.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        // Counted before it is sent: the publisher may be quicker to take it off again.
        self.shared.metrics.queued(1);
        let taken = waiting <= QUEUE_BYTES_MAX && queue.try_send(job).is_ok();
        if !taken {
            self.shared.metrics.queued(-1);
            self.shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        taken
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(name: &'static str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(|source| Error::Thread { name, source })
}
