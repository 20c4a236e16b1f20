//! A gateway on an embedded log in a directory of its own, with the clock moved by hand.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tidemark_gateway::{FLOWS_TOPIC, Gateway, GatewayConfig, SpoolConfig, router};
use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::span::NoSpans;
use tidemark_log::{At, Cleanup, Log, TopicPartition, TopicSpec};
use tidemark_schemas::avro::{Avro, Reader};
use tidemark_schemas::flows::FlowObserved;
use tidemark_schemas::registry::{Error, Latest, Refusal, Registry, Subjects};
use tidemark_schemas::wire;
use tower::ServiceExt;

pub(crate) const NOW: i64 = 1_769_860_800_123; // 2026-01-31T12:00:00.123Z
pub(crate) const HOUR: i64 = NOW / 3_600_000;
pub(crate) const PARTITIONS: u32 = 4;
pub(crate) const JSON: &str = "application/json";
pub(crate) const NDJSON: &str = "application/x-ndjson";
pub(crate) const AVRO: &str = "application/avro";

/// Decides as the embedded one, in memory, and can be down.
#[derive(Default)]
pub(crate) struct TestRegistry {
    subjects: Mutex<Subjects>,
    pub(crate) down: AtomicBool,
    /// How often the latest version of a subject was asked for.
    pub(crate) asked: AtomicI64,
}

impl TestRegistry {
    /// Takes any schema after any other.
    pub(crate) fn lax(&self) {
        let mut subjects = self.subjects.lock().unwrap();
        let event = subjects.set_level(None, "NONE").unwrap();
        subjects.apply(event);
    }

    fn subjects(&self) -> Result<MutexGuard<'_, Subjects>, Error> {
        match self.down.load(SeqCst) {
            true => Err(Error::Unavailable("switched off".to_owned())),
            false => Ok(self.subjects.lock().unwrap()),
        }
    }
}

impl Registry for TestRegistry {
    fn register(&self, subject: &str, schema: &str) -> Result<u32, Error> {
        let mut subjects = self.subjects()?;
        match subjects.register(subject, schema) {
            Ok(Err(id)) => Ok(id),
            Ok(Ok(event)) => {
                subjects.apply(event);
                Ok(subjects.lookup(subject, schema).unwrap().id)
            }
            Err(Refusal::Incompatible(subject, reasons)) => {
                Err(Error::Incompatible { subject, reason: reasons.join("; ") })
            }
            Err(refusal) => Err(Error::Invalid(refusal.to_string())),
        }
    }
    fn schema(&self, id: u32) -> Result<Option<Arc<str>>, Error> {
        Ok(self.subjects()?.schema(id))
    }
    fn latest_of(&self, subject: &str) -> Result<Option<Latest>, Error> {
        self.asked.fetch_add(1, SeqCst);
        let subjects = self.subjects()?;
        let latest = subjects.version(subject, "latest").ok();
        Ok(latest.map(|v| Latest { id: v.id, version: v.version, schema: Arc::clone(&v.schema) }))
    }
    fn subject_names(&self) -> Result<Vec<String>, Error> {
        Ok(self.subjects()?.subjects().into_iter().map(str::to_owned).collect())
    }
}

/// A flow as it stands in the log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stored {
    pub(crate) src_app: String,
    pub(crate) dest_app: String,
    pub(crate) vpc_id: String,
    pub(crate) observed_at: i64,
    pub(crate) bytes_tx: i64,
    pub(crate) bytes_rx: i64,
    pub(crate) event_id: String,
    pub(crate) partition: u32,
    pub(crate) headers: Vec<(String, String)>,
}

