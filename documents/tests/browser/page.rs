//! The API on a loopback port, with what stands between it and a browser: a hand that refuses requests and breaks streams.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde_json::{Value, json};
use tidemark_documents::Config;
use tokio::sync::watch;

use crate::chromium::Browser;
use crate::world::{Api, World};

/// What happens to requests on their way.
pub struct Between {
    /// So many of the next uploads are answered so, without being handed on.
    pub refuse: Mutex<(u32, StatusCode)>,
    /// Who may write: everybody, or the holder of this token.
    pub token: Mutex<Option<&'static str>>,
    /// Paths of what was posted from the browser, in their order.
    pub posts: Mutex<Vec<String>>,
    /// Headers of the uploads, in their order.
    pub uploads: Mutex<Vec<HeaderMap>>,
    /// Whether streams are handed on; those that are open end when they are not.
    pub streams: watch::Sender<bool>,
}

pub struct Served {
    pub world: World,
    pub api: Api,
    pub between: Arc<Between>,
    pub url: String,
}

impl Served {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let world = World::new().await;
        let mut config = world.config();
        change(&mut config);
        let api = world.start(config).await;
        let between = Arc::new(Between {
            refuse: Mutex::new((0, StatusCode::OK)),
            token: Mutex::default(),
            posts: Mutex::default(),
            uploads: Mutex::default(),
            streams: watch::Sender::new(true),
        });
        let app = api.app.clone().layer(middleware::from_fn_with_state(Arc::clone(&between), pass));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { world, api, between, url }
    }

    /// A browser with the page open.
    pub async fn open(&self) -> Browser {
        let mut browser = Browser::open().await;
        browser.go(&format!("{}/documents", self.url)).await;
        browser.until("document.getElementById('link')?.textContent === 'live'").await;
        browser
    }

    /// Says of a task that it failed in D2, three times.
    pub async fn fail(&self, task: &Value) {
        let run = |attempt: i32| {
            json!({"step": "D2", "attempt": attempt, "outcome": "FAILED", "message": "no <xref>", "started_at": 1000 * attempt,
                   "wall_us": 900_000, "cpu_us": 400_000, "memory_bytes": 50 << 20})
        };
        let body = json!({"worker": "w", "token": task["token"], "step": "D2", "error": "no <xref>", "attempts": [run(1), run(2), run(3)]});
        let answer = self.api.post(&crate::world::report(task, "fail"), body).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
}

async fn pass(State(between): State<Arc<Between>>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    if request.method() == Method::POST {
        between.posts.lock().unwrap().push(path.clone());
        let wanted = between.token.lock().unwrap().map(|token| format!("Bearer {token}"));
        let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if wanted.is_some() && wanted.as_deref() != given {
            return problem(StatusCode::UNAUTHORIZED, "there is no good token");
        }
    }
    if request.method() == Method::POST && path == "/v1/documents" {
        between.uploads.lock().unwrap().push(request.headers().clone());
        let mut refuse = between.refuse.lock().unwrap();
        if refuse.0 > 0 {
            refuse.0 -= 1;
            return problem(refuse.1, "told to refuse");
        }
    }
    if path != "/v1/documents/live" {
        return next.run(request).await;
    }
    let mut streams = between.streams.subscribe();
    if !*streams.borrow() {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "no stream");
    }
    let over = async move { drop(streams.wait_for(|on| !*on).await) };
    next.run(request).await.map(|body| Body::from_stream(body.into_data_stream().take_until(Box::pin(over))))
}

fn problem(status: StatusCode, detail: &str) -> Response {
    (status, axum::Json(json!({"title": "refused", "status": status.as_u16(), "detail": detail}))).into_response()
}

/// A script that gives files to the page as the file picker does: name and contents.
pub fn choose(files: &[(&str, &str)]) -> String {
    format!(
        "(() => {{ const all = new DataTransfer();
           for (const [name, text] of {}) all.items.add(new File([text], name));
           const input = document.getElementById('files');
           input.files = all.files;
           input.dispatchEvent(new Event('change')); }})()",
        json!(files)
    )
}

/// The same, dropped somewhere on the page.
pub fn drop_on_page(files: &[(&str, &str)]) -> String {
    format!(
        "(() => {{ const all = new DataTransfer();
           for (const [name, text] of {}) all.items.add(new File([text], name));
           const more = {{dataTransfer: all, bubbles: true, cancelable: true}};
           for (const kind of ['dragenter', 'dragover', 'drop']) document.querySelector('footer').dispatchEvent(new DragEvent(kind, more)); }})()",
        json!(files)
    )
}

/// A script that says who uploads.
pub fn who(owner: &str, mail: &str) -> String {
    format!(
        "for (const [id, text] of {}) {{ const field = document.getElementById(id); field.value = text; \
         field.dispatchEvent(new Event('input')); field.dispatchEvent(new Event('change')); }}",
        json!([["owner", owner], ["mail", mail]])
    )
}

/// Complaints of a browser but for what it always says: answers that are errors, which these tests ask for.
pub fn complaints(browser: &Browser) -> Vec<String> {
    browser.complaints().into_iter().filter(|text| !text.contains("Failed to load resource")).collect()
}
