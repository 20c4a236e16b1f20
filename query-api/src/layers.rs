//! What every answer has, whichever route gives it: a request id, hardened headers, an access log line, metrics, and a
//! problem document where the router itself refused.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::Api;
use crate::problem::Problem;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest request id taken over from the caller.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// Wraps a request.
pub(crate) async fn wrap(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(&request);
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().map_or_else(|| "none".to_owned(), |m| m.as_str().to_owned());
    let mut response = document(next.run(request).await, &method, &path);
    let status = response.status().as_u16();
    let took = started.elapsed();
    api.metrics.request(&route, name(&method), status, took);
    let id_text = id.to_str().unwrap_or_default();
    tracing::info!(target: "tidemark::access", method = name(&method), path, status, ms = took.as_millis() as u64, request_id = id_text);
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The caller's id if it is a plain word, else a new one.
fn request_id(request: &Request) -> HeaderValue {
    let plain = |v: &&HeaderValue| {
        let bytes = v.as_bytes();
        (1..=REQUEST_ID_BYTES_MAX).contains(&bytes.len())
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
    };
    let given = request.headers().get(REQUEST_ID).filter(plain).cloned();
    given
        .or_else(|| HeaderValue::try_from(uuid::Uuid::now_v7().to_string()).ok())
        .unwrap_or(HeaderValue::from_static("-"))
}

/// The router's own refusals have no body: they get a problem document, and keep `Allow`.
fn document(response: Response, method: &Method, path: &str) -> Response {
    if response.headers().contains_key(header::CONTENT_TYPE) {
        return response;
    }
    match Problem::bare(response.status(), method.as_str(), path) {
        None => response,
        Some(problem) => {
            let mut documented = problem.into_response();
            if let Some(allow) = response.headers().get(header::ALLOW) {
                documented.headers_mut().insert(header::ALLOW, allow.clone());
            }
            documented
        }
    }
}

/// Methods as labels: a made-up one must not make a new series.
fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}
