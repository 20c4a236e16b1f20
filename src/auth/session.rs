//! Signing in with a browser: a page asks for the token, a cookie keeps it.
//!
//! The cookie is the token: nothing is kept here, so a revoked token signs its browsers out, and every process behind one name
//! knows it. No script reads it (`HttpOnly`), no other site sends it (`SameSite=Strict`), it is good for reading alone, and it
//! ends with the browser.

use super::credentials::COOKIE;
use super::guard::Guard;
use super::origin;
use super::token::Token;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use std::sync::Arc;

/// Where the page is.
pub(super) const PAGE: &str = "/login";
/// Bytes of a form.
const FORM_BYTES_MAX: usize = 4_096;
/// A form and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";
const HTML: &str = include_str!("login.html");
const REFUSED: &str =
    "<p class=\"notice\" role=\"alert\">This token is not good: not known here, expired, or revoked.</p>";

/// The page and what it sends to.
pub(super) fn routes(guard: &Arc<Guard>) -> Router {
    Router::new()
        .route(PAGE, get(page))
        .route("/v1/session", post(sign_in))
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .with_state(Arc::clone(guard))
}

async fn page(State(guard): State<Arc<Guard>>) -> Response {
    if guard.is_closed() { html(StatusCode::OK, "") } else { Redirect::to("/").into_response() }
}

fn html(status: StatusCode, notice: &str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, HTML.replace("<!-- notice -->", notice)).into_response()
}

/// Signs a browser in, or out.
///
/// The form of the page `/login`: a good `token` is kept in a cookie, an empty one takes the cookie away. Programs send
/// `Authorization: Bearer` instead.
#[utoipa::path(
    post,
    path = "/v1/session",
    tag = "operations",
    operation_id = "session",
    request_body(content = String, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 303, description = "Signed in or out; goes on to the dashboard or back to the page"),
        (status = 401, description = "The token is not good; the page again", body = String, content_type = "text/html"),
        (status = 403, description = "A page of another site sent this", body = String, content_type = "text/html"),
    )
)]
pub(super) async fn sign_in(State(guard): State<Arc<Guard>>, headers: HeaderMap, form: Bytes) -> Response {
    if !guard.is_closed() {
        return Redirect::to("/").into_response();
    }
    if origin::is_cross_site(&headers) {
        return html(StatusCode::FORBIDDEN, "<p class=\"notice\" role=\"alert\">Another site sent this form.</p>");
    }
    let field = form_urlencoded::parse(&form).find(|(name, _)| name == "token").map(|(_, value)| value);
    let secure = headers.get(header::ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
    match field.as_deref().map(str::trim) {
        None | Some("") => keep("", secure, PAGE),
        Some(text) => match Token::presented(text).filter(|token| guard.find(token).is_some()) {
            Some(token) => keep(token.reveal(), secure, "/"),
            None => html(StatusCode::UNAUTHORIZED, REFUSED),
        },
    }
}

/// Sets the cookie, or takes it away if `value` is empty, and goes on.
fn keep(value: &str, secure: bool, to: &str) -> Response {
    let (ends, secure) = (if value.is_empty() { "; Max-Age=0" } else { "" }, if secure { "; Secure" } else { "" });
    let cookie = format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict{ends}{secure}");
    let mut response = Redirect::to(to).into_response();
    if let Ok(mut cookie) = HeaderValue::try_from(cookie) {
        cookie.set_sensitive(true);
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}
