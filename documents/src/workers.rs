//! Follows the topic of workers: who there is, and how they are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tidemark_log::{At, Error};
use tidemark_schemas::catalog;
use tidemark_schemas::dispatch::WorkerChanged;
use tidemark_schemas::registry::Registry;
use utoipa::ToSchema;

use crate::follow::{PAUSE, Topic, Values};
use crate::stop::Stop;
use crate::topics::WORKERS;

/// Workers that are known at a time; of more, those of the last names are not shown.
const WORKERS_MAX: usize = 10_000;

/// A worker of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Worker {
    /// Its name.
    worker: String,
    /// Tasks that it takes at a time.
    capacity: i32,
    /// Leases that it holds.
    leases: i32,
    /// When it was last heard of.
    #[serde(with = "crate::instant")]
    #[schema(value_type = String, format = DateTime)]
    last_heartbeat: i64,
    /// Resident memory of it and its steps.
    memory_bytes: i64,
    /// 100 is one core.
    cpu_percent: i32,
}

/// By tenant, queue and worker.
type Known = BTreeMap<(String, String, String), Worker>;

/// All workers.
#[derive(Default)]
pub(crate) struct Workers {
    known: Mutex<Known>,
}

impl Workers {
    /// Those of a queue, by name.
    pub(crate) fn of(&self, tenant: &str, queue: &str) -> Vec<Worker> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let from = (tenant.to_owned(), queue.to_owned(), String::new());
        let own = known.range(from..).take_while(|((of, on, _), _)| of == tenant && on == queue);
        own.map(|(_, worker)| worker.clone()).collect()
    }

    fn put(&self, row: WorkerChanged) {
        let worker = Worker {
            worker: row.worker.clone(),
            capacity: row.capacity,
            leases: row.leases,
            last_heartbeat: row.last_heartbeat,
            memory_bytes: row.memory_bytes,
            cpu_percent: row.cpu_percent,
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert((row.tenant, row.queue, row.worker), worker);
        while known.len() > WORKERS_MAX {
            known.pop_last();
        }
    }

    fn clear(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// By its key, `tenant/queue/worker`: neither tenant nor queue has a `/`.
    fn remove(&self, key: &[u8]) {
        let key = String::from_utf8_lossy(key);
        let mut parts = key.splitn(3, '/').map(str::to_owned);
        if let (Some(tenant), Some(queue), Some(worker)) = (parts.next(), parts.next(), parts.next()) {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&(tenant, queue, worker));
        }
    }
}

/// Follows the topic from its start until the service stops: it is compacted, so it holds little more than the workers there are.
pub(crate) fn run(workers: &Workers, mut topic: Topic, registry: Arc<dyn Registry>, stop: &Stop) {
    let mut values = Values::new(registry, catalog::WORKER_CHANGED, WORKERS);
    while !stop.stopping() {
        if let Err(error) = follow(workers, &mut topic, &mut values, stop) {
            tracing::warn!(%error, "{WORKERS} cannot be followed; trying again");
            stop.pause(PAUSE);
        }
    }
}

fn follow(workers: &Workers, topic: &mut Topic, values: &mut Values, stop: &Stop) -> Result<(), Error> {
    topic.seek(topic.ask(At::Start)?);
    // Who left meanwhile is in the topic no more.
    workers.clear();
    while !stop.stopping() {
        for record in topic.poll()? {
            match record.value {
                None => workers.remove(&record.key),
                Some(value) => values.read(&value, stop).into_iter().for_each(|row| workers.put(row)),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use tidemark_log::embedded::EmbeddedLog;
    use tidemark_log::{Cleanup, Log, TopicSpec, system_clock};
    use tidemark_schemas::registry;

    use super::*;

    struct NoSchemas;

    impl Registry for NoSchemas {
        fn register(&self, _: &str, _: &str) -> Result<u32, registry::Error> {
            Ok(1)
        }

        fn schema(&self, _: u32) -> Result<Option<Arc<str>>, registry::Error> {
            Ok(None)
        }
    }

    /// A tombstone that was cleaned up while the topic could not be read does not leave its worker behind.
    #[test]
    fn what_is_read_anew_begins_with_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(dir.path(), system_clock()).unwrap();
        let name = WORKERS.to_owned();
        log.create_topics(&[TopicSpec { name, partitions: 1, cleanup: Cleanup::Compact, retention_ms: None }]).unwrap();
        let (tenant, queue, worker) = ("t".to_owned(), "q".to_owned(), "w".to_owned());
        let (workers, stop) = (Workers::default(), Stop::default());
        workers.put(WorkerChanged {
            tenant,
            queue,
            worker,
            capacity: 1,
            leases: 0,
            last_heartbeat: 1,
            memory_bytes: 0,
            cpu_percent: 0,
        });
        assert_eq!(workers.of("t", "q").len(), 1);
        let mut values = Values::new(Arc::new(NoSchemas), catalog::WORKER_CHANGED, WORKERS);
        stop.stop();
        follow(&workers, &mut Topic::new(log, WORKERS), &mut values, &stop).unwrap();
        assert_eq!(workers.of("t", "q"), []);
    }
}
