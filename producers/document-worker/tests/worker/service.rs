//! A small service: a queue, leases, contents, and what it was told. It can be told to misbehave.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

#[derive(Default)]
pub(crate) struct Told {
    pub(crate) queue: VecDeque<Value>,
    pub(crate) contents: BTreeMap<String, Vec<u8>>,
    /// Task, verb, body.
    pub(crate) reports: Vec<(String, String, Value)>,
    pub(crate) heartbeats: Vec<Value>,
    /// Key of each request for a task.
    pub(crate) asked: Vec<String>,
    /// Answers by key, so that the same request is given the same task.
    pub(crate) given: BTreeMap<String, Value>,
    /// Leases that are over.
    pub(crate) over: Vec<(String, i64)>,
    /// Task and status: the answer to reports about it.
    pub(crate) refuse: BTreeMap<String, u16>,
    /// So many answers to requests for a task are lost.
    pub(crate) lose: usize,
    /// Everything is answered 503 so many times.
    pub(crate) unavailable: usize,
    pub(crate) token: Option<String>,
    pub(crate) never_waits: bool,
    /// Paths that contain this are answered 503.
    pub(crate) away: Option<String>,
    /// So many answers with contents break off in the middle.
    pub(crate) break_off: usize,
    /// The path of everything that was asked, answered or not.
    pub(crate) tries: Vec<String>,
    tokens: i64,
}

type Shared = Arc<(Mutex<Told>, Notify)>;

