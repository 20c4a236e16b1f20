//! A documents API with all that it needs, in a folder of its own.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use ring::digest;
use serde_json::{Value, json};
use tidemark_documents::{Config, Documents};
use tidemark_log::embedded::EmbeddedLog;
use tidemark_log::{Cleanup, Log, TopicSpec, system_clock};
use tidemark_schemas::registry::{Error, Registry};
use tidemark_views::documents as tables;
use tidemark_views::local::LocalViews;
use tidemark_views::{ViewStore, documents};
use tower::ServiceExt;

use crate::faulty::{FaultyLog, Switches};
use crate::responder::{Responder, Said};

/// How long anything may take before a test fails.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) fn now() -> i64 {
    system_clock()()
}

/// Ids by schema.
#[derive(Default)]
pub(crate) struct Schemas(Mutex<Vec<String>>);

impl Registry for Schemas {
    fn register(&self, _subject: &str, schema: &str) -> Result<u32, Error> {
        let mut all = self.0.lock().unwrap();
        let at = all.iter().position(|known| known == schema).unwrap_or_else(|| {
            all.push(schema.to_owned());
            all.len() - 1
        });
        Ok(at as u32 + 1)
    }

    fn schema(&self, id: u32) -> Result<Option<Arc<str>>, Error> {
        Ok(self.0.lock().unwrap().get(id as usize - 1).map(|schema| schema.as_str().into()))
    }
}

/// What outlives a process.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) switches: Arc<Switches>,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) views: Arc<dyn ViewStore>,
    pub(crate) said: Arc<Said>,
    responder: Option<std::thread::JoinHandle<()>>,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let inner: Arc<dyn Log> = EmbeddedLog::open(&dir.path().join("log"), system_clock()).unwrap();
        let names = ["documents.commands", "documents.answers", "view.documents.v1", "documents.workers"];
        let spec = |name: &str| TopicSpec {
            name: name.to_owned(),
            partitions: 2,
            cleanup: if name == "view.documents.v1" { Cleanup::Compact } else { Cleanup::Delete },
            retention_ms: None,
        };
        inner.create_topics(&names.map(spec)).unwrap();
        let switches = Arc::<Switches>::default();
        let log: Arc<dyn Log> = Arc::new(FaultyLog { inner: inner.clone(), switches: switches.clone() });
        let views: Arc<dyn ViewStore> = LocalViews::open(&dir.path().join("views"), system_clock()).unwrap();
        for spec in [tables::documents(), documents::log(), documents::steps()] {
            views.create(&spec).await.unwrap();
        }
        let registry: Arc<dyn Registry> = Arc::new(Schemas::default());
        let said = Arc::<Said>::default();
        let responder = Responder {
            log: inner,
            registry: registry.clone(),
            views: views.clone(),
            runtime: tokio::runtime::Handle::current(),
            said: said.clone(),
            documents: BTreeMap::new(),
            queue: VecDeque::new(),
            waiting: VecDeque::new(),
            leased: BTreeMap::new(),
            uploads: BTreeMap::new(),
            clock: 0,
            out: Vec::new(),
            rows: Vec::new(),
            lines: Vec::new(),
            runs: Vec::new(),
        };
        let responder = Some(std::thread::spawn(move || responder.run()));
        Self { dir, log, switches, registry, views, said, responder }
    }

    pub(crate) fn config(&self) -> Config {
        Config::new(&self.dir.path().join("documents"), "documents-test")
    }

    /// Starts the API, and waits until it is ready.
    pub(crate) async fn start(&self, config: Config) -> Api {
        let (log, registry, views) = (self.log.clone(), self.registry.clone(), self.views.clone());
        let documents = Documents::start(log, registry, views, config, system_clock()).unwrap();
        eventually("ready", async || documents.ready().is_ok()).await;
        let app = tidemark_documents::router(&documents);
        Api { documents, app }
    }

    pub(crate) async fn api(&self) -> Api {
        self.start(self.config()).await
    }

    pub(crate) fn objects(&self) -> std::path::PathBuf {
        self.dir.path().join("documents/objects")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.said.stop.store(true, Ordering::SeqCst);
        if let Some(responder) = self.responder.take() {
            let ended = responder.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the responder panicked");
        }
    }
}

/// A running API.
pub(crate) struct Api {
    pub(crate) documents: Arc<Documents>,
    pub(crate) app: Router,
}

impl Api {
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let answered = tokio::time::timeout(LIMIT, self.app.clone().oneshot(request)).await;
        let response = answered.expect("an answer in time").unwrap();
        let (parts, body) = response.into_parts();
        let body = tokio::time::timeout(LIMIT, body.collect()).await.expect("a body in time").unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body: body.to_vec() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Request::post(path).body(Body::from(body.to_string())).unwrap()).await
    }

    /// A raw upload.
    pub(crate) async fn raw(&self, name: &str, contents: impl Into<Body>) -> Answer {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("name", name)
            .append_pair("owner", "ann")
            .finish();
        self.send(Request::post(format!("/v1/documents?{query}")).body(contents.into()).unwrap()).await
    }

    /// Uploads text and gives its FileID.
    pub(crate) async fn put(&self, name: &str, contents: &str) -> String {
        let answer = self.raw(name, contents.to_owned()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&answer.body));
        answer.json()["documents"][0]["file_id"].as_str().unwrap().to_owned()
    }

    /// Leases the next task.
    pub(crate) async fn lease(&self, worker: &str) -> Value {
        let answer = self.post("/v1/queues/documents/lease", json!({"worker": worker})).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.body));
        answer.json()["task"].clone()
    }

    /// Does a task, with these results.
    pub(crate) async fn complete(&self, task: &Value, result: Value) -> Answer {
        let body = json!({"worker": "w", "token": task["token"], "result": result, "attempts": [{
            "step": "D1", "attempt": 1, "outcome": "OK", "message": null, "started_at": 1, "wall_us": 2, "cpu_us": 3, "memory_bytes": 4
        }]});
        self.post(&report(task, "complete"), body).await
    }

    /// Uploads text and has it done.
    pub(crate) async fn done(&self, name: &str, text: &str) -> String {
        let file_id = self.put(name, &format!("{name} {text}")).await;
        let task = self.lease("w").await;
        assert_eq!(task["document"]["file_id"], file_id.as_str());
        let answer = self.complete(&task, json!({"steps": {"D2": {"text": text}}})).await;
        assert_eq!(answer.status, StatusCode::OK);
        file_id
    }

    /// Waits until the list says so.
    pub(crate) async fn listed(&self, query: &str, is: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        for _ in 0..3_000 {
            let answer = self.get(&format!("/v1/documents{query}")).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.body));
            last = answer.json();
            if is(&last) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the list {query} never was as expected: {last:#}");
    }

    pub(crate) async fn stop(self) {
        let documents = self.documents;
        tokio::task::spawn_blocking(move || documents.stop()).await.unwrap();
    }
}

pub(crate) fn report(task: &Value, what: &str) -> String {
    format!("/v1/queues/documents/tasks/{}/{what}", task["task_id"].as_str().unwrap())
}

pub(crate) async fn eventually(what: &str, is: impl AsyncFn() -> bool) {
    let until = std::time::Instant::now() + LIMIT;
    while !is().await {
        assert!(std::time::Instant::now() < until, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn sha256(contents: &[u8]) -> String {
    digest::digest(&digest::SHA256, contents).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Files in a folder and below.
pub(crate) fn files(dir: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.path().is_dir() {
            true => all.extend(files(&entry.path())),
            false => all.push(entry.file_name().into_string().unwrap()),
        }
    }
    all.sort();
    all
}
