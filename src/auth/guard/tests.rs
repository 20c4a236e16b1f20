#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::auth::file::Tokens;
use crate::auth::roles::Role;
use axum::body::{Body, to_bytes};
use axum::routing::{get, post};
use std::time::Duration;
use tower::ServiceExt;

/// A router with some of the routes of the table, a route in no table, and tokens by role.
struct Bench {
    router: Router,
    file: std::path::PathBuf,
    tokens: Vec<(Role, Token)>,
    guard: Arc<Guard>,
    _dir: tempfile::TempDir,
}

fn routes() -> Router {
    let echo = |headers: HeaderMap| async move { format!("{headers:?}") };
    Router::new()
        .route("/v1/hours", get(echo))
        .route("/v1/flows", post(|body: axum::body::Bytes| async move { format!("{} bytes", body.len()) }))
        .route("/v1/health", get(async || (StatusCode::SERVICE_UNAVAILABLE, "the log at 10.0.0.7 is away")))
        .route("/v1/new", get(async || "secret"))
        .route("/metrics", get(async || std::future::pending::<&str>().await))
        .nest("/registry", Router::new().route("/", get(async || "{}")).fallback(async || StatusCode::NOT_FOUND))
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens.toml");
    let (mut kept, mut tokens) = (Tokens::default(), Vec::new());
    for role in Role::ALL {
        let token = Token::random().unwrap();
        let caller = Caller { name: role.to_string().into(), roles: vec![role] };
        kept.add(&token, caller, 0, None).unwrap();
        tokens.push((role, token));
    }
    std::fs::write(&file, kept.render()).unwrap();
    let guard = Guard::open(Some(&file), "0.0.0.0:1".parse().unwrap(), "up").unwrap();
    Bench { router: guard.protect(routes()), file, tokens, guard, _dir: dir }
}

impl Bench {
    fn bearer(&self, role: Role) -> String {
        let (_, token) = self.tokens.iter().find(|(held, _)| *held == role).unwrap();
        format!("Bearer {}", token.reveal())
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, String) {
        send(&self.router, Method::GET, path, headers, "").await
    }
}

async fn send(
    router: &Router,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &'static str,
) -> (StatusCode, HeaderMap, String) {
    let request = Request::builder().method(method).uri(path);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let response = router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn nobody_learns_nothing_and_handlers_see_no_token() {
    let bench = bench();
    let (status, headers, body) = bench.get("/v1/hours", &[]).await;
    assert_eq!(
        (status, headers["www-authenticate"].to_str().unwrap()),
        (StatusCode::UNAUTHORIZED, "Bearer realm=\"tidemark\"")
    );
    assert_eq!(headers["content-type"], "application/problem+json");
    assert!(body.contains("urn:tidemark:problem:no_token"), "{body}");
    let (status, headers, _) = bench.get("/v1/hours", &[("authorization", "Bearer tdm_0")]).await;
    assert!(
        status == StatusCode::UNAUTHORIZED && headers["www-authenticate"].to_str().unwrap().contains("invalid_token")
    );
    let (status, _, body) = bench.get("/v1/hours", &[("authorization", &bench.bearer(Role::Query))]).await;
    assert!(status == StatusCode::OK && !body.contains("tdm_") && !body.contains("authorization"), "{body}");
    let (status, _, body) = bench.get("/v1/health", &[]).await;
    assert_eq!((status, body.as_str()), (StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"not ready"}"#));
    let (_, _, body) = bench.get("/v1/health", &[("authorization", &bench.bearer(Role::Ops))]).await;
    assert!(body.contains("10.0.0.7"), "{body}");
}

#[tokio::test]
async fn what_no_rule_names_is_denied_and_what_is_not_there_is_said() {
    let bench = bench();
    let ops = bench.bearer(Role::Ops);
    for (path, as_ops, as_nobody) in
        [("/v1/new", 403, 401), ("/nowhere", 404, 401), ("/registry/nowhere", 404, 401), ("/registry", 403, 401)]
    {
        assert_eq!(bench.get(path, &[("authorization", &ops)]).await.0, as_ops, "{path}");
        assert_eq!(bench.get(path, &[]).await.0, as_nobody, "{path}");
    }
    let basic = |token: &str| {
        use base64::Engine;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("x:{token}")))
    };
    let registry = bench.bearer(Role::Registry);
    let password = basic(registry.trim_start_matches("Bearer "));
    assert_eq!(bench.get("/registry", &[("authorization", &password)]).await.0, 200);
    assert_eq!(bench.get("/v1/hours", &[("authorization", &password)]).await.0, 401);
}

