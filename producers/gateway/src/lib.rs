//! HTTP in, durable events out.
//!
//! Promise: a request is answered 202 only when all its accepted records are durable in the spool on local disk; nothing of a
//! refused request is. From there they are published to the log once, in order, as soon as the log can be reached; the gateway
//! takes records all the while, also when it is started without the log, up to the spool's bounds. A request with an
//! `Idempotency-Key` takes effect once and gets the same answer for 24 hours, whatever dies meanwhile: events and answer are one
//! entry of the spool and one commit ([`answers`]).
//!
//! Invariants and limits: one pump thread owns the producer. Bodies of 16 MiB after decompression and 100,000 records; 64 MiB
//! wait for the disk; the bodies of 256 MiB are in memory at once. Over a limit the caller is told so and nothing is taken. A
//! disk that is lost takes with it what was not published: at rest nothing, with the log away everything since.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tidemark_log::span::Spans;
use tidemark_log::{Cleanup, Clock, Log, TopicSpec};
use tidemark_schemas::registry::Registry;
use tidemark_spool::disk::DirError;
use tokio::sync::Semaphore;

pub mod answers;
mod ask;
mod batch;
mod body;
mod check;
mod commit;
mod connection;
mod container;
mod destinations;
mod directory;
mod draft;
mod entry;
mod events;
mod flow;
mod follower;
mod form;
mod ids;
mod json;
mod keys;
mod known;
mod metrics;
mod number;
mod openapi;
mod plan;
mod problem;
mod pump;
mod receive;
mod refused;
mod routes;
mod rule;
mod schema_ids;
mod shared;
mod status;
mod topic;
mod topics;
mod trace;
mod values;
mod writer_schema;

pub use check::check;
pub use metrics::Metrics;
pub use openapi::openapi;
pub use problem::{ERRORS_LISTED_MAX, Problem, RecordError};
pub use routes::{method_not_allowed, router};
pub use topics::schema_notes;

use pump::Pump;
pub(crate) use schema_ids::SchemaIds;
pub(crate) use shared::Shared;

/// The topic of flow records, which must be there; its partitions are asked for every ten seconds.
pub const FLOWS_TOPIC: &str = "flows.observed";
/// The topic of answers; the gateway makes it.
pub const ANSWERS_TOPIC: &str = "tidemark.gateway.answers";
/// The topic of how far each spool is published; the gateway makes it.
pub const POSITIONS_TOPIC: &str = "tidemark.gateway.positions";

/// Bodies in memory and what is made of them, in KiB.
const BODIES_KIB_MAX: usize = 256 << 10;

/// Requests that make or list topics at a time.
const TOPICS_REQUESTS_MAX: usize = 8;

/// Idempotency keys remembered by default: 20 a second for 24 hours, 250 MB.
pub const KEYS_MAX: usize = 1_800_000;

/// The topic of answers as it should be: one partition, the last answer of each key, for longer than answers are replayed.
pub fn answers_topic() -> TopicSpec {
    TopicSpec {
        name: ANSWERS_TOPIC.to_owned(),
        partitions: 1,
        cleanup: Cleanup::CompactAndDelete,
        retention_ms: Some(2 * answers::ANSWERS_KEPT_MS),
    }
}

/// The topic of positions as it should be: the last one of each spool, for ever, since a gateway may be away for long.
pub fn positions_topic() -> TopicSpec {
    TopicSpec { name: POSITIONS_TOPIC.to_owned(), partitions: 1, cleanup: Cleanup::Compact, retention_ms: None }
}

/// How a gateway is set.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Where and how much is kept until the log has it.
    pub spool: SpoolConfig,
    /// How far ahead of the time of receipt an event may be. The jobs' own limit must be the same, or they dead-letter what was
    /// accepted here.
    pub max_future: Duration,
    /// Idempotency keys remembered, 130 to 220 bytes of memory each and some 100 more while the spool has the entry; more than
    /// that within 24 hours are refused.
    pub keys_max: usize,
    /// The topic of flows as it is made when it is missing; without it somebody else makes it.
    pub flows_topic: Option<TopicSpec>,
}

/// Where and how much is kept until the log has it.
#[derive(Debug, Clone)]
pub struct SpoolConfig {
    /// Directory of the spool; of one gateway at a time.
    pub dir: PathBuf,
    /// Most bytes of events that wait; the disk needs 128 MiB more.
    pub max_bytes: u64,
    /// When the oldest event has waited for longer, nothing more is taken.
    pub max_age: Duration,
}

impl GatewayConfig {
    /// The defaults of everything else.
    pub fn new(spool: SpoolConfig) -> Self {
        Self { spool, max_future: Duration::from_secs(600), keys_max: KEYS_MAX, flows_topic: None }
    }
}

impl SpoolConfig {
    /// 4 GiB and a day in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), max_bytes: 4 << 30, max_age: Duration::from_secs(24 * 3600) }
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
    /// The directory cannot be used.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// The spool in the directory cannot be used.
    #[error("cannot open the spool in {dir}: {source}; look after the disk, or name another directory")]
    Spool {
        /// Which directory.
        dir: PathBuf,
        /// Why.
        source: tidemark_spool::Error,
    },
}

/// The write side of the platform: takes requests, publishes their events.
pub struct Gateway {
    pub(crate) shared: Arc<Shared>,
    /// Bodies in memory and what is made of them, in KiB.
    pub(crate) bodies: Arc<Semaphore>,
    /// Bodies being unpacked and read off the executor.
    pub(crate) workers: Arc<Semaphore>,
    /// Requests about topics under way.
    pub(crate) topics: Arc<Semaphore>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Gateway {
    /// Opens the spool, which reads all that is in it, and starts the gateway's threads. Schemas are registered, topics made
    /// and earlier answers read in the background, again and again until that works. The gateway is [`ready`](Self::ready) once
    /// it knows its schemas' ids, from the registry or from an earlier start. Spans of requests go to `spans`.
    ///
    /// # Errors
    /// The spool's directory is in use or cannot be used, or there is no thread to be had.
    pub fn start(
        log: Arc<dyn Log>,
        registry: Arc<dyn Registry>,
        config: GatewayConfig,
        clock: Clock,
        spans: Arc<dyn Spans>,
    ) -> Result<Arc<Self>, Error> {
        let (shared, keys) = Shared::open(log, registry, config, clock, spans)?;
        let shared = Arc::new(shared);
        let (publishes, follows) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads = vec![
            spawn("gateway-pump", move || Pump::new(&publishes, keys).run())?,
            spawn("gateway-answers", move || follower::run(&follows))?,
        ];
        Ok(Arc::new(Self {
            shared,
            bodies: Arc::new(Semaphore::new(BODIES_KIB_MAX)),
            workers: Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(2, usize::from))),
            topics: Arc::new(Semaphore::new(TOPICS_REQUESTS_MAX)),
            threads: Mutex::new(threads),
        }))
    }

    /// Takes no more requests, publishes what it can within a few seconds and ends the threads; the rest is durable in the
    /// spool. Blocks until then. A second call does nothing.
    pub fn stop(&self) {
        self.shared.stop();
        self.shared.spool.close();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the gateway ended in a panic");
            }
        }
    }

    /// Whether requests can be taken, else why not. What waits in the spool is no reason.
    pub fn ready(&self) -> Result<(), Vec<String>> {
        self.shared.ready()
    }

    /// What was counted so far.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
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