pub(crate) struct Bench {
    pub(crate) dir: Option<TempDir>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) registry: Arc<TestRegistry>,
    pub(crate) now: Arc<AtomicI64>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn ids(&self) -> Vec<String> {
        let ids = self.body["event_ids"].as_array().unwrap_or_else(|| panic!("{} {}", self.status, self.body));
        ids.iter().map(|id| id.as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn code(&self) -> &str {
        self.body["type"].as_str().unwrap_or_default().trim_start_matches("urn:tidemark:problem:")
    }
}

pub(crate) fn open(dir: &Path, now: &Arc<AtomicI64>) -> Arc<dyn Log> {
    let now = Arc::clone(now);
    let log = EmbeddedLog::open(dir, Arc::new(move || now.load(SeqCst))).unwrap();
    let flows = TopicSpec {
        name: FLOWS_TOPIC.to_owned(),
        partitions: PARTITIONS,
        cleanup: Cleanup::Delete,
        retention_ms: Some(7 * 24 * 3_600_000),
    };
    log.create_topics(&[flows]).unwrap();
    log
}

pub(crate) fn start(
    log: &Arc<dyn Log>,
    registry: &Arc<TestRegistry>,
    now: &Arc<AtomicI64>,
    config: GatewayConfig,
) -> Arc<Gateway> {
    let now = Arc::clone(now);
    let registry: Arc<dyn Registry> = Arc::clone(registry) as _;
    Gateway::start(Arc::clone(log), registry, config, Arc::new(move || now.load(SeqCst)), Arc::new(NoSpans)).unwrap()
}

pub(crate) fn until(what: &str, mut met: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !met() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn ready(gateway: &Gateway) {
    until("ready", || gateway.ready().is_ok());
}

/// Waits until nothing is left to publish.
pub(crate) fn drained(gateway: &Gateway) {
    until("drained", || waiting(gateway) == 0);
}

/// Records in the spool.
pub(crate) fn waiting(gateway: &Gateway) -> u64 {
    gateway.status()["spool"]["records"].as_u64().unwrap()
}

pub(crate) fn metrics(gateway: &Gateway) -> String {
    let mut text = String::new();
    gateway.render(&mut text);
    text
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::over(|log| log)
    }

    /// With the log wrapped in something.
    pub(crate) fn over(wrap: impl FnOnce(Arc<dyn Log>) -> Arc<dyn Log>) -> Self {
        Self::with(wrap, |_| {})
    }

    /// With the log wrapped in something, and another configuration.
    pub(crate) fn with(wrap: impl FnOnce(Arc<dyn Log>) -> Arc<dyn Log>, set: impl FnOnce(&mut GatewayConfig)) -> Self {
        let dir = TempDir::new().unwrap();
        let now = Arc::new(AtomicI64::new(NOW));
        let registry = Arc::new(TestRegistry::default());
        let log = wrap(open(&dir.path().join("log"), &now));
        let mut config = GatewayConfig::new(SpoolConfig::new(dir.path().join("spool")));
        set(&mut config);
        let gateway = start(&log, &registry, &now, config);
        ready(&gateway);
        Self { dir: Some(dir), log, gateway, registry, now }
    }

    /// Stops the gateway, looks into its directory, and starts it again on the same log.
    pub(crate) fn reopen(self, set: impl FnOnce(&mut GatewayConfig)) -> Self {
        let Self { dir, log, gateway, registry, now } = self;
        gateway.stop();
        drop(gateway);
        let mut config = GatewayConfig::new(SpoolConfig::new(dir.as_ref().unwrap().path().join("spool")));
        set(&mut config);
        let gateway = start(&log, &registry, &now, config);
        Self { dir, log, gateway, registry, now }
    }

    /// The configuration of another gateway.
    pub(crate) fn another(&self, name: &str) -> GatewayConfig {
        GatewayConfig::new(SpoolConfig::new(self.dir.as_ref().unwrap().path().join(name)))
    }

    /// Ends the process, as it were, and starts it again on the same directory.
    pub(crate) fn restart(mut self) -> Self {
        let (dir, now) = (self.dir.take(), Arc::clone(&self.now));
        let registry = Arc::clone(&self.registry);
        self.gateway.stop();
        drop(self);
        let dir = dir.unwrap();
        let log = open(&dir.path().join("log"), &now);
        let gateway = start(&log, &registry, &now, GatewayConfig::new(SpoolConfig::new(dir.path().join("spool"))));
        ready(&gateway);
        Self { dir: Some(dir), log, gateway, registry, now }
    }

    pub(crate) async fn post(&self, kind: &str, body: impl Into<Body>) -> Answer {
        self.send("/v1/flows", &[("content-type", kind)], body).await
    }

    pub(crate) async fn send(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        send(&self.gateway, path, headers, body).await
    }

    /// All flows in the log once the gateway has published what it took, sorted by event id.
    pub(crate) fn stored(&self) -> Vec<Stored> {
        drained(&self.gateway);
        stored(&*self.log)
    }

    pub(crate) fn metrics(&self) -> String {
        metrics(&self.gateway)
    }
}

pub(crate) async fn send(
    gateway: &Arc<Gateway>,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Answer {
    ask(gateway, Request::post(path), headers, body).await
}

pub(crate) async fn ask(
    gateway: &Arc<Gateway>,
    request: axum::http::request::Builder,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Answer {
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let response = router(Arc::clone(gateway)).oneshot(request.body(body.into()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    if !parts.status.is_success() {
        assert_eq!(parts.headers["content-type"], "application/problem+json", "{}", parts.status);
        assert_eq!(body["status"], parts.status.as_u16());
        assert!(body["title"].is_string() && body["detail"].is_string(), "{body}");
    }
    Answer { status: parts.status, headers: parts.headers, body }
}

pub(crate) fn stored(log: &dyn Log) -> Vec<Stored> {
    let partitions: Vec<_> = (0..PARTITIONS).map(|partition| TopicPartition::new(FLOWS_TOPIC, partition)).collect();
    let ends = log.offsets(&partitions, At::StableEnd).unwrap();
    let from: Vec<_> = partitions.iter().map(|partition| (partition.clone(), 0)).collect();
    let mut reader = log.reader(&from).unwrap();
    let mut flows = Vec::new();
    until("all read", || {
        reader
            .poll(Duration::from_millis(10), &mut |batch| {
                flows.extend(batch.records.iter().map(|record| decode(batch.partition, record)));
            })
            .unwrap();
        partitions.iter().zip(&ends).all(|(partition, end)| reader.position(partition).unwrap() >= *end)
    });
    flows.sort_by(|a, b| a.event_id.cmp(&b.event_id));
    flows
}

const HEADERS: [&str; 6] = ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "traceparent"];

fn decode(partition: u32, record: &tidemark_log::Record<'_>) -> Stored {
    let (_, datum) = wire::split(record.value.unwrap()).unwrap();
    let mut reader = Reader::new(datum);
    let flow = FlowObserved::get(&mut reader).unwrap();
    reader.finish().unwrap();
    assert_eq!((flow.tenant, record.key), ("default", None));
    let header = |name: &str| {
        let value = record.headers.get(name).unwrap_or_else(|| panic!("no header {name}"));
        (name.to_owned(), String::from_utf8(value.to_vec()).unwrap())
    };
    Stored {
        src_app: flow.src_app.to_owned(),
        dest_app: flow.dest_app.to_owned(),
        vpc_id: flow.vpc_id.to_owned(),
        observed_at: flow.observed_at,
        bytes_tx: flow.bytes_tx,
        bytes_rx: flow.bytes_rx,
        event_id: flow.event_id.to_owned(),
        partition,
        headers: HEADERS.iter().map(|name| header(name)).collect(),
    }
}

/// A valid record with one field replaced (or, with `null`, taken out).
pub(crate) fn flow_with(field: &str, value: Value) -> Value {
    let mut flow = serde_json::json!({
        "src_app": "web", "dest_app": "db", "vpc_id": "vpc-1", "observed_at": NOW, "bytes_tx": 7, "bytes_rx": 9
    });
    match value {
        Value::Null => drop(flow.as_object_mut().unwrap().remove(field)),
        value => flow[field] = value,
    }
    flow
}

pub(crate) fn flow() -> Value {
    flow_with("bytes_tx", 7.into())
}
