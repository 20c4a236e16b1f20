//! What the gateway's threads and handlers share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tidemark_log::span::Spans;
use tidemark_log::{Clock, Log};
use tidemark_schemas::registry::Registry;
use tidemark_spool::disk::{Dir, Disk};
use tidemark_spool::{Limits, Spool};

use crate::answers::{Answers, key_hash};
use crate::directory::Directory;
use crate::entry::Request;
use crate::flow::TENANT;
use crate::keys::{Key, Keys};
use crate::{Error, GatewayConfig, Metrics, SchemaIds, SpoolConfig};

/// Largest segment of the spool.
const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// A full spool has at least so many segments, so that room is given back bit by bit.
const SEGMENTS_MIN: u64 = 8;
/// After a start other gateways' answers are waited for so long, in case the log can be reached.
const ANSWERS_WAIT: Duration = Duration::from_secs(5);

pub(crate) struct Shared {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) registry: Arc<dyn Registry>,
    /// Topics of users.
    pub(crate) directory: Arc<Directory>,
    pub(crate) config: GatewayConfig,
    pub(crate) clock: Clock,
    pub(crate) answers: Arc<Answers>,
    pub(crate) metrics: Metrics,
    pub(crate) spans: Arc<dyn Spans>,
    pub(crate) spool: Arc<Spool>,
    /// The spool's directory.
    disk: Arc<dyn Disk>,
    started: Instant,
    /// Other gateways' answers up to the start are known.
    answers_read: AtomicBool,
    state: Mutex<State>,
    stopped: Condvar,
}

#[derive(Default)]
struct State {
    stopping: Option<Instant>,
    schemas: Option<SchemaIds>,
    /// Whether this process has asked the registry for them.
    registered: bool,
    /// Why the gateway is not ready, by part.
    reasons: BTreeMap<&'static str, String>,
    /// Why nothing is published at the moment.
    behind: Option<String>,
}

impl Shared {
    /// Opens the spool; the keys in it are known.
    pub(crate) fn open(
        log: Arc<dyn Log>,
        registry: Arc<dyn Registry>,
        config: GatewayConfig,
        clock: Clock,
        spans: Arc<dyn Spans>,
    ) -> Result<(Self, Keys), Error> {
        let disk: Arc<dyn Disk> = Arc::new(Dir::claim(&config.spool.dir)?);
        let keys_disk = Arc::new(Dir::claim(&config.spool.dir.join("keys"))?);
        let failed = |source| Error::Spool { dir: config.spool.dir.clone(), source };
        let (answers, now) = (Arc::new(Answers::new(config.keys_max)), clock());
        let mut keys = Keys::open(keys_disk, Arc::clone(&clock), &answers).map_err(failed)?;
        let spool = Spool::open(Arc::clone(&disk), limits(&config.spool), Arc::clone(&clock), &mut |entry| {
            let keyed = Request::parse(&entry.payload).and_then(|request| request.keyed);
            if let Some((key, given)) = keyed {
                let key = Key { hash: key_hash(TENANT, key), given };
                answers.recall(key, now);
                keys.add(entry.place, key);
            }
        });
        let spool = spool.map_err(failed)?;
        let schemas = SchemaIds::load(&*disk);
        let unknown = "schemas are not registered yet, here or at an earlier start".to_owned();
        let reasons = if schemas.is_some() { BTreeMap::new() } else { BTreeMap::from([("schemas", unknown)]) };
        let directory = Directory::open(Arc::clone(&log), Arc::clone(&registry), Arc::clone(&disk));
        let shared = Self {
            log,
            registry,
            directory: Arc::new(directory),
            config,
            clock,
            answers,
            metrics: Metrics::default(),
            spans,
            spool,
            disk,
            started: Instant::now(),
            answers_read: AtomicBool::new(false),
            state: Mutex::new(State { schemas, reasons, ..State::default() }),
            stopped: Condvar::new(),
        };
        Ok((shared, keys))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The transactional id: the spool's, so that whoever publishes it fences whoever did before.
    pub(crate) fn producer_id(&self) -> String {
        format!("tidemark-gateway-{}", self.spool.id())
    }

    pub(crate) fn stop(&self) {
        let mut state = self.state();
        state.reasons.insert("stopping", "the gateway is stopping".to_owned());
        state.stopping.get_or_insert_with(Instant::now);
        drop(state);
        self.stopped.notify_all();
    }

    pub(crate) fn stopping_since(&self) -> Option<Instant> {
        self.state().stopping
    }

    pub(crate) fn stopping(&self) -> bool {
        self.stopping_since().is_some()
    }

    /// Sleeps, but not longer than until the gateway is stopped; says whether it is.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        let waited = self.stopped.wait_timeout_while(self.state(), time, |state| state.stopping.is_none());
        waited.map_or(true, |(state, _)| state.stopping.is_some())
    }

    /// Whether requests can be taken, else why not.
    pub(crate) fn ready(&self) -> Result<(), Vec<String>> {
        let mut reasons: Vec<String> = self.state().reasons.values().cloned().collect();
        if !self.answers_read.load(Relaxed) && self.started.elapsed() < ANSWERS_WAIT {
            reasons.push("earlier answers are being read".to_owned());
        }
        if reasons.is_empty() { Ok(()) } else { Err(reasons) }
    }

    pub(crate) fn answers_are_read(&self) {
        self.answers_read.store(true, Relaxed);
    }

    /// Sets or clears why nothing is published; told once.
    pub(crate) fn set_behind(&self, why: Option<String>) {
        let mut state = self.state();
        match (&state.behind, &why) {
            (None, Some(why)) => tracing::warn!(why, "nothing is published; the spool keeps what comes"),
            (Some(_), None) => tracing::info!("publishing again"),
            (None, None) | (Some(_), Some(_)) => {}
        }
        if let Some(reason) = state.reasons.get_mut("schemas") {
            *reason = why.clone().unwrap_or_else(|| reason.clone());
        }
        state.behind = why;
    }

    /// Why nothing is published at the moment.
    pub(crate) fn behind(&self) -> Option<String> {
        self.state().behind.clone()
    }

    /// The schemas' ids, once they are known.
    pub(crate) fn schemas(&self) -> Option<SchemaIds> {
        self.state().schemas
    }

    /// Registers the schemas, once; a registry that is away is no matter if they were registered at an earlier start.
    pub(crate) fn register(&self) -> Result<(), String> {
        if self.state().registered {
            return Ok(());
        }
        let registered = SchemaIds::register(&*self.registry);
        let known = self.schemas();
        match registered {
            Ok(ids) => {
                if known.is_some_and(|known| known != ids) {
                    tracing::warn!(?known, ?ids, "the registry gives other ids than before; is it another registry?");
                }
                if known != Some(ids) {
                    ids.save(&*self.disk).map_err(|error| format!("schema ids cannot be kept: {error}"))?;
                }
                let mut state = self.state();
                (state.schemas, state.registered) = (Some(ids), true);
                state.reasons.remove("schemas");
                Ok(())
            }
            Err(error) if known.is_some() => {
                tracing::debug!(%error, "the registry cannot be reached; the ids of an earlier start are used");
                Ok(())
            }
            Err(error) => Err(format!("schemas cannot be registered: {error}")),
        }
    }
}

fn limits(config: &SpoolConfig) -> Limits {
    Limits {
        bytes_max: config.max_bytes,
        age_max_ms: i64::try_from(config.max_age.as_millis()).unwrap_or(i64::MAX),
        segment_bytes: (config.max_bytes / SEGMENTS_MIN).min(SEGMENT_BYTES_MAX),
    }
}