#[tokio::test]
async fn a_browser_signs_in_reads_and_signs_out() {
    let bench = bench();
    let page = [("accept", "text/html,*/*")];
    let (status, headers, _) = bench.get("/v1/hours", &page).await;
    assert_eq!((status, headers["location"].to_str().unwrap()), (StatusCode::SEE_OTHER, "/login"));
    let (status, headers, body) = bench.get("/login", &page).await;
    assert!(status == StatusCode::OK && body.contains("/v1/session"), "{body}");
    assert!(!headers["content-security-policy"].to_str().unwrap().contains("unsafe"));

    let form = |token: &str| -> &'static str { Box::leak(format!("token={token}").into_boxed_str()) };
    let sign_in = async |token: &str, headers: &[(&str, &str)]| {
        send(&bench.router, Method::POST, "/v1/session", headers, form(token)).await
    };
    let query = bench.bearer(Role::Query);
    let query = query.trim_start_matches("Bearer ");
    let (status, headers, body) = sign_in("tdm_wrong", &[]).await;
    assert!(
        status == StatusCode::UNAUTHORIZED && !headers.contains_key("set-cookie") && !body.contains("tdm_"),
        "{body}"
    );
    assert_eq!(sign_in(query, &[("sec-fetch-site", "cross-site")]).await.0, 403);
    let (status, headers, _) = sign_in(query, &[("origin", "https://tidemark.example")]).await;
    let cookie = headers["set-cookie"].to_str().unwrap();
    assert_eq!(
        (status, cookie),
        (StatusCode::SEE_OTHER, format!("tidemark_token={query}; Path=/; HttpOnly; SameSite=Strict; Secure").as_str())
    );

    let held = format!("tidemark_token={query}");
    let (status, headers, body) = bench.get("/v1/hours", &[("cookie", &held)]).await;
    assert!(status == StatusCode::OK && !body.contains("tdm_"), "{body}");
    assert_eq!(headers["cache-control"], "no-store");
    let publish = format!("tidemark_token={}", bench.bearer(Role::Publish).trim_start_matches("Bearer "));
    assert_eq!(send(&bench.router, Method::POST, "/v1/flows", &[("cookie", &publish)], "x").await.0, 401);
    let (_, headers, _) = sign_in("", &[]).await;
    assert!(headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
}

#[tokio::test]
async fn a_revoked_token_is_refused_and_its_streams_end() {
    let bench = bench();
    let token = bench.bearer(Role::Query);
    let stream = get(async || {
        let head = [(header::CONTENT_TYPE, "text/event-stream")];
        (head, Body::from_stream(futures::stream::pending::<Result<axum::body::Bytes, std::convert::Infallible>>()))
    });
    let router = bench.guard.protect(Router::new().route("/v1/live", stream));
    tokio::spawn(Arc::clone(&bench.guard).follow());
    let ask = || Request::get("/v1/live").header("authorization", &token).body(Body::empty()).unwrap();
    let live = router.clone().oneshot(ask()).await.unwrap();
    assert_eq!(live.status(), StatusCode::OK);
    let mut kept = Tokens::parse(&std::fs::read_to_string(&bench.file).unwrap()).unwrap();
    assert!(kept.revoke("query"));
    // Broken first: nothing changes until it can be read.
    std::fs::write(&bench.file, "[[token").unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(router.clone().oneshot(ask()).await.unwrap().status(), StatusCode::OK);
    std::fs::write(&bench.file, kept.render()).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(6), to_bytes(live.into_body(), 1 << 10)).await;
    assert!(ended.is_ok_and(|body| body.is_ok()), "the stream goes on");
    assert_eq!(router.oneshot(ask()).await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn too_many_at_a_time_are_told_to_come_again() {
    let bench = bench();
    let (ops, query) = (bench.bearer(Role::Ops), bench.bearer(Role::Query));
    let hang = || {
        let request = Request::get("/metrics").header("authorization", &ops).body(Body::empty()).unwrap();
        tokio::spawn(bench.router.clone().oneshot(request))
    };
    let under_way: Vec<_> = (0..REQUESTS_MAX).map(|_| hang()).collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (status, headers, body) = bench.get("/metrics", &[("authorization", &ops)]).await;
    assert_eq!((status, headers["retry-after"].to_str().unwrap()), (StatusCode::TOO_MANY_REQUESTS, "1"), "{body}");
    assert_eq!(bench.get("/v1/hours", &[("authorization", &query)]).await.0, 200, "another client");
    under_way.iter().for_each(tokio::task::JoinHandle::abort);
    let given_back = async {
        while bench.get("/nowhere", &[("authorization", &ops)]).await.0 != 404 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), given_back).await.expect("places are given back");
}

#[tokio::test]
async fn a_body_that_trickles_is_given_up() {
    let bench = bench();
    let drops = futures::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok::<_, std::convert::Infallible>(axum::body::Bytes::from_static(b"x")), ()))
    });
    let request = Request::post("/v1/flows").header("authorization", bench.bearer(Role::Publish));
    let began = tokio::time::Instant::now();
    let response = bench.router.clone().oneshot(request.body(Body::from_stream(drops)).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert!(began.elapsed() <= Duration::from_secs(8), "{:?}", began.elapsed());
}

#[tokio::test]
async fn without_tokens_only_this_machine_is_served() {
    let error = Guard::open(None, "0.0.0.0:8080".parse().unwrap(), "serve gateway").unwrap_err().to_string();
    assert!(
        error.contains("tidemark token new") && error.contains("tidemark serve gateway --listen 0.0.0.0:8080"),
        "{error}"
    );
    assert!(Guard::open(None, "[::]:1".parse().unwrap(), "up").is_err());
    for open in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        let guard = Guard::open(None, open.parse().unwrap(), "up").unwrap();
        let router = guard.protect(routes());
        let ask = async |method, host, origin| {
            send(&router, method, "/v1/flows", &[("host", host), ("origin", origin)], "x").await.0
        };
        assert_eq!(ask(Method::POST, "127.0.0.1:1", "http://127.0.0.1:1").await, 200);
        assert_eq!(ask(Method::POST, "127.0.0.1:1", "http://evil.example").await, 403);
        assert_eq!(ask(Method::POST, "evil.example", "http://evil.example").await, 403);
    }
}
