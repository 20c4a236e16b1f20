//! The page: every file of `documents/page/`, compiled in; nothing from other hosts.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::Documents;
use crate::problem::{Kind, Problem};

/// Scripts, styles and data from here and nowhere else; no inline script or style.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Name and contents.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// Adds the page.
pub(crate) fn routes(router: Router<Arc<Documents>>) -> Router<Arc<Documents>> {
    router
        .route("/documents", get(|| async { file("index.html") }))
        .route("/documents/{file}", get(|Path(name): Path<String>| async move { file(&name) }))
}

/// Always asked for again: the files are small and change with the binary.
fn file(name: &str) -> Response {
    let Some((_, contents)) = FILES.iter().find(|(known, _)| *known == name) else {
        return Problem::new(Kind::NotFound, format!("the page has no file {name:?}")).into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, media_type(name)),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-cache"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, *contents).into_response()
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    }
}