pub(crate) struct Service {
    shared: Shared,
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Service {
    pub(crate) fn start() -> Self {
        let mut service =
            Self { shared: Arc::default(), address: SocketAddr::from(([127, 0, 0, 1], 0)), runtime: None };
        service.revive();
        service
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it as a crash would: connections break, nobody listens. What it knows stays.
    pub(crate) fn kill(&mut self) {
        self.runtime.take().unwrap().shutdown_timeout(Duration::from_secs(5));
    }

    /// Starts it again at the same address.
    pub(crate) fn revive(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        // A connection of another test may have taken the port for a moment.
        let mut bound = None;
        crate::support::until("the service's port is free", || {
            bound = runtime.block_on(tokio::net::TcpListener::bind(self.address)).ok();
            bound.is_some()
        });
        let listener = bound.unwrap();
        self.address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/v1/queues/documents/lease", post(lease))
            .route("/v1/queues/documents/heartbeat", post(heartbeat))
            .route("/v1/queues/documents/tasks/{task}/{verb}", post(report))
            .route("/v1/documents/{file_id}/contents", get(contents))
            .layer(DefaultBodyLimit::disable())
            .layer(axum::middleware::from_fn_with_state(Arc::clone(&self.shared), gate))
            .with_state(Arc::clone(&self.shared));
        runtime.spawn(async move { axum::serve(listener, router).await });
        self.runtime = Some(runtime);
    }

    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        self.shared.0.lock().unwrap()
    }

    /// Puts a document into the queue; the task is called after it.
    pub(crate) fn add(&self, name: &str, contents: &[u8]) {
        let file_id: String = digest(&SHA256, contents).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let document = json!({"file_id": file_id, "name": name, "type": "text/plain", "bytes": contents.len()});
        let mut told = self.told();
        told.contents.insert(file_id, contents.to_vec());
        told.queue
            .push_back(json!({"task_id": format!("task {name}"), "attempt": 1, "deadline": 0, "document": document}));
        drop(told);
        self.shared.1.notify_waiters();
    }

    /// How often a path that contains this was asked for.
    pub(crate) fn tries(&self, path: &str) -> usize {
        self.told().tries.iter().filter(|tried| tried.contains(path)).count()
    }

    /// Waits until the worker has said so many times more that it lives, and has heard the answer to all but the last.
    pub(crate) fn heartbeats(&self, more: usize) {
        let before = self.told().heartbeats.len();
        crate::support::until("heartbeats", || self.told().heartbeats.len() >= before + more);
    }

    /// What heartbeats have named a document's task to be at, each once in a row.
    pub(crate) fn steps(&self, name: &str) -> Vec<String> {
        let (told, task) = (self.told(), format!("task {name}"));
        let held = told.heartbeats.iter().flat_map(|beat| beat["tasks"].as_array().unwrap());
        let mut steps: Vec<_> =
            held.filter(|held| held["task_id"] == task).map(|held| held["step"].as_str().unwrap().to_owned()).collect();
        steps.dedup();
        steps
    }

    /// Waits for the report about a document.
    pub(crate) fn report(&self, name: &str) -> (String, Value) {
        let mut found = None;
        crate::support::until(&format!("a report about {name}"), || {
            let task = format!("task {name}");
            found = self.told().reports.iter().find(|(of, ..)| *of == task).cloned();
            found.is_some()
        });
        let (_, verb, body) = found.unwrap();
        (verb, body)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn gate(State(shared): State<Shared>, request: axum::extract::Request, next: axum::middleware::Next) -> Response {
    let refusal = {
        let mut told = shared.0.lock().unwrap();
        let path = request.uri().path().to_owned();
        let is_away = told.away.as_ref().is_some_and(|away| path.contains(away));
        told.tries.push(path);
        let shown = request.headers().get("authorization").and_then(|value| value.to_str().ok());
        let wanted = told.token.as_ref().map(|token| format!("Bearer {token}"));
        if wanted.is_some() && shown != wanted.as_deref() {
            Some(StatusCode::UNAUTHORIZED.into_response())
        } else if told.unavailable > 0 || is_away {
            told.unavailable = told.unavailable.saturating_sub(1);
            Some((StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")]).into_response())
        } else {
            None
        }
    };
    match refusal {
        Some(refusal) => refusal,
        None => next.run(request).await,
    }
}

async fn lease(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let text = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
    let (key, wait) = (text("idempotency-key"), text("prefer"));
    let wait: u64 = wait.strip_prefix("wait=").unwrap().parse().unwrap();
    let never_waits = {
        let mut told = shared.0.lock().unwrap();
        told.asked.push(key.clone());
        told.never_waits
    };
    let until = tokio::time::Instant::now() + Duration::from_secs(if never_waits { 0 } else { wait });
    loop {
        let added = shared.1.notified();
        tokio::pin!(added);
        added.as_mut().enable();
        if let Some((task, lost)) = give(&shared, &key) {
            if lost {
                // A body that breaks off, as when the service is killed.
                let broken = futures_stream(vec![Ok("{".into()), Err("killed")]);
                return axum::body::Body::from_stream(broken).into_response();
            }
            return axum::Json(json!({"task": task})).into_response();
        }
        if tokio::time::timeout_at(until, added).await.is_err() {
            return axum::Json(json!({"task": null, "message": "no task available"})).into_response();
        }
    }
}

fn futures_stream(items: Vec<Result<Bytes, &'static str>>) -> impl futures::Stream<Item = Result<Bytes, &'static str>> {
    futures::stream::iter(items)
}

fn give(shared: &Shared, key: &str) -> Option<(Value, bool)> {
    let mut told = shared.0.lock().unwrap();
    let lost = told.lose > 0;
    if let Some(task) = told.given.get(key) {
        return Some((task.clone(), false));
    }
    let mut task = told.queue.pop_front()?;
    told.lose = told.lose.saturating_sub(1);
    told.tokens += 1;
    task["token"] = json!(told.tokens);
    told.given.insert(key.to_owned(), task.clone());
    Some((task, lost))
}

async fn heartbeat(State(shared): State<Shared>, axum::Json(body): axum::Json<Value>) -> axum::Json<Value> {
    let mut told = shared.0.lock().unwrap();
    // All of them, whoever asks: a worker is to know its own.
    let revoked: Vec<Value> =
        told.over.iter().map(|(task_id, token)| json!({"task_id": task_id, "token": token})).collect();
    told.heartbeats.push(body);
    axum::Json(json!({"revoked": revoked}))
}

async fn report(
    State(shared): State<Shared>,
    Path((task, verb)): Path<(String, String)>,
    axum::Json(body): axum::Json<Value>,
) -> Response {
    let mut told = shared.0.lock().unwrap();
    let status = told.refuse.get(&task).copied().filter(|status| *status == 409 || verb == "complete");
    if let Some(status) = status {
        told.reports.push((task, format!("{verb} {status}"), body));
        let problem = json!({"detail": "not taken"});
        return (StatusCode::from_u16(status).unwrap(), axum::Json(problem)).into_response();
    }
    told.reports.push((task, verb, body));
    axum::Json(json!({"outcome": "accepted"})).into_response()
}

async fn contents(State(shared): State<Shared>, Path(file_id): Path<String>) -> Response {
    let mut told = shared.0.lock().unwrap();
    let breaks_off = told.break_off > 0;
    told.break_off = told.break_off.saturating_sub(1);
    match told.contents.get(&file_id) {
        Some(contents) if breaks_off => {
            let half = Bytes::from(contents[..contents.len() / 2].to_vec());
            axum::body::Body::from_stream(futures_stream(vec![Ok(half), Err("killed")])).into_response()
        }
        Some(contents) => contents.clone().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
